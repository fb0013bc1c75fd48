"""How sure is a number? Bootstrap intervals over utterances, and whether two systems really differ.

Every interval is a 95 % bootstrap interval in which whole utterances are drawn with replacement, because the sentences,
not the words or the samples, are what another test would choose differently. Means and ratios use the
bias-corrected and accelerated interval (BCa; Efron 1987, https://doi.org/10.2307/2289144) as scipy implements
it: word errors are skewed (most sentences have none, a few have many), and there the plain percentile interval
covers the truth less often than it says. Quantiles use the percentile interval: BCa's acceleration comes from
the jackknife, which is inconsistent for a median.

What an interval cannot say: with one utterance there is none (`low` and `high` are None), and where all
utterances agree it has no width (no error in any of 40 sentences is [0, 0], although the next 40 may hold one).
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import ParameterError

CONFIDENCE = 0.95
RESAMPLES = 5_000  # the ends of the interval then wander by about 2 % of its width from seed to seed
EXACT_SIGN_FLIPS = (
    12  # up to 2^12 sign patterns are enumerated; beyond, as many are drawn as there are resamples
)


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


def median_ci(values: Sequence[float], *, seed: int = 0) -> Estimate:
    """Median of one value per utterance, with a percentile interval."""
    return quantile_ci(values, 0.5, seed=seed)


def quantile_ci(values: Sequence[float], q: float, *, seed: int = 0) -> Estimate:
    """The q-quantile (linear interpolation, as numpy) of one value per utterance, with a percentile interval."""
    if not 0 <= q <= 1:
        raise ParameterError(f"quantile {q} is not between 0 and 1")
    return _estimate(lambda x, axis: np.quantile(x, q, axis=axis), seed, smooth=False, values=values)


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
    columns = _columns(values_a=values_a, values_b=values_b)
    difference = columns[0] - columns[1]
    estimate = mean_ci(difference, seed=seed)

    def statistic(swapped: np.ndarray) -> np.ndarray:
        return np.where(swapped, -difference, difference).mean(axis=-1)

    return Difference(
        estimate.value, estimate.low, estimate.high, estimate.n, _swap_test(statistic, len(difference), seed)
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

    def statistic(swapped: np.ndarray) -> np.ndarray:
        first = _ratio(np.where(swapped, nb, na), np.where(swapped, db, da), axis=-1)
        second = _ratio(np.where(swapped, na, nb), np.where(swapped, da, db), axis=-1)
        return first - second

    return Difference(
        estimate.value, estimate.low, estimate.high, estimate.n, _swap_test(statistic, len(na), seed)
    )


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


def _estimate(
    statistic: Callable[..., np.ndarray], seed: int, *, smooth: bool = True, **named: Sequence[float]
) -> Estimate:
    """The statistic of the whole sample with its interval. statistic: vectorised over `axis`, one argument per
    column.
    """
    from scipy.stats import bootstrap

    columns = _columns(**named)
    value, n = float(statistic(*columns, axis=-1)), len(columns[0])
    if n == 1:
        return Estimate(value, None, None, 1)
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
            method="BCa" if smooth else "percentile",
            rng=np.random.default_rng(seed),
        )
    low, high = map(float, drawn.confidence_interval)
    if not (
        np.isfinite(low) and np.isfinite(high)
    ):  # all draws alike (constant ratios), or a draw without denominator
        draws = drawn.bootstrap_distribution[np.isfinite(drawn.bootstrap_distribution)]
        low, high = map(float, np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    return Estimate(value, low, high, n)


def _swap_test(statistic: Callable[[np.ndarray], np.ndarray], n: int, seed: int) -> float:
    """Two-sided p of statistic(no swap) among statistic(swapped (draws, n) bool); exact up to EXACT_SIGN_FLIPS
    utterances.
    """
    observed = abs(float(statistic(np.zeros((1, n), bool))[0]))
    if n <= EXACT_SIGN_FLIPS:
        swapped = np.array(list(itertools.product([False, True], repeat=n)))
    else:
        swapped = np.random.default_rng(seed).random((RESAMPLES, n)) < 0.5
    with np.errstate(all="ignore"):
        drawn = np.abs(statistic(swapped))
    # Equal sums can differ in the last bits, and a swap that leaves no denominator has no statistic: it counts
    # against us.
    as_extreme = ~(drawn < observed - 1e-12 * max(1.0, observed))
    if n <= EXACT_SIGN_FLIPS:
        return float(as_extreme.mean())
    return float(
        (as_extreme.sum() + 1) / (RESAMPLES + 1)
    )  # the observed labelling is one of the draws: p is never 0
