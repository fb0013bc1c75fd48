"""Intervals over rounds and sentences cover the truth as often as they say, also with three rounds."""

import numpy as np
import pytest

from lib.errors import ParameterError
from lib.measure import nested

WORLDS = 400  # the share of 95 % is then known to one point


def rtf(seconds, audio_s):
    return seconds.sum((1, 2)) / audio_s.sum((1, 2))


def world(rng, rounds, sentences, of_round, of_sentence, of_timing):
    """Seconds and audio seconds (rounds, sentences) of a machine whose true RTF is 0.05 times the mean of its
    noises.
    """
    audio_s = np.broadcast_to(rng.uniform(1.5, 8, sentences), (rounds, sentences))
    noise = (
        of_round * rng.standard_normal((rounds, 1))
        + of_sentence * rng.standard_normal(sentences)
        + of_timing * rng.standard_normal((rounds, sentences))
    )
    return 0.05 * audio_s * np.exp(noise), audio_s


@pytest.mark.parametrize("rounds", [3, 5])
@pytest.mark.parametrize("sentences", [8, 40])
@pytest.mark.parametrize("noise", [(0.05, 0.15, 0.05), (0.1, 0.02, 0.05), (0.0, 0.2, 0.02)], ids=str)
def test_the_interval_of_a_ratio_covers_the_truth(rounds, sentences, noise, monkeypatch):
    monkeypatch.setattr(nested, "DRAWS", 200)
    rng, truth = np.random.default_rng(0), 0.05 * np.exp(sum(n**2 for n in noise) / 2)
    hits = 0
    for number in range(WORLDS):
        interval = nested.estimate(rtf, *world(rng, rounds, sentences, *noise), seed=number)
        hits += interval.low <= truth <= interval.high
    assert 0.88 <= hits / WORLDS <= 0.99


@pytest.mark.parametrize("rounds", [3, 5])
def test_what_changes_nothing_is_rarely_called_a_difference(rounds, monkeypatch):
    monkeypatch.setattr(nested, "DRAWS", 200)
    rng, called, agree = np.random.default_rng(1), 0, 0
    for number in range(WORLDS):
        seconds, _ = world(rng, rounds, 10, 0.05, 0.15, 0.0)
        other = seconds * np.exp(
            0.03 * rng.standard_normal((rounds, 1)) + 0.03 * rng.standard_normal((rounds, 10))
        )
        ratio = nested.ratio(lambda a, b: rtf(a, b), other, seconds, seed=number)
        called += ratio.significant
        agree += ratio.significant == (not ratio.low <= 1 <= ratio.high)
    assert called / WORLDS <= 0.1
    assert agree == WORLDS  # the p value and the interval say the same


def test_percentiles_of_three_rounds_would_not_do(monkeypatch):
    """What the t quantile is for: the plain bootstrap of the same worlds covers far less."""
    rng, hits, truth = np.random.default_rng(0), 0, 0.05 * np.exp((0.1**2 + 0.02**2 + 0.05**2) / 2)
    for _ in range(WORLDS):
        seconds, audio_s = world(rng, 3, 40, 0.1, 0.02, 0.05)
        drawn_rounds, drawn_sentences = rng.integers(3, size=(200, 3)), rng.integers(40, size=(200, 40))
        drawn = [
            rtf(*(x[r][:, s][None] for x in (seconds, audio_s)))[0]
            for r, s in zip(drawn_rounds, drawn_sentences)
        ]
        low, high = np.quantile(drawn, [0.025, 0.975])
        hits += low <= truth <= high
    assert hits / WORLDS < 0.85


@pytest.mark.parametrize("n", [3, 5])
def test_the_interval_over_rounds_covers_also_with_slow_starts(n):
    rng = np.random.default_rng(2)
    plain = np.exp(0.05 * rng.standard_normal((2_000, n)))
    slow = plain * np.where(rng.random((2_000, n)) < 0.1, 1.2, 1.0)
    for values, truth, least in ((plain, 1.0, 0.935), (slow, 1.2**0.1, 0.92)):
        intervals = [nested.over_rounds(row) for row in values]
        assert least <= np.mean([i.low <= truth <= i.high for i in intervals]) <= 0.99


def test_there_is_no_interval_of_too_little():
    seconds, audio_s = world(np.random.default_rng(0), 3, 8, 0.1, 0.1, 0.1)
    assert nested.estimate(rtf, seconds, audio_s).ci
    assert nested.estimate(rtf, seconds[:2], audio_s[:2]).ci is None
    assert nested.estimate(rtf, seconds[:, :7], audio_s[:, :7]).ci is None
    assert nested.ratio(rtf, seconds[:2], audio_s[:2]).p_value is None
    assert nested.over_rounds([1.0, 2.0]).ci is None
    assert nested.over_rounds([1.0, 2.0, 4.0]).value == pytest.approx(2.0)
    with pytest.raises(ParameterError, match="above 0"):
        nested.over_rounds([1.0, 0.0, 2.0])
    with pytest.raises(ParameterError, match="same rounds"):
        nested.estimate(rtf, seconds, audio_s[:2])


def test_what_never_varies_has_an_interval_without_width():
    same = np.full((3, 8), 2.0)
    one = nested.estimate(rtf, same, same)
    assert (one.low, one.value, one.high) == (1.0, 1.0, 1.0)
    assert nested.ratio(rtf, same, same).p_value == 1.0 and nested.ratio(rtf, same, 2 * same).significant
