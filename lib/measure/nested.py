"""How sure is a number that was taken in rounds? Intervals over the rounds and the sentences of a bench.

Two things would be other if the bench were repeated elsewhere: how the machine fares in a round (one process,
one layout of its memory, one mood of its neighbours), and which sentences were chosen. All sentences are spoken
in every round, so the two are crossed: each is resampled alone, its bootstrap variance multiplied by the
n / (n - 1) that it lacks, and the two variances add (what they share, the noise of a single timing, is counted
twice: the interval errs to the wide side). The ends come from Student's t with Satterthwaite's degrees of
freedom (1946, https://doi.org/10.2307/3002019), in logarithms, because what slows a machine down multiplies.

Coverage, simulated with a known truth on 36 kinds of machine (3 or 5 rounds, 8, 12 or 40 sentences; rounds that
differ by 0 to 10 %, sentences by 2 to 30 %, single timings by 2 to 10 %): 90.5 to 97 % for a ratio of sums,
92 to 97.5 % for a median, 91.5 to 99 % for a paired speed-up. Percentiles of the same bootstrap with 3 rounds
cover 74 to 89 % (tests/test_nested.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import ParameterError
from lib.measure.stats import CONFIDENCE, Estimate

MIN_ROUNDS, MIN_SENTENCES = 3, 8  # below either there is no interval
DRAWS = 1_000  # of each level: a standard error is then within 5 % of its limit


@dataclass(frozen=True)
class Ratio(Estimate):
    """How many times as much one is as the other, paired; p_value: two-sided, of a ratio of 1 (None without an
    interval).
    """

    p_value: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the two differ at the 5 % level: exactly when the interval leaves out 1."""
        return self.p_value is not None and self.p_value < 1 - CONFIDENCE


def estimate(statistic: Callable[..., np.ndarray], *columns: np.ndarray, seed: int = 0) -> Estimate:
    """A positive statistic of (rounds, sentences, ...) arrays with its interval.

    statistic: of the same arrays with one leading axis more (draws), -> (draws,). Estimate.n is the number of
    sentences; low and high are None below MIN_ROUNDS rounds or MIN_SENTENCES sentences.
    """
    value, error, freedom = _log_error(statistic, columns, seed)
    n = columns[0].shape[1]
    if error is None:
        return Estimate(value, None, None, n)
    half = _student(freedom) * error
    return Estimate(value, value * math.exp(-half), value * math.exp(half), n)


def ratio(statistic: Callable[..., np.ndarray], *columns: np.ndarray, seed: int = 0) -> Ratio:
    """As `estimate`, of a statistic that is 1 where there is no difference; the p value belongs to the same
    interval.
    """
    from scipy.stats import t

    value, error, freedom = _log_error(statistic, columns, seed)
    n = columns[0].shape[1]
    if error is None:
        return Ratio(value, None, None, n)
    if error == 0:
        return Ratio(value, value, value, n, 1.0 if value == 1 else 0.0)
    half = _student(freedom) * error
    p_value = float(2 * t.sf(abs(math.log(value)) / error, freedom))
    return Ratio(value, value * math.exp(-half), value * math.exp(half), n, p_value)


def over_rounds(values: Sequence[float]) -> Estimate:
    """Geometric mean of one positive value per round, with Student's t in logarithms; no interval below
    MIN_ROUNDS.

    Of a cold start or a memory peak there is one value a process, and no sentences: three to five numbers, of which
    bootstrap percentiles would cover 75 to 85 %. Simulated coverage of this: 95 % where the logarithms are normal,
    94 to 95 % where every tenth start is a fifth slower, but 84 to 90 % where every tenth is half as slow again: a
    few rounds cannot know of what happens rarely.
    """
    logs = np.log(_positive(np.asarray(values, np.float64)))
    n, mean = len(logs), float(np.exp(logs.mean()))
    if n < MIN_ROUNDS:
        return Estimate(mean, None, None, n)
    half = _student(n - 1) * float(logs.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean * math.exp(-half), mean * math.exp(half), n)


def _student(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))


def _log_error(
    statistic: Callable[..., np.ndarray], columns: Sequence[np.ndarray], seed: int
) -> tuple[float, float | None, float]:
    """(value, standard error of its logarithm or None, degrees of freedom)."""
    columns = [_positive(np.asarray(column, np.float64)) for column in columns]
    rounds, sentences = columns[0].shape[:2]
    if any(column.shape[:2] != (rounds, sentences) for column in columns):
        raise ParameterError(
            f"shapes {[c.shape for c in columns]}: give the same rounds and sentences throughout"
        )
    value = float(statistic(*(column[None] for column in columns))[0])
    if rounds < MIN_ROUNDS or sentences < MIN_SENTENCES:
        return value, None, math.nan
    rng, variances = np.random.default_rng(seed), []
    for axis, n in enumerate((rounds, sentences)):
        drawn = rng.integers(n, size=(DRAWS, n))
        taken = (column[drawn] if axis == 0 else column[:, drawn].swapaxes(0, 1) for column in columns)
        variances.append(float(np.log(statistic(*taken)).var()) * n / (n - 1))
    total = sum(variances)
    if total == 0:
        return value, 0.0, 1.0
    parts = sum(v**2 / (n - 1) for v, n in zip(variances, (rounds, sentences)))
    return value, math.sqrt(total), total**2 / parts


def _positive(values: np.ndarray) -> np.ndarray:
    if values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise ParameterError("an interval in logarithms needs finite values above 0, at least one")
    return values
