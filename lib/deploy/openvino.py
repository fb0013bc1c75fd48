"""OpenVINO on an Intel or compatible processor, or on an Intel NPU where the machine has one."""

from __future__ import annotations

from pathlib import Path

from lib.deploy.job import Job, Loaded

READS = ("plain.onnx",)
PRECISIONS = ("fp32", "bf16", "int8")
NPU_PRECISIONS = ("fp16", "int8")  # it multiplies floats in half precision, whatever the graph says


def load(job: Job) -> Loaded:
    """int8: the graph that ONNX Runtime's quantizer made, read as it is."""
    import openvino

    core = openvino.Core()
    device = job.device.upper()
    if device not in core.available_devices:
        raise RuntimeError(f"OpenVINO finds no {device} here, only {', '.join(core.available_devices)}")
    settings = {"PERFORMANCE_HINT": "LATENCY"}
    if device == "CPU":
        settings |= {
            "INFERENCE_NUM_THREADS": str(job.threads),
            "INFERENCE_PRECISION_HINT": "bf16" if job.precision == "bf16" else "f32",
        }
    compiled = core.compile_model(str(_graph(job)), device, settings)
    request = compiled.create_infer_request()

    def run(inputs):  # in the order in which the graph names them, which is that of the network's forward
        answer = request.infer(dict(enumerate(inputs)))
        return [answer[end].copy() for end in compiled.outputs]

    return Loaded(run)


def _graph(job: Job) -> Path:
    if job.precision != "int8":
        return job.form("plain.onnx")
    path = Path(job.folder) / "int8.onnx"
    if not path.exists():
        raise RuntimeError(
            "the graph in 8 bits is made by onnxruntime/cpu: name that among the targets, before this one"
        )
    return path
