"""How does a sentence in a padded batch come out as it would alone? What lies beyond its end is kept out of
every layer.

`real` is (B, time) bool, False where there is padding; None for a batch without any.
"""

from __future__ import annotations

import contextlib

import torch
from torch import nn


def silenced(channels: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """(B, C, time) with zeros where there is padding: what a convolution sees beyond the end of a lone sentence."""
    return channels if real is None else channels * real[:, None].to(channels.dtype)


def normalised(norm: nn.BatchNorm1d, channels: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """Batch normalisation of (B, C, time) whose statistics, in training, count what is real and nothing else."""
    if real is None or not norm.training:
        return norm(channels)
    frames = channels.transpose(1, 2)  # (B, time, C)
    counted = torch.zeros_like(frames, dtype=torch.float32)
    counted[real] = norm(frames[real]).float()
    return counted.transpose(1, 2)


def lstm_precision() -> contextlib.AbstractContextManager:
    """Around an LSTM. Where the processor knows no bfloat16, oneDNN has none and raises: then torch's own runs."""
    if torch.is_autocast_enabled("cpu") and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.backends.mkldnn.flags(enabled=False)
    return contextlib.nullcontext()


def both_ways(lstm: nn.LSTM, sequence: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """A bidirectional LSTM over (B, time, C), which reads each sentence backward from its own end."""
    with lstm_precision():
        if real is None:
            return lstm(sequence)[0]
        return _packed(lstm, sequence, real)


def _packed(lstm: nn.LSTM, sequence: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    packed = nn.utils.rnn.pack_padded_sequence(
        sequence, real.sum(1).cpu(), batch_first=True, enforce_sorted=False
    )
    return nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=sequence.shape[1])[
        0
    ]
