"""Which layers is `tacotron2` made of, under the names of NVIDIA's state dicts, and how does an LSTM cell run fast?

A plain cell's gates are one product with its two matrices side by side; a cell that is adapted, masked or packed into
8 bits is called (see `lib.systems.layers`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from lib.systems.layers import plain
from lib.systems.padding import lstm_precision
from lib.systems.tacotron2.config import NetworkConfig


class Linear(nn.Module):
    """A linear layer under the name it has in NVIDIA's state dicts, begun with Xavier's weights."""

    def __init__(self, before: int, after: int, bias: bool = True, gain: str = "linear"):
        super().__init__()
        self.linear_layer = nn.Linear(before, after, bias=bias)
        nn.init.xavier_uniform_(self.linear_layer.weight, nn.init.calculate_gain(gain))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:  # (..., before) -> (..., after)
        return self.linear_layer(inputs)


def direct(layer: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """A `Linear` as a function of the weights that it has now, without the calls of modules around them, which cost a
    twentieth of a decoder step; where it is more than its weights, the layer itself.
    """
    if type(layer) is not Linear or not plain(layer.linear_layer):
        return layer
    weight, bias = layer.linear_layer.weight, layer.linear_layer.bias
    return lambda inputs: F.linear(inputs, weight, bias)


class Convolution(nn.Module):
    """A convolution that keeps the length, likewise."""

    def __init__(self, before: int, after: int, kernel: int, bias: bool = True, gain: str = "linear"):
        super().__init__()
        self.conv = nn.Conv1d(before, after, kernel, padding=kernel // 2, bias=bias)
        nn.init.xavier_uniform_(self.conv.weight, nn.init.calculate_gain(gain))

    def forward(self, channels: torch.Tensor) -> torch.Tensor:  # (B, before, time) -> (B, after, time)
        return self.conv(channels)


class Prenet(nn.Module):
    """Two layers between a frame and the decoder, which drop half of what they know of it, in use too."""

    def __init__(self, bands: int, width: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList([Linear(bands, width, bias=False), Linear(width, width, bias=False)])
        self.width, self.dropout = width, dropout

    def forward(self, frames: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """(..., n_bands * r) -> (..., prenet). keep: (layers, B, prenet) as `masks` draws them; None: drawn
        here, always.
        """
        for number, layer in enumerate(self.layers):
            frames = torch.relu(layer(frames))  # (..., prenet)
            frames = F.dropout(frames, self.dropout) if keep is None else frames * keep[number]
        return frames

    def masks(self, steps: int, seed: int, like: torch.Tensor) -> torch.Tensor:
        """Dropout for `steps` steps, (steps, layers, 1, prenet), the same from a seed on every device."""
        generator = torch.Generator().manual_seed(seed)
        kept = torch.empty(steps, len(self.layers), 1, self.width).bernoulli_(
            1 - self.dropout, generator=generator
        )
        return (kept / (1 - self.dropout)).to(like)


class Attention(nn.Module):
    """The layers of location-sensitive attention; `reader.Reader` is how they are used."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.query_layer = Linear(config.attention_rnn, config.attention, bias=False, gain="tanh")
        self.memory_layer = Linear(config.embedding, config.attention, bias=False, gain="tanh")
        self.v = Linear(config.attention, 1, bias=False)
        self.location_layer = Location(config)


class Location(nn.Module):
    """What is seen of the places that steps before looked at."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.location_conv = Convolution(2, config.location_filters, config.location_kernel, bias=False)
        self.location_dense = Linear(config.location_filters, config.attention, bias=False, gain="tanh")

    def forward(self, places: torch.Tensor) -> torch.Tensor:  # (B, 2, T) -> (B, T, attention)
        return self.location_dense(self.location_conv(places).transpose(1, 2))

    def kernel(self) -> torch.Tensor | None:
        """The same as one matrix, (2 * location_kernel, attention), for windows of the places: a convolution and a
        projection are one linear map. None where a layer is more than its weights.
        """
        convolution, dense = self.location_conv, self.location_dense
        if (type(convolution), type(dense)) != (Convolution, Linear):
            return None
        if not plain(convolution.conv, dense.linear_layer):
            return None
        return (dense.linear_layer.weight @ convolution.conv.weight.flatten(1)).T


def joined(cell: nn.Module) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The weights (4 * hidden, input + hidden) and bias (4 * hidden,) that give an LSTM cell's gates from its input
    and hidden state side by side; None where the cell is more than its weights.
    """
    if not plain(cell):
        return None
    return torch.cat([cell.weight_ih, cell.weight_hh], 1), cell.bias_ih + cell.bias_hh


def advance(gates: torch.Tensor, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden and cell state (B, hidden) of an LSTM from its gates (B, 4 * hidden), in single precision whatever made
    them.
    """
    into, forget, new, out = gates.float().chunk(4, -1)  # (B, hidden) each
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(cell), cell


def lstm(cell: nn.Module, sequence: torch.Tensor, width: int) -> torch.Tensor:
    """An LSTM cell of `width` over a whole sequence (S, B, input) from a state of zeros: (S, B, width), at the speed
    of nn.LSTM where the cell is plain.
    """
    start = sequence.new_zeros(1, sequence.shape[1], width)
    if plain(cell):
        weights = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
        with lstm_precision():
            return torch.lstm(sequence, (start, start), weights, True, 1, 0.0, cell.training, False, False)[0]
    state, hidden = (start[0], start[0]), []
    for frames in sequence.unbind():  # (B, input)
        state = cell(frames, state)
        hidden.append(state[0])
    return torch.stack(hidden)
