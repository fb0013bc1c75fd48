"""What does it cost, and where does the time go? Bars of what was measured, with the finding beside each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from lib.measure import energy
from lib.report import style, vocabulary
from lib.report.collect import Row, records
from lib.report.collect import stages as stage_seconds
from lib.report.tables import kind_text
from lib.report.tradeoff import commonest, name
from lib.results import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BARS = 30
COSTS = ("rtf", "size_mb", "energy_j_per_audio_s")
_CHEAPEST = {"rtf": "fastest", "size_mb": "smallest to download", "energy_j_per_audio_s": "most frugal"}
_AHEAD = {
    "rtf": "times as fast as",
    "size_mb": "times as small as",
    "energy_j_per_audio_s": "times as frugal as",
}


def costs(
    table: pd.DataFrame,
    metrics: Sequence[str] = COSTS,
    *,
    variants: Collection[str] | None = ("baseline",),
    size: tuple[float, float] | None = None,
) -> Figure | None:
    """What each voice costs: one panel of bars from zero per metric, with 95 % intervals and the number at the end.

    Estimated and simulated numbers are hatched, recorded ones pale; below energy stands what it counts. variants: those
    alone (None: all). The voices stand in the order of the first metric, the cheapest first. None when no row has one
    of the metrics.
    """
    import matplotlib.pyplot as plt

    chosen = _newest(records(table), metrics, variants)
    if not chosen:
        return None
    lines = sorted(
        chosen, key=lambda key: [chosen[key][m].value if m in chosen[key] else float("inf") for m in metrics]
    )
    lines = lines[:MAX_BARS]
    first = [next(iter(chosen[key].values())) for key in lines]
    shown = [m for m in metrics if any(m in chosen[key] for key in lines)]
    with style.theme():
        figure, panels = plt.subplots(
            1,
            len(shown),
            figsize=size or (1.6 + 3.0 * len(shown), 1.0 + 0.34 * len(lines)),
            layout="constrained",
            squeeze=False,
            sharey=True,
        )
        for axes, metric in zip(panels[0], shown):
            for place, key in enumerate(lines):
                if metric in chosen[key]:
                    _bar(axes, place, chosen[key][metric])
            axes.set_title(METRICS[metric].label, fontsize=10)
            words = dict.fromkeys(
                ", ".join(energy.words(row[metric])) for row in chosen.values() if metric in row
            )
            told = "".join(f"\n({one})" for one in words if one)
            axes.set_xlabel(f"{vocabulary.unit(metric)}; less is better{told}")
            axes.margins(x=0.26)  # room for the numbers
            axes.set_xlim(left=0)
            axes.grid(axis="y", visible=False)
        panels[0][0].set_yticks(range(len(lines)), [name(row, first) for row in first])
        panels[0][0].tick_params(axis="y", labelcolor=style.INK)
        panels[0][0].invert_yaxis()
        kinds = {chosen[key][m].kind for key in lines for m in shown if m in chosen[key]} - {"measured"}
        if kinds:
            swatch = plt.Rectangle((0, 0), 1, 1, facecolor=style.SURFACE, edgecolor=style.MUTED, hatch="////")
            figure.legend(
                [swatch], [" or ".join(sorted(kinds))], loc="outside lower right", frameon=False, fontsize=9
            )
    plt.close(figure)
    return figure


def costs_finding(
    table: pd.DataFrame, metrics: Sequence[str] = COSTS, *, variants: Collection[str] | None = ("baseline",)
) -> str | None:
    """Who is fastest, smallest and most frugal, and by how much before the next, in a sentence; None without two.

    Of energy among those that count the same, all measured or all estimated.
    """
    chosen = _newest(records(table), metrics, variants)
    said = []
    for metric in metrics:
        rows = commonest(metric, [row[metric] for row in chosen.values() if metric in row])
        rows = sorted(rows, key=lambda row: row.value)
        if len(rows) < 2 or rows[0].value <= 0:
            continue
        best, following = rows[:2]
        kind = "".join(
            f", {word}" for word in ([best.kind] if best.kind != "measured" else []) + [*energy.words(best)]
        )
        said.append(
            f"{_CHEAPEST.get(metric, f'lowest in {METRICS[metric].label}')} is **{name(best, rows)}** "
            f"({vocabulary.amount(metric, best.value)}{kind}), "
            f"{following.value / best.value:.1f} {_AHEAD.get(metric, 'times below')} {name(following, rows)}"
        )
    return None if not said else f"{said[0][0].upper()}{'; '.join(said)[1:]}."


def stages(table: pd.DataFrame, *, size: tuple[float, float] | None = None) -> Figure | None:
    """Where the time goes: the RTF of each stage, stacked, for rows whose detail holds {"stages": {name: s/s}}.

    Of each system, variant, target and machine the RTF row is taken, else its first row with stages. None when there
    is none.
    """
    import matplotlib.pyplot as plt

    rows = _with_stages(records(table))
    if not rows:
        return None
    names = list(dict.fromkeys(stage for row in rows for stage in stage_seconds(row)))
    with style.theme():
        figure, axes = plt.subplots(figsize=size or (8.6, 1.2 + 0.42 * len(rows)), layout="constrained")
        for place, row in enumerate(rows):
            left = 0.0
            for stage, seconds in stage_seconds(row).items():
                colour = style.stage_color(names.index(stage))
                axes.barh(
                    place, seconds, left=left, height=0.62, color=colour, edgecolor=style.SURFACE, linewidth=0.8
                )
                left += seconds
        handles = [plt.Rectangle((0, 0), 1, 1, color=style.stage_color(i)) for i in range(len(names))]
        axes.legend(
            handles,
            names,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=min(len(names), 4),
            frameon=False,
        )
        machines = {row.host for row in rows}
        on = [f", {row.host}" if len(machines) > 1 else "" for row in rows]
        axes.set_yticks(
            range(len(rows)), [f"{r.system} {r.variant}, {r.target}{host}" for r, host in zip(rows, on)]
        )
        axes.tick_params(axis="y", labelcolor=style.INK)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("compute seconds per second of speech")
    plt.close(figure)
    return figure


def stages_finding(table: pd.DataFrame) -> str | None:
    """Which stage takes most of each system's time, in a sentence; None where no row has stages."""
    rows = _with_stages(records(table))
    longest: dict[str, list[str]] = {}
    for row in rows:
        seconds = stage_seconds(row)
        if len(seconds) < 2:  # one stage takes all of it
            continue
        stage = max(seconds, key=seconds.get)
        share = 100 * seconds[stage] / (sum(seconds.values()) or 1)
        longest.setdefault(stage.replace("_", " "), []).append(f"{name(row, rows)} ({share:.0f} %)")
    said = [f"the {stage} takes the largest share of {', '.join(of)}" for stage, of in longest.items()]
    return None if not said else f"{said[0][0].upper()}{'; '.join(said)[1:]}."


def spread(row: Row, scale: float = 1.0) -> list[list[float]] | None:
    """How far a row's 95 % interval reaches down and up, as error bars want it; None where it has none."""
    if row.ci_low is None:
        return None
    return [[max(0.0, row.value - row.ci_low) * scale], [max(0.0, row.ci_high - row.value) * scale]]


def _bar(axes: Axes, place: int, row: Row) -> None:
    """A bar with its interval; its number at the end, with the kind unless it was measured now."""
    axes.barh(
        place,
        row.value,
        xerr=spread(row),
        height=0.62,
        color=style.color(row.system),
        edgecolor=style.SURFACE,
        hatch="" if row.kind == "measured" else "////",
        alpha=0.45 if row.recorded else 0.9,
        error_kw={"elinewidth": 1.2, "capsize": 3, "ecolor": style.INK},
    )
    end = row.value if row.ci_high is None else row.ci_high
    text = vocabulary.number(row.metric, row.value) + ("" if not row.recorded else f" ({kind_text(row)})")
    axes.annotate(
        text, (end, place), (5, 0), textcoords="offset points", va="center", fontsize=8.5, color=style.INK
    )


def _newest(
    rows: list[Row], metrics: Sequence[str], variants: Collection[str] | None
) -> dict[tuple, dict[str, Row]]:
    """(system, variant, target, host) of the voices -> metric -> its row: this run's, else the newest recorded one."""
    chosen: dict[tuple, dict[str, Row]] = {}
    for row in sorted(rows, key=lambda row: row.time, reverse=True):
        wanted = row.metric in metrics and (variants is None or row.variant in variants)
        if (
            wanted
            and row.value is not None
            and row.kind != "published"
            and vocabulary.role(row.system) == "voice"
        ):
            cells = chosen.setdefault((row.system, row.variant, row.target, row.host), {})
            if row.metric not in cells or (cells[row.metric].recorded and not row.recorded):
                cells[row.metric] = row
    return chosen


def _with_stages(rows: list[Row]) -> list[Row]:
    chosen: dict[tuple, Row] = {}
    for row in sorted(rows, key=lambda row: (row.recorded, row.metric != "rtf")):
        if stage_seconds(row):
            chosen.setdefault((row.system, row.variant, row.target, row.host), row)
    return [chosen[key] for key in sorted(chosen)][:MAX_BARS]
