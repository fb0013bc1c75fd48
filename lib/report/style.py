"""Which colour and marker does a system have? The same ones in every notebook, plot and table of the report.

The colours keep a contrast of at least 3:1 on the light and on the dark page (WCAG 2.2, 1.4.11), and the systems
that meet in most plots differ in lightness or along blue-yellow, which all common colour deficiencies keep. Colour
is never the only cue: each system also has a marker and its name beside it.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager

INK, MUTED, GRID, SURFACE = (
    "#1b1d22",
    "#5b606b",
    "#d8d8d4",
    "#ffffff",
)  # of plots; the web page maps them to its own theme

_SYSTEMS = {  # system: (colour, matplotlib marker)
    "vits-joe": ("#0072B2", "o"),
    "hibari": ("#D55E00", "s"),
    "hibari-small": ("#B8433F", "H"),
    "espeak-ng": ("#8C6D46", "v"),
    "ground-truth": ("#00896B", "D"),
    "whisper-tiny.en": ("#7568C8", "P"),
    "fastspeech2": ("#C4679B", "^"),
    "tacotron2": ("#A6761D", "<"),
    "speecht5": ("#A64DC8", ">"),
    "speecht5-base": ("#6B7FA8", "p"),
    "hifigan": ("#4F97CF", "h"),
    "istft": ("#3F8F3F", "*"),
    "hibari-vocoder": ("#C27C0E", "8"),
    "griffin-lim": ("#7F7F7F", "X"),
    "tortoise": ("#E0457B", "d"),
}
_MORE_COLOURS = ("#5E8C31", "#3B8EA5", "#B5533C", "#B8860B", "#8A6BB0", "#5F8A78")
_MORE_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "h", "<", ">", "d")
_STAGES = (
    "#3B7EA1",
    "#C9822B",
    "#7A6FBE",
    "#4F8F6B",
    "#B8587A",
    "#8A8A8A",
    "#A0793D",
    "#5E9FB8",
    "#9C4FA0",
    "#6E8F2F",
    "#3F5FA8",
    "#C0504D",
    "#2F2F2F",
)


def color(system: str) -> str:
    """The system's colour as #rrggbb; systems without a fixed one get one that depends on their name alone."""
    return _SYSTEMS[system][0] if system in _SYSTEMS else _MORE_COLOURS[_number(system) % len(_MORE_COLOURS)]


def marker(system: str) -> str:
    """The system's matplotlib marker."""
    return (
        _SYSTEMS[system][1] if system in _SYSTEMS else _MORE_MARKERS[_number(system) // 7 % len(_MORE_MARKERS)]
    )


def stage_color(index: int) -> str:
    """The colour of the n-th stage of a pipeline."""
    return _STAGES[index % len(_STAGES)]


def marker_of(index: int) -> str:
    """The marker of the n-th variant of one system."""
    return _MORE_MARKERS[index % len(_MORE_MARKERS)]


@contextmanager
def theme():
    """seaborn's white grid in this project's colours, for the plots made inside the `with` block."""
    from lib.errors import require

    matplotlib, seaborn = (require("matplotlib", "matplotlib==3.11.2"), require("seaborn", "seaborn==0.13.2"))
    settings = {
        **seaborn.axes_style("whitegrid"),
        **seaborn.plotting_context("notebook", font_scale=0.85),
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "axes.edgecolor": GRID,
        "axes.facecolor": SURFACE,
        "figure.facecolor": SURFACE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "savefig.facecolor": SURFACE,
        "font.sans-serif": ["DejaVu Sans"],
        "svg.fonttype": "none",
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
    }
    with matplotlib.rc_context(settings):
        yield


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
