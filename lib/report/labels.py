"""Where does a name go beside its point? adjustText moves the texts until they hide nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib.report import style

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

Point = tuple[float, float]  # in data coordinates

_STEPS = 400  # iterations; a limit of seconds would place the texts differently on every machine
_OFFSET_PT = np.array([0.0, 8.0])  # where a text begins: over its point
_MARKER_PT = 13  # the free square around a point
_LINE_PT = 3


def place(
    axes: "Axes",
    texts: Sequence[str],
    anchors: Sequence[Point],
    *,
    points: Sequence[Point] = (),
    lines: Sequence[Sequence[Point]] = (),
    taken: Sequence["Artist"] = (),
) -> None:
    """Write each text near its anchor, off all points, lines and taken artists, with a leader where it had to go far.

    The last thing to draw: the layout is fixed afterwards, because texts placed by pixels must not move against it.
    """
    from lib.errors import require

    adjust_text = require("adjustText", "adjustText==1.4.0").adjust_text
    figure = axes.figure
    figure.canvas.draw()
    figure.set_layout_engine("none")
    if not texts:
        return
    starts = axes.transData.inverted().transform(
        axes.transData.transform(anchors) + _OFFSET_PT * figure.dpi / 72
    )
    look = {"fontsize": 9.5, "color": style.INK, "zorder": 6, "va": "bottom", "ha": "center"}
    written = [axes.text(x, y, text, **look) for text, (x, y) in zip(texts, starts)]
    renderer = figure.canvas.get_renderer()
    boxes = [artist.get_window_extent(renderer) for artist in taken]
    boxes += [_around(axes, point, _MARKER_PT) for point in points]
    boxes += [_around(axes, point, _LINE_PT) for line in lines for point in _along(axes, line)]
    adjust_text(
        written,
        target_x=[x for x, _ in anchors],
        target_y=[y for _, y in anchors],
        objects=[box.transformed(axes.transData.inverted()) for box in boxes],  # it wants data coordinates
        ax=axes,
        iter_lim=_STEPS,
        expand=(1.06, 1.3),
        force_text=(0.2, 0.5),
        force_static=(0.15, 0.4),
        force_explode=(0.3, 1.0),
        force_pull=(0.005, 0.005),
        min_arrow_len=18,
        arrowprops={"arrowstyle": "-", "color": style.MUTED, "linewidth": 0.7, "shrinkB": 5, "zorder": 2.5},
    )


def _along(axes: "Axes", line: Sequence[Point], step_px: float = 6.0) -> list[Point]:
    """Points on a line, so close that no text fits between them."""
    corners = axes.transData.transform(line)
    dense = []
    for begin, end in zip(corners, corners[1:]):
        count = max(2, int(np.hypot(*(end - begin)) / step_px))
        dense += list(begin + (end - begin) * np.linspace(0, 1, count)[:, None])
    return [tuple(point) for point in axes.transData.inverted().transform(dense)] if dense else []


def _around(axes: "Axes", point: Point, size_pt: float) -> "Bbox":
    from matplotlib.transforms import Bbox

    x, y = axes.transData.transform(point)
    half = size_pt * axes.figure.dpi / 72 / 2
    return Bbox.from_extents(x - half, y - half, x + half, y + half)
