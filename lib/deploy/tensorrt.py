"""TensorRT on an NVIDIA GPU: an engine built for its very model.

Newer versions know no flag for half precision and no calibration: the graph itself says what is computed in which
(`fp16.onnx`; in 8 bit the scales that ONNX Runtime's quantizer set or, of floats, `fp8`: explicit quantization), and
the network is strongly typed.
"""

from __future__ import annotations

import time

from lib import targets
from lib.deploy import fp8, onnxruntime
from lib.deploy.job import Job, Loaded
from lib.files import write_atomic

READS = ("plain.onnx",)
READS_AS = {"fp16": ("fp16.onnx",), "bf16": ("bf16.onnx",)}
PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")


def load(job: Job) -> Loaded:
    """fp32 without TF32."""
    import tensorrt

    return built(tensorrt, job)


def built(trt, job: Job) -> Loaded:
    """Build, or take what was built for this GPU, and run on PyTorch's buffers. trt: the module of TensorRT, or of
    TensorRT-RTX: the same calls.
    """
    import torch

    logger = trt.Logger(trt.Logger.ERROR)
    path = job.made(
        f"{trt.__name__}-{trt.__version__}-{targets.slug(torch.cuda.get_device_name())}-{job.precision}.plan"
    )
    if not path.exists():
        write_atomic(path, plan(trt, logger, job))
    engine = trt.Runtime(logger).deserialize_cuda_engine(path.read_bytes())
    context, stream = engine.create_execution_context(), torch.cuda.Stream()
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
    outputs = [n for n in names if n not in inputs]
    buffers = {n: torch.empty(tuple(engine.get_tensor_shape(n)), device="cuda") for n in names}
    for name, buffer in buffers.items():
        context.set_tensor_address(name, buffer.data_ptr())

    def run(arrays):
        with torch.cuda.stream(stream):
            for name, array in zip(inputs, arrays):
                buffers[name].copy_(torch.from_numpy(array))
            context.execute_async_v3(stream.cuda_stream)
        stream.synchronize()
        return [buffers[name].cpu().numpy() for name in outputs]

    return Loaded(run)


def plan(trt, logger, job: Job) -> bytes:
    """The engine, serialized; TensorRT-RTX builds it without a GPU."""
    builder = trt.Builder(logger)
    typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # None where every network is
    network = builder.create_network(0 if typed is None else 1 << int(typed))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(_graph(job)):
        raise RuntimeError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))[:300])
    config = builder.create_builder_config()
    (config.set_flag if job.precision == "tf32" else config.clear_flag)(trt.BuilderFlag.TF32)
    made = builder.build_serialized_network(network, config)
    if made is None:
        raise RuntimeError(f"no engine could be built for this graph in {job.precision}")
    return bytes(made)


def _graph(job: Job) -> bytes:
    if job.precision == "int8":
        return onnxruntime.quantized(job, symmetric=True)
    if job.precision == "fp8":
        return fp8.graph(job)
    (form,) = READS_AS.get(job.precision, READS)
    return job.form(form).read_bytes()


def built_alone(trt, job: Job) -> dict[str, float]:
    """What building an engine took, where no GPU is there to run it. Not called `build`: TensorRT itself wants one."""
    begin = time.perf_counter()
    made = plan(trt, trt.Logger(trt.Logger.ERROR), job)
    return {"engine_mb": len(made) / 1e6, "build_s": time.perf_counter() - begin}
