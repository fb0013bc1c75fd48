"""A voice from a changed recipe: train it for some steps, publish it, load it before the zoo's vocoder."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib import systems
from lib.measure.stats import p_text

if TYPE_CHECKING:
    import pandas as pd

    from lib.systems.fastspeech2 import FastSpeech2
    from lib.training.outcome import Outcome
    from lib.training.recipe import Recipe
    from lib.training.tasks.fastspeech2 import AcousticTask

log = logging.getLogger(__name__)

VOICE = "vits-joe"  # whose voice speaks: the one that the zoo's vocoder knows


@dataclass(frozen=True)
class Retrained:
    """The voice, the task it was trained on (corpus, examples) and what the loop says of its training."""

    voice: "FastSpeech2"
    task: "AcousticTask"
    outcome: "Outcome"


def fastspeech2(
    base: "Recipe", name: str, model: Mapping, *, steps: int, folder: str | Path, threads: int = 2
) -> Retrained:
    """Train the recipe with another `model` part for `steps` steps in <folder>/<name>; a stopped training goes on.

    name: also the variant of the voice.
    """
    from lib.training import loop, tasks

    settings = dataclasses.replace(
        base.training, steps=steps, minutes=0.0, validate_every=0, patience=0, target=0.0
    )
    chosen = dataclasses.replace(base, model=dict(model), training=settings)
    log.info("training %s for %d steps", name, steps)
    task = tasks.build(chosen)
    outcome = loop.train(task, chosen, Path(folder) / name)
    ready = tasks.export(chosen, outcome.checkpoint, Path(folder) / name / "published", "")
    voice = systems.load("fastspeech2", threads=threads, checkpoint=ready, speaker=VOICE).adjusted(variant=name)
    return Retrained(voice, task, outcome)


def change(rows: "pd.DataFrame", variant: str, base: str) -> str:
    """What a variant does to quality: "-0.20 MOS (p = 0.001) and +1.5 points of WER (p = 0.04)".

    rows: of one system, as `lib.results.read` returns them; p: of the paired test over sentences, where the
    rows hold one.
    """
    said = []
    for metric, unit, scale, digits in (("mos_predicted", "MOS", 1, 2), ("wer", "points of WER", 100, 1)):
        row, reference = (
            rows[(rows.variant == name) & (rows.metric == metric)].iloc[-1] for name in (variant, base)
        )
        detail = json.loads(row.detail) if row.get("detail") else {}
        p = f" ({p_text(detail['p_value'])})" if "p_value" in detail else ""
        said.append(f"{scale * (row.value - reference.value):+.{digits}f} {unit}{p}")
    return " and ".join(said)
