"""Was it reached? The floors of every study beside the rows that answer them, for the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from lib import results
from lib.report.collect import Row
from lib.studies import floors, floors_deployed, floors_smaller, floors_tuned
from lib.studies.floors import Line


def lines(rows: Iterable[Row]) -> list[Line]:
    """A line for each floor of which a row says something, if only why it could not run."""
    rows = [row for row in rows if not row.claimed and row.kind != "published"]
    asked = [*floors_smaller.floors(), *floors_tuned.floors(), *floors_deployed.floors()]
    told = floors.lines(results.frame(dataclasses.asdict(row) for row in rows), asked)
    return told if any(line.ours for line in told) else []


def finding(told: Sequence[Line]) -> str:
    """How many are met, in a sentence; "" without any."""
    return floors.finding(told) or ""
