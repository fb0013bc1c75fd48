"""What does quality cost? Predicted MOS against latency, download and energy, with intervals and the front of each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from lib.measure import energy
from lib.measure.verdict import COUNTED
from lib.report import style, tradeoff, vocabulary
from lib.report.bars import spread
from lib.report.collect import Row, records
from lib.report.tradeoff import name
from lib.results import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COSTS = ("latency_ms_p50", "size_mb", "energy_j_per_audio_s")
MAX_NAMES = 9  # of a panel
LABEL_WIDTH = 40  # characters of a line under a panel: more runs out of it
_AXIS = {
    "latency_ms_p50": "Latency of a sentence, ms",
    "size_mb": "Download, MB",
    "energy_j_per_audio_s": "Energy, J a second of speech",
}
_SAID = {"latency_ms_p50": "latency", "size_mb": "download", "energy_j_per_audio_s": "energy"}


def draw(
    table: pd.DataFrame | Iterable[Row], costs: Sequence[str] = COSTS, *, stacked: bool = False
) -> Figure | None:
    """A panel for each cost that two voices have beside predicted MOS; None without one.

    Filled markers are on the front by value, open ones may be as far as the intervals tell, pale ones are not.
    stacked: one panel below the other, for narrow screens. Rows of earlier runs count only where there are no others.
    """
    import matplotlib.pyplot as plt

    chosen = _chosen(table, costs)
    if not chosen:
        return None
    count = len(chosen)
    size = (4.3, 3.2 * count + 0.7) if stacked else (1.2 + 3.5 * count, 4.0)
    with style.theme():
        figure, panels = plt.subplots(
            *((count, 1) if stacked else (1, count)),
            figsize=size,
            layout="constrained",
            squeeze=False,
            sharey=True,
        )
        for axes, (cost, pairs) in zip(panels.flat, chosen.items()):
            _panel(axes, cost, pairs)
        for axes in panels.flat if stacked else panels[0][:1]:
            axes.set_ylabel("Predicted MOS, 1 to 5")
        systems = dict.fromkeys(mos.system for pairs in chosen.values() for _, mos in pairs)
        _legend(figure, list(systems), columns=3 if stacked else 8)
        for axes, pairs in zip(panels.flat, chosen.values()):
            _names(axes, pairs)
    plt.close(figure)
    return figure


def finding(table: pd.DataFrame | Iterable[Row], costs: Sequence[str] = COSTS) -> str | None:
    """Who is on each front by value, and who else may be as far as the intervals tell, in a sentence."""
    said = []
    for cost, pairs in _chosen(table, costs).items():
        among = [mos for _, mos in pairs]
        best = tradeoff.front(pairs)
        named = _listed([f"**{name(mos, among)}**" for _, mos in best])
        others = [name(pair[1], among) for pair in tradeoff.possible(pairs) if pair not in best]
        doubt = f" (the intervals do not rule out {_listed(others)})" if 0 < len(others) <= 3 else ""
        if len(others) > 3:
            doubt = f" (the intervals do not rule out {len(others)} others)"
        words = _words(pairs) if cost in tradeoff.MAY_BE_ESTIMATED else ""
        marked = words and f", {words},"
        said.append(f"for {_SAID.get(cost, METRICS[cost].in_sentence)}{marked} {named}{doubt}")
    return f"Nothing else is both cheaper and rated higher: {'; '.join(said)}." if said else None


def _chosen(table: pd.DataFrame | Iterable[Row], costs: Sequence[str]) -> dict[str, list[tuple[Row, Row]]]:
    rows = records(table)
    found = {}
    for cost in costs:
        pairs = [pair for pair in tradeoff.points(rows, cost) if pair[0].value > 0]
        pairs = [pair for pair in pairs if not pair[1].recorded] or pairs
        if cost in COUNTED:  # the same download on every target
            pairs = list(
                {(mos.system, mos.variant, price.value): (price, mos) for price, mos in pairs}.values()
            )
        if len(pairs) > 1:
            found[cost] = pairs
    return found


def _panel(axes: Axes, cost: str, pairs: list[tuple[Row, Row]]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    best, maybe = tradeoff.front(pairs), tradeoff.possible(pairs)
    for pair in pairs:
        price, mos = pair
        colour = style.color(mos.system)
        axes.errorbar(
            price.value,
            mos.value,
            xerr=spread(price),
            yerr=spread(mos),
            fmt=style.marker(mos.system),
            color=colour,
            markerfacecolor=colour if pair in best else style.SURFACE,
            markersize=7,
            markeredgewidth=1.5,
            elinewidth=1.1,
            capsize=2.5,
            alpha=1 if pair in maybe else 0.45,
            zorder=4 if pair in best else 3,
        )
    if len(best) > 1:
        corners = [(price.value, mos.value) for price, mos in best]
        axes.plot(*zip(*corners), color=style.MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=2)
    axes.set_xscale("log")
    low = min(price.ci_low or price.value for price, _ in pairs)
    high = max(price.ci_high or price.value for price, _ in pairs)
    axes.set_xlim(low / 1.6, high * 2.0)
    axes.margins(y=0.12)
    wide = high / low > 60
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    said = [_AXIS.get(cost, METRICS[cost].label)]
    if words := _words(pairs):
        said += textwrap.wrap(f"({words})", LABEL_WIDTH)
    axes.set_xlabel("\n".join(said))


def _words(pairs: list[tuple[Row, Row]]) -> str:
    """How the costs came to be, unless they were measured, and of energy what it counts and how far off it may be."""
    kinds = sorted({price.kind for price, _ in pairs} - {"measured"})
    return ", ".join([" or ".join(kinds)] * bool(kinds) + list(energy.words(pairs[0][0])))


def _names(axes: Axes, pairs: list[tuple[Row, Row]]) -> None:
    """Names beside the front, whose points lie apart; the legend tells the others."""
    among = [mos for _, mos in pairs]
    before = (9.0, 9.0)
    for price, mos in tradeoff.front(pairs)[:MAX_NAMES]:
        place = axes.transAxes.inverted().transform(axes.transData.transform((price.value, mos.value)))
        left = place[0] < 0.6
        near = abs(place[0] - before[0]) < 0.4 and abs(place[1] - before[1]) < 0.07
        before = tuple(place)
        axes.annotate(
            name(mos, among),
            (price.value, mos.value),
            (7 if left else -7, -14 if near else 7),  # two that are close stand above and below
            textcoords="offset points",
            ha="left" if left else "right",
            fontsize=9.5,
            color=style.INK,
            zorder=6,
        )


def _legend(figure: Figure, systems: Sequence[str], *, columns: int) -> None:
    from matplotlib.lines import Line2D

    made = [
        Line2D([], [], linestyle="", marker=style.marker(system), color=style.color(system), label=system)
        for system in systems
    ]
    figure.legend(handles=made, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def describe(table: pd.DataFrame | Iterable[Row], costs: Sequence[str] = COSTS) -> str:
    """The panels in words, for those who cannot see them."""
    parts = []
    for cost, pairs in _chosen(table, costs).items():
        told = ", ".join(
            f"{mos.system} {vocabulary.amount(cost, price.value)} at {vocabulary.number('mos_predicted', mos.value)}"
            for price, mos in tradeoff.front(pairs)
        )
        parts.append(f"on the front against {METRICS[cost].in_sentence}: {told}")
    return f"Predicted MOS against costs; {'; '.join(parts)}." if parts else ""
