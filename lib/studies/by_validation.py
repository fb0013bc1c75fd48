"""Which of several trainings is taken? By the loss on the validation split alone: whoever looks for the best on the
clips that are judged finds the luckiest, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.02  # of the lowest loss: what is above it by no more is as good


def lowest(found: pd.DataFrame, loss: str) -> str | None:
    """The line of the lowest loss, of the column of that name; None where no line has one."""
    known = found[loss].dropna() if loss in found else ()
    return known.idxmin() if len(known) else None


def level(found: pd.DataFrame, loss: str) -> pd.DataFrame:
    """The lines as good as that one, the smallest adapter first."""
    near = found[found[loss] <= (1 + LEVEL) * found[loss].min()]
    return near.sort_values("adapter_mb", kind="stable")
