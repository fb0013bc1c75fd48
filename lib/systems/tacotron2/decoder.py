"""The decoder of `tacotron2`: step by step it listens to the text where its attention is, and says the next
frames of the mel.

`Decoder.forward` learns, all steps at once where nothing feeds back; `Decoder.read` speaks, one step after another.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from lib.features import HIFIGAN
from lib.systems.tacotron2.config import NetworkConfig, steps_allowed, steps_needed
from lib.systems.tacotron2.layers import Attention, Linear, Prenet, advance, direct, joined, lstm
from lib.systems.tacotron2.reader import Reader

BANDS = HIFIGAN.n_bands


class Decoder(nn.Module):
    """Memory (B, T, embedding) to a rough mel (B, F, n_bands) in S steps of r frames each: F = S * r."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.config, self.frames, width = config, config.frames_per_step, config.embedding
        self.prenet = Prenet(BANDS * config.frames_per_step, config.prenet, config.prenet_dropout)
        self.attention_rnn = nn.LSTMCell(config.prenet + width, config.attention_rnn)
        self.attention_layer = Attention(config)
        self.decoder_rnn = nn.LSTMCell(config.attention_rnn + width, config.decoder_rnn)
        self.linear_projection = Linear(config.decoder_rnn + width, BANDS * config.frames_per_step)
        self.gate_layer = Linear(config.decoder_rnn + width, 1, gain="sigmoid")

    def forward(
        self, memory: torch.Tensor, real: torch.Tensor | None, mel: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rough mel (B, F, n_bands), stop logits (B, S) and alignment (B, S, T) under teacher forcing.

        Only the first LSTM and the attention need each other's last step; all else is done for all steps together.
        """
        n, config = len(mel), self.config
        given = mel.reshape(n, -1, BANDS * self.frames).transpose(0, 1)  # (S, B, r * n_bands)
        given = torch.cat([torch.zeros_like(given[:1]), given[:-1]])  # each step hears the one before
        reader = Reader(self.attention_layer, self.attention_rnn, config, memory, real)
        heard = reader.deferred(reader.heard(self.prenet(given)))  # (S, B, 4 * attention_rnn)
        state, steps = reader.start(), []
        for gates, keep in zip(heard.unbind(), self._kept(len(given), n, mel.device)):
            state = reader.step(gates, state, keep)
            steps.append((state.hidden, state.context, state.weights))
        hidden, context, weights = (torch.stack(parts) for parts in zip(*steps))  # (S, B, ...)
        hidden = lstm(
            self.decoder_rnn, torch.cat([hidden, context], -1), config.decoder_rnn
        )  # (S, B, decoder_rnn)
        known = torch.cat([F.dropout(hidden, config.rnn_dropout, self.training), context], -1)
        rough = self.linear_projection(known).transpose(0, 1).reshape(n, -1, BANDS)  # (B, F, n_bands)
        return rough, self.gate_layer(known)[..., 0].transpose(0, 1), weights.transpose(0, 1)

    def read(
        self, memory: torch.Tensor, seed: int, threshold: float
    ) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """As `forward` for one sentence, each step fed with what the last one said, until the gate opens or the
        length guard cuts: rough mel (1, F, n_bands), alignment (1, S, T), and whether the gate did.
        """
        allowed, needed = (count(memory.shape[1], self.frames) for count in (steps_allowed, steps_needed))
        reader = Reader(self.attention_layer, self.attention_rnn, self.config, memory, None)
        state = reader.start()
        hidden = cell = memory.new_zeros(1, self.config.decoder_rnn)
        fused = joined(self.decoder_rnn)  # of the weights as they are for this sentence
        say, gate = direct(self.linear_projection), direct(self.gate_layer)
        keep = self.prenet.masks(allowed, seed, memory)  # (S, layers, 1, prenet)
        said, alignment = [memory.new_zeros(1, BANDS * self.frames)], []
        stopped = False
        while not stopped and len(alignment) < allowed:
            state = reader.step(reader.heard(self.prenet(said[-1], keep[len(alignment)])), state)
            if fused:
                gates = F.linear(torch.cat([state.hidden, state.context, hidden], -1), *fused)
                hidden, cell = advance(gates, cell)
            else:
                hidden, cell = self.decoder_rnn(torch.cat([state.hidden, state.context], -1), (hidden, cell))
            known = torch.cat([hidden, state.context], -1)  # (1, decoder_rnn + embedding)
            said.append(say(known))  # (1, r * n_bands)
            alignment.append(state.weights)  # (1, T)
            stopped = len(alignment) >= needed and torch.sigmoid(gate(known)).item() > threshold
        return torch.cat(said[1:]).reshape(1, -1, BANDS), torch.stack(alignment, 1), stopped

    def _kept(self, steps: int, n: int, device: torch.device) -> tuple[torch.Tensor | None, ...]:
        """The dropout of the first LSTM's state, (B, attention_rnn) for each step; None where nothing is dropped."""
        dropout = self.config.rnn_dropout
        if not (self.training and dropout):
            return (None,) * steps
        kept = torch.empty(steps, n, self.config.attention_rnn, device=device).bernoulli_(1 - dropout)
        return (kept / (1 - dropout)).unbind()
