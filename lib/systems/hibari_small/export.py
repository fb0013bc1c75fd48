"""Which ONNX graphs does `hibari-small` consist of?

encoder   ids (n,) -> known (n, width), lasting (n,), see `signal.lengths`
prosody   held (F, width + N_PLACE) -> hz (F,), 0 where unvoiced, loudness (F,)
decoder   held, hz, loudness, of a sentence or a part of it -> spectra (F, N_SPECTRA)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lib.graphs.export import export
from lib.systems.hibari_small.config import N_PLACE, N_SYMBOLS, HibariSmallConfig
from lib.systems.hibari_small.network import Heard

_PHONEMES, _FRAMES = 12, 24  # of the examples


def graphs(networks: Mapping[str, nn.Module], config: HibariSmallConfig) -> dict[str, bytes]:
    """Those of `network.build`'s, by name."""
    ids = torch.arange(_PHONEMES) % N_SYMBOLS
    held = {"held": torch.randn(_FRAMES, config.width + N_PLACE)}
    heard = {"hz": torch.full((_FRAMES,), 150.0), "loudness": torch.zeros(_FRAMES)}
    whole = networks["decoder"]
    return {
        "encoder": export(
            _Encoder(networks["encoder"]), {"ids": ids}, ["known", "lasting"], {"ids": {0: "phonemes"}}
        ),
        "prosody": export(_Prosody(whole), held, ["hz", "loudness"], {"held": {0: "frames"}}),
        "decoder": export(
            _Decoder(whole), held | heard, ["spectra"], {name: {0: "frames"} for name in (*held, *heard)}
        ),
    }


class _Encoder(nn.Module):
    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(found[0] for found in self.encoder(ids[None], None))


class _Prosody(nn.Module):
    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, held: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(found[0] for found in self.decoder(held[None]))


class _Decoder(nn.Module):
    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, held: torch.Tensor, hz: torch.Tensor, loudness: torch.Tensor) -> torch.Tensor:
        return self.decoder(held[None], Heard(hz[None], loudness[None]))[0]
