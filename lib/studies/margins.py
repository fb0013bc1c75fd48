"""How much of what the verdict allows is lost, and how sure is that? Intervals of losses, in margins of the verdict.

A loss is a change for the worse over its metric's margin: 1.0 is all that is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from lib.measure import verdict
from lib.optimize.plan import ALLOWED, NOISE

UNKNOWN = (math.nan, math.nan)  # the interval of too few sentences


def interval(metric: str, n: float, low: float | None, high: float | None) -> tuple[float, float]:
    """The 95 % interval of a paired difference as one of the loss; UNKNOWN of fewer sentences than intervals decide by.
    n: sentences; low, high: of the difference, None or nan where they are not known.

    >>> interval("mos_predicted", 20, -0.25, 0.05), interval("mos_predicted", 3, -0.25, 0.05)
    ((-0.5, 2.5), (nan, nan))
    """
    if not n >= verdict.MIN_SENTENCES or low is None or high is None:
        return UNKNOWN
    low, high = sorted(end / verdict.MARGINS[metric] for end in (low, high))
    return low, high


def worst(ends: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """The interval of the largest of several losses, from theirs: below what is allowed where all of them are, above it
    where one is; UNKNOWN where one of them is. No end is below NOISE, as no loss is.

    >>> worst([(-0.5, 0.6), (0.2, 0.4)]), worst([(-0.5, 0.6), UNKNOWN]), worst([])
    ((0.2, 0.6), (nan, nan), (nan, nan))
    """
    ends = list(ends)
    if not ends or any(math.isnan(end) for pair in ends for end in pair):
        return UNKNOWN
    low, high = (max(NOISE, *side) for side in zip(*ends))
    return low, high


def crosses(low: float, high: float) -> bool:
    """Whether an interval proves neither that less is lost than is allowed, nor that more is."""
    return low <= ALLOWED <= high
