"""How near does a learnt voice come, over what learns and over minutes of data, and at which cost? The pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.optimize.adapter_layers import METHODS
from lib.report import style
from lib.studies.finetuned import Case, series

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lib.studies.floors import Number
    from lib.studies.rates import Choices


def over_share(case: Case, title: str = "") -> Figure | None:
    """Similarity over the share of the parameters that learnt, on the most data: a point with its interval per trial.

    None where nothing was judged.
    """
    last = case.last
    if last.empty:
        return None
    import matplotlib.pyplot as plt

    with style.theme():
        figure, axes = plt.subplots(figsize=(8.6, 3.8), layout="constrained")
        for name, line in last.iterrows():
            _point(axes, line.trainable_params_pct, line)
            axes.annotate(
                name.partition("@")[0],
                (line.trainable_params_pct, line.speaker_similarity),
                xytext=(6, 5),
                textcoords="offset points",
                fontsize=8,
            )
        _ends(axes, case.ends)
        axes.set(
            xscale="log",
            title=title,
            xlabel="parameters that learn, % of the base's",
            ylabel="similarity to the person, cosine",
        )
        axes.xaxis.set_major_formatter("{x:g}")
        plt.close(figure)
    return figure


def over_minutes(case: Case, title: str = "") -> Figure | None:
    """Similarity and WER over minutes of data: a line per method at its usual rank; None below two amounts."""
    parts = series(case.found)
    if not parts:
        return None
    import matplotlib.pyplot as plt

    with style.theme():
        figure, panels = plt.subplots(1, 2, figsize=(8.6, 3.4), layout="constrained")
        for (method, _), part in parts.items():
            for axes, column, scale in zip(panels, ("speaker_similarity", "wer"), (1, 100)):
                axes.plot(
                    part.minutes,
                    scale * part[column],
                    color=_color(method),
                    marker=_marker(method),
                    label=method,
                )
        _ends(panels[0], case.ends)
        panels[0].set(title=title, ylabel="similarity to the person, cosine")
        panels[1].set(ylabel="WER, %")
        amounts = sorted({round(minutes, 1) for part in parts.values() for minutes in part.minutes})
        for axes in panels:
            axes.set(xscale="log", xlabel="minutes of speech")
            axes.set_xticks(amounts, [f"{minutes:g}" for minutes in amounts])
            axes.minorticks_off()
        panels[1].legend(frameon=False, fontsize=9)
        plt.close(figure)
    return figure


def costs(case: Case, title: str = "") -> Figure | None:
    """Memory that the training took, and seconds of a step: a bar per trial on the most data."""
    last = case.last
    if last.empty:
        return None
    import matplotlib.pyplot as plt

    names = [name.partition("@")[0] for name in last.index]
    with style.theme():
        figure, panels = plt.subplots(
            1, 2, figsize=(8.6, 0.9 + 0.32 * len(last)), sharey=True, layout="constrained"
        )
        colours = [_color(method) for method in last.method]
        panels[0].barh(names, last.added_mb, color=colours)
        panels[0].set(title=title, xlabel="memory beside the ready process, MB")
        panels[1].barh(names, 1 / last.train_steps_per_s, color=colours)
        panels[1].set(xlabel="seconds a step")
        panels[0].invert_yaxis()
        plt.close(figure)
    return figure


def rates(choices: Choices) -> Figure | None:
    """Loss on validation over the learning rate: a panel for each system, a line for each method, a ring around the
    chosen one. None where nothing was tried.
    """
    tried = [choice for choice in choices.values() if choice.losses]
    systems = list(dict.fromkeys(choice.system for choice in tried))
    if not tried:
        return None
    import matplotlib.pyplot as plt

    with style.theme():
        figure, panels = plt.subplots(1, len(systems), figsize=(8.6, 3.4), layout="constrained", squeeze=False)
        for axes, system in zip(panels[0], systems):
            for choice in (choice for choice in tried if choice.system == system):
                known = {rate: loss for rate, loss in sorted(choice.losses.items()) if loss < float("inf")}
                look = {"color": _color(choice.method), "marker": _marker(choice.method)}
                axes.plot(list(known), list(known.values()), label=choice.name, **look)
                ring = {"marker": "o", "markersize": 13, "fillstyle": "none", "color": style.MUTED}
                axes.plot(choice.rate, known[choice.rate], linestyle="", **ring)
            axes.set(xscale="log", title=system, xlabel="highest learning rate")
        panels[0][0].set(ylabel="mel's loss on validation")
        panels[0][0].legend(frameon=False, fontsize=9)
        plt.close(figure)
    return figure


def _point(axes: Axes, x: float, line: pd.Series) -> None:
    value = line.speaker_similarity
    interval = None
    if line.similarity_low == line.similarity_low:  # not NaN
        interval = [[value - line.similarity_low], [line.similarity_high - value]]
    axes.errorbar(x, value, yerr=interval, color=_color(line.method), marker=_marker(line.method), capsize=2)


def _ends(axes: Axes, known: dict[str, Number]) -> None:
    """The unadapted base below, the vocoder's copy above, each a dotted line with its name."""
    for name, label in (("copy", "copy by the vocoder"), ("unadapted", "base as it is")):
        if name in known:
            axes.axhline(known[name].value, color=style.MUTED, linestyle=":", linewidth=1.2)
            axes.annotate(
                label,
                (0, known[name].value),
                xycoords=("axes fraction", "data"),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=8,
                color=style.MUTED,
            )


def _color(method: str) -> str:
    return style.stage_color(METHODS.index(method))


def _marker(method: str) -> str:
    return style.marker_of(METHODS.index(method))
