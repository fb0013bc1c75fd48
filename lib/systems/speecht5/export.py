"""Which ONNX graphs is the network of `speecht5`? H hidden units, N heads of W, L decoder layers.

    encoder   ids (T,), speaker (1,), positions (T, H)
              -> nearness (behind + 1 + ahead,), voice (H,) and, for each decoder layer,
                 text_keys.<layer> (N, W, T), text_values.<layer> (N, T, W): computed once, read at every step
    decoder   frame (1, 80), keep (layers, units), position (1, H), voice (H,), nearness (n,), text_keys.<layer>
              (N, W, n), text_values.<layer> (N, n, W) of the n symbols that the step sees, kept (S,), keys.<layer>
              (N, W, S), values.<layer> (N, S, W) of the steps before
              -> frames (r, 80), stop, looked (n,), new_keys.<layer> (N, W), new_values.<layer> (N, W)
    postnet   rough (F, 80) -> mel (F, 80), no longer standardised

What is remembered of the steps before has room for more than there were: `kept` is added to the scores, 0 where there
is something, a large negative number elsewhere. So it is copied nowhere, neither by the graph nor by who runs it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.graphs.export import export
from lib.graphs.layers import Remembered, SelfAttention, TextAttention, joined
from lib.systems.speecht5.config import NetworkConfig
from lib.systems.speecht5.network import SpeechT5Network

_SYMBOLS, _SEEN, _STEPS, _FRAMES = 11, 7, 5, 12  # of the examples


def graphs(model: SpeechT5Network) -> dict[str, bytes]:
    """All three, by name."""
    return {"encoder": encoder(model), "decoder": decoder(model), "postnet": postnet(model)}


def encoder(model: SpeechT5Network) -> bytes:
    inputs = {
        "ids": torch.arange(_SYMBOLS) + 5,
        "speaker": torch.zeros(1, dtype=torch.long),
        "positions": torch.randn(_SYMBOLS, model.config.hidden),
    }
    names = [f"{kind}.{n}" for n in range(model.config.decoder_layers) for kind in ("text_keys", "text_values")]
    lengths = {name: {0: "symbols"} for name in ("ids", "positions")}
    return export(_Encoder(model), inputs, ["nearness", "voice", *names], lengths)


def decoder(model: SpeechT5Network) -> bytes:
    config, width = model.config, model.config.hidden // model.config.heads
    inputs = {
        "frame": torch.randn(1, config.features.n_bands),
        "keep": torch.ones(config.prenet_layers, config.prenet),
        "position": torch.randn(1, config.hidden),
        "voice": torch.randn(config.hidden),
        "nearness": torch.zeros(_SEEN),
        "kept": torch.zeros(_STEPS),
    }
    lengths = {"nearness": {0: "seen"}, "kept": {0: "steps"}}
    shapes = {
        "text_keys": (width, _SEEN),
        "text_values": (_SEEN, width),
        "keys": (width, _STEPS),
        "values": (_STEPS, width),
    }
    for name, shape in shapes.items():
        for layer in range(config.decoder_layers):
            inputs[f"{name}.{layer}"] = torch.randn(config.heads, *shape)
            free = 2 if name.endswith("keys") else 1
            lengths[f"{name}.{layer}"] = {free: "seen" if name.startswith("text") else "steps"}
    new = [f"{name}.{n}" for n in range(config.decoder_layers) for name in ("new_keys", "new_values")]
    return export(_Step(model), inputs, ["frames", "stop", "looked", *new], lengths)


def postnet(model: SpeechT5Network) -> bytes:
    rough = torch.randn(_FRAMES, model.config.features.n_bands)
    return export(_Postnet(model), {"rough": rough}, ["mel"], {"rough": {0: "frames"}})


class _Encoder(nn.Module):
    def __init__(self, model: SpeechT5Network):
        super().__init__()
        speecht5, self.voices = model.network.speecht5, model.voices
        self.prenet, encoder = speecht5.encoder.prenet, speecht5.encoder.wrapped_encoder
        self.norm, self.distances, self.layers = encoder.layer_norm, encoder.embed_positions, encoder.layers
        layers = speecht5.decoder.wrapped_decoder.layers
        self.read = nn.ModuleList(Remembered(layer.encoder_attn, model.config.heads) for layer in layers)
        self.hear = speecht5.decoder.prenet.speaker_embeds_layer
        nearness = model.nearness.detach().clone() if model.config.ahead else torch.zeros(1)
        self.register_buffer("near", nearness)

    def forward(
        self, ids: torch.Tensor, speaker: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        alpha = self.prenet.encode_positions.alpha
        hidden = self.norm((self.prenet.embed_tokens(ids) + alpha * positions)[None])
        distances = self.distances(hidden)
        for layer in self.layers:
            hidden = layer(hidden, position_bias=distances)[0]
        voice = F.normalize(self.voices(speaker))  # (1, speaker)
        weight = self.hear.weight[:, self.hear.in_features - voice.shape[1] :]
        known = [tensor for read in self.read for tensor in read(hidden[0])]
        return self.near * 1, (voice @ weight.T + self.hear.bias)[0], *known


class _Step(nn.Module):
    def __init__(self, model: SpeechT5Network):
        super().__init__()
        decoder, self.config = model.network.speecht5.decoder, model.config
        self.prenet, self.postnet = decoder.prenet, model.network.speech_decoder_postnet
        hear = self.prenet.speaker_embeds_layer
        self.hear = nn.Linear(model.config.hidden, hear.out_features, bias=False)
        self.hear.weight = nn.Parameter(hear.weight.detach()[:, : model.config.hidden].clone())
        self.say = joined(self.postnet.feat_out, self.postnet.prob_out)
        self.layers = nn.ModuleList(_Layer(layer, model.config) for layer in decoder.wrapped_decoder.layers)

    def forward(self, frame, keep, position, voice, nearness, kept, **known) -> tuple[torch.Tensor, ...]:
        config, hidden = self.config, frame
        for number, layer in enumerate(self.prenet.layers):
            hidden = torch.relu(layer(hidden)) * keep[number]
        hidden = self.prenet.final_layer(hidden) + self.prenet.encode_positions.alpha * position
        hidden = torch.relu(self.hear(hidden) + voice)  # (1, H)
        looked, new = 0, []
        for number, layer in enumerate(self.layers):
            text = (known[f"text_keys.{number}"], known[f"text_values.{number}"], nearness)
            before = (known[f"keys.{number}"], known[f"values.{number}"], kept)
            hidden, shares, keys, values = layer(hidden, text, before)
            looked, new = looked + shares[: config.guided, 0].sum(0), [*new, keys, values]
        n_frames = config.reduction * config.features.n_bands
        said = self.say(hidden)[0]  # (r * n_bands + r,)
        frames, stop = said[:n_frames].view(config.reduction, -1), torch.sigmoid(said[n_frames:]).sum()
        return frames, stop, looked, *new


class _Layer(nn.Module):
    """A decoder layer over one step."""

    def __init__(self, layer: nn.Module, config: NetworkConfig):
        super().__init__()
        self.self_attn = SelfAttention(layer.self_attn, config.heads)
        self.text_attn = TextAttention(layer.encoder_attn, config.heads)
        self.feed_forward = layer.feed_forward
        self.norms = nn.ModuleList(
            (layer.self_attn_layer_norm, layer.encoder_attn_layer_norm, layer.final_layer_norm)
        )

    def forward(self, hidden, text, before):
        heard, key, value = self.self_attn(hidden, *before)
        hidden = self.norms[0](hidden + heard)
        seen, shares = self.text_attn(hidden, *text)
        hidden = self.norms[1](hidden + seen)
        return self.norms[2](hidden + self.feed_forward(hidden)), shares, key, value


class _Postnet(nn.Module):
    def __init__(self, model: SpeechT5Network):
        super().__init__()
        self.layers = nn.ModuleList(
            fuse_conv_bn_eval(layer.conv, layer.batch_norm)
            for layer in model.network.speech_decoder_postnet.layers
        )
        self.activations = [layer.activation for layer in model.network.speech_decoder_postnet.layers]
        self.register_buffer("mean", model.mel_mean)
        self.register_buffer("deviation", model.mel_deviation)

    def forward(self, rough: torch.Tensor) -> torch.Tensor:
        correction = rough.T[None]
        for layer, activation in zip(self.layers, self.activations):
            correction = layer(correction)
            correction = correction if activation is None else activation(correction)
        return (rough + correction[0].T) * self.deviation + self.mean
