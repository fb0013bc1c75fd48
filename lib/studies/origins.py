"""Of which run is what is said? A sentence or a picture never mixes two, and who reads an earlier one's is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def stamp(rows: pd.DataFrame) -> str:
    """Where the rows of one run come from, "recorded 2026-11-23, <host>, commit 249c57a5f3"; "" of this run's."""
    if rows.empty or "recorded" not in rows or not bool(rows.recorded.iloc[0]):
        return ""
    row = rows.loc[rows.time.astype(str).idxmax()]
    return f"recorded {row.time[:10]}, {row.host}, commit {row.commit}"


def told(rows: pd.DataFrame, said: str | None) -> str | None:
    """A sentence computed from the rows of one run, behind where they come from; None of None."""
    origin = stamp(rows)
    return f"{origin[0].upper()}{origin[1:]}: {said}" if said and origin else said


def trainers(by: Mapping[str, str]) -> str:
    """Who trained, in a sentence, for behind numbers of trainings. by: name of a training -> commit, host and day, as
    rows have them ("trained_by"), "" where nobody noted them.
    """
    of: dict[str, list[str]] = {}
    for name, origin in by.items():
        of.setdefault(origin, []).append(str(name))
    if len(of) == 1:
        (origin,) = of
        return f"Trained by {origin}." if origin else "Who trained is not noted."
    parts = [
        f"{', '.join(names)} by {origin}" if origin else f"of {', '.join(names)} it is not noted"
        for origin, names in of.items()
    ]
    return f"Trained: {'; '.join(parts)}. A ratio between these lays machines or code beside each other, too."
