"""What of VITS learns, and what the published voice lacks for it.

Kim et al. 2021, arXiv:2106.06103. Speaking takes a text encoder, a duration predictor, a flow and a decoder. To
learn, VITS also needs a posterior encoder, which hears latents in recorded speech, and in its duration
predictor the networks that spread whole frames over the real line. Neither is in the graph that Piper exports:
here they begin untrained, the duration predictor's as the identity.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from lib.systems.vits_joe import piper
from lib.systems.vits_joe.network import build_whole

SPOKEN = "text_encoder", "duration_predictor", "flow", "decoder"  # what speaks
POSTERIOR = "posterior_encoder"
_LACKING = "post_", "flows.1."  # the parameters of the duration predictor that only training uses begin so


def build(*, seed: int = 0, published: bool = True) -> dict[str, nn.Module]:
    """The five networks. published: with the voice's weights; else all of them
    untrained.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_whole()
    networks = {name: getattr(model, name) for name in (*SPOKEN, POSTERIOR)}
    predictor = networks["duration_predictor"]
    for flow in (predictor.flows[1], *list(predictor.post_flows)[1:]):
        nn.init.zeros_(flow.conv_proj.weight)
        nn.init.zeros_(flow.conv_proj.bias)
    if published:
        weights = piper.state_dict()
        for name in SPOKEN:
            mine = {
                key.removeprefix(f"{name}."): torch.tensor(w) for key, w in weights.items() if _is_of(key, name)
            }
            left = networks[name].load_state_dict(mine, strict=False)
            assert not left.unexpected_keys and all(lacking(f"{name}.{key}") for key in left.missing_keys)
    return networks


def lacking(key: str) -> bool:
    """Whether a parameter, "<network>.<name>", is one that the published voice lacks."""
    network, _, name = key.partition(".")
    return network == POSTERIOR or (network == "duration_predictor" and name.startswith(_LACKING))


def spoken(weights: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, np.ndarray]:
    """What `piper.save` wants of the state dicts of the networks."""
    return {
        f"{network}.{key}": value.detach().float().cpu().numpy()
        for network in SPOKEN
        for key, value in weights[network].items()
        if not lacking(f"{network}.{key}")
    }


def _is_of(key: str, network: str) -> bool:
    return key.startswith(f"{network}.")
