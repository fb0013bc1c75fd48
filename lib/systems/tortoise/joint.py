"""How do the front end and the decoder of `tortoise` go together, in training and in use?"""

from __future__ import annotations

import torch
from torch import nn

from lib.features import HIFIGAN
from lib.systems.fastspeech2 import network as fastspeech2_network
from lib.systems.tortoise.config import NetworkConfig, Sizes
from lib.systems.tortoise.network import DiffusionDecoder
from lib.systems.tortoise.sampling import Sample
from lib.systems.tortoise.schedules import Sampling
from lib.systems.tortoise.walking import walk


class TortoiseNetwork(nn.Module):
    """The frozen front end and the decoder, saved together. The front end also holds the statistics of the mel."""

    def __init__(self, config: NetworkConfig, n_speakers: int):
        super().__init__()
        self.front = (
            fastspeech2_network.FastSpeech2Network(config.front, n_speakers).requires_grad_(False).eval()
        )
        self.decoder = DiffusionDecoder(config.decoder(n_speakers, config.front.hidden))

    def train(self, mode: bool = True) -> "TortoiseNetwork":
        """The decoder alone; the front end stays as it was trained, its batch norms' statistics too."""
        super().train(mode)
        self.front.eval()
        return self

    def forward(
        self,
        ids: torch.Tensor,
        speakers: torch.Tensor,
        frames: torch.Tensor,
        pitch: torch.Tensor,
        energy: torch.Tensor,
        starts: torch.Tensor,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        dropped: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Training: (prediction, rough mel), both like x, the noised standardised mel (B, n_bands, F) from
        frame `starts` (B,) of each sentence on; ids, frames, pitch, energy (B, T) as the front end takes them;
        dropped: (B,) bool.
        """
        with torch.no_grad():
            said = read(self.front, ids, speakers, frames, pitch, energy)
            said = windows(said, starts, x.shape[-1])
        return self.decoder(x, timesteps, said, speakers, dropped)


def latents(
    front: nn.Module,
    encoded: fastspeech2_network.Encoded,
    frames: torch.Tensor,
    pitch: torch.Tensor,
    energy: torch.Tensor,
) -> torch.Tensor:
    """What the front end knows of every frame before it makes a mel of it, (B, F, hidden)."""
    return front.deepen(*front.expand(encoded, frames, pitch, energy))


def read(
    front: nn.Module,
    ids: torch.Tensor,
    speakers: torch.Tensor,
    frames: torch.Tensor,
    pitch: torch.Tensor,
    energy: torch.Tensor,
) -> torch.Tensor:
    """The latents of sentences with known prosody, (B, F, hidden); ids, frames, pitch, energy: (B, T)."""
    return latents(front, front.encode(ids, speakers), frames, pitch, energy)


def windows(said: torch.Tensor, starts: torch.Tensor, length: int) -> torch.Tensor:
    """Of latents (B, F, hidden) those of `length` frames from `starts` (B,) on."""
    places = starts[:, None] + torch.arange(length, device=said.device)  # (B, length)
    return said.gather(1, places[..., None].expand(-1, -1, said.shape[-1]))


def denoised(
    decoder: nn.Module, config: Sizes, said: torch.Tensor, speakers: torch.Tensor, how: Sampling, seed: int
) -> Sample:
    """Standardised mels (B, n_bands, F) drawn for latents (B, F, hidden)."""
    generator = torch.Generator().manual_seed(seed)
    condition = decoder.condition(said, speakers, said.shape[1])
    noise = torch.randn((len(said), HIFIGAN.n_bands, said.shape[1]), generator=generator).to(said.device)
    return walk(decoder, config.noise, config.prediction, condition, noise, how, generator)


def build(config: NetworkConfig, n_speakers: int, seed: int = 0) -> TortoiseNetwork:
    """The networks with random weights."""
    torch.manual_seed(seed)
    return TortoiseNetwork(config, n_speakers)
