"""What becomes of a table that is multiplied with and looked up in, when the product is quantized? One table again.

A recogniser's words are looked up in the matrix that makes their scores. A quantizer that treats the product leaves
the table in single precision beside its whole numbers; here what is looked up comes from these, too.
"""

from __future__ import annotations


def in_whole_numbers(graph: bytes) -> bytes:
    """The serialized graph whose Gather operators read the columns of a matrix in 8 bit where the graph has one."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(graph)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes, changed = [], False
    for node in model.graph.node:
        table = node.input[0] if node.op_type == "Gather" else ""
        scales, zeros = tensors.get(f"{table}_scale"), tensors.get(f"{table}_zero_point")
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
        fits = f"{table}_quantized" in tensors and scales is not None and zeros is not None
        fits = (
            fits
            and list(tensors[table].dims[axis:]) == list(scales.dims)
            and not numpy_helper.to_array(zeros).any()
        )
        if not fits:
            nodes.append(node)
            continue
        looked, index, output = f"{table}_quantized", node.input[1], node.output[0]
        name, changed = node.name, True
        nodes += [
            helper.make_node("Gather", [looked, index], [f"{output}@whole"], name, axis=axis),
            helper.make_node(
                "Cast", [f"{output}@whole"], [f"{output}@cast"], f"{name}@cast", to=TensorProto.FLOAT
            ),
            helper.make_node("Gather", [f"{table}_scale", index], [f"{output}@scale"], f"{name}@scale", axis=0),
            helper.make_node("Mul", [f"{output}@cast", f"{output}@scale"], [output], f"{name}@mul"),
        ]
    if not changed:
        return graph
    used = {name for node in nodes for name in node.input} | {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)
    return model.SerializeToString()
