"""Which layers bear being treated? A picture: what each group gains to the right, what it loses upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.report import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NAMED = 12  # groups of a panel that are named: those that gain or lose most


def draw(groups: pd.DataFrame) -> Figure | None:
    """A panel for each system, target and technique of `lib.studies.sensitivity.known`; None without any group.

    A point is a group treated alone; below the dashed line it loses less than the verdict allows, right of the other
    one the whole is faster.
    """
    if groups.empty:
        return None
    import matplotlib.pyplot as plt

    panels = list(groups.groupby(["system", "target", "technique"], sort=False))
    columns = min(len(panels), 2)  # more in a row and nobody can read them
    rows = -(-len(panels) // columns)
    with style.theme():
        figure, axes = plt.subplots(
            rows, columns, figsize=(4.6 * columns, 3.8 * rows), squeeze=False, layout="constrained"
        )
        for unused in axes.flat[len(panels) :]:
            unused.set_axis_off()
        for axis, ((system, target, technique), part) in zip(axes.flat, panels):
            axis.axhline(1.0, linestyle="--", linewidth=0.9, color="0.5")
            axis.axvline(1.0, linestyle="--", linewidth=0.9, color="0.5")
            axis.scatter(part.times, part.loss, s=28, color=style.color(system), zorder=3)
            extremes = (part.times - 1).abs() + part.loss
            for row in part.loc[extremes.nlargest(NAMED).index].itertuples():
                axis.annotate(
                    row.group, (row.times, row.loss), xytext=(5, 3), textcoords="offset points", fontsize=8
                )
            axis.set_yscale("symlog", linthresh=1.0)
            axis.yaxis.set_major_formatter("{x:g}")
            origin = part.origin.iloc[0]
            axis.set_title(
                f"{system} on {target}: {technique}" + (f"\n{origin}" if origin else ""), fontsize=10
            )
            axis.set_xlabel("times as fast, the whole")
            axis.set_ylabel("lost, in margins of the verdict")
        plt.close(figure)  # else a notebook shows it twice
    return figure
