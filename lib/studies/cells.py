"""How does a number of a run stand in a table of a study? Its value, its interval where it has one, its kind unless a
clock or a metric gave it, and of energy what it counts.
"""

from __future__ import annotations

from typing import Any

from lib.measure import energy


def number(row: Any, form: str = ".3g", *, scale: float = 1.0) -> str:
    """Value and interval of a row of a results table, times `scale`, each in the format `form`.

    >>> from types import SimpleNamespace
    >>> number(SimpleNamespace(value=12.34, ci_low=11, ci_high=13.94), ".1f")
    '12.3 [11.0, 13.9]'
    >>> number(SimpleNamespace(value=0.25, ci_low=float("nan"), ci_high=float("nan")), ".0f", scale=100)
    '25'
    """
    ends = "" if row.ci_low != row.ci_low else f" [{scale * row.ci_low:{form}}, {scale * row.ci_high:{form}}]"
    return f"{scale * row.value:{form}}{ends}"


def marked(row: Any, said: str) -> str:
    """`said` of a row, and in brackets what a reader must know of the number: "0.3 (estimated, process share)"."""
    words = [*([] if row.kind == "measured" else [row.kind]), *energy.words(row)]
    return f"{said} ({', '.join(words)})" if words else said
