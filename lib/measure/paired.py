"""How does a row say what a score is, and how far from its baseline's? One form for whoever writes and reads it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib.measure.stats import Difference, Estimate
    from lib.results import Run


def write(
    run: "Run",
    names: tuple[str, str, str],
    metric: str,
    estimate: "Estimate",
    source: str,
    *,
    baseline: str = "",
    difference: "Difference | None" = None,
    kind: str = "measured",
    **more: Any,
) -> None:
    """The row of a score with its interval. names: (system, variant, target); difference: paired, to `baseline`, in the
    row's detail as `lib.measure.judgement` reads it; more: what else the detail says.
    """
    said = detail(difference) | more
    run.add(
        *names,
        metric,
        estimate.value,
        kind=kind,
        n=estimate.n,
        ci=estimate.ci,
        source=source,
        baseline=baseline,
        detail=said or "",
    )


def detail(difference: "Difference | None") -> dict[str, float | int | None]:
    """A paired difference as a row keeps it: to four digits, None for what is not known; {} where there is none."""
    if difference is None:
        return {}
    low, high = difference.ci or (None, None)
    numbers = {
        "difference": difference.value,
        "ci_low": low,
        "ci_high": high,
        "p_value": difference.p_value,
        "sd": difference.sd,
    }
    kept = {
        name: None if value is None or math.isnan(value) else round(value, 4) for name, value in numbers.items()
    }
    return kept | {"n": difference.n}
