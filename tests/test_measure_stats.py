"""Intervals and tests against known values, known coverage, and the degenerate samples that real runs produce."""

import itertools

import numpy as np
import pytest

from lib.errors import ParameterError
from lib.measure import stats


def test_values_are_exact():
    assert stats.mean_ci([1, 2, 6]).value == pytest.approx(3)
    assert stats.ratio_ci([1, 0, 2], [10, 5, 5]).value == pytest.approx(3 / 20)
    assert stats.median_ci([5, 1, 9, 3]).value == pytest.approx(4)
    assert stats.quantile_ci(range(11), 0.9).value == pytest.approx(9)


def test_corpus_ratio_weighs_by_length_and_is_not_the_mean_of_ratios():
    errors, words = [5, 0, 0], [10, 100, 100]
    assert stats.ratio_ci(errors, words).value == pytest.approx(5 / 210)
    assert np.mean(np.divide(errors, words)) == pytest.approx(1 / 6)


def test_same_seed_same_interval_other_seed_close():
    values = np.random.default_rng(1).lognormal(size=50)
    first, again, other = (stats.mean_ci(values, seed=s) for s in (3, 3, 4))
    assert first == again
    assert other != first and abs(other.low - first.low) < 0.05 * (first.high - first.low)


@pytest.mark.parametrize("n", [20, 80])
def test_interval_of_a_normal_mean_is_as_wide_as_theory_says(n):
    values = np.random.default_rng(0).normal(size=n)
    standard_error = values.std() / np.sqrt(n)  # the bootstrap's own variance has n, not n - 1, below
    estimate = stats.mean_ci(values)
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * standard_error, rel=0.08)
    assert estimate.low < estimate.value < estimate.high


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):  # WER-like: Poisson errors, 5 in 100 words
        words = rng.integers(5, 20, 40)
        estimate = stats.ratio_ci(rng.poisson(0.05 * words), words)
        hits += estimate.low <= 0.05 <= estimate.high
    assert 0.90 <= hits / 200 <= 0.985


def test_skewed_errors_move_the_interval_upwards():
    estimate = stats.ratio_ci([0] * 35 + [1, 1, 2, 2, 6], [12] * 40)
    assert estimate.high - estimate.value > estimate.value - estimate.low


@pytest.mark.parametrize(
    "n, q, ends",
    [
        (6, 0.5, (1, 6)),  # covers 1 - 2 / 2^6 = 0.969
        (8, 0.5, (1, 8)),  # the 2nd to the 7th cover 0.930
        (9, 0.5, (2, 8)),  # 0.961
        (20, 0.5, (6, 15)),  # 0.959, as in every table of the sign test
        (29, 0.9, (21, 29)),  # 1 - 0.9^29 = 0.953, less the 0.002 of at most 20 below it
        (36, 0.9, (29, 36)),  # from here on with 2.5 % at most on each side
        (5, 0.5, None),  # 1 - 2 / 2^5 = 0.938 at most
        (28, 0.9, None),  # 1 - 0.9^28 = 0.948 at most
    ],
)
def test_interval_of_a_quantile_lies_between_the_order_statistics_of_the_binomial(n, q, ends):
    from scipy.stats import binom

    estimate = stats.quantile_ci(np.random.default_rng(0).permutation(n) + 1.0, q)
    if ends is None:
        assert estimate.ci is None and estimate.n == n
        return
    low, high = map(int, estimate.ci)
    assert (low, high) == ends
    assert binom.cdf(high - 1, n, q) - binom.cdf(low - 1, n, q) >= 0.95
    # Neither end can move inwards without leaving more than 2.5 % outside, or 5 % where one end is the last value.
    most = 0.025 if high < n or q == 0.5 else 0.05 - binom.sf(high - 1, n, q)
    assert binom.cdf(low, n, q) > most


@pytest.mark.parametrize("q, truth, n", [(0.5, np.log(2), 6), (0.5, np.log(2), 25), (0.9, np.log(10), 40)])
def test_interval_of_a_quantile_covers_it_as_often_as_it_says(q, truth, n):
    rng = np.random.default_rng(n)
    estimates = [stats.quantile_ci(rng.exponential(size=n), q) for _ in range(1_000)]
    assert 0.935 <= np.mean([e.low <= truth <= e.high for e in estimates])


def test_interval_of_a_mean_covers_it_as_often_as_the_note_says():
    rng = np.random.default_rng(3)
    for n, least, most in ((5, 0.77, 0.90), (20, 0.88, 0.97)):
        estimates = [stats.mean_ci(rng.normal(size=n)) for _ in range(200)]
        assert least <= np.mean([e.low <= 0 <= e.high for e in estimates]) <= most


def test_too_few_utterances_have_no_interval():
    for n in (1, 2, 4):
        for estimate in (
            stats.mean_ci([4.2, 4, 5, 1][:n]),
            stats.ratio_ci([1] * n, [4] * n),
            stats.median_ci([3.0] * n),
        ):
            assert estimate.n == n and estimate.low is None and estimate.high is None and estimate.ci is None


def test_agreeing_utterances_have_an_interval_without_width():
    assert stats.mean_ci([2.0] * 5).ci == (2.0, 2.0)
    assert stats.ratio_ci([0] * 5, [3, 8, 5, 2, 9]).ci == (0.0, 0.0)
    assert stats.ratio_ci([1, 2, 4, 1, 3], [10, 20, 40, 10, 30]).ci == pytest.approx((0.1, 0.1))


def test_utterances_without_words_are_allowed_but_not_only_they():
    estimate = stats.ratio_ci([1, 0, 1, 1, 0], [4, 0, 6, 2, 3])
    assert estimate.value == pytest.approx(0.2) and 0 <= estimate.low <= estimate.high
    with pytest.raises(ParameterError, match="not all 0"):
        stats.ratio_ci([1, 2], [0, 0])


def test_exact_permutation_p_value():
    # All 8 of 8 utterances worse by different amounts: only the two all-same-sign patterns are as extreme, 2 / 2^8.
    difference = stats.paired_difference([2, 4, 6, 8, 10, 12, 14, 16], [1, 2, 3, 4, 5, 6, 7, 8])
    assert difference.value == pytest.approx(4.5)
    assert difference.p_value == pytest.approx(2 / 256)
    assert difference.significant and difference.low > 0


def test_permutation_p_agrees_with_enumeration_by_hand():
    a, b = np.array([3.0, 1.0, 4.0, 1.5]), np.array([2.0, 1.5, 2.0, 1.0])
    d = a - b
    signs = itertools.product([1, -1], repeat=4)
    expected = np.mean([abs(np.mean(np.multiply(s, d))) >= abs(d.mean()) - 1e-12 for s in signs])
    assert stats.paired_difference(a, b).p_value == pytest.approx(expected)


def test_no_difference_is_not_significant_and_p_is_never_zero():
    same = stats.paired_difference(np.arange(20.0), np.arange(20.0))
    assert same.value == 0 and same.ci == (0, 0) and same.p_value == 1
    large = stats.paired_difference(np.arange(60.0) + 5, np.arange(60.0) + np.linspace(0, 1, 60))
    assert 0 < large.p_value < 0.001


def test_random_permutation_matches_the_t_test():
    from scipy.stats import ttest_rel

    rng = np.random.default_rng(5)
    a = rng.normal(size=40)
    b = a + rng.normal(0.25, 1, size=40)
    assert stats.paired_difference(a, b).p_value == pytest.approx(ttest_rel(a, b).pvalue, abs=0.02)


def test_pairing_finds_what_the_unpaired_intervals_hide():
    rng = np.random.default_rng(0)
    quality = rng.normal(3.5, 0.5, 40)  # sentences differ much, the systems little
    before, after = quality, quality - 0.05 + rng.normal(0, 0.05, 40)
    a, b = stats.mean_ci(before), stats.mean_ci(after)
    assert a.low < b.high  # the two intervals overlap
    assert stats.paired_difference(after, before).high < 0


def test_paired_ratio_difference_of_wer():
    words = [10, 12, 8, 15, 9, 11]
    before, after = [1, 0, 1, 0, 0, 1], [2, 1, 3, 1, 1, 3]
    difference = stats.paired_ratio_difference(after, words, before, words)
    assert difference.value == pytest.approx((11 - 3) / 65)
    assert difference.p_value == pytest.approx(2 / 64)  # every sentence got worse
    assert difference.low > 0


def test_the_spread_of_a_difference_is_that_of_its_utterances():
    a, b = np.array([3.0, 1.0, 4.0, 1.5, 2.0]), np.array([2.0, 1.5, 2.0, 1.0, 2.0])
    assert stats.paired_difference(a, b).sd == pytest.approx(np.std(a - b, ddof=1))
    words = [10, 10, 10, 10, 10]
    assert stats.paired_ratio_difference(10 * a, words, 10 * b, words).sd == pytest.approx(
        np.std(a - b, ddof=1)
    )
    assert stats.paired_difference([2], [1]).sd is None and stats.paired_difference([2], [1]).p_value == 1


def test_a_swap_that_leaves_no_words_counts_against_us():
    assert stats.paired_ratio_difference([1, 0], [4, 0], [0, 2], [0, 5]).p_value == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.mean_ci([]),
        lambda: stats.mean_ci([1.0, float("nan")]),
        lambda: stats.mean_ci([[1.0, 2.0]]),
        lambda: stats.ratio_ci([1, 2], [1, 2, 3]),
        lambda: stats.ratio_ci([1, 2], [3, -1]),
        lambda: stats.paired_difference([1, 2], [1]),
        lambda: stats.quantile_ci([1, 2], 90),
    ],
)
def test_bad_samples_have_one_clear_error(call):
    with pytest.raises(ParameterError):
        call()


def test_a_share_has_wilsons_interval_also_where_nothing_happened():
    none, some = stats.share_ci([False] * 100), stats.share_ci([True] + [False] * 9)
    assert (none.value, none.low, none.n) == (0, 0, 100) and none.high == pytest.approx(
        0.0370, abs=1e-4
    )  # z^2 / (n + z^2)
    assert some.value == 0.1 and (some.low, some.high) == pytest.approx((0.0179, 0.4042), abs=1e-4)
    with pytest.raises(ParameterError, match="no events"):
        stats.share_ci([])
