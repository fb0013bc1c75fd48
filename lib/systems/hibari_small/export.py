"""Which ONNX graphs does `hibari-small` consist of?

encoder   ids (n,) -> known (n, width), lasting (n,), see `signal.lengths`
decoder   held (F, width + N_PLACE) -> hz (F,), 0 where unvoiced, and spectra (F, N_SPECTRA)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lib.graphs.export import export
from lib.systems.hibari_small.config import N_PLACE, N_SYMBOLS, HibariSmallConfig

_PHONEMES, _FRAMES = 12, 24  # of the examples


def graphs(networks: Mapping[str, nn.Module], config: HibariSmallConfig) -> dict[str, bytes]:
    """Those of `network.build`'s, by name."""
    ids = torch.arange(_PHONEMES) % N_SYMBOLS
    frames = torch.randn(_FRAMES, config.width + N_PLACE)
    encoder, decoder = _Encoder(networks["encoder"]), _Decoder(networks["decoder"])
    return {
        "encoder": export(encoder, {"ids": ids}, ["known", "lasting"], {"ids": {0: "phonemes"}}),
        "decoder": export(decoder, {"held": frames}, ["hz", "spectra"], {"held": {0: "frames"}}),
    }


class _Encoder(nn.Module):
    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(found[0] for found in self.encoder(ids[None], None))


class _Decoder(nn.Module):
    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, held: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(found[0] for found in self.decoder(held[None]))
