"""How does a loss fall, and what does a sweep show? Learning curves of training runs, and one measure over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lib.report import style, vocabulary
from lib.report.collect import records
from lib.report.plots import spread
from lib.results import METRICS, newest_run

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


LOSSES = ("latents", "hidden", "denoise", "mel")  # of a record the first that it has: what the training is about
ACROSS = 3  # panels beside each other


def learning(
    curves: Mapping[str, tuple[Sequence[dict], Sequence[dict] | None]],
    *,
    size: tuple[float, float] = (8.6, 3.0),
) -> "Figure":
    """One panel per system: a loss over steps in training (line) and validation (its first scalar, circles);
    dots: going on.

    The loss is the distance of the mels, of the latents where a vocoder learnt those first, or of the noise of
    a diffusion. size: of a row of panels, in inches.

    curves: system -> (records of the training that made it, records of a run that goes on from its weights, or
    None). Records are those of `lib.training.journal`.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter

    plain = FuncFormatter(lambda value, _: f"{value:g}")  # 0.2, not 2 x 10^-1
    with style.theme():
        rows, across = -(-len(curves) // ACROSS), min(ACROSS, len(curves))
        figure, panels = plt.subplots(
            rows, across, figsize=(size[0], rows * size[1]), layout="constrained", squeeze=False
        )
        for axes in panels.flat[len(curves) :]:
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
                axes.plot(
                    *zip(*judged), "o-", color=colour, markersize=4, linewidth=1.6, label=f"validation: {name}"
                )
            more = [(training[-1][0] + r["step"], r[metric]) for r in after or () if metric in r]
            if more:
                axes.plot(*zip(*more), ".", color=style.INK, markersize=6, label="going on, now")
            axes.set(title=system, xlabel="step", ylabel=f"{metric} loss", yscale="log")
            axes.yaxis.set_major_formatter(plain)
            axes.yaxis.set_minor_formatter(plain)
            axes.legend(frameon=False, fontsize=9)
        plt.close(figure)  # it is returned, and shown once
    return figure


def sweep(
    table: "pd.DataFrame",
    metric: str,
    others: Sequence[str],
    variants: Sequence[str],
    *,
    prefix: str = "",
    size: tuple[float, float] = (8.6, 3.4),
) -> "Figure | None":
    """One panel per metric of `others`: its value with its 95 % interval over `metric`, a point per variant.

    table: rows as read by `lib.results.read`, of one system; variants: in the legend's order, without `prefix`
    there. Variants that lack one of the metrics are left out; None when all do.
    """
    import matplotlib.pyplot as plt

    chosen = newest_run(table[table.variant.isin(variants) & table.value.notna()])
    measured = {(row.variant, row.metric): row for row in records(chosen)}
    complete = [name for name in variants if all((name, m) in measured for m in (metric, *others))]
    if not complete:
        return None
    with style.theme():
        figure, panels = plt.subplots(1, len(others), figsize=size, layout="constrained", squeeze=False)
        for axes, other in zip(panels[0], others):
            scale = 100 if METRICS[other].unit == "fraction" else 1
            for place, name in enumerate(complete):
                row = measured[name, other]
                axes.errorbar(
                    measured[name, metric].value,
                    row.value * scale,
                    yerr=spread(row, scale),
                    fmt=style.marker_of(place),
                    markersize=7,
                    color=style.stage_color(place),
                    elinewidth=1.2,
                    capsize=3,
                    label=name.removeprefix(prefix),
                )
            axes.set(xlabel=_with_unit(metric), ylabel=_with_unit(other))
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=min(len(labels), 6), frameon=False, fontsize=9
        )
        plt.close(figure)
    return figure


def _with_unit(metric: str) -> str:
    return f"{METRICS[metric].label} ({vocabulary.unit(metric)})"


def learning_finding(curves: Mapping[str, tuple[Sequence[dict], Sequence[dict] | None]]) -> str | None:
    """How far each loss fell and whether it was still falling at the end, and which rose, in a sentence or two; None
    without records.

    curves: as in `learning`. Of each training the validation counts where there is one, else the training loss, and
    the last quarter of its steps against the end of the third.
    """
    fell, rose = [], []
    for system, (before, _) in curves.items():
        name, values = _judged(before)
        if len(values) < 2:
            continue
        first, last = values[0][1], values[-1][1]
        if last > first:
            rose.append(f"{system} from {first:.3g} to {last:.3g} ({name}, {values[-1][0]:,} steps)")
            continue
        earlier = [value for step, value in values if step <= 0.75 * values[-1][0]]
        late = (earlier[-1] - last) / earlier[-1] if earlier and earlier[-1] else 0.0
        end = (
            f"by {100 * late:.0f} % in the last quarter"
            if late >= 0.005
            else "nothing more in the last quarter"
        )
        fell.append(f"{system} from {first:.3g} to {last:.3g} ({name}, {values[-1][0]:,} steps; {end})")
    said = [f"The losses fell: {'; '.join(fell)}."] if fell else []
    said += [f"Not so {'; '.join(rose)}: such a training follows more losses than this."] if rose else []
    return " ".join(said) or None


def sweep_finding(
    table: "pd.DataFrame", metric: str, others: Sequence[str], variants: Sequence[str], *, prefix: str = ""
) -> str | None:
    """Which variant is best in each of the other metrics, and what it takes in the first, in a sentence; None without
    two complete variants. Arguments as in `sweep`.
    """
    chosen = newest_run(table[table.variant.isin(variants) & table.value.notna()])
    measured = {(row.variant, row.metric): row for row in records(chosen)}
    complete = [name for name in variants if all((name, m) in measured for m in (metric, *others))]
    if len(complete) < 2:
        return None
    said = []
    for other in others:
        better = METRICS[other].better or 1
        best = max(complete, key=lambda name, other=other, better=better: better * measured[name, other].value)
        value, cost = (vocabulary.amount(m, measured[best, m].value) for m in (other, metric))
        said.append(f"{METRICS[other].label} {value} by {best.removeprefix(prefix)} ({cost})")
    return f"Best of {len(complete)}: {'; '.join(said)}."


def _judged(before: Sequence[dict]) -> tuple[str, list[tuple[int, float]]]:
    """Name and (step, value) of a training's validation, or of its loss where nothing was validated."""
    validated = [r for r in before if "validation" in r]
    if len(validated) > 1:
        name = next(iter(validated[0]["validation"]))
        return f"validation {name}", [(r["step"], r["validation"][name]) for r in validated]
    metric = next((name for name in LOSSES if any(name in r for r in before)), None)
    return f"{metric} loss", [(r["step"], r[metric]) for r in before if metric and metric in r]
