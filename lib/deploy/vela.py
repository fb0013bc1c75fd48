"""Arm Ethos-U without the device: which operators does it take, how many cycles does the vendor's compiler expect, and
what would come out?

Numbers come from TFLite's integer kernels, which the NPU follows bit by bit; cycles, memory and bandwidth from Vela,
whose model counts neither the processor's share nor energy. Vela times what it compiled even where that needs more SRAM
than any device has: such a graph does not fit, and is not run.
"""

from __future__ import annotations

import collections
import csv
import re
import subprocess
import sys
from pathlib import Path

from lib.deploy import tflite
from lib.deploy.job import Job, Loaded, ended

READS = ("npu.pt2",)
PRECISIONS = ("int8", "a16w8")
NO_ROOM = "does not fit"  # by which the rows of a graph that was refused are known again


def load(job: Job) -> Loaded:
    """Quantize, compile for the configuration, and keep the integer kernels."""
    model = tflite.quantized(job)
    said = _compiled(model, job)
    summary = _summary(job.work())
    if why := does_not_fit(summary.get("sram_memory_used"), job.settings.get("sram_kib")):
        raise RuntimeError(why)
    placed, host, left = _placed(said)
    figures = {"npu_ops_pct": 100 * placed / (placed + host)}
    if placed:
        figures |= {"cycles": summary["cycles_total"], "latency_ms_p50": 1000 * summary["inference_time"]}
    kept = {
        name: value for name, value in summary.items() if re.search("memory|bandwidth|clock|total_bytes", name)
    }
    detail = {"left": left, "operators": placed + host, "model": kept}
    return Loaded(tflite.runner(model), figures, detail)


def does_not_fit(used_kib: float | None, sram_kib: float | None) -> str:
    """Why a graph does not fit into the SRAM that its target has, in words; "" where it does, or nothing is known."""
    if not used_kib or not sram_kib or used_kib <= sram_kib:
        return ""
    return f"{NO_ROOM}: it needs {used_kib:,.0f} KiB of SRAM, the device has {sram_kib:,.0f}"


def _compiled(model: Path, job: Job) -> str:
    command = [
        str(Path(sys.executable).with_name("vela")),
        str(model),
        f"--accelerator-config={job.device}",
        "--config=Arm/vela.ini",
        f"--system-config={job.settings['system']}",
        f"--memory-mode={job.settings['memory']}",
        f"--arena-cache-size={1024 * job.settings['sram_kib']}",  # what it plans for; not what it keeps to
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
        raise ended(done.returncode)(f"Vela ended with code {done.returncode}: {last}")
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
