"""How does ONNX Runtime run a vocoder's 1-D convolutions fastest on one thread? As 2-D ones, in blocks of
channels all the way.

ONNX Runtime keeps tensors in its blocked layout (NCHWc) and calls its direct convolution kernels for 2-D graphs
alone; 1-D ones go through a general matrix product, column by column. `blocked` rewrites a chain of 1-D
operators, which changes no more than the order of additions:

- Conv (k) becomes Conv (1, k);
- ConvTranspose becomes one Conv per group of output phases that read the same input samples, then the phases
  are interleaved (the polyphase form: no sample is multiplied by a zero that an upsampler had put in);
- LeakyReLU behind an addition becomes a depthwise identity Conv that ONNX Runtime fuses with it: alone it has
  no blocked kernel, and two reorderings would surround it. Another identity brings the interleaved samples back
  into blocks;
- a division by a constant moves through LeakyReLU into the weights of the next convolution.
"""

from __future__ import annotations

import numpy as np

PLAIN = ("Add", "Tanh", "Relu", "Sigmoid")  # the same in any number of dimensions
BLOCK = 16  # channels of a block with AVX-512; fewer are not blocked


def blocked(model: bytes) -> bytes:
    """A serialized ONNX graph of 1-D convolutions, (N, channels, time) in and out, with 2-D operators inside;
    same inputs, outputs.

    Raises ValueError for an operator that is not known to be the same in two dimensions.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(model)
    rewriting = _Rewriting({t.name: numpy_helper.to_array(t) for t in graph.graph.initializer})
    for value in graph.graph.input:
        rewriting.channels[_inner(value.name)] = 0
        rewriting.node(
            "Unsqueeze", [value.name, rewriting.constant("axis", np.array([2], np.int64))], _inner(value.name)
        )
    for node in graph.graph.node:
        rewriting.translate(node)
    return rewriting.model(graph)


def _inner(name: str) -> str:
    return f"{name}/2d"


class _Rewriting:
    """The new graph while it grows. Per 2-D tensor: channels, and the divisor that the next convolution still
    owes it.
    """

    def __init__(self, weights: dict[str, np.ndarray]):
        self.weights, self.nodes, self.constants = weights, [], {}
        self.channels: dict[str, int] = {}
        self.divisors: dict[str, float] = {}
        self.sums: set[str] = set()  # outputs of additions: nothing in front of them to fuse an activation with

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants[name] = values
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    def translate(self, node) -> None:
        """Append the 2-D form of one 1-D node."""
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        inputs, output = list(node.input), node.output[0]
        source, target = _inner(inputs[0]), _inner(output)
        if node.op_type == "Conv":
            bias = self.weights[inputs[2]] if len(inputs) > 2 else None
            begin, end = attributes["pads"]
            self.conv(
                source,
                self.weights[inputs[1]],
                bias,
                target,
                pads=(begin, end),
                dilation=attributes["dilations"][0],
                stride=attributes["strides"][0],
                group=attributes["group"],
            )
        elif (
            node.op_type == "ConvTranspose"
            and attributes["group"] == 1
            and not attributes.get("output_padding", [0])[0]
        ):
            self.polyphase(inputs, output, attributes)
        elif node.op_type == "LeakyRelu":
            if source in self.sums and self.channels[source] >= BLOCK:
                source = self.same(source)
            self.node("LeakyRelu", [source], target, alpha=attributes["alpha"])
            self.hand_on(source, target)
        elif node.op_type == "Div" and inputs[1] in self.weights and self.weights[inputs[1]].size == 1:
            self.node("Identity", [source], target)
            self.hand_on(source, target)
            self.divisors[target] = self.divisors.get(source, 1.0) * float(self.weights[inputs[1]])
            if source in self.sums:
                self.sums.add(target)
        elif node.op_type in PLAIN and not self.owing(inputs):
            self.node(node.op_type, [_inner(i) for i in inputs], target, **attributes)
            self.hand_on(source, target)
            if node.op_type == "Add":
                self.sums.add(target)
        elif node.op_type == "Unsqueeze" and not self.owing(
            inputs[:1]
        ):  # the graph's own way out of (N, channels, time)
            self.node("Squeeze", [source, self.constant("axis", np.array([2], np.int64))], inputs[0])
            self.node(
                "Unsqueeze",
                [inputs[0], *(self.constant(i, self.weights[i]) for i in inputs[1:])],
                output,
                **attributes,
            )
        else:
            raise ValueError(f"operator {node.op_type} ({output}) has no 2-D form here")

    def hand_on(self, source: str, target: str) -> None:
        """An operator between both changes neither channels nor, being linear in positive factors, the divisor."""
        self.channels[target] = self.channels[source]
        if source in self.divisors:
            self.divisors[target] = self.divisors[source]

    def owing(self, names: list[str]) -> bool:
        return any(_inner(name) in self.divisors for name in names)

    def same(self, source: str) -> str:
        """A depthwise Conv that changes nothing, unless an activation is fused with it."""
        target, channels = f"{source}/same", self.channels[source]
        self.constant(f"{target}/weight", np.ones((channels, 1, 1, 1), np.float32))
        self.node("Conv", [source, f"{target}/weight"], target, kernel_shape=[1, 1], group=channels)
        self.hand_on(source, target)
        return target

    def conv(
        self,
        source: str,
        weight: np.ndarray,
        bias: np.ndarray | None,
        output: str,
        *,
        pads: tuple[int, int] = (0, 0),
        dilation: int = 1,
        stride: int = 1,
        group: int = 1,
    ) -> None:
        """Conv (1, k) with a 1-D weight (out, in / group, k)."""
        weight = np.ascontiguousarray(weight[:, :, None] / np.float32(self.divisors.get(source, 1.0)))
        inputs = [source, self.constant(f"{output}/weight", weight)]
        if bias is not None:
            inputs.append(self.constant(f"{output}/bias", bias))
        self.node(
            "Conv",
            inputs,
            output,
            kernel_shape=[1, weight.shape[-1]],
            pads=[0, pads[0], 0, pads[1]],
            strides=[1, stride],
            dilations=[1, dilation],
            group=group,
        )
        self.channels[output] = len(weight)

    def polyphase(self, inputs: list[str], output: str, attributes: dict) -> None:
        """Output sample q * stride + r is a sum over taps d of input sample q + d; phases r with the same taps
        share one Conv.
        """
        weight = self.weights[inputs[1]]  # (in, out, k)
        stride, before, length = attributes["strides"][0], attributes["pads"][0], weight.shape[2]
        if attributes["dilations"][0] != 1 or sum(attributes["pads"]) != length - stride:
            raise ValueError(f"ConvTranspose {output} does not multiply the length by its stride")
        taps = {
            r: tuple(d for d in range(-length, length) if 0 <= r + before - d * stride < length)
            for r in range(stride)
        }
        parts = []
        for shared in dict.fromkeys(taps.values()):
            phases = [r for r in range(stride) if taps[r] == shared]
            rows = [
                np.stack([weight[:, :, r + before - d * stride].T for d in shared], -1) for r in phases
            ]  # (out, in, taps)
            bias = np.tile(self.weights[inputs[2]], len(phases)) if len(inputs) > 2 else None
            part = f"{_inner(output)}/phases{phases[0]}"
            first, last = (-shared[0], shared[-1])  # input samples needed before and after the one at hand
            if min(first, last) < 0:
                raise ValueError(
                    f"ConvTranspose {output} does not read the input sample under its output sample"
                )
            self.conv(_inner(inputs[0]), np.concatenate(rows), bias, part, pads=(first, last))
            parts.append(part)
        out = weight.shape[1]
        joined = f"{_inner(output)}/joined"
        self.node("Concat", parts, joined, axis=1)  # phases are contiguous: (N, stride * out, 1, time)
        self.node(
            "Reshape",
            [joined, self.constant(f"{joined}/split", np.array([0, stride, out, -1]))],
            f"{joined}/apart",
        )
        self.node("Transpose", [f"{joined}/apart"], f"{joined}/turned", perm=[0, 2, 3, 1])
        self.node(
            "Reshape",
            [f"{joined}/turned", self.constant(f"{joined}/join", np.array([0, out, 1, -1]))],
            f"{joined}/woven",
        )
        self.channels[f"{joined}/woven"] = out
        self.node(
            "Identity", [self.same(f"{joined}/woven") if out >= BLOCK else f"{joined}/woven"], _inner(output)
        )
        self.channels[_inner(output)] = out
        self.sums.add(_inner(output))

    def model(self, old) -> bytes:
        """The finished graph, serialized."""
        from onnx import helper, numpy_helper

        axis = self.constant("axis", np.array([2], np.int64))
        made = {output for node in self.nodes for output in node.output}
        for value in old.graph.output:
            if value.name not in made:
                self.node("Squeeze", [_inner(value.name), axis], value.name)
        graph = helper.make_graph(
            self.nodes,
            old.graph.name,
            old.graph.input,
            old.graph.output,
            [numpy_helper.from_array(values, name) for name, values in self.constants.items()],
        )
        return helper.make_model(
            graph, opset_imports=old.opset_import, ir_version=old.ir_version
        ).SerializeToString()
