"""Who is on the front? Speed against quality: the points of the trade-off, the best of them, and their names."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from lib.report import vocabulary
from lib.report.collect import Row


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


def points(rows: Iterable[Row]) -> list[tuple[Row, Row]]:
    """(rtf row, predicted MOS row) of every voice's variant on one target that has both, measured by one run on one
    machine; sorted by name.
    """
    pairs: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        if (
            row.metric in ("rtf", "mos_predicted")
            and row.kind == "measured"
            and vocabulary.role(row.system) == "voice"
        ):
            run = (row.recorded, row.host, row.commit) if row.recorded else (row.recorded, row.host, "")
            pairs.setdefault((row.system, row.variant, row.target, *run), {})[row.metric] = row
    return [(pair["rtf"], pair["mos_predicted"]) for _, pair in sorted(pairs.items()) if len(pair) == 2]


def front(pairs: list[tuple[Row, Row]]) -> list[tuple[Row, Row]]:
    """The pairs that no other is both faster and rated higher than, the best rated first."""
    return [pairs[i] for i in reversed(pareto_front((rtf.value, mos.value) for rtf, mos in pairs))]


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
