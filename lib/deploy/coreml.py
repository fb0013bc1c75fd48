"""Apple's Neural Engine by way of Core ML: converts anywhere, predicts on macOS alone."""

from __future__ import annotations

import numpy as np

from lib.deploy.job import Job, Loaded

READS = ("npu.pt2",)
PRECISIONS = ("fp16",)


def load(job: Job) -> Loaded:
    """As an ML program in half precision, which is what the engine computes in."""
    import coremltools
    import torch

    program = torch.export.load(job.form("npu.pt2")).run_decompositions({})
    model = coremltools.convert(program, compute_units=coremltools.ComputeUnit.CPU_AND_NE)
    names = [end.name for end in model.get_spec().description.input]

    def run(inputs):
        return [np.asarray(v) for v in model.predict(dict(zip(names, inputs))).values()]

    return Loaded(run)
