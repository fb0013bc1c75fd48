"""How does everything compare? Rows turned into wide tables (a system's variant per line, a metric per column)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lib.measure import energy
from lib.metrics import deliberate
from lib.report import vocabulary
from lib.report.collect import Row
from lib.results import CLAIM, METRICS

MAX_DETAIL_CHARS = 400


@dataclass(frozen=True)
class Cell:
    """One number as shown: "4.13", "[4.05, 4.20]", "measured"; best: best of the numbers it can be compared with; note:
    of energy what it counts and how far off an estimate may be.
    """

    text: str
    interval: str
    kind: str
    n: int | None
    value: float
    best: bool
    source: str
    note: str = ""


@dataclass(frozen=True)
class Line:
    """One line of a wide table. origin: where a recorded line comes from, or on which machine, where this run's rows
    come from several; notebook: set where two notebooks disagree; verdict: what the variant is called.
    """

    system: str
    variant: str
    target: str
    role: str
    origin: str
    notebook: str
    recorded: bool = False
    verdict: str = ""
    cells: dict[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A metric as a table header."""

    metric: str
    label: str
    unit: str
    better: int
    definition: str


@dataclass(frozen=True)
class Wide:
    """A titled table; every line has a cell for at least one column."""

    title: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Claim:
    """What somebody states without a publication, and what was measured here of the same system and metric."""

    system: str
    metric: str
    text: str
    detail: str
    source: str
    ours: tuple[str, ...]


@dataclass(frozen=True)
class NotRun:
    """What could not run, which of its metrics are therefore absent, and why."""

    system: str
    variant: str
    target: str
    metrics: tuple[str, ...]
    why: str
    origin: str


def kind_text(row: Row) -> str:
    """ "measured", or "recorded, measured" for a row of an earlier run; "claimed" for a claim without a publication."""
    kind = "claimed" if row.claimed else row.kind
    return f"recorded, {kind}" if row.recorded else kind


def interval_text(row: Row) -> str:
    """The 95 % interval as "[4.05, 4.20]", empty where there is none."""
    if row.ci_low is None:
        return ""
    return f"[{vocabulary.number(row.metric, row.ci_low)}, {vocabulary.number(row.metric, row.ci_high)}]"


def wide(rows: Iterable[Row], verdicts: Mapping[tuple, str] | None = None) -> list[Wide]:
    """One table per group of metrics that has any numbers, lines sorted by system, variant and target; no claims, and
    nothing that was damaged on purpose.

    verdicts: the word a line carries, of `verdicts.words`: two recordings of one variant may be called differently.
    """
    numbers = [row for row in rows if row.value is not None and not row.claimed and not deliberate(row.variant)]
    best = _best(numbers)
    tables = []
    for title, metrics in vocabulary.groups().items():
        chosen = [row for row in numbers if row.metric in metrics]
        if not chosen:
            continue
        present = {row.metric for row in chosen}
        columns = tuple(column(metric) for metric in metrics if metric in present)
        tables.append(Wide(title, columns, tuple(_lines(chosen, best, verdicts or {}))))
    return tables


def column(metric: str) -> Column:
    """Header of a metric."""
    about = METRICS[metric]
    return Column(
        metric, about.label, vocabulary.unit(metric), about.better, vocabulary.DEFINITIONS.get(metric, "")
    )


def claims(rows: Iterable[Row], most: int = 3) -> list[Claim]:
    """Every claim once, beside the newest numbers that were measured here of the same system and metric."""
    rows = list(rows)
    made: dict[tuple, Claim] = {}
    for row in rows:
        if not row.claimed:
            continue
        ours = [
            other
            for other in sorted(rows, key=lambda other: (other.recorded, other.variant, other.target))
            if (other.system, other.metric, other.kind) == (row.system, row.metric, "measured")
        ]
        said = dict.fromkeys(f"{vocabulary.amount(o.metric, o.value)} ({o.variant}, {o.target})" for o in ours)
        made[row.system, row.metric, row.source] = Claim(
            row.system,
            row.metric,
            vocabulary.amount(row.metric, row.value),
            row.detail,
            row.source.removeprefix(CLAIM),
            tuple(said)[:most],
        )
    return list(made.values())


def not_run(rows: Iterable[Row]) -> list[NotRun]:
    """The not_run rows, metrics with one reason on one line."""
    grouped: dict[tuple, list[str]] = {}
    for row in rows:
        if row.kind == "not_run":
            key = (row.system, row.variant, row.target, row.detail, row.stamp if row.recorded else "")
            grouped.setdefault(key, []).append(METRICS[row.metric].label)
    return [
        NotRun(system, variant, target, tuple(metrics), why, origin)
        for (system, variant, target, why, origin), metrics in sorted(grouped.items())
    ]


def comparable(row: Row) -> tuple:
    """Rows with the same key may be compared for "best": kind, role, texts ("@prompts"), recorded or not and, where it
    matters, the machine, who judged and what joules count; figures of training only within one system, whose losses and
    steps mean the same.
    """
    machine = row.host if row.metric in vocabulary.OF_THE_MACHINE else ""
    judge = row.source if row.metric in vocabulary.HEARD else ""
    system = row.system if row.metric in vocabulary.OF_TRAINING else ""
    return (
        row.metric,
        row.kind,
        vocabulary.role(row.system),
        row.variant.partition("@")[2],
        row.recorded,
        machine,
        judge,
        system,
        energy.boundary(row.source) if row.metric in energy.METRICS else "",
    )


def judges(rows: Iterable[Row]) -> str:
    """Who counted the word errors, where several recognisers did or one was handed the clips in several ways, in a
    sentence; "" where all of them compare.
    """
    heard: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.recorded, row.time)):
        if row.metric == "wer" and row.kind == "measured" and vocabulary.role(row.system) != "recogniser":
            heard.setdefault(row.source, []).append(row)
    if len(heard) < 2:
        return ""
    said = []
    for source, found in heard.items():
        dates = sorted({row.date for row in found if row.recorded})
        earlier = f"recorded {dates[0]}{f' to {dates[-1]}' if len(dates) > 1 else ''}" if dates else ""
        now = "this run" if not all(row.recorded for row in found) else ""
        said.append(f"{source} ({' and '.join(filter(None, (now, earlier)))})")
    return f"Word errors were counted by {len(heard)} judges and compare only under one of them: {'; '.join(said)}."


def _best(rows: Iterable[Row]) -> set[int]:
    """ids of the rows that are the best of two or more comparable ones; ties as shown share it. Published ones
    never are.
    """
    pools: dict[tuple, list[Row]] = {}
    for row in rows:
        if METRICS[row.metric].better and row.kind != "published":
            pools.setdefault(comparable(row), []).append(row)
    best = set()
    for pool in pools.values():
        if len({(row.system, row.variant, row.target) for row in pool}) < 2:
            continue
        metric = pool[0].metric
        top = vocabulary.number(metric, max(pool, key=lambda row: row.value * METRICS[metric].better).value)
        winners = [row for row in pool if vocabulary.number(metric, row.value) == top]
        if len(winners) < len(pool):
            best |= {id(row) for row in winners}
    return best


def _lines(rows: list[Row], best: set[int], verdicts: Mapping[tuple, str]) -> list[Line]:
    order = {"voice": 0, "vocoder": 1, "recogniser": 2, "reference": 3}
    machines = {row.host for row in rows if not row.recorded}
    per_key: dict[tuple, dict[str, dict[str, Row]]] = {}
    for row in rows:
        key = (
            order[vocabulary.role(row.system)],
            row.system,
            row.variant != "baseline",
            row.variant,
            row.target,
            row.recorded,
            row.stamp if row.recorded else row.host if len(machines) > 1 else "",
        )
        per_key.setdefault(key, {}).setdefault(row.notebook, {})[row.metric] = row
    lines = []
    for (_, system, _, variant, target, recorded, origin), notebooks in sorted(per_key.items()):
        merged: list[
            tuple[list[str], dict[str, Row]]
        ] = []  # notebooks that measured different things share a line
        for notebook, cells in sorted(notebooks.items()):
            for names, line in merged:
                if not line.keys() & cells.keys():
                    names.append(notebook)
                    line.update(cells)
                    break
            else:
                merged.append(([notebook], dict(cells)))
        for names, cells in merged:
            shown = {metric: _cell(row, id(row) in best) for metric, row in cells.items()}
            first = next(iter(cells.values()))
            called = (system, variant, target, first.host, first.commit if recorded else "")
            lines.append(
                Line(
                    system,
                    variant,
                    target,
                    vocabulary.role(system),
                    origin,
                    ", ".join(names) if len(merged) > 1 else "",
                    recorded,
                    verdicts.get(called, ""),
                    shown,
                )
            )
    return lines


def _cell(row: Row, best: bool) -> Cell:
    return Cell(
        vocabulary.number(row.metric, row.value),
        interval_text(row),
        kind_text(row),
        row.n,
        row.value,
        best,
        row.source,
        ", ".join(energy.words(row)),
    )


def read(detail: str) -> str:
    """A detail that is a JSON object as "name value" pairs, numbers to four digits; any other as it stands."""
    try:
        held = json.loads(detail)
    except ValueError:
        return detail
    if not isinstance(held, dict):
        return detail
    return ", ".join(f"{name} {_in_words(value)}" for name, value in held.items())


def _in_words(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)


def shorten(text: str, limit: int = MAX_DETAIL_CHARS) -> str:
    """Long details end in the number of characters left out; the results file has them all."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit:,} more characters)"
