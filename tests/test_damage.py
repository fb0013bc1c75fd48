"""Known damage: noise is as loud as it says, 8-bit products change a voice and not its timing, and the counts of
sentences and the margin are those that theory gives for known differences.
"""

import numpy as np
import pytest

from lib import systems
from lib.corpora import gutenberg
from lib.errors import ParameterError
from lib.measure import evaluate, scorer
from lib.measure.evaluate import Clip, Judged
from lib.measure.intelligibility import ErrorCounts
from lib.measure.likelihood import Loss
from lib.measure.scores import ClipScores, Recognition, summarise
from lib.studies import damage


def test_noise_is_as_far_below_the_speech_as_it_says():
    tone = np.sin(np.arange(48_000) / 9).astype(np.float32)
    clips = [Clip("a", "a", 0.5 * tone, 24_000), Clip("b", "b", 0.1 * tone, 24_000)]
    noises = {}
    for snr in (30, 10):
        for before, after in zip(clips, damage.noisy(clips, snr)):
            noise = noises[before.id, snr] = after.waveform - before.waveform
            ratio = 10 * np.log10(np.mean(before.waveform**2) / np.mean(noise**2))
            assert ratio == pytest.approx(snr, abs=0.1)
    assert np.allclose(noises["a", 10], 10 * noises["a", 30], atol=1e-6)  # the same noise, louder
    assert np.abs(np.corrcoef(noises["a", 10], noises["b", 10])[0, 1]) < 0.05  # another one for each clip


def test_eight_bit_products_change_the_voice_and_not_its_durations():
    voice = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    rough = damage.quantized(voice)
    before, after = (v.synthesize("Four hours of steady work faced us.", 0).waveform for v in (voice, rough))
    assert len(before) == len(after) and rough.variant == damage.INT8 and voice.variant == "baseline"
    snr = 10 * np.log10(np.mean(before**2) / np.mean((after - before) ** 2))
    assert 10 < snr < 40
    assert len(rough.graphs["decoder"]) < 0.7 * len(voice.graphs["decoder"])


def test_sentences_needed_are_those_of_the_t_test():
    """d' of 0.5: 31.4 + 1.9 = 34 sentences in every table of the paired t test at 5 % and power 80 %."""
    worse = np.random.default_rng(0).normal(size=2_000)
    worse = (worse - worse.mean()) / worse.std(ddof=1)
    assert damage.sentences_needed(worse + 0.5) == pytest.approx(34, abs=2)
    assert damage.sentences_needed(worse + 0.1) == pytest.approx(787, rel=0.07)
    assert damage.sentences_needed(worse + 20) == 6
    assert damage.sentences_needed(worse) is None and damage.sentences_needed(worse - 0.5) is None
    assert damage.sentences_needed(np.zeros(40)) is None


def judged(errors, nats, mos):
    """Clips of 10 words each."""
    scores = []
    for e, n, m in zip(errors, nats, mos):
        counts = ErrorCounts(int(e), 0, 0, 10)
        recognition = Recognition("", counts, counts, counts, counts)
        scores.append(ClipScores(recognition, {"mos_predicted": float(m)}, Loss(float(n), 10)))
    return Judged((), tuple(scores), summarise(scores))


@pytest.fixture
def ladder():
    """Clean clips and two noises. A point of WER goes with 0.04 nats a word: 4 nats for every error."""
    rng = np.random.default_rng(1)
    n = 80
    clean = np.zeros(n)
    mild, strong = rng.poisson(0.3, n), rng.poisson(1.2, n)
    noise = rng.normal(0, 0.1, (2, n))
    return {
        "baseline": judged(clean, clean + 2, clean + 4.2),
        "noise-30db": judged(mild, 4 * mild + 2, 3.9 + noise[0]),
        "noise-10db": judged(strong, 4 * strong + 2, 3.0 + noise[1]),
    }


def test_the_margin_is_the_slope_between_loss_and_errors(ladder):
    found = damage.margin(ladder)
    assert (
        found.value == pytest.approx(0.04)
        and (found.low, found.high) == pytest.approx((0.04, 0.04))
        and found.n == 80
    )


def test_every_metrics_need_is_counted_and_said(ladder):
    table = damage.needed(ladder)
    assert list(table.index) == ["noise-30db", "noise-10db"] and list(table.columns) == list(damage.METRICS)
    assert table.loc["noise-30db", "mos_predicted"] == 6 < table.loc["noise-30db", "wer"]
    assert table.loc["noise-10db", "wer"] < table.loc["noise-30db", "wer"]
    said = damage.finding(ladder)
    assert said.startswith(
        "WER and the recogniser's loss and predicted MOS put clean speech and 2 levels of noise in"
    )
    assert f"noise at 30 dB {table.loc['noise-30db', 'wer']} by WER" in said and "0.040 nats a word" in said
    upside_down = ladder | {"noise-10db": ladder["baseline"]}
    said = damage.finding(upside_down)
    assert said.startswith("No metric put") and "noise at 10 dB more than 2,000 by WER" in said


def test_the_study_writes_rows_of_its_own_and_wants_the_same_sentences(tmp_path):
    from lib import results

    voice = systems.load("hibari", threads=1)
    clips = evaluate.speak(voice, gutenberg.split("validation", 2))
    run = results.Run("02_demo", tmp_path)
    names = ("hibari", "baseline", "onnxruntime/cpu")
    found = damage.study(run, clips, names, scorer.Scorer(), noises=(5,), int8=clips)
    assert list(found) == ["baseline", "noise-5db", damage.INT8]
    table = results.read(run.path).set_index(["variant", "metric"])
    row = table.loc["noise-5db@damage", "asr_nll"]
    assert row.baseline == "baseline" and row.value > found["baseline"].summary["asr_nll"].value
    assert "baseline" not in table.index.get_level_values("variant")
    with pytest.raises(ParameterError, match="other sentences"):
        damage.study(run, clips, names, scorer.Scorer(), int8=clips[::-1])
