"""What would it cost to distil the published decoder here? A few steps of it in a process of their own.

Its weights are not to be had offline, and speed and memory do not depend on them: the decoder has the published sizes
and random weights, the walks that it learns from are noise. Nothing of what it learns means anything, and every row
says so; the recipe of `full` does it with the real ones.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lib.measure import process
from lib.studies import learning, origins

if TYPE_CHECKING:
    import pandas as pd

    from lib.results import Run
    from lib.studies.learning import Learned
    from lib.systems.tortoise.network import DecoderConfig

log = logging.getLogger(__name__)

VARIANT = "published-training"
METHODS = ("guidance", "halving")  # the two kinds of rungs of the published ladder


def measure(run: Run, method: str, *, steps: int = 3, batch_size: int = 1, threads: int = 2) -> Learned:
    """`steps` training steps of a student of the published size; rows of the variant "published-training-<method>"."""
    log.info("%d steps of %s on the published size, in a process of its own", steps, method)
    with tempfile.TemporaryDirectory() as folder:
        arguments = {"folder": folder, "method": method, "steps": steps, "batch_size": batch_size}
        done = process.call(
            "lib.studies.published_student:train_here",
            arguments | {"threads": threads},
            threads=threads,
            timeout_s=3600,
        )
    names = ("tortoise", f"{VARIANT}-{method}", done.value["target"])
    return learning.record(run, names, done, threads=threads, weights="random", batch=str(batch_size))


def train_here(
    folder: str, method: str, steps: int, batch_size: int, threads: int, sizes: Sequence[int] | None = None
) -> dict:
    """The fresh process's part; sizes: of a `DecoderConfig`, None for the published ones. Returns JSON."""
    import torch

    from lib.systems.tortoise.network import DecoderConfig, build
    from lib.training.recipe import Recipe, Settings
    from lib.training.tasks.tortoise_published_student import Config, StudentTask

    torch.set_num_threads(threads)
    config = DecoderConfig() if sizes is None else DecoderConfig(*sizes)
    settings = Settings(steps, batch_size=batch_size, validate_every=0, clip_norm=1.0, log_every=1, keep=1)
    base = build(config)
    voices = torch.randn(1, 2 * config.channels)
    walks = _noise(Path(folder) / "walks", config, Config.codes, batch_size)
    task = StudentTask(base, voices, walks, walks[:1], replace(Config(), method=method))
    return learning.metered(task, Recipe("tortoise-published-student", settings), Path(folder) / "run")


def finding(*tables: pd.DataFrame) -> str:
    """What a step takes, in a sentence. tables: rows; of each method the newest run's count."""
    import pandas as pd

    from lib import results

    rows, said = pd.concat(tables, ignore_index=True), []
    for method in METHODS:
        mine = rows[(rows.system == "tortoise") & (rows.variant == f"{VARIANT}-{method}") & rows.value.notna()]
        if mine.empty:
            continue
        mine = results.newest_run(mine)
        value = mine.drop_duplicates("metric", keep="last").set_index("metric").value
        where = ", ".join(filter(None, [mine.target.iloc[0], origins.stamp(mine)]))
        if {"train_steps_per_s", "peak_rss_mb"} <= set(value.index):
            said.append(
                f"a step of {method} takes {1 / value.train_steps_per_s:.3g} s and the training "
                f"{value.peak_rss_mb / 1000:.1f} GB of memory ({where})"
            )
    if not said:
        return (
            "What a training step of the published decoder costs has not been measured yet: "
            "`./run_all.sh study --only 05` does it."
        )
    return (
        f"Of the published decoder (292 million parameters; random weights, whose training means nothing) "
        f"{'; '.join(said)}. `params/full/recipes/tortoise-published-student.yaml` is the recipe with the real ones."
    )


def _noise(folder: Path, config: DecoderConfig, codes: int, count: int) -> list:
    """Walks that nobody drew."""
    import numpy as np

    from lib.systems.tortoise.published import frames_of
    from lib.training.tasks.published_walks import Walk

    folder.mkdir(parents=True)
    rng, made = np.random.default_rng(0), []
    for index in range(count):
        path = folder / f"{index}.npz"
        said = rng.standard_normal((codes, config.latent_channels)).astype(np.float16)
        mel = rng.uniform(-1, 1, (config.in_channels, frames_of(codes))).astype(np.float16)
        np.savez(path, said=said, mel=mel)
        made.append(Walk(str(index), path, codes, 0))
    return made
