"""What is a variant called, going by the rows of a results table? Its verdict, what it saves, whether to take it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib import systems
from lib.errors import ParameterError
from lib.measure import energy
from lib.measure.stats import Difference
from lib.measure.verdict import (
    COUNTED,
    MARGINS,
    OF_A_VARIANT,
    RECOGNISER,
    SAVINGS,
    SPEECH,
    Gain,
    Recommendation,
    Verdict,
    quality_verdict,
    recommendation,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Judgement:
    """What a variant is called: its quality against the baseline, what it saves, and whether to take it."""

    quality: Verdict
    gains: tuple[Gain, ...]
    recommendation: Recommendation


def from_rows(
    table: pd.DataFrame,
    system: str,
    variant: str,
    target: str,
    baseline: str = "baseline",
    *,
    baseline_system: str | None = None,
    quality_target: str | None = None,
    baseline_target: str | None = None,
    required: Sequence[str] | None = None,
) -> Judgement:
    """The judgement of a variant from the rows that `lib.results.read` returns.

    target: where its costs were measured; quality_target: where its clips were judged, if that was elsewhere;
    baseline, baseline_system, baseline_target: with whose costs its own are compared (by default the same system on the
    same target), and the name in the quality rows' `baseline`; required: as in `quality_verdict`, by default what
    speech needs, or a recogniser. Rows of this run come before recorded ones, newer
    before older. Raises ParameterError where the table has no row of the variant on the target at all.
    """
    baseline_system, baseline_target = baseline_system or system, baseline_target or target
    judged = _rows(table, system, variant, quality_target or target)
    own, other = _rows(table, system, variant, target), _rows(table, baseline_system, baseline, baseline_target)
    if not judged and not own:
        raise ParameterError(f"no row of {system} {variant} on {target}: was it measured there?")
    if required is None:
        required = RECOGNISER if systems.kind(system) == "recogniser" else SPEECH
    names = {baseline, baseline_system} if baseline_system != system else {baseline}
    quality = quality_verdict(_differences(judged, names), required)
    gains = tuple(
        gain for m in SAVINGS if m in own and m in other if (gain := _gain(m, own[m], other[m])) is not None
    )
    strict = OF_A_VARIANT if (baseline_system, baseline_target) == (system, target) else ()
    return Judgement(quality, gains, recommendation(quality, gains, never_more=strict))


def _rows(table: pd.DataFrame, system: str, variant: str, target: str) -> dict[str, object]:
    """metric -> its row; of several the newest of this run, else the newest recorded one."""
    chosen = table[
        (table.system == system) & (table.variant == variant) & (table.target == target) & table.value.notna()
    ]
    if "recorded" in chosen:
        chosen = chosen.sort_values(["recorded", "time"], ascending=[False, True], kind="stable")
    return {row.metric: row for row in chosen.itertuples()}


def _detail(row) -> dict:
    """The row's detail as a dictionary; {} where it is words."""
    try:
        detail = json.loads(row.detail)
    except ValueError:
        return {}
    return detail if isinstance(detail, dict) else {}


def _differences(rows: Mapping[str, object], baselines: set[str]) -> dict[str, Difference]:
    """The paired differences that the quality rows carry; of `f0_error_cents` its value, an error against the
    baseline's clips, where the row carries none.
    """
    differences = {}
    for metric in (name for name in rows if name in MARGINS):
        row, detail = rows[metric], _detail(rows[metric])
        if row.baseline not in baselines:
            continue
        n = int(detail.get("n", row.n))
        if "difference" in detail:
            value, low, high = (detail[key] for key in ("difference", "ci_low", "ci_high"))
        elif metric == "f0_error_cents":
            value, low, high = row.value, row.ci_low, row.ci_high
        else:
            continue
        differences[metric] = paired(detail | {"difference": value, "ci_low": low, "ci_high": high, "n": n})
    return differences


def paired(about: Mapping[str, Any]) -> Difference:
    """A paired difference as a row's detail keeps it: difference, ci_low, ci_high, n."""
    value, low, high, n = about["difference"], about.get("ci_low"), about.get("ci_high"), int(about["n"])
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        low = high = None
    sd = about.get("sd")
    if sd is None and low is not None:  # of before it was kept: a 95 % interval is 3.92 standard errors wide
        sd = (high - low) / 3.92 * math.sqrt(n)
    p_value = about.get("p_value")
    return Difference(value, low, high, n, math.nan if p_value is None else p_value, sd)


def _gain(metric: str, own, other) -> Gain | None:
    """Baseline over variant: paired where one bench of both wrote a ratio, else from both intervals, which is cautious.

    None where the two do not compare: of two machines (bytes are the same anywhere), one measured, one estimated, or
    joules of a board beside those of a package.
    """
    machines, kinds = ({getattr(row, field, "") for row in (own, other)} for field in ("host", "kind"))
    if own.value <= 0 or other.value <= 0 or len(kinds) > 1 or (len(machines) > 1 and metric not in COUNTED):
        return None
    if metric in energy.METRICS and energy.sort(own) != energy.sort(other):
        return None
    if metric == "peak_gpu_mb" and own.source != other.source:  # of a training, beside what speaking takes
        return None
    kind = kinds.pop() or "measured"
    if own.baseline == other.variant:
        if metric == "rtf" and (paired := _detail(own).get("speedup")):
            return Gain(metric, paired["value"], paired["ci_low"], paired["ci_high"], kind)
        if metric == "peak_rss_mb" and (paired := _detail(own).get("memory_ratio")):
            ends = (paired["ci_high"], paired["ci_low"])
            return Gain(metric, 1 / paired["value"], *(end and 1 / end for end in ends), kind)
    times = other.value / own.value
    ends = (own.ci_low, own.ci_high, other.ci_low, other.ci_high)
    if any(math.isnan(end) for end in ends) or own.ci_low <= 0 or other.ci_low <= 0:
        return Gain(metric, times, kind=kind)
    return Gain(metric, times, other.ci_low / own.ci_high, other.ci_high / own.ci_low, kind)
