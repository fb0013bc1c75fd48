"""How does a network keep what its mel is standardised with? In two buffers, saved with its weights."""

from __future__ import annotations

import torch
from torch import nn


class Standardised(nn.Module):
    """A network that says standardised mels, with the mean and the deviation of each band. They begin as 0 and 1."""

    mel_mean: torch.Tensor  # (n_bands,)
    mel_deviation: torch.Tensor  # (n_bands,)

    def __init__(self, n_bands: int):
        super().__init__()
        self.register_buffer("mel_mean", torch.zeros(n_bands))
        self.register_buffer("mel_deviation", torch.ones(n_bands))

    def as_log_mel(self, mel: torch.Tensor) -> torch.Tensor:
        """The log-mel (..., n_bands) that a standardised one means."""
        return mel * self.mel_deviation + self.mel_mean
