"""What does a teacher give to the stages that are not diffusion? A small FastSpeech 2 taught by the large one, beside
the same taught by the data alone, for the same steps on the same sentences.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib import environment
from lib.studies import origins, retrained, sizes

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.training.recipe import Recipe

TEACHER = "fastspeech2"
ALONE = "taught-by-data"
SHARES = {ALONE: 0.0, "taught-by-both": 0.5, "taught-by-teacher": 1.0}  # variant -> `model.taught`
SMALLER = 0.5  # times the recipe's widths
USELESS = 0.2  # of words lost by who is no voice to use yet


def study(
    run: Run,
    base: Recipe,
    sentences: Sequence[Sentence],
    scorer: Scorer,
    *,
    steps: int,
    folder: str | Path,
    names: Sequence[str] = tuple(SHARES),
    threads: int = 2,
) -> None:
    """Train, judge and write the rows of system fastspeech2, variants as in SHARES; a stopped study goes on.

    All of them standardise by the teacher's statistics and begin with the same weights, so that the targets alone
    differ. base: of the task fastspeech2, at the size of `sizes.BASE`; its students have SMALLER widths.
    """
    environment.pin_threads(threads)
    small = sizes.resized(base.model, width=SMALLER)
    models = {name: {**small, "teacher": TEACHER, "taught": SHARES[name]} for name in names}
    for found, _ in retrained.judged(
        run, base, models, sentences, scorer, reference=ALONE, steps=steps, folder=folder, threads=threads
    ):
        voice = found.voice
        names_ = (voice.name, voice.variant, voice.target)
        detail = {"steps": steps, "taught": models[voice.variant]["taught"], "teacher": TEACHER}
        network = voice.modules["acoustic_model"]
        params_m = sum(p.numel() for p in network.parameters()) / 1e6
        run.add(*names_, "params_m", params_m, source="the acoustic model alone", detail=detail)


def verdict(table: pd.DataFrame) -> str | None:
    """What the teacher gave, in a sentence; None without rows."""
    found = retrained.newest(table, SHARES, ALONE, ("mos_predicted", "wer", "params_m"))
    if found is None:
        return None
    rows, wide = found
    alone = wide.loc[ALONE]
    detail = json.loads(rows[(rows.variant == ALONE) & (rows.metric == "params_m")].iloc[-1].detail)
    said = [
        f"{name} {retrained.change(rows, name, ALONE)}"
        for name in SHARES
        if name in wide.index and name != ALONE
    ]
    return origins.told(
        rows,
        f"After {detail['steps']:,} steps a FastSpeech 2 of {alone.params_m:.1f} M parameters has a predicted MOS of "
        f"{alone.mos_predicted:.2f} and a WER of {100 * alone.wer:.1f} % by data alone"
        + (f"; beside that {'; '.join(said)}." if said else ".")
        + (" So short a training makes no voice to use of any of them." if wide.wer.min() > USELESS else ""),
    )
