"""AWS Inferentia: the network traced by torch-neuronx, on an instance that has the chip."""

from __future__ import annotations

from lib.deploy import torch_modules
from lib.deploy.job import Arrays, Job, Loaded

READS = ("network.pt",)
PRECISIONS = ("fp32", "bf16")


def load(job: Job) -> Loaded:
    """Compiled for these shapes; bf16: the compiler casts products by itself."""
    import torch
    import torch_neuronx

    path = job.made(f"neuron-{job.precision}.pt")  # the compiler takes minutes
    if not path.exists():
        network = torch.load(job.form("network.pt"), weights_only=False).eval()
        inputs = torch_modules.on_device(job.inputs(), "cpu")
        casts = ["--auto-cast", "matmult" if job.precision == "bf16" else "none"]
        torch.jit.save(torch_neuronx.trace(network, tuple(inputs), compiler_args=casts), path)
    traced = torch.jit.load(path)

    def run(arrays) -> Arrays:
        made = traced(*torch_modules.on_device(arrays, "cpu"))
        return [t.float().numpy() for t in (made if isinstance(made, (tuple, list)) else (made,))]

    return Loaded(run)
