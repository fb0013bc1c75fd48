"""torch.compile: the network as one program of fused loops, compiled when it first runs."""

from __future__ import annotations

from lib.deploy import torch_modules
from lib.deploy.job import Job, Loaded

READS = ("network.pt",)
PRECISIONS = ("fp32", "bf16")
CUDA_PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8")


def load(job: Job) -> Loaded:
    """Compiled for these shapes alone, as a bucket allows."""
    import torch

    network, inputs, detail = torch_modules.opened(job)
    compiled = torch.compile(network, dynamic=False)
    return Loaded(torch_modules.runner(compiled, inputs, job), detail=detail)
