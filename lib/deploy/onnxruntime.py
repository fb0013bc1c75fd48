"""ONNX Runtime on a processor or an NVIDIA GPU; in 8 bit with scales set beforehand for what gains by it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.deploy.job import Job, Loaded

if TYPE_CHECKING:
    import numpy as np

READS = ("plain.onnx",)
READS_AS = {"fp16": ("fp16.onnx",)}
PRECISIONS = ("fp32", "int8")
CUDA_PRECISIONS = ("fp32", "tf32", "fp16", "int8")


def load(job: Job) -> Loaded:
    """int8: convolutions and products as QDQ, u8 x s8, one scale for each output channel of the weights."""
    from lib.graphs import session

    form = job.form("fp16.onnx" if job.precision == "fp16" else "plain.onnx")
    graph = quantized(job) if job.precision == "int8" else form.read_bytes()
    if job.device == "cuda":
        opened = session.on_gpu(graph, tf32=job.precision == "tf32")
    else:
        opened = session.open(graph, job.threads, spinning=True)
    names = [end.name for end in opened.get_inputs()]
    return Loaded(lambda inputs: opened.run(None, dict(zip(names, inputs))))


def quantized(job: Job, *, symmetric: bool = False) -> bytes:
    """The graph in 8 bit, made once for all runtimes that read it. symmetric: as GPUs want it, s8 x s8 with every zero
    at 0 and biases in single precision.
    """
    from pathlib import Path

    from lib.files import write_atomic
    from lib.optimize import quantize_graphs

    path = Path(job.folder) / ("int8-symmetric.onnx" if symmetric else "int8.onnx")
    if not path.exists():
        graph, seen = calibrated(job)
        kinds = ("Conv", "MatMul", "Gemm")
        chosen = [name for name, kind in quantize_graphs.known(graph, kinds).items() if kind in kinds]
        form = {"activations": "int8", "symmetric": True, "biases": False} if symmetric else {}
        write_atomic(path, quantize_graphs.static(graph, chosen, seen, **form))
    return path.read_bytes()


def calibrated(job: Job) -> tuple[bytes, list[dict[str, np.ndarray]]]:
    """The graph in single precision, and what it sees on its calibration inputs, by the inputs' names."""
    from lib.graphs import session

    graph = job.form("plain.onnx").read_bytes()
    names = [end.name for end in session.open(graph, 1).get_inputs()]
    return graph, [dict(zip(names, arrays)) for arrays in job.calibration()]
