"""What do channels and bits cost a decoder that learns again, and what is learning worth? A front, and its sentences,
from the rows of `recovered`: of each system those of one run, what is faster paired with the baseline of its own bench.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from lib.results import newest_run, run_of
from lib.studies import confirmed, origins
from lib.studies.recovered import AWARE, BESIDE, HALF, LONGER, SPOKEN_ON, STATIC, SYSTEMS, TAUGHT

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("rtf", "size_mb", "mos_predicted", "asr_nll")  # of rows
NUMBERS = ("times", *METRICS[1:])  # of the front: of the time how many times as fast as the whole
Number = tuple[float, float, float]  # value, low, high


def rows(*tables: pd.DataFrame) -> pd.DataFrame:
    """Of each system the rows of one run in which its decoder learnt again. tables: of `lib.results.read`, this run's
    first; the newest of earlier runs counts where this taught none.
    """
    import pandas as pd

    parts: dict[str, pd.DataFrame] = {}
    for table in tables:
        chosen = table[
            table.system.isin(SYSTEMS)
            & (table.target == SPOKEN_ON)
            & table.metric.isin(METRICS)
            & table.notebook.str.startswith("04_")  # recorded: with the profile behind it
            & table.value.notna()
        ]
        for system, own in chosen.groupby("system", sort=False):
            taught = own[own.variant.str.contains(f"{TAUGHT}|{AWARE}")]
            if system not in parts and len(taught):
                parts[system] = run_of(own, newest_run(taught).iloc[0])
    return pd.concat(parts.values(), ignore_index=True) if parts else tables[0][:0]


def front(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each variant of the decoders: system, variant, origin (`origins.stamp`), and for each of NUMBERS
    value, low, high.

    rows: of `rows`. What the baseline sounds like follows from its differences to the variants; one that was judged on
    fewer sentences, for these proved it worse, is laid where its paired difference puts it beside the baseline of all.
    """
    import pandas as pd

    lines: list[dict[str, Any]] = []
    for system, own in rows.groupby("system", sort=False):
        known = {"system": system, "origin": origins.stamp(own)}
        lines += [{**known, **line} for line in _lines(own[~own.variant.str.contains("@")])]
    ends = [f"{name}{end}" for name in NUMBERS for end in ("", "_low", "_high")]
    return pd.DataFrame(lines, columns=["system", "variant", "origin", *ends])


def _lines(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Of one system in one run: the numbers of each variant that has all of them."""
    whole: dict[str, Number] = {"times": (1.0, 1.0, 1.0)}
    for row in rows.sort_values("n", kind="stable").itertuples():  # those of most sentences last
        if row.baseline == "baseline" and (before := confirmed.before(row)) is not None:
            whole[row.metric] = (before, math.nan, math.nan)
    lines = []
    for variant, own in rows.groupby("variant", sort=False):
        numbers = {row.metric: _laid(row, whole) for row in own.itertuples() if row.metric != "rtf"}
        numbers |= {
            "times": times for row in own.itertuples() if row.metric == "rtf" and (times := _times(row))
        }
        if variant == "baseline":
            numbers = whole | numbers
        if set(NUMBERS) <= set(numbers):
            ends = {f"{m}{end}": numbers[m][i] for m in NUMBERS for i, end in enumerate(("", "_low", "_high"))}
            lines.append({"variant": variant, **ends})
    return lines


def _laid(row: Any, whole: dict[str, Number]) -> Number:
    """(value, low, high) of a row, moved by what its own sentences are easier or harder for the baseline than all."""
    before = confirmed.before(row) if row.baseline == "baseline" else None
    moved = whole[row.metric][0] - before if before is not None and row.metric in whole else 0.0
    return row.value + moved, row.ci_low + moved, row.ci_high + moved


def _times(row: Any) -> Number | None:
    """How many times as fast as the baseline in the same bench, paired; None where its row does not say."""
    gain = _detail(row).get("speedup")
    return gain and tuple(
        math.nan if gain[end] is None else gain[end] for end in ("value", "ci_low", "ci_high")
    )


def _detail(row: Any) -> dict[str, Any]:
    try:
        detail = json.loads(row.detail)
    except ValueError:
        return {}
    return detail if isinstance(detail, dict) else {}


def finding(rows: pd.DataFrame) -> str | None:
    """What teaching brings back, in a sentence for each pruned variant that was taught, and what learning to round is
    worth; None where neither is known. rows: of `rows`.
    """
    said = []
    for _, own in rows.groupby("system", sort=False):
        parts = [*_taught(front(own)), *_rounded(own)]
        said.append(origins.told(own, f"{'; '.join(parts)}." if parts else None))
    return " ".join(filter(None, said)) or None


def _taught(front: pd.DataFrame) -> list[str]:
    """What a system's pruned variants lost, and what they lose after they have learnt."""
    mine = {row.variant.removesuffix(f"+{HALF}"): row for row in front.itertuples()}
    said = []
    for variant, row in mine.items():
        before = mine.get(variant.removesuffix(f"+{TAUGHT}"))
        if not variant.endswith(f"+{TAUGHT}") or before is None or "baseline" not in mine:
            continue
        whole = mine["baseline"]
        text = (
            f"{row.system} {before.variant} is {_of_times(row)} as fast as the whole; it loses "
            f"{whole.mos_predicted - before.mos_predicted:.2f} of predicted MOS, once it has learnt from the whole "
            f"{whole.mos_predicted - row.mos_predicted:.2f}"
        )
        small = [one for name, one in mine.items() if name.startswith(f"{variant}+{STATIC}")]
        for last in small[:1]:
            text += (
                f", in 8 bit {whole.mos_predicted - last.mos_predicted:.2f} at {_of_times(last)} the speed and "
                f"{whole.size_mb / last.size_mb:.1f} times as small"
            )
        said.append(text)
    return said


def _rounded(rows: pd.DataFrame) -> list[str]:
    """What learning to round is worth: each decoder that did beside the same in the best fixed scales, paired."""
    said = []
    for variant, own in rows[rows.variant.str.endswith(BESIDE)].groupby("variant", sort=False):
        by_metric = {row.metric: row for row in own.itertuples()}
        if {"mos_predicted", "asr_nll"} <= set(by_metric):
            mos, nll = by_metric["mos_predicted"], by_metric["asr_nll"]
            stem, plain = variant.partition(AWARE)[0].removesuffix("+"), _detail(mos)["beside"]
            longer = ", taught as long," if LONGER in plain else ""
            said.append(
                f"{mos.system} {stem or 'with all its channels'} after it has learnt to round, beside "
                f"{plain}{longer} on the same {mos.n:.0f} sentences: {_change(mos, 2)} of predicted MOS, "
                f"{_change(nll, 3)} nats a word"
            )
    return said


def _of_times(row: Any) -> str:
    return f"{row.times:.2f} times{_interval(row.times_low, row.times_high, '.2f')}"


def _change(row: Any, digits: int) -> str:
    """A paired difference with its interval, as in "+0.12 [+0.05, +0.19]"."""
    about, form = _detail(row)["paired"], f"+.{digits}f"
    low, high = (about[end] if about[end] is not None else math.nan for end in ("ci_low", "ci_high"))
    return f"{about['difference']:{form}}" + (_interval(low, high, form) or " (too few for an interval)")


def _interval(low: float, high: float, form: str) -> str:
    return "" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]"
