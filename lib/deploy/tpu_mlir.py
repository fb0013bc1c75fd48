"""Sophgo's TPUs without a card: how long does the vendor's compiler expect a graph to take, and what would come out?

tpu-mlir is the compiler, whose timeline holds the cycles of every layer and transfer at the clock of the chip, and a
model of its arithmetic, which takes minutes for a second of speech. fp16; or 8-bit weights and activations, scaled by
the largest value that the calibration saw. Its tools are programs of their own: `tpu_mlir_tools` says what they need.
"""

from __future__ import annotations

import collections
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from lib import REPOSITORY
from lib.deploy.job import Arrays, Job, Loaded, ended, save_arrays

READS = ("npu.onnx",)
PRECISIONS = ("fp16", "int8")
REFUSES = ("a16w8",)  # its compiler has no such mode, and lists those that it has
EMULATES = True  # the model of the arithmetic counts bits: a second of speech takes it minutes
MODES = {"fp16": "F16", "int8": "INT8", "a16w8": "A16W8"}
IR_VERSION = 9  # of an ONNX file: the newest that the toolchain's onnx and onnxruntime read
GLIBC = ("libc.so.6", "libm.so.6", "libpthread.so.0")
# What the compiler writes beside layers: loads, stores, groups of layers, ends of groups, changes of type at the ends.
NO_LAYERS = ("Load", "Store", "Group", "Yield", "Cast")

# Lines of a log that tell what runs, or where something crashed; what a C++ exception says is indented, too.
ASIDE = re.compile(
    r"\s+(?!\s|what\(\))|\d+\.\s|\[(Running|Success)\]|.*\[!Error\]|.*\btpuc-opt .*--|.* - (INFO|WARNING) :"
    r"|Traceback|PLEASE submit|Stack dump|Aborted|Segmentation"
)
ERROR = re.compile(r"[Ee]rror|Assertion|what\(\)|invalid choice")


def load(job: Job) -> Loaded:
    """Translated, quantized, compiled for the chip."""
    import onnx

    folder = job.work()
    graph = onnx.load(job.form("npu.onnx"))
    names = [end.name for end in graph.graph.input]
    graph.ir_version = min(graph.ir_version, IR_VERSION)
    onnx.save(graph, folder / "stage.onnx")
    _tool(job, "model_transform", "--model_name", "stage", "--model_def", "stage.onnx", "--mlir", "stage.mlir")
    given = ["--mlir", "stage.mlir", "--quantize", MODES[job.precision], "--processor", job.device]
    if job.precision == "int8":
        for number, arrays in enumerate(job.calibration()):
            save_arrays(folder / f"calibration-{number:02d}.npz", arrays)
        _tool(job, "calibrate")
        given += ["--calibration_table", "scales.txt"]
        if (folder / "wider.txt").read_text().strip():
            given += ["--quantize_table", "wider.txt"]
    _tool(job, "model_deploy", *given, "--model", "stage.bmodel")

    def run(inputs) -> Arrays:
        np.savez(folder / "inputs.npz", **dict(zip(names, inputs)))
        _tool(job, "model_runner", "--input", "inputs.npz", "--model", "stage.bmodel", "--output", "made.npz")
        with np.load(folder / "made.npz") as made:
            return [made[name] for name in made.files]

    placed, left = layers(next(folder.glob("stage_*_final.mlir")).read_text())
    total = placed + sum(left.values())
    cycles, seconds = timeline((folder / "compiler_profile_0.txt").read_text())
    figures = {"npu_ops_pct": 100 * placed / total, "cycles": cycles, "latency_ms_p50": 1000 * seconds}
    return Loaded(run, figures, {"left": left, "operators": total})


def timeline(profile: str) -> tuple[int, float]:
    """(cycles, seconds) of the whole, by the compiler's timeline."""
    cycles, ms = re.search(r"TCYC : (\d+)", profile), re.search(r"runtime: ([\d.]+)ms", profile)
    if not cycles or not ms:
        raise RuntimeError("the compiler wrote no timeline")
    return int(cycles[1]), float(ms[1]) / 1000


def layers(final: str) -> tuple[int, dict[str, int]]:
    """Of a compiled graph: operators on the TPU, and those of the functions that the host computes, by type."""
    placed, left, on_tpu = 0, collections.Counter(), True
    for line in final.splitlines():
        if mode := re.search(r"func\.func @subfunc.*run_mode (\w+)>", line):
            on_tpu = mode[1].startswith("TPU")
        elif (kind := re.search(r'^\s+(?:%\S+ = )?"tpu\.(\w+)"', line)) and kind[1] not in NO_LAYERS:
            placed, left[kind[1]] = placed + on_tpu, left[kind[1]] + (not on_tpu)
    return placed, {kind: n for kind, n in left.most_common() if n}


def _tool(job: Job, *arguments: str) -> None:
    """Run one of the vendor's tools, or one of ours with its libraries, in the folder of the job."""
    command = [sys.executable, "-m", "lib.deploy.tpu_mlir_tools", *arguments]
    done = subprocess.run(
        command, cwd=job.work(), env=_environment(job), capture_output=True, text=True, errors="replace"
    )
    said = done.stdout + done.stderr
    (job.work() / f"{arguments[0]}.log").write_text(said)
    if done.returncode:
        raise ended(done.returncode)(f"{arguments[0]} ended with code {done.returncode}: {words(said)[:300]}")


def words(said: str) -> str:
    """Why a tool failed, in its own words: the last line that names an error, or else the last that says anything.

    What it ends with is mostly the command that failed and where; the compiler has said before why.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip() and not ASIDE.match(line)]
    for before, line in reversed(list(zip(["", *lines], lines))):
        if "UNREACHABLE" in line:  # the reason stands above it
            return f"{before} {line}".strip()
        if ERROR.search(line):
            return line
    return lines[-1] if lines else (said.strip().splitlines() or ["it said nothing"])[-1]


def _environment(job: Job) -> dict[str, str]:
    """That of this process, its libraries before all others.

    The package brings the C library of Ubuntu 22.04 among them, which the loader of another system cannot start: this
    machine's own goes before it.
    """
    root = Path(importlib.util.find_spec("tpu_mlir").submodule_search_locations[0], "lib")
    own = job.work("libraries")
    mapped = Path("/proc/self/maps").read_text()
    system = Path(re.search(r"\S+/libc\.so\.6$", mapped, re.M)[0]).parent
    for name in GLIBC:
        if not (own / name).is_symlink():
            (own / name).symlink_to(system / name)
    libraries = [own, root, root / "capi", root / "third_party"]
    return os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)), "PYTHONPATH": str(REPOSITORY)}
