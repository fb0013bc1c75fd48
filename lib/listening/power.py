"""How many listeners does it take? Planned before anybody listens, from a pilot or from a stated assumption.

Listeners and sentences both vary: with twelve sentences no crowd of listeners makes the difference of two
systems surer than the twelve sentences let it be. The variance of a difference is that of tastes over
listeners, plus that of what each system speaks well over sentences, plus the rest over ratings; its power is
that of the t test which `crossed` makes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.listening import crossed
from lib.measure.stats import CONFIDENCE
from lib.measure.verdict import POWER

if TYPE_CHECKING:
    import pandas as pd

DIFFERENCES = (0.1, 0.2, 0.5)  # MOS
MIN_PILOT = 8  # listeners and sentences, each: the spread of fewer is hardly known, and may come out as nothing
_SLICES = 400  # of a distribution, of equal probability


@dataclass(frozen=True)
class Assumption:
    """Standard deviations of a rating, 1 ... 5: of taste (listener x system), of fit (sentence x system), of
    the rest.

    source: where they come from. The three here are assumed, not measured: together ratings of one clip by listeners of
    equal generosity differ by 0.8. A pilot replaces them.
    """

    taste: float = 0.3
    fit: float = 0.3
    rest: float = 0.7
    source: str = "assumed"


@dataclass(frozen=True)
class Size:
    """A test. per_condition: clips of each condition that a listener rates; sentences: in the whole test."""

    listeners: int
    sentences: int
    per_condition: int


def of_pilot(ratings: "pd.DataFrame") -> Assumption | None:
    """The three standard deviations from ratings (`ratings.table`), over all pairs of conditions; None where a
    pilot is too small to tell them apart.
    """
    judged = ratings[ratings.role == "rating"] if "role" in ratings else ratings
    if judged.listener.nunique() < MIN_PILOT or judged.sentence.nunique() < MIN_PILOT:
        return None
    taste, fit, rest = [], [], []
    for a, b in itertools.combinations(judged.condition.unique(), 2):
        both = judged[judged.condition.isin((a, b))]
        grouped = crossed.Ratings.of(both.value, both.listener, both.sentence, both.condition == a)
        spread = crossed.spread(grouped)
        if spread is None or not spread.both:
            continue
        taste.append((spread.listeners - spread.both) * both.listener.nunique() / 2)
        fit.append((spread.sentences - spread.both) * both.sentence.nunique() / 2)
        rest.append(spread.both * len(both) / 4)
    if not taste:
        return None
    means = [math.sqrt(max(0.0, float(np.mean(x)))) for x in (taste, fit, rest)]
    return Assumption(*means, source=f"pilot of {judged.listener.nunique()} listeners")


def power(difference: float, size: Size, assumption: Assumption = Assumption()) -> float:
    """How often the test finds a true difference of two conditions at the 5 % level."""
    from scipy.stats import chi2, norm, t

    rest = 2 * assumption.rest**2 / (size.listeners * size.per_condition)
    of_listeners = 2 * assumption.taste**2 / size.listeners + rest
    of_sentences = 2 * assumption.fit**2 / size.sentences + rest
    total = of_listeners + of_sentences - rest
    if size.listeners < crossed.MIN_LISTENERS or size.sentences < crossed.MIN_SENTENCES:
        return 0.0
    parts = of_listeners**2 / (size.listeners - 1) + of_sentences**2 / (size.sentences - 1)
    freedom, shift = total**2 / parts, difference / math.sqrt(total)
    edge = t.ppf((1 + CONFIDENCE) / 2, freedom)
    # The noncentral t, as a mean over its denominator: scipy's own (nct) gives no number for large shifts.
    beneath = np.sqrt(chi2.ppf((np.arange(_SLICES) + 0.5) / _SLICES, freedom) / freedom)
    return float(np.mean(norm.sf(edge * beneath - shift) + norm.cdf(-edge * beneath - shift)))


def detectable(size: Size, assumption: Assumption = Assumption()) -> float | None:
    """The least difference that is found with a power of 80 %; None where even the whole scale is not."""
    low, high = 0.0, 4.0
    if power(high, size, assumption) < POWER:
        return None
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, size, assumption) >= POWER else (middle, high)
    return high


def listeners_needed(
    difference: float, sentences: int, assumption: Assumption = Assumption(), most: int = 2_000
) -> int | None:
    """Listeners who each rate all sentences of two conditions, for a power of 80 %; None where `most` are not
    enough.
    """
    low, high = crossed.MIN_LISTENERS - 1, most
    if power(difference, Size(most, sentences, sentences), assumption) < POWER:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(difference, Size(middle, sentences, sentences), assumption) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return high


def table(sentences: Sequence[int], assumption: Assumption = Assumption()) -> "pd.DataFrame":
    """Listeners needed: a line for each number of sentences, a column for each of DIFFERENCES."""
    import pandas as pd

    def cell(difference: float, many: int) -> str:
        needed = listeners_needed(difference, many, assumption)
        return "no number is enough" if needed is None else str(needed)

    lines = [{f"{d:g} MOS": cell(d, many) for d in DIFFERENCES} for many in sentences]
    return pd.DataFrame(lines, index=pd.Index(sentences, name="sentences")).rename_axis(columns="listeners for")
