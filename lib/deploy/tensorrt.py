"""TensorRT on an NVIDIA GPU: an engine built for its very model."""

from __future__ import annotations

from lib.deploy.job import Job, Loaded

READS = ("plain.onnx",)
PRECISIONS = ("fp32", "fp16")


def load(job: Job) -> Loaded:
    """fp32 without TF32."""
    import tensorrt

    return built(tensorrt, job)


def built(trt, job: Job) -> Loaded:
    """Parse, build, and run on PyTorch's buffers. trt: the module of TensorRT, or of TensorRT-RTX: the same calls."""
    import torch

    logger = trt.Logger(trt.Logger.ERROR)
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan(trt, logger, job))
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
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(job.form("plain.onnx").read_bytes()):
        raise RuntimeError("; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))[:300])
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if job.precision == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    made = builder.build_serialized_network(network, config)
    if made is None:
        raise RuntimeError("no engine could be built for this graph")
    return bytes(made)
