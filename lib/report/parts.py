"""What is each part of a vocoder worth? A picture: how far the copies fall, or rise, without it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from lib.report import style, vocabulary
from lib.results import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHOWN = ("mos_predicted", "asr_nll", "pesq_wb", "f0_error_cents")
ORDER = SHOWN[0]  # the cases stand by it, the dearest part on top


def draw(changes: pd.DataFrame) -> Figure | None:
    """A panel for each metric of SHOWN: a point for each case, its paired difference from the whole with its
    95 % interval; full where the interval leaves zero out. None without any case.

    changes: of `lib.studies.vocoder_parts_found.changes`, or paired with originals, of `lib.studies.copy_gap.changes`.
    """
    rated = changes[changes.metric == ORDER].sort_values("difference")
    if rated.empty:
        return None
    import matplotlib.pyplot as plt

    cases = list(rated.case)
    metrics = [metric for metric in SHOWN if (changes.metric == metric).any()]
    with style.theme():
        figure, panels = plt.subplots(
            1,
            len(metrics),
            figsize=(2.0 + 2.0 * len(metrics), 1.0 + 0.28 * len(cases)),
            layout="constrained",
            squeeze=False,
            sharey=True,
        )
        for axes, metric in zip(panels[0], metrics):
            axes.axvline(0, color=style.MUTED, linewidth=1, zorder=1)
            for row in changes[changes.metric == metric].itertuples():
                known = row.ci_low == row.ci_low  # not NaN
                sure = known and not row.ci_low <= 0 <= row.ci_high
                axes.errorbar(
                    row.difference,
                    cases.index(row.case),
                    xerr=[[row.difference - row.ci_low], [row.ci_high - row.difference]] if known else None,
                    fmt="o",
                    color=style.color("istft"),
                    markerfacecolor=style.color("istft") if sure else style.SURFACE,
                    markersize=6,
                    elinewidth=1.2,
                    capsize=3,
                )
            axes.set_title(textwrap.fill(METRICS[metric].label, 22), fontsize=9)
            better = "more" if METRICS[metric].better > 0 else "less"
            axes.set_xlabel(f"{vocabulary.unit(metric)}; {better} is better")
        panels[0][0].set_yticks(range(len(cases)), cases)
        panels[0][0].invert_yaxis()
        plt.close(figure)  # else a notebook shows it twice
    return figure
