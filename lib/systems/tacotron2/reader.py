"""How does the decoder of `tacotron2` read? The attention and its LSTM over one batch, a step at a time.

Location-sensitive attention (Chorowski et al. 2015, arXiv:1506.07503): a step's attention depends on where the
steps before looked, so that it moves on instead of searching. All state has a fixed size: a step costs the same
anywhere in a text.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from lib.systems.tacotron2.config import NetworkConfig
from lib.systems.tacotron2.layers import Attention, advance, direct, joined


class State(NamedTuple):
    """What one decoder step hands to the next: hidden, cell (B, attention_rnn); context (B, embedding);
    weights: the last step's attention, total: all steps' together, (B, T).
    """

    hidden: torch.Tensor
    cell: torch.Tensor
    context: torch.Tensor
    weights: torch.Tensor
    total: torch.Tensor


class Reader:
    """The attention and its LSTM over one batch, with everything prepared that is the same in all steps.

    A reader lives for one batch or sentence: what it fuses is made of the weights as they are then. Layers that are
    more than their weights are called instead.

    memory: (B, T, embedding); real: (B, T) bool or None, see `padding`.
    """

    def __init__(
        self,
        layer: Attention,
        rnn: nn.Module,
        config: NetworkConfig,
        memory: torch.Tensor,
        real: torch.Tensor | None,
    ):
        self.layer, self.rnn, self.config, self.memory = layer, rnn, config, memory
        self.projected = layer.memory_layer(memory)  # (B, T, attention)
        self.query, self.judge = direct(layer.query_layer), direct(layer.v)
        self.kernel = layer.location_layer.kernel()  # (2 * location_kernel, attention) or None
        self.closed = (
            None if real is None else torch.zeros_like(real, dtype=torch.float32).masked_fill(~real, -torch.inf)
        )
        self.fused, self.inputs = joined(rnn), None
        if self.fused:
            weight, self.bias = self.fused  # (4 * attention_rnn, prenet + embedding + attention_rnn)
            self.fed, self.recurrent = weight[:, : config.prenet], weight[:, config.prenet :]

    def heard(self, frames: torch.Tensor) -> torch.Tensor:
        """What a step needs of the prenet's output (..., prenet): what it adds to the LSTM's gates, (..., 4 *
        attention_rnn), or the output itself where the LSTM is called.
        """
        return F.linear(frames, self.fed, self.bias) if self.fused else frames

    def deferred(self, heard: torch.Tensor) -> torch.Tensor:
        """The same of all steps, (S, B, 4 * attention_rnn), such that the recurrent weights get their gradient in
        one product after the last step, not in one of their own size at every step: a fifth of the decoder's time
        on a CPU.
        """
        if not self.fused:
            return heard
        weight, self.inputs = self.recurrent.to(heard.dtype), []
        self.recurrent = weight.detach()
        return _Deferred.apply(heard, weight, self.inputs)

    def start(self) -> State:
        n, symbols, width = self.memory.shape
        hidden = self.memory.new_zeros(n, self.config.attention_rnn)
        nothing = self.memory.new_zeros(n, symbols)
        return State(hidden, hidden, self.memory.new_zeros(n, width), nothing, nothing)

    def step(self, heard: torch.Tensor, state: State, keep: torch.Tensor | None = None) -> State:
        """One step. keep: (B, attention_rnn), the dropout of the LSTM's state; heard: of the frames before."""
        hidden, cell = self._recur(heard, state)  # (B, attention_rnn) each
        hidden = hidden if keep is None else hidden * keep
        places = self._places(torch.stack([state.weights, state.total], 1))  # (B, T, attention)
        matches = torch.tanh(self.projected + self.query(hidden)[:, None] + places)
        energies = self.judge(matches)[..., 0].float()  # (B, T)
        weights = torch.softmax(energies if self.closed is None else energies + self.closed, -1)
        context = torch.bmm(weights[:, None].to(self.memory.dtype), self.memory)[:, 0]  # (B, embedding)
        return State(hidden, cell, context, weights, state.total + weights)

    def _recur(self, heard: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.fused:
            hidden, cell = self.rnn(torch.cat([heard, state.context], -1), (state.hidden, state.cell))
            return hidden.float(), cell.float()
        inputs = torch.cat([state.context, state.hidden], -1)  # (B, embedding + attention_rnn)
        if self.inputs is not None:
            self.inputs.append(inputs.detach())
        return advance(heard + F.linear(inputs, self.recurrent), state.cell)

    def _places(self, looked: torch.Tensor) -> torch.Tensor:  # (B, 2, T) -> (B, T, attention)
        if self.kernel is None:
            return self.layer.location_layer(looked)
        reach = self.config.location_kernel
        windows = F.pad(looked, (reach // 2, reach // 2)).unfold(2, reach, 1)  # (B, 2, T, location_kernel)
        return windows.transpose(1, 2).flatten(2) @ self.kernel


class _Deferred(torch.autograd.Function):
    """Passes gates (S, B, G) on. Their gradient is also that of every step's product of inputs (B, I) and
    weight (G, I).
    """

    @staticmethod
    def forward(ctx, gates: torch.Tensor, weight: torch.Tensor, inputs: list[torch.Tensor]) -> torch.Tensor:
        ctx.inputs, ctx.kind = inputs, weight.dtype
        return gates.view_as(gates)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        inputs = torch.cat(ctx.inputs).to(ctx.kind)  # (S * B, I)
        return gradient, gradient.flatten(0, 1).to(ctx.kind).T @ inputs, None
