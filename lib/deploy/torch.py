"""PyTorch as it is, operator by operator: what every other target is compared with."""

from __future__ import annotations

from lib.deploy import torch_modules
from lib.deploy.job import Job, Loaded

READS = ("network.pt",)
PRECISIONS = ("fp32", "bf16")
CUDA_PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8")


def load(job: Job) -> Loaded:
    """The network itself; bf16: under autocast, which leaves to single precision what needs it."""
    network, inputs, detail = torch_modules.opened(job)
    return Loaded(torch_modules.runner(network, inputs, job), detail=detail)
