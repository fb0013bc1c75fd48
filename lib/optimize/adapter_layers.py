"""Which layers of a network get an adapter, and how is it put there? Groups by what a layer does, layers by peft.

    attention      queries, keys, values and outputs, and what reads positions
    feed-forward   the two layers of every block's feed-forward part, linear or convolutions
    convolutions   other convolutions that hear all channels at once, and pointwise ones that are linear layers here
    linear         every linear layer

Left out whatever is asked for: convolutions in groups or with gaps, for which peft's have no like, and layers that read
or say a single number, beside which no product of thin matrices is smaller.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from lib.errors import ParameterError, require

if TYPE_CHECKING:
    from torch import nn

    from lib.optimize.lora import Adapter

METHODS = ("full", "lora", "dora", "ia3", "qlora", "speaker")
GROUPS = ("attention", "feed-forward", "convolutions", "linear")
BITSANDBYTES = "bitsandbytes==0.50.2"
_ATTENTION = re.compile(r"attn|attention")
_FEED_FORWARD = re.compile(r"feed_forward|ffn|(^|\.)fc[12]$|intermediate_dense|output_dense")
_POINTWISE = re.compile(r"pointwise_conv\d*$")
# What ia3 scales: outputs of keys and values, inputs of the second feed-forward layer.
_SCALED = re.compile(r"(linear_k|linear_v|k_proj|v_proj)$")
_SCALED_BEFORE = re.compile(r"((^|\.)fc2|feed_forward\w*\.(conv2|output_dense))$")
_TABLE = re.compile(r"speaker|voices")


def chosen(network: nn.Module, groups: Sequence[str]) -> dict[str, nn.Module]:
    """Path -> layer of all that are in one of the groups; ParameterError where a group has none."""
    layers: dict[str, nn.Module] = {}
    every = [(path, layer) for path, layer in network.named_modules() if path]
    for group in groups:
        members = {path: layer for path, layer in every if _in(group, path, layer)}
        if not members:
            raise ParameterError(
                f"{type(network).__name__} has no layer of the group {group!r}: take others of {', '.join(GROUPS)}"
            )
        layers |= members
    return layers


def put(network: nn.Module, adapter: Adapter, own: Sequence[str]) -> list[str]:
    """Put the adapter's layers into the network; the names of what they add to its state.

    own: what the adapter has beside them, which may be enough for the method `speaker`.
    """
    if adapter.method == "speaker":
        return [] if own else _tables(network)
    import torch

    layers = chosen(network, adapter.modules)
    before = set(network.state_dict())
    config = _ia3(network, layers) if adapter.method == "ia3" else _lora(network, adapter, layers)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of merging, where `merge` speaks for itself
        torch.manual_seed(adapter.seed)
        _peft().inject_adapter_in_model(config, network)
    return [name for name in network.state_dict() if name not in before and ".base_layer." not in name]


def of(network: nn.Module) -> list[nn.Module]:
    """The adapter's layers in a network."""
    try:
        _quiet()
        from peft.tuners.tuners_utils import BaseTunerLayer
    except ImportError:  # nobody can have put one there
        return []
    return [layer for layer in network.modules() if isinstance(layer, BaseTunerLayer)]


def take_out(network: nn.Module) -> None:
    """Put each layer's base in its place again, as it is now."""
    ours = set(map(id, of(network)))
    for path, layer in list(network.named_modules()):
        if id(layer) in ours:
            parent, _, name = path.rpartition(".")
            setattr(network.get_submodule(parent), name, layer.get_base_layer())


def _in(group: str, path: str, layer: nn.Module) -> bool:
    from torch import nn

    if type(layer) not in (nn.Linear, nn.Conv1d) or 1 in layer.weight.shape[:2]:
        return False
    linear = type(layer) is nn.Linear
    convolution = not linear and layer.groups == 1 and layer.dilation == (1,)
    if group == "linear":
        return linear
    if group == "attention":
        return linear and bool(_ATTENTION.search(path))
    forward = bool(_FEED_FORWARD.search(path))
    if group == "feed-forward":
        return forward and (linear or convolution)
    return not forward and (convolution or linear and bool(_POINTWISE.search(path)))


def _lora(network: nn.Module, adapter: Adapter, layers: dict[str, nn.Module]) -> object:
    for path, layer in layers.items():
        narrow = min(layer.weight.shape[:2])
        if adapter.rank > narrow:
            raise ParameterError(
                f"rank {adapter.rank} is larger than the layer {path} of {type(network).__name__}, whose narrow side "
                f"is {narrow}: a product of thin matrices would be larger there than the layer; take a smaller rank"
            )
    if adapter.method == "qlora":
        _in_4_bits(network, layers)
    return _peft().LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=_any_of(layers),
        use_dora=adapter.method == "dora",
    )


def _ia3(network: nn.Module, layers: dict[str, nn.Module]) -> object:
    from torch import nn

    linear = [path for path, layer in layers.items() if type(layer) is nn.Linear]
    before = [path for path in linear if _SCALED_BEFORE.search(path)]
    after = [path for path in linear if _SCALED.search(path)]
    if not before + after:
        raise ParameterError(
            f"ia3 scales keys, values and feed-forward layers, and finds none in {type(network).__name__} among the "
            f"{len(layers)} layers chosen: take the modules attention and feed-forward, or another method"
        )
    return _peft().IA3Config(
        target_modules=_any_of([*before, *after]), feedforward_modules=_any_of(before) if before else []
    )


def _peft() -> ModuleType:
    """The library."""
    _quiet()
    return require("peft", "peft==0.21.2")


def _quiet() -> None:
    """Spare the reader what bitsandbytes, which peft imports, tells of faster kernels in another package."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _any_of(paths: Sequence[str] | dict[str, nn.Module]) -> str:
    """A pattern that matches these paths as a whole: peft would take a list as endings."""
    return "|".join(map(re.escape, paths))


def _tables(network: nn.Module) -> list[str]:
    """The weights of every table of speakers."""
    from torch import nn

    found = [
        f"{path}.weight"
        for path, layer in network.named_modules()
        if type(layer) is nn.Embedding and _TABLE.search(path)
    ]
    if not found:
        raise ParameterError(
            f"{type(network).__name__} has no table of speakers: the method `speaker` is for voices that know several"
        )
    return found


def _in_4_bits(network: nn.Module, layers: dict[str, nn.Module]) -> None:
    """Linear layers of NF4 with scales that are quantized themselves, in the place of others; computed in single
    precision, for in bfloat16 a processor without units for it takes three times as long.
    """
    import torch
    from torch import nn

    _quiet()
    bitsandbytes = require("bitsandbytes", BITSANDBYTES)
    for path, layer in layers.items():
        if type(layer) is not nn.Linear:
            continue
        packed = bitsandbytes.nn.Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=layer.bias is not None,
            compute_dtype=torch.float32,
            compress_statistics=True,
            quant_type="nf4",
        )
        packed.weight = bitsandbytes.nn.Params4bit(
            layer.weight.detach(),
            requires_grad=False,
            compress_statistics=True,
            quant_type="nf4",
            module=packed,
        )
        packed.bias = layer.bias
        # Where a processor has bf16 units, these layers would compute in it outside of training, and lay their weights
        # down otherwise: another voice on another machine, and no gradient.
        packed.support_avx512bf16_for_cpu = False
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, packed.to(layer.weight.device).train(layer.training))
