"""What do these numbers not say? The limits of a run, each a sentence computed from its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from lib.measure import verdict
from lib.metrics import deliberate
from lib.report import hearing, vocabulary
from lib.report.collect import Row
from lib.report.verdicts import judged
from lib.results import METRICS


def sentences(rows: Iterable[Row]) -> list[str]:
    """The limits that the rows themselves show; [] without any measured row."""
    every = list(rows)
    current = [row for row in every if not row.recorded] or every
    measured = [row for row in current if row.kind == "measured"]
    if not measured:
        return []
    made = [
        _ears(every),
        hearing.said("mos_predicted", every),
        _few(measured),
        _undecided(every),
        _machine(measured),
        _kinds(current),
        _absent(current),
    ]
    return [sentence for sentence in made if sentence]


def _ears(rows: list[Row]) -> str:
    rated = [row for row in rows if row.metric == "mos_human" and row.kind == "measured"]
    if rated:
        return (
            f"People rated {len({(row.system, row.variant) for row in rated})} voices; what is said of the others is "
            "predicted."
        )
    return (
        "No person has listened: what is said of naturalness is a network's prediction, and of intelligibility a "
        "recogniser's."
    )


def _few(measured: list[Row]) -> str:
    counts = [
        row.n
        for row in measured
        if row.metric == "mos_predicted"
        and row.n
        and vocabulary.role(row.system) == "voice"
        and not deliberate(row.variant)
    ]
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    many = f"{low}" if low == high else f"{low} to {high}"
    return (
        f"Quality stands on {many} sentences a voice: the intervals say how other sentences of this kind would do, "
        "not how other texts would."
    )


def _undecided(rows: list[Row]) -> str:
    words = Counter(entry.word for entry in judged(rows))
    if not words[verdict.UNDECIDED]:
        return ""
    return (
        f"{words[verdict.UNDECIDED]} of {words.total()} variants are undecided: their intervals are wider than the "
        "margins, or something was not compared. That is neither a loss nor its absence."
    )


def _machine(measured: list[Row]) -> str:
    hosts = sorted({row.host for row in measured if row.metric in vocabulary.OF_THE_MACHINE and row.host})
    if not hosts:
        return ""
    one = f"one machine ({hosts[0]})" if len(hosts) == 1 else f"{len(hosts)} machines ({'; '.join(hosts)})"
    return (
        f"Speed, memory and energy are of {one}; on another one the order may change. All times move with the "
        "machine's hour, by a fifth and more; what one notebook measured took turns, so its ratios hold better than "
        "its values."
    )


def _kinds(current: list[Row]) -> str:
    """Which metrics are estimated or simulated, and by what."""
    said = []
    for kind in ("estimated", "simulated"):
        sources: dict[str, list[str]] = {}
        for row in current:
            if row.kind == kind:
                sources.setdefault(row.source or "a formula", []).append(METRICS[row.metric].in_sentence)
        for source, labels in sources.items():
            said.append(f"{', '.join(dict.fromkeys(labels))} {kind} ({source})")
    return f"Not measured but {'; '.join(said)}." if said else ""


def _absent(current: list[Row]) -> str:
    absent = [row for row in current if row.kind == "not_run"]
    if not absent:
        return ""
    reasons = Counter(row.detail for row in absent)
    return (
        f"{len(absent)} number{'s' if len(absent) > 1 else ''} could not be had, for {len(reasons)} "
        f"reason{'s' if len(reasons) > 1 else ''}: each stands under “What could not run”."
    )
