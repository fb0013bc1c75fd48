"""Does it hold? Every headline of the reference studies beside what was measured here: theirs, ours, verdict, reason.

A change agrees where the 95 % interval of ours lies inside what theirs can mean, is better or worse where it lies
outside, and is undecided else; of times what their bench paired comes first (`paired_times`). Equal quality is what
`lib.measure.verdict` calls without audible loss. What was not measured is not run, and says what has to run first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lib.corpora.domains import HARD_SET
from lib.measure import judgement, verdict
from lib.report import paired_times, tables, vocabulary
from lib.report.candidates import runs
from lib.report.collect import Row
from lib.report.verdicts import Judged, judged
from lib.results import CLAIM, METRICS
from lib.studies import by_size
from lib.studies.headlines import HEADLINES, Headline

AGREES, BETTER, WORSE = "agrees", "better than claimed", "worse than claimed"
UNDECIDED, INCOMPARABLE, NOT_RUN = "undecided", "not comparable", "not run"
_MOST = 3  # of our numbers beside a claim that does not say which variant it is of
_COUNTED = (*verdict.COUNTED, "trainable_params_pct")  # known without an interval
_OTHERS = "Others"  # claims in the rows that belong to none of the studies


@dataclass(frozen=True)
class Line:
    """A headline with our answer. kind: "claimed" or "published"; origin: where ours was measured, if not in this
    run; n: sentences or timings that ours rests on, 0 where nothing counted them.
    """

    study: str
    system: str
    of: str
    theirs: str
    kind: str
    source: str
    note: str
    ours: str
    verdict: str
    reason: str
    origin: str = ""
    n: int = 0


def lines(rows: Iterable[Row], headlines: Sequence[Headline] = HEADLINES) -> list[Line]:
    """A line for each headline, then one for each other claim among the rows."""
    rows = list(rows)
    measured = [row for row in rows if row.kind not in ("published", "not_run") and not row.claimed]
    parts = [part for run in runs(measured) for part in _by_notebook(run)]
    entries = judged(rows)
    made = [_line(headline, rows, parts, entries) for headline in headlines]
    told = {(h.system, h.metric) for h in headlines if h.claimed}
    return made + [_other(claim) for claim in tables.claims(rows) if (claim.system, claim.metric) not in told]


def finding(told: Sequence[Line]) -> str:
    """How many headlines hold, in a sentence; "" where none was judged."""
    words = Counter(line.verdict for line in told)
    if not words:
        return ""
    order = (AGREES, BETTER, WORSE, UNDECIDED, INCOMPARABLE, NOT_RUN)
    shares = ", ".join(f"{words[word]} {word}" for word in order if words[word])
    return f"Of {words.total()} headlines: {shares}."


def _line(headline: Headline, rows: list[Row], parts: list[list[Row]], entries: list[Judged]) -> Line:
    if headline.incomparable:
        answer = _laid_beside(headline, rows)
    elif headline.equal:
        answer = _equal(headline, entries) or _beside_full(headline, parts)
    else:
        answer = _changed(headline, parts)
    ours, word, reason, origin, n = answer or ("", NOT_RUN, _why(headline, rows), "", 0)
    return Line(
        headline.study,
        headline.system,
        METRICS[headline.metric].label,
        headline.theirs,
        "claimed" if headline.claimed else "published",
        headline.source.removeprefix(CLAIM),
        headline.note,
        ours,
        word,
        reason,
        origin,
        n,
    )


def _laid_beside(headline: Headline, rows: list[Row]) -> tuple | None:
    """Our newest numbers of the same system and metric, for the eye alone."""
    mine = [
        row
        for row in sorted(rows, key=lambda row: (row.recorded, row.variant, row.target))
        if (row.system, row.metric) == (headline.system, headline.metric)
        and row.kind in ("measured", "estimated")
        and not row.claimed
    ]
    if not mine:
        return None
    said = dict.fromkeys(f"{vocabulary.amount(r.metric, r.value)} ({r.variant}, {r.target})" for r in mine)
    origin = mine[0].stamp if all(row.recorded for row in mine) else ""
    return "; ".join(tuple(said)[:_MOST]), INCOMPARABLE, headline.incomparable, origin, 0


def _equal(headline: Headline, entries: list[Judged]) -> tuple | None:
    for entry in entries:  # this run's first
        mine = (entry.system, entry.variant.partition("@")[0], entry.baseline.partition("@")[0])
        if mine != (headline.system, headline.variant, headline.baseline):
            continue
        quality = entry.judgement.quality
        word = {verdict.WITHOUT_LOSS: AGREES, verdict.WORSE: WORSE}.get(quality.word, UNDECIDED)
        return quality.word, word, "; ".join(quality.reasons), entry.origin, 0
    return None


def _beside_full(headline: Headline, parts: list[list[Row]]) -> tuple | None:
    """Of a recogniser's adapter that was paired with full fine-tuning, too, on what both learnt: of the runs that heard
    most this one, else the newest.
    """
    variant = f"{headline.variant}@{HARD_SET}"
    compared = []
    for part in parts if headline.baseline == "full" else ():
        for row in part:
            if (row.system, row.variant, row.metric) != (headline.system, variant, headline.metric):
                continue
            about = _detail(row).get("to_full", {})
            if "difference" in about:
                compared.append((row, judgement.paired({"n": row.n or 0} | about)))
    for row, difference in by_size.largest(compared, lambda one: one[1].n)[:1]:
        quality = verdict.quality_verdict({headline.metric: difference}, verdict.RECOGNISER)
        word = {verdict.WITHOUT_LOSS: AGREES, verdict.WORSE: WORSE}.get(quality.word, UNDECIDED)
        origin = row.stamp if row.recorded else ""
        return quality.word, word, "; ".join(quality.reasons), origin, difference.n
    return None


def _changed(headline: Headline, parts: list[list[Row]]) -> tuple | None:
    """Of the runs that have both sides, of those that heard most the first: "629 → 202 MB", the word, and the change
    with its interval.
    """
    changes = []
    for part in parts:
        after = _newest(part, headline, headline.variant)
        if after is None:
            continue
        before = _newest(part, headline, headline.baseline, like=after)
        cost = METRICS[headline.metric].unit not in ("MOS", "MOS-LQO", "fraction")
        change = _ratio(before, after) if cost else _difference(before, after)
        if change is None:
            continue
        (value, low, high, start, n), how = change, ""
        if cost and (paired := paired_times.ratio(before, after, part)):
            value, low, high, how = paired
        elif cost and low is not None:
            how = " from the ends of both intervals"
        word = _agreement(headline, value, low, high)
        form = (lambda x: f"{x:.3g}") if cost else (lambda x: vocabulary.signed(headline.metric, x))
        interval = f" [{form(low)}, {form(high)}]" if low is not None else ""
        unit = " times" if cost else f" {vocabulary.unit(headline.metric)}".replace("%", "points")
        least, most = headline.change
        theirs = f"{form(least)} to {form(most)}" if least or not cost else f"at most {form(most)}"
        counted = "" if low is not None or headline.metric in _COUNTED else "; too few for an interval"
        reason = f"the change is {form(value)}{unit}{interval}{how}, theirs {theirs}{unit}{counted}"
        reason += _other_start(headline, start)
        ours = _sides(headline.metric, start, before, after)
        changes.append((ours, word, reason, after.stamp if after.recorded else "", n))
    return next(iter(by_size.largest(changes, lambda change: change[-1])), None)


def _by_notebook(run: list[Row]) -> list[list[Row]]:
    """The rows of each notebook apart, and of each commit: what one notebook timed is no baseline of what another did
    on another day.
    """
    apart: dict[tuple[str, str], list[Row]] = {}
    for row in run:
        apart.setdefault((row.notebook, row.commit), []).append(row)
    return list(apart.values())


def _sides(metric: str, start: float, before: Row | None, after: Row) -> str:
    """ "629 (estimated) → 202 MB": what was not measured says so, once where neither side was."""
    kinds = [after.kind if before is None else before.kind, after.kind]
    first, last = ("" if kind == "measured" else f" ({kind})" for kind in kinds)
    first = "" if first == last else first
    return f"{vocabulary.number(metric, start)}{first} → {vocabulary.amount(metric, after.value)}{last}"


def _other_start(headline: Headline, start: float) -> str:
    """That ours begins elsewhere: a change from there need not be the same."""
    if headline.before is None or headline.before[0] <= start <= headline.before[1]:
        return ""
    low, high = (vocabulary.number(headline.metric, end) for end in headline.before)
    theirs = low if low == high else f"{low} to {high}"
    return f"; ours starts at {vocabulary.amount(headline.metric, start)}, theirs at {theirs}"


def _agreement(headline: Headline, value: float, low: float | None, high: float | None) -> str:
    """By where the interval lies; bytes and shares are counted and need none, anything else without one decides
    nothing.
    """
    least, most = headline.change
    if low is None:
        if headline.metric not in _COUNTED:
            return UNDECIDED
        low = high = value
    if least <= low and high <= most:
        return AGREES
    upward = METRICS[headline.metric].better > 0
    if high < least:
        return WORSE if upward else BETTER
    if low > most:
        return BETTER if upward else WORSE
    return UNDECIDED


def _ratio(before: Row | None, after: Row) -> tuple | None:
    """(after over before, its ends or None, before, n); the ends from both intervals, which is cautious. Bytes are
    counted, in files or in memory; of anything else an estimate and a measurement make no change.
    """
    if before is None or before.value <= 0:
        return None
    if before.kind != after.kind and after.metric not in verdict.COUNTED:
        return None
    ends = (None, None)
    if None not in (before.ci_low, after.ci_low) and before.ci_low > 0:
        ends = (after.ci_low / before.ci_high, after.ci_high / before.ci_low)
    return after.value / before.value, *ends, before.value, after.n or 0


def _difference(before: Row | None, after: Row) -> tuple | None:
    """(after minus before, its ends or None, before, n), paired where the row carries it."""
    try:
        detail = _detail(after)
        value, n = detail["difference"], detail.get("n") or after.n or 0
        low, high = detail.get("ci_low"), detail.get("ci_high")
        ends = (None, None) if None in (low, high) or 0 < n < verdict.MIN_SENTENCES else (low, high)
        return value, *ends, after.value - value, n
    except (KeyError, TypeError):  # none was kept, or its difference is null
        if before is None:
            return None
        return after.value - before.value, None, None, before.value, after.n or 0


def _detail(row: Row) -> dict:
    """A row's detail; {} where it is words."""
    try:
        detail = json.loads(row.detail)
    except ValueError:
        return {}
    return detail if isinstance(detail, dict) else {}


def _newest(part: list[Row], headline: Headline, variant: str, like: Row | None = None) -> Row | None:
    """The newest row of a variant; like: on whose target, and on whose test set, it has to be."""
    mine = [
        row
        for row in part
        if (row.system, row.variant.partition("@")[0], row.metric)
        == (headline.system, variant, headline.metric)
        and row.value is not None
        and (like is None or (row.target, _set(row)) == (like.target, _set(like)))
    ]
    return max(mine, key=lambda row: row.time, default=None)


def _set(row: Row) -> str:
    return row.variant.partition("@")[2]


def _why(headline: Headline, rows: list[Row]) -> str:
    """What a row says that could not run, else what has to run first."""
    mine = [
        row
        for row in rows
        if row.system == headline.system
        and row.variant.partition("@")[0] == headline.variant
        and row.metric == headline.metric
        and not row.claimed
    ]
    said = [row.detail for row in mine if row.kind == "not_run"]
    what = f"{headline.system} {headline.variant}".strip()
    if said:
        return said[-1]
    name = METRICS[headline.metric].in_sentence
    if known := [row for row in mine if row.value is not None]:
        value = vocabulary.amount(headline.metric, max(known, key=lambda row: row.time).value)
        return f"{name} of {what} is {value}, and no {headline.baseline} of the same run was laid beside it"
    return f"nothing measured {name} of {what}: {headline.lacking}"


def _other(claim: tables.Claim) -> Line:
    ours = "; ".join(claim.ours)
    reason = "stated without how it was measured" if ours else "nothing like it was measured"
    word = INCOMPARABLE if ours else NOT_RUN
    label = METRICS[claim.metric].label
    return Line(
        _OTHERS, claim.system, label, claim.text, "claimed", claim.source, claim.detail, ours, word, reason
    )
