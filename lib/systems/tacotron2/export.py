"""Which ONNX graphs is the network of `tacotron2`? E: width of what the encoder says, A: of the attention.

    encoder   ids (T,), speaker (1,) -> memory (T, E), projected (T, A)
    decoder   said (1, r * 80), keep (2, prenet), memory, projected, and the state of the step before: hidden, cell
              (1, attention_rnn), context (1, E), weights, total (1, T), rnn_hidden, rnn_cell (1, decoder_rnn)
              -> frames (1, r * 80), stop (1,), and the state under the names new_<state>
    postnet   rough (F, 80) -> mel (F, 80), no longer standardised

The cells of the LSTMs are one product each, of all that goes into them side by side.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.errors import ParameterError
from lib.graphs.export import export
from lib.systems.tacotron2.decoder import BANDS
from lib.systems.tacotron2.layers import advance, joined
from lib.systems.tacotron2.network import Tacotron2Network

_SYMBOLS, _FRAMES = 11, 12  # of the examples
STATE = ("hidden", "cell", "context", "weights", "total", "rnn_hidden", "rnn_cell")


def graphs(model: Tacotron2Network) -> dict[str, bytes]:
    """All three, by name."""
    return {"encoder": encoder(model), "decoder": decoder(model), "postnet": postnet(model)}


def encoder(model: Tacotron2Network) -> bytes:
    inputs = {"ids": torch.arange(_SYMBOLS) + 5, "speaker": torch.zeros(1, dtype=torch.long)}
    return export(_Encoder(model), inputs, ["memory", "projected"], {"ids": {0: "symbols"}})


def decoder(model: Tacotron2Network) -> bytes:
    config = model.network.config
    looked = torch.softmax(torch.randn(1, _SYMBOLS), -1)
    inputs = {
        "said": torch.randn(1, BANDS * config.frames_per_step),
        "keep": torch.ones(2, config.prenet),
        "memory": torch.randn(_SYMBOLS, config.embedding),
        "projected": torch.randn(_SYMBOLS, config.attention),
        "hidden": torch.randn(1, config.attention_rnn),
        "cell": torch.randn(1, config.attention_rnn),
        "context": torch.randn(1, config.embedding),
        "weights": looked,
        "total": looked,
        "rnn_hidden": torch.randn(1, config.decoder_rnn),
        "rnn_cell": torch.randn(1, config.decoder_rnn),
    }
    lengths = {name: {0: "symbols"} for name in ("memory", "projected")}
    lengths |= {name: {1: "symbols"} for name in ("weights", "total")}
    return export(Step(model), inputs, ["frames", "stop", *(f"new_{name}" for name in STATE)], lengths)


def postnet(model: Tacotron2Network) -> bytes:
    return export(_Postnet(model), {"rough": torch.randn(_FRAMES, BANDS)}, ["mel"], {"rough": {0: "frames"}})


class _Encoder(nn.Module):
    def __init__(self, model: Tacotron2Network):
        super().__init__()
        layers = model.network
        self.embedding, self.lstm = layers.embedding, layers.encoder.lstm
        self.convolutions = _folded(layers.encoder.convolutions)
        self.voices = getattr(layers, "speaker_embedding", None)
        self.memory_layer = layers.decoder.attention_layer.memory_layer

    def forward(self, ids: torch.Tensor, speaker: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        channels = self.embedding(ids).T[None]  # (1, E, T)
        for layer in self.convolutions:
            channels = torch.relu(layer(channels))
        memory = self.lstm(channels.transpose(1, 2))[0][0]
        memory = memory if self.voices is None else memory + self.voices(speaker)
        return memory, self.memory_layer(memory)


class Step(nn.Module):
    """One step of the decoder as a graph has it, see above."""

    def __init__(self, model: Tacotron2Network):
        super().__init__()
        decoder = model.network.decoder
        self.prenet, self.attention = decoder.prenet.layers, decoder.attention_layer
        self.attention_rnn, self.decoder_rnn = _cell(decoder.attention_rnn), _cell(decoder.decoder_rnn)
        self.say, self.gate = decoder.linear_projection, decoder.gate_layer

    def forward(
        self, said, keep, memory, projected, hidden, cell, context, weights, total, rnn_hidden, rnn_cell
    ) -> tuple[torch.Tensor, ...]:
        for number, layer in enumerate(self.prenet):
            said = torch.relu(layer(said)) * keep[number]
        hidden, cell = advance(self.attention_rnn(torch.cat([said, context, hidden], -1)), cell)
        places = self.attention.location_layer(torch.stack([weights, total], 1))[0]  # (T, A)
        matches = torch.tanh(projected + self.attention.query_layer(hidden) + places)
        weights = torch.softmax(self.attention.v(matches).T, -1)  # (1, T)
        context = weights @ memory
        gates = self.decoder_rnn(torch.cat([hidden, context, rnn_hidden], -1))
        rnn_hidden, rnn_cell = advance(gates, rnn_cell)
        known = torch.cat([rnn_hidden, context], -1)
        stop = torch.sigmoid(self.gate(known))[0]
        return self.say(known), stop, hidden, cell, context, weights, total + weights, rnn_hidden, rnn_cell


class _Postnet(nn.Module):
    def __init__(self, model: Tacotron2Network):
        super().__init__()
        self.convolutions = _folded(model.network.postnet.convolutions)
        self.register_buffer("mean", model.mel_mean)
        self.register_buffer("deviation", model.mel_deviation)

    def forward(self, rough: torch.Tensor) -> torch.Tensor:
        channels = rough.T[None]
        for number, layer in enumerate(self.convolutions, 1):
            channels = layer(channels)
            channels = torch.tanh(channels) if number < len(self.convolutions) else channels
        return (rough + channels[0].T) * self.deviation + self.mean


def _folded(layers: nn.ModuleList) -> nn.ModuleList:
    """Convolutions with their batch norms in them."""
    return nn.ModuleList(fuse_conv_bn_eval(convolution.conv, norm) for convolution, norm in layers)


def _cell(rnn: nn.Module) -> nn.Linear:
    """What makes the gates of an LSTM cell of its input and hidden state side by side."""
    fused = joined(rnn)
    if fused is None:
        raise ParameterError(
            "an LSTM that is more than its weights (int8, adapted) cannot be exported: take its base"
        )
    weight, bias = fused
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight, linear.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    return linear
