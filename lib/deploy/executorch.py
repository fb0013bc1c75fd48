"""ExecuTorch with XNNPACK: PyTorch's own runtime for phones, on this processor.

int8 is quantized before it is compiled, by PyTorch's own tool (PT2E) as XNNPACK has kernels for it: weights with one
scale for each output channel and no zero, everything between layers with one scale and a zero for each tensor, all of
it set by what the stage sees on its calibration inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lib.deploy.job import Job, Loaded

if TYPE_CHECKING:
    import torch

READS = ("npu.pt2",)
PRECISIONS = ("fp32", "int8")


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
    path = job.made(f"stage-{job.precision}.pte")
    if not path.exists():
        import torch
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        program = torch.export.load(job.form("npu.pt2"))
        if job.precision == "int8":
            program = _quantized(program.module(), job)
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        whole = job.work() / path.name
        whole.write_bytes(lowered.to_executorch().buffer)
        whole.replace(path)
    return path


def _quantized(network: "torch.fx.GraphModule", job: Job) -> "torch.export.ExportedProgram":
    """What was exported, with scales set beforehand by its calibration inputs."""
    import torch
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    if not (seen := [tuple(map(torch.from_numpy, arrays)) for arrays in job.calibration()]):
        raise RuntimeError("fixed scales need inputs to be set by: build the stage with calibration texts")
    scheme = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    prepared = prepare_pt2e(network, _padding_too(xnnpack_quantizer.XNNPACKQuantizer)().set_global(scheme))
    with torch.no_grad():
        for inputs in seen:
            prepared(*inputs)
        return torch.export.export(convert_pt2e(prepared), seen[0])


def _padding_too(quantizer: type) -> type:
    """The quantizer, for which what is padded keeps its scale. Without that the compiler of version 1.5.1 writes a pad
    that reads floats and makes whole numbers, and the runtime refuses the file ("Failed to create StaticConstantPad").
    """
    import torch
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, SharedQuantizationSpec

    key = "quantization_annotation"

    class Quantizer(quantizer):
        def annotate(self, model):
            model = super().annotate(model)
            for node in model.graph.nodes:
                if node.target is torch.ops.aten.pad.default and key in node.args[0].meta:
                    same = SharedQuantizationSpec(node.args[0])
                    node.meta[key] = QuantizationAnnotation({node.args[0]: same}, same, _annotated=True)
            return model

    return Quantizer
