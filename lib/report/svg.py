"""How does a figure get into the page? As inline SVG that takes its colours from the page, in light and in dark."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from lib.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def render(figure: "Figure", key: str) -> str:
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
    for colour, name in (
        (style.INK, "ink"),
        (style.MUTED, "muted"),
        (style.GRID, "rule"),
        (style.SURFACE, "surface"),
    ):
        text = text.replace(colour, f"var(--{name})")
    return text
