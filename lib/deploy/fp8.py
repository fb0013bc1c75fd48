"""An ONNX graph whose products are of numbers in 8 bit with a floating point (e4m3), for GPUs that multiply such.

ONNX Runtime's quantizer sets scales of that type by how its values are spread, so that the largest are cut off; here
the largest value seen becomes the largest that the type has. Activations have one scale for each tensor, weights one
for each output channel and lie in the file in 8 bit; biases and all between products stay in single precision.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from lib.deploy import onnxruntime
from lib.deploy.job import Job
from lib.files import write_atomic
from lib.optimize import calibration
from lib.optimize.calibration import Feeds

if TYPE_CHECKING:
    import onnx

LARGEST = 448.0  # of float8_e4m3fn
KINDS = ("Conv", "MatMul", "Gemm")
CAPABILITY = (8, 9)  # Ada; the first GPUs that multiply it


def too_old(capability: tuple[int, int]) -> str | None:
    """Why a GPU of this compute capability cannot; None where it can.

    >>> too_old((8, 0))
    'fp8 needs compute capability 8.9 (Ada, Hopper or newer), this GPU has 8.0'
    """
    if tuple(capability) >= CAPABILITY:
        return None
    return (
        f"fp8 needs compute capability {CAPABILITY[0]}.{CAPABILITY[1]} (Ada, Hopper or newer), "
        f"this GPU has {capability[0]}.{capability[1]}"
    )


def graph(job: Job) -> bytes:
    """The stage's graph in this precision, made once for all runtimes that read it."""
    path = job.form("fp8.onnx")
    if not path.exists():
        write_atomic(path, quantized(*onnxruntime.calibrated(job)))
    return path.read_bytes()


def quantized(graph: bytes, seen: Feeds) -> bytes:
    """A serialized graph, of opset 19 or newer, with QuantizeLinear and DequantizeLinear around each product with
    weights. seen: what goes into it.
    """
    import onnx

    model = onnx.load_from_string(graph)
    ranges = json.loads(calibration.ranges(graph, seen, "minmax").read_text())
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    made = _Made()
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.op_type in KINDS and node.input[1] in weights and node.input[0] not in weights:
            own = onnx.numpy_helper.to_array(weights[node.input[1]])
            node.input[0] = made.activation(node.input[0], _largest(ranges, node.input[0]))
            node.input[1] = made.weights(node.input[1], own, _channels(node) % own.ndim)
        nodes += [*made.nodes, node]
        made.nodes.clear()
    read = {name for node in nodes for name in node.input}
    kept = [tensor for name, tensor in weights.items() if name in read]
    for field, whole in ((model.graph.node, nodes), (model.graph.initializer, [*kept, *made.tensors])):
        del field[:]
        field.extend(whole)
    return model.SerializeToString()


class _Made:
    """What is put into a graph: tensors, and nodes to be placed before the next one; what is read twice, once."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._known: set[str] = set()

    def activation(self, name: str, largest: float) -> str:
        """A tensor as it is after rounding; its new name."""
        rounded = f"{name}_rounded"
        if self._new(rounded):
            # The zero says the type that is rounded to.
            scale = self._tensor(f"{name}_scale", np.float32(largest / LARGEST))
            ends = [scale, self._tensor(f"{name}_zero", _small(0))]
            self._node("QuantizeLinear", [name, *ends], f"{name}_fp8")
            self._node("DequantizeLinear", [f"{name}_fp8", *ends], rounded)
        return rounded

    def weights(self, name: str, values: np.ndarray, axis: int) -> str:
        """Weights as they lie in 8 bit, unpacked; axis: of their output channels."""
        rounded = f"{name}_{axis}_rounded"
        if self._new(rounded):
            rest = tuple(i for i in range(values.ndim) if i != axis)
            largest = np.maximum(np.abs(values).max(rest, keepdims=True), 1e-12)
            scales = (largest / LARGEST).astype(np.float32)
            packed = self._tensor(f"{name}_{axis}_fp8", _small(np.clip(values / scales, -LARGEST, LARGEST)))
            scale = self._tensor(f"{name}_{axis}_scale", scales.reshape(-1))
            self._node("DequantizeLinear", [packed, scale], rounded, axis=axis)
        return rounded

    def _new(self, name: str) -> bool:
        before = len(self._known)
        self._known.add(name)
        return len(self._known) > before

    def _tensor(self, name: str, values: np.ndarray) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: int) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], f"{output}_{kind}", **attributes))


def _small(values) -> np.ndarray:
    """Rounded to the nearest that the type has."""
    import ml_dtypes

    return np.asarray(values, np.float32).astype(ml_dtypes.float8_e4m3fn)


def _largest(ranges: dict, name: str) -> float:
    """The largest magnitude of a tensor that was seen; 1 where all of it was 0."""
    own = ranges["data"][name]
    return max(abs(own[end]["data"][0]) for end in ("lowest", "highest")) or 1.0


def _channels(node: "onnx.NodeProto") -> int:
    """The axis of a product's weights along which its outputs lie."""
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else -1
