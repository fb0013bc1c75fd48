"""What does a change of the recipe do to the voice? It is trained for some steps, published, loaded before the zoo's
vocoder, and judged beside the voice of the unchanged one.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib import results, systems
from lib.measure import evaluate
from lib.measure.stats import p_text

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.gutenberg import Sentence
    from lib.measure.scorer import Scorer
    from lib.results import Run
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


def judged(
    run: "Run",
    base: "Recipe",
    models: Mapping[str, Mapping],
    sentences: Sequence["Sentence"],
    scorer: "Scorer",
    *,
    reference: str,
    steps: int,
    folder: str | Path,
    threads: int = 2,
) -> Iterator[tuple[Retrained, evaluate.Judged]]:
    """Train each of `models` (variant -> `model` part), and judge it as it reads unaided; one after the other.

    reference: the variant that those after it are compared with. Arguments and continuation as of `fastspeech2`.
    """
    usual = None
    for name, model in models.items():
        found = fastspeech2(base, name, model, steps=steps, folder=folder, threads=threads)
        heard = read_aloud(run, found.voice, sentences, scorer, usual, reference)
        usual = heard if name == reference else usual
        yield found, heard


def read_aloud(
    run: "Run",
    voice: "FastSpeech2",
    sentences: Sequence["Sentence"],
    scorer: "Scorer",
    usual: evaluate.Judged | None,
    reference: str,
) -> evaluate.Judged:
    """Write how the voice reads the sentences; usual: how the variant `reference` read them, which is compared."""
    return evaluate.quality(
        run,
        (voice.name, voice.variant, voice.target),
        evaluate.speak(voice, sentences, seed=run.seed),
        scorer,
        baseline=usual,
        baseline_name=reference,
        second_opinion=0,
    )


def fastspeech2(
    base: "Recipe", name: str, model: Mapping, *, steps: int, folder: str | Path, threads: int = 2
) -> Retrained:
    """Train the recipe with another `model` part for `steps` steps in <folder>/<name>; a stopped training goes on when
    it is asked for again. Raises StoppedError where it is ended from outside.

    name: also the variant of the voice.
    """
    from lib.training import loop, tasks

    chosen = changed(base, model, steps)
    log.info("training %s for %d steps", name, steps)
    task = tasks.build(chosen)
    outcome = loop.train(task, chosen, Path(folder) / name)
    outcome.check_whole(steps)
    ready = tasks.export(chosen, outcome.checkpoint, Path(folder) / name / "published", "")
    voice = systems.load("fastspeech2", threads=threads, checkpoint=ready, speaker=VOICE).adjusted(variant=name)
    return Retrained(voice, task, outcome)


def changed(base: "Recipe", model: Mapping, steps: int) -> "Recipe":
    """The recipe with another `model` part, trained for `steps` steps that nothing cuts short."""
    settings = dataclasses.replace(
        base.training, steps=steps, minutes=0.0, validate_every=0, patience=0, target=0.0
    )
    return dataclasses.replace(base, model=dict(model), training=settings)


def newest(
    table: "pd.DataFrame", variants: Collection[str], reference: str, metrics: Collection[str]
) -> tuple["pd.DataFrame", "pd.DataFrame"] | None:
    """The rows of the newest run that judged these variants, as they are and with a line per variant and a column per
    metric; None where the reference or one of the metrics is missing.
    """
    found = results.newest_run(
        table[(table.system == "fastspeech2") & table.variant.isin(variants) & table.value.notna()]
    )
    wide = found.pivot_table(index="variant", columns="metric", values="value", aggfunc="last")
    return (found, wide) if reference in wide.index and set(metrics) <= set(wide.columns) else None


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
        p = f" ({p_text(detail['p_value'])})" if detail.get("p_value") is not None else ""
        said.append(f"{scale * (row.value - reference.value):+.{digits}f} {unit}{p}")
    return " and ".join(said)
