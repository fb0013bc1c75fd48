"""ExecuTorch with XNNPACK: PyTorch's own runtime for phones, on this processor."""

from __future__ import annotations

from pathlib import Path

from lib.deploy.job import Job, Loaded

READS = ("npu.pt2",)
PRECISIONS = ("fp32",)


def load(job: Job) -> Loaded:
    """Compiled ahead of time into one file, run by the runtime that phones have."""
    import torch
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    torch.set_num_threads(job.threads)
    portable_lib._unsafe_reset_threadpool(
        job.threads
    )  # its own, one for each core; safe before anything has run
    method = Runtime.get().load_program(_lowered(job)).load_method("forward")

    def run(inputs):
        return [t.float().numpy().copy() for t in method.execute([torch.from_numpy(a) for a in inputs])]

    return Loaded(run, detail={"threads_found": portable_lib._threadpool_get_thread_count()})


def _lowered(job: Job) -> Path:
    """The file, made once."""
    path = job.made("stage.pte")
    if not path.exists():
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.load(job.form("npu.pt2"))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        whole = job.work() / "stage.pte"
        whole.write_bytes(lowered.to_executorch().buffer)
        whole.replace(path)
    return path
