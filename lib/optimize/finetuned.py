"""How does what a recogniser learnt become a recogniser like any other, on whatever runtime? As plain weights.

Adapters are added to the weights beside which they lie, in single precision; the file holds the sums in half, as the
published recogniser's does, so that sizes compare, and what is judged and deployed is what the file holds. Weights of
4 bits are unpacked first: a sum rounded to 4 bits again is another network than the one that learnt.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import targets
from lib.errors import MissingDataError, ParameterError, TrainingError, unknown
from lib.files import write_atomic
from lib.optimize import adapter_layers
from lib.optimize.variant import Technique

if TYPE_CHECKING:
    import torch

    from lib.systems.model import Model

RUNTIMES = ("torch", "ctranslate2", "onnxruntime")


def plain(network: "torch.nn.Module") -> "torch.nn.Module":
    """A copy of ordinary layers in single precision that computes the same, whatever adapter it has."""
    import torch

    same = copy.deepcopy(network)
    for layer in adapter_layers.of(same):
        state = getattr(layer.get_base_layer().weight, "quant_state", None)
        if state is None:
            layer.merge(safe_merge=True)
            continue
        import bitsandbytes

        packed = layer.get_base_layer()
        weight = bitsandbytes.functional.dequantize_4bit(packed.weight.data, state).float()
        for name in layer.active_adapters:
            weight = weight + layer.get_delta_weight(name).float()
        whole = torch.nn.Linear(packed.in_features, packed.out_features, packed.bias is not None)
        whole.weight = torch.nn.Parameter(weight.detach().clone())
        if packed.bias is not None:
            whole.bias = torch.nn.Parameter(packed.bias.detach().float().clone())
        layer.base_layer = whole
    adapter_layers.take_out(same)
    return same.requires_grad_(False).eval()


def write(network: "torch.nn.Module", file: str | Path) -> Path:
    """The weights of a recogniser, adapters within them, shared ones once, in half precision; returns the file."""
    import safetensors.torch

    tensors = {name: p.detach().half().cpu().contiguous() for name, p in plain(network).named_parameters()}
    return write_atomic(Path(file), safetensors.torch.save(tensors))


def finetuned(system: "Model", *, weights: str, data: str = "") -> None:
    """Give a recogniser, on any of its runtimes, the weights in a file of `write`. data: what they learnt from."""
    runtime = targets.find(system.target).runtime
    if system.kind != "recogniser" or runtime not in RUNTIMES:
        raise ParameterError(f"{system.name} on {system.target} is no recogniser whose weights can be replaced")
    state = _read(Path(weights))
    if runtime == "torch":
        _fill(system.model, state, weights)
        return
    from lib.systems.whisper import written
    from lib.systems.whisper.network import load_model

    model = load_model()
    _fill(model, state, weights)
    if runtime == "ctranslate2":
        system.graphs["model"] = written.model_file(model.state_dict())
        return
    from lib.systems.whisper import export

    system.graphs.update(export.graphs(model))


def _read(file: Path) -> "dict[str, torch.Tensor]":
    import safetensors
    import safetensors.torch

    if not file.is_file():
        raise MissingDataError(f"no weights at {file}: fine-tune first, or name another file")
    try:
        return safetensors.torch.load_file(file)
    except (OSError, safetensors.SafetensorError) as error:
        raise TrainingError(f"{file} cannot be read ({error}): it is cut short; write it anew") from error


def _fill(model: "torch.nn.Module", state: "dict[str, torch.Tensor]", whose: str) -> None:
    import torch

    own = dict(model.named_parameters())
    for name in state:
        if name not in own:
            raise unknown(f"weight of {whose}", name, own)
    if missing := sorted(own.keys() - state.keys()):
        raise TrainingError(f"{whose} lacks {', '.join(missing[:3])}: it is of another network")
    with torch.no_grad():
        for name, value in state.items():
            if own[name].shape != value.shape:
                raise TrainingError(
                    f"{whose} does not fit: {name} is {tuple(value.shape)} there, {tuple(own[name].shape)} here"
                )
            own[name].copy_(value)


def _nothing(system: "Model", **arguments: Any) -> None:
    """What is saved fits the base as it is."""


FINETUNED = Technique("finetuned", finetuned, _nothing)
