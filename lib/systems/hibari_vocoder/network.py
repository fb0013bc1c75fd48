"""The networks of `hibari-vocoder`: one that finds in a mel what the decoder is fed, and that decoder."""

from __future__ import annotations

import torch
from torch import nn

from lib.systems.hibari_vocoder import published
from lib.systems.hibari_vocoder.config import N_INPUTS, N_TEXT, HibariVocoderConfig
from lib.systems.hifigan.network import ConvNeXtBlock, MelReader

N_SPECTRA = 5 * 601  # magnitude and phase of the harmonics, noise, magnitude and phase of what is free, 601 bins each


class Front(nn.Module):
    """Log-mel frames at the decoder's rate -> text and loudness, whether it is voiced, and which class its F0 has."""

    def __init__(self, config: HibariVocoderConfig):
        super().__init__()
        self.reader = MelReader(config.width, config.blocks, 0, N_TEXT + 2 + config.pitch_bins)
        self.register_buffer("mean", torch.zeros(N_TEXT + 1))  # of text and loudness, over what it learnt from
        self.register_buffer("scale", torch.ones(N_TEXT + 1))

    def forward(self, log_mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, F, n_bands) -> (B, N_TEXT + 1, F), logits (B, F), logits (B, bins, F)."""
        found = self.reader(log_mel)
        fed = found[:, : N_TEXT + 1] * self.scale[:, None] + self.mean[:, None]
        return fed, found[:, N_TEXT + 1], found[:, N_TEXT + 2 :]


class Decoder(nn.Module):
    """The decoder of `hibari`: ConvNeXt blocks at the frame rate before one product that names every bin's spectrum."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.enter = nn.Conv1d(N_INPUTS, width, 7, padding=3)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, N_SPECTRA)

    def hidden(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, N_INPUTS, F) -> (B, F, width), of which the spectra are a linear function."""
        return self.norm(self.blocks(self.enter(inputs)).transpose(1, 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, N_INPUTS, F) -> (B, N_SPECTRA, F)."""
        return self.head(self.hidden(inputs)).transpose(1, 2)


def build(config: HibariVocoderConfig, seed: int = 0) -> dict[str, nn.Module]:
    """What is learnt, by its name, with random weights."""
    torch.manual_seed(seed)
    return {"front": Front(config)}


def decoder() -> Decoder:
    """The published one, its 8 bits as single precision, in evaluation."""
    weights = {name: torch.from_numpy(value.copy()) for name, value in published.weights().items()}
    blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    made = Decoder(len(weights["enter.bias"]), blocks)
    made.load_state_dict(weights)
    return made.eval()
