"""How does ONNX Runtime see a product of a matrix that it can quantize? As a MatMul with a bias behind it.

Its 8-bit products of activations that are quantized as they come (MatMulInteger) are fast; its convolutions of that
kind are not, and Gemm has none. So convolutions that see one sample at a time (kernel 1) become products over
channels, and Gemm becomes MatMul and Add: the same numbers but for the order of additions.
"""

from __future__ import annotations

from collections.abc import Collection

from lib.graphs import operators


def of_gemm(graph: bytes, names: Collection[str]) -> bytes:
    """Gemm operators of these (`operators.short`) names as MatMul + Add, where they are no more than that."""
    return _rewritten(graph, names, "Gemm", _gemm)


def of_pointwise(graph: bytes, names: Collection[str]) -> bytes:
    """Conv operators of these names that have kernel 1, stride 1 and one group, as MatMul over channels + Add."""
    return _rewritten(graph, names, "Conv", _pointwise)


def pointwise(graph: bytes) -> list[str]:
    """The names of what `of_pointwise` can rewrite."""
    import onnx

    model = onnx.load_from_string(graph)
    operators.named(model)
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    return [
        operators.short(n.name) for n in model.graph.node if n.op_type == "Conv" and _is_pointwise(n, shapes)
    ]


def _is_pointwise(node, shapes: dict[str, tuple[int, ...]]) -> bool:
    from onnx import helper

    shape = shapes.get(node.input[1], ())
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    plain = attributes.get("group", 1) == 1 and not any(attributes.get("pads", ()))
    return len(shape) == 3 and shape[2] == 1 and plain and all(s == 1 for s in attributes.get("strides", ()))


def _rewritten(graph: bytes, names: Collection[str], kind: str, rewrite) -> bytes:
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(graph)
    operators.named(model)
    weights = {t.name: t for t in model.graph.initializer}
    shapes = {name: tuple(t.dims) for name, t in weights.items()}
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for tensor in node.input:
            uses[tensor] = uses.get(tensor, 0) + 1
    nodes, changed = [], {}
    for node in model.graph.node:
        made = None
        if node.op_type == kind and operators.short(node.name) in names and node.input[1] in weights:
            turned = rewrite(node, numpy_helper.to_array(weights[node.input[1]]), shapes)
            if turned is not None:
                made, values = turned
                new = node.input[1] if uses[node.input[1]] == 1 else f"{node.input[1]}@{node.name}"
                changed[new] = numpy_helper.from_array(values, new)
                made[next(i for i, n in enumerate(made) if n.op_type == "MatMul")].input[1] = new
        nodes += made or [node]
    kept = [t for t in model.graph.initializer if t.name not in changed]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend([*kept, *changed.values()])
    return model.SerializeToString()


def _gemm(node, weight, shapes):
    import numpy as np
    from onnx import helper

    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if attributes.get("transA") or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
        return None
    values = np.ascontiguousarray(weight.T if attributes.get("transB") else weight)
    biased = len(node.input) > 2 and node.input[2]
    product = f"{node.output[0]}@product" if biased else node.output[0]
    made = [helper.make_node("MatMul", [node.input[0], node.input[1]], [product], node.name)]
    if biased:
        made.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], f"{node.name}@bias"))
    return made, values


def _pointwise(node, weight, shapes):
    import numpy as np
    from onnx import helper

    if not _is_pointwise(node, shapes):
        return None
    output, values = node.output[0], np.ascontiguousarray(weight[:, :, 0].T)  # (in, out)
    rows, product, biased = f"{output}@rows", f"{output}@product", f"{output}@biased"
    has_bias = len(node.input) > 2 and node.input[2]
    made = [
        helper.make_node("Transpose", [node.input[0]], [rows], f"{node.name}@turn", perm=[0, 2, 1]),
        helper.make_node("MatMul", [rows, node.input[1]], [product], node.name),
    ]
    if has_bias:
        made.append(helper.make_node("Add", [product, node.input[2]], [biased], f"{node.name}@bias"))
    last = biased if has_bias else product
    made.append(helper.make_node("Transpose", [last], [output], f"{node.name}@back", perm=[0, 2, 1]))
    return made, values
