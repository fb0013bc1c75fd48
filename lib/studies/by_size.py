"""Which of several runs is told? One that asked much, not the last one: the minutes of a quick run take nothing back of
the hours of a study.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

ALIKE = 0.5  # of the size of the largest: a run that asked for so much is as large

One = TypeVar("One")


def largest(every: Sequence[One], size: Callable[[One], float]) -> list[One]:
    """Those as large as the largest, in the order given.

    >>> largest([12, 600, 400], size=float)
    [600, 400]
    """
    most = max(map(size, every), default=0.0)
    return [one for one in every if size(one) >= ALIKE * most]
