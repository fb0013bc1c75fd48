"""How fast does a system learn here, and what does it cost? A recipe's steps in a process of their own.

Beside the loop's rates it times the forward and backward passes of the same batches alone: what the loop adds
to them (loading, optimizer, averages, records) is the price of its comforts.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.measure import process

if TYPE_CHECKING:
    import pandas as pd

    from lib.results import Run

log = logging.getLogger(__name__)

VARIANT = "training"
PURE_STEPS = (
    16  # batches, of the epoch that the loop begins with, whose forward and backward passes are timed alone
)


@dataclass(frozen=True)
class Learned:
    """metrics: rows by name; curve: the loop's records; overhead: seconds per step of the loop over those of
    its forward and backward passes alone; wait_pct: share of the time that the loop waited for data.
    """

    metrics: dict[str, float]
    curve: list[dict]
    overhead: float
    wait_pct: float
    steps: int
    kind: str  # of the energy figures
    source: str


def measure(
    run: "Run", recipe_file: str | Path, *, precision: str = "", threads: int = 2, target: str = "torch/cpu"
) -> Learned:
    """Train by a recipe from its beginning, in a fresh process and a folder thrown away; its rows have the
    variant "training".

    precision: instead of the recipe's, of `training.recipe.PRECISIONS`; it is part of the variant then:
    "training-bf16".
    """
    log.info("training by %s in a process of its own", recipe_file)
    with tempfile.TemporaryDirectory() as folder:
        arguments = {
            "recipe_file": str(recipe_file),
            "folder": folder,
            "threads": threads,
            "precision": precision,
        }
        done = process.call("lib.studies.learning:train_here", arguments, threads=threads, timeout_s=3600)
    value = done.value
    learned = Learned(
        value["metrics"] | {"peak_rss_mb": done.peak_rss_mb},
        value["curve"],
        value["overhead"],
        value["wait_pct"],
        value["steps"],
        value["kind"],
        value["source"],
    )
    names = (value["task"], f"{VARIANT}-{precision}" if precision else VARIANT, target)
    detail = {
        "steps": learned.steps,
        "threads": threads,
        "loop_over_forward_backward": round(learned.overhead, 3),
        "waiting_for_data_pct": round(learned.wait_pct, 2),
    }
    for metric, number in learned.metrics.items():
        energy = metric in ("power_w", "utilization_pct")
        run.add(
            *names,
            metric,
            number,
            kind=learned.kind if metric == "power_w" else "measured",
            source=learned.source if energy else "the training loop's own clock",
            detail=detail,
        )
    return learned


def train_here(recipe_file: str, folder: str, threads: int, precision: str = "") -> dict:
    """The fresh process's part: train, meter, time the bare passes. Returns JSON."""
    import torch

    from lib.measure.energy import EnergyMeter
    from lib.training import loop, recipe, tasks

    torch.set_num_threads(threads)
    chosen = recipe.load(recipe_file)
    if precision:
        chosen = dataclasses.replace(chosen, training=dataclasses.replace(chosen.training, precision=precision))
    task = tasks.build(chosen)
    with EnergyMeter("cuda" if torch.cuda.is_available() else "cpu") as meter:
        outcome = loop.train(task, chosen, folder)
    bare = bare_step_s(task, chosen.training.batch_size, outcome.step)
    curve = [
        json.loads(line) for line in (Path(folder) / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    energy = asdict(meter.energy)
    metrics = outcome.metrics | {"power_w": energy["watts"], "utilization_pct": energy["utilization_pct"]}
    rate = outcome.rates.get("steps_per_s", float("nan"))
    return {
        "task": chosen.task,
        "metrics": metrics,
        "curve": curve,
        "overhead": 1 / (rate * bare),
        "steps": outcome.step,
        "wait_pct": outcome.rates.get("wait_pct", float("nan")),
        "kind": energy["kind"],
        "source": energy["source"],
    }


def bare_step_s(task, batch_size: int, step: int, *, seed: int = 0) -> float:
    """Mean seconds of the forward and backward passes of the first epoch's batches, without data loading,
    optimizer and records.

    A mean, as the loop's rate is one: batches differ in length.
    """
    import numpy as np

    from lib.training.data import Sampler

    batches = Sampler(task.lengths, batch_size, seed).epoch(0)
    device = next(next(iter(task.modules.values())).parameters()).device
    seconds = []
    for items in [batches[0], *batches[:PURE_STEPS]]:  # the first one warms up
        batch = task.collate([task.item(i, np.random.default_rng(i)) for i in items]).to(device)
        begin = time.perf_counter()
        for update in task.updates(batch, step):
            update.loss.backward(
                inputs=[
                    p for name in update.optimizers for p in task.modules[name].parameters() if p.requires_grad
                ]
            )
        seconds.append(time.perf_counter() - begin)
        for module in task.modules.values():
            module.zero_grad()
    return statistics.fmean(seconds[1:])


def scale(
    run: "Run", recipe_file: str | Path, *, rounds: int, processes: int = 2, target: str = "torch/cpu"
) -> None:
    """A row: frames/s of `processes` processes of one thread under torchrun, over as many times those of one
    (`lib.training.scaling`).
    """
    from lib.training import recipe, scaling

    log.info("training by %s on one process and on %d, %d times each", recipe_file, processes, rounds)
    found = scaling.measure(recipe_file, processes, rounds=rounds)
    one, many = found.frames_per_s
    run.add(
        recipe.load(recipe_file).task,
        VARIANT,
        target,
        "scaling_efficiency",
        found.efficiency,
        n=rounds,
        source="the training loop's own clock, median of the rounds",
        detail={
            "processes": processes,
            "threads_per_process": found.threads_per_process,
            "frames_per_s": [round(one), round(many)],
        },
    )


def scaled(table: "pd.DataFrame") -> str:
    """What the rows of `scale` in a table say, a sentence each; "" without any."""
    rows = table[(table.metric == "scaling_efficiency") & (table.variant == VARIANT) & table.value.notna()]
    said = []
    rows = rows.sort_values("time", kind="stable").drop_duplicates(["system", "target", "host"], keep="last")
    for row in rows.itertuples():
        detail = json.loads(row.detail)
        one, many = detail["frames_per_s"]
        said.append(
            f"{row.system}{f' on {row.host}' if rows.host.nunique() > 1 else ''}: {detail['processes']} processes make {many:,} frames/s, one makes {one:,}: {many / one:.2f} times as "
            f"many, an efficiency of {row.value:.2f}."
        )
    return " ".join(said)


def sooner(learned: Learned, other: Learned, name: str, other_name: str) -> str:
    """How many times the frames of another training of the same recipe, where its loss stands, and its memory,
    in a sentence.
    """
    frames, loss, memory = (
        [x.metrics[metric] for x in (learned, other)]
        for metric in ("train_frames_per_s", "train_loss", "peak_rss_mb")
    )
    return (
        f"{name} learns from {frames[0] / frames[1]:.2f} times as many frames a second as {other_name}, its loss after "
        f"{learned.steps} steps is {loss[0]:.3f} (that of {other_name} {loss[1]:.3f} after {other.steps}), its peak memory "
        f"{memory[0]:,.0f} MB ({memory[1]:,.0f})."
    )


def histories(names: Sequence[str]) -> "pd.DataFrame":
    """What the checkpoints of `lib.zoo` took to train, from their learning curves: one line each."""
    import pandas as pd

    from lib import zoo

    lines = {}
    for name in names:
        curve = zoo.curve(name)
        last = [record for record in curve if "seconds" in record][-1]
        judged = [record for record in curve if "validation" in record][-1]["validation"]
        watched = next(iter(judged))
        lines[name] = {
            "steps": f"{last['step']:,}",
            "hours": f"{last['seconds'] / 3600:.1f}",
            "steps/s": f"{last['steps_per_s']:.2f}",
            "frames/s": f"{last['frames_per_s']:,.0f}",
            "peak memory, MB": f"{last['peak_rss_mb']:,.0f}",
            "last validation": f"{watched} {judged[watched]:.3f}",
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def verdict(learned: Learned, name: str) -> str:
    """What the figures say, in a sentence."""
    share = 100 * (1 - 1 / learned.overhead) if learned.overhead > 1 else 0.0
    steps, frames = learned.metrics["train_steps_per_s"], learned.metrics["train_frames_per_s"]
    return (
        f"{name} makes {steps:.2f} steps/s ({frames:,.0f} frames/s); a step takes "
        f"{learned.overhead:.2f} times its forward and backward passes, and {learned.wait_pct:.1f} % of the time goes into waiting "
        f"for data: {share:.0f} % of a step is the loop's own work."
    )
