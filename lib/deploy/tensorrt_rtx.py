"""TensorRT-RTX: engines built anywhere, finished on the user's GPU when they are first run."""

from __future__ import annotations

from lib.deploy import tensorrt
from lib.deploy.job import Job, Loaded

READS = ("plain.onnx",)
PRECISIONS = ("fp32",)


def load(job: Job) -> Loaded:
    """Through the same calls as TensorRT."""
    import tensorrt_rtx

    return tensorrt.built(tensorrt_rtx, job)
