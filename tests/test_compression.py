"""Variants beside their baselines: what is said of them, groups of layers treated alone, claims, the plan's words."""

import numpy as np
import pandas as pd
import pytest

from lib import optimize, results, systems
from lib.errors import ParameterError
from lib.measure import bench, evaluate, judgement
from lib.measure.verdict import RECOMMENDED, Verdict
from lib.optimize.plan import Answer, Effect, Group, Plan
from lib.report import sensitivity as charts
from lib.report import shrunk
from lib.studies import compression, confirmed, piper, plans, promised, recovered, resumed, sensitivity
from lib.studies.compression import Tried, trial


def answer(word, recommended, times=1.5):
    return Answer(word, recommended, "because", times)


TRIED = [
    Tried(trial("a", "torch/cpu", "int8"), answer("without audible loss", True)),
    Tried(trial("a", "torch/cpu", "pruned-30"), answer("without audible loss", False, 0.98)),
    Tried(trial("b", "torch/cpu", "int8"), answer("worse", False)),
    Tried(trial("b", "torch/cpu", "nf4"), None, "no kernel"),
]


def test_all_variants_are_counted_and_none_is_flattered():
    assert compression.finding(TRIED) == (
        "Of 4 variants: 1 recommended (int8 of a); 1 without audible loss but not worth having (pruned-30 of a); "
        "1 worse (int8 of b); 1 not run (nf4 of b). 1 of them are slower than their baseline."
    )
    assert compression.finding([]) is None
    table = compression.table(TRIED)
    assert table["take it"].tolist() == ["yes", "no", "no", ""] and table.verdict.tolist()[3] == "not run"
    assert table.why.tolist()[3] == "no kernel"


def test_every_trial_has_a_name_of_its_own_and_a_technique_that_exists():
    for extent in compression.EXTENTS:
        trials = compression.trials(extent)
        names = [(one.system, one.target, one.variant) for one in trials]
        assert len(set(names)) == len(names)
        assert {step for one in trials for step, _ in one.steps} <= set(optimize.techniques())
    with pytest.raises(ParameterError, match="extent of the trials"):
        compression.trials("all")


def rows(*values):
    """(system, variant, metric, value) as a table of results."""
    return results.frame(
        {
            "system": s, "variant": v, "target": "torch/cpu", "metric": m, "value": x, "unit": "", "kind": "measured",
            "n": 10, "ci_low": None, "ci_high": None, "source": "test", "baseline": "", "host": "here", "commit": "c",
            "time": "2026-11-22T00:00:00", "detail": "",
        }
        for s, v, m, x in values
    )  # fmt: skip


def test_a_claim_is_compared_by_its_change_and_its_start():
    both = compression.CLAIMED
    known = rows(
        ("speecht5-base", "baseline", "size_mb", 629.0), ("speecht5-base", both, "size_mb", 200.0),
        ("speecht5", "baseline", "mos_predicted", 4.3), ("speecht5", both, "mos_predicted", 2.0),
        ("speecht5", "baseline", "wer", 0.055), ("speecht5", both, "wer", 0.05),
        ("speecht5", "baseline", "size_mb", 9.0), ("speecht5", both, "size_mb", 9.0),
    )  # fmt: skip
    graphs = rows(("speecht5-base", "baseline", "size_mb", 1.0)).assign(
        target="onnxruntime/cpu"
    )  # not claimed of
    table = promised.claims(pd.concat([known, graphs], ignore_index=True), both)
    said = dict(zip([name.split(",")[0] for name in table.measure], table.verdict))
    assert said["Download size"] == "the change agrees (0.32 times, theirs 0.20 to 0.40), the start does not"
    assert said["Predicted MOS"].startswith("worse than promised (0.47 times") and said[
        "Predicted MOS"
    ].endswith("agrees")
    assert said["WER"].startswith("better than promised (0.91 times, theirs 1.17 to 1.60)")
    assert said["PESQ wideband"] == "not comparable: not measured"
    assert table["ours before"].tolist()[0] == "629" and table["ours after"].tolist()[-1] == "5"


def test_zeros_are_told_to_save_nothing():
    known = rows(
        ("speecht5", "baseline", "size_mb", 16.0), ("speecht5", "pruned-30", "size_mb", 16.0),
        ("speecht5", "baseline", "rtf", 0.060), ("speecht5", "pruned-30", "rtf", 0.0606),
    )  # fmt: skip
    assert "1.00 times the bytes and takes 1.01 times the time" in promised.saved(known)
    assert promised.saved(known[known.metric == "rtf"]) is None


class Voice:
    """Speaks for as long as it is told, and counts."""

    name, target, variant, threads, kind = "voice", "torch/cpu", "baseline", 1, "speech"

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.said = clock, seconds, []

    def synthesize(self, text, seed):
        self.said.append((text, seed))
        self.clock[0] += self.seconds


def test_two_systems_are_timed_in_turns(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(sensitivity.time, "perf_counter", lambda: clock[0])
    slow, fast = Voice(clock, 3.0), Voice(clock, 2.0)
    assert sensitivity.in_turns(slow, fast, ["a", "b"], passes=2, seed=7) == 1.5
    assert slow.said == fast.said == [("a", 7)] * 3 + [("b", 8)] * 3


def judged(nll, mos):
    from lib.measure.likelihood import Loss
    from lib.measure.scores import ClipScores, summarise

    scores = tuple(ClipScores(None, {"mos_predicted": mos + i / 10}, Loss(nll * 10, 10)) for i in range(4))
    return evaluate.Judged((), scores, summarise(scores))


def test_groups_are_tried_alone_once_and_their_rows_are_found_again(tmp_path, monkeypatch):
    run = results.Run("04_pruning_quantization", tmp_path)
    made = []

    def make(base, technique, *, variant, layers):
        if "broken" in layers:
            raise ParameterError("no kernel")
        made.append(variant)
        voice = Voice([0.0], 1.0)
        voice.variant, voice.made = variant, {"technique": technique}
        return voice

    monkeypatch.setattr(optimize, "make", make)
    monkeypatch.setattr(evaluate, "speak", lambda voice, sentences, seed: voice.variant)
    monkeypatch.setattr(
        evaluate,
        "judge",
        lambda clips, scorer, seed: judged(*((0.5, 4.0) if clips == "baseline" else (0.54, 3.95))),
    )
    monkeypatch.setattr(sensitivity, "in_turns", lambda *a, **k: 1.25)
    groups = [
        Group("type", "Linear", ("a", "b")),
        Group("stage", "decoder", ("b", "a")),  # the same layers
        Group("block", "decoder/0", ("broken",)),
    ]
    tried = sensitivity.screen(run, Voice([0.0], 1.0), "int8-dynamic", groups, [], None)
    assert made == ["int8-dynamic+type+Linear"] and len(tried) == 3
    by_axis = {t.group.axis: t for t in tried}
    assert by_axis["stage"].effect.times == by_axis["type"].effect.times == 1.25
    assert by_axis["stage"].effect.group.name == "decoder" and by_axis["block"].why == "no kernel"
    losses = by_axis["type"].effect.losses
    assert losses["asr_nll"] == pytest.approx(2.0) and losses["mos_predicted"] == pytest.approx(0.5)
    assert by_axis["type"].effect.loss == pytest.approx(2.0)
    known = sensitivity.known(results.read(run.path), results.read(run.path))
    assert known[["axis", "group"]].values.tolist() == [["type", "Linear"]]
    assert known.times.tolist() == [1.25] and known.loss.tolist() == pytest.approx([2.0], abs=1e-3)
    assert "Linear gains most" in sensitivity.finding(tried, "voice")
    assert charts.draw(known).axes[0].get_title("left") == "voice on torch/cpu: int8-dynamic"
    assert charts.draw(known.iloc[:0]) is None


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """(arguments of `plan_of`, what judges and bench will say, what was saved, on which sentences it was heard)."""
    from lib.corpora.base import Sentence

    run = results.Run("04_pruning_quantization", tmp_path)
    group = Group("block", "decoder/0", ("decoder/a",))
    tried = {"int8-dynamic": [sensitivity.Tried(group, Effect(group, 1.4, {"asr_nll": 0.1}))]}
    saved, heard = [], []
    monkeypatch.setattr(plans.systems, "load", lambda *a, **k: Voice([0.0], 1.0))
    monkeypatch.setattr(
        confirmed,
        "baseline",
        lambda run, system, sentences, scorer, at="": confirmed.Baseline(
            system, sentences, judged(0.5, 4.0), at=at
        ),
    )

    def make(base, steps, name, folder, **more):
        saved.append((name, steps))
        voice = Voice([0.0], 1.0)
        voice.variant = name
        return voice

    def hear(run, base, variant, scorer):
        heard.append((base.at, [s.id for s in base.sentences]))
        return base.at

    monkeypatch.setattr(confirmed, "make", make)
    monkeypatch.setattr(confirmed, "hear", hear)
    monkeypatch.setattr(confirmed, "timed", lambda *a, **k: {"int8-dynamic-1": "timed", "baseline": "before"})
    said = {
        "@validation": answer("without audible loss", True, 1.31),
        "": answer("without audible loss", True, 1.31),
    }
    monkeypatch.setattr(confirmed, "answer", lambda base, heard, one, before: said[heard])
    sentences = [Sentence(name, "A text.", "test") for name in "abcd"]
    arguments = (run, "voice", "torch/cpu", tried, sentences[:2], sentences[2:], [], None, tmp_path)
    return arguments, said, saved, heard


def test_a_plan_is_chosen_and_then_judged_on_other_sentences(planned):
    arguments, said, saved, heard = planned
    run = arguments[0]
    assert plans.plan_of(*arguments) == (
        "voice on torch/cpu: take int8-dynamic on decoder/0, judged on 2 sentences that had no part in choosing it: "
        "because (1.31 times as fast)."
    )
    assert saved == [("int8-dynamic-1", [("int8-dynamic", {"layers": ["decoder/a"]})])]
    assert heard == [("@validation", ["a", "b"]), ("", ["c", "d"])]
    assert plans.recalled(results.read(run.path)).startswith(
        "voice on torch/cpu: int8-dynamic on decoder/0, judged"
    )
    said[""] = answer("worse", False)  # what looked best where it was chosen
    assert "leave it in fp32: int8-dynamic on decoder/0: because; judged on 2" in plans.plan_of(*arguments)
    said["@validation"] = answer("worse", False)
    assert "leave it in fp32: none of 1 plans" in plans.plan_of(*arguments)
    assert len(heard) == 5 and heard[-1][0] == "@validation"  # nobody was asked again
    assert "leave it in fp32" in plans.recalled(results.read(run.path))
    assert plans.recalled(results.read()) is None


def test_no_sentence_chooses_a_plan_and_judges_it(planned):
    arguments = list(planned[0])
    arguments[5] = [*arguments[5], arguments[4][0]]
    with pytest.raises(ParameterError, match="1 sentences would choose the plan and judge it, a among them"):
        plans.plan_of(*arguments)


def test_a_plan_names_each_layer_once():
    groups = (Group("block", "x", ("a", "b")), Group("block", "y", ("b", "c")))
    assert Plan("int8-dynamic", {}, groups, 1.0, 0.0).layers == ["a", "b", "c"]
    assert np.isclose(Effect(groups[0], np.e, {}).gain, 1.0)


def benched(variant, seconds, megabytes, target="torch/cpu", n=8):
    """A bench of three rounds in which every sentence of a second took so long, give or take a little."""
    wavering = 1 + 0.01 * np.random.default_rng(len(variant)).standard_normal((3, 1, n))
    candidate = bench.Candidate("voice", variant, target, {"system": "voice"})
    footprint = {"size_mb": megabytes}
    once = {name: np.ones(3) for name in ("cold_start_s", "load_s", "first_sentence_s", "peak_rss_mb", "cpu_s")}
    return bench.Benched(candidate, seconds=seconds * wavering, audio_s=np.ones(n), footprint=footprint, **once)


class Sized:
    """A system of a size."""

    def __init__(self, megabytes):
        self.size_mb = megabytes


@pytest.mark.parametrize(
    ("seconds", "megabytes", "recommended", "why"),
    [
        (0.5, 5.0, True, "without audible loss and faster (2.0"),
        (1.0, 5.0, True, "smaller (2.00 times)"),
        (2.0, 5.0, False, "no optimization: smaller (2.00 times), but slower (2.0"),
        (0.5, 20.0, False, "no optimization: faster"),
        (2.0, 20.0, False, "better in nothing"),
    ],
)
def test_what_is_slower_or_larger_is_never_recommended(seconds, megabytes, recommended, why):
    """However well it sounds, and whatever else it saves."""
    heard = confirmed.Heard(Sized(megabytes), Verdict("without audible loss", ("all inside",)), ())
    said = confirmed.answer(
        Sized(10.0), heard, benched("int8", seconds, megabytes), benched("baseline", 1.0, 10.0)
    )
    assert said.recommended == recommended and why in said.why
    tried = [Tried(trial("voice", "torch/cpu", "int8"), said)]
    assert ("yes" in compression.table(tried)["take it"].tolist()) == recommended
    assert ("1 recommended (int8 of voice)" in compression.finding(tried)) == recommended


def test_nothing_that_was_recorded_is_recommended_and_slower_or_larger():
    """The rows of all notebooks, judged as the report judges them."""
    table = results.read(results.RECORDED)
    mine = table[table.value.notna() & (table.metric == "rtf")]
    for row in mine[mine.variant != "baseline"].itertuples():
        try:
            said = judgement.from_rows(table, row.system, row.variant, row.target)
        except ParameterError:
            continue
        more = [gain.text for gain in said.gains if gain.costs_more and gain.metric in ("rtf", "size_mb")]
        assert not (more and said.recommendation.word == RECOMMENDED), (row.system, row.variant, more)


def test_the_fastest_recommended_variant_is_taken_or_the_voice_as_it_is(monkeypatch):
    monkeypatch.setattr(compression.systems, "load", lambda name, target, threads: (name, target))
    monkeypatch.setattr(optimize, "load", lambda folder, threads: str(folder))
    good = [
        Tried(trial("a", "onnxruntime/cpu", name), answer("without audible loss", yes, times))
        for name, yes, times in (("slow", True, 1.1), ("fast", True, 1.9), ("worse", False, 3.0))
    ]
    assert compression.taken(good, "a", "onnxruntime/cpu", "x") == "x/a/onnxruntime-cpu/fast"
    assert compression.taken(good[2:], "a", "onnxruntime/cpu", "x") == ("a", "onnxruntime/cpu")
    assert compression.taken(good, "a", "torch/cpu", "x") == ("a", "torch/cpu")


def test_the_published_size_is_made_smaller_on_both_runtimes_and_laid_beside_torch(monkeypatch, tmp_path):
    asked = {}

    class Base(Sized):
        fingerprint = "f"

        def __init__(self, variant, target):
            super().__init__(100.0)
            self.variant, self.target = variant, target

    def timed(candidates, texts, **more):
        asked.update(candidates)
        size = {"torch/cpu": 30.0, "onnxruntime/cpu": 20.0}
        return {
            label: benched(one.variant, 1.0, 100.0)
            if label == "baseline on torch/cpu"
            else benched(one.variant, 0.25, size[one.target], one.target)
            for label, one in candidates.items()
        }

    monkeypatch.setattr(promised.systems, "load", lambda name, target, threads: Base("baseline", target))
    monkeypatch.setattr(
        promised.confirmed, "make", lambda base, steps, name, folder, resume: Base(name, base.target)
    )
    of = staticmethod(lambda one: bench.Candidate("voice", one.variant, one.target, {"system": "voice"}))
    monkeypatch.setattr(promised.bench.Candidate, "of", of)
    monkeypatch.setattr(promised.bench, "bench", timed)
    run = results.Run("04_pruning_quantization", tmp_path)
    quick = promised.published(run, ["A text."], tmp_path, extent="quick")
    assert list(quick) == ["baseline on torch/cpu", f"{compression.CLAIMED} on torch/cpu"]
    made = promised.published(run, ["A text."], tmp_path, extent="study")
    small = "int8-dynamic+fp16-weights"
    assert {"baseline on onnxruntime/cpu", f"{small} on torch/cpu", f"{small} on onnxruntime/cpu"} <= set(made)
    rows = results.read(run.path)
    (row,) = rows[
        (rows.metric == "speedup") & (rows.variant == small) & (rows.target == "onnxruntime/cpu")
    ].itertuples()
    assert row.value == pytest.approx(4, rel=0.02) and '"times_smaller": 5.0' in row.detail
    said = promised.smallest(made)
    assert f"{small} on onnxruntime/cpu is 4.0" in said and "5.00 times as small" in said
    assert promised.smallest({}) is None


def test_a_study_goes_on_where_it_stopped(tmp_path, monkeypatch, caplog):
    asked = []

    def slow():
        asked.append(1)
        return {"seconds": np.ones(3)}

    def key():
        return ["bench", "voice"]

    assert resumed.kept(None, key, slow)["seconds"].sum() == 3 and not list(tmp_path.iterdir())
    for _ in range(2):
        assert resumed.kept(tmp_path, key, slow)["seconds"].sum() == 3
    assert len(asked) == 2  # once without a folder, once with it
    resumed.kept(tmp_path, lambda: ["bench", "another"], slow, whole=lambda value: False)
    resumed.kept(tmp_path, lambda: ["bench", "another"], slow)  # a failed one was not kept
    assert len(asked) == 4
    monkeypatch.setattr(resumed.environment, "commit", lambda: "another")
    resumed.kept(tmp_path, key, slow)
    assert len(asked) == 5  # other code: measured anew
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(b"")
    resumed.kept(tmp_path, key, slow)
    assert len(asked) == 6


def test_a_variant_of_the_same_code_is_not_made_twice(tmp_path, monkeypatch):
    base = systems.load("istft", target="torch/cpu", threads=1)
    steps = [("int8-dynamic", {"stages": ["trunk"]})]
    first = confirmed.make(base, steps, "small", tmp_path)
    made = []
    real = optimize.make
    monkeypatch.setattr(optimize, "make", lambda *a, **k: made.append(k) or real(*a, **k))
    assert confirmed.make(base, steps, "small", tmp_path, resume=True).fingerprint() == first.fingerprint()
    assert not made
    confirmed.make(
        base, [("int8-dynamic", {"stages": ["trunk"], "per_channel": False})], "small", tmp_path, resume=True
    )
    confirmed.make(base, [*steps, ("fp16-weights", {})], "small", tmp_path, resume=False)
    assert [m.get("per_channel", "combined") for m in made] == [False, "combined"]


def test_what_few_sentences_prove_worse_is_not_asked_about_all(monkeypatch):
    base = confirmed.Baseline(Voice([0.0], 1.0), list("abcd"), judged(0.5, 4.0))
    base = confirmed.Baseline(
        base.system, base.sentences, evaluate.Judged(tuple("abcd"), base.judged.scores, {})
    )
    words, asked = {2: "undecided", 4: "without audible loss"}, []

    def heard(run, part, variant, scorer, keep):
        asked.append((list(part.sentences), len(part.judged.scores), part.judged.clips))
        return confirmed.Heard(variant, Verdict(words[len(part.sentences)], ()), ())

    monkeypatch.setattr(confirmed, "_heard", heard)
    assert confirmed.hear(None, base, "v", None, first=2).verdict.word == "without audible loss"
    assert asked == [(["a", "b"], 2, ("a", "b")), (["a", "b", "c", "d"], 4, tuple("abcd"))]
    words[2] = "worse"
    assert confirmed.hear(None, base, "v", None, first=2).verdict.word == "worse" and len(asked) == 3
    assert confirmed.hear(None, base, "v", None).verdict.word == "without audible loss"


def test_decoders_that_learnt_are_a_front():
    """Of a decoder that was pruned, taught and quantized: what it loses, and what teaching brings back."""
    values = {
        "baseline": (0.030, 60.0, 4.2, 0.50),
        "structured-50": (0.012, 40.0, 2.9, 0.90),
        "structured-50+recovered": (0.012, 40.0, 4.0, 0.55),
        "structured-50+recovered+int8-static": (0.008, 30.0, 3.9, 0.56),
    }
    table = rows(
        *(
            ("vits-joe", variant, metric, value)
            for variant, numbers in values.items()
            for metric, value in zip(recovered.METRICS, numbers)
        )
    ).assign(target="onnxruntime/cpu", notebook="04_pruning_quantization@study")
    front = recovered.front(results.read(), table)
    assert front.variant.tolist() == list(values) and front.mos_predicted.tolist()[1] == 2.9
    assert recovered.finding(front) == (
        "vits-joe structured-50 is 2.50 times as fast as the whole; it loses 1.30 of predicted MOS, once it has learnt "
        "from the whole 0.20, in 8 bit 0.30 at 3.75 times the speed and 2.0 times as small."
    )
    figure = shrunk.draw(front)
    assert len(figure.axes) == 2 and {t.get_text() for t in figure.axes[0].texts} == set(values)
    assert shrunk.draw(front[:1]) is None and recovered.finding(front[:2]) is None


def test_piper_is_compared_with_where_it_is_and_not_run_elsewhere(tmp_path, monkeypatch):
    run = results.Run("04_pruning_quantization", tmp_path)
    monkeypatch.setattr(piper.targets.Target, "why_not", lambda self: "piper/cpu needs a Python of its own")
    assert piper.compared(run, [], ["A text."], mode="off") is None
    assert "needs a Python of its own" in piper.compared(run, [], ["A text."])
    (row,) = results.read(run.path).itertuples()
    assert (row.kind, row.target, row.detail) == ("not_run", "piper/cpu", "piper/cpu needs a Python of its own")
    with pytest.raises(ParameterError, match="unknown mode of the comparison with piper-tts 'yes'"):
        piper.compared(run, [], ["A text."], mode="yes")
    monkeypatch.setattr(piper.targets.Target, "why_not", lambda self: None)
    monkeypatch.setattr(
        piper, "_ask", lambda texts, threads, turn: {"seconds": [0.05] * 8, "audio_s": [1.0] * 8}
    )
    monkeypatch.setattr(
        piper.bench,
        "bench",
        lambda candidates, *a, **k: {
            "int8": bench.Benched(
                bench.Candidate("vits-joe", "int8", "onnxruntime/cpu", {}),
                seconds=np.full((1, 1, 8), 0.02),
                audio_s=np.ones(8),
            )
        },
    )
    monkeypatch.setattr(piper.Candidate, "of", staticmethod(lambda one: one))
    ours = Voice([0.0], 1.0)
    ours.variant = "int8"
    said = piper.compared(run, [ours], ["A text."] * 8, rounds=3)
    assert "at RTF 0.050" in said and "int8 2.50 times as fast" in said
    (row,) = results.read(run.path).itertuples()
    assert row.value == pytest.approx(0.05) and row.target == "piper/cpu" and '"times": 2.5' in row.detail
