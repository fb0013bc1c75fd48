"""The network of `tacotron2`: it reads the text symbol by symbol, guided by its own attention, and says when it
is done.

Shen et al. 2018 (arXiv:1712.05884) in the sizes and under the state-dict names of NVIDIA's public
implementation, whose LJ Speech checkpoint also means the same mel (`features.HIFIGAN`). What differs leaves the
weights' meaning alone: padding is kept out of every layer; under teacher forcing the second LSTM, which nothing
feeds back from, runs over all steps at once, so that dropout falls on what leaves it and not on its state;
several voices and several frames per step are possible.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from lib.errors import AudioError
from lib.systems.attention import SpokenMel
from lib.systems.padding import both_ways, normalised, silenced
from lib.systems.standardised import Standardised
from lib.systems.symbols import vocabulary_size
from lib.systems.tacotron2.config import NetworkConfig
from lib.systems.tacotron2.decoder import BANDS, Decoder
from lib.systems.tacotron2.layers import Convolution


class Prediction(NamedTuple):
    """rough, mel: standardised log-mels before and after the postnet, (B, F, n_bands); stop: (B, S), logits of
    a step being the last; alignment: (B, S, T), its attention to the symbols. F = S * frames_per_step.
    """

    rough: torch.Tensor
    mel: torch.Tensor
    stop: torch.Tensor
    alignment: torch.Tensor


class Tacotron2Network(Standardised):
    """The published layers beside the statistics of their mel, saved together. For the published weights they are 0
    and 1.
    """

    def __init__(self, config: NetworkConfig, n_speakers: int, n_symbols: int):
        super().__init__(BANDS)
        self.network = Tacotron2Layers(config, n_speakers, n_symbols)

    def forward(
        self, ids: torch.Tensor, speakers: torch.Tensor, mel: torch.Tensor, mask: torch.Tensor
    ) -> Prediction:
        """Teacher forcing, see `Tacotron2Layers.forward`."""
        return self.network(ids, speakers, mel, mask)

    def read(self, ids: torch.Tensor, speakers: torch.Tensor, seed: int, threshold: float = 0.5) -> SpokenMel:
        """Say one sentence unaided: ids (1, T), speakers (1,). The seed draws the prenet's dropout; threshold:
        of the gate.
        """
        mel, alignment, stopped = self.network.read(ids, speakers, seed, threshold)
        if not mel.isfinite().all():
            raise AudioError(
                "the network says what is not a number: it is not trained, or its weights are broken; take another "
                "checkpoint"
            )
        return SpokenMel(self.as_log_mel(mel[0]), alignment[0], stopped)


class Tacotron2Layers(nn.Module):
    """The published network; every name in its state dict is that of NVIDIA's implementation, but for
    `speaker_embedding`, which exists where there are several voices.
    """

    def __init__(self, config: NetworkConfig, n_speakers: int, n_symbols: int):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(n_symbols, config.embedding)
        bound = math.sqrt(6 / (n_symbols + config.embedding))
        nn.init.uniform_(self.embedding.weight, -bound, bound)
        if n_speakers > 1:
            self.speaker_embedding = nn.Embedding(n_speakers, config.embedding)
            nn.init.normal_(self.speaker_embedding.weight, std=0.1)
        self.encoder = _Encoder(config)
        self.decoder = Decoder(config)
        self.postnet = _Postnet(config)

    def forward(
        self, ids: torch.Tensor, speakers: torch.Tensor, mel: torch.Tensor, mask: torch.Tensor
    ) -> Prediction:
        """Teacher forcing: each step sees the true frames before it.

        ids: (B, T) int64, padded with 0; speakers: (B,) int64; mel: (B, F, n_bands) standardised; mask: (B, F),
        1 where real; F and the frames of each sentence are whole steps.
        """
        memory, known = self.encode(ids, speakers)
        rough, stop, alignment = self.decoder(memory, known, mel)
        return Prediction(rough, self.refine(rough, mask.bool() if len(ids) > 1 else None), stop, alignment)

    def encode(self, ids: torch.Tensor, speakers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What is attended to, (B, T, embedding), and where it is real, (B, T) bool or None."""
        real = ids != 0 if len(ids) > 1 else None
        memory = self.encoder(self.embedding(ids).transpose(1, 2), real)
        if hasattr(
            self, "speaker_embedding"
        ):  # a step's attention sums to 1, so it always hears the voice in full
            memory = memory + self.speaker_embedding(speakers)[:, None]
        return memory, real

    def refine(self, rough: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        """The mel (B, F, n_bands) with the postnet's correction."""
        return rough + self.postnet(rough.transpose(1, 2), real).transpose(1, 2)

    def read(
        self, ids: torch.Tensor, speakers: torch.Tensor, seed: int, threshold: float = 0.5
    ) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """Standardised mel (1, F, n_bands), alignment (1, S, T), and whether it stopped before the length guard."""
        memory, _ = self.encode(ids, speakers)
        rough, alignment, stopped = self.decoder.read(memory, seed, threshold)
        return self.refine(rough), alignment, stopped


def build(
    config: NetworkConfig, n_speakers: int, seed: int = 0, n_symbols: int | None = None
) -> Tacotron2Network:
    """The network with random weights, by default for Piper's symbols."""
    torch.manual_seed(seed)
    return Tacotron2Network(config, n_speakers, n_symbols or vocabulary_size())


class _Encoder(nn.Module):
    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.dropout, width = config.encoder_dropout, config.embedding
        self.convolutions = nn.ModuleList(
            _convolution(width, width, config.encoder_kernel, "relu") for _ in range(config.encoder_layers)
        )
        self.lstm = nn.LSTM(width, width // 2, batch_first=True, bidirectional=True)

    def forward(self, channels: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        """(B, embedding, T) -> (B, T, embedding)"""
        for layer in self.convolutions:
            channels = F.dropout(torch.relu(_convolved(layer, channels, real)), self.dropout, self.training)
        return both_ways(self.lstm, channels.transpose(1, 2), real)


class _Postnet(nn.Module):
    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.dropout = config.postnet_dropout
        widths = [BANDS, *[config.postnet] * (config.postnet_layers - 1), BANDS]
        gains = ["tanh"] * (config.postnet_layers - 1) + ["linear"]
        self.convolutions = nn.ModuleList(
            _convolution(before, after, config.postnet_kernel, gain)
            for before, after, gain in zip(widths, widths[1:], gains)
        )

    def forward(self, channels: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
        """(B, n_bands, F) -> a correction of the same shape"""
        for number, layer in enumerate(self.convolutions, 1):
            channels = _convolved(layer, channels, real)
            channels = torch.tanh(channels) if number < len(self.convolutions) else channels
            channels = F.dropout(channels, self.dropout, self.training)
        return channels


def _convolution(before: int, after: int, kernel: int, gain: str) -> nn.Sequential:
    return nn.Sequential(Convolution(before, after, kernel, gain=gain), nn.BatchNorm1d(after))


def _convolved(layer: nn.Sequential, channels: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    convolution, norm = layer
    return normalised(norm, convolution(silenced(channels, real)), real)
