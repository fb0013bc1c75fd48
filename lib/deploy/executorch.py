"""ExecuTorch with XNNPACK: PyTorch's own runtime for phones, on this processor."""

from __future__ import annotations

from lib.deploy.job import Job, Loaded

READS = ("npu.pt2",)
PRECISIONS = ("fp32",)


def load(job: Job) -> Loaded:
    """Compiled ahead of time into one file, run by the runtime that phones have."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.runtime import Runtime

    torch.set_num_threads(job.threads)
    program = torch.export.load(job.form("npu.pt2"))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path = job.work() / "stage.pte"
    path.write_bytes(lowered.to_executorch().buffer)
    method = Runtime.get().load_program(path).load_method("forward")

    def run(inputs):
        return [t.float().numpy().copy() for t in method.execute([torch.from_numpy(a) for a in inputs])]

    return Loaded(run)
