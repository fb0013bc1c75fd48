"""How do the channels of a tensor come into one range, so that a single scale serves them all? Each is divided by a
factor of its own before a convolution, whose weights are multiplied by it.

One scale for a tensor is as coarse as its loudest channel wants it; in a voice's decoder the others then drown in
rounding noise. Scaling channels changes nothing in exact arithmetic (SmoothQuant does so for language models, Xiao et
al. 2022, arXiv:2211.10438), and once the tensor is quantized, the division costs nothing: it becomes part of the
quantizer's scales, one for each channel (`folded`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from lib.graphs import operators, session

MARK = "@equal"  # behind the name of a tensor whose channels are in one range


def largest(
    graph: bytes, names: Collection[str], seen: Sequence[dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What the chosen convolutions read -> the largest magnitude of each channel, (channels,), over all runs."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    read = sorted({node.input[0] for node in _convolutions(model, names)})
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 2]), "@others"))
    for tensor in read:
        model.graph.node.append(helper.make_node("Abs", [tensor], [f"{tensor}@abs"]))
        axes = {"axes": [0, 2]} if model.opset_import[0].version < 18 else {}
        inputs = [f"{tensor}@abs", *(() if axes else ("@others",))]
        model.graph.node.append(
            helper.make_node("ReduceMax", inputs, [f"{tensor}@largest"], keepdims=0, **axes)
        )
        model.graph.output.append(helper.make_tensor_value_info(f"{tensor}@largest", TensorProto.FLOAT, [None]))
    opened = session.open(model.SerializeToString(), threads=1)
    runs = [opened.run([f"{tensor}@largest" for tensor in read], feed) for feed in seen]
    return {tensor: np.max(values, axis=0) for tensor, values in zip(read, zip(*runs))}


def equalised(
    graph: bytes, names: Collection[str], magnitudes: dict[str, np.ndarray], strength: float = 0.5
) -> bytes:
    """The same graph with the channels that the chosen convolutions read in one range.

    magnitudes: of `largest`; strength: from 0 (the weights are brought into one range) to 1 (all is left to them).
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(graph)
    weights = {t.name: t for t in model.graph.initializer}
    chosen = {node.name for node in _convolutions(model, names)}
    nodes, values = [], {}
    for node in model.graph.node:
        if node.name in chosen:
            weight = numpy_helper.to_array(weights[node.input[1]])  # (out, in, k)
            heard = np.maximum(magnitudes[node.input[0]], 1e-5)
            spread = np.maximum(np.abs(weight).max(axis=(0, 2)), 1e-5)
            factors = heard**strength / spread ** (1 - strength)
            factors = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
            scaled = f"{node.name}{MARK}"
            by, own = f"{scaled}/factors", f"{scaled}/weight"
            values[by] = (1 / factors)[None, :, None]
            values[own] = weight * factors[None, :, None]
            nodes.append(helper.make_node("Mul", [node.input[0], by], [scaled], scaled))
            node.input[0], node.input[1] = scaled, own
        nodes.append(node)
    used = {tensor for node in nodes for tensor in node.input}
    kept = [t for t in model.graph.initializer if t.name in used]
    made = [numpy_helper.from_array(v, name) for name, v in values.items()]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([*kept, *made])
    return model.SerializeToString()


def folded(graph: bytes) -> bytes:
    """A quantized graph with those divisions inside of the quantizers behind them."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(graph)
    weights = {t.name: t for t in model.graph.initializer}
    divided = {n.output[0]: n for n in model.graph.node if n.op_type == "Mul" and n.output[0].endswith(MARK)}
    readers: dict[str, int] = {}
    for node in model.graph.node:
        for tensor in node.input:
            readers[tensor] = readers.get(tensor, 0) + 1
    gone = set()
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in divided or readers[node.input[0]] > 1:
            continue
        division = divided[node.input[0]]
        inverse = numpy_helper.to_array(weights[division.input[1]]).reshape(-1)
        scale, zero = (numpy_helper.to_array(weights[name]) for name in node.input[1:3])
        new = {
            f"{node.name}/scales": (scale / inverse).astype(np.float32),
            f"{node.name}/zeros": zero.repeat(len(inverse)),
        }
        model.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in new.items())
        node.input[0], node.input[1], node.input[2] = division.input[0], *new
        node.attribute.append(helper.make_attribute("axis", 1))
        gone.add(division.output[0])
    kept = [
        onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node if n.output[0] not in gone
    ]
    used = {tensor for node in kept for tensor in node.input}
    left = [t for t in model.graph.initializer if t.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(kept)
    model.graph.initializer.extend(left)
    return model.SerializeToString()


def _convolutions(model, names: Collection[str]) -> list:
    """The 1-D convolutions among the chosen operators that have one group and a weight in the graph."""
    operators.named(model)
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type == "Conv"
        and operators.short(node.name) in names
        and len(shapes.get(node.input[1], ())) == 3
        and not any(a.name == "group" and a.i > 1 for a in node.attribute)
    ]
