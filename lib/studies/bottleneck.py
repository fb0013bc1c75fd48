"""Why is it no faster? Where the time of a system goes, and what that leaves to win: the profile behind a floor.

Who speeds up one stage alone cannot get further than the others allow (Amdahl 1967): of a stage that takes 80 % of the
time nothing more than five times the speed can come, however fast it becomes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib.studies.floor_rows import WHOLE, detail, judged, speed_up, variants
from lib.studies.floors import MET, Part

if TYPE_CHECKING:
    import pandas as pd


def told(rows: pd.DataFrame) -> list[str]:
    """A sentence for each system on each target whose stages a bench told: where its time goes, and where that of its
    fastest variant without audible loss does, or, where none is that, of the fastest; always with its verdict.
    rows: of one run, as `lib.results.read` returns them.
    """
    mine = rows[(rows.metric == "rtf") & (rows.variant == WHOLE) & rows.value.notna()]
    said = [_said(rows, row) for row in mine.drop_duplicates(["system", "target"], keep="last").itertuples()]
    return [sentence for sentence in said if sentence]


def _said(rows: pd.DataFrame, whole: Any) -> str | None:
    before = _shares(whole)
    if not before:
        return None
    stage, share = max(before.items(), key=lambda one: one[1])
    text = f"{whole.system} on {whole.target}: the {_name(stage)} takes {100 * share:.0f} % of the time"
    if share < 1:
        text += f", so it alone can make the whole {1 / (1 - share):.1f} times as fast at most"
    fastest = _fastest(rows, whole)
    if fastest is None:
        return f"{text}."
    row, times, heard = fastest
    after = _shares(row)
    now, left = max(after.items(), key=lambda one: one[1])
    said = f"of {row.variant}, {times:.2f} times as fast ({heard.said}),"
    return f"{text}; {said} the {_name(now)} takes {100 * left:.0f} %."


def _fastest(rows: pd.DataFrame, whole: Any) -> tuple[Any, float, Part] | None:
    """The variant on the same target with the largest speed-up whose stages are known, that, and how it was heard: of
    those without audible loss, else of all.
    """
    found = []
    for row in variants(rows, whole.system, "rtf"):
        if row.target == whole.target and row.variant != WHOLE and _shares(row):
            faster = speed_up(rows, row, WHOLE, whole.target)
            if faster is not None:
                found.append((row, faster.value, judged(rows, row.system, row.variant, row.target)))
    good = [one for one in found if one[2].word == MET]
    return max(good or found, key=lambda one: one[1], default=None)


def _shares(row: Any) -> dict[str, float]:
    """Stage -> its share of the time; {} where no stages were told."""
    stages = detail(row).get("stages") or {}
    total = sum(stages.values())
    return {stage: spent / total for stage, spent in stages.items()} if total > 0 else {}


def _name(stage: str) -> str:
    return stage.replace("_", " ")
