"""What can be taken out of a network as a whole, and which numbers go with it? A channel, a hidden unit, a head: every
tensor that holds a part of it.

    channels   of the decoders built like HiFi-GAN: what the same sum holds is cut together; torch-pruning follows it
    units      of feed-forward layers, between their two products; of `tortoise`'s residual blocks, between their two
               convolutions
    heads      of attention: of queries, keys, values, and of what reads them

A group is called after the layer that makes its units: "decoder/upsampler.0", "encoder/layers.2.fc1",
"acoustic_model/....self_attn".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.errors import require
from lib.systems.model import Model

if TYPE_CHECKING:
    import torch

TORCH_PRUNING = "torch-pruning==1.6.1"
KINDS = ("channels", "units", "heads")
TRACED = ("VitsHifiGan", "SpeechT5HifiGan")  # (B, channels, F) or (B, F, bands) -> waveform
# Class -> the layer that makes the hidden units of a feed-forward layer, and the one that reads them.
FEED_FORWARD = {
    "Block": ("expand", "project"),  # istft
    "ConvNeXtBlock": ("expand", "project"),  # hifigan's front
    "VitsFeedForward": ("conv_1", "conv_2"),
    "SpeechT5FeedForward": ("intermediate_dense", "output_dense"),
    "FastSpeech2ConformerMultiLayeredConv1d": ("conv1", "conv2"),
    "WhisperEncoderLayer": ("fc1", "fc2"),
    "WhisperDecoderLayer": ("fc1", "fc2"),
}
_QKV = ("q_proj", "k_proj", "v_proj")
# Class -> the layers that make queries, keys and values; the one that reads the heads; parameters with a row for each.
ATTENTION = {
    "SpeechT5Attention": (_QKV, "out_proj", ()),
    "VitsAttention": (_QKV, "out_proj", ()),
    "WhisperAttention": (_QKV, "out_proj", ()),
    "FastSpeech2ConformerAttention": (
        ("linear_q", "linear_k", "linear_v", "linear_pos"),
        "linear_out",
        ("pos_bias_u", "pos_bias_v"),
    ),
}


@dataclass(frozen=True)
class Place:
    """Where units lie: dimension `dim` of a parameter or buffer of a layer is (blocks, units, numbers of each)."""

    layer: str  # "<stage>/<path>"
    tensor: str
    dim: int
    blocks: int = 1


@dataclass(frozen=True)
class Group:
    """Units that can be taken out.

    numbers: (layer, attribute, how much of it each unit is); first: so many always stay, the first ones; strata: equal
    parts of which each loses as many (the groups of a norm).
    """

    name: str
    kind: str  # of KINDS
    n: int
    places: tuple[Place, ...]
    numbers: tuple[tuple[str, str, int], ...] = ()
    first: int = 0
    strata: int = 1


def groups(system: Model) -> dict[str, Group]:
    """All groups of a system's networks by name, in the order of its layers."""
    return {
        group.name: group for stage, network in system.modules.items() for group in _of_network(stage, network)
    }


def cut(system: Model, group: Group, kept: Sequence[int]) -> None:
    """Leave only these units of a group, in place."""
    import torch

    for place in group.places:
        layer = _layer(system, place.layer)
        old = getattr(layer, place.tensor)
        width = old.shape[place.dim] // (place.blocks * group.n)
        index = torch.arange(old.shape[place.dim], device=old.device).view(place.blocks, group.n, width)
        put(layer, place.tensor, old.detach().index_select(place.dim, index[:, list(kept)].flatten()))
    for name, attribute, each in group.numbers:
        setattr(_layer(system, name), attribute, each * len(kept))


def put(layer: "torch.nn.Module", tensor: str, value: "torch.Tensor") -> None:
    """Give a layer another value of a parameter or buffer, which lies in memory as the old one did, and let it know of
    its sizes.
    """
    import torch

    old = getattr(layer, tensor)
    if old.ndim == 2 and not old.is_contiguous() and old.t().is_contiguous():  # see speecht5.decoding.lay_out
        value = value.t().contiguous().t()
    if isinstance(old, torch.nn.Parameter):
        value = torch.nn.Parameter(value, requires_grad=old.requires_grad)
    setattr(layer, tensor, value)
    _count(layer)


def shapes(system: Model) -> dict[str, list[int]]:
    """The shape of every parameter and saved buffer, by "<stage>/<path>"."""
    return {
        f"{stage}/{name}": list(value.shape)
        for stage, network in system.modules.items()
        for name, value in network.state_dict().items()
        if hasattr(value, "shape")
    }


def resize(system: Model, sizes: Mapping[str, Sequence[int]], numbers: Mapping[str, int]) -> None:
    """Give tensors other shapes, their values left to be loaded, and layers other attributes ("<stage>/<path>")."""
    for name, shape in sizes.items():
        layer, tensor = _attribute(system, name)
        put(layer, tensor, getattr(layer, tensor).detach().new_zeros(tuple(shape)))
    for name, value in numbers.items():
        setattr(*_attribute(system, name), value)


def _layer(system: Model, name: str) -> "torch.nn.Module":
    stage, _, path = name.partition("/")
    return system.modules[stage].get_submodule(path)


def _attribute(system: Model, name: str) -> tuple["torch.nn.Module", str]:
    """Layer and attribute of "<stage>/<path>.<attribute>"."""
    stage, _, path = name.partition("/")
    owner, _, attribute = path.rpartition(".")
    return system.modules[stage].get_submodule(owner), attribute


def _of_network(stage: str, network: "torch.nn.Module") -> Iterator[Group]:
    if type(network).__name__ in TRACED:
        yield from _channels(stage, network)
    guided = getattr(getattr(network, "config", None), "guided", 0)
    for path, module in network.named_modules():
        name, kind = f"{stage}/{path}", type(module).__name__
        if kind in FEED_FORWARD:
            yield _hidden(name, module, *FEED_FORWARD[kind])
        elif kind in ATTENTION:
            # The first heads that look from speech to text say which symbol is spoken: decoding asks them.
            yield _heads(name, module, *ATTENTION[kind], guided if path.endswith("encoder_attn") else 0)
        elif kind == "Attention" and hasattr(module, "qkv"):
            yield _joined_heads(name, module)
        elif kind == "ResidualBlock" and hasattr(module, "emb_layers"):
            yield _between_convolutions(name, module)


def _channels(stage: str, network: "torch.nn.Module") -> Iterator[Group]:
    """Of a decoder: torch-pruning runs it once and follows what is added to what."""
    import torch
    from torch import nn

    pruning = require("torch_pruning", TORCH_PRUNING)
    first = network.conv_pre
    example = first.weight.new_zeros(1, first.in_channels, 8)
    if type(network).__name__ == "SpeechT5HifiGan":
        example = example.transpose(1, 2)
    wants = {p: p.requires_grad for p in network.parameters()}
    with torch.enable_grad():
        graph = pruning.DependencyGraph().build_dependency(
            network.requires_grad_(True), example, forward_fn=lambda net, x: net(x), verbose=False
        )
    paths = {module: path for path, module in network.named_modules()}
    order = {path: number for number, path in enumerate(paths.values())}
    named = {}
    for members in graph.get_all_groups([network.conv_post], (nn.Conv1d, nn.ConvTranspose1d)):
        n, places, makers = len(members[0][1]), [], []
        for dependency, index in members:
            layer = dependency.target.module
            if layer not in paths:
                continue  # an operator without weights
            if list(index) != list(range(n)):
                break  # joined with others: not one of these decoders
            made = graph.is_out_channel_pruning_fn(dependency.handler)
            transposed = isinstance(layer, nn.ConvTranspose1d)
            places.append(Place(f"{stage}/{paths[layer]}", "weight", int(made == transposed)))
            if made:
                makers.append(paths[layer])
                places += [Place(f"{stage}/{paths[layer]}", "bias", 0)] * (layer.bias is not None)
        else:
            path = min(makers, key=order.get)
            named[path] = Group(f"{stage}/{path}", "channels", n, tuple(dict.fromkeys(places)))
    for parameter, wanted in wants.items():
        parameter.requires_grad_(wanted)
    yield from (named[path] for path in sorted(named, key=order.get))


def _hidden(name: str, module: "torch.nn.Module", into: str, out: str) -> Group:
    made = f"{name}.{into}"
    places = [Place(made, "weight", 0), Place(f"{name}.{out}", "weight", 1)]
    if getattr(module, into).bias is not None:
        places.insert(1, Place(made, "bias", 0))
    return Group(made, "units", getattr(module, into).weight.shape[0], tuple(places))


def _heads(
    name: str, module: "torch.nn.Module", into: Sequence[str], out: str, own: Sequence[str], first: int
) -> Group:
    places = [Place(f"{name}.{layer}", "weight", 0) for layer in into]
    places += [Place(f"{name}.{layer}", "bias", 0) for layer in into if getattr(module, layer).bias is not None]
    places += [Place(name, parameter, 0) for parameter in own]
    numbers = [(name, "num_heads", 1)]
    if type(module).__name__ in ("SpeechT5Attention", "VitsAttention"):  # the width of what they have heard
        numbers.append((name, "embed_dim", module.head_dim))
    places.append(Place(f"{name}.{out}", "weight", 1))
    return Group(name, "heads", module.num_heads, tuple(places), tuple(numbers), first)


def _joined_heads(name: str, module: "torch.nn.Module") -> Group:
    """`tortoise`'s: one convolution makes queries, keys and values of one head beside each other."""
    places = (
        Place(f"{name}.qkv", "weight", 0),
        Place(f"{name}.qkv", "bias", 0),
        Place(f"{name}.proj_out", "weight", 1),
        Place(f"{name}.relative_pos_embeddings.relative_attention_bias", "weight", 1),
    )
    return Group(name, "heads", module.heads, places, ((name, "heads", 1),))


def _between_convolutions(name: str, module: "torch.nn.Module") -> Group:
    """`tortoise`'s residual block: its second norm takes the mean over groups of channels, and the timestep gives each
    channel a scale and a shift.
    """
    norm = module.out_layers[0]
    made, after, clock = f"{name}.in_layers.2", f"{name}.out_layers.0", f"{name}.emb_layers.1"
    places = (
        Place(made, "weight", 0),
        Place(made, "bias", 0),
        Place(after, "weight", 0),
        Place(after, "bias", 0),
        Place(clock, "weight", 0, blocks=2),
        Place(clock, "bias", 0, blocks=2),
        Place(f"{name}.out_layers.3", "weight", 1),
    )
    return Group(made, "units", norm.num_channels, places, strata=norm.num_groups)


def _count(layer: "torch.nn.Module") -> None:
    """Set what a layer of torch knows of its sizes to what its weights have."""
    from torch import nn

    sizes: dict[str, Any] = {}
    shape = layer.weight.shape if getattr(layer, "weight", None) is not None else ()
    if isinstance(layer, nn.Linear):
        sizes = dict(zip(("out_features", "in_features"), shape))
    elif isinstance(layer, nn.ConvTranspose1d):
        sizes = dict(zip(("in_channels", "out_channels"), shape))
    elif isinstance(layer, nn.Conv1d):
        sizes = dict(zip(("out_channels", "in_channels"), shape))
    elif isinstance(layer, nn.GroupNorm):
        sizes = {"num_channels": shape[0]}
    elif isinstance(layer, nn.Embedding):
        sizes = dict(zip(("num_embeddings", "embedding_dim"), shape))
    for attribute, value in sizes.items():
        setattr(layer, attribute, value)
