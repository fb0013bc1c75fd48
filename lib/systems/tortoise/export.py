"""Which ONNX graphs are the networks of `tortoise`? H hidden units of the front end, C channels of the decoder.

    encoder    as `fastspeech2`'s
    prosody    likewise; behind it every symbol is repeated as often as it has frames
    latents    hidden (F, H), distances (2 * F - 1, H) -> said (F, H): what the front end knows of every frame,
               mel_mean (80,), mel_deviation (80,): what the decoder's mels are standardised with
    condition  said (F, H), speaker (1,) -> condition (C, F), unconditioned (C, F): what guidance leads away from
    decoder    x (80, F), timestep (1,), condition (C, F) -> prediction (80, F): one evaluation; of students also
               guidance (1,), its weight, and until (1,), the timestep that the step leads to

The walk around the decoder (`sampling.descend`) is NumPy's.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from lib.graphs.export import export
from lib.systems.fastspeech2 import export as front_end
from lib.systems.fastspeech2.network import FastSpeech2Network, blocks
from lib.systems.tortoise.joint import TortoiseNetwork
from lib.systems.tortoise.network import Attention, DiffusionDecoder, RelativeBias

_FRAMES = 17  # of the examples


def graphs(model: TortoiseNetwork) -> dict[str, bytes]:
    """All five, by name."""
    front = front_end.of_symbols(model.front)
    return {**front, "latents": latents(model.front), **of_decoder(model.decoder)}


def latents(front: FastSpeech2Network) -> bytes:
    hidden = torch.randn(_FRAMES, front.network.config.hidden_size)
    return export(
        _Latents(front_end.folded(front)),
        {"hidden": hidden, "distances": torch.randn(2 * _FRAMES - 1, hidden.shape[1])},
        ["said", "mel_mean", "mel_deviation"],
        {"hidden": {0: "frames"}, "distances": {0: "distances"}},
    )


def of_decoder(decoder: DiffusionDecoder) -> dict[str, bytes]:
    """Those that a student has of its own."""
    config, decoder = decoder.config, _traceable(decoder)
    condition = torch.randn(config.channels, _FRAMES)
    inputs = {
        "x": torch.randn(config.in_channels, _FRAMES),
        "timestep": torch.tensor([1234]),
        "condition": condition,
    }
    if config.folded:
        inputs["guidance"] = torch.tensor([1.0])
    if config.interval:
        inputs["until"] = torch.tensor([123])
    return {
        "condition": export(
            _Condition(decoder),
            {"said": torch.randn(_FRAMES, config.latent_channels), "speaker": torch.zeros(1, dtype=torch.long)},
            ["condition", "unconditioned"],
            {"said": {0: "frames"}},
        ),
        "decoder": export(
            _Step(decoder), inputs, ["prediction"], {"x": {1: "frames"}, "condition": {1: "frames"}}
        ),
    }


class _Latents(nn.Module):
    def __init__(self, front: FastSpeech2Network):
        super().__init__()
        self.decoder, self.per_frame = front.network.decoder, front.per_frame
        self.register_buffer("mean", front.mel_mean)
        self.register_buffer("deviation", front.mel_deviation)

    def forward(self, hidden: torch.Tensor, distances: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = hidden[None] * self.decoder.pos_enc.input_scale
        said = blocks(self.decoder, hidden, distances[None], None, self.per_frame)[0]
        return said, self.mean * 1, self.deviation * 1


class _Condition(nn.Module):
    def __init__(self, decoder: DiffusionDecoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, said: torch.Tensor, speaker: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        decoder = self.decoder
        hidden = decoder.code_norm(decoder.latent_conditioner(said.T[None]))
        scale, shift = decoder.speaker_embedding(speaker)[..., None].chunk(2, 1)
        condition = (hidden * (1 + scale) + shift)[0]
        return condition, decoder.unconditioned_embedding[0].expand(-1, condition.shape[1])


class _Step(nn.Module):
    def __init__(self, decoder: DiffusionDecoder):
        super().__init__()
        self.decoder = decoder

    def forward(
        self, x: torch.Tensor, timestep: torch.Tensor, condition: torch.Tensor, **told: torch.Tensor
    ) -> torch.Tensor:
        return self.decoder.denoise(x[None], timestep, condition[None], **told)[0]


class _Attention(nn.Module):
    """`network.Attention` of one sentence at any length, (1, C, F) in and out; the scale of the scores is in the
    weights of the queries.
    """

    def __init__(self, attention: Attention):
        super().__init__()
        self.heads, self.norm, self.out = attention.heads, attention.norm, attention.proj_out
        weight, bias = (value.detach() for value in (attention.qkv.weight, attention.qkv.bias))
        width = len(weight) // (3 * self.heads)
        scale = torch.tensor([width**-0.5, 1.0, 1.0])[None, :, None]
        # One head after the other has its queries, keys and values there; here all queries come first.
        parts = (self.heads, 3, width)
        self.qkv = nn.Conv1d(weight.shape[1], len(weight), 1)
        turned = (weight.view(*parts, -1) * scale[..., None]).transpose(0, 1)
        self.qkv.weight = nn.Parameter(turned.reshape(weight.shape))
        self.qkv.bias = nn.Parameter((bias.view(parts) * scale).transpose(0, 1).reshape(-1))
        self.bias = _Bias(attention.relative_pos_embeddings, width**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = self.out.in_channels
        qkv = self.qkv(self.norm(x)).view(3 * self.heads, channels // self.heads, -1)  # (3 N, W, F)
        queries, keys, values = qkv.chunk(3)
        shares = torch.softmax(queries.transpose(1, 2) @ keys + self.bias(x.shape[2]), -1)  # (N, F, F)
        heard = values @ shares.transpose(1, 2)  # (N, W, F)
        return x + self.out(heard.reshape(1, channels, -1))


class _Bias(nn.Module):
    """`RelativeBias`, (N, F, F), at any length, which tracing would take for a constant.

    A head's biases by distance and a gap, 2 F long, are laid out F times: read in rows of 2 F - 1, each begins one
    distance earlier than the row before.
    """

    def __init__(self, bias: RelativeBias, scale: float):
        super().__init__()
        self.farthest = bias.farthest
        with torch.no_grad():  # (N, 2 * farthest + 1): beyond that a distance is as good as another
            self.by_distance = nn.Parameter(scale * bias(2 * bias.farthest + 1)[0, :, bias.farthest])

    def forward(self, length: torch.Tensor) -> torch.Tensor:
        heads = len(self.by_distance)
        distance = torch.arange(1 - length, length + 1).clamp(-self.farthest, self.farthest)  # key minus query
        row = self.by_distance[:, distance + self.farthest]  # (N, 2 F)
        rows = row[:, None].expand(heads, length, 2 * length).reshape(heads, -1)
        return rows[:, : length * (2 * length - 1)].view(heads, length, 2 * length - 1)[..., length - 1 :]


def _traceable(decoder: DiffusionDecoder) -> DiffusionDecoder:
    """A copy whose attention is that of this module."""
    decoder = copy.deepcopy(decoder).eval()
    for module in list(decoder.modules()):
        for name, child in module.named_children():
            if isinstance(child, Attention):
                setattr(module, name, _Attention(child))
    return decoder
