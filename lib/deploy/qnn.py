"""Qualcomm Hexagon without the device: what would its compiler place, how long does the vendor think it takes, and what
would come out?

ONNX Runtime's QNN provider holds the vendor's own compiler and an emulator of the processor's arithmetic. Numbers come
from the emulator, 8-bit weights with 8- or 16-bit activations (it has no fp16). Time comes from the compiler's estimate
when it has finished a graph for a SoC ("Simulated" events of the detailed profile): microseconds, cycles, and bytes
from and to memory. The execution events count cycles of this machine and are left out. Who has compared both found
that an emulator may agree with fp32 where the device collapses: see the notebook.
"""

from __future__ import annotations

import collections
import csv
from pathlib import Path

from lib.deploy.job import Job, Loaded

READS = ("npu.onnx",)
PRECISIONS = ("a8w8", "a16w8")
NAME = "QNNExecutionProvider"
NO_OPERATORS = ("QuantizeLinear", "DequantizeLinear", "Constant")  # what only quantizes
EMULATES = True  # a second of speech takes its emulator minutes


def load(job: Job) -> Loaded:
    """Quantize, compile for the SoC, and keep the emulator."""
    import onnxruntime

    model = _quantized(job)
    profile = job.work() / "profile.csv"
    profile.unlink(missing_ok=True)
    device = _device(onnxruntime)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # else it falls back silently
    given = {
        "backend_path": _library("get_qnn_htp_path"),
        "soc_model": str(job.settings["soc_model"]),
        "htp_graph_finalization_optimization_mode": "3",
        "profiling_level": "detailed",
        "profiling_file_path": str(profile),
        "offload_graph_io_quantization": "0",
    }
    options.add_provider_for_devices([device], given)
    try:
        opened = onnxruntime.InferenceSession(model, options)
    except Exception as error:
        return _in_part(onnxruntime, model, device, given, error)
    names = [end.name for end in opened.get_inputs()]

    def run(inputs):
        return opened.run(None, dict(zip(names, inputs)))

    estimate = _estimate(profile)
    if "us" not in estimate:
        raise RuntimeError(f"the compiler gave no estimate for soc_model {job.settings['soc_model']}")
    # With the fallback forbidden a graph either is on the NPU with all its operators or does not open at all.
    figures = {"npu_ops_pct": 100.0, "latency_ms_p50": estimate["us"] / 1000, "cycles": estimate["cycles"]}
    return Loaded(run, figures, {"estimate": estimate, "operators": _counted(model)})


def _in_part(onnxruntime, model: Path, device, given: dict[str, str], why: Exception) -> Loaded:
    """What stays with the processor of a graph that does not go to the NPU whole, and is not run for that; raises why
    it does not where the provider cannot say more.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    options.add_provider_for_devices([device], {**given, "profiling_level": "off"})
    try:
        parts = onnxruntime.InferenceSession(model, options).get_provider_graph_assignment_info()
    except Exception:
        raise why from None
    kinds = [(part.ep_name, node.op_type) for part in parts for node in part.get_nodes()]
    kinds = [(name, kind) for name, kind in kinds if kind not in NO_OPERATORS]
    left = collections.Counter(kind for name, kind in kinds if name != NAME)
    if not left:
        raise why

    def run(inputs):
        raise RuntimeError(
            f"not whole on the NPU: {', '.join(f'{kind} {n}' for kind, n in left.most_common())}"
        )

    placed = 100 * (1 - left.total() / len(kinds))
    return Loaded(run, {"npu_ops_pct": placed}, {"left": dict(left.most_common()), "operators": len(kinds)})


def _library(function: str) -> str:
    import onnxruntime_qnn

    return getattr(onnxruntime_qnn, function)()


def _device(onnxruntime):
    onnxruntime.register_execution_provider_library(NAME, _library("get_library_path"))
    devices = [d for d in onnxruntime.get_ep_devices() if d.ep_name == NAME]
    if not devices:
        raise RuntimeError("the provider found no device to emulate")
    return devices[0]


def _quantized(job: Job) -> Path:
    """The graph in QDQ form as the provider wants it, made once for all SoCs."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config, qnn_preprocess_model

    path = job.made(f"qnn-{job.precision}.onnx")
    if path.exists():
        return path
    import onnxruntime

    plain, prepared = job.form("npu.onnx"), job.work() / "prepared.onnx"
    source = prepared if qnn_preprocess_model(plain, prepared) else plain
    names = [
        end.name
        for end in onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"]).get_inputs()
    ]

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter([dict(zip(names, arrays)) for arrays in job.calibration()])

        def get_next(self):
            return next(self.left, None)

    wide = job.precision.startswith("a16")
    config = get_qnn_qdq_config(
        source,
        Reader(),
        activation_type=QuantType.QUInt16 if wide else QuantType.QUInt8,
        weight_type=QuantType.QUInt8,
        init_overrides=_by_channel(source, QuantType.QInt8),
    )
    made = job.work() / "quantized.onnx"
    quantize(source, made, config)
    made.replace(path)
    return path


def _by_channel(model: Path, kind) -> dict[str, list[dict]]:
    """Weights of convolutions have a scale for each output channel; products know but one."""
    import onnx

    graph = onnx.load(model).graph
    stored = {tensor.name for tensor in graph.initializer}
    weights = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    return {name: [{"quant_type": kind, "axis": 0, "symmetric": True}] for name in weights if name in stored}


def _counted(model: Path) -> int:
    """Operators of a graph without what only quantizes."""
    import onnx

    return sum(node.op_type not in NO_OPERATORS for node in onnx.load(model).graph.node)


def _estimate(profile: Path) -> dict[str, float]:
    """What the compiler simulated: {"us": ..., "us_low": ..., "us_high": ..., "cycles": ..., "spilled_bytes": ...}."""
    wanted = {
        "Simulated (Accelerator exec time us)": "us",
        "Simulated (Accelerator exec time us (lower estimate))": "us_low",
        "Simulated (Accelerator exec time us (upper estimate))": "us_high",
        "Simulated (Accelerator exec cycles)": "cycles",
        "Input Fill": "filled_input_bytes",
        "Intermediate Fill": "filled_bytes",
        "Intermediate Spill": "spilled_bytes",
        "Output Spill": "output_bytes",
    }
    with profile.open(newline="") as file:
        events = {
            row["Event Identifier"]: row["Time"] for row in csv.DictReader(file) if row.get("Event Identifier")
        }
    return {name: float(events[event]) for event, name in wanted.items() if event in events}
