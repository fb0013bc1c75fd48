"""What does it look like? The difference that a test can find, and what people said, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lib.listening import power
from lib.listening.clips import Condition
from lib.measure.stats import Estimate
from lib.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTENERS = (4, 5, 6, 8, 10, 12, 16, 20, 25, 30, 40, 50, 70, 100)


def detectable(sentences: Sequence[int], assumption: power.Assumption, planned: power.Size) -> "Figure":
    """The least difference found with a power of 80 %, over listeners, a line for each number of sentences."""
    import matplotlib.pyplot as plt

    with style.theme():
        figure, axes = plt.subplots(figsize=(7.5, 3.9), layout="constrained")
        for index, many in enumerate(sentences):
            points = [(n, power.detectable(power.Size(n, many, many), assumption)) for n in LISTENERS]
            points = [(n, d) for n, d in points if d is not None]
            if not points:
                continue
            axes.plot(
                *zip(*points), marker=style.marker_of(index), color=style.stage_color(index), markersize=4
            )
            axes.annotate(f" {many} sentences", points[-1], va="center", fontsize=9, color=style.INK)
        here = power.detectable(planned, assumption)
        if here is not None:
            axes.plot(planned.listeners, here, "o", ms=11, mfc="none", mec=style.INK)
            axes.annotate("this kit ", (planned.listeners, here), ha="right", va="bottom", fontsize=9)
        axes.set(xscale="log", yscale="log", xlabel="Listeners", ylabel="Difference found, MOS")
        axes.set_xticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
        axes.set_yticks([0.1, 0.2, 0.5, 1], ["0.1", "0.2", "0.5", "1"])
        axes.minorticks_off()
        axes.set_xlim(3.7, 210)
        axes.set_title("What a test can find in four of five cases")
    plt.close(figure)
    return figure


def opinions(
    means: Mapping[str, Estimate], conditions: Sequence[Condition], scale: tuple[int, int]
) -> "Figure":
    """Mean opinions, best on top, with 95 % intervals."""
    import matplotlib.pyplot as plt

    systems = {condition.name: condition.system for condition in conditions}
    with style.theme():
        figure, axes = plt.subplots(figsize=(7.5, 0.9 + 0.42 * len(means)), layout="constrained")
        for row, (name, estimate) in enumerate(reversed(means.items())):
            colour = style.color(systems[name])
            if estimate.low is not None:
                axes.plot([estimate.low, estimate.high], [row, row], color=colour, linewidth=2)
            axes.plot(estimate.value, row, marker=style.marker(systems[name]), color=colour, markersize=8)
        axes.set_yticks(range(len(means)), list(reversed(means)))
        axes.set(xlim=scale, xlabel="Mean opinion of listeners, with 95 % intervals")
    plt.close(figure)
    return figure
