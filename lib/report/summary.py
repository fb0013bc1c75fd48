"""What is the answer? Cards of headline numbers and a few sentences, computed from the rows of this run.

No sentence is typed in: each is built from rows and left out when a row it needs is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from lib.report import tables, vocabulary
from lib.report.collect import Row

HEADLINES = {
    "mos_predicted": ("Predicted MOS", ""),
    "wer": ("WER", "%"),
    "rtf": ("RTF", ""),
    "size_mb": ("Size", "MB"),
}  # short
MAX_CARDS = 8


@dataclass(frozen=True)
class Figure:
    """One number of a card; elsewhere: the target it was measured on if that is not the card's."""

    metric: str
    label: str
    text: str
    unit: str
    interval: str
    kind: str
    elsewhere: str


@dataclass(frozen=True)
class Card:
    """A system's headline numbers for one variant and target."""

    system: str
    variant: str
    target: str
    role: str
    figures: tuple[Figure, ...]


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


def headline(rows: Iterable[Row], system: str, variant: str) -> Card:
    """The card of a system's variant, on its fastest target; quality comes from another target if it was
    measured there.
    """
    mine = [row for row in rows if row.system == system and row.variant == variant and row.value is not None]
    by_target: dict[str, dict[str, Row]] = {}
    for row in mine:
        if row.metric in HEADLINES:
            kept = by_target.setdefault(row.target, {})
            if row.metric not in kept or _rank(row) < _rank(kept[row.metric]):
                kept[row.metric] = row

    def speed(target: str) -> tuple:
        rtf = by_target[target].get("rtf")
        return (rtf is None, _rank(rtf) if rtf else (), rtf.value if rtf else 0, target)

    order = sorted(by_target, key=speed)
    figures = []
    for metric in HEADLINES:
        target = next((target for target in order if metric in by_target[target]), None)
        if target is not None:
            row = by_target[target][metric]
            label, unit = HEADLINES[metric]
            figures.append(
                Figure(
                    metric,
                    label,
                    vocabulary.number(metric, row.value),
                    unit,
                    tables.interval_text(row),
                    tables.kind_text(row),
                    "" if target == order[0] else target,
                )
            )
    return Card(system, variant, order[0] if order else "", vocabulary.role(system), tuple(figures))


def cards(rows: Iterable[Row]) -> list[Card]:
    """One card per system that has a headline number: voices by predicted MOS, real recordings last. This run's
    rows if any.
    """
    rows = _current([row for row in rows if row.metric in HEADLINES and row.value is not None])
    made = []
    for system in {row.system for row in rows}:
        variants = {row.variant for row in rows if row.system == system}
        made.append(headline(rows, system, "baseline" if "baseline" in variants else min(variants)))

    def order(card: Card) -> tuple:
        mos = [
            row.value
            for row in rows
            if (row.system, row.variant, row.metric) == (card.system, card.variant, "mos_predicted")
        ]
        return (card.role == "reference", card.role != "voice", -max(mos, default=0), card.system)

    return sorted(made, key=order)


def sentences(rows: Iterable[Row]) -> list[Markup]:
    """The answer in at most four sentences, from numbers this run measured."""
    rows = [row for row in rows if row.kind == "measured" and not row.recorded]
    made = [_best_voice(rows), _front(rows), _speed(rows), _shrunk(rows)]
    return [sentence for sentence in made if sentence]


def points(rows: Iterable[Row]) -> list[tuple[Row, Row]]:
    """(rtf row, predicted MOS row) of every voice's variant on one target that has both, measured, newest first."""
    found: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        if (
            row.metric in ("rtf", "mos_predicted")
            and row.kind == "measured"
            and vocabulary.role(row.system) == "voice"
        ):
            key = (row.system, row.variant, row.target, row.stamp if row.recorded else "")
            found.setdefault(key, {})[row.metric] = row
    return [(pair["rtf"], pair["mos_predicted"]) for _, pair in sorted(found.items()) if len(pair) == 2]


def name(row: Row, among: Iterable[Row]) -> str:
    """The shortest name that tells a row's system, variant and target from those of the other rows."""
    among = list(among)
    text = row.system
    if row.variant != "baseline" or len({other.variant for other in among if other.system == row.system}) > 1:
        text += f" {row.variant}"
    if len({other.target for other in among if (other.system, other.variant) == (row.system, row.variant)}) > 1:
        text += f" on {row.target}"
    return text


def _best_voice(rows: list[Row]) -> Markup | None:
    voices = [row for row in rows if row.metric == "mos_predicted" and vocabulary.role(row.system) == "voice"]
    if not voices:
        return None
    best = max(voices, key=lambda row: row.value)
    count = len({row.system for row in voices})
    title = _strong(best, voices)
    text = (
        Markup("{} has the best predicted MOS of the {} voices measured, {}").format(title, count, _plain(best))
        if count > 1
        else Markup("{} has a predicted MOS of {}").format(title, _plain(best))
    )
    truth = next((row for row in rows if row.metric == "mos_predicted" and row.system == "ground-truth"), None)
    # A voice that also read the texts of the recordings ("baseline@prompts") is compared on those.
    same = next(
        (
            row
            for row in rows
            if row.metric == "mos_predicted"
            and (row.system, row.target) == (best.system, best.target)
            and row.variant.startswith(f"{best.variant}@")
        ),
        None,
    )
    compared = same or best
    if truth:
        difference = f"{abs(compared.value - truth.value):.2f}"
        side = "above" if compared.value > truth.value else "below"
        where = (
            Markup(" of the same texts ({} against {})").format(_plain(same), _plain(truth))
            if same
            else f" ({_plain(truth)})"
        )
        text += Markup("{} {} {} real recordings{}").format(" and is" if same else ",", difference, side, where)
        known = all(row.ci_low is not None for row in (compared, truth))
        if known and compared.ci_low <= truth.ci_high and truth.ci_low <= compared.ci_high:
            text += ", a difference within the intervals"
        elif compared.value > truth.value:
            text += ", in the eyes of a network: no listener was asked"
    wer = _same(rows, compared, "wer")
    if wer:
        text += Markup("; a recogniser gets {} % of its words wrong").format(
            vocabulary.number("wer", wer.value)
        )
        heard = next((row for row in rows if row.metric == "wer" and row.system == "ground-truth"), None)
        if heard:
            text += Markup(", and {} % of theirs").format(vocabulary.number("wer", heard.value))
    return text + "."


def _front(rows: list[Row]) -> Markup | None:
    pairs = points(rows)
    if len(pairs) < 2:
        return None
    front = [pairs[i] for i in pareto_front((rtf.value, mos.value) for rtf, mos in pairs)]
    names = [_strong(mos, [pair[1] for pair in pairs]) for _, mos in reversed(front)]
    if len(front) == 1:
        return Markup("{} is both the fastest and the best rated.").format(names[0])
    if len(front) > 4:
        return Markup(
            "{} of {} variants are Pareto-best: nothing else measured is both faster and rated higher."
        ).format(len(front), len(pairs))
    joined = Markup(", ").join(names[:-1]) + Markup(" and ") + names[-1]
    return Markup("Pareto-best, with nothing else both faster and rated higher: {}.").format(joined)


def _speed(rows: list[Row]) -> Markup | None:
    speeds = [
        row for row in rows if row.metric == "rtf" and vocabulary.role(row.system) == "voice" and row.value > 0
    ]
    if not speeds:
        return None
    pairs = [rtf for rtf, _ in points(rows)]
    best = max((mos for _, mos in points(rows)), key=lambda row: row.value, default=None)
    chosen = _same(pairs, best, "rtf") if best else min(speeds, key=lambda row: row.value)
    fastest = min(speeds, key=lambda row: row.value)
    text = Markup("{} speaks {}").format(_strong(chosen, speeds), _times(chosen))
    if fastest is not chosen:
        text += Markup("; the fastest, {}, {}").format(
            _strong(fastest, speeds), _times(fastest, brief=chosen.value < 1)
        )
    return text + "."


def _shrunk(rows: list[Row]) -> Markup | None:
    """The smallest variant whose predicted MOS interval reaches the interval of its own baseline, for the best
    such system.
    """
    sizes = {(row.system, row.variant, row.target): row for row in rows if row.metric == "size_mb"}
    quality = {
        (row.system, row.variant, row.target): row
        for row in rows
        if row.metric == "mos_predicted" and row.ci_low is not None
    }
    found = []
    for (system, variant, target), row in quality.items():
        base = quality.get((system, "baseline", target))
        small, large = sizes.get((system, variant, target)), sizes.get((system, "baseline", target))
        if (
            variant != "baseline"
            and base
            and small
            and large
            and row.ci_high >= base.ci_low
            and small.value < large.value
        ):
            found.append((small.value / large.value, row, base, small, large))
    if not found:
        return None
    _, row, base, small, large = min(found, key=lambda item: (item[0], item[1].system))
    return Markup("{} shrinks from {} to {} MB as {} with a predicted MOS of {} against {}.").format(
        Markup("<strong>{}</strong>").format(row.system),
        vocabulary.number("size_mb", large.value),
        vocabulary.number("size_mb", small.value),
        row.variant,
        _spread(row),
        _spread(base),
    )


def _times(rtf: Row, brief: bool = False) -> str:
    times = max(rtf.value, 1 / rtf.value)
    shown = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
    side = "" if brief else f" {'faster' if rtf.value < 1 else 'slower'} than real time"
    return f"{shown} times{side} (RTF {_plain(rtf)})"


def _plain(row: Row) -> str:
    return vocabulary.number(row.metric, row.value)


def _spread(row: Row) -> str:
    interval = tables.interval_text(row).replace(" ", "\N{NO-BREAK SPACE}")
    return f"{_plain(row)} {interval}".strip()


def _strong(row: Row, among: Iterable[Row]) -> Markup:
    return Markup("<strong>{}</strong>").format(name(row, among))


def _same(rows: Iterable[Row], like: Row, metric: str) -> Row | None:
    """The row of another metric for the same system and variant, on the same target if there is one."""
    mine = [row for row in rows if (row.system, row.variant, row.metric) == (like.system, like.variant, metric)]
    return next((row for row in mine if row.target == like.target), mine[0] if mine else None)


def _current(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not row.recorded] or rows


def _rank(row: Row) -> tuple:
    kinds = ("measured", "simulated", "estimated", "published")
    return row.recorded, kinds.index(row.kind)
