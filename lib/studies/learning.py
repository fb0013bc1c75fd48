"""How fast does a system learn here, and what does it cost? A recipe's steps in a process of their own.

Where the time of a step goes (forward and backward passes, the optimizer, waiting for data, bookkeeping) is the
training loop's own account (`lib.training.speed`): what is not in the passes is the price of the loop's comforts.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.measure import process
from lib.measure.energy import utilization_source

if TYPE_CHECKING:
    import pandas as pd

    from lib.results import Run
    from lib.training.recipe import Recipe
    from lib.training.task import Task

log = logging.getLogger(__name__)

VARIANT = "training"


@dataclass(frozen=True)
class Learned:
    """What a training in a process of its own came to."""

    metrics: dict[str, float]  # the rows, by name
    curve: list[dict]  # the loop's records
    shares: dict[str, float]  # percent of the time in each of `speed.PHASES`; they add up to 100
    steps: int
    target: str  # where it ran: "torch/cpu", "torch/cuda-h100"


def measure(run: "Run", recipe_file: str | Path, *, precision: str = "", threads: int = 2) -> Learned:
    """Train by a recipe from its beginning, in a fresh process and a folder thrown away; its rows have the
    variant "training", and the target that the process found itself on.

    precision: instead of the recipe's, of `training.recipe.PRECISIONS`; it is part of the variant then:
    "training-bf16". Power that was metered for less than `bench_child.ENERGY_WINDOW_S` is not run: an estimate from CPU
    seconds needs no such time.
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
    names = (value["task"], f"{VARIANT}-{precision}" if precision else VARIANT, value["target"])
    return record(run, names, done, threads=threads)


def record(
    run: "Run", names: tuple[str, str, str], done: process.Finished, *, threads: int, **detail: str
) -> Learned:
    """The rows of what `train_here` answered, under (system, variant, target). detail: more of what stands in each."""
    from lib.measure.bench_child import ENERGY_WINDOW_S
    from lib.training.outcome import SOURCES

    value = done.value
    energy, metrics = value["energy"], value["metrics"] | {"peak_rss_mb": done.peak_rss_mb}
    detail = {
        "steps": value["steps"],
        "threads": threads,
        **detail,
        **value["settings"],
        **{f"{phase}_pct": round(share, 2) for phase, share in value["shares"].items()},
    }
    for metric, number in metrics.items():
        run.add(*names, metric, number, source=SOURCES[metric], detail=detail)
    if energy["kind"] == "measured" and energy["seconds"] < ENERGY_WINDOW_S:
        why = f"trained for {energy['seconds']:.1f} s, power is metered over at least {ENERGY_WINDOW_S:g} s"
        for metric in ("power_w", "utilization_pct"):
            run.add(*names, metric, None, kind="not_run", source=energy["source"], detail=why)
    else:
        metrics |= {"power_w": energy["watts"], "utilization_pct": energy["utilization_pct"]}
        power = detail | {"seconds": round(energy["seconds"], 1)}
        run.add(*names, "power_w", energy["watts"], kind=energy["kind"], source=energy["source"], detail=power)
        busy = utilization_source(energy["kind"], energy["source"])
        run.add(*names, "utilization_pct", energy["utilization_pct"], source=busy, detail=power)
    return Learned(metrics, value["curve"], value["shares"], value["steps"], value["target"])


def train_here(recipe_file: str, folder: str, threads: int, precision: str = "") -> dict:
    """The fresh process's part: train, with a power meter running. Returns JSON."""
    import torch

    from lib.training import recipe, tasks

    torch.set_num_threads(threads)
    chosen = recipe.load(recipe_file)
    if precision:
        chosen = dataclasses.replace(chosen, training=dataclasses.replace(chosen.training, precision=precision))
    return metered(tasks.build(chosen), chosen, folder)


def metered(task: "Task", chosen: "Recipe", folder: str | Path) -> dict:
    """Train in this process and say what it came to, as `record` reads it."""
    import torch

    from lib.measure.energy import EnergyMeter
    from lib.training import loop, speed

    with EnergyMeter("cuda" if torch.cuda.is_available() else "cpu") as meter:
        outcome = loop.train(task, chosen, folder)
    curve = [
        json.loads(line) for line in (Path(folder) / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return {
        "task": chosen.task,
        "target": outcome.target,
        "metrics": outcome.metrics,
        "curve": curve,
        "shares": {phase: outcome.rates.get(f"{phase}_pct", float("nan")) for phase in speed.PHASES},
        "settings": outcome.settings,
        "steps": outcome.step,
        "energy": asdict(meter.energy),
    }


def scale(run: "Run", recipe_file: str | Path, *, rounds: int, processes: int = 2) -> None:
    """A row: frames/s of `processes` processes of one thread under torchrun, over as many times those of one
    (`lib.training.scaling`).
    """
    from lib.training import recipe, scaling

    log.info("training by %s on one process and on %d, %d times each", recipe_file, processes, rounds)
    measured = scaling.measure(recipe_file, processes, rounds=rounds)
    one, many = measured.frames_per_s
    run.add(
        recipe.load(recipe_file).task,
        VARIANT,
        measured.target,
        "scaling_efficiency",
        measured.efficiency,
        n=rounds,
        source="the training loop's own clock, median of the rounds",
        detail={
            "processes": processes,
            "threads_per_process": measured.threads_per_process,
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
            f"{row.system}{f' on {row.host}' if rows.host.nunique() > 1 else ''}: {detail['processes']} "
            f"processes make {many:,} frames/s, one makes {one:,}: {many / one:.2f} times as "
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
        f"{learned.steps} steps is {loss[0]:.3f} (that of {other_name} {loss[1]:.3f} after {other.steps}), its "
        "peak memory "
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
    shares = learned.shares
    steps, frames = learned.metrics["train_steps_per_s"], learned.metrics["train_frames_per_s"]
    return (
        f"{name} makes {steps:.2f} steps/s ({frames:,.0f} frames/s). Of a step, {shares['forward']:.0f} % of "
        "the time goes "
        f"into the forward pass, {shares['backward']:.0f} % into the backward pass, {shares['optimizer']:.0f} "
        "% into the "
        f"optimizer, {shares['wait']:.1f} % into waiting for data and {shares['bookkeeping']:.1f} % into the "
        "loop's records."
    )
