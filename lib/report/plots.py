"""What does it look like? Plots of measurements as matplotlib figures, the same in notebooks and in the report.

Each takes the DataFrame that `lib.results.read` returns. `svg` turns a figure into inline SVG whose texts and
lines take their colours from the page, so that it reads in light and in dark.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lib.errors import unknown
from lib.report import style, vocabulary
from lib.report.collect import Row, records
from lib.report.collect import stages as stage_seconds
from lib.report.summary import name, pareto_front, points
from lib.report.tables import kind_text
from lib.results import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LABELS = 14  # with more points only the Pareto front and the baselines are named
MAX_BARS = 30


def pareto(table: "pd.DataFrame", *, size: tuple[float, float] = (8.6, 4.6)) -> "Figure | None":
    """Predicted MOS against RTF (log axis) with 95 % intervals, the Pareto front, and real recordings as a band.

    table: rows as read by `lib.results.read`; size: inches. Filled markers are baselines, open ones other
    variants; rows of earlier runs are pale, take no part in the front, and give way where this run measured the
    same; of their variants only the baselines are named and have intervals, and with many points of this run
    only its front and its baselines. None when no voice has both numbers on one target.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    rows = records(table)
    pairs = points(rows)
    if not pairs:
        return None
    current = [pair for pair in pairs if not pair[0].recorded and not pair[1].recorded]
    now = {(mos.system, mos.variant, mos.target) for _, mos in current}
    # What this run measured itself stands for an earlier run's point of the same thing, which the tables still list.
    pairs = [
        pair
        for pair in pairs
        if pair in current or (pair[1].system, pair[1].variant, pair[1].target) not in now
    ]
    front = [current[i] for i in pareto_front((rtf.value, mos.value) for rtf, mos in current)]
    with style.theme():
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        axes.set_xscale("log")
        named = [pair for pair in pairs if pair in current or pair[1].variant == "baseline"]
        if len(named) > MAX_LABELS:
            named = [pair for pair in current if pair in front or pair[1].variant == "baseline"]
        named = sorted(named, key=lambda pair: (pair not in front, -pair[1].value))[: MAX_LABELS + 4]
        for pair in pairs:
            _point(axes, *pair, crowded=pair not in named)
        if len(front) > 1:
            axes.plot(
                [rtf.value for rtf, _ in front],
                [mos.value for _, mos in front],
                color=style.MUTED,
                linewidth=1.1,
                linestyle=(0, (4, 3)),
                zorder=2,
            )
        wanted = ("ground-truth", "mos_predicted", "measured")
        truth = next((row for row in rows if (row.system, row.metric, row.kind) == wanted), None)
        low, high = _span([rtf for rtf, _ in pairs])
        axes.set_xlim(low / 1.7, high * 1.9)
        values = [mos for _, mos in pairs] + ([truth] if truth else [])
        bottom, top = (min(v.ci_low or v.value for v in values), max(v.ci_high or v.value for v in values))
        margin = max(0.12, 0.1 * (top - bottom))
        axes.set_ylim(max(1.0, bottom - margin), min(5.0, top + 1.4 * margin))
        taken = []
        if truth:
            taken.append(_band(axes, truth))
        if axes.get_xlim()[0] < 1 < axes.get_xlim()[1]:
            axes.axvline(1, color=style.MUTED, linewidth=1, linestyle=":", zorder=1)
            taken.append(
                axes.text(
                    1, axes.get_ylim()[0], " real time", color=style.MUTED, fontsize=8, va="bottom", ha="left"
                )
            )
        axes.set_xlabel(
            f"RTF{', compute seconds per second of speech' if size[0] > 6 else ''} (log; left is faster)"
        )
        axes.set_ylabel("Predicted MOS, 1 to 5")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 40 * size[0] else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        among = [mos for _, mos in current]
        texts = [name(mos, among) + (" (recorded)" if mos.recorded else "") for _, mos in named]
        _label(
            figure,
            axes,
            [(rtf.value, mos.value) for rtf, mos in named],
            texts,
            [(rtf.value, mos.value) for rtf, mos in pairs],
            taken,
            [(rtf.value, mos.value) for rtf, mos in front],
            truth,
        )
    plt.close(figure)  # a notebook shows the returned figure, and only once
    return figure


def bars(table: "pd.DataFrame", metric: str, *, size: tuple[float, float] | None = None) -> "Figure | None":
    """One metric across everything that has it: a dot with its 95 % interval for quality, a bar from zero for amounts.

    The best `MAX_BARS` are shown. None when no row has the metric.
    """
    import matplotlib.pyplot as plt

    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    about = METRICS[metric]
    rows = [row for row in records(table) if row.metric == metric and row.value is not None]
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: -row.value * (about.better or -1))[:MAX_BARS]
    scale = 100 if about.unit == "fraction" else 1
    labels = [
        name(row, rows) + (f" ({kind_text(row)})" if kind_text(row) != "measured" else "") for row in rows
    ]
    with style.theme():
        figure, axes = plt.subplots(figsize=size or (8.6, 0.7 + 0.36 * len(rows)), layout="constrained")
        for place, row in enumerate(rows):
            value, ends = row.value * scale, spread(row, scale)
            if about.unit in ("MOS", "MOS-LQO", "index", "cosine"):
                axes.errorbar(
                    value,
                    place,
                    xerr=ends,
                    fmt=style.marker(row.system),
                    color=style.color(row.system),
                    markersize=8,
                    capsize=3,
                    elinewidth=1.4,
                )
            else:
                axes.barh(
                    place,
                    value,
                    xerr=ends,
                    height=0.62,
                    color=style.color(row.system),
                    ecolor=style.MUTED,
                    alpha=0.45 if row.recorded else 0.9,
                    error_kw={"elinewidth": 1.2, "capsize": 3},
                )
        axes.set_yticks(range(len(rows)), labels)
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        arrow = {1: "; higher is better", -1: "; lower is better", 0: ""}[about.better]
        axes.set_xlabel(f"{about.label} ({vocabulary.unit(metric)}{arrow})")
    plt.close(figure)
    return figure


def stages(table: "pd.DataFrame", *, size: tuple[float, float] | None = None) -> "Figure | None":
    """Where the time goes: the RTF of each stage, stacked, for rows whose detail holds {"stages": {name: s/s}}.

    Of each system, variant and target the RTF row is taken, else its first row with stages. None when there is none.
    """
    import matplotlib.pyplot as plt

    chosen: dict[tuple, Row] = {}
    for row in sorted(records(table), key=lambda row: (row.recorded, row.metric != "rtf")):
        if stage_seconds(row):
            chosen.setdefault((row.system, row.variant, row.target), row)
    rows = [chosen[key] for key in sorted(chosen)][:MAX_BARS]
    if not rows:
        return None
    names = list(dict.fromkeys(stage for row in rows for stage in stage_seconds(row)))
    with style.theme():
        figure, axes = plt.subplots(figsize=size or (8.6, 1.2 + 0.42 * len(rows)), layout="constrained")
        for place, row in enumerate(rows):
            left = 0.0
            for stage, seconds in stage_seconds(row).items():
                axes.barh(
                    place,
                    seconds,
                    left=left,
                    height=0.62,
                    color=style.stage_color(names.index(stage)),
                    edgecolor=style.SURFACE,
                    linewidth=0.8,
                )
                left += seconds
        handles = [plt.Rectangle((0, 0), 1, 1, color=style.stage_color(i)) for i in range(len(names))]
        axes.legend(
            handles,
            names,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=min(len(names), 4),
            frameon=False,
        )
        axes.set_yticks(range(len(rows)), [f"{row.system} {row.variant}, {row.target}" for row in rows])
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("compute seconds per second of speech")
    plt.close(figure)
    return figure


def describe_pareto(table: "pd.DataFrame") -> str:
    """The plot in words, for those who cannot see it."""
    rows = records(table)
    pairs = [pair for pair in points(rows) if not pair[0].recorded and not pair[1].recorded][:MAX_LABELS]
    parts = [
        f"{mos.system} {mos.variant} on {mos.target}: RTF {vocabulary.number('rtf', rtf.value)}, "
        f"predicted MOS {vocabulary.number('mos_predicted', mos.value)}"
        for rtf, mos in pairs
    ]
    return "Predicted MOS against real-time factor. " + "; ".join(parts) + "."


def svg(figure: "Figure", key: str) -> str:
    """The figure as an <svg> element that scales to its container; key: makes the ids inside unique on the page."""
    import io

    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"font: (?:(\w+) )?([\d.]+)px[^;\"]*", r"font-size: \2px; font-weight: \1", text).replace(
        " font-weight: ;", ""
    )
    text = text.replace('; font-weight: "', '"')
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="(figure_\d|axes_\d|[a-z_A-Z.0-9]+_\d+)"', "", text)  # groups nobody refers to
    for colour, name_ in (
        (style.INK, "ink"),
        (style.MUTED, "muted"),
        (style.GRID, "rule"),
        (style.SURFACE, "surface"),
    ):
        text = text.replace(colour, f"var(--{name_})")
    return text


def _point(axes: "Axes", rtf: Row, mos: Row, crowded: bool) -> None:
    colour = style.color(mos.system)
    pale = rtf.recorded or mos.recorded
    if crowded:
        axes.plot(
            rtf.value,
            mos.value,
            style.marker(mos.system),
            color=colour,
            markersize=4.5,
            markeredgewidth=0,
            alpha=0.5,
        )
        return
    axes.errorbar(
        rtf.value,
        mos.value,
        xerr=spread(rtf),
        yerr=spread(mos),
        fmt=style.marker(mos.system),
        markersize=8,
        color=colour,
        markerfacecolor=colour if mos.variant == "baseline" and not pale else style.SURFACE,
        markeredgewidth=1.6,
        elinewidth=1.3,
        capsize=3,
        alpha=0.5 if pale else 1,
        zorder=3 if pale else 4,
    )


def _band(axes: "Axes", truth: Row):
    colour = style.color("ground-truth")
    if truth.ci_low is not None:
        axes.axhspan(truth.ci_low, truth.ci_high, color=colour, alpha=0.16, linewidth=0, zorder=0)
    axes.axhline(truth.value, color=colour, linewidth=1.4, zorder=1)
    text = f"real recordings {vocabulary.number('mos_predicted', truth.value)}"
    return axes.annotate(
        text,
        (0, truth.value),
        (6, 4),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="left",
        va="bottom",
        color=style.INK,
        fontsize=9,
    )  # on the fast side, where fewer systems are


def spread(row: Row, scale: float = 1.0) -> list[list[float]] | None:
    """How far a row's 95 % interval reaches down and up, as error bars want it; None where it has none."""
    if row.ci_low is None:
        return None
    return [[max(0.0, row.value - row.ci_low) * scale], [max(0.0, row.ci_high - row.value) * scale]]


def _span(rows: list[Row]) -> tuple[float, float]:
    lows = [row.ci_low if row.ci_low and row.ci_low > 0 else row.value for row in rows]
    return max(min(lows), 1e-6), max(max(row.ci_high or row.value for row in rows), 1e-6)


def _label(
    figure: "Figure",
    axes: "Axes",
    anchors: list,
    texts: list[str],
    markers: list,
    taken: list,
    front: list,
    truth: Row | None,
) -> None:
    """Write each text beside its point where it hides least: no other text, marker or line, nothing outside the
    axes.
    """
    import numpy as np
    from matplotlib.transforms import Bbox

    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    pixel = figure.dpi / 72
    full = [text.get_window_extent(renderer) for text in taken]
    full += [
        Bbox.from_bounds(x - 7 * pixel, y - 7 * pixel, 14 * pixel, 14 * pixel)
        for x, y in axes.transData.transform(markers)
    ]
    corners = axes.transData.transform(front) if front else np.empty((0, 2))
    for begin, end in zip(corners, corners[1:]):
        steps = begin + (end - begin) * np.linspace(0, 1, 60)[:, None]
        full += [Bbox.from_bounds(x - 2 * pixel, y - 2 * pixel, 4 * pixel, 4 * pixel) for x, y in steps]
    if truth:
        height = axes.transData.transform((1, truth.value))[1]
        full.append(Bbox.from_extents(frame.x0, height - 1.5 * pixel, frame.x1, height + 1.5 * pixel))
    offsets = [
        (12, 7, "left"),
        (-12, 7, "right"),
        (12, -15, "left"),
        (-12, -15, "right"),
        (0, 15, "center"),
        (0, -24, "center"),
        (14, 22, "left"),
        (-14, 22, "right"),
        (14, -30, "left"),
        (-14, -30, "right"),
        (0, 34, "center"),
        (0, -42, "center"),
    ]
    look = {"textcoords": "offset points", "va": "bottom", "fontsize": 9.5, "color": style.INK, "zorder": 6}
    for anchor, text in zip(anchors, texts):
        best = None
        for rank, (dx, dy, align) in enumerate(offsets):
            artist = axes.annotate(text, anchor, (dx, dy), ha=align, **look)
            box = artist.get_window_extent(renderer)
            hidden = sum(_overlap(box, other) for other in full) + 3 * (
                box.width * box.height - _overlap(box, frame)
            )
            artist.remove()
            if best is None or hidden + rank < best[0]:
                best = (hidden + rank, dx, dy, align, box)
        _, dx, dy, align, box = best
        line = {"arrowstyle": "-", "color": style.MUTED, "linewidth": 0.7} if abs(dy) > 20 else None
        axes.annotate(text, anchor, (dx, dy), ha=align, arrowprops=line, **look)
        full.append(box)


def _overlap(one, other) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)
