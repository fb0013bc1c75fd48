"""What are a system's headline numbers? A card for each system, on its fastest target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lib.report import tables, vocabulary
from lib.report.collect import Row

HEADLINES = {
    "mos_predicted": ("Predicted MOS", ""),
    "wer": ("WER", "%"),
    "rtf": ("RTF", ""),
    "size_mb": ("Download", "MB"),
}  # short
LABELS = tuple(f"{label}{f', {unit}' if unit else ''}" for label, unit in HEADLINES.values())
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


def headline(rows: Iterable[Row], system: str, variant: str) -> Card:
    """The card of a system's variant, on its fastest target; quality comes from another target if it was
    measured there.
    """
    mine = [row for row in rows if row.system == system and row.variant == variant and row.value is not None]
    mine = sorted(
        (row for row in mine if not row.claimed), key=lambda row: row.time, reverse=True
    )  # newest first
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
        usual = {
            name for name in variants if "@" not in name
        } or variants  # not on other data, in another voice
        made.append(headline(rows, system, "baseline" if "baseline" in variants else min(usual)))

    def order(card: Card) -> tuple:
        mos = [
            row.value
            for row in rows
            if (row.system, row.variant, row.metric) == (card.system, card.variant, "mos_predicted")
        ]
        return (card.role == "reference", card.role != "voice", -max(mos, default=0), card.system)

    return sorted(made, key=order)


def markdown(made: Iterable[Card]) -> str:
    """The cards as a table in Markdown: "4.13 [4.05, 4.20]", with the kind unless measured."""
    lines = ["| system | " + " | ".join(LABELS) + " |", "|---|" + "---|" * len(LABELS)]
    for card in made:
        shown = {
            f.metric: f"{f.text} {f.interval}".strip() + ("" if f.kind == "measured" else f" ({f.kind})")
            for f in card.figures
        }
        told = vocabulary.ROLE_LABEL[card.role] or card.variant
        where = "" if card.role == "reference" else f", {card.target}"
        cells = " | ".join(shown.get(metric, "") for metric in HEADLINES)
        lines.append(f"| **{card.system}** {told}{where} | {cells} |")
    return "\n".join(lines)


def _current(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not row.recorded] or rows


def _rank(row: Row) -> tuple:
    kinds = ("measured", "simulated", "estimated", "published")
    return row.recorded, kinds.index(row.kind)
