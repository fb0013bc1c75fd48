"""The networks of `hibari-small`: one reads phonemes, the other says frames.

`real` is (B, time) bool, False where there is padding; None for a batch without any (`lib.systems.padding`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from lib.systems.hibari_small.config import N_PLACE, N_PROSODY, N_SPECTRA, N_SYMBOLS, N_TEXT, HibariSmallConfig
from lib.systems.hifigan.network import ConvNeXtBlock
from lib.systems.padding import silenced

USUAL_HZ = 200.0  # F0 is told in octaves from here
PITCH_SCALE = 5.0  # the decoder is fed log(1 + F0) over this


class Prosody(NamedTuple):
    """Of each frame, (B, F): the logit of its being voiced, F0 in octaves from USUAL_HZ, loudness as it was learnt."""

    voiced: torch.Tensor
    octaves: torch.Tensor
    loudness: torch.Tensor


class Heard(NamedTuple):
    """What the spectra are told beside the phonemes, (B, F): F0 in Hz, 0 where unvoiced, and loudness."""

    hz: torch.Tensor
    loudness: torch.Tensor


class Taught(NamedTuple):
    """What a decoder that learns is told: hz, loudness (B, F) and known (B, n, width) of all phonemes; real (B, F);
    rows and columns (N,): the frames whose spectra are wanted.
    """

    hz: torch.Tensor
    loudness: torch.Tensor
    known: torch.Tensor
    real: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor


class Learnt(NamedTuple):
    """What it answers: prosody (B, F); hidden (N, decoder_width) and spectra (N, N_SPECTRA) of the frames asked for;
    text (B, n, N_TEXT).
    """

    prosody: Prosody
    hidden: torch.Tensor
    spectra: torch.Tensor
    text: torch.Tensor


class Encoder(nn.Module):
    """Phonemes -> what is known of each, and how long it lasts, as `signal.lengths` takes it."""

    def __init__(self, config: HibariSmallConfig):
        super().__init__()
        width = config.width
        self.embedding = nn.Embedding(N_SYMBOLS, width)
        self.blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(config.encoder_blocks))
        self.layers = nn.ModuleList(_Attention(width, config.heads) for _ in range(config.encoder_layers))
        self.norm = nn.LayerNorm(width)
        self.hidden_length = nn.Conv1d(width, width, 3, padding=1)
        self.length = nn.Linear(width, 1)

    def forward(self, ids: torch.Tensor, real: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, n) -> (B, n, width), (B, n)"""
        channels = _through(self.blocks, silenced(self.embedding(ids).transpose(1, 2), real), real)
        hidden = channels.transpose(1, 2)
        for layer in self.layers:
            hidden = layer(hidden, real)
        hidden = self.norm(hidden)
        lasting = F.gelu(self.hidden_length(silenced(hidden.transpose(1, 2), real))).transpose(1, 2)
        return hidden, self.length(lasting)[..., 0]


class Decoder(nn.Module):
    """Phonemes held for as long as each lasts -> pitch and loudness, and then the spectra."""

    def __init__(self, config: HibariSmallConfig):
        super().__init__()
        width, decoder = config.width, config.decoder_width
        self.enter_prosody = nn.Linear(width + N_PLACE, width)
        self.prosody_blocks = nn.ModuleList(ConvNeXtBlock(width) for _ in range(config.prosody_blocks))
        self.prosody_head = nn.Linear(width, N_PROSODY)
        self.text = nn.Linear(width, N_TEXT)
        self.enter = nn.Conv1d(N_TEXT + 2, decoder, 7, padding=3)
        self.blocks = nn.ModuleList(ConvNeXtBlock(decoder) for _ in range(config.decoder_blocks))
        self.norm = nn.LayerNorm(decoder)
        self.head = nn.Linear(decoder, N_SPECTRA)

    def prosody(self, held: torch.Tensor, real: torch.Tensor | None) -> Prosody:
        """held: (B, F, width + N_PLACE)."""
        channels = silenced(self.enter_prosody(held).transpose(1, 2), real)
        found = self.prosody_head(_through(self.prosody_blocks, channels, real).transpose(1, 2))
        return Prosody(*found.unbind(-1))

    def hidden(
        self, held: torch.Tensor, hz: torch.Tensor, loudness: torch.Tensor, real: torch.Tensor | None
    ) -> torch.Tensor:
        """(B, F, decoder_width), of which the spectra are a linear function. hz: (B, F), 0 where unvoiced."""
        heard = torch.stack([torch.log1p(hz) / PITCH_SCALE, loudness], -1).to(held.dtype)
        told = torch.cat([self.text(held[..., :-N_PLACE]), heard], -1)
        channels = silenced(self.enter(silenced(told.transpose(1, 2), real)), real)
        return self.norm(_through(self.blocks, channels, real).transpose(1, 2))

    def forward(self, held: torch.Tensor, told: Heard | Taught | None = None) -> Heard | torch.Tensor | Learnt:
        """(B, F, width + N_PLACE) -> what is `Heard` of a whole sentence; told that, spectra (B, F, N_SPECTRA), of a
        part of one likewise; what is taught finds its spectra with the true pitch and loudness.
        """
        if told is None:
            found = self.prosody(held, None)
            return Heard(USUAL_HZ * torch.exp(math.log(2) * found.octaves) * (found.voiced > 0), found.loudness)
        if isinstance(told, Heard):
            return self.head(self.hidden(held, told.hz, told.loudness, None))
        hidden = self.hidden(held, told.hz, told.loudness, told.real)[told.rows, told.columns]
        return Learnt(self.prosody(held, told.real), hidden, self.head(hidden), self.text(told.known))


class _Attention(nn.Module):
    """A layer that attends to a whole sentence, and a network per phoneme."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm, self.asked, self.answer = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.second_norm = nn.LayerNorm(width)
        self.expand, self.project = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, hidden: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:  # (B, n, width)
        asked = self.asked(self.norm(hidden)).unflatten(-1, (3, self.heads, -1))  # (B, n, 3, heads, channels)
        query, key, value = asked.permute(2, 0, 3, 1, 4)  # (B, heads, n, channels) each
        near = query @ key.transpose(-1, -2) * key.shape[-1] ** -0.5
        if real is not None:
            near = near.masked_fill(~real[:, None, None], torch.finfo(near.dtype).min)
        hidden = hidden + self.answer((near.softmax(-1) @ value).transpose(1, 2).flatten(-2))
        return hidden + self.project(F.gelu(self.expand(self.second_norm(hidden))))


def _through(blocks: nn.ModuleList, channels: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    for block in blocks:
        channels = silenced(block(channels), real)
    return channels


def build(config: HibariSmallConfig, seed: int = 0) -> dict[str, nn.Module]:
    """Encoder and decoder by name, with random weights."""
    torch.manual_seed(seed)
    return {"encoder": Encoder(config), "decoder": Decoder(config)}
