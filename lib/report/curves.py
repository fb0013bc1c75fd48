"""How does a loss fall? Learning curves of training runs, and where a continued run joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lib.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


LOSSES = ("latents", "denoise", "mel")  # of a record the first that it has: what the training is about
ACROSS = 3  # panels beside each other


def learning(curves: Mapping[str, tuple[Sequence[dict], Sequence[dict] | None]], *, size: tuple[float, float] = (8.6, 3.0)) -> "Figure":
    """One panel per system: a loss over steps in training (line) and validation (its first scalar, circles); dots: going on.

    The loss is the distance of the mels, of the latents where a vocoder learnt those first, or of the noise of a diffusion. size: of
    a row of panels, in inches.

    curves: system -> (records of the training that made it, records of a run that goes on from its weights, or None). Records
    are those of `lib.training.journal`.
    """
    import matplotlib.pyplot as plt

    with style.theme():
        rows, across = -(-len(curves) // ACROSS), min(ACROSS, len(curves))
        figure, panels = plt.subplots(rows, across, figsize=(size[0], rows * size[1]), layout="constrained", squeeze=False)
        for axes in panels.flat[len(curves):]:
            axes.remove()
        for axes, (system, (before, after)) in zip(panels.flat, curves.items()):
            colour = style.color(system)
            metric = next(name for name in LOSSES if any(name in r for r in before))
            training = [(r["step"], r[metric]) for r in before if metric in r]
            axes.plot(*zip(*training), color=colour, linewidth=1, alpha=0.55, label="training")
            validated = [r for r in before if "validation" in r]
            if validated:
                name = next(iter(validated[0]["validation"]))
                judged = [(r["step"], r["validation"][name]) for r in validated]
                axes.plot(*zip(*judged), "o-", color=colour, markersize=4, linewidth=1.6, label=f"validation: {name}")
            more = [(training[-1][0] + r["step"], r[metric]) for r in after or () if metric in r]
            if more:
                axes.plot(*zip(*more), ".", color=style.INK, markersize=6, label="going on, now")
            axes.set(title=system, xlabel="step", ylabel=f"{metric} loss", yscale="log")
            axes.legend(frameon=False, fontsize=9)
        plt.close(figure)  # it is returned, and shown once
    return figure
