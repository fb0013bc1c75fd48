"""What would listeners with a known opinion say? Simulated ratings, for tests and for statements of power only.

Nothing here is a result, and no row of a results table ever comes from it: what simulated listeners are for is
that their true mean opinion is known, so one can count how often an interval covers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.listening.design import Session

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Opinions:
    """Standard deviations of a rating on a scale from 1 to 5 before it is rounded: how listeners differ in
    generosity, sentences in difficulty, listeners in what they like (listener x condition), conditions in what
    they speak well (sentence x condition), and the rest.
    """

    listener: float = 0.5
    sentence: float = 0.3
    taste: float = 0.3
    fit: float = 0.3
    rest: float = 0.7

    @property
    def total(self) -> float:
        """Standard deviation of one rating."""
        return float(
            np.sqrt(sum(x**2 for x in (self.listener, self.sentence, self.taste, self.fit, self.rest)))
        )


def truth(means: Sequence[float], opinions: Opinions) -> np.ndarray:
    """(conditions,) the mean of all ratings that all listeners would ever give, of latent means before
    rounding.
    """
    from scipy.stats import norm

    steps = np.arange(1.5, 5)  # E[rating] = 1 + how many of the four steps are passed
    return 1 + norm.sf((steps - np.asarray(means)[:, None]) / opinions.total).sum(axis=1)


def acr(
    sessions: Sequence[Session], means: Sequence[float], opinions: Opinions = Opinions(), seed: int = 0
) -> "pd.DataFrame":
    """One line per page: listener, sentence, condition, value (1 ... 5)."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    people, conditions = len(sessions), len(means)
    said = 1 + max(page.sentence for session in sessions for page in session)
    generous, hard = rng.normal(0, opinions.listener, people), rng.normal(0, opinions.sentence, said)
    taste = rng.normal(0, opinions.taste, (people, conditions))
    fit = rng.normal(0, opinions.fit, (said, conditions))
    lines = [
        (listener, page.sentence, c)
        for listener, session in enumerate(sessions)
        for page in session
        for c in page.shown
    ]
    who, what, which = np.array(lines).T
    felt = np.asarray(means)[which] + generous[who] + hard[what] + taste[who, which] + fit[what, which]
    given = np.clip(np.rint(felt + rng.normal(0, opinions.rest, len(lines))), 1, 5)
    return pd.DataFrame({"listener": who, "sentence": what, "condition": which, "value": given})
