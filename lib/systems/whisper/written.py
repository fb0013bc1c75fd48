"""How do weights that were changed get back into a CTranslate2 file? As `network.state_dict` reads them, reversed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import ParameterError
from lib.systems.whisper import ctranslate2_weights
from lib.systems.whisper.package import folder

if TYPE_CHECKING:
    import torch

_ATTENTION = {"self_attention": "self_attn", "attention": "encoder_attn"}
_STACKED = {
    ("self_attention", "linear_0"): "qkv",
    ("attention", "linear_0"): "q",
    ("attention", "linear_1"): "kv",
}


def model_file(state: "Mapping[str, torch.Tensor]", half: bool = True) -> bytes:
    """The file with these weights, under transformers' names, in half precision as the published one or in single.

    Raises ParameterError where one is missing or has another shape.
    """
    published = ctranslate2_weights.parse((folder() / "model.bin").read_bytes())
    tensors = {}
    for name, tensor in published.tensors.items():
        if not tensor.ndim:  # a setting, no weight
            tensors[name] = tensor
            continue
        value = _weights(name, state)
        if value.shape != tensor.shape:
            raise ParameterError(
                f"{name} is {tensor.shape} in the published file, {value.shape} here: another network"
            )
        tensors[name] = value.astype(np.float16 if half else np.float32)
    return ctranslate2_weights.serialize(
        ctranslate2_weights.Contents(published.specification, tensors, published.aliases)
    )


def _weights(name: str, state: "Mapping[str, torch.Tensor]") -> np.ndarray:
    """The tensor that the file has under this name."""
    side, _, rest = name.partition("/")
    base = f"model.{side}"
    rest = rest.replace("gamma", "weight").replace("beta", "bias")
    if not (layer := re.fullmatch(r"layer_(\d+)/(.+)", rest)):
        named = {
            "embeddings/weight": "embed_tokens.weight",
            "position_encodings/encodings": "embed_positions.weight",
            "projection/weight": "embed_tokens.weight",  # the same matrix
        }
        return _array(state, f"{base}.{named.get(rest, rest.replace('/', '.'))}")
    base, rest = f"{base}.layers.{layer[1]}", layer[2]
    block, linear, kind = rest.split("/")[0], rest.split("/")[-2], rest.rsplit("/", 1)[1]
    if block in _ATTENTION:
        own = f"{base}.{_ATTENTION[block]}"
        if "layer_norm" in rest:
            return _array(state, f"{own}_layer_norm.{kind}")
        if (block, linear) not in _STACKED:
            return _array(state, f"{own}.out_proj.{kind}")
        width = _array(state, f"{own}.q_proj.weight").shape[0]
        # Keys have no bias in Whisper; CTranslate2 stores zeros.
        parts = [
            np.zeros(width, np.float32)
            if (part, kind) == ("k", "bias")
            else _array(state, f"{own}.{part}_proj.{kind}")
            for part in _STACKED[block, linear]
        ]
        return np.concatenate(parts)
    if "layer_norm" in rest:
        return _array(state, f"{base}.final_layer_norm.{kind}")
    return _array(state, f"{base}.{'fc1' if linear == 'linear_0' else 'fc2'}.{kind}")


def _array(state: "Mapping[str, torch.Tensor]", name: str) -> np.ndarray:
    if name not in state:
        raise ParameterError(f"{name} is missing: give all weights of a plain network, adapters within them")
    return state[name].detach().cpu().float().numpy()
