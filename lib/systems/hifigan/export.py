"""Which ONNX graphs are the networks of `hifigan`?

pitch     mel (F, 80)                       -> voiced (F,), a logit, and octaves (F,), log2(F0 / 100 Hz)
front     mel (F, 80), source (F, 4)        -> latents (1, 192, F)
decoder   latents (1, 192, F), of V1 the mel (F, 80)   -> waveform (F * 256,)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lib.features import HIFIGAN
from lib.graphs.export import export

_FRAMES = 24  # of the examples


def graphs(networks: Mapping[str, nn.Module]) -> dict[str, bytes]:
    """Those of `network.build`, by name."""
    mel = torch.randn(_FRAMES, HIFIGAN.n_bands)
    frames = {0: "frames"}
    if "front" not in networks:
        return {"decoder": export(_Mels(networks["decoder"]), {"mel": mel}, ["waveform"], {"mel": frames})}
    source = torch.randn(_FRAMES, 4)
    return {
        "pitch": export(_Pitch(networks["pitch"]), {"mel": mel}, ["voiced", "octaves"], {"mel": frames}),
        "front": export(
            _Front(networks["front"]),
            {"mel": mel, "source": source},
            ["latents"],
            {"mel": frames, "source": frames},
        ),
        "decoder": decoder(networks["decoder"]),
    }


def decoder(network: nn.Module) -> bytes:
    """The graph of a decoder alone, of latents of any width."""
    latents = torch.randn(1, network.conv_pre.in_channels, _FRAMES)
    return export(_Decoder(network), {"latents": latents}, ["waveform"], {"latents": {2: "frames"}})


class _Pitch(nn.Module):
    def __init__(self, reader: nn.Module):
        super().__init__()
        self.reader = reader

    def forward(self, mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        read = self.reader(mel[None])[0]
        return read[0], read[1]


class _Front(nn.Module):
    def __init__(self, reader: nn.Module):
        super().__init__()
        self.reader = reader

    def forward(self, mel: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        return self.reader(mel[None], source[None])


class _Decoder(nn.Module):
    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.decoder(latents)


class _Mels(nn.Module):
    """A generator that takes the mel itself."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return self.decoder(mel[None]).reshape(-1)


def published(vocoder: nn.Module) -> bytes:
    """The graph of transformers' `SpeechT5HifiGan`, mel (F, 80) -> waveform."""
    mel = torch.randn(_FRAMES, HIFIGAN.n_bands)
    return export(_Mels(vocoder), {"mel": mel}, ["waveform"], {"mel": {0: "frames"}})
