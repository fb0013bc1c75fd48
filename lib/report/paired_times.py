"""How many times as long does a sentence take? What the bench of a variant and its baseline paired, from its rows.

The interval of a median latency is mostly how long the sentences are, so the ratio of two of them, from the ends of
both, decides hardly anything; sentence by sentence that cancels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lib.report.collect import Row
from lib.studies.floor_rows import detail

_BY_SENTENCE = " by sentence, paired in one bench"
_BY_SECOND = " by second of audio, paired in one bench that kept no ratio of sentences"
Ratio = tuple[float, float | None, float | None, str]  # value, low, high, and how it was paired, in words


def ratio(before: Row, after: Row, rows: Iterable[Row]) -> Ratio | None:
    """A variant's latency over its baseline's with the ends of its interval; None where it is none or nothing was
    paired. rows: of the same run.

    Where a bench kept no ratio of sentences, its speed-up upside down: that is by second of audio, and the same where
    both say a sentence in as many seconds.
    """
    about = detail(after)
    if after.metric != "latency_ms_p50" or not about:
        return None
    if after.baseline == before.variant and (kept := about.get("latency_ratio")):
        return kept["value"], kept["ci_low"], kept["ci_high"], _BY_SENTENCE
    gain = next((found for row in rows if (found := _speedup(row, before, after, about))), None)
    if gain is None:
        return None
    low, high = (1 / gain[end] if gain[end] else None for end in ("ci_high", "ci_low"))
    return 1 / gain["value"], low, high, _BY_SECOND


def _speedup(row: Row, before: Row, after: Row, about: dict[str, Any]) -> dict[str, float] | None:
    """What a row says of how much faster the variant is than its baseline, if it is of the bench of a latency whose
    detail is `about`: of one bench the details are the same but for what was paired.
    """
    names = (row.system, row.variant, row.target, row.metric, row.baseline)
    if names != (after.system, after.variant, after.target, "rtf", before.variant):
        return None
    timed = detail(row)
    gain = timed.pop("speedup", None)
    return gain if timed == about else None
