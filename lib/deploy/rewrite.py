"""Which form of a network do NPUs place whole? Everything in four dimensions, with operators that all of them have.

NPUs are made for images: their compilers know 2-D convolutions, and leave 1-D ones, transposed ones and LeakyReLU in
part to the processor, with a copy there and back each time. The same network, exactly, in other words:

- Conv1d (k) becomes Conv2d (1, k), a dilation d becomes (d, d): along the side of 1 it changes nothing, and the Edge
  TPU's compiler takes no two that differ;
- a transposed convolution of stride s becomes one convolution that makes the s output phases as channels, and a
  reshape that interleaves them (the polyphase form: no zeros are put in between only to be multiplied);
- LeakyReLU becomes max(x, a x);
- what lies between them stays in four dimensions, so that nothing is turned back and forth.

It works on the graph that torch exports, so on any network, whatever its modules are called.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import fx, nn
from torch.nn import functional as F

_ATEN = torch.ops.aten
# The same in any number of dimensions, all of whose tensor arguments have one shape (or are single numbers).
_POINTWISE = {
    _ATEN.add.Tensor,
    _ATEN.sub.Tensor,
    _ATEN.mul.Tensor,
    _ATEN.div.Tensor,
    _ATEN.tanh.default,
    _ATEN.sigmoid.default,
    _ATEN.relu.default,
    _ATEN.gelu.default,
    _ATEN.silu.default,
    _ATEN.exp.default,
    _ATEN.clamp.default,
    _ATEN.clone.default,
}
_IN_PLACE = {_ATEN.add_.Tensor: _ATEN.add.Tensor, _ATEN.mul_.Tensor: _ATEN.mul.Tensor}
_DROPOUT = {_ATEN.dropout.default, _ATEN.detach_.default, _ATEN.alias.default}


def for_npu(network: nn.Module, inputs: Sequence[torch.Tensor]) -> nn.Module:
    """The same function of inputs of these shapes, in operators that NPUs have; the network itself is not touched."""
    with torch.no_grad():
        graph = torch.export.export(network.eval(), tuple(inputs)).module(check_guards=False)
        _Rewriting(graph).all()
    graph.graph.lint()
    graph.recompile()
    return graph


def operators(network: nn.Module, inputs: Sequence[torch.Tensor]) -> dict[str, int]:
    """How many of each operator a network has as torch exports it, weights and shapes aside."""
    exported = torch.export.export(network, tuple(inputs))
    counted: dict[str, int] = {}
    for node in exported.graph.nodes:
        if node.op == "call_function":
            name = str(node.target).removeprefix("aten.").rsplit(".", 1)[0]
            counted[name] = counted.get(name, 0) + 1
    return counted


class Flat(nn.Module):
    """A Conv1d as a Conv2d on (N, channels, 1, time)."""

    def __init__(
        self, weight: torch.Tensor, bias, stride: int, pads: tuple[int, int], dilation: int, groups: int
    ):
        super().__init__()
        out, n_inputs, kernel = weight.shape
        even = pads[0] == pads[1]
        self.pads = (0, 0) if even else pads
        self.conv = nn.Conv2d(
            n_inputs * groups,
            out,
            (1, kernel),
            stride=(1, stride),
            padding=(0, pads[0] if even else 0),
            dilation=(dilation, dilation),
            groups=groups,
            bias=bias is not None,
        )
        self.conv.weight.data = weight.detach()[:, :, None].clone()
        if bias is not None:
            self.conv.bias.data = bias.detach().clone()

    def forward(self, image: torch.Tensor) -> torch.Tensor:  # (N, channels, 1, time) in and out
        return self.conv(F.pad(image, self.pads) if any(self.pads) else image)


class Polyphase(nn.Module):
    """A ConvTranspose1d that multiplies the length by its stride, as one Conv2d whose output is woven together."""

    def __init__(self, weight: torch.Tensor, bias, stride: int, padding: int):
        super().__init__()
        n_inputs, out, kernel = weight.shape
        # Output sample q s + r is a sum over d of input sample q + d times tap r + padding - d s.
        taps = [
            d
            for d in range(-kernel, kernel)
            if any(0 <= r + padding - d * stride < kernel for r in range(stride))
        ]
        low, high = taps[0], taps[-1]
        phases = torch.zeros(stride, out, n_inputs, high - low + 1, dtype=weight.dtype)
        for r in range(stride):
            for d in taps:
                if 0 <= (tap := r + padding - d * stride) < kernel:
                    phases[r, :, :, d - low] = weight.detach()[:, :, tap].T
        flat = phases.reshape(stride * out, n_inputs, high - low + 1)
        self.flat = Flat(
            flat, None if bias is None else bias.repeat(stride), 1, (max(0, -low), max(0, high)), 1, 1
        )
        self.stride, self.out, self.first = stride, out, max(0, low)

    def forward(
        self, image: torch.Tensor
    ) -> torch.Tensor:  # (N, n_inputs, 1, time) -> (N, out, 1, time * stride)
        made = self.flat(image).permute(0, 2, 3, 1)  # (N, 1, time, stride * out): as an NPU has it in memory
        n, _, time, _ = made.shape
        return made.reshape(n, 1, time * self.stride, self.out).permute(0, 3, 1, 2)


class _Rewriting:
    """An exported graph while it is rewritten in place. image: node with a (N, C, time) value -> its 4-D twin."""

    def __init__(self, module: fx.GraphModule):
        self.module, self.graph = module, module.graph
        self.image: dict[fx.Node, fx.Node] = {}
        self.number = 0

    def all(self) -> None:
        for node in list(self.graph.nodes):
            if node.op != "call_function":
                continue
            with self.graph.inserting_before(node):
                made = self.rewritten(node)
                if made is None:
                    continue
                flat = self.call(torch.squeeze, made, 2)
                flat.meta = dict(node.meta)
                self.image[flat] = made
                node.replace_all_uses_with(flat)
                self.graph.erase_node(node)  # an addition in place would still be done
        self.graph.eliminate_dead_code()

    def rewritten(self, node: fx.Node) -> fx.Node | None:
        """The 4-D twin of a node's value, or None where it stays as it is."""
        if node.target in _DROPOUT and node.args[0] in self.image:  # nothing in evaluation
            return self.image[node.args[0]]
        if node.target is _ATEN.conv1d.default:
            return self.conv(node, *_filled(node, (None, 1, 0, 1, 1)))
        if node.target is _ATEN.conv1d.padding:
            bias, stride, padding, dilation, groups = _filled(node, (None, 1, "valid", 1, 1))
            kernel, reach = self.value(node.args[1]).shape[2], _one(dilation)
            left = 0 if padding == "valid" else reach * (kernel - 1) // 2
            right = 0 if padding == "valid" else reach * (kernel - 1) - left
            return self.conv(node, bias, stride, (left, right), dilation, groups)
        if node.target is _ATEN.conv_transpose1d.default:
            return self.transposed(node, *_filled(node, (None, 1, 0, 0, 1, 1)))
        if node.target is _ATEN.leaky_relu.default:
            image = self.lifted(node.args[0])
            slope = node.args[1] if len(node.args) > 1 else 0.01
            return image and self.call(torch.maximum, image, self.call(torch.mul, image, slope))
        pointwise = _IN_PLACE.get(node.target, node.target)
        if pointwise in _POINTWISE:
            given = [a for a in node.args if isinstance(a, fx.Node)]
            if not any(a in self.image for a in given) or any(_dims(a) != 3 for a in given):
                return None
            arguments = tuple(self.lifted(a) if isinstance(a, fx.Node) else a for a in node.args)
            return self.call(pointwise, *arguments, **node.kwargs)
        return None

    def conv(self, node: fx.Node, bias, stride, padding, dilation, groups) -> fx.Node | None:
        weight = self.value(node.args[1])
        if weight is None or _dims(node) != 3:
            return None
        pads = padding if isinstance(padding, tuple) and len(padding) == 2 else (_one(padding),) * 2
        layer = Flat(weight, self.value(bias), _one(stride), pads, _one(dilation), groups)
        return self.layer(layer, node.args[0])

    def transposed(self, node: fx.Node, bias, stride, padding, more, groups, dilation) -> fx.Node | None:
        weight, s, p = self.value(node.args[1]), _one(stride), _one(padding)
        plain = groups == 1 and _one(dilation) == 1 and not _one(more)
        if weight is None or _dims(node) != 3 or not plain or 2 * p != weight.shape[2] - s:
            return None  # another length than time * stride
        return self.layer(Polyphase(weight, self.value(bias), s, p), node.args[0])

    def layer(self, layer: nn.Module, source: fx.Node) -> fx.Node:
        name = f"npu_{self.number}"
        self.number += 1
        self.module.add_submodule(name, layer.eval())
        return self.graph.call_module(name, (self.lifted(source),))

    def lifted(self, node: fx.Node) -> fx.Node:
        """The twin of a 3-D value, made where it has none."""
        if node not in self.image:
            self.image[node] = self.call(torch.unsqueeze, node, 2)
        return self.image[node]

    def call(self, function, *arguments, **keywords) -> fx.Node:
        return self.graph.call_function(function, arguments, keywords)

    def value(self, node: fx.Node | None) -> torch.Tensor | None:
        """The tensor of a weight; None for what is computed."""
        if node is None or node.op != "get_attr":
            return None
        owner = self.module
        for part in node.target.split("."):
            owner = getattr(owner, part)
        return owner


def _filled(node: fx.Node, defaults: tuple) -> tuple:
    """The arguments of a convolution behind input and weight."""
    given = tuple(node.args[2:])
    return given + defaults[len(given) :]


def _one(value) -> int:
    return value[0] if isinstance(value, (list, tuple)) else value


def _dims(node: fx.Node) -> int:
    value = node.meta.get("val")
    return value.ndim if isinstance(value, torch.Tensor) else -1
