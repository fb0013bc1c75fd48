"""What do all targets share that run the module itself in PyTorch?"""

from __future__ import annotations

import contextlib

from lib.deploy.job import Arrays, Job


def opened(job: Job):
    """(network on its device, inputs there, what is to be said of it), threads and TF32 set. precision "tf32" allows
    it, "fp32" does not; "fp8" replaces layers (`fp8_layers`), and RuntimeError says why it cannot.
    """
    import torch

    torch.set_num_threads(job.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job.precision == "tf32"
    network = torch.load(job.form("network.pt"), weights_only=False).eval().to(job.device)
    if job.precision == "fp16" and job.device == "cpu":
        raise RuntimeError("no processor here computes faster in fp16")
    detail = {}
    if job.precision == "fp8":
        from lib.deploy import fp8_layers

        with precise(job):
            detail = fp8_layers.replace(network, [on_device(arrays, job.device) for arrays in job.calibration()])
    return network, on_device(job.inputs(), job.device), detail


def on_device(inputs: Arrays, device: str):
    import torch

    return [torch.from_numpy(array).to(device) for array in inputs]


def precise(job: Job, *, cached: bool = True):
    """The context in which a job computes. cached: whether autocast keeps weights in half precision until it ends; what
    is recorded within must not, for their memory goes with the context and the recording would read it after.
    """
    import torch

    types = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}
    if job.precision in types:
        return torch.autocast(job.device, dtype=types[job.precision], cache_enabled=cached)
    return contextlib.nullcontext()


def runner(network, inputs, job: Job):
    """inputs -> outputs on the host."""
    import torch

    def run(arrays) -> Arrays:
        with torch.inference_mode(), precise(job):
            made = network(*on_device(arrays, job.device))
        return [t.float().cpu().numpy() for t in (made if isinstance(made, (tuple, list)) else (made,))]

    return run
