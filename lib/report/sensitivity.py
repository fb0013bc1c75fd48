"""Which layers bear being treated? A picture: what each group gains to the right, what it loses upwards, and how sure
that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.measure.verdict import MIN_SENTENCES
from lib.optimize.plan import ALLOWED
from lib.report import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NAMED = 12  # groups of a panel that are named at most: those that gain or lose most
LETTER = (0.013, 0.04)  # of a panel's width and height: a name that would lie over that of a stronger group is left out


def draw(groups: pd.DataFrame) -> Figure | None:
    """A panel for each system, target and technique of `lib.studies.sensitivity.known`; None without any group.

    A point is a group treated alone; below the dashed line less was lost than the verdict allows, right of the other
    one the whole was faster. Its bars: the 95 % interval of the loss, and how far the baseline lay from itself in the
    same turns. It is filled where its interval lies on one side of the line, else it proves nothing of it.
    """
    if groups.empty:
        return None
    import matplotlib.pyplot as plt

    panels = list(groups.groupby(["system", "target", "technique"], sort=False))
    columns = min(len(panels), 2)  # more in a row and nobody can read them
    rows = -(-len(panels) // columns)
    with style.theme():
        figure, axes = plt.subplots(
            rows, columns, figsize=(5.6 * columns, 4.2 * rows), squeeze=False, layout="constrained"
        )
        for unused in axes.flat[len(panels) :]:
            unused.set_axis_off()
        for axis, ((system, target, technique), part) in zip(axes.flat, panels):
            axis.axhline(ALLOWED, linestyle="--", linewidth=0.9, color="0.5")
            axis.axvline(1.0, linestyle="--", linewidth=0.9, color="0.5")
            color = style.color(system)
            wide = [part.times * (1 - 1 / part.spread), part.times * (part.spread - 1)]
            high = [(part.loss - part.low).clip(lower=0), (part.high - part.loss).clip(lower=0)]
            axis.errorbar(
                part.times, part.loss, high, wide, fmt="none", ecolor=color, elinewidth=0.6, alpha=0.4, zorder=2
            )
            filled = [color if proven else style.SURFACE for proven in _proven(part)]
            axis.scatter(part.times, part.loss, s=28, c=filled, edgecolors=color, linewidths=1.0, zorder=3)
            extremes = (part.times - 1).abs() + part.loss
            axis.set_yscale("symlog", linthresh=1.0)
            named: list[tuple[float, float, float]] = []  # where names begin, and where they end
            for row in part.loc[extremes.nlargest(NAMED).index].itertuples():
                at = axis.transData.transform((row.times, row.loss))
                left, low = axis.transAxes.inverted().transform(at)
                right = left + LETTER[0] * len(row.group)
                if any(abs(low - y) < LETTER[1] and left < end and begin < right for begin, y, end in named):
                    continue
                named.append((left, low, right))
                axis.annotate(
                    row.group, (row.times, row.loss), xytext=(5, 3), textcoords="offset points", fontsize=8
                )
            axis.yaxis.set_major_formatter("{x:g}")
            origin = part.origin.iloc[0]
            axis.set_title(
                f"{system} on {target}: {technique}" + (f"\n{origin}" if origin else ""), fontsize=9
            )
            axis.set_xlabel("times as fast, the whole")
            axis.set_ylabel("lost, in margins of the verdict")
        plt.close(figure)  # else a notebook shows it twice
    return figure


def caption(groups: pd.DataFrame) -> str:
    """What the picture shows, and of how many points nothing is proven, in sentences. groups: of `known`."""
    said = (
        "What each group of layers loses and gains when it alone is treated. Bars: the 95 % interval of the loss, and "
        "how far the baseline lay from itself in the same turns, within which a gain is none."
    )
    without = groups.low.isna() | groups.high.isna()
    for side, what, part in (
        ("below", "less", groups[groups.loss < ALLOWED]),
        ("above", "more", groups[groups.loss >= ALLOWED]),
    ):
        crossing = int((~_proven(part) & ~without[part.index]).sum())
        if crossing:
            said += (
                f" Of {len(part)} points {side} the line {crossing} {'do' if crossing > 1 else 'does'} not prove that "
                f"{what} is lost than is allowed: the interval crosses it (hollow)."
            )
    if count := int(without.sum()):
        said += (
            f" {count} of {len(groups)} points, heard on fewer than {MIN_SENTENCES} sentences, have no interval: that "
            "does not prove anything (hollow)."
        )
    return said


def _proven(groups: pd.DataFrame) -> pd.Series:
    """Of each group whether its interval lies on one side of the line."""
    return (groups.high < ALLOWED) | (groups.low > ALLOWED)
