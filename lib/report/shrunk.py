"""What do pruned and quantized decoders cost and sound like? Predicted MOS and the recogniser's loss against speed, the
size of each point that of its download.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.report import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SAID = {"mos_predicted": "Predicted MOS, 1 to 5", "asr_nll": "Recogniser's loss, nats a word"}
AREA = 5.0  # square points for a megabyte


def draw(front: pd.DataFrame) -> Figure | None:
    """A column for each system of `lib.studies.recovered_front.front`, a row for each measure; None of baselines."""
    systems = [name for name, part in front.groupby("system", sort=False) if len(part) > 1]
    if not systems:
        return None
    import matplotlib.pyplot as plt

    with style.theme():
        figure, panels = plt.subplots(
            len(SAID),
            len(systems),
            figsize=(5.6 * len(systems), 3.4 * len(SAID)),
            squeeze=False,
            sharex="col",
            layout="constrained",
        )
        for column, system in enumerate(systems):
            part = front[front.system == system]
            for axes, (metric, label) in zip(panels[:, column], SAID.items()):
                _panel(axes, part, metric)
                axes.set_ylabel(label)
            origin = part.origin.iloc[0]
            title = f"{system}: area is the download" + (f"\n{origin}" if origin else "")
            panels[0, column].set_title(title, fontsize=10)
            panels[-1, column].set_xlabel("times as fast as the whole, in one bench")
    plt.close(figure)
    return figure


def _panel(axes, part: pd.DataFrame, metric: str) -> None:
    for row in part.itertuples():
        value, low, high = (getattr(row, f"{metric}{end}") for end in ("", "_low", "_high"))
        colour = style.INK if row.variant == "baseline" else style.color(row.system)
        if low == low:  # there is an interval
            axes.plot([row.times, row.times], [low, high], color=colour, linewidth=1.1, zorder=2)
        if row.times_low == row.times_low:
            axes.plot([row.times_low, row.times_high], [value, value], color=colour, linewidth=1.1, zorder=2)
        axes.scatter(row.times, value, s=AREA * row.size_mb, color=colour, alpha=0.75, linewidths=0, zorder=3)
        axes.annotate(
            row.variant, (row.times, value), xytext=(6, 5), textcoords="offset points", fontsize=8, zorder=4
        )
    axes.margins(0.15)
