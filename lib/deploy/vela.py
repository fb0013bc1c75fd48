"""Arm Ethos-U without the device: which operators does it take, how many cycles does the vendor's compiler expect, and
what would come out?

Numbers come from TFLite's integer kernels, which the NPU follows bit by bit; cycles, memory and bandwidth from Vela,
whose model counts neither the processor's share nor energy.
"""

from __future__ import annotations

import collections
import csv
import re
import subprocess
import sys
from pathlib import Path

from lib.deploy import tflite
from lib.deploy.job import Job, Loaded

READS = ("npu.pt2",)
PRECISIONS = ("int8",)


def load(job: Job) -> Loaded:
    """Quantize, compile for the configuration, and keep the integer kernels."""
    model = tflite.quantized(job)
    said = _compiled(model, job)
    summary = _summary(job.work())
    placed, host, left = _placed(said)
    figures = {"npu_ops_pct": 100 * placed / (placed + host)}
    if placed:
        figures |= {"cycles": summary["cycles_total"], "latency_ms_p50": 1000 * summary["inference_time"]}
    kept = {
        name: value for name, value in summary.items() if re.search("memory|bandwidth|clock|total_bytes", name)
    }
    detail = {"left": left, "operators": placed + host, "model": kept}
    return Loaded(tflite.runner(model), figures, detail)


def _compiled(model: Path, job: Job) -> str:
    command = [
        str(Path(sys.executable).with_name("vela")),
        str(model),
        f"--accelerator-config={job.device}",
        "--config=Arm/vela.ini",
        f"--system-config={job.settings['system']}",
        f"--memory-mode={job.settings['memory']}",
        "--show-cpu-operations",
        "--verbose-performance",
        f"--output-dir={job.work()}",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    (job.work() / "vela.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        last = ([line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["no message"])[
            -1
        ]
        raise RuntimeError(f"Vela ended with code {done.returncode}: {last}")
    return done.stdout


def _summary(folder: Path) -> dict[str, float]:
    """Vela's table of one line, its numbers."""
    (path,) = folder.glob("*summary*.csv")
    with path.open(newline="") as file:
        (row,) = csv.DictReader(file)
    numbers = {}
    for name, value in row.items():
        try:
            numbers[name] = float(value)
        except (TypeError, ValueError):
            continue
    return numbers


def _placed(said: str) -> tuple[int, int, dict[str, int]]:
    """Operators on the NPU, on the processor, and the latter by type."""
    counted = {name: int(n) for name, n in re.findall(r"^(CPU|NPU) operators = (\d+)", said, re.M)}
    left = collections.Counter(re.findall(r"^\s*CPU: (\w+) = ", said, re.M))
    return counted.get("NPU", 0), counted.get("CPU", 0), dict(left.most_common())
