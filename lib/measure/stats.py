"""How sure is a number? Bootstrap intervals over utterances, and whether two systems really differ.

Every interval is a 95 % bootstrap interval in which whole utterances are drawn with replacement, because the sentences,
not the words or the samples, are what another test would choose differently. Means and ratios use the
bias-corrected and accelerated interval (BCa; Efron 1987, https://doi.org/10.2307/2289144) as scipy implements
it: word errors are skewed (most sentences have none, a few have many), and there the plain percentile interval
covers the truth less often than it says. Quantiles have the exact interval between two order statistics, whose
coverage follows from the binomial distribution alone, whatever the values' own.

What an interval cannot say: where all utterances agree it has no width (no error in any of 40 sentences is [0, 0],
although the next 40 may hold one). Where too few utterances cannot carry 95 %, there is none (`low` and `high`
are None): fewer than MIN_N for means and ratios, 6 for a median, 29 for a 90th percentile.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import ParameterError

CONFIDENCE = 0.95
RESAMPLES = 5_000  # the ends of the interval then wander by about 2 % of its width from seed to seed
# Utterances below which a mean has no interval. Of normal values the bootstrap's covers 85 % with 5, 88 % with 8 and
# 93 % with 20 (simulated, tests/test_measure_stats.py); with fewer it is not worth its name.
MIN_N = 5


@dataclass(frozen=True)
class Estimate:
    """A statistic over `n` utterances with its 95 % interval; `low` and `high` are None where there is no interval."""

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def ci(self) -> tuple[float, float] | None:
        """The interval as the results contract takes it: (low, high) or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True)
class Difference(Estimate):
    """`a` minus `b` on the same utterances. p_value: two-sided, of the sign-flip permutation test; sd: of the
    utterances' differences, from which follows how many would decide.
    """

    p_value: float
    sd: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the two differ at the 5 % level."""
        return self.p_value < 1 - CONFIDENCE


def mean_ci(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """Mean of one value per utterance, with a BCa interval."""
    return _estimate(lambda x, axis: x.mean(axis=axis), seed, values=values)


def ratio_ci(numerators: Sequence[float], denominators: Sequence[float], *, seed: int = 0) -> Estimate:
    """Sum of numerators over sum of denominators, with a BCa interval that draws the pairs together.

    Corpus WER is ratio_ci(errors, words), RTF is ratio_ci(compute seconds, audio seconds): long utterances
    count for more.
    """
    _check_denominators(denominators)
    return _estimate(_ratio, seed, numerators=numerators, denominators=denominators)


def median_ci(values: Sequence[float]) -> Estimate:
    """Median of one value per utterance, with the exact interval of `quantile_ci`."""
    return quantile_ci(values, 0.5)


def quantile_ci(values: Sequence[float], q: float) -> Estimate:
    """The q-quantile (linear interpolation, as numpy) of one value per utterance, with an interval between two of the
    sorted values that covers it in at least 95 % (Conover 1999, section 3.2), or none where no two do.

    How many of n values lie below the true quantile is binomial, so the l-th and the u-th of them enclose it with
    the probability that the count is in l ... u - 1.
    """
    from scipy.stats import binom

    if not 0 <= q <= 1:
        raise ParameterError(f"quantile {q} is not between 0 and 1")
    ordered = np.sort(_columns(values=values)[0])
    value, n = float(np.quantile(ordered, q)), len(ordered)
    below = binom.cdf(
        np.arange(n), n, q
    )  # (n,) P(at most k of the values lie below the quantile), k = 0 ... n - 1
    tail = (1 - CONFIDENCE) / 2
    low, high = np.searchsorted(below, tail, side="right") - 1, np.searchsorted(below, 1 - tail)
    if low < 0 or high >= n:  # no two leave 2.5 % on each side: the narrowest that leave 5 % together
        inside = (
            below[None, :] - below[:, None]
        )  # [l, u]: P(the l-th and the u-th, from 0, enclose the quantile)
        width = np.subtract.outer(np.arange(n), np.arange(n)).T  # u - l
        enough = inside >= CONFIDENCE
        if not enough.any():
            return Estimate(value, None, None, n)
        narrowest = enough & (width == width[enough].min())
        low, high = np.unravel_index(np.where(narrowest, inside, -1).argmax(), inside.shape)
    return Estimate(value, float(ordered[low]), float(ordered[high]), n)


def share_ci(events: Sequence[bool]) -> Estimate:
    """How often something happens, with Wilson's 95 % interval: also where it never did, unlike a bootstrap.

    Wilson 1927; through scipy.
    """
    from scipy.stats import binomtest

    if not len(events):
        raise ParameterError("a share of no events: give at least one")
    count = int(np.count_nonzero(events))
    interval = binomtest(count, len(events)).proportion_ci(0.95, method="wilson")
    return Estimate(count / len(events), float(interval.low), float(interval.high), len(events))


def paired_difference(values_a: Sequence[float], values_b: Sequence[float], *, seed: int = 0) -> Difference:
    """Mean of a minus mean of b, the same utterances in the same order.

    p: under the hypothesis that nothing changed, the sign of each utterance's difference is a coin toss.
    """
    a, b = _columns(values_a=values_a, values_b=values_b)
    difference = a - b
    estimate = mean_ci(difference, seed=seed)

    def gap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        both = np.concatenate([a, b])
        return both[first].mean(axis=-1) - both[second].mean(axis=-1)

    return Difference(
        estimate.value, estimate.low, estimate.high, estimate.n, _swap_test(gap, len(a), seed), _sd(difference)
    )


def paired_ratio_difference(
    numerators_a: Sequence[float],
    denominators_a: Sequence[float],
    numerators_b: Sequence[float],
    denominators_b: Sequence[float],
    *,
    seed: int = 0,
) -> Difference:
    """Ratio of sums of a minus ratio of sums of b (corpus WER before and after, RTF of two variants), paired.

    p: under the hypothesis that nothing changed, which of an utterance's two results belongs to a is a coin toss.
    """
    _check_denominators(denominators_a)
    _check_denominators(denominators_b)
    named = {
        "numerators_a": numerators_a,
        "denominators_a": denominators_a,
        "numerators_b": numerators_b,
        "denominators_b": denominators_b,
    }
    estimate = _estimate(
        lambda na, da, nb, db, axis: _ratio(na, da, axis) - _ratio(nb, db, axis), seed, **named
    )
    na, da, nb, db = _columns(**named)
    above, below = np.concatenate([na, nb]), np.concatenate([da, db])

    def gap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return _ratio(above[first], below[first], -1) - _ratio(above[second], below[second], -1)

    # A ratio's difference is nearly the mean of these (its linearisation), so their spread is that of an utterance.
    each = (na - na.sum() / da.sum() * da) / da.mean() - (nb - nb.sum() / db.sum() * db) / db.mean()
    return Difference(
        estimate.value, estimate.low, estimate.high, estimate.n, _swap_test(gap, len(na), seed), _sd(each)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number, step down (Holm 1979, https://www.jstor.org/stable/4615733).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate([(len(order) - i) * p_values[k] for i, k in enumerate(order)])
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(stepped, 1)
    return [float(p) for p in corrected]


def p_text(p_value: float) -> str:
    """A p value as people write it.

    >>> p_text(0.0312), p_text(0.0002)
    ('p = 0.031', 'p < 0.001')
    """
    return f"p = {p_value:.3f}" if p_value >= 0.001 else "p < 0.001"


def _ratio(numerators: np.ndarray, denominators: np.ndarray, axis: int) -> np.ndarray:
    """Ratio of sums; NaN for a draw that holds no denominator (only utterances without a word)."""
    below = denominators.sum(axis=axis)
    return numerators.sum(axis=axis) / np.where(below > 0, below, np.nan)


def _columns(**named: Sequence[float]) -> list[np.ndarray]:
    """The named sequences as float64 (n,) arrays of one length, or ParameterError."""
    arrays = [np.asarray(values, dtype=np.float64) for values in named.values()]
    for name, array in zip(named, arrays):
        if array.ndim != 1 or not array.size:
            raise ParameterError(
                f"{name}: shape {array.shape}; give one number for each of at least one utterance"
            )
        if not np.isfinite(array).all():
            raise ParameterError(
                f"{name}: {int((~np.isfinite(array)).sum())} of {array.size} values are not finite"
            )
        if len(array) != len(arrays[0]):
            raise ParameterError(
                f"{name} has {len(array)} values, {next(iter(named))} {len(arrays[0])}: one each per utterance"
            )
    return arrays


def _check_denominators(denominators: Sequence[float]) -> None:
    below = _columns(denominators=denominators)[0]
    if (below < 0).any() or below.sum() <= 0:
        raise ParameterError("denominators must be at least 0 and not all 0")


def _sd(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _estimate(statistic: Callable[..., np.ndarray], seed: int, **named: Sequence[float]) -> Estimate:
    """The statistic of the whole sample with its interval. statistic: vectorised over `axis`, one argument per
    column.
    """
    from scipy.stats import bootstrap

    columns = _columns(**named)
    value, n = float(statistic(*columns, axis=-1)), len(columns[0])
    if n < MIN_N:
        return Estimate(value, None, None, n)
    if all((column == column[0]).all() for column in columns):
        return Estimate(value, value, value, n)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # scipy warns of the degenerate draws that are handled below
        drawn = bootstrap(
            columns,
            statistic,
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    low, high = map(float, drawn.confidence_interval)
    if not (
        np.isfinite(low) and np.isfinite(high)
    ):  # all draws alike (constant ratios), or a draw without denominator
        draws = drawn.bootstrap_distribution[np.isfinite(drawn.bootstrap_distribution)]
        low, high = map(float, np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    return Estimate(value, low, high, n)


def _swap_test(gap: Callable[[np.ndarray, np.ndarray], np.ndarray], n: int, seed: int) -> float:
    """Two-sided p of the gap between n results of a and n of b, given as indexes (..., n) into a's results followed by
    b's, when each utterance's two may have changed places; exact where RESAMPLES covers all 2^n patterns (n <= 12).
    """
    from scipy.stats import permutation_test

    def distance(first: np.ndarray, second: np.ndarray, axis: int) -> np.ndarray:
        with np.errstate(all="ignore"):
            # Equal sums can differ in the last bits; a swap that leaves no denominator counts against us.
            return np.nan_to_num(np.round(np.abs(gap(first.astype(int), second.astype(int))), 12), nan=np.inf)

    if n == 1:
        return 1.0  # both patterns of one utterance are equally far apart
    return float(
        permutation_test(
            (np.arange(n), np.arange(n, 2 * n)),
            distance,
            permutation_type="samples",
            vectorized=True,
            n_resamples=RESAMPLES,
            alternative="greater",
            rng=np.random.default_rng(seed),
        ).pvalue
    )
