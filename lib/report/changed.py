"""What changed between two runs beyond noise? Every number of one beside the same number of the other.

A number is known by its notebook, system, variant, target and metric. Two of them are compared where the same
instrument took both, and, where the metric says as much about the machine as about the system, on the same host. The
interval of the difference follows from the two intervals alone (MOVER: Zou and Donner 2008,
https://doi.org/10.1002/sim.3095): rows hold no single sentences, so of two runs on the same sentences it is too wide
rather than too narrow. What it leaves is corrected for the number of differences that were looked at (Holm).

The same code on the same machine takes up to a quarter more or less time by the hour, as the neighbours on its
processor do. So a time is compared with the other run's in this run's pace, the factor that the times of a notebook
share, and no closer than they scatter around it: rounds within one run know nothing of the hour. What most systems
share is therefore not seen, be it the hour or a change that sped all of them up.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib import results
from lib.errors import MissingDataError
from lib.measure import stats
from lib.metrics import METRICS
from lib.report import vocabulary
from lib.report.collect import Row, records

if TYPE_CHECKING:
    import pandas as pd

BETTER, WORSE, DIFFERENT, NOISE = "better", "worse", "different", "within noise"
SAME, NO_INTERVAL = "the same", "no interval: noise or not, nobody knows"
OTHER_HOST = "not comparable: another host"
OTHER_INSTRUMENT, OTHER_KIND = "not comparable: measured otherwise", "not comparable: another kind of number"
ONLY_BEFORE, ONLY_AFTER, NOT_RUN = "only in the other run", "only in this run", "not run on a side"
BEYOND = (BETTER, WORSE, DIFFERENT)
# Counted, not sampled: the same code gives the same number, and any difference is one.
COUNTED = ("size_mb", "loaded_mb", "params_m", "trainable_params_pct", "npu_ops_pct", "cycles")
# Metrics that follow the machine's pace: how many times as large where everything takes twice as long, as a power of 2.
TIMED = {
    **dict.fromkeys(("rtf", "latency_ms_p50", "latency_ms_p90", "latency_ms_p99", "first_audio_ms"), 1),
    **dict.fromkeys(("cold_start_s", "energy_j_per_audio_s"), 1),
    **dict.fromkeys(("throughput_rtfx", "train_steps_per_s", "train_frames_per_s"), -1),
}
PACED_BY = "rtf"
ENOUGH = 8  # ratios before their median is a pace
DEVIATIONS = 1.4826  # standard deviations in a median of absolute ones, of a normal distribution
_ORDER = (WORSE, BETTER, DIFFERENT, ONLY_BEFORE, ONLY_AFTER, NOT_RUN)


@dataclass(frozen=True)
class Pace:
    """How many times as long everything takes in this run, and the standard deviation of single times around that, as
    a share.
    """

    factor: float = 1.0
    scatter: float = 0.0


STILL = Pace()


@dataclass(frozen=True)
class Change:
    """One number in both runs. difference: this run's minus the other's, with its 95 % interval; p_value: corrected;
    word: one of the constants above. What does not compare has no difference, what has no interval no p value.
    """

    system: str
    variant: str
    target: str
    metric: str
    before: Row | None
    after: Row | None
    word: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    pace: Pace = STILL


def read(folder: str | Path) -> list[Row]:
    """The rows of another run: its folder of results, or the profile's folder that holds one (outputs/quick), or one
    of recorded rows; of several recordings the newest of each number. Raises MissingDataError without any.
    """
    folder = Path(folder)
    chosen = folder / "results" if (folder / "results").is_dir() else folder
    table = results.read(chosen) if chosen.is_dir() else results.read()
    if table.empty:
        raise MissingDataError(
            f"no results to compare with under {folder}: name the folder of another run, such as outputs/study, a copy "
            "of outputs/quick, or outputs/recorded"
        )
    return records(table)


def changes(before: pd.DataFrame | Iterable[Row], after: pd.DataFrame | Iterable[Row]) -> list[Change]:
    """Every number that either run has, what changed first, then what one lacks; published figures are left out.

    before, after: rows, or the table of `lib.results.read`.
    """
    old, new = _by_identity(records(before)), _by_identity(records(after))
    paces = _paces(old, new)
    found = [
        _change(identity, old.get(identity), new.get(identity), paces)
        for identity in dict.fromkeys((*new, *old))
    ]
    tested = [number for number, change in enumerate(found) if change.p_value is not None]
    for number, p_value in zip(tested, stats.holm([found[i].p_value for i in tested])):
        found[number] = _worded(found[number], p_value)
    return sorted(found, key=lambda c: _ORDER.index(c.word) if c.word in _ORDER else len(_ORDER))


def difference(before: Row, after: Row) -> tuple[float, float, float, float] | None:
    """(difference, low, high, p value) of two independent estimates from their 95 % intervals; None where one has none.

    The p value is that of the level at which the interval, scaled, begins to hold zero.
    """
    ends = (before.ci_low, before.ci_high, after.ci_low, after.ci_high)
    if any(end is None for end in ends):
        return None
    gap = after.value - before.value
    below = math.hypot(max(0.0, after.value - after.ci_low), max(0.0, before.ci_high - before.value))
    above = math.hypot(max(0.0, after.ci_high - after.value), max(0.0, before.value - before.ci_low))
    toward = below if gap > 0 else above  # the arm of the interval that reaches for zero
    return gap, gap - below, gap + above, _p_value(gap, toward)


def finding(found: Sequence[Change]) -> str:
    """How many numbers changed beyond noise, which most, and what could not be compared, in sentences."""
    if not found:
        return "Neither run holds a number."
    words = Counter(change.word for change in found)
    compared = sum(words[word] for word in (*BEYOND, NOISE, SAME))
    changed = [change for change in found if change.word in BEYOND]
    tested = sum(change.p_value is not None for change in found)
    said = [
        f"Of {compared:,} numbers that both runs have and that compare, {len(changed):,} changed beyond noise "
        f"({words[BETTER]} for the better, {words[WORSE]} for the worse; 5 %, corrected for {tested:,} differences)."
    ]
    if changed:
        said.append(f"{'; '.join(_said(change) for change in changed[:5])}.")
    if paces := {change.pace for change in found if change.difference is not None} - {STILL}:
        factors = sorted({f"{pace.factor:.2f}" for pace in paces})
        scatter = max(pace.scatter for pace in paces)
        said.append(
            f"A second of speech takes {' to '.join(dict.fromkeys((factors[0], factors[-1])))} times as long in this "
            "run (median over systems and variants, notebook by notebook): the machine's hour, or something they "
            f"share. Times are compared after that, and no closer than they scatter around it (up to "
            f"{100 * scatter:.0f} %)."
        )
    others = [(word, count) for word, count in words.items() if word not in (*BEYOND, NOISE, SAME)]
    if others:
        said.append(f"Not compared: {'; '.join(f'{count:,} {word}' for word, count in others)}.")
    return " ".join(said)


def origins(before: pd.DataFrame | Iterable[Row], after: pd.DataFrame | Iterable[Row]) -> str:
    """Which machines and commits the two runs come from, in a sentence."""
    sides = [_where(records(rows)) for rows in (before, after)]
    same = (
        " Same machines, same commits: whatever differs is noise that the intervals do not know."
        if sides[0] == sides[1]
        else ""
    )
    return f"The other run: {sides[0]}. This run: {sides[1]}.{same}"


def table(found: Sequence[Change], *, everything: bool = False) -> pd.DataFrame:
    """A line for each number that changed or that one run lacks (everything: for all), with both values and commits."""
    import pandas as pd

    columns = ["system", "variant", "target", "metric", "other run", "this run", "difference", "p", "what"]
    columns += ["other commit", "this commit"]
    lines = [
        (
            *(change.system, change.variant, change.target, METRICS[change.metric].label),
            _shown(change.before),
            _shown(change.after),
            _difference_text(change),
            "" if change.p_value is None else stats.p_text(change.p_value),
            change.word,
            change.before.commit if change.before else "",
            change.after.commit if change.after else "",
        )
        for change in found
        if everything or change.word in _ORDER
    ]
    return pd.DataFrame(lines, columns=columns).set_index(columns[:4])


def _by_identity(rows: Iterable[Row]) -> dict[tuple[str, ...], Row]:
    """(notebook, system, variant, target, metric) -> its newest row; a number before the word that it was not run."""
    held: dict[tuple[str, ...], Row] = {}
    for row in sorted(rows, key=lambda row: (row.value is not None, row.time)):
        if row.kind != "published":
            held[row.notebook.partition("@")[0], row.system, row.variant, row.target, row.metric] = row
    return held


def _paces(old: dict[tuple[str, ...], Row], new: dict[tuple[str, ...], Row]) -> dict[str, Pace]:
    """Notebook -> the pace of its times, from the RTFs that compare; that of the whole run, under "", where they are
    too few, and STILL where those are, too.
    """
    ratios: dict[str, list[float]] = {"": []}
    for identity in sorted(old.keys() & new.keys()):
        before, after = old[identity], new[identity]
        if identity[-1] == PACED_BY and before.value and after.value and _clocked(before, after):
            for notebook in ("", identity[0]):
                ratios.setdefault(notebook, []).append(math.log(after.value / before.value))
    return {notebook: _pace(logs) for notebook, logs in ratios.items() if len(logs) >= ENOUGH}


def _pace(logs: Sequence[float]) -> Pace:
    middle = statistics.median(logs)
    return Pace(math.exp(middle), DEVIATIONS * statistics.median(abs(log - middle) for log in logs))


def _clocked(before: Row, after: Row) -> bool:
    """Whether both follow from a clock on this machine; what is simulated does not."""
    return not _incomparable(before, after) and after.kind != "simulated"


def _in_pace(row: Row, pace: Pace) -> Row:
    """The row as it would be in that pace, its interval wider by what single times scatter around it."""
    from scipy.stats import norm

    factor = pace.factor ** TIMED[row.metric]
    value = row.value * factor
    if row.ci_low is None or row.ci_high is None:
        return dataclasses.replace(row, value=value)
    apart = norm.ppf((1 + stats.CONFIDENCE) / 2) * pace.scatter * value
    low, high = (math.hypot(value - end * factor, apart) for end in (row.ci_low, row.ci_high))
    return dataclasses.replace(row, value=value, ci_low=value - low, ci_high=value + high)


def _change(identity: tuple[str, ...], before: Row | None, after: Row | None, paces: dict[str, Pace]) -> Change:
    notebook, *names = identity
    if before is None or after is None:
        known = before or after
        word = NOT_RUN if known.value is None else ONLY_AFTER if before is None else ONLY_BEFORE
        return Change(*names, before, after, word)
    if before.value is None or after.value is None:
        both = before.value is None and after.value is None
        return Change(*names, before, after, SAME if both else NOT_RUN)
    if why := _incomparable(before, after):
        return Change(*names, before, after, why)
    timed = names[-1] in TIMED and _clocked(before, after)
    pace = paces.get(notebook, paces.get("", STILL)) if timed else STILL
    paced = _in_pace(before, pace) if timed else before
    gap = after.value - paced.value
    if names[-1] in COUNTED:
        return Change(*names, before, after, _direction(names[-1], gap) if gap else SAME, gap)
    tested = difference(paced, after)
    if tested is None:
        return Change(*names, before, after, NO_INTERVAL if gap else SAME, gap, pace=pace)
    return Change(*names, before, after, NOISE if gap else SAME, *tested, pace=pace)


def _incomparable(before: Row, after: Row) -> str:
    if before.kind != after.kind:
        return OTHER_KIND
    if before.metric in vocabulary.OF_THE_MACHINE and before.host != after.host:
        return OTHER_HOST
    if before.source != after.source:
        return OTHER_INSTRUMENT
    return ""


def _worded(change: Change, p_value: float) -> Change:
    beyond = p_value < 1 - stats.CONFIDENCE and change.difference
    word = _direction(change.metric, change.difference) if beyond else change.word
    return dataclasses.replace(change, p_value=p_value, word=word)


def _direction(metric: str, gap: float) -> str:
    return {0: DIFFERENT, 1: BETTER, -1: WORSE}[METRICS[metric].better * (1 if gap > 0 else -1)]


def _p_value(gap: float, arm: float) -> float:
    """Two-sided p of a gap whose 95 % interval reaches `arm` towards zero."""
    from scipy.stats import norm

    if gap == 0:
        return 1.0
    if arm == 0:
        return 0.0
    return float(2 * norm.sf(norm.ppf((1 + stats.CONFIDENCE) / 2) * abs(gap) / arm))


def _shown(row: Row | None) -> str:
    if row is None:
        return "absent"
    if row.value is None:
        return f"not run: {row.detail}"
    ends = (
        "" if row.ci_low is None else " [{}, {}]".format(*(_number(row, e) for e in (row.ci_low, row.ci_high)))
    )
    kind = "" if row.kind == "measured" else f" ({row.kind})"
    return f"{vocabulary.amount(row.metric, row.value)}{ends}{kind}"


def _number(row: Row, value: float) -> str:
    return vocabulary.number(row.metric, value)


def _difference_text(change: Change) -> str:
    if change.difference is None:
        return ""
    ends = (change.low, change.high)
    interval = "" if None in ends else " [{}, {}]".format(*(_signed(change.metric, e) for e in ends))
    return f"{_signed(change.metric, change.difference)}{interval}"


def _signed(metric: str, value: float) -> str:
    text = vocabulary.number(metric, value)
    return text if value <= 0 else f"+{text}"


def _said(change: Change) -> str:
    ends = (change.low, change.high)
    interval = "" if None in ends else " [{}, {}]".format(*(_signed(change.metric, e) for e in ends))
    unit = vocabulary.unit(change.metric).replace("%", "points")
    return (
        f"{change.system} {change.variant} on {change.target}: {METRICS[change.metric].in_sentence} "
        f"{_signed(change.metric, change.difference)} {unit}{interval}, {change.word}"
    )


def _where(rows: Sequence[Row]) -> str:
    hosts, commits = ({getattr(row, name) for row in rows} - {""} for name in ("host", "commit"))
    days = sorted({row.date for row in rows} - {""})
    when = f", {days[0]}{f' to {days[-1]}' if len(days) > 1 else ''}" if days else ""
    return (
        f"{len(rows):,} rows of {' and '.join(sorted(hosts)) or 'no host'}, "
        f"commit {' and '.join(sorted(commits)) or 'unknown'}{when}"
    )
