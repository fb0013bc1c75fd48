"""How does quality grow with evaluations, what does a halving do, and who moves as the voice itself does? The pictures
of the study of diffusion in few steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lib.report import style
from lib.results import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from lib.measure.texture import Texture

_LINES = {"even": "-", "log-snr": "--", "optimised": ":"}


def method(steps: int = 16) -> Figure:
    """What a halving does: a student learns to do in one step what its teacher does in two, again and again, down to a
    single step from noise to speech.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch

    with style.theme():
        figure, axis = plt.subplots(figsize=(8.6, 2.6), layout="constrained")
        rungs, count = [], steps
        while count >= 1:
            rungs.append(count)
            count //= 2
        for level, count in enumerate(rungs):
            places = np.linspace(0, 1, count + 1)
            axis.plot(places, np.full(count + 1, -level), "o", markersize=3.5, color=style.stage_color(level))
            for begin, end in zip(places, places[1:]):
                arrow = {
                    "arrowstyle": "-|>",
                    "mutation_scale": 7,
                    "color": style.stage_color(level),
                    "linewidth": 1.1,
                }
                axis.add_patch(
                    FancyArrowPatch((begin, -level), (end, -level), connectionstyle="arc3,rad=-0.35", **arrow)
                )
            who = "teacher" if level == 0 else "student" if level == 1 else "its student"
            axis.text(
                1.02,
                -level,
                f"{who}: {count} step{'s' * (count > 1)}",
                va="center",
                fontsize=9,
                color=style.INK,
            )
        axis.set(xlim=(-0.02, 1.25), ylim=(-len(rungs) + 0.3, 0.9), yticks=[], xticks=[0, 1])
        axis.set_xticklabels(["noise", "speech"])
        axis.grid(False)
        plt.close(figure)
    return figure


def distances(known: pd.DataFrame, *, by: str = "evaluations") -> Figure | None:
    """Distance from the converged walk over evaluations, or over `by`: a line for each sampler and spacing of the
    teacher, guided and not, and a star for each student. known: of `lib.studies.walked.known`; None where it is empty.
    """
    if known.empty:
        return None
    import matplotlib.pyplot as plt

    weights = sorted(known.guidance.unique())
    with style.theme():
        figure, axes = plt.subplots(
            1,
            len(weights),
            figsize=(1.5 + 5.2 * len(weights), 4.2),
            squeeze=False,
            sharey=True,
            layout="constrained",
        )
        for axis, weight in zip(axes[0], weights):
            part = known[known.guidance == weight]
            free, taught = part[part.student == ""], part[part.student != ""]
            names = list(dict.fromkeys(free.sampler))
            for (sampler, spacing), line in free.groupby(["sampler", "spacing"], sort=False):
                line = line.sort_values(by)
                axis.plot(
                    line[by],
                    line.distance,
                    _LINES.get(spacing, "-"),
                    color=style.stage_color(names.index(sampler)),
                    marker=style.marker_of(names.index(sampler)),
                    markersize=4,
                    linewidth=1.3,
                    label=sampler + ("" if spacing == "even" else f", {spacing}"),
                )
            if len(taught):
                axis.plot(
                    taught[by], taught.distance, "*", markersize=13, color=style.INK, zorder=4, label="students"
                )
                for row in taught.itertuples():
                    axis.annotate(
                        row.walk,
                        (getattr(row, by), row.distance),
                        xytext=(6, 4),
                        textcoords="offset points",
                        fontsize=8,
                        color=style.INK,
                    )
            axis.set(
                xscale="log", yscale="log", title="unguided" if not weight else f"guided, weight {weight:g}"
            )
            axis.set_xlabel(
                "evaluations of the network"
                if by == "evaluations"
                else "seconds of decoder for a second of speech"
            )
            axis.legend(frameon=False, fontsize=7.5, ncols=2)
        axes[0][0].set_ylabel("distance of the mel from\nthe converged walk's, dB")
        plt.close(figure)
    return figure


def judged(
    table: pd.DataFrame, known: pd.DataFrame, metrics: tuple[str, ...] = ("mos_predicted", "asr_nll")
) -> Figure | None:
    """What the judges say over evaluations, with 95 % intervals; crosses: without training, stars: students, the
    band: the converged teacher. table: rows, as `lib.results.read` returns them; known: of `lib.studies.walked.known`.
    """
    import matplotlib.pyplot as plt

    counts = table[(table.metric == "nfe") & (table.system == "tortoise") & table.value.notna()]
    taught = {variant: known[known.walk == variant].student.any() for variant in counts.variant}
    evaluations = dict(zip(counts.variant, counts.value))
    shown = table[table.variant.isin(evaluations) & (table.system == "tortoise") & table.ci_low.notna()]
    if shown.empty:
        return None
    with style.theme():
        figure, axes = plt.subplots(
            1, len(metrics), figsize=(5.2 * len(metrics), 3.8), layout="constrained", squeeze=False
        )
        for axis, metric in zip(axes[0], metrics):
            for row in shown[shown.metric == metric].itertuples():
                if row.variant == "converged":
                    axis.axhspan(row.ci_low, row.ci_high, color=style.GRID, zorder=0)
                    continue
                axis.errorbar(
                    evaluations[row.variant] * (1.04 if taught[row.variant] else 0.96),
                    row.value,
                    yerr=[[row.value - row.ci_low], [row.ci_high - row.value]],
                    fmt="*" if taught[row.variant] else "x",
                    markersize=10 if taught[row.variant] else 6,
                    color=style.color("tortoise") if taught[row.variant] else style.MUTED,
                    capsize=2,
                )
            axis.set(xscale="log", xlabel="evaluations of the network", ylabel=METRICS[metric].label)
        plt.close(figure)
    return figure


def textures(found: Mapping[str, Texture], reference: str) -> Figure | None:
    """The modulation spectrum and the variance of each band, in dB against the voice itself; None without it."""
    if reference not in found or len(found) < 2:
        return None
    import matplotlib.pyplot as plt

    base = found[reference]
    with style.theme():
        figure, (left, right) = plt.subplots(1, 2, figsize=(10.4, 3.8), layout="constrained", sharey=True)
        for index, (name, one) in enumerate((n, t) for n, t in found.items() if n != reference):
            look = {"color": style.stage_color(index), "linewidth": 1.5, "label": name}
            left.plot(one.rates_hz[1:], 10 * np.log10(one.modulation[1:] / base.modulation[1:]), **look)
            right.plot(10 * np.log10(one.band_variance / base.band_variance), **look)
        for axis in (left, right):
            axis.axhline(0, color=style.MUTED, linewidth=0.9)
        left.set(
            xscale="log", xlabel="modulation, Hz", ylabel=f"against {reference}, dB", title="how fast it moves"
        )
        right.set(xlabel="mel band, low to high", title="how far each band moves")
        left.legend(frameon=False, fontsize=8)
        plt.close(figure)
    return figure


def stages(by_stage: pd.DataFrame, words: Mapping[str, str] | None = None) -> Figure | None:
    """Where the time goes, a bar for each variant, slowest first. by_stage: of `lib.studies.gains.stages`; words: what
    the judges call a variant, which then stands behind its bar.
    """
    if by_stage.empty:
        return None
    import matplotlib.pyplot as plt

    ordered = by_stage.loc[by_stage.sum(axis=1).sort_values().index]
    with style.theme():
        figure, axis = plt.subplots(figsize=(8.6, 1.2 + 0.36 * len(ordered)), layout="constrained")
        left = np.zeros(len(ordered))
        for index, stage in enumerate(ordered.columns):
            axis.barh(
                ordered.index,
                ordered[stage],
                left=left,
                color=style.stage_color(index),
                label=stage.replace("_", " "),
            )
            left += ordered[stage].to_numpy()
        for place, (name, whole) in enumerate(zip(ordered.index, left)):
            text = " ".join([f"{whole:.3f}", (words or {}).get(name, "")]).strip()
            axis.annotate(
                text, (whole, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
            )
        axis.set(xlabel="seconds of computing for a second of speech", xlim=(0, 1.3 * left.max()))
        axis.legend(frameon=False, fontsize=8, ncols=len(ordered.columns))
        plt.close(figure)
    return figure
