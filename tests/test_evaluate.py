"""The measuring steps the notebooks call: they write the rows they promise, and their sentences say what the
numbers say.
"""

import json

import numpy as np
import pytest

from lib import results, systems
from lib.corpora import gutenberg
from lib.corpora.base import Corpus, Utterance
from lib.errors import MissingDataError, ParameterError
from lib.measure import comparisons, evaluate, stats
from lib.measure.intelligibility import word_errors
from lib.measure.scorer import Scorer
from lib.measure.scores import ClipScores, Recognition, summarise
from lib.report import notebook as show
from lib.systems.base import Speech, System

SENTENCES = gutenberg.split("validation", 3)


@pytest.fixture
def run(tmp_path):
    return results.Run("01_demo", tmp_path / "quick", seed=1)


@pytest.fixture(scope="module")
def hibari():
    return systems.load("hibari")


@pytest.fixture(scope="module")
def spoken(hibari):
    return evaluate.speak(hibari, SENTENCES, seed=0)


def test_speak_takes_another_seed_for_each_sentence(hibari, spoken):
    assert [clip.text for clip in spoken] == [s.text for s in SENTENCES]
    direct = hibari.synthesize(SENTENCES[2].text, 2).waveform
    assert np.abs(spoken[2].waveform - direct).max() <= 1 / 32_000  # 16-bit FLAC in the cache


def test_quality_writes_a_row_per_metric_and_keeps_clips(run, spoken):
    name = ("hibari", "baseline", "onnxruntime/cpu")
    judged = evaluate.quality(run, name, spoken, Scorer(), voice=spoken[1:], keep=2, group="demo")
    table = results.read(run.path)
    assert set(table.metric) == {
        "wer",
        "wer_raw",
        "cer",
        "cer_raw",
        "asr_nll",
        "mos_predicted",
        "dnsmos_ovrl",
        "speaker_similarity",
    }
    assert (table.n == 3).all() and table.ci_low.isna().all()  # of 3 sentences no interval is worth its name
    assert "mean of 2 clips" in table.set_index("metric").source["speaker_similarity"]
    assert judged.summary["mos_predicted"].value == pytest.approx(
        np.mean([s.values["mos_predicted"] for s in judged.scores])
    )
    assert len(list((run.folder / "audio" / "01_demo").glob("*.flac"))) == 2
    again = evaluate.quality(run, name, spoken, Scorer(), baseline=judged, baseline_name="itself")
    rows = results.read(run.path).set_index("metric")
    for metric in ("wer", "asr_nll"):
        assert rows.baseline[metric] == "itself" and json.loads(rows.detail[metric]) == {
            "difference": 0.0,
            "ci_low": None,
            "ci_high": None,
            "p_value": 1.0,
            "sd": 0.0,
            "n": 3,
        }
    assert again.summary["wer"].value == judged.summary["wer"].value


def test_attention_failures_are_counted_for_systems_that_watch_themselves(run, hibari, monkeypatch):
    class Wanderer(System):
        name, target, sample_rate, attends = "wanderer", "native/cpu", 24_000, True

        def speak(self, sentence, seed): ...

        def synthesize(self, text, seed=0):
            speech = hibari.synthesize(text, seed)
            return Speech(speech.waveform, speech.sample_rate, notes=("skipped 'abc'",) if seed == 1 else ())

    clips = evaluate.speak(Wanderer(), SENTENCES)
    assert evaluate.speak(Wanderer(), SENTENCES)[1].notes == ("skipped 'abc'",)  # from the cache, too
    evaluate.quality(run, ("wanderer", "baseline", "test/cpu"), clips, Scorer(), second_opinion=0)
    row = results.read(run.path).set_index("metric").loc["attention_failures_pct"]
    assert (
        row.value == pytest.approx(100 / 3) and row.n == 3 and f"{SENTENCES[1].id}: skipped 'abc'" in row.detail
    )
    assert evaluate.attention_failures(evaluate.speak(hibari, SENTENCES)) is None


def test_recordings_are_of_a_usual_length_and_counted():
    def utterance(index, seconds, text):
        waveform = (0.1 * np.sin(np.arange(int(seconds * 16_000)) / 9)).astype(np.float32)
        return Utterance(f"u{index}", text, text, "s", "test", 16_000, lambda: (waveform, 16_000))

    corpus = Corpus(
        "demo",
        "here",
        "none",
        (
            utterance(0, 1, "too short to be compared at all"),
            utterance(1, 3, "just right for us"),
            utterance(2, 3, "few words"),
            utterance(3, 20, "far too long to be used here"),
        ),
    )
    assert [clip.id for clip in evaluate.recordings(corpus)] == ["u1"]
    with pytest.raises(MissingDataError, match="demo has no clip of 1.5 to 12 s in its train split"):
        evaluate.recordings(corpus, split="train")


def test_reference_clips_are_of_the_speaker_meant_and_of_other_sentences(hibari, monkeypatch):
    test = {sentence.text for sentence in gutenberg.split("test")}
    clips = evaluate.reference_clips(hibari, 2)
    assert (
        len(clips) == 2
        and not test & {clip.text for clip in clips}
        and clips[0].sample_rate == hibari.sample_rate
    )
    asked = []
    monkeypatch.setattr(evaluate.systems, "load", lambda name, threads: asked.append(name) or hibari)
    named = evaluate.reference_clips("hibari", 2)
    assert all(np.array_equal(a.waveform, b.waveform) for a, b in zip(clips, named))
    for name, variant in (("tacotron2", "baseline"), ("hibari", "int8-dynamic"), ("espeak-ng", "baseline")):
        evaluate.reference_clips(type("Voice", (), {"name": name, "variant": variant})(), 1)
    assert asked == ["hibari", "vits-joe", "hibari"]  # of a pupil its teacher, of a variant its baseline
    assert evaluate.reference_clips("espeak-ng") == ()


def test_what_cannot_run_is_a_row_that_says_why(run):
    def fails():
        raise MissingDataError("no apt on this machine")

    assert (
        evaluate.try_or_not_run(run, ("ground-truth", "baseline", "recording"), ["wer", "mos_predicted"], fails)
        is None
    )
    table = results.read(run.path)
    assert table.kind.tolist() == ["not_run"] * 2 and set(table.detail) == {"no apt on this machine"}


def scores(mos, wrong, n=20):
    """n clips of 10 words each, `wrong` of them misheard in every clip, with predicted MOS around `mos`."""
    text = " ".join(["word"] * 10)
    counts = word_errors(text, " ".join(["word"] * (10 - wrong) + ["other"] * wrong))
    recognition = Recognition("", counts, counts, counts, counts)
    clips = tuple(ClipScores(recognition, {"mos_predicted": mos + 0.01 * (i % 3)}) for i in range(n))
    return evaluate.Judged((), clips, summarise(clips))


def test_only_clips_of_the_same_texts_are_paired(run, spoken):
    turned = evaluate.Judged(tuple(reversed(spoken)), (), {})
    with pytest.raises(ParameterError, match="clip 0 says .* the one it is paired with"):
        comparisons.versus(evaluate.Judged(tuple(spoken), (), {}), turned, "a", "b")


def test_sentences_say_what_the_numbers_say():
    good, bad = scores(4.2, 1), scores(3.1, 3)
    assert comparisons.ranking(0, {"bad (x)": bad, "good (x)": good}).startswith(
        "By predicted MOS on the same sentences: good > bad"
    )
    sentence = comparisons.versus(bad, good, "Bad", "good")
    assert (
        "1.10 predicted MOS points less" in sentence
        and "20.00 points of WER more" in sentence
        and sentence.count("p < 0.001") == 2
    )
    itself = comparisons.versus(good, scores(4.2, 1), "Good", "itself")
    assert itself.count("(p = 1.000)") == 2 and "the same predicted MOS" in itself and "the same WER" in itself


def test_tables_show_value_interval_and_kind(run):
    run.add("a", "baseline", "torch/cpu", "wer", 0.094, ci=(0.07, 0.12))
    run.add("a", "baseline", "torch/cpu", "power_w", 11.24, kind="estimated")
    run.not_run("b", "baseline", "torch/cuda", "wer", "no GPU")
    table = show.table(run, ["wer", "power_w"])
    assert table.iloc[0].tolist() == ["9.4 [7.0, 12.0]", "11.2 (estimated)"] and table.iloc[1].tolist() == [
        "not run",
        "",
    ]
    assert table.columns.tolist() == ["WER, normalised, %", "Power, W"]


def test_runs_that_measured_the_same_thing_have_a_line_each(run, tmp_path):
    run.add("a", "baseline", "torch/cpu", "wer", 0.09)
    results.Run("01_demo", tmp_path / "study", seed=1).add("a", "baseline", "torch/cpu", "wer", 0.08)
    for profile in ("quick", "study"):
        (tmp_path / profile / "results" / "01_demo.jsonl").rename(tmp_path / f"01_demo@{profile}.jsonl")
    table = show.table(run, ["wer"], found=results.read(tmp_path))
    assert table.iloc[:, 0].to_dict() == {
        ("a", "baseline", "torch/cpu", "01_demo@quick"): "9.0",
        ("a", "baseline", "torch/cpu", "01_demo@study"): "8.0",
    }


def test_what_was_recorded_can_be_shown(run):
    found = results.read(results.RECORDED)
    assert (
        len(show.table(run, sorted(set(found.metric)), found=found))
        >= found.groupby(["system", "variant", "target"]).ngroups
    )


def test_the_hardest_case_of_an_interval_is_no_interval():
    assert stats.mean_ci([1.0]).ci is None
