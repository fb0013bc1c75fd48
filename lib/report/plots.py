"""What does it look like? Plots of measurements as matplotlib figures, the same in notebooks and in the report.

Each takes the DataFrame that `lib.results.read` returns (or report rows), and returns a closed figure, or None where
the table has nothing to draw. Beside each stands what it shows, in one sentence computed from the same rows:
`pareto` and `pareto_finding`, `costs` and `costs_finding`, `stages` and `stages_finding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lib.report import labels, style, tradeoff, vocabulary
from lib.report.bars import costs, costs_finding, spread, stages, stages_finding
from lib.report.collect import Row, records
from lib.report.tradeoff import name, points

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "costs",
    "costs_finding",
    "describe_pareto",
    "pareto",
    "pareto_finding",
    "spread",
    "stages",
    "stages_finding",
]

MAX_LABELS = 14  # with more points only the Pareto front and the baselines are named


def pareto(table: pd.DataFrame, *, size: tuple[float, float] = (8.6, 4.6)) -> Figure | None:
    """Predicted MOS against RTF (log axis) with 95 % intervals, the Pareto front, and real recordings as a band.

    table: rows as read by `lib.results.read`; size: inches. Filled markers are baselines, open ones other
    variants; rows of earlier runs are pale, take no part in the front, and give way where this run measured the
    same; of their variants only the baselines are named and have intervals, and with many points of this run
    only its front and its baselines. None when no voice has both numbers on one target.
    """
    import matplotlib.pyplot as plt

    rows = records(table)
    pairs, current = _pairs(rows)
    if not pairs:
        return None
    front = tradeoff.front(current)
    named = _named(pairs, current, front)
    with style.theme():
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        for pair in pairs:
            _point(axes, *pair, crowded=pair not in named)
        corners = _places(front)
        if len(front) > 1:
            axes.plot(*zip(*corners), color=style.MUTED, linewidth=1.1, linestyle=(0, (4, 3)), zorder=2)
        wanted = ("ground-truth", "mos_predicted", "measured")
        truth = next((row for row in rows if (row.system, row.metric, row.kind) == wanted), None)
        taken = _axes(axes, pairs, truth, wide=size[0] > 6)
        among = [mos for _, mos in current]
        texts = [name(mos, among or [mos]) + (" (recorded)" if mos.recorded else "") for _, mos in named]
        lines = [corners] if len(front) > 1 else []
        if truth:
            lines.append([(x, truth.value) for x in axes.get_xlim()])
        lines += [
            [(rtf.value, mos.ci_low), (rtf.value, mos.ci_high)] for rtf, mos in named if mos.ci_low is not None
        ]
        labels.place(axes, texts, _places(named), points=_places(pairs), lines=lines, taken=taken)
    plt.close(figure)  # a notebook shows the returned figure, and only once
    return figure


def pareto_finding(table: pd.DataFrame) -> str | None:
    """Who is on the front, in a sentence; None with fewer than two points. Rows of earlier runs take no part."""
    said = tradeoff.finding([row for row in records(table) if not row.recorded])
    return said and str(said).replace("<strong>", "**").replace("</strong>", "**")


def describe_pareto(table: pd.DataFrame) -> str:
    """The plot in words, for those who cannot see it."""
    pairs = [pair for pair in points(records(table)) if not pair[0].recorded][:MAX_LABELS]
    parts = [
        f"{mos.system} {mos.variant} on {mos.target}: RTF {vocabulary.number('rtf', rtf.value)}, "
        f"predicted MOS {vocabulary.number('mos_predicted', mos.value)}"
        for rtf, mos in pairs
    ]
    return "Predicted MOS against real-time factor. " + "; ".join(parts) + "."


def _pairs(rows: list[Row]) -> tuple[list[tuple[Row, Row]], list[tuple[Row, Row]]]:
    """(all points, those of this run); what this run measured stands for an earlier run's point of the same thing."""
    pairs = points(rows)
    current = [pair for pair in pairs if not pair[0].recorded]
    now = {(mos.system, mos.variant, mos.target) for _, mos in current}
    return [p for p in pairs if p in current or (p[1].system, p[1].variant, p[1].target) not in now], current


def _named(pairs: list, current: list, front: list) -> list[tuple[Row, Row]]:
    named = [pair for pair in pairs if pair in current or pair[1].variant == "baseline"]
    if len(named) > MAX_LABELS:
        named = [pair for pair in current if pair in front or pair[1].variant == "baseline"]
    return sorted(named, key=lambda pair: (pair not in front, -pair[1].value))[: MAX_LABELS + 4]


def _places(pairs: Sequence[tuple[Row, Row]]) -> list[tuple[float, float]]:
    return [(rtf.value, mos.value) for rtf, mos in pairs]


def _axes(axes: Axes, pairs: Sequence[tuple[Row, Row]], truth: Row | None, *, wide: bool) -> list:
    """Limits, ticks, the band of real recordings and the line of real time; the texts that names must not hide."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = _span([rtf for rtf, _ in pairs])
    axes.set_xscale("log")
    axes.set_xlim(low / 1.7, high * (1.9 if wide else 4.0))  # names need room beside the points
    values = [mos for _, mos in pairs] + ([truth] if truth else [])
    bottom, top = (min(v.ci_low or v.value for v in values), max(v.ci_high or v.value for v in values))
    margin = max(0.12, 0.1 * (top - bottom))
    axes.set_ylim(max(1.0, bottom - margin), min(5.0, top + 1.4 * margin))
    taken = [_band(axes, truth)] if truth else []
    if axes.get_xlim()[0] < 1 < axes.get_xlim()[1]:
        axes.axvline(1, color=style.MUTED, linewidth=1, linestyle=":", zorder=1)
        foot = axes.get_ylim()[0]
        taken.append(axes.text(1, foot, " real time", color=style.MUTED, fontsize=8, va="bottom", ha="left"))
    axes.set_xlabel(f"RTF{', compute seconds per second of speech' if wide else ''} (log; left is faster)")
    axes.set_ylabel("Predicted MOS, 1 to 5")
    crowded = high / low > (40 if wide else 10) * axes.figure.get_size_inches()[0]
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if crowded else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return taken


def _point(axes: Axes, rtf: Row, mos: Row, crowded: bool) -> None:
    colour, shape = style.color(mos.system), style.marker(mos.system)
    pale = rtf.recorded
    if crowded:
        axes.plot(rtf.value, mos.value, shape, color=colour, markersize=4.5, markeredgewidth=0, alpha=0.5)
        return
    axes.errorbar(
        rtf.value,
        mos.value,
        xerr=spread(rtf),
        yerr=spread(mos),
        fmt=shape,
        markersize=8,
        color=colour,
        markerfacecolor=colour if mos.variant == "baseline" and not pale else style.SURFACE,
        markeredgewidth=1.6,
        elinewidth=1.3,
        capsize=3,
        alpha=0.5 if pale else 1,
        zorder=3 if pale else 4,
    )


def _band(axes: Axes, truth: Row):
    """Real recordings: a line with its interval, named on the fast side, where fewer systems are."""
    colour = style.color("ground-truth")
    if truth.ci_low is not None:
        axes.axhspan(truth.ci_low, truth.ci_high, color=colour, alpha=0.16, linewidth=0, zorder=0)
    axes.axhline(truth.value, color=colour, linewidth=1.4, zorder=1)
    text = f"real recordings {vocabulary.number('mos_predicted', truth.value)}"
    place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "left", "va": "bottom"}
    return axes.annotate(text, (0, truth.value), (6, 4), color=style.INK, fontsize=9, **place)


def _span(rows: list[Row]) -> tuple[float, float]:
    lows = [row.ci_low if row.ci_low and row.ci_low > 0 else row.value for row in rows]
    return max(min(lows), 1e-6), max(*(row.ci_high or row.value for row in rows), 1e-6)
