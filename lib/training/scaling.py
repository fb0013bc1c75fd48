"""Do two processes train twice as fast as one? The same recipe with 1 and, under torchrun, with n processes of
as many threads.

Scaling efficiency = (frames/s of n processes) / (n * frames/s of one). The runs alternate, so that a busy
machine slows both alike; the median of the rounds counts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lib import REPOSITORY
from lib.errors import ParameterError, TrainingError


@dataclass(frozen=True)
class Scaling:
    """What several processes make of a recipe, against one."""

    processes: int
    threads_per_process: int
    frames_per_s: tuple[float, float]  # of one process, and of all of them together
    efficiency: float  # 1 is perfect
    target: str = "torch/cpu"  # where they ran


def measure(recipe: str | Path, processes: int = 2, *, threads: int = 1, rounds: int = 3) -> Scaling:
    """Train the recipe from its beginning `rounds` times each way, in folders that are thrown away.

    threads: of each process. The recipe's steps should last a minute or less. Raises TrainingError when a run fails.
    """
    if processes < 2 or rounds < 1:
        raise ParameterError(f"scaling compares one process with several: not {processes} in {rounds} rounds")
    rates: dict[int, list[float]] = {1: [], processes: []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for count in rates:
                rate, target = _run(Path(recipe), count, threads, Path(folder) / f"{number}-{count}")
                rates[count].append(rate)
    one, many = (statistics.median(rates[count]) for count in (1, processes))
    return Scaling(processes, threads, (one, many), many / (processes * one), target)


def _run(recipe: Path, processes: int, threads: int, out: Path) -> tuple[float, str]:
    """Frames/s of one run under torchrun, and where it ran."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [
        sys.executable,
        *(torchrun if processes > 1 else []),
        "-m",
        "lib.training",
        str(recipe.resolve()),
        "--out",
        str(out),
        "--threads",
        str(threads),
    ]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        lines = [
            line for line in done.stderr.splitlines() if line.startswith("training failed")
        ] or done.stderr.splitlines()[-1:]
        raise TrainingError(f"training {recipe.name} on {processes} processes failed: {' '.join(lines)}")
    outcome = json.loads((out / "outcome.json").read_text(encoding="utf-8"))
    if outcome["processes"] != processes:
        raise TrainingError(
            f"{recipe.name} trained on {outcome['processes']} processes where {processes} were started: torchrun's "
            "variables did not reach them"
        )
    rates = outcome["rates"]
    if not rates:
        raise ParameterError(
            f"{recipe.name} trains for a single step; the first one warms up, give it some more to be timed"
        )
    return rates["frames_per_s"], outcome["target"]
