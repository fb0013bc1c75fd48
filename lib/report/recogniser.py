"""How does the recogniser learn, what does it gain over what learns, and where? The pictures of its lessons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lib.corpora.domains import CLEAN, HARD_SET
from lib.report import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lib.studies.retaught import Lesson


def losses(lessons: Mapping[str, Lesson]) -> Figure | None:
    """Loss over steps, a line for each method: of training (thin) and on validation clips (circles)."""
    import matplotlib.pyplot as plt

    taught = {name: lesson.taught for name, lesson in lessons.items() if lesson.taught}
    if not taught:
        return None
    with style.theme():
        figure, axes = plt.subplots(figsize=(8.6, 3.6), layout="constrained")
        for number, (name, one) in enumerate(taught.items()):
            colour = style.stage_color(number)
            for key, look, label in (("loss", "-", None), ("eval_loss", "o-", name)):
                points = [(r["step"], r[key]) for r in one.learnt.curve if key in r]
                if points:
                    thin = key == "loss"
                    axes.plot(
                        *zip(*points),
                        look,
                        color=colour,
                        label=label,
                        linewidth=0.8 if thin else 1.8,
                        alpha=0.4 if thin else 1.0,
                        markersize=4,
                    )
        axes.set(
            xlabel="step", ylabel="cross-entropy, nats a token", title="training (thin), validation (circles)"
        )
        axes.legend(frameon=False, fontsize=9)
        plt.close(figure)
    return figure


def over_share(found: pd.DataFrame, *, title: str = "") -> Figure | None:
    """Change of word errors on hard and on clean clips over the share that learns, with paired intervals.

    found: of `lib.studies.heard_better.lines`; None where nothing was judged.
    """
    if found.empty:
        return None
    import matplotlib.pyplot as plt

    with style.theme():
        figure, panels = plt.subplots(1, 2, figsize=(8.6, 3.6), layout="constrained")
        for axes, tests in zip(panels, (HARD_SET, CLEAN)):
            axes.axhline(0, color=style.MUTED, linewidth=1)
            for number, (name, line) in enumerate(found.iterrows()):
                _point(axes, line, tests, number)
                axes.annotate(
                    name,
                    (line.trainable_params_pct, 100 * line[f"{tests}_change"]),
                    xytext=(6, 5),
                    textcoords="offset points",
                    fontsize=8,
                )
            axes.set(xscale="log", title=f"{tests} clips {title}".strip(), xlabel="parameters that learn, %")
        panels[0].set(ylabel="change of WER, points")
        plt.close(figure)
    return figure


def groups(tables: Mapping[str, pd.DataFrame], column: str, label: str) -> Figure | None:
    """WER with its interval in groups of clips, a bar for each recogniser. tables: name -> of `misheard.by_...`."""
    import matplotlib.pyplot as plt
    import numpy as np

    tables = {name: table for name, table in tables.items() if len(table)}
    if not tables:
        return None
    names = list(dict.fromkeys(group for table in tables.values() for group in table[column]))
    width = 0.8 / len(tables)
    with style.theme():
        figure, axes = plt.subplots(figsize=(8.6, 3.2), layout="constrained")
        for number, (name, table) in enumerate(tables.items()):
            places = np.array([names.index(group) for group in table[column]]) + number * width
            ends = [table.wer - table.low, table.high - table.wer]  # no whisker where no interval is known
            axes.bar(
                places,
                100 * table.wer,
                width,
                yerr=100 * np.clip(np.stack(ends).astype(float), 0, None),
                color=style.stage_color(number),
                label=name,
                capsize=2,
                ecolor=style.MUTED,
            )
        axes.set_xticks(np.arange(len(names)) + 0.4 - width / 2, names)
        axes.set(xlabel=label, ylabel="WER, %")
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))  # beside the bars
        plt.close(figure)
    return figure


def _point(axes: Axes, line: pd.Series, tests: str, number: int) -> None:
    change, low, high = (line[f"{tests}_{key}"] for key in ("change", "low", "high"))
    spread = None if low is None or low != low else [[100 * (change - low)], [100 * (high - change)]]
    axes.errorbar(
        line.trainable_params_pct,
        100 * change,
        spread,
        color=style.stage_color(number),
        marker=style.marker_of(number),
        capsize=2,
    )
