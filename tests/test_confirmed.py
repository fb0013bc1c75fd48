"""A variant is judged and timed beside its baseline: none that is slower or larger is recommended, few sentences may be
enough to refuse one, and a study goes on where it stopped.
"""

import json

import numpy as np
import pytest
from test_compression import Voice, answer, judged, rows

from lib import optimize, results, systems
from lib.errors import ParameterError
from lib.measure import bench, evaluate, judgement
from lib.measure.scores import ClipScores
from lib.measure.verdict import RECOMMENDED, Verdict
from lib.report import shrunk
from lib.studies import compression, confirmed, listened, piper, promised, recovered, resumed
from lib.studies.compression import Tried, trial
from lib.systems.base import Transcript


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
    confirmed.make(
        base, [*steps, ("pruned", {"share": 0.3, "stages": ["pitch"]})], "small", tmp_path, resume=False
    )
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
    table["detail"] = [
        json.dumps({"difference": value - values["baseline"][recovered.METRICS.index(metric)]})
        if variant != "baseline" and metric in ("mos_predicted", "asr_nll")
        else ""
        for variant, metric, value in zip(table.variant, table.metric, table.value)
    ]
    table["baseline"] = ["" if variant == "baseline" else "baseline" for variant in table.variant]
    table = table[(table.variant != "baseline") | ~table.metric.isin(("mos_predicted", "asr_nll"))]
    front = recovered.front(results.read(), table)
    assert front.mos_predicted[0] == pytest.approx(4.2) and front.asr_nll[0] == pytest.approx(0.5)
    assert front.variant.tolist() == list(values)
    assert front.mos_predicted[1] == pytest.approx(2.9)
    # Proven worse on its first, easier sentences, it was not heard on all: what counts is how it did on these.
    screened = (table.variant == "structured-50") & (table.metric == "mos_predicted")
    few = table.assign(value=table.value + 0.3 * screened, n=np.where(screened, 20, 100))
    assert recovered.finding(recovered.front(results.read(), few)) == recovered.finding(front)
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

    def weigh(run, base, heard, texts, rounds, resume):
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
    assert tried[-1].answer.recommended and tried[-1].clips == (clip, clip)
    assert set(results.read(run.path).variant) == {"breaks", "refused"}
