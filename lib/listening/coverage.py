"""Do 95 % intervals hold what they promise? Counted on simulated listeners, whose true opinion is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib.listening import crossed, design, simulated
from lib.listening.simulated import Opinions

if TYPE_CHECKING:
    import pandas as pd

MEANS = (3.9, 3.4, 3.9)  # opinions before rounding; the first and the last are the same
SENTENCES = 12


def count(
    listeners: int, *, groups: int = 1, opinions: Opinions = Opinions(), simulations: int = 500, seed: int = 0
) -> dict[str, float]:
    """Shares of simulated tests in which the interval of a mean, and of a difference, covers the truth (`mean`,
    `difference`), and in which a difference that is none is called one, by means (`false_means`) and by ranks
    (`false_ranks`).
    """
    made = design.acr(len(MEANS), SENTENCES, groups, -(-listeners // groups))
    sessions = [session for same in zip(*made) for session in same][:listeners]
    truth, counted = simulated.truth(MEANS, opinions), []
    for number in range(simulations):
        table = simulated.acr(sessions, MEANS, opinions, seed + number)
        own = table[table.condition == 0]
        mean = crossed.mean(crossed.Ratings.of(own.value, own.listener, own.sentence))
        gap, same = crossed.difference(_pair(table, 1)), _pair(table, 2)
        counted.append(
            (
                mean.low <= truth[0] <= mean.high,
                gap.low <= truth[1] - truth[0] <= gap.high,
                crossed.difference(same).significant,
                crossed.superiority(same).significant,
            )
        )
    return dict(zip(("mean", "difference", "false_means", "false_ranks"), map(float, np.mean(counted, axis=0))))


def table(listeners: Sequence[int] = (5, 10, 30), *, simulations: int, seed: int = 0) -> "pd.DataFrame":
    """A line for each number of simulated listeners, shares in percent."""
    import pandas as pd

    lines = [count(n, simulations=simulations, seed=seed) for n in listeners]
    names = {
        "mean": "interval of a MOS covers the truth",
        "difference": "interval of a difference does",
        "false_means": "equal systems called different, by means",
        "false_ranks": "by ranks",
    }
    shown = pd.DataFrame(lines, index=pd.Index(listeners, name="simulated listeners")).rename(columns=names)
    return shown.map(lambda share: f"{share:.1%}")


def caveat(simulations: int) -> str:
    """How far a share in the table may be off, in a sentence."""
    off = 1.96 * 100 * float(np.sqrt(0.95 * 0.05 / simulations))
    return f"Of {simulations} simulated tests: a share near 95 % may be {off:.1f} points off."


def _pair(table: "pd.DataFrame", other: int) -> crossed.Ratings:
    """Condition `other` against condition 0."""
    both = table[table.condition.isin((0, other))]
    return crossed.Ratings.of(both.value, both.listener, both.sentence, both.condition == other)
