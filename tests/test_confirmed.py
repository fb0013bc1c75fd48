"""A variant is judged and timed beside its baseline: none that is slower or larger is recommended, few sentences may be
enough to refuse one, and a study goes on where it stopped.
"""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from test_compression import Voice, answer, judged, rows

from lib import environment, optimize, results, systems
from lib.errors import AudioError, NoVoiceError, ParameterError
from lib.measure import bench, evaluate, judgement
from lib.measure.likelihood import Loss
from lib.measure.scores import ClipScores, recognised, summarise
from lib.measure.verdict import RECOMMENDED, Verdict
from lib.report import notebook as show
from lib.studies import compression, confirmed, listened, menu, promised, resumed, worst
from lib.studies.compression import Tried
from lib.studies.menu import trial
from lib.systems.base import Transcript


def benched(variant, seconds, megabytes, target="torch/cpu", n=8, wavering=0.01):
    """A bench of three rounds in which every sentence of a second took so long, give or take a little."""
    wavering = 1 + wavering * np.random.default_rng(len(variant)).standard_normal((3, 1, n))
    candidate = bench.Candidate("voice", variant, target, {"system": "voice"})
    footprint = {"size_mb": megabytes}
    once = {name: np.ones(3) for name in ("cold_start_s", "load_s", "first_sentence_s", "peak_rss_mb", "cpu_s")}
    return bench.Benched(candidate, seconds=seconds * wavering, audio_s=np.ones(n), footprint=footprint, **once)


class Sized:
    """A system of a size."""

    name, variant = "voice", "baseline"

    def __init__(self, megabytes):
        self.size_mb = megabytes


def answered(folder, one, base=None):
    """What a bench of a variant, heard without loss, and its baseline comes to."""
    base = base or benched("baseline", 1.0, 10.0)
    run = results.Run("04_pruning_quantization", folder)
    bench.write(run, {"baseline": base, "int8": one})
    heard = confirmed.Heard(Sized(5.0), Verdict("without audible loss", ("all inside",)), ())
    return confirmed.answer(run, Sized(10.0), heard, one, base)


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
def test_what_is_slower_or_larger_is_never_recommended(seconds, megabytes, recommended, why, tmp_path):
    """However well it sounds, and whatever else it saves."""
    said = answered(tmp_path, benched("int8", seconds, megabytes))
    assert said.recommended == recommended and why in said.why and said.slower == (seconds > 1)
    tried = [Tried(trial("voice", "torch/cpu", "int8"), said)]
    assert ("yes" in compression.table(tried)["take it"].tolist()) == recommended
    (finding,) = compression.findings(tried)
    assert ("take int8, without audible loss and" in finding) == recommended
    assert f"{int(seconds > 1)} {'is' if seconds > 1 else 'are'} significantly slower" in finding


def test_what_is_hardly_slower_is_not_counted_as_slower(tmp_path):
    """0.99 times as fast, with an interval across 1."""
    said = answered(tmp_path, benched("int8", 1.01, 10.0, wavering=0.05))
    assert said.times == pytest.approx(0.99, abs=0.03) and said.times < 1 and not said.slower
    (finding,) = compression.findings([Tried(trial("voice", "torch/cpu", "int8"), said)])
    assert "0 are significantly slower" in finding


def test_an_answer_knows_how_sure_its_speed_is_and_what_else_it_saves(tmp_path):
    half = answered(tmp_path, benched("int8", 0.5, 5.0))
    assert half.faster and half.low <= half.times <= half.high and half.n >= 8
    assert half.ci == (half.low, half.high) and half.smaller == pytest.approx(2.0)
    unsure = answered(tmp_path, benched("int8", 0.99, 10.0, wavering=0.05))
    assert not unsure.faster and unsure.smaller == 1.0


def test_memory_counts_as_it_does_in_the_report(tmp_path):
    """What a notebook says of a variant the page says, too."""
    frugal = benched("int8", 1.0, 10.0)
    frugal = dataclasses.replace(frugal, peak_rss_mb=np.array([0.5, 0.51, 0.5]))
    said = answered(tmp_path, frugal)
    assert said.recommended and "more frugal with memory (1.99 times" in said.why
    table = results.read(tmp_path / "results" / "04_pruning_quantization.jsonl")
    gains = judgement.from_rows(table, "voice", "int8", "torch/cpu").gains
    assert {gain.text in said.why for gain in gains if gain.saves} == {True}


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


def test_the_fastest_recommended_variant_is_taken_or_the_voice_as_it_is(tmp_path, monkeypatch):
    """By the rows of the run: a plan's variant counts, one that was only tried while a plan was chosen does not."""
    monkeypatch.setattr(compression.systems, "load", lambda name, target, threads: (name, target))
    monkeypatch.setattr(optimize, "load", lambda folder, threads: str(folder))
    here = "onnxruntime/cpu"

    def told(variant, times, lost=0.0, judged=True):
        speedup = {"value": times, "ci_low": times - 0.05, "ci_high": times + 0.05, "p_value": 0.01}
        table = rows(
            ("vits-joe", variant, "rtf", 0.1 / times), *(("vits-joe", variant, m, 1.0) for m in SAID if judged)
        )
        table["detail"] = [json.dumps({"speedup": speedup})] + [
            json.dumps(
                {
                    "difference": lost * sign,
                    "ci_low": lost * sign - 0.001,
                    "ci_high": lost * sign + 0.001,
                    "n": 40,
                }
            )
            for sign in SAID.values()
            if judged
        ]
        confirmed.home(tmp_path, "vits-joe", here, variant).mkdir(parents=True)
        return table.assign(baseline="baseline", target=here)

    SAID = {"mos_predicted": -1, "wer": 1, "speaker_similarity": -1}
    whole = rows(("vits-joe", "baseline", "rtf", 0.1)).assign(target=here)
    table = pd.concat(
        [
            whole,
            told("slow", 1.1),
            told("int8-static-7", 1.9),
            told("worse", 3.0, lost=0.5),
            told("unheard", 4.0, judged=False),
        ],
        ignore_index=True,
    )
    assert (
        compression.taken(table, "vits-joe", here, tmp_path)
        == f"{tmp_path}/vits-joe/onnxruntime-cpu/int8-static-7"
    )
    poor = table[table.variant.isin(("baseline", "worse", "unheard"))]
    assert compression.taken(poor, "vits-joe", here, tmp_path) == ("vits-joe", here)
    assert compression.taken(table, "vits-joe", "torch/cpu", tmp_path) == ("vits-joe", "torch/cpu")
    assert compression.taken(table, "vits-joe", here, tmp_path / "none") == (
        "vits-joe",
        here,
    )  # nothing lies there


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
    assert list(quick) == ["baseline on torch/cpu", f"{menu.CLAIMED} on torch/cpu"]
    assert promised.published(run, ["A text."], tmp_path, extent="quick", only=["hifigan"]) == {}
    only = ["hifigan", "speecht5/torch/cpu"]
    assert list(promised.published(run, ["A text."], tmp_path, extent="quick", only=only)) == list(quick)
    made = promised.published(run, ["A text."], tmp_path, extent="study")
    small = "int8-dynamic+fp16-weights"
    assert {"baseline on onnxruntime/cpu", f"{small} on torch/cpu", f"{small} on onnxruntime/cpu"} <= set(made)
    rows = results.read(run.path)
    (row,) = rows[
        (rows.metric == "speedup") & (rows.variant == small) & (rows.target == "onnxruntime/cpu")
    ].itertuples()
    assert row.value == pytest.approx(4, rel=0.02) and '"times_smaller": 5.0' in row.detail
    said = promised.smallest(made)
    assert f"{small} on onnxruntime/cpu is" in said and "5.00 times as small" in said
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
    monkeypatch.setattr(resumed.environment, "code", lambda: "another")
    monkeypatch.setattr(resumed.environment, "code_now", lambda: "another")
    resumed.kept(tmp_path, key, slow)
    assert len(asked) == 5  # other code: measured anew
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(b"")
    resumed.kept(tmp_path, key, slow)
    assert len(asked) == 6


def test_the_rows_of_a_resumed_bench_say_when_it_was_measured(tmp_path, monkeypatch):
    """They are stamped with the time and commit of the run that takes them."""
    monkeypatch.setattr(resumed, "now", lambda: "2026-11-01T10:00:00+00:00")
    monkeypatch.setattr(resumed.environment, "commit", lambda: "earlier")

    def bench_of_both():
        return {name: benched(name, 1.0, 10.0) for name in ("baseline", "int8")}

    def again():
        return resumed.kept(tmp_path, lambda: ["bench"], bench_of_both)

    assert "benched" not in again()["int8"].circumstances
    monkeypatch.setattr(resumed, "now", lambda: "2026-11-09T10:00:00+00:00")
    monkeypatch.setattr(resumed.environment, "commit", lambda: "later")
    run = results.Run("04_pruning_quantization", tmp_path / "outputs")
    taken = again()
    bench.write(run, taken)
    confirmed.lay_beside(run, taken, "baseline")
    for row in results.read(run.path).itertuples():
        told = json.loads(row.detail)["benched"]
        assert (told["time"], told["commit"]) == ("2026-11-01T10:00:00+00:00", "earlier") and told["host"]
        assert row.commit == "later" and row.time > told["time"]


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
    confirmed.make(
        base, [*steps, ("pruned", {"share": 0.3, "stages": ["pitch"]})], "small", tmp_path, resume=False
    )
    assert [m.get("per_channel", "combined") for m in made] == [False, "combined"]


@pytest.fixture
def code(monkeypatch):
    """A list of what the code on the disk is from now on."""
    told = ["at first"]
    monkeypatch.setattr(environment, "code_now", lambda: told[-1])
    real = environment.code
    real.cache_clear()
    yield told
    real.cache_clear()


def test_what_came_out_after_the_code_was_changed_is_not_kept(tmp_path, monkeypatch, caplog, code):
    """A bench's processes are of the code on the disk, its parent is of that which it once read."""
    results.start("04_pruning_quantization", "smoke", outputs=tmp_path / "outputs")
    code.append("somebody saved a file")
    key = ["bench"]
    assert resumed.kept(tmp_path, lambda: key, lambda: 3, label="bench of istft") == 3
    assert "bench of istft is not kept for resuming: the code under" in caplog.text
    assert not (tmp_path / "kept").exists()
    base = systems.load("istft", target="torch/cpu", threads=1)
    step = ("int8-dynamic", {"stages": ["trunk"]})
    confirmed.make(base, [step], "small", tmp_path)
    place = confirmed.home(tmp_path, base.name, base.target, "small")
    assert not confirmed._lies_there(place, *step, base)
    with monkeypatch.context() as patch:
        patch.setattr(environment, "code", lambda: code[-1])
        assert not confirmed._lies_there(place, *step, base)
    code.append("at first")
    resumed.kept(tmp_path, lambda: key, lambda: 3)
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_code_is_known_by_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "REPOSITORY", tmp_path)
    (tmp_path / "lib").mkdir()
    told = [environment.code_now()]
    for name, text in (("a.py", "x = 1"), ("b.py", "x = 1"), ("b.py", "x = 2"), ("notes.md", "words")):
        (tmp_path / "lib" / name).write_text(text)
        told.append(environment.code_now())
    assert len(set(told[:4])) == 4 and told[4] == told[3]
    monkeypatch.setattr(environment, "versions", lambda: {"torch": "another"})
    assert environment.code_now() not in told


def test_a_variant_of_other_code_is_made_anew(tmp_path, monkeypatch):
    """Two trees with changes of their own have one commit: what tells them apart is their code."""
    base = systems.load("istft", target="torch/cpu", threads=1)
    step = ("int8-dynamic", {"stages": ["trunk"]})
    place = confirmed.home(tmp_path, base.name, base.target, "small")
    confirmed.make(base, [step], "small", tmp_path)
    assert confirmed._lies_there(place, *step, base)
    monkeypatch.setattr(confirmed.environment, "code", lambda: "another")
    assert not confirmed._lies_there(place, *step, base)


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


def test_the_worst_clip_is_the_one_to_listen_to():
    def judged(variant, *scores):
        clips = [
            evaluate.Clip(str(i), f"text {i}", np.full(9, ord(variant[0]), np.float32), 22_050)
            for i in range(len(scores))
        ]
        return evaluate.Judged(tuple(clips), tuple(ClipScores(None, {"mos_predicted": s}) for s in scores), {})

    base = judged("baseline", 4.0, 3.0, 4.5)
    one = worst.find(judged("int8", 3.9, 3.2, 4.1), base)  # not the one of the lowest score, nor the first
    assert (one.before.text, one.after.text, one.of) == ("text 2", "text 2", 3) and one.lost == pytest.approx(
        0.4
    )
    assert one.after.waveform[0] == ord("i") and one.before.waveform[0] == ord("b")
    other = worst.find(judged("nf4", 3.9, 3.0, 3.5), base)
    good = answer("without audible loss", True)
    tried = [
        Tried(trial("a", "torch/cpu", "int8"), good, worst=one),
        Tried(trial("a", "torch/cpu", "nf4"), good, worst=other),
        Tried(
            trial("a", "onnxruntime/cpu", "int8"), good, worst=worst.find(judged("int8", 3.0, 3.0, 4.5), base)
        ),
        Tried(trial("whisper-tiny.en", "torch/cpu", "int8"), good),  # says nothing
    ]
    players = compression.worst_clips(tried)
    assert {head: list(clips) for head, clips in players.items()} == {
        "a on torch/cpu, the worst of 3 sentences (2)": [
            "baseline",
            "int8 (-0.40 of predicted MOS)",
            "nf4 (-1.00 of predicted MOS)",
        ],
        "a on onnxruntime/cpu, the worst of 3 sentences (0)": ["baseline", "int8 (-1.00 of predicted MOS)"],
    }
    assert (
        worst.find(evaluate.Judged((), (ClipScores(None),), {}), evaluate.Judged((), (ClipScores(None),), {}))
        is None
    )


class Jury:
    """Hears one word of four, badly said, and finds no voice in it; nothing lies over anything where `apart`."""

    compute_type = "int8"

    def __init__(self, wrong=1.0, mos=1.5, apart=False):
        self.wrong, self.mos, self.apart = wrong, mos, apart

    def rate_all(self, sounds, *, metrics, originals=None, voice=()):
        if self.apart and originals:
            raise AudioError("f0: no two frames are voiced")
        if "speaker_similarity" in metrics:
            raise NoVoiceError("the voice detector finds 0.00 s of speech in 1.83 s: too little to tell who speaks")
        return [said(text, self.wrong, self.mos + i / 100) for i, (*_, text) in enumerate(sounds)]


def said(text, wrong, mos, **more):
    heard = text if not wrong else "nothing"
    return ClipScores(recognised(text, heard), {"mos_predicted": mos, **more}, Loss(10 * wrong, 4))


@pytest.mark.parametrize("apart", [False, True])
def test_a_variant_in_which_nobody_speaks_is_worse_and_not_unheard(apart, tmp_path, monkeypatch):
    """Its word errors and its predicted MOS are known; that nobody can be told to speak is one row of its own."""
    texts = [f"the house is on hill {i}" for i in range(12)]
    clips = tuple(evaluate.Clip(str(i), text, np.ones(9, np.float32), 22_050) for i, text in enumerate(texts))
    scores = tuple(said(c.text, 0.0, 4 + i / 100, speaker_similarity=0.9) for i, c in enumerate(clips))
    voice = Voice([0.0], 1.0)
    base = confirmed.Baseline(voice, texts, evaluate.Judged(clips, scores, summarise(scores)), clips[:1])
    variant = Voice([0.0], 1.0)
    variant.variant, variant.attends = "structured-50", False
    monkeypatch.setattr(evaluate, "speak", lambda system, sentences, seed: clips)
    run = results.Run("04_pruning_quantization", tmp_path)
    heard = confirmed.hear(run, base, variant, Jury(apart=apart))
    assert heard.verdict.word == "worse" and heard.worst.of == 12
    assert "speaker similarity was not compared with the baseline" in heard.verdict.reasons
    told = results.read(run.path).set_index("metric")
    assert {"wer", "asr_nll", "mos_predicted"} <= set(told[told.value.notna()].index)
    absent = told[told.kind == "not_run"]
    assert absent.index.tolist() == ["speaker_similarity"] and "too little to tell" in absent.detail.iloc[0]
    table = results.read(run.path)
    assert judgement.from_rows(table, "voice", "structured-50", "torch/cpu").quality.word == "worse"
    # As good as its baseline in all that can be judged, it is not called without loss: the voice was asked for.
    fine = confirmed.hear(results.Run("04_x", tmp_path), base, variant, Jury(0.0, 4.0, apart))
    assert fine.verdict.word == "undecided"


class Listener:
    """Hears what it is told to."""

    name, target, variant, threads, kind, size_mb = (
        "whisper-tiny.en",
        "torch/cpu",
        "baseline",
        1,
        "recogniser",
        75.0,
    )

    def __init__(self, *heard):
        self.heard = dict(zip("abcdefghij", heard))

    def transcribe(self, waveform, sample_rate):
        return Transcript(self.heard[chr(int(waveform[0]))])


def test_a_recogniser_is_judged_by_the_words_it_hears_in_the_same_clips(tmp_path, monkeypatch):
    names = "abcdefghij"
    said = {name: f"the {name} house is on the hill" for name in names}
    spoken = tuple(evaluate.Clip(n, said[n], np.full(10, ord(n), np.float32), 16_000) for n in names)
    monkeypatch.setattr(listened, "clips", lambda sentences, seed, threads: spoken)
    run = results.Run("04_pruning_quantization", tmp_path)
    base = confirmed.baseline(run, Listener(*said.values()), list(names), None)
    assert base.judged.summary["wer"].value == 0 and not base.voice and not run.path.exists()
    deaf = Listener(*(text.replace("hill", "bill").replace("a house", "a mouse") for text in said.values()))
    deaf.variant = "int8-dynamic"
    heard = confirmed.hear(run, base, deaf, None)
    assert heard.verdict.word == "worse" and heard.clips == ()
    (row,) = results.read(run.path).query("metric == 'wer'").itertuples()
    assert row.value == pytest.approx(11 / 70) and row.baseline == "baseline" and row.n == 10
    assert confirmed.before(row) == pytest.approx(0, abs=1e-4)


def test_a_baseline_stands_beside_its_variants_on_the_same_sentences():
    """It has no rows of its own: what a variant was compared with is its value less the difference."""
    table = rows(
        ("hifigan", "int8", "rtf", 0.1), ("vits-joe", "first", "wer", 0.15), ("vits-joe", "all", "wer", 0.13),
        ("vits-joe", "all", "mos_predicted", 3.9), ("vits-joe", "baseline", "rtf", 0.1),
    )  # fmt: skip
    differences = ["", {"difference": 0.10}, {"difference": 0.04}, {"difference": -0.2}, ""]
    table["detail"] = [json.dumps(one) if one else "" for one in differences]
    table["baseline"], table["n"] = ["", "baseline", "baseline", "baseline", ""], [10, 5, 10, 10, 10]
    told = compression.with_baselines(table)
    whole = told[told.variant == "baseline"].set_index("metric")
    assert whole.value.to_dict() == pytest.approx({"wer": 0.09, "mos_predicted": 4.1, "rtf": 0.1})
    assert told.variant.tolist() == ["int8", "baseline", "baseline", "first", "all", "all", "baseline"]
    assert whole.ci_low.isna().all() and len(compression.with_baselines(told)) == len(told)
    assert compression.with_baselines(table[:0]).empty


def test_variants_of_fewer_sentences_are_shown_as_differences(tmp_path):
    """A baseline's value of all sentences, beside a variant's of the first ones, would show a loss that is none."""
    run = results.Run("04_pruning_quantization", tmp_path)

    def add(variant, metric, value, difference, half, n):
        told = {"difference": difference, "ci_low": difference - half, "ci_high": difference + half, "n": n}
        names = ("vits-joe", variant, "onnxruntime/cpu", metric)
        run.add(*names, value, n=n, baseline="baseline", detail=told)

    run.add("vits-joe", "baseline", "onnxruntime/cpu", "rtf", 0.1)
    add("all", "mos_predicted", 4.11, -0.02, 0.01, 100)
    add("all", "wer", 0.08, 0.001, 0.002, 100)
    add("first", "mos_predicted", 3.50, -0.45, 0.11, 20)
    add("first", "wer", 0.11, 0.0, 0.0, 20)
    heard = ["mos_predicted", "wer"]
    found = compression.with_baselines(show.rows(run))
    told = show.table(run, ["rtf", *heard], found=found, differences=heard).droplevel(["system", "target"])
    assert told.loc["baseline"].tolist() == ["0.100", "4.13", "7.9"]
    assert told.loc["all"].tolist() == ["", "−0.02 [−0.03, −0.01]", "+0.1 [−0.1, +0.3]"]
    assert told.loc["first"].tolist() == [
        "",
        "−0.45 [−0.56, −0.34] (n = 20)",
        "±0.0 [±0.0, ±0.0] (n = 20)",
    ]
    few = found[(found.variant != "all") & ((found.metric == "rtf") | (found.n == 20))]
    alone = show.table(run, ["rtf", *heard], found=few, differences=heard).iloc[-1]
    assert alone["Predicted MOS, points"] == "3.50"  # what it was compared with is not in the table


def test_a_vocoder_copies_what_its_teacher_read(tmp_path, monkeypatch):
    """Its copies are paired with the baseline's, and laid over what both are copies of."""
    vocoder = systems.load("istft", target="onnxruntime/cpu", threads=1)
    tone = np.sin(np.arange(30 * 256) / 20).astype(np.float32)
    read = tuple(evaluate.Clip(n, "a text", tone, 22_050) for n in "ab")
    monkeypatch.setattr(confirmed.systems, "load", lambda name, threads: name)
    monkeypatch.setattr(evaluate, "speak", lambda voice, sentences, seed: read if voice == "vits-joe" else None)
    copies, originals = confirmed._said(vocoder, list("ab"), 0)
    assert [len(c.waveform) for c in copies] == [len(o.waveform) for o in originals] == [30 * 256] * 2
    again, same = confirmed._said(vocoder, list("ab"), 0, originals)
    assert np.array_equal(again[0].waveform, copies[0].waveform) and np.array_equal(same[0].waveform, tone)
    seen = []
    monkeypatch.setattr(
        bench.Candidate, "of", staticmethod(lambda one: bench.Candidate("istft", one.variant, "torch/cpu", {}))
    )
    monkeypatch.setattr(bench, "bench", lambda candidates, inputs, **more: seen.extend(inputs) or {})
    monkeypatch.setattr(bench, "write", lambda run, benched: None)
    monkeypatch.setattr(confirmed.calibration, "mel", lambda vocoder, text, seed: (text, seed))
    confirmed.timed(results.Run("04_x", tmp_path, seed=5), vocoder, [], ["one", "two"])
    assert seen == [("one", 5), ("two", 6)]


def test_a_vocoder_takes_turns_with_pytorch(tmp_path, monkeypatch):
    """The floor asks how many times as fast as PyTorch: what is timed elsewhere has it in the same bench."""
    trials = [trial("istft", target, "int8") for target in ("onnxruntime/cpu", "torch/cpu")]
    here, there = (systems.load("istft", target=one.target, threads=1) for one in trials)
    beside = compression._on_torch(here, trials[0])
    assert (beside.name, beside.variant, beside.target) == ("istft", "baseline", "torch/cpu")
    assert compression._on_torch(there, trials[1]) is None  # it is the baseline itself
    assert compression._on_torch(Voice([0.0], 1.0), trial("voice", "onnxruntime/cpu", "int8")) is None
    asked = {}

    def timed(candidates, inputs, **more):
        asked.update(candidates)
        times = dict(zip(candidates, (0.5, 0.2, 1.0)))
        return {
            label: benched(one.variant, times[label], 10.0, one.target) for label, one in candidates.items()
        }

    monkeypatch.setattr(bench, "bench", timed)
    monkeypatch.setattr(confirmed.calibration, "mel", lambda vocoder, text, seed: text)
    run = results.Run("04_pruning_quantization", tmp_path)
    found = confirmed.timed(run, here, [here.adjusted(variant="int8")], ["a"] * 8, beside=beside)
    assert list(asked) == ["baseline", "int8", "baseline on torch/cpu"] == list(found)
    told = results.read(run.path)
    rtf = told[told.metric == "rtf"].set_index(["variant", "target"])
    assert len(rtf) == 3 and ("baseline", "torch/cpu") in rtf.index
    speedups = told[told.metric == "speedup"].set_index("variant")
    assert speedups.value["int8"] == pytest.approx(5, rel=0.02) and speedups.value["baseline"] == pytest.approx(
        2, rel=0.02
    )
    assert json.loads(speedups.detail["int8"])["of"] == "voice baseline on torch/cpu"
    assert set(speedups.target) == {"onnxruntime/cpu"}


def test_clips_of_the_same_length_are_laid_over_each_other():
    """The pitch of a variant that keeps the timing counts; of one that finds its own way nothing can be said."""

    def clips(*lengths):
        return tuple(evaluate.Clip("a", "a text", np.zeros(n, np.float32), 22_050) for n in lengths)

    voice = Voice([0.0], 1.0)
    voice.attends = False
    assert len(confirmed._aligned(voice, clips(5, 6), clips(5, 6))) == 2
    assert confirmed._aligned(voice, clips(5, 6), clips(5, 7)) == ()
    voice.attends = True
    assert confirmed._aligned(voice, clips(5, 6), clips(5, 6)) == ()
    scored = evaluate.Judged((), tuple(ClipScores(None, {"f0_error_cents": 5.0 + i}) for i in range(8)), {})
    assert confirmed._pitch(scored, 0)["f0_error_cents"].value == pytest.approx(8.5)


def test_a_variant_that_breaks_costs_its_row_and_no_other(tmp_path, monkeypatch):
    run = results.Run("04_pruning_quantization", tmp_path)
    trials = [trial("voice", "torch/cpu", name) for name in ("breaks", "refused", "fine")]
    faults = {"breaks": KeyError("dec"), "refused": ParameterError("nothing is selected")}

    def make(base, steps, name, folder, **more):
        if name in faults:
            raise faults[name]
        return name

    def weigh(run, base, heard, texts, rounds, resume, beside):
        return [answer("without audible loss", True)] * len(heard)

    clip = evaluate.Clip("a", "a text", np.zeros(9, np.float32), 22_050)
    voice = Voice([0.0], 1.0)
    monkeypatch.setattr(compression.systems, "load", lambda *a, **k: voice)
    base = confirmed.Baseline(voice, (), evaluate.Judged((clip,), (), {}))
    monkeypatch.setattr(confirmed, "baseline", lambda *a: base)
    monkeypatch.setattr(confirmed, "make", make)
    verdict = Verdict("without audible loss", ())
    monkeypatch.setattr(confirmed, "hear", lambda *a, **k: confirmed.Heard(voice, verdict, (clip,)))
    monkeypatch.setattr(confirmed, "weigh", weigh)
    tried = compression.study(run, trials, (), (), None, tmp_path)
    assert [one.why_not for one in tried] == ["KeyError: 'dec'", "nothing is selected", ""]
    assert tried[-1].answer.recommended and tried[-1].worst is None
    assert set(results.read(run.path).variant) == {"breaks", "refused"}
