"""Can a network learn to speak in 8 bits before it gets them? Its convolutions round while it learns, as the exported
graph will, and the ranges that it learns meanwhile are the ones that the graph is given.

Weights: int8, one scale per output channel, from their largest; in all 8 bits, as those of `int8-static` are unless it
is told to `reduce_range`: processors with VNNI sum in 32 bits, and on those without, where a sum of two products may
saturate in 16, both graphs do so alike. What a convolution reads and makes: uint8, one scale per tensor, which learns
with the weights (Esser et al. 2020, arXiv:1902.08153); its zero stays where calibration put it. Rounding passes
gradients straight through. `torch.ao` and torchao round alike but follow the range of what they saw, whose rare peaks
then decide how coarse all the rest is; and their layers have no way to ONNX Runtime's scales.

`int8-aware` makes a torch system that speaks as its int8 graph would. `recover` teaches it, `from-torch` exports it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from lib.optimize import calibration, heard, quantize_graphs, selection
from lib.optimize.quantize_graphs import Range
from lib.optimize.variant import Technique
from lib.systems.model import Model

Strings = Sequence[str]
KINDS = ("Conv1d",)
LEVELS = 255  # steps of uint8
LARGEST = 127  # of symmetric int8


class _Rounded(torch.autograd.Function):
    """A tensor on 256 levels. Gradients pass where it lies inside; that of the step is what rounding and cutting off
    change, scaled down by the number of values as the paper does.
    """

    @staticmethod
    def forward(ctx, values: torch.Tensor, step: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
        rounded = torch.fake_quantize_per_tensor_affine(values, step, zero, 0, LEVELS)
        ctx.save_for_backward(values, rounded, step, zero)
        return rounded

    @staticmethod
    def backward(ctx, slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        values, rounded, step, zero = ctx.saved_tensors
        inside = (values >= -zero * step) & (values <= (LEVELS - zero) * step)
        passed = slope * inside
        change = (slope * rounded).sum() - (passed * values).sum()
        return passed, change / step / (LEVELS * values.numel()) ** 0.5, None


class Rounding(nn.Module):
    """What a tensor becomes in uint8: `log_step` is learnt, `zero` is the level of 0."""

    def __init__(self, low: float = 0.0, high: float = 1.0):
        super().__init__()
        low, high = min(low, 0.0), max(high, 0.0, low + 1e-8)
        step = (high - low) / LEVELS
        self.log_step = nn.Parameter(torch.tensor(step).log())
        self.register_buffer("zero", torch.tensor(round(-low / step), dtype=torch.int32))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return _Rounded.apply(values, self.log_step.exp(), self.zero)

    @property
    def range(self) -> Range:
        """The least and the largest value that it holds."""
        step, zero = float(self.log_step.detach().exp()), int(self.zero)
        return -zero * step, (LEVELS - zero) * step


class RoundedConv1d(nn.Conv1d):
    """A convolution as ONNX Runtime computes it in 8 bits, in single precision: `before` and `after` round what it
    reads and makes. Where another one reads the same tensor, `before` may be that one's.
    """

    @classmethod
    def of(cls, plain: nn.Conv1d, before: Rounding, after: Rounding, *, own: bool = True) -> RoundedConv1d:
        """With the weights of another. own: whether `before` is this layer's to keep."""
        made = copy.deepcopy(plain)
        made.__class__ = cls
        made.after = after
        if own:
            made.before = before
        else:  # known, not registered: what two layers register is stored twice, or not at all
            made.__dict__["before"] = before
        return made

    def plain(self) -> nn.Conv1d:
        """The convolution with its weights as they are, and nothing rounded."""
        made = copy.deepcopy(self)
        del made.after
        made.__dict__.pop("before", None)
        made._modules.pop("before", None)
        made.__class__ = nn.Conv1d
        return made

    def forward(self, values: torch.Tensor) -> torch.Tensor:  # (B, channels, time) in and out
        largest = self.weight.detach().abs().amax((1, 2))
        scales = torch.where(largest > 0, largest / LARGEST, torch.ones_like(largest))
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(self.weight, scales, zeros, 0, -LARGEST, LARGEST)
        bias = self.bias
        if (
            bias is not None
        ):  # whole numbers of what one level of both makes: hardly rounded, but levels flip by less
            steps = scales * self.before.log_step.detach().exp()
            bias = bias + ((bias / steps).round() * steps - bias).detach()
        return self.after(self._conv_forward(self.before(values), weight, bias))


def int8_aware(
    system: Model,
    *,
    sentences: Strings = (),
    stages: Strings = (),
    layers: Strings = (),
    skip: Strings = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Let convolutions of a torch system round as int8 would, in place, by default all of them.

    sentences: what it reads so that ranges are known, texts or ids of `lib.corpora.gutenberg`; the others: see
    `lib.optimize.selection`. Returns which layers share what they read.
    """
    texts = calibration.texts(sentences)
    names = selection.layers(system, KINDS, stages=stages, layers=layers, skip=skip)
    with _watched(system, names) as seen:
        for number, text in enumerate(texts):
            heard.run(system, text, seed + number)
    # Three blocks read one tensor, for which the graph has one scale: they share theirs.
    first: dict[tuple, str] = {}
    shared = {name: first.setdefault((tuple(seen[name].read), *seen[name].sums), name) for name in names}
    _round(system, names, shared, {name: (seen[name].read, seen[name].made) for name in names})
    return {"rounded": len(names), "shared": {name: other for name, other in shared.items() if name != other}}


def rounded(network: nn.Module) -> dict[str, RoundedConv1d]:
    """The convolutions of a network that round, by their paths."""
    return {path: layer for path, layer in network.named_modules() if isinstance(layer, RoundedConv1d)}


def ranges(network: nn.Module) -> list[nn.Parameter]:
    """What a network that rounds learns beside its weights: the logarithm of each step."""
    return [part.log_step for part in network.modules() if isinstance(part, Rounding)]


def exported(network: nn.Module) -> bytes:
    """The graph of a decoder whose convolutions round: in 8 bits, with the ranges that it has learnt."""
    from lib.systems.hifigan import export

    layers = rounded(network)
    whole = copy.deepcopy(network)
    for path, layer in layers.items():
        selection.put(whole, path, layer.plain())
    by_weight = {
        f"decoder.{path}.weight": layer for path, layer in layers.items()
    }  # as the exporter calls them
    return quantize_graphs.with_ranges(
        export.decoder(whole),
        {weight: (layer.before.range, layer.after.range) for weight, layer in by_weight.items()},
    )


class _Seen:
    """What went through a layer: least and largest value that it read and made, and the sum of each reading."""

    def __init__(self) -> None:
        self.read, self.made, self.sums = [0.0, 0.0], [0.0, 0.0], []

    def note(self, _: nn.Module, arguments: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        """A forward hook."""
        for ends, values in ((self.read, arguments[0]), (self.made, made)):
            low, high = map(float, values.aminmax())
            ends[:] = min(ends[0], low), max(ends[1], high)
        self.sums.append(float(arguments[0].double().sum()))


@contextmanager
def _watched(system: Model, names: Strings) -> Iterator[dict[str, _Seen]]:
    seen = {name: _Seen() for name in names}
    hooks = [selection.layer(system, name).register_forward_hook(seen[name].note) for name in names]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _round(
    system: Model, names: Strings, shared: Mapping[str, str], ends: Mapping[str, tuple[Sequence[float], ...]]
) -> None:
    """Put rounding convolutions in the place of some. shared: layer -> the one whose reading it shares."""
    before = {name: Rounding(*ends[name][0]) for name in names if shared[name] == name}
    for name in names:
        plain = selection.layer(system, name)
        own = shared[name] == name
        made = RoundedConv1d.of(plain, before[shared[name]], Rounding(*ends[name][1]), own=own)
        selection.replace(system, name, made.to(plain.weight.device).eval())


def _structure(
    system: Model,
    *,
    changed: Mapping[str, Any],
    stages: Strings = (),
    layers: Strings = (),
    skip: Strings = (),
    **_: Any,
) -> None:
    names = selection.layers(system, KINDS, stages=stages, layers=layers, skip=skip)
    shared = {name: changed["shared"].get(name, name) for name in names}
    _round(system, names, shared, {name: ((0.0, 1.0), (0.0, 1.0)) for name in names})


INT8_AWARE = Technique("int8-aware", int8_aware, _structure)
