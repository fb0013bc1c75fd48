"""How is one part of an ONNX graph taken out of it, and how many parameters has it?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib.graphs import packing

if TYPE_CHECKING:
    import onnx

_BESIDE = (
    "_scale",
    "_zero_point",
    "_quantized_scale",
    "_quantized_zero_point",
    packing.SCALES,
)  # of quantized weights, not weights


def part(model: "onnx.ModelProto", name: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The nodes that lie between tensors of a graph, serialized with the weights they use and no others."""
    from onnx import TensorProto, helper

    known = {value.name: value for value in (*model.graph.input, *model.graph.output)}
    producer = {output: node for node in model.graph.node for output in node.output}

    def described(tensor: str):
        return known.get(tensor) or helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [None, None, None])

    needed, pending = set(), list(outputs)
    while pending:  # walk up from the outputs, stopping at the inputs
        tensor = pending.pop()
        if tensor not in inputs and tensor in producer and tensor not in needed:
            needed.add(tensor)
            pending += [i for i in producer[tensor].input if i]
    nodes = [node for node in model.graph.node if needed.intersection(node.output)]
    used = {tensor for node in nodes for tensor in node.input} - set(inputs)
    weights = [tensor for tensor in model.graph.initializer if tensor.name in used]
    graph = helper.make_graph(
        nodes, name, [described(n) for n in inputs], [described(n) for n in outputs], weights
    )
    cut = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return cut.SerializeToString()


def parameters(model: bytes) -> int:
    """Weights of a serialized graph: named matrices, kernels and biases, not constants that an exporter folded into
    it or that a rewriting put there, in however few bits ("/filters"). Of published graphs in 8 bits the matrices
    are named as an exporter names what it computes ("/Transpose_2_output_0_quantized"), and are weights.
    """
    import onnx

    proto = onnx.TensorProto
    floats = (proto.FLOAT, proto.FLOAT16)
    types = (*floats, proto.INT8, proto.UINT8)
    return sum(
        int(np.prod(tensor.dims))
        for tensor in onnx.load_from_string(model).graph.initializer
        if tensor.data_type in types
        and tensor.dims
        and not (tensor.name.startswith("/") and (tensor.data_type in floats or "_output_" not in tensor.name))
        and not tensor.name.endswith(_BESIDE)
    )
