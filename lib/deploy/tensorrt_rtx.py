"""TensorRT-RTX: engines built anywhere, finished on the user's GPU when they are first run."""

from __future__ import annotations

from lib.deploy import tensorrt
from lib.deploy.job import Job, Loaded

READS, READS_AS = tensorrt.READS, tensorrt.READS_AS
PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")


def load(job: Job) -> Loaded:
    """Through the same calls as TensorRT."""
    import tensorrt_rtx

    return tensorrt.built(tensorrt_rtx, job)


def build(job: Job) -> dict[str, float]:
    """What an engine takes on a machine without a GPU: the graph is read, and all of it has kernels."""
    import tensorrt_rtx

    return tensorrt.built_alone(tensorrt_rtx, job)
