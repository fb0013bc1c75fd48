"""How sure is a mean of ratings? Intervals that know other listeners and other sentences.

The ratings of one listener resemble each other, and so do those of one sentence. An interval that takes each
rating for a new one is too narrow: more ratings of the same five people do not tell what a sixth would say.
Here the variance of a mean is that of its listeners plus that of its sentences, less what both counted
(Cameron, Gelbach and Miller 2011, https://doi.org/10.1198/jbes.2010.07136), with Student's t at Satterthwaite's
degrees of freedom. Differences are taken within each listener, so that it widens nothing that some are
generous.

Simulated (`coverage`; ratings rounded to 1 ... 5, 12 and 24 sentences, all heard by everybody or in Latin squares,
four mixtures of tastes and hard sentences, 500 tests each): with 5 listeners the interval of a mean covers the
truth in 92 to 98 %, of a difference in 96 to 99 %; with 10 in 93 to 97 % and 95 to 99 %; with 30 in 94 to 96 % and
94 to 98 %. Equal systems were called different in 0.2 to 5 % of the tests by means, and in 0.6 to 5 % by ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import ParameterError
from lib.measure.stats import CONFIDENCE, Difference, Estimate

MIN_LISTENERS = 4  # with fewer there is no interval
MIN_SENTENCES = 4


@dataclass(frozen=True)
class Ratings:
    """n ratings: values, and who gave each of what, as numbers (n,)."""

    values: np.ndarray
    listeners: np.ndarray
    sentences: np.ndarray
    conditions: np.ndarray  # 0 and 1 where two are compared; all 0 otherwise

    @classmethod
    def of(
        cls,
        values: Sequence[float],
        listeners: Sequence,
        sentences: Sequence,
        conditions: Sequence | None = None,
    ) -> Ratings:
        """From columns of any names; conditions, where given, are True for the one that is compared with the
        others.
        """
        array = np.asarray(values, np.float64)
        if array.ndim != 1 or not array.size or not np.isfinite(array).all():
            raise ParameterError("ratings: give at least one, and finite numbers only")
        if not len(array) == len(listeners) == len(sentences):
            raise ParameterError(
                f"{len(array)} ratings by {len(listeners)} of {len(sentences)}: one each, please"
            )
        codes = [np.unique(np.asarray(column), return_inverse=True)[1] for column in (listeners, sentences)]
        group = np.zeros(len(array), int) if conditions is None else np.asarray(conditions).astype(int)
        return cls(array, *codes, group)


@dataclass(frozen=True)
class Spread:
    """Variances of an estimate: by listeners, by sentences, what both counted, the sum; freedom: of Student's
    t.
    """

    listeners: float
    sentences: float
    both: float
    total: float
    freedom: float


def mean(ratings: Ratings) -> Estimate:
    """The mean rating; Estimate.n is the number of ratings. No interval below MIN_LISTENERS or MIN_SENTENCES."""
    value = float(ratings.values.mean())
    spread = _spread((ratings.values - value) / len(ratings.values), ratings)
    if spread is None:
        return Estimate(value, None, None, len(ratings.values))
    half = _student(spread.freedom) * math.sqrt(spread.total)
    return Estimate(value, value - half, value + half, len(ratings.values))


def difference(ratings: Ratings) -> Difference:
    """Condition 1 minus condition 0, with the p value of the same t. n: sentences; sd: of a sentence's
    difference, were the sentences all that varied, which says how many would decide.
    """
    value, influence = _contrast(ratings)
    n = int(ratings.sentences.max()) + 1
    spread = _spread(influence, ratings)
    if spread is None:
        return Difference(value, None, None, n, math.nan)
    return _tested(value, spread, n)


def preference(ratings: Ratings) -> Difference:
    """A mean of signed preferences against 0."""
    value = float(ratings.values.mean())
    n = int(ratings.sentences.max()) + 1
    spread = _spread((ratings.values - value) / len(ratings.values), ratings)
    return Difference(value, None, None, n, math.nan) if spread is None else _tested(value, spread, n)


def superiority(ratings: Ratings) -> Difference:
    """How often a listener rates condition 1 above condition 0, ties half, less one half; its test asks for the
    order of ratings alone (ranks within each listener, Conover and Iman 1981,
    https://doi.org/10.1080/00031305.1981.10479327).
    """
    from scipy.stats import rankdata

    ranks = np.empty_like(ratings.values)
    for listener in np.unique(ratings.listeners):
        mine = ratings.listeners == listener
        ranks[mine] = rankdata(ratings.values[mine]) / mine.sum()
    return difference(Ratings(ranks, ratings.listeners, ratings.sentences, ratings.conditions))


def signed_ranks(ratings: Ratings) -> Difference:
    """The preference's test by signed ranks: the order of the absolute values alone, no preference 0."""
    from scipy.stats import rankdata

    sizes = np.abs(ratings.values)
    ranks = np.sign(ratings.values) * (rankdata(sizes) - (sizes == 0).sum()) / len(sizes)
    return preference(Ratings(ranks, ratings.listeners, ratings.sentences, ratings.conditions))


def spread(ratings: Ratings) -> Spread | None:
    """The variances behind `difference`: what a pilot says about a larger test."""
    return _spread(_contrast(ratings)[1], ratings)


def _tested(value: float, spread: Spread, n: int) -> Difference:
    from scipy.stats import t

    error = math.sqrt(spread.total)
    half = _student(spread.freedom) * error
    p = float(2 * t.sf(abs(value) / error, spread.freedom)) if error else float(value == 0)
    return Difference(value, value - half, value + half, n, p, error * math.sqrt(n))


def _contrast(ratings: Ratings) -> tuple[float, np.ndarray]:
    """(condition 1 minus condition 0 within listeners, what each rating adds to its error)."""
    if set(np.unique(ratings.conditions)) != {0, 1}:
        raise ParameterError("a difference needs ratings of two conditions")
    # Frisch-Waugh: what a listener's own mean leaves of the condition is all that bears on the difference. (An
    # effect of each sentence beside it would eat half the residuals of a Latin square, and the interval would
    # be too narrow.)
    outside = _within(ratings.conditions.astype(float), ratings.listeners)
    weight = float(outside @ outside)
    if weight < 1e-9 * len(outside):
        raise ParameterError("no listener rated both conditions: their difference is unknown")
    value = float(outside @ ratings.values) / weight
    residuals = _within(ratings.values - value * ratings.conditions, ratings.listeners)
    return value, outside * residuals / weight


def _within(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Values less their group's mean."""
    return values - (np.bincount(groups, values) / np.bincount(groups))[groups]


def _spread(influence: np.ndarray, ratings: Ratings) -> Spread | None:
    """influence: (n,) of each rating on the estimate's error, zero in sum."""
    by_listener = np.bincount(ratings.listeners, influence)
    by_sentence = np.bincount(ratings.sentences, influence)
    people, said = len(by_listener), len(by_sentence)
    if people < MIN_LISTENERS or said < MIN_SENTENCES:
        return None
    of_listeners = people / (people - 1) * float(by_listener @ by_listener)
    of_sentences = said / (said - 1) * float(by_sentence @ by_sentence)
    both = _both(ratings)
    # What both counted is itself an estimate: less than either alone would be absurd.
    total = max(of_listeners + of_sentences - both, of_listeners, of_sentences)
    parts = of_listeners**2 / (people - 1) + of_sentences**2 / (said - 1)
    return Spread(of_listeners, of_sentences, both, total, total**2 / parts if parts else math.inf)


def _both(ratings: Ratings) -> float:
    """Variance of the estimate by what neither listener nor sentence explains; 0 where the design cannot tell,
    which leaves the interval wider.
    """
    total = 0.0
    for condition in np.unique(ratings.conditions):
        mine = ratings.conditions == condition
        people, said = ratings.listeners[mine], ratings.sentences[mine]
        columns = np.hstack([np.eye(people.max() + 1)[people], np.eye(said.max() + 1)[said]])
        fitted, _, rank, _ = np.linalg.lstsq(columns, ratings.values[mine])
        left = ratings.values[mine] - columns @ fitted
        if mine.sum() > rank:
            total += float(left @ left) / (mine.sum() - rank) / mine.sum()
    return total


def _student(freedom: float) -> float:
    from scipy.stats import norm, t

    q = (1 + CONFIDENCE) / 2
    return float(norm.ppf(q)) if math.isinf(freedom) else float(t.ppf(q, freedom))
