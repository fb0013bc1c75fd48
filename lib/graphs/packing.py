"""How do the weights of an ONNX graph take fewer bytes in the file than they compute with? As half-precision numbers,
or as whole ones with a scale, that the graph itself turns back into single precision.

ONNX Runtime does so once, when it opens the graph, so that the result is a smaller download that runs as fast as
before, and needs nothing but ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from lib.graphs import operators

HALF, PACKED, SCALES = "#half", "#int8", "#scales"  # behind the name of a weight


def half(graph: bytes, names: Collection[str]) -> bytes:
    """The weights of the operators of these (`operators.short`) names, rounded to half precision."""

    def pack(weight: np.ndarray, axis: int):
        return {HALF: weight.astype(np.float16)}

    return _packed(graph, names, pack)


def int8(graph: bytes, names: Collection[str]) -> bytes:
    """The weights of the operators, whole numbers from -127 to 127 with a scale for each output channel."""

    def pack(weight: np.ndarray, axis: int):
        others = tuple(i for i in range(weight.ndim) if i != axis)
        scales = (np.abs(weight).max(axis=others, keepdims=True) / 127).astype(np.float32)
        scales[scales == 0] = 1
        return {PACKED: np.rint(weight / scales).clip(-127, 127).astype(np.int8), SCALES: scales}

    return _packed(graph, names, pack)


def unpacked(graph: bytes) -> bytes:
    """The graph with such weights in single precision again, for whoever rewrites it."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(graph)
    tensors = {t.name: t for t in model.graph.initializer}
    weights = {name.removesuffix(end) for name in tensors for end in (HALF, PACKED) if name.endswith(end)}
    if not weights:
        return graph
    kept = [n for n in model.graph.node if not any(o.removesuffix("#cast") in weights for o in n.output)]
    for name in weights:
        values = numpy_helper.to_array(tensors[f"{name}{HALF if f'{name}{HALF}' in tensors else PACKED}"])
        values = values.astype(np.float32)
        if f"{name}{SCALES}" in tensors:
            values = values * numpy_helper.to_array(tensors[f"{name}{SCALES}"])
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    gone = {f"{name}{end}" for name in weights for end in (HALF, PACKED, SCALES)}
    left = [t for t in model.graph.initializer if t.name not in gone]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(left)
    return model.SerializeToString()


def _packed(graph: bytes, names: Collection[str], pack) -> bytes:
    """pack: (weight, axis of its output channels) -> what it is made of."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    operators.named(model)
    tensors = {t.name: t for t in model.graph.initializer}
    wanted: dict[str, int] = {}  # weight -> axis of its output channels
    for node in model.graph.node:
        if operators.short(node.name) in names:
            for place in operators.WEIGHTS.get(node.op_type, ()):
                if place < len(node.input) and (tensor := tensors.get(node.input[place])) is not None:
                    if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
                        wanted.setdefault(tensor.name, _channels(node, len(tensor.dims)))
                        break
    before = []
    for name, axis in wanted.items():
        made = pack(numpy_helper.to_array(tensors[name]), axis)
        model.graph.initializer.remove(tensors[name])
        model.graph.initializer.extend(
            numpy_helper.from_array(values, f"{name}{end}") for end, values in made.items()
        )
        first, *scales = (f"{name}{end}" for end in made)
        cast = f"{name}#cast" if scales else name
        before.append(helper.make_node("Cast", [first], [cast], f"{name}#cast", to=TensorProto.FLOAT))
        if scales:
            before.append(helper.make_node("Mul", [cast, *scales], [name], f"{name}#mul"))
    nodes = [*before, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def _channels(node, n_dims: int) -> int:
    """The axis of a weight that holds its operator's output channels."""
    if node.op_type in ("MatMul", "ConvTranspose"):
        return min(1, n_dims - 1)
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return 0
