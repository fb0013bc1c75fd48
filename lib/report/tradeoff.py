"""Who is on the front? A cost against quality: the points of the trade-off, the best of them, and their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from lib.measure import energy
from lib.report import vocabulary
from lib.report.collect import Row

MAY_BE_ESTIMATED = ("energy_j_per_audio_s", "size_mb")


def pareto_front(points: Iterable[tuple[float, float]]) -> list[int]:
    """Indexes of the (cost, gain) points that no other point beats in both, sorted by cost.

    >>> pareto_front([(1, 1), (2, 3), (3, 2)])
    [0, 1]
    """
    points = list(points)
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def points(rows: Iterable[Row], cost: str = "rtf") -> list[tuple[Row, Row]]:
    """(row of the cost, predicted MOS row) of every voice's variant on one target that has both, of one run on one
    machine; sorted by name. Energy may be estimated and bytes, too; all else was measured. Of energy that is measured
    and estimated, or counts different things, only the sort that most have: no front goes across.
    """
    kinds = ("measured", "estimated") if cost in MAY_BE_ESTIMATED else ("measured",)
    pairs: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        counts = row.kind in kinds if row.metric == cost else row.kind == "measured"
        if row.metric in (cost, "mos_predicted") and counts and vocabulary.role(row.system) == "voice":
            run = (row.recorded, row.host, row.commit) if row.recorded else (row.recorded, row.host, "")
            pairs.setdefault((row.system, row.variant, row.target, *run), {})[row.metric] = row
    found = [(pair[cost], pair["mos_predicted"]) for _, pair in sorted(pairs.items()) if len(pair) == 2]
    return [pair for pair in found if pair[0] in commonest(cost, [price for price, _ in found])]


def commonest(metric: str, rows: Sequence[Row]) -> list[Row]:
    """Of energy the rows of the sort (kind, boundary) that most are of, of several as common the measured one: they may
    be ranked with each other. All rows of other metrics.
    """
    if metric not in energy.METRICS or not rows:
        return list(rows)
    held = Counter(map(energy.sort, rows))
    most = max(held, key=lambda sort: (held[sort], sort[0] == "measured"))
    return [row for row in rows if energy.sort(row) == most]


def front(pairs: list[tuple[Row, Row]]) -> list[tuple[Row, Row]]:
    """The pairs that no other is both cheaper and rated higher than, the best rated first."""
    return [pairs[i] for i in reversed(pareto_front((cost.value, mos.value) for cost, mos in pairs))]


def possible(pairs: list[tuple[Row, Row]]) -> list[tuple[Row, Row]]:
    """The pairs that may be on the front as far as the 95 % intervals tell: no other is beyond them both cheaper and
    rated higher. The best rated first; the front is among them.
    """
    kept = [pair for pair in pairs if not any(_beats(other, pair) for other in pairs if other is not pair)]
    return sorted(kept, key=lambda pair: (-pair[1].value, pair[0].value))


def _beats(one: tuple[Row, Row], other: tuple[Row, Row]) -> bool:
    """Whether a pair is cheaper and rated higher, each by intervals that lie apart; what has none counts by value."""
    (cost, mos), (their_cost, their_mos) = one, other
    cheaper = _end(cost, "ci_high") < _end(their_cost, "ci_low")
    return cheaper and _end(mos, "ci_low") > _end(their_mos, "ci_high")


def _end(row: Row, end: str) -> float:
    value = getattr(row, end)
    return row.value if value is None else value


def name(row: Row, among: Iterable[Row]) -> str:
    """The shortest name that tells a row's system, variant, target and machine from those of the other rows."""
    among = list(among)
    text = row.system
    variants = {other.variant for other in among if other.system == row.system}
    others = {
        variant for variant in variants if not variant.startswith("baseline@")
    }  # the same, on other texts
    if row.variant != "baseline" or len(others) > 1:
        text += f" {row.variant}"
    same = [other for other in among if (other.system, other.variant) == (row.system, row.variant)]
    if len({other.target for other in same}) > 1:
        text += f" on {row.target}"
    if len({other.host for other in same if other.target == row.target}) > 1:
        text += f" ({row.host})"
    return text


def finding(rows: Iterable[Row]) -> Markup | None:
    """Who is on the front, in a sentence; None with fewer than two points. rows: those that take part."""
    pairs = points(rows)
    if len(pairs) < 2:
        return None
    best = front(pairs)
    names = [Markup("<strong>{}</strong>").format(name(mos, [pair[1] for pair in pairs])) for _, mos in best]
    if len(best) == 1:
        return Markup("{} is both the fastest and the best rated.").format(names[0])
    if len(best) > 4:
        return Markup(
            "{} of {} variants are Pareto-best: nothing else measured is both faster and rated higher."
        ).format(len(best), len(pairs))
    joined = Markup(", ").join(names[:-1]) + Markup(" and ") + names[-1]
    return Markup("Pareto-best, with nothing else both faster and rated higher: {}.").format(joined)
