"""Whose ratings count? Rules that were declared with the kit, before anybody listened, and what they say of
each listener.

The rules stand in the key, and the analysis takes them from there: who would change them afterwards must make a
new test. Whoever is left out is named with the reason, and the answers are shown with everybody, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Rules:
    """traps: share of trap pages to be answered as asked; level: by how many the count of soft tones may be wrong;
    agreement: least rank correlation of a listener's mean ratings by condition with those of all others (from
    four conditions on); reference, reference_share: a mushra listener rates the hidden reference below the
    first on at most that share of pages (ITU-R BS.1534); complete: least share of pages rated.
    """

    traps: float = 0.5
    level: int = 1
    agreement: float = 0.0
    reference: int = 90
    reference_share: float = 0.15
    complete: float = 0.5


def screen(ratings: "pd.DataFrame", rules: Rules, planned: int, reference: str = "") -> "pd.DataFrame":
    """A line for each listener: what each rule measures (None: it does not apply), `kept`, and `why` not.

    ratings: as `ratings.table` returns them; planned: pages to rate in a session; reference: name of mushra's
    condition.
    """
    import pandas as pd

    lines = []
    judged = ratings[ratings.role == "rating"]
    for listener, mine in ratings.groupby("listener", sort=False):
        own = judged[judged.listener == listener]
        measured = {
            "complete": own.trial.nunique() / planned,
            "traps": _share_right(mine),
            "level": _level_error(mine),
            "agreement": _agreement(judged, listener),
            "reference": _missed_reference(own, rules, reference),
            "alike": bool(own.other.isna().all() and own.value.nunique() == 1 and len(own) > 4),
        }
        why = _objections(measured, rules)
        lines.append({"listener": listener, **measured, "kept": not why, "why": "; ".join(why)})
    columns = ["listener", "complete", "traps", "level", "agreement", "reference", "alike", "kept", "why"]
    return pd.DataFrame(lines, columns=columns)


def _objections(measured: dict, rules: Rules) -> list[str]:
    checks = (
        (measured["complete"] < rules.complete, f"rated {measured['complete']:.0%} of the pages"),
        (
            _below(measured["traps"], rules.traps),
            f"answered {measured['traps'] or 0:.0%} of the traps as asked",
        ),
        (_below(rules.level, measured["level"]), "miscounted the soft tones"),
        (_below(measured["agreement"], rules.agreement), "ranks the systems against all others"),
        (_below(rules.reference_share, measured["reference"]), "did not find the hidden reference"),
        (measured["alike"], "gave every clip the same rating"),
    )
    return [reason for objection, reason in checks if objection]


def _below(value: float | None, limit: float | None) -> bool:
    return value is not None and limit is not None and value < limit


def _share_right(mine: "pd.DataFrame") -> float | None:
    traps = mine[mine.role == "trap"].drop_duplicates("trial")
    return float((traps.value == traps.expected).mean()) if len(traps) else None


def _level_error(mine: "pd.DataFrame") -> float | None:
    level = mine[mine.role == "level"]
    return float((level.value - level.expected).abs().max()) if len(level) else None


def _agreement(judged: "pd.DataFrame", listener: str) -> float | None:
    """Spearman's correlation of the means by condition; None below four conditions, or where there is no order."""
    from scipy.stats import spearmanr

    if "condition" not in judged or judged.condition.isna().any():
        return None
    mine = judged.listener == listener
    own, others = (judged[rows].groupby("condition").value.mean() for rows in (mine, ~mine))
    shared = own.index.intersection(others.index)
    if len(shared) < 4 or own[shared].nunique() < 2 or others[shared].nunique() < 2:
        return None
    value = float(spearmanr(own[shared], others[shared]).statistic)
    return None if np.isnan(value) else value


def _missed_reference(own: "pd.DataFrame", rules: Rules, reference: str) -> float | None:
    hidden = own[own.condition == reference] if reference else own.iloc[:0]
    return float((hidden.value < rules.reference).mean()) if len(hidden) else None
