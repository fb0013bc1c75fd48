"""Decoders that lost channels or bits and learn again: what is taught to whom, beside what it is laid, and that no
training is taken for another.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from test_compression import Voice, judged, rows

from lib import environment, optimize, results, systems
from lib.errors import ParameterError
from lib.optimize import recover
from lib.report import shrunk
from lib.studies import confirmed, menu, recovered, scales
from lib.studies import recovered_front as front_of


def table(system, values, *, commit="c", host="here", time="2026-11-22", recorded=False):
    """variant -> (times as fast as the baseline of its bench, the latter's RTF, MB, MOS, nats a word) as rows."""
    whole, made = values["baseline"], []
    for variant, (times, rtf, *others) in values.items():
        for metric, value, before in zip(front_of.METRICS, (rtf / times, *others), (rtf, *whole[2:])):
            if variant == "baseline" and metric in ("mos_predicted", "asr_nll"):
                continue  # 01_baselines has them
            detail = {}
            if variant != "baseline" and metric == "rtf":
                detail = {"speedup": {"value": times, "ci_low": times - 0.1, "ci_high": times + 0.1}}
            elif variant != "baseline" and metric != "size_mb":
                detail = {"difference": value - before}
            row = rows((system, variant, metric, value))
            baseline = "" if variant == "baseline" else "baseline"
            made.append(row.assign(detail=json.dumps(detail) if detail else "", baseline=baseline))
    notebook = f"04_pruning_quantization@study@{commit}" if recorded else "04_pruning_quantization"
    told = {"commit": commit, "host": host, "time": f"{time}T00:00:00", "recorded": recorded}
    return pd.concat(made, ignore_index=True).assign(target="onnxruntime/cpu", notebook=notebook, **told)


VALUES = {
    "baseline": (1.0, 0.030, 60.0, 4.2, 0.50),
    "structured-50": (2.4, 0.030, 40.0, 2.9, 0.90),
    "structured-50+recovered": (2.5, 0.030, 40.0, 4.0, 0.55),
    "structured-50+recovered+int8-static-entropy": (3.75, 0.030, 30.0, 3.9, 0.56),
}
SAID = (
    "vits-joe structured-50 is 2.50 times [2.40, 2.60] as fast as the whole; it loses 1.30 of predicted MOS, once it "
    "has learnt from the whole 0.20, in 8 bit 0.30 at 3.75 times [3.65, 3.85] the speed and 2.0 times as small."
)


def test_decoders_that_learnt_are_a_front():
    """Of a decoder that was pruned, taught and quantized: what it loses, and what teaching brings back."""
    known = table("vits-joe", VALUES)
    front = front_of.front(front_of.rows(known, results.read()))
    assert front.mos_predicted[0] == pytest.approx(4.2) and front.asr_nll[0] == pytest.approx(0.5)
    assert front.variant.tolist() == list(VALUES) and front.times.tolist() == [1.0, 2.4, 2.5, 3.75]
    assert front.mos_predicted[1] == pytest.approx(2.9)
    # Proven worse on its first, easier sentences, it was not heard on all: what counts is how it did on these.
    screened = (known.variant == "structured-50") & (known.metric == "mos_predicted")
    few = known.assign(value=known.value + 0.3 * screened, n=np.where(screened, 20, 100))
    assert front_of.finding(front_of.rows(few)) == front_of.finding(front_of.rows(known)) == SAID
    figure = shrunk.draw(front)
    assert len(figure.axes) == 2 and {t.get_text() for t in figure.axes[0].texts} == set(VALUES)
    assert shrunk.draw(front[:1]) is None
    untaught = known[~known.variant.str.contains("recovered")]
    assert front_of.rows(untaught).empty and front_of.finding(front_of.rows(untaught)) is None
    assert front_of.front(front_of.rows(untaught)).empty


def test_a_front_is_of_one_run_and_of_one_bench():
    """Of another machine, whose baseline takes three times as long, nothing is mixed in, nor of a run that taught none;
    and what a bench paired is told, not two clocks of two hours of this one.
    """
    old = {**VALUES, "structured-30": (1.5, 0.09, 50.0, 4.1, 0.51)}
    old = {name: (times, 0.09, *others) for name, (times, _, *others) in old.items()}
    new = {**VALUES, "int8-static": (1.3, 0.050, 55.0, 3.5, 0.6)}  # another bench of the run, in another hour
    recorded = pd.concat(
        [
            table("vits-joe", old, commit="old", host="there", time="2026-11-20", recorded=True),
            table("vits-joe", new, commit="new", time="2026-11-22", recorded=True),
            table(
                "vits-joe", {"baseline": VALUES["baseline"]}, commit="last", time="2026-11-24", recorded=True
            ),
        ],
        ignore_index=True,
    )
    mine = front_of.rows(table("vits-joe", {"baseline": VALUES["baseline"]}), recorded)
    assert set(mine.commit) == {"new"}
    front = front_of.front(mine).set_index("variant")
    assert front.times["int8-static"] == pytest.approx(1.3) and "structured-30" not in front.index
    assert front_of.finding(mine) == f"Recorded 2026-11-22, here, commit new: {SAID}"
    title = shrunk.draw(front.reset_index()).axes[0].get_title("left")
    assert title.endswith("\nrecorded 2026-11-22, here, commit new")
    assert front_of.finding(front_of.rows(table("vits-joe", VALUES, time="2026-11-19"), recorded)) == SAID


def test_learning_to_round_is_laid_beside_the_best_rounding():
    """Paired, sentence by sentence, with its interval."""
    known = []
    for variant, plain, mos, ends in (
        ("int8-aware+fp16-weights@rounding", "int8-static-percentile+fp16-weights", 0.2, (0.1, 0.3)),
        (
            "structured-50+recovered+int8-aware@rounding",
            "structured-50+recovered+longer+int8-static",
            0.1,
            None,
        ),
    ):
        for metric, sign in (("mos_predicted", 1), ("asr_nll", -0.4)):
            low, high = sorted(sign * end for end in ends) if ends else (None, None)
            paired = {"difference": sign * mos, "ci_low": low, "ci_high": high}
            detail = json.dumps({"beside": plain, "paired": paired})
            row = rows(("hifigan", variant, metric, 4.0)).assign(detail=detail)
            known.append(
                row.assign(
                    target="onnxruntime/cpu", notebook="04_pruning_quantization", n=100.0, recorded=False
                )
            )
    assert front_of.finding(front_of.rows(pd.concat(known, ignore_index=True))) == (
        "hifigan with all its channels after it has learnt to round, beside int8-static-percentile+fp16-weights on the "
        "same 100 sentences: +0.20 [+0.10, +0.30] of predicted MOS, -0.080 [-0.120, -0.040] nats a word; "
        "hifigan structured-50+recovered after it has learnt to round, beside "
        "structured-50+recovered+longer+int8-static, taught as long, on the same 100 sentences: "
        "+0.10 (too few for an interval) of predicted MOS, -0.040 (too few "
        "for an interval) nats a word."
    )


@pytest.fixture
def run(tmp_path):
    return results.Run("04_pruning_quantization", tmp_path)


class Decoder(Voice):
    def __init__(self, variant, name="voice"):
        self.name, self.variant, self.origin = name, variant, {"folder": f"saved/{variant}"}

    def weights_key(self):
        return "key"


@pytest.fixture
def learnt(monkeypatch, tmp_path):
    """What was taught: (pupil, its name afterwards, steps, rate); nothing of it is real, and what is named breaks."""
    noted, broken = [], set()

    def breaks(name):
        if name in broken:
            raise RuntimeError("no memory")

    def learn(pupil, given, steps, label, rate=None):
        breaks(label)
        noted.append((pupil.variant, label, steps, rate))
        return Decoder(label, pupil.name)

    def lessons(name, ids, folder, seed, threads):
        breaks(name)
        assert len(ids) == recovered.N_LESSONS
        return recovered._Lessons(Decoder("baseline", name), [], ids, folder, seed)

    def make(base, steps, name, folder, resume):
        breaks(name)
        assert all(given["skip"] == [menu.LAST] for technique, given in steps if technique == "int8-aware")
        return Decoder(name, base.name)

    def best(base, before, arguments, heard, stage):
        assert arguments == menu.of_decoder()
        return "percentile" if before else "minmax"

    monkeypatch.setattr(recovered.systems, "load", lambda name, target, threads: Decoder("on onnx"))
    monkeypatch.setattr(recovered.scales, "best", best)
    monkeypatch.setattr(recovered, "_lessons", lessons)
    monkeypatch.setattr(recovered, "_learnt", learn)
    monkeypatch.setattr(recovered.confirmed, "make", make)
    return noted, broken


HALF = "structured-50"
ALL = [
    HALF,
    f"{HALF}+recovered",
    f"{HALF}+recovered+int8-static-percentile",
    "int8-static",
    "int8-aware",
    f"{HALF}+recovered+int8-aware",
    f"{HALF}+recovered+longer+int8-static-percentile",
]
HALVED = "+fp16-weights"  # of what is stored in half precision the name says so


def test_decoders_learn_again_and_to_round(run, tmp_path, learnt):
    """Whole ones, too; what is asked for in no step is not made, and every trial comes from a saved variant."""
    noted, _ = learnt
    assert recovered.taught(run, tmp_path, steps=0) == [] == noted
    made = recovered.taught(run, tmp_path, steps=0, aware_steps=5, names=["hifigan"])
    assert [one.variant for one in made] == [f"int8-static{HALVED}", f"int8-aware{HALVED}"]
    assert noted == [("int8-aware-untaught", "int8-aware", 5, recovered.RATE)]
    noted.clear()
    made = recovered.taught(run, tmp_path, steps=9, aware_steps=5, names=["hifigan"], shares=[0.5])
    assert [one.variant for one in made] == [name + HALVED for name in ALL]
    again = f"{HALF}+recovered"
    assert noted == [
        (HALF, again, 9, None),
        ("int8-aware-untaught", "int8-aware", 5, recovered.RATE),
        (f"{again}+int8-aware-untaught", f"{again}+int8-aware", 5, recovered.RATE),
        (again, f"{again}+longer", 5, recovered.RATE),  # the control: as long, at the same rate
    ]
    assert made[5].steps[0] == (
        "from-torch",
        {"folder": f"saved/{again}+int8-aware", "weights": "key", "stage": "decoder"},
    )
    chosen = (
        "int8-static",
        {**menu.of_decoder(), "method": "percentile"},
    )  # taught or taught longer: the best way
    assert made[2].steps[1:] == made[6].steps[1:] == (chosen, ("fp16-weights", {}))
    assert made[3].steps == (("int8-static", menu.of_decoder()), ("fp16-weights", {}))
    joe = recovered.taught(run, tmp_path, steps=9, aware_steps=5, names=["vits-joe"], shares=[0.5])
    assert [
        one.variant for one in joe
    ] == ALL  # its download lies in single precision, and so does what is left of it
    assert not any(name == "fp16-weights" for one in joe for name, _ in one.steps)
    assert [(a.variant, b.variant) for a, b in recovered.controls([*joe, *made])[:2]] == [
        ("int8-aware", "int8-static"),
        (ALL[5], ALL[6]),
    ]
    assert [(a.variant, b.variant) for a, b in recovered.controls([one for one in made if one != made[6]])] == [
        (f"int8-aware{HALVED}", f"int8-static{HALVED}"),
        (ALL[5] + HALVED, ALL[2] + HALVED),
    ]


@pytest.mark.parametrize(
    ("broken", "left"),
    [
        ("hifigan", []),
        (HALF, ["int8-static", "int8-aware"]),
        (f"{HALF}+recovered", [HALF, "int8-static", "int8-aware"]),
        ("int8-aware", [name for name in ALL if name != "int8-aware"]),
        (f"{HALF}+recovered+longer", ALL[:6]),
    ],
)
def test_a_decoder_that_cannot_be_taught_costs_its_own_trials(run, tmp_path, learnt, broken, left):
    learnt[1].add(broken)
    made = recovered.taught(run, tmp_path, steps=9, aware_steps=5, names=["hifigan"], shares=[0.5])
    assert [one.variant for one in made] == [name + HALVED for name in left]
    (row,) = results.read(run.path).itertuples()
    assert (row.kind, row.detail, row.target) == ("not_run", "RuntimeError: no memory", "onnxruntime/cpu")
    assert row.variant == ("recovered" if broken == "hifigan" else broken)


def test_a_training_of_other_settings_lessons_or_code_is_not_gone_on_with(monkeypatch, tmp_path):
    whole, pupil = Decoder("baseline"), Decoder(HALF)
    given = recovered._Lessons(whole, [], ["a", "b"], tmp_path, 0)
    learning, training = recover.Learning(), recover.USUAL
    key = recovered._key(pupil, given, learning, training)
    assert recovered._key(Decoder(HALF), given, recover.Learning(), training) == key
    other = Decoder("another")
    other.weights_key = lambda: "another key"
    others = [
        (other, given, learning, training),
        (pupil, dataclasses.replace(given, whole=other), learning, training),
        (pupil, dataclasses.replace(given, ids=["a", "c"]), learning, training),
        (pupil, dataclasses.replace(given, seed=1), learning, training),
        (
            pupil,
            dataclasses.replace(given, lessons=[recover.Lesson(np.ones(2), np.ones(3))]),
            learning,
            training,
        ),
        (pupil, given, dataclasses.replace(learning, range_rate=2e-2), training),
        (pupil, given, learning, dataclasses.replace(training, steps=9)),
        (pupil, given, learning, dataclasses.replace(training, batch_size=9)),
    ]
    keys = {recovered._key(*one) for one in others}
    for name in ("code", "code_now"):
        monkeypatch.setattr(environment, name, lambda: "other code")
        keys.add(recovered._key(pupil, given, learning, training))
    assert len(keys | {key}) == len(others) + 3


def test_where_a_run_lies_is_named_by_its_key(monkeypatch, tmp_path):
    """Another teacher, say, learns in a folder of its own: going on in the old one would be refused, or worse, done."""
    places = []

    def recovery(pupil, whole, lessons, place, **more):
        places.append(place)
        return Decoder(more["name"])

    monkeypatch.setattr(recover, "recover", recovery)
    monkeypatch.setattr(recovered.optimize, "save", lambda *given, **more: None)
    monkeypatch.setattr(recovered.optimize, "load", lambda home, threads: home)
    given = recovered._Lessons(Decoder("baseline"), [], ["a"], tmp_path, 0)
    for rate, seed in ((None, 0), (None, 0), (recovered.RATE, 0), (None, 1)):
        recovered._learnt(Decoder(HALF), dataclasses.replace(given, seed=seed), 9, "int8-aware", rate)
    assert places[0] == places[1] and len(set(places)) == 3
    assert {place.parent for place in places} == {tmp_path / "recovery"}


def test_bytes_that_a_pruned_voice_saves_are_those_of_its_decoder(tmp_path):
    """What nobody pruned lies there as it did: halved in secret, a decoder that saves nothing would be recommended."""
    whole = systems.load("vits-joe", target="torch/cpu", threads=1)
    cut = optimize.make(whole, "structured", share=0.3, stages=["decoder"], variant="structured-30")
    optimize.save(cut, tmp_path / "cut")
    trial = recovered._trial(optimize.load(tmp_path / "cut", threads=1))
    base = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    made = confirmed.make(base, trial.steps, trial.variant, tmp_path)
    assert trial.variant == "structured-30" and made.size_mb < base.size_mb
    assert {stage for stage in base.graphs if made.graphs[stage] != base.graphs[stage]} == {"decoder"}


@pytest.mark.parametrize("name", recovered.SYSTEMS)
def test_whose_graphs_are_halved_comes_in_half_precision(name):
    system = systems.load(name, target="onnxruntime/cpu", threads=1)
    assert (system.size_mb < 0.75 * system.loaded_mb) == (name in recovered.HALVED)


def test_the_better_way_of_setting_scales_is_taken(monkeypatch):
    """That of min and max where it lies nearer, percentile where that does: a control is as good as can be for free."""
    near, given = {"minmax": 0.3, "percentile": 0.2, "entropy": 0.25}, []

    def make(base, technique, *, variant, **arguments):
        steps = arguments["steps"] if technique == "combined" else [[technique, arguments]]
        given.append(steps)
        return steps[-1][1]["method"]

    monkeypatch.setattr(scales.optimize, "make", make)
    monkeypatch.setattr(scales, "distance", lambda made, lessons, stage: near[made])
    base = Decoder("baseline")
    taken = ("from-torch", {"folder": "saved"})
    assert scales.best(base, (taken,), {"skip": ["x"]}, []) == "percentile"
    assert given[0] == [
        ["from-torch", {"folder": "saved"}],
        ["int8-static", {"skip": ["x"], "method": "minmax"}],
    ]
    near["minmax"] = 0.1
    assert scales.best(base, (), {"skip": ["x"]}, []) == scales.USUAL
    assert given[-1][0][0] == "int8-static" and len(given) == 6


def test_how_far_a_decoder_lies_from_what_it_should_say():
    """Of the whole one nothing; in 8 bit, with scales from a few sentences, something."""
    whole = systems.load("hifigan", target="torch/cpu", threads=1)
    lessons = recover.lessons(whole, ["Go home."])
    on_onnx = systems.load("hifigan", target="onnxruntime/cpu", threads=1)
    small = optimize.make(on_onnx, "int8-static", **menu.of_decoder() | {"sentences": ["Go home."]})
    assert scales.distance(on_onnx, lessons) < 0.01 < scales.distance(small, lessons)


def test_learning_to_round_is_paired_with_its_control(run, tmp_path, monkeypatch):
    """On the same sentences; one whose control could not be tried has a row that says why."""
    heard = {"int8-aware": judged(0.46, 4.1), "int8-static-entropy": judged(0.5, 4.0)}

    def load(home, threads):
        if home.name not in heard:
            raise ParameterError(f"{home.name} is not there")
        return home.name

    def baseline(run, system, sentences, scorer, *, whose):
        assert not whose  # who learnt to round badly has no voice that could be told
        return confirmed.Baseline(system, sentences, heard[system])

    monkeypatch.setattr(recovered.optimize, "load", load)
    monkeypatch.setattr(recovered.confirmed, "baseline", baseline)
    names = ["int8-static-entropy", "int8-aware", "structured-50+int8-static", "structured-50+int8-aware"]
    recovered.beside(run, [menu.trial("vits-joe", "onnxruntime/cpu", n) for n in names], [], None, tmp_path)
    mos, nll, broken = results.read(run.path).itertuples()
    assert (
        mos.variant == nll.variant == "int8-aware@rounding" and mos.baseline == ""
    )  # no verdict on a variant of it
    assert json.loads(mos.detail)["beside"] == "int8-static-entropy"
    paired = [json.loads(row.detail)["paired"]["difference"] for row in (mos, nll)]
    assert paired == pytest.approx([0.1, -0.04])
    assert broken.kind == "not_run" and broken.variant == "structured-50+int8-aware@rounding"
