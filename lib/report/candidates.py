"""Who can be chosen? Every voice as it comes and every judged variant of one, on each target, with its newest numbers.

Rows are never mixed across runs: a candidate's numbers come from one run on one machine, so that two candidates of a
run compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lib.report import vocabulary
from lib.report.collect import Row
from lib.report.verdicts import Judged

QUALITY = ("mos_human", "mos_predicted", "wer", "asr_nll", "speaker_similarity")
SIZE = ("size_mb", "loaded_mb", "params_m")
BASELINE = "baseline"


@dataclass(frozen=True, eq=False)
class Candidate:
    """rows: metric -> its row; quality and size may come from another target of the same variant. judged: what the
    variant is called, None of a voice as it comes; origin: of an earlier run's rows.
    """

    system: str
    variant: str
    target: str
    origin: str
    judged: Judged | None
    rows: dict[str, Row] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """ "vits-joe int8-static", or the system's name alone where it is as it comes."""
        return self.system if self.variant == BASELINE else f"{self.system} {self.variant}"


def runs(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each run apart: this one's first (a machine each), then recorded ones, the newest first."""
    grouped: dict[tuple, list[Row]] = {}
    for row in rows:
        key = (row.recorded, row.host, row.commit if row.recorded else "")
        grouped.setdefault(key, []).append(row)
    newest = {key: max(row.time for row in group) for key, group in grouped.items()}
    late_first = sorted(grouped, key=lambda key: newest[key], reverse=True)
    return [grouped[key] for key in sorted(late_first, key=lambda key: key[0])]


def candidates(rows: Sequence[Row], entries: Iterable[Judged]) -> list[Candidate]:
    """The voices of one run that may be chosen or must be refused: each as it comes, and what was judged.

    rows: of one run (`runs`); entries: of `verdicts.judged`, of any run.
    """
    if not rows:
        return []
    origin = rows[0].stamp if rows[0].recorded else ""
    verdicts = {}
    for entry in entries:
        if bool(entry.origin) == bool(origin) and (entry.host, entry.commit) in _places(rows):
            verdicts.setdefault((entry.system, entry.variant, entry.target), entry)
    by_target: dict[tuple[str, str], dict[str, dict[str, Row]]] = {}
    for row in sorted(rows, key=lambda row: row.time):  # the newest stays
        if row.value is not None and vocabulary.role(row.system) == "voice":
            by_target.setdefault((row.system, row.variant), {}).setdefault(row.target, {})[row.metric] = row
    made = []
    for (system, variant), targets in by_target.items():
        for target, own in targets.items():
            entry = verdicts.get((system, variant, target))
            if variant == BASELINE or entry:
                borrowed = _borrowed(targets, target)
                made.append(Candidate(system, variant, target, origin, entry, {**borrowed, **own}))
    return made


def _borrowed(targets: dict[str, dict[str, Row]], target: str) -> dict[str, Row]:
    """Quality and size of the same variant on other targets: what one runtime speaks another speaks, too."""
    return {
        metric: row
        for other in sorted(targets, reverse=True)
        if other != target
        for metric, row in targets[other].items()
        if metric in (*QUALITY, *SIZE)
    }


def _places(rows: Sequence[Row]) -> set[tuple[str, str]]:
    """(machine, commit) of the rows; of a run that is going on the commit does not matter."""
    return {(row.host, row.commit if row.recorded else "") for row in rows}
