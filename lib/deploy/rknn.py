"""Rockchip's NPUs without a board: what does the vendor's compiler place, and what would come out?

rknn-toolkit2 holds the compiler and a simulator of the arithmetic, in half precision and with 8-bit weights and
activations (a scale for each channel of a weight). Its compiler lists every layer with the processor it goes to, but
counts the cycles of convolutions alone: they stand in the detail, and there is no latency of the whole without a board.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lib.deploy.job import Job, Loaded

READS = ("npu.onnx",)
PRECISIONS = ("fp16", "int8")
REFUSES = ("a16w8",)  # the toolkit has a word for it, which the compiler takes for other chips alone
DTYPES = {"int8": "w8a8", "a16w8": "w8a16"}
NO_LAYERS = ("InputOperator", "OutputOperator")


def load(job: Job) -> Loaded:
    """Compiled for the SoC, opened in the simulator."""
    from rknn.api import RKNN

    log, graph = job.work() / "rknn.log", _graph(job)
    with _heard(log):
        rknn = RKNN(verbose=True)
        _done(
            rknn.config(target_platform=job.device, quantized_dtype=DTYPES.get(job.precision, "w8a8")),
            "config",
            log,
        )
        _done(rknn.load_onnx(str(graph)), "load_onnx", log)
        data = str(_data(job)) if job.precision in DTYPES else None
        _done(rknn.build(do_quantization=data is not None, dataset=data), "build", log)
        _done(rknn.init_runtime(), "init_runtime", log)

    def run(inputs):
        # Its own order is that of images, for whatever has four dimensions.
        return rknn.inference(list(inputs), data_format=["nchw"] * len(inputs))

    placed, left, cycles = layers(log.read_text(errors="replace"))
    total = placed + sum(left.values())
    figures = {"npu_ops_pct": 100 * placed / total} if total else {}
    return Loaded(run, figures, {"left": left, "operators": total, "cycles_of_convolutions": cycles})


def layers(said: str) -> tuple[int, dict[str, int], int]:
    """Of the compiler's table: layers on the NPU, others by type, and the cycles that it counts."""
    row = re.compile(r"\] +\d+ +(\w+) +\w+ +(NPU|CPU|GPU) .* \d+/\d+/(\d+) ")
    found = [match.groups() for match in map(row.search, said.splitlines()) if match]
    found = [one for one in found if one[0] not in NO_LAYERS]
    left = collections.Counter(kind for kind, where, _ in found if where != "NPU")
    return len(found) - left.total(), dict(left.most_common()), sum(int(cycles) for *_, cycles in found)


def _done(code: int, step: str, log: Path) -> None:
    if code:
        errors = re.findall(r"^E .*|.*ERROR.*|.*Error: .*", log.read_text(errors="replace"), re.M)
        raise RuntimeError(f"{step} failed: {errors[-1].strip() if errors else 'it said nothing'}")


def _graph(job: Job) -> Path:
    """The graph without what the toolkit's older operator sets have no name for: the usual layout of an LSTM."""
    import onnx

    model, path = onnx.load(job.form("npu.onnx")), job.work() / "stage.onnx"
    for node in model.graph.node:
        usual = [one for one in node.attribute if one.name == "layout" and not one.i]
        for attribute in usual if node.op_type == "LSTM" else []:
            node.attribute.remove(attribute)
    onnx.save(model, path)
    return path


def _data(job: Job) -> Path:
    """The list of inputs that scales are set on: a line each, a file for each of its arrays."""
    folder, lines = job.work("calibration"), []
    for number, arrays in enumerate(job.calibration()):
        paths = [folder / f"{number:02d}-{place}.npy" for place in range(len(arrays))]
        for path, array in zip(paths, arrays):
            np.save(path, array)
        lines.append(" ".join(map(str, paths)))
    listed = folder / "list.txt"
    listed.write_text("\n".join(lines) + "\n")
    return listed


@contextlib.contextmanager
def _heard(log: Path) -> Iterator[None]:
    """What the compiler prints, its C++ part too, goes into a file: the table of layers stands nowhere else."""
    kept = [os.dup(1), os.dup(2)]
    with log.open("wb") as file:
        for end in (1, 2):
            os.dup2(file.fileno(), end)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for end, before in zip((1, 2), kept):
                os.dup2(before, end)
                os.close(before)
