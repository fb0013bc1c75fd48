"""What is each variant called? The judgement of `lib.measure` on every variant paired with a baseline."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from lib import results
from lib.measure import verdict
from lib.measure.judgement import Judgement, from_rows
from lib.metrics import deliberate
from lib.report import vocabulary
from lib.report.collect import Row
from lib.results import METRICS

if TYPE_CHECKING:
    import pandas as pd

_COMPARED = {metric for metrics in verdict.CRITERIA.values() for metric in metrics}
_ORDER = (verdict.RECOMMENDED, verdict.UNDECIDED, verdict.NOT_RECOMMENDED)


@dataclass(frozen=True)
class Judged:
    """A variant on a target with what it is called; origin: where it comes from if an earlier run measured it; host,
    commit: of its rows, the commit of an earlier run's alone; time: when it was heard.
    """

    system: str
    variant: str
    target: str
    baseline: str
    origin: str
    judgement: Judgement
    host: str = ""
    commit: str = ""
    time: str = ""

    @property
    def word(self) -> str:
        """ "without audible loss", "worse" or "undecided"."""
        return self.judgement.quality.word


def judged(rows: Iterable[Row]) -> list[Judged]:
    """Every variant whose sentences were paired with another variant's of its system, the recommended first.

    Rows of this run and recorded ones are judged apart, each machine's, each recording's and each notebook's, whose
    baseline may have been timed on another day: a speed-up across them is none.
    A pupil paired with its teacher, which is another system, is no variant.
    """
    counted = [
        r
        for r in rows
        if r.value is not None and not r.claimed and r.kind != "published" and not deliberate(r.variant)
    ]
    return list(_judged(tuple(counted)))


@functools.lru_cache(maxsize=8)  # the page asks in several of its sections
def _judged(rows: tuple[Row, ...]) -> tuple[Judged, ...]:
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        run = (row.recorded, row.host, row.commit if row.recorded else "", row.notebook)
        groups.setdefault(run, []).append(row)
    made = [entry for _, group in sorted(groups.items()) for entry in _group(group)]
    return tuple(sorted(made, key=lambda j: (bool(j.origin), _ORDER.index(j.judgement.recommendation.word))))


def latest(entries: Iterable[Judged]) -> list[Judged]:
    """Of each variant on a target one answer, in the same order: this run's; of earlier ones the newest that can tell
    whether it is worth having, else the newest.
    """
    entries, chosen = list(entries), {}
    for one in entries:
        name = one.system, one.variant, one.target
        if name not in chosen or _telling(one) > _telling(chosen[name]):
            chosen[name] = one
    kept = {id(one) for one in chosen.values()}
    return [one for one in entries if id(one) in kept]


def _telling(one: Judged) -> tuple:
    return not one.origin, one.judgement.recommendation.word != verdict.UNDECIDED, one.time


def words(entries: Iterable[Judged]) -> dict[tuple[str, str, str, str, str], str]:
    """(system, variant, target, host, commit) -> what the variant is called; commit: "" of this run."""
    return {(e.system, e.variant, e.target, e.host, e.commit): e.word for e in entries}


def finding(rows: Iterable[Row], earlier: Iterable[Row] = ()) -> Markup | None:
    """The recommended variant that saves most, and how the others did, in a sentence; None without variants.

    earlier: rows of earlier runs, whose recommended variants are counted where none of these is.
    """
    entries = latest(judged(rows))
    if not entries:
        return None
    counts = Counter(entry.word for entry in entries)
    rest = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    counted = f"{len(entries)} variant{'s' if len(entries) > 1 else ''} compared with a baseline: {rest}"
    recommended = [e for e in entries if e.judgement.recommendation.word == verdict.RECOMMENDED]
    if not recommended:
        if len(entries) == 1:
            only = entries[0]
            refused = only.judgement.recommendation.word == verdict.NOT_RECOMMENDED
            return Markup(
                "<strong>{} {}</strong>, the one variant compared with a baseline, is {}, and {}."
            ).format(
                only.system, only.variant, only.word, "not recommended" if refused else "not recommended yet"
            )
        known = sum(
            entry.judgement.recommendation.word == verdict.RECOMMENDED for entry in latest(judged(earlier))
        )
        if known:
            own, are = f"{len(entries)} variants compared with a baseline", "is" if known == 1 else "are"
            return Markup("Of this run's {} none is recommended ({}); {} of earlier runs {}.").format(
                own, rest, known, are
            )
        return Markup("None is recommended of the {}.").format(counted)

    def saving(entry: Judged) -> tuple:
        times = {gain.metric: gain.times for gain in entry.judgement.gains if gain.saves}
        return times.get("size_mb", 0), max(times.values())

    best = max(recommended, key=saving)
    return Markup("<strong>{} {}</strong> on {} is recommended: {}. {} in all.").format(
        best.system,
        best.variant,
        best.target,
        best.judgement.recommendation.reason,
        counted[0].upper() + counted[1:],
    )


def table(rows: Iterable[Row]) -> "pd.DataFrame":
    """One line for each judged variant: against, verdict, recommendation, why, how many sentences would decide."""
    import pandas as pd

    columns = ["system", "variant", "target", "against", "verdict", "recommendation", "why", "sentences needed"]
    lines = [
        (
            entry.system,
            entry.variant,
            entry.target,
            entry.baseline,
            entry.word,
            entry.judgement.recommendation.word,
            entry.judgement.recommendation.reason,
            entry.judgement.quality.sentences_needed or "",
        )
        for entry in latest(judged(rows))
    ]
    return pd.DataFrame(lines, columns=columns).set_index(columns[:3])


def margins() -> str:
    """The margins of "without audible loss" in words: "predicted MOS −0.1, WER +1 point..."."""
    said = []
    for metric, margin in verdict.MARGINS.items():
        sign = "+" if margin > 0 else ""
        unit = vocabulary.unit(metric).replace("%", "points")
        beyond = verdict.WORSE_BEYOND[metric]
        worse = "" if beyond == margin else f" (worse only beyond {sign}{vocabulary.number(metric, beyond)})"
        said.append(f"{METRICS[metric].label} {sign}{vocabulary.number(metric, margin)} {unit}{worse}")
    return "; ".join(said)


def _group(rows: list[Row]) -> list[Judged]:
    table = results.frame(dataclasses.asdict(row) for row in rows)
    variants = {(row.system, row.variant) for row in rows}
    paired: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        if row.metric in _COMPARED and row.baseline != row.variant and (row.system, row.baseline) in variants:
            paired.setdefault((row.system, row.variant, row.baseline), {})[row.target] = row
    made = []
    for (system, variant, baseline), heard in paired.items():
        targets = {
            row.target
            for row in rows
            if (row.system, row.variant) == (system, variant) and row.metric in {*_COMPARED, *verdict.SAVINGS}
        }
        for target in sorted(targets):
            quality_target = target if target in heard else min(heard)
            judgement = from_rows(
                table, system, variant, target, baseline=baseline, quality_target=quality_target
            )
            if target in heard or judgement.gains:
                row = heard[quality_target]
                origin, commit = (row.stamp, row.commit) if row.recorded else ("", "")
                made.append(
                    Judged(system, variant, target, baseline, origin, judgement, row.host, commit, row.time)
                )
    return made
