"""What do the judges hear? A picture of damage against predictors, and what the report says of a predictor because of
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from lib import results
from lib.metrics import METRICS, deliberate
from lib.report import style, tables, vocabulary
from lib.report.collect import Row
from lib.studies import predictors
from lib.studies.damages import CLEAN

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

UNKNOWN = "Nothing recorded says which damage it hears (`./run_all.sh study --only 07` asks it)."


def definition(metric: str, rows: Iterable[Row]) -> str:
    """What a metric is and, of a predictor, what it was found to hear: of this run, else recorded, else that nobody
    knows.
    """
    known = vocabulary.DEFINITIONS.get(metric, "")
    if metric not in predictors.PREDICTORS:
        return known
    return f"{known} {said(metric, rows) or UNKNOWN}"


def said(metric: str, rows: Iterable[Row]) -> str:
    """What a predictor hears of known damage, and of prosody, in sentences; "" where no row knows."""
    damaged = [row for row in rows if row.variant.endswith(predictors.SUFFIX)]
    for chosen in ([row for row in damaged if not row.recorded], [row for row in damaged if row.recorded]):
        table = results.frame(dataclasses.asdict(row) for row in chosen)
        parts = (predictors.finding(table, metric), predictors.prosody(table, metric))
        if any(parts):
            return " ".join(part for part in parts if part)
    return ""


def columns(used: Iterable[str], rows: Iterable[Row]) -> list[tables.Column]:
    """The metrics as table headers, with what each is and hears."""
    rows = [row for row in rows if deliberate(row.variant)]
    made = []
    for metric in used:
        about = METRICS[metric]
        made.append(
            tables.Column(metric, about.label, vocabulary.unit(metric), about.better, definition(metric, rows))
        )
    return made


def figure(senses: Mapping[tuple[str, str], predictors.Sense]) -> Figure | None:
    """A panel for every judge and damage: how the score changes from level to level, with 95 % intervals; None
    without any.

    Judges below each other, each with one scale on which worse is down. A full line is a damage that is heard at its
    strongest level, a grey dotted one is not noticed, an orange one preferred.
    """
    if not senses:
        return None
    import matplotlib.pyplot as plt

    judges = list(dict.fromkeys(judge for judge, _ in senses))
    ways = list(dict.fromkeys(name for _, name in senses))
    with style.theme():
        made, grid = plt.subplots(
            len(judges),
            len(ways),
            figsize=(1.55 * len(ways), 1.35 * len(judges)),
            sharey="row",
            squeeze=False,
            layout="constrained",
        )
        for line, judge in zip(grid, judges):
            for axes, name in zip(line, ways):
                _panel(axes, senses.get((judge, name)))
            line[0].set_ylabel(_label(judge), fontsize=8)
            if METRICS[judge].better < 0:
                line[0].invert_yaxis()  # worse is down everywhere
        for axes, name in zip(grid[0], ways):
            sense = next(sense for (_, way), sense in senses.items() if way == name)
            axes.set_title(sense.damage.label, fontsize=9)
        for axes, name in zip(grid[-1], ways):
            sense = next(sense for (_, way), sense in senses.items() if way == name)
            axes.set_xlabel(sense.damage.unit, fontsize=8)
    plt.close(made)
    return made


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `predictors.table_of` for rows of `lib.results.read`."""
    return predictors.table_of(predictors.senses(table))


def _panel(axes, sense: predictors.Sense | None) -> None:
    axes.axhline(0, color=style.MUTED, linewidth=0.8)
    axes.tick_params(labelsize=7)
    if sense is None:  # not in time with the clean clip, so there is no pitch to compare
        axes.set_xticks([])
        axes.text(0.5, 0.5, "not\ndefined", transform=axes.transAxes, ha="center", va="center", fontsize=7)
        return
    heard = sense.word == predictors.HEARS
    color = {predictors.HEARS: "#0072B2", predictors.PREFERS: "#D55E00"}.get(sense.word, style.MUTED)
    places = range(len(sense.effects) + 1)
    values = [0.0, *(effect.value for effect in sense.effects)]
    axes.plot(places, values, color=color, linewidth=1.6, linestyle="-" if heard else ":")
    for place, effect in enumerate(sense.effects, 1):
        ends = None if effect.low is None else [[effect.value - effect.low], [effect.high - effect.value]]
        axes.errorbar(place, effect.value, yerr=ends, color=color, marker="o", markersize=4, capsize=2)
    axes.set_xticks(list(places), [CLEAN[0], *(_short(effect.level) for effect in sense.effects)])
    axes.set_xlim(-0.4, len(sense.effects) + 0.4)


def _short(level: float) -> str:
    return f"{level / 1000:g}k" if level >= 1000 else f"{level:g}"


def _label(judge: str) -> str:
    words = METRICS[judge].label.replace("Recogniser's loss on the true words", "Recogniser's loss")
    return words.replace(", normalised", "").replace(" ", "\n", 1)
