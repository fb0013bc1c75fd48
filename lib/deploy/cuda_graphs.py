"""CUDA graphs: all kernels of a run recorded once and started with one call, where starting them takes the time."""

from __future__ import annotations

from lib.deploy import torch_modules
from lib.deploy.job import Arrays, Job, Loaded
from lib.systems import quicker

READS = ("network.pt",)
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "fp8")


def load(job: Job) -> Loaded:
    """Recorded on buffers of its own; inputs are copied into them, outputs out of them."""
    import torch

    network, buffers, detail = torch_modules.opened(job)
    with torch.inference_mode(), torch_modules.precise(job, cached=False):
        graph, made = quicker.recorded(lambda: network(*buffers))
    outputs = made if isinstance(made, (tuple, list)) else (made,)

    def run(arrays) -> Arrays:
        for buffer, array in zip(buffers, arrays):
            buffer.copy_(torch.from_numpy(array))
        graph.replay()
        return [t.float().cpu().numpy() for t in outputs]

    return Loaded(run, detail=detail)
