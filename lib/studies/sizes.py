"""What does the size of an acoustic model buy? The same recipe trained in several sizes for the same steps,
then judged alike.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib import environment, systems
from lib.errors import unknown
from lib.measure import bench
from lib.measure.scorer import Scorer
from lib.studies import retrained

if TYPE_CHECKING:
    from lib.corpora.base import Sentence
    from lib.results import Run
    from lib.training.recipe import Recipe

WIDTHS = ("hidden", "feed_forward", "predictor", "postnet")
BASE = "size-base"
TIMED = 10  # sentences of the bench
# Variant -> what becomes of the recipe's model: a factor of all widths, or a sum to (or a factor of) one number.
SIZES = {
    BASE: {},
    "size-width-half": {"width": 0.5},
    "size-width-1.5": {"width": 1.5},
    "size-layers-minus-2": {"layers": -2},
    "size-layers-plus-2": {"layers": 2},
    "size-heads-double": {"heads": 2},
}


def resized(model: Mapping, *, width: float = 1.0, layers: int = 0, heads: int = 1) -> dict:
    """A recipe's `model` in another size, from random weights; widths stay multiples of 16, depths at least 1.

    hidden is also the width of the symbol and speaker embeddings.
    """
    from lib.systems.fastspeech2.config import NetworkConfig

    defaults = {f.name: f.default for f in dataclasses.fields(NetworkConfig)}
    full = {**{k: defaults[k] for k in (*WIDTHS, "heads", "encoder_layers", "decoder_layers")}, **model}
    full.pop("start_from", None)
    for name in WIDTHS:
        full[name] = max(16, round(full[name] * width / 16) * 16)
    for name in ("encoder_layers", "decoder_layers"):
        full[name] = max(1, full[name] + layers)
    full["heads"] *= heads
    return full


def sweep(
    run: "Run",
    base: "Recipe",
    sentences: Sequence["Sentence"],
    scorer: Scorer,
    *,
    steps: int,
    folder: str | Path,
    names: Sequence[str] = tuple(SIZES),
    threads: int = 2,
    rounds: int = 3,
) -> None:
    """Train each size for `steps` steps (a stopped sweep goes on), speak the sentences through the zoo's
    vocoder, write the rows.

    System fastspeech2, variants as in SIZES: word errors, predicted MOS, parameters, RTF, the last training
    loss and steps/s.
    """
    from lib.training.outcome import SOURCES

    environment.pin_threads(threads)
    vocoder = systems.load("hifigan", threads=threads)
    for name in names:
        if name not in SIZES:
            raise unknown("size", name, SIZES)
    models = {name: resized(base.model, **SIZES[name]) for name in names}
    voices, alone = {}, {}
    for found, _ in retrained.judged(
        run, base, models, sentences, scorer, reference=BASE, steps=steps, folder=folder, threads=threads
    ):
        voice, outcome = found.voice, found.outcome
        name = voice.variant
        voices[name] = voice
        detail = {
            "steps": steps,
            "threads": outcome.threads,
            "model": {k: models[name][k] for k in (*WIDTHS, "heads", "encoder_layers", "decoder_layers")},
        }
        alone[name] = (voice.params_m - vocoder.params_m, detail)
        for metric in ("train_loss", "train_steps_per_s"):
            if metric in outcome.metrics:
                run.add(
                    voice.name,
                    name,
                    outcome.target,
                    metric,
                    outcome.metrics[metric],
                    source=SOURCES[metric],
                    detail=detail,
                )
    candidates = {name: bench.Candidate.of(voice) for name, voice in voices.items()}
    timed = [s.text for s in sentences[:TIMED]]
    bench.write(run, bench.bench(candidates, timed, rounds=rounds, threads=threads, seed=run.seed))
    for name, (params_m, detail) in alone.items():  # behind the bench's rows, which count the vocoder's, too
        names_ = (voices[name].name, name, voices[name].target)
        run.add(*names_, "params_m", params_m, source="the acoustic model alone", detail=detail)


def verdict(table) -> str | None:
    """The best size by predicted MOS, and what the others lose or save against the base, in a sentence; None
    without rows.

    table: rows as `lib.results.read` returns them.
    """
    rows = retrained.newest(table, SIZES, BASE, ("mos_predicted", "wer", "params_m"))
    if rows is None:
        return None
    found, wide = rows
    base, best = wide.loc[BASE], wide.mos_predicted.idxmax()
    words = [
        f"{name.removeprefix('size-')} ({row.params_m:.1f} M) {retrained.change(found, name, BASE)}"
        for name, row in wide.iterrows()
        if name != BASE
    ]
    return (
        f"After the same steps {best.removeprefix('size-')} is best by predicted MOS "
        f"({wide.loc[best].mos_predicted:.2f}). "
        f"Against the base of {base.params_m:.1f} M parameters: " + "; ".join(words) + "." + _share(found)
    )


def _share(found) -> str:
    """What the acoustic model takes of the time, in each size: the vocoder is the same for all and hides it in
    the RTF.
    """
    seconds = {
        row.variant: json.loads(row.detail)["stages"] for row in found[found.metric == "rtf"].itertuples()
    }
    base = seconds.pop(BASE, None)
    if base is None:
        return ""
    cost = {
        name.removeprefix("size-"): stages["acoustic_model"] / base["acoustic_model"]
        for name, stages in seconds.items()
    }
    return (
        f" The acoustic model takes {1000 * base['acoustic_model']:.0f} ms for a second of speech in the base, "
        f"{100 * base['acoustic_model'] / sum(base.values()):.0f} % of the whole; the others take "
        + ", ".join(f"{cost[name]:.2f} ({name})" for name in sorted(cost, key=cost.get))
        + " times as long."
    )
