"""Which operators of an ONNX graph have weights, and in how many bits do they lie in the file?

Counted from the graph as it is stored, not from what somebody asked for: a weight is followed from its operator up
through what only unpacks it (DequantizeLinear, Cast, a product with its scales) to the tensor that lies in the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

# Which inputs of an operator may be its weights.
WEIGHTS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm", "LSTM", "GRU", "ConvInteger", "MatMulNBits"), (1,)),
    **dict.fromkeys(("MatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), (1, 0)),
    "DynamicQuantizeLSTM": (1,),
    "Gather": (0,),
    **dict.fromkeys(("QLinearConv", "QLinearMatMul", "QGemm"), (3,)),
}
_UNPACKING = ("DequantizeLinear", "Cast", "Mul", "Identity", "Reshape", "Transpose", "QuantizeLinear")
_QUANTIZED = "_quant"  # what ONNX Runtime's quantizer puts behind an operator's name


@dataclass(frozen=True)
class Weighted:
    """An operator with weights. type: "Conv"; stored: the type of its weights in the file, "float32", "int8"...;
    digest: of their bytes; n_bytes: as many there are.
    """

    type: str
    stored: str
    digest: str
    n_bytes: int


def named(model: "onnx.ModelProto") -> None:
    """Give every operator without a name that of its weights, or of its place: quantizers know operators by name."""
    taken = {node.name for node in model.graph.node}
    weights = {tensor.name for tensor in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        if node.name:
            continue
        own = next((i for i in node.input if i in weights and not i.startswith("/")), "")
        name = own.removesuffix(".weight") if own.endswith(".weight") else f"{node.op_type}_{number}"
        node.name = name if name not in taken else f"{name}_{number}"
        taken.add(node.name)


def short(name: str) -> str:
    """An operator's name as a selection has it: without the slash before it, or what a quantizer put behind it."""
    return name.lstrip("/").removesuffix(_QUANTIZED)


def weighted(graph: bytes) -> dict[str, Weighted]:
    """The operators with weights of a serialized graph, by their `short` names, in their order."""
    import onnx

    model = onnx.load_from_string(graph)
    named(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {output: node for node in model.graph.node for output in node.output}
    known = {}
    for node in model.graph.node:
        places = WEIGHTS.get(node.op_type, ())
        stored = (_stored(node.input[i], tensors, made) for i in places if i < len(node.input))
        weight = next((tensor for tensor in stored if tensor is not None), None)
        if weight is not None and weight.dims:
            data = weight.raw_data or weight.SerializeToString()
            digest = hashlib.blake2b(data, digest_size=8).hexdigest()
            kind = onnx.TensorProto.DataType.Name(weight.data_type).lower().replace("float16", "half")
            known[short(node.name)] = Weighted(
                node.op_type, {"float": "float32", "half": "float16"}.get(kind, kind), digest, len(data)
            )
    return known


def runs_as(graph: bytes, threads: int = 1) -> dict[str, int]:
    """Operators by type -> how many of each ONNX Runtime really runs, after its own rewriting.

    A quantized convolution that it could not fuse shows up as a Conv between a DequantizeLinear and a QuantizeLinear.
    """
    import collections
    import tempfile
    from pathlib import Path

    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        optimized = onnx.load(options.optimized_model_filepath)
    return dict(collections.Counter(node.op_type for node in optimized.graph.node).most_common())


def _stored(tensor: str, tensors: dict, made: dict) -> "onnx.TensorProto | None":
    """The tensor of the file that a weight is unpacked from; None where it is computed from something else."""
    while tensor not in tensors:
        node = made.get(tensor)
        if node is None:
            return None
        if node.op_type == "Constant":
            return next((a.t for a in node.attribute if a.name == "value"), None)
        if node.op_type not in _UNPACKING:
            return None
        inputs = [i for i in node.input if i in tensors or i in made]
        if node.op_type == "Mul":  # the weights and their scales, whichever comes first
            found = [t for i in node.input if (t := _stored(i, tensors, made)) is not None]
            return max(found, key=lambda t: t.ByteSize()) if len(found) == len(node.input) else None
        if not inputs:
            return None
        tensor = inputs[0]
    return tensors[tensor]
