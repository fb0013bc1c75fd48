"""The decoder of `tacotron2`: step by step it listens to the text where its attention is, and says the next
frames of the mel.

Location-sensitive attention (Chorowski et al. 2015, arXiv:1506.07503): a step's attention depends on where the
steps before looked, so that it moves on instead of searching. All state has a fixed size: a step costs the same
anywhere in a text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from lib.features import HIFIGAN

if TYPE_CHECKING:
    from lib.systems.tacotron2.network import NetworkConfig

# The length guard, in frames. The symbols of a sentence of the training speech take 3.2 to 8 frames each, 4.6
# on average: its slowest sentence needs half of what is allowed, its fastest three times what the gate has to wait for.
GUARD_FRAMES, GUARD_FRAMES_PER_SYMBOL = 86, 10  # 1 s, and 116 ms of each symbol
SHORTEST_FRAMES = 4
BANDS = HIFIGAN.n_bands


class Decoder(nn.Module):
    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.frames, self.rnn_dropout, width = (config.frames_per_step, config.rnn_dropout, config.embedding)
        self.prenet = _Prenet(BANDS * config.frames_per_step, config.prenet, config.prenet_dropout)
        self.attention_rnn = nn.LSTMCell(config.prenet + width, config.attention_rnn)
        self.attention_layer = _Attention(config)
        self.decoder_rnn = nn.LSTMCell(config.attention_rnn + width, config.decoder_rnn)
        self.linear_projection = Linear(config.decoder_rnn + width, BANDS * config.frames_per_step)
        self.gate_layer = Linear(config.decoder_rnn + width, 1, gain="sigmoid")

    def forward(
        self, memory: torch.Tensor, real: torch.Tensor | None, mel: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rough mel (B, F, n_bands), stop logits (B, S) and alignment (B, S, T) under teacher forcing.

        Only the first LSTM and the attention need each other's last step; all else is done for all steps together.
        """
        n = len(mel)
        given = mel.reshape(n, -1, BANDS * self.frames).transpose(0, 1)  # (S, B, r * n_bands)
        given = torch.cat([torch.zeros_like(given[:1]), given[:-1]])
        reader = _Reader(self, memory, real)
        heard = reader.deferred(reader.heard(self.prenet(given)))  # (S, B, 4 * attention_rnn)
        kept = (
            (
                torch.empty(len(given), n, self.attention_rnn.hidden_size, device=mel.device).bernoulli_(
                    1 - self.rnn_dropout
                )
                / (1 - self.rnn_dropout)
            ).unbind()
            if self.training and self.rnn_dropout
            else [None] * len(given)
        )
        state, steps = reader.start(), []
        for gates, keep in zip(heard.unbind(), kept):
            state = reader.step(gates, state, keep)
            steps.append((state.hidden, state.context, state.weights))
        hidden, context, weights = (torch.stack(parts) for parts in zip(*steps))
        hidden = _lstm(self.decoder_rnn, torch.cat([hidden, context], -1))  # (S, B, decoder_rnn)
        found = torch.cat([F.dropout(hidden, self.rnn_dropout, self.training), context], -1)
        rough = self.linear_projection(found).transpose(0, 1).reshape(n, -1, BANDS)
        return rough, self.gate_layer(found)[..., 0].transpose(0, 1), weights.transpose(0, 1)

    def read(
        self, memory: torch.Tensor, seed: int, threshold: float
    ) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """As `forward`, each step fed with what the last one said, until the gate opens or the length guard cuts."""
        allowed, needed = (
            steps_allowed(memory.shape[1], self.frames),
            steps_needed(memory.shape[1], self.frames),
        )
        reader = _Reader(self, memory, None)
        state = reader.start()
        hidden = cell = memory.new_zeros(1, self.decoder_rnn.hidden_size)
        recurrent, bias = _joined(self.decoder_rnn)
        keep = self.prenet.masks(allowed, seed, memory)  # (S, layers, 1, prenet)
        said, alignment = [memory.new_zeros(1, BANDS * self.frames)], []
        stopped = False
        while not stopped and len(alignment) < allowed:
            state = reader.step(reader.heard(self.prenet(said[-1], keep[len(alignment)])), state)
            gates = F.linear(torch.cat([state.hidden, state.context, hidden], -1), recurrent, bias)
            hidden, cell = _cell(gates, cell)
            found = torch.cat([hidden, state.context], -1)
            said.append(self.linear_projection(found))
            alignment.append(state.weights)
            stopped = len(alignment) >= needed and torch.sigmoid(self.gate_layer(found)).item() > threshold
        return torch.cat(said[1:]).reshape(1, -1, BANDS), torch.stack(alignment, 1), stopped


def steps_allowed(n_symbols: int, frames_per_step: int) -> int:
    """The length guard: steps after which a sentence of n_symbols is cut."""
    return -(-(GUARD_FRAMES + GUARD_FRAMES_PER_SYMBOL * n_symbols) // frames_per_step)


def steps_needed(n_symbols: int, frames_per_step: int) -> int:
    """Steps before which the gate is not asked: a frame for each symbol, and no fewer than make a sound."""
    return -(-max(SHORTEST_FRAMES, n_symbols) // frames_per_step)


class _State(NamedTuple):
    """What one decoder step hands to the next: hidden, cell (B, attention_rnn); context (B, embedding);
    weights: the last step's attention, total: all steps' together, (B, T).
    """

    hidden: torch.Tensor
    cell: torch.Tensor
    context: torch.Tensor
    weights: torch.Tensor
    total: torch.Tensor


class _Reader:
    """The attention and its LSTM over one batch, with everything prepared that is the same in all steps."""

    def __init__(self, decoder: Decoder, memory: torch.Tensor, real: torch.Tensor | None):
        layer, rnn, self.memory = decoder.attention_layer, decoder.attention_rnn, memory
        self.projected = layer.memory_layer(memory)  # (B, T, attention)
        self.query, self.judge = (layer.query_layer.linear_layer.weight, layer.v.linear_layer.weight[0])
        # A convolution and a projection are one linear map: a kernel of (2 * location_kernel, attention).
        place, dense = (
            layer.location_layer.location_conv.conv.weight,
            layer.location_layer.location_dense.linear_layer.weight,
        )
        self.kernel, self.reach = (dense @ place.flatten(1)).T, place.shape[-1]
        self.closed = (
            None if real is None else torch.zeros_like(real, dtype=torch.float32).masked_fill(~real, -torch.inf)
        )
        joined, self.bias = _joined(rnn)
        prenet = rnn.input_size - memory.shape[-1]
        self.fed, self.recurrent = joined[:, :prenet], joined[:, prenet:]
        self.size, self.seen = rnn.hidden_size, None

    def heard(self, frames: torch.Tensor) -> torch.Tensor:
        """What the prenet's output (..., prenet) adds to the LSTM's gates, (..., 4 * attention_rnn)."""
        return F.linear(frames, self.fed, self.bias)

    def deferred(self, heard: torch.Tensor) -> torch.Tensor:
        """The same gates of all steps, (S, B, 4 * attention_rnn), such that the recurrent weights get their
        gradient in one product after the last step, not in one of their own size at every step: a fifth of the
        decoder's time on a CPU.
        """
        weight, self.seen = self.recurrent.to(heard.dtype), []
        self.recurrent = weight.detach()
        return _Deferred.apply(heard, weight, self.seen)

    def start(self) -> _State:
        n, symbols, width = self.memory.shape
        hidden, nothing = self.memory.new_zeros(n, self.size), self.memory.new_zeros(n, symbols)
        return _State(hidden, hidden, self.memory.new_zeros(n, width), nothing, nothing)

    def step(self, heard: torch.Tensor, state: _State, keep: torch.Tensor | None = None) -> _State:
        """One step. keep: (B, attention_rnn), the dropout of the LSTM's state; heard: of the frames before."""
        inputs = torch.cat([state.context, state.hidden], -1)
        gates = heard + F.linear(inputs, self.recurrent)
        if self.seen is not None:
            self.seen.append(inputs.detach())
        hidden, cell = _cell(gates, state.cell)
        hidden = hidden if keep is None else hidden * keep
        places = F.pad(torch.stack([state.weights, state.total], 1), (self.reach // 2, self.reach // 2))
        windows = places.unfold(2, self.reach, 1).transpose(1, 2).flatten(2)  # (B, T, 2 * location_kernel)
        matches = torch.tanh(self.projected + F.linear(hidden, self.query)[:, None] + windows @ self.kernel)
        energies = (matches @ self.judge).float()
        weights = torch.softmax(energies if self.closed is None else energies + self.closed, -1)  # (B, T)
        context = torch.bmm(weights[:, None].to(self.memory.dtype), self.memory)[:, 0]
        return _State(hidden, cell, context, weights, state.total + weights)


class _Deferred(torch.autograd.Function):
    """Passes gates (S, B, G) on. Their gradient is also that of every step's product of inputs (B, I) and
    weight (G, I).
    """

    @staticmethod
    def forward(ctx, gates: torch.Tensor, weight: torch.Tensor, seen: list[torch.Tensor]) -> torch.Tensor:
        ctx.seen, ctx.kind = seen, weight.dtype
        return gates.view_as(gates)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        inputs = torch.cat(ctx.seen).to(ctx.kind)  # (S * B, I)
        return gradient, gradient.flatten(0, 1).to(ctx.kind).T @ inputs, None


class _Prenet(nn.Module):
    def __init__(self, bands: int, width: int, dropout: float):
        super().__init__()
        self.layers = nn.ModuleList([Linear(bands, width, bias=False), Linear(width, width, bias=False)])
        self.dropout = dropout

    def forward(self, frames: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """(..., n_bands * r) -> (..., prenet). keep: (layers, B, prenet) as `masks` draws them; None: drawn
        here, always.
        """
        for number, layer in enumerate(self.layers):
            frames = torch.relu(layer(frames))
            frames = F.dropout(frames, self.dropout) if keep is None else frames * keep[number]
        return frames

    def masks(self, steps: int, seed: int, like: torch.Tensor) -> torch.Tensor:
        """Dropout for `steps` steps, (steps, layers, 1, prenet), the same from a seed on every device."""
        width = self.layers[0].linear_layer.out_features
        generator = torch.Generator().manual_seed(seed)
        kept = torch.empty(steps, len(self.layers), 1, width).bernoulli_(1 - self.dropout, generator=generator)
        return (kept / (1 - self.dropout)).to(like)


class _Attention(nn.Module):
    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.query_layer = Linear(config.attention_rnn, config.attention, bias=False, gain="tanh")
        self.memory_layer = Linear(config.embedding, config.attention, bias=False, gain="tanh")
        self.v = Linear(config.attention, 1, bias=False)
        self.location_layer = _Location(config)


class _Location(nn.Module):
    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.location_conv = Convolution(2, config.location_filters, config.location_kernel, bias=False)
        self.location_dense = Linear(config.location_filters, config.attention, bias=False, gain="tanh")


class Linear(nn.Module):
    """A linear layer under the name it has in NVIDIA's state dicts, begun with Xavier's weights."""

    def __init__(self, before: int, after: int, bias: bool = True, gain: str = "linear"):
        super().__init__()
        self.linear_layer = nn.Linear(before, after, bias=bias)
        nn.init.xavier_uniform_(self.linear_layer.weight, nn.init.calculate_gain(gain))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear_layer(inputs)


class Convolution(nn.Module):
    """A convolution, likewise."""

    def __init__(self, before: int, after: int, kernel: int, bias: bool = True, gain: str = "linear"):
        super().__init__()
        self.conv = nn.Conv1d(before, after, kernel, padding=kernel // 2, bias=bias)
        nn.init.xavier_uniform_(self.conv.weight, nn.init.calculate_gain(gain))


def _joined(cell: nn.LSTMCell) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights and bias that give an LSTM cell's gates from its input and hidden state side by side."""
    return torch.cat([cell.weight_ih, cell.weight_hh], 1), cell.bias_ih + cell.bias_hh


def _cell(gates: torch.Tensor, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden and cell state of an LSTM from its gates (B, 4 * hidden), in single precision whatever made them."""
    into, forget, new, out = gates.float().chunk(4, -1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(new)
    return torch.sigmoid(out) * torch.tanh(cell), cell


def _lstm(cell: nn.LSTMCell, sequence: torch.Tensor) -> torch.Tensor:
    """An LSTM cell over a whole sequence (S, B, input) from a state of zeros: (S, B, hidden), at the speed of
    nn.LSTM.
    """
    start = sequence.new_zeros(1, sequence.shape[1], cell.hidden_size)
    weights = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    return torch.lstm(sequence, (start, start), weights, True, 1, 0.0, cell.training, False, False)[0]
