"""Which ONNX graphs is the network of `fastspeech2`? H hidden units.

    encoder   ids (T,), speaker (1,), distances (2 * T - 1, H) -> hidden (T, H), log_frames (T,), pitch (T,),
              energy (T,), pitch_deviation (1,), energy_deviation (1,)
    prosody   hidden (T, H), pitch (T,), energy (T,) -> spoken (T, H): what each frame of a symbol begins as
    decoder   hidden (F, H), distances (2 * F - 1, H) -> mel (F, 80), no longer standardised

Between `prosody` and `decoder` every symbol is repeated as often as it has frames, which NumPy does. The distances are
`positions.distances`: as tables in the graphs they would be larger than the weights.
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lib.graphs.export import export
from lib.systems.fastspeech2.network import FastSpeech2Network, blocks, predict

_SYMBOLS, _FRAMES = 11, 17  # of the examples


def graphs(model: FastSpeech2Network) -> dict[str, bytes]:
    """All three, by name."""
    frames, width = {0: "frames"}, model.network.config.hidden_size
    return {
        **of_symbols(model),
        "decoder": export(
            _Decoder(folded(model)),
            {"hidden": torch.randn(_FRAMES, width), "distances": torch.randn(2 * _FRAMES - 1, width)},
            ["mel"],
            {"hidden": frames, "distances": {0: "distances"}},
        ),
    }


def of_symbols(model: FastSpeech2Network) -> dict[str, bytes]:
    """Those before the frames: `encoder` and `prosody`."""
    model = folded(model)
    symbols, width = {0: "symbols"}, model.network.config.hidden_size
    hidden = torch.randn(_SYMBOLS, width)
    return {
        "encoder": export(
            _Encoder(model),
            {
                "ids": torch.arange(_SYMBOLS) + 5,
                "speaker": torch.zeros(1, dtype=torch.long),
                "distances": torch.randn(2 * _SYMBOLS - 1, width),
            },
            ["hidden", "log_frames", "pitch", "energy", "pitch_deviation", "energy_deviation"],
            {"ids": symbols, "distances": {0: "distances"}},
        ),
        "prosody": export(
            _Prosody(model),
            {"hidden": hidden, "pitch": hidden[:, 0], "energy": hidden[:, 1]},
            ["spoken"],
            {"hidden": symbols, "pitch": symbols, "energy": symbols},
        ),
    }


class _Encoder(nn.Module):
    def __init__(self, model: FastSpeech2Network):
        super().__init__()
        self.network, self.per_frame = model.network, model.per_frame
        self.register_buffer("pitch_deviation", model.pitch_deviation)
        self.register_buffer("energy_deviation", model.energy_deviation)

    def forward(self, ids: torch.Tensor, speaker: torch.Tensor, distances: torch.Tensor):
        network = self.network
        hidden = network.encoder.embed(ids)[None] * network.encoder.pos_enc.input_scale
        hidden = blocks(network.encoder, hidden, distances[None], None, self.per_frame)
        if network.multispeaker_model:
            hidden = hidden + network.speaker_id_embedding(speaker)[:, None]
        predictors = (network.duration_predictor, network.pitch_predictor, network.energy_predictor)
        said = (predict(predictor, hidden, None)[0] for predictor in predictors)
        return hidden[0], *said, self.pitch_deviation[speaker], self.energy_deviation[speaker]


class _Prosody(nn.Module):
    def __init__(self, model: FastSpeech2Network):
        super().__init__()
        self.energy, self.pitch = model.network.energy_embed, model.network.pitch_embed

    def forward(self, hidden: torch.Tensor, pitch: torch.Tensor, energy: torch.Tensor) -> torch.Tensor:
        return hidden + self.energy(energy[None, :, None])[0] + self.pitch(pitch[None, :, None])[0]


class _Decoder(nn.Module):
    def __init__(self, model: FastSpeech2Network):
        super().__init__()
        self.decoder, self.per_frame = model.network.decoder, model.per_frame
        self.postnet = model.network.speech_decoder_postnet
        self.register_buffer("mean", model.mel_mean)
        self.register_buffer("deviation", model.mel_deviation)

    def forward(self, hidden: torch.Tensor, distances: torch.Tensor) -> torch.Tensor:
        hidden = hidden[None] * self.decoder.pos_enc.input_scale
        rough = self.postnet.feat_out(blocks(self.decoder, hidden, distances[None], None, self.per_frame))
        correction = rough.transpose(1, 2)
        for layer in self.postnet.layers:
            correction = layer(correction)
        return (rough[0] + correction[0].T) * self.deviation + self.mean


def folded(model: FastSpeech2Network) -> FastSpeech2Network:
    """A copy whose batch norms are in the convolutions before them."""
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        for convolution, norm in (("depthwise_conv", "norm"), ("conv", "batch_norm")):
            if isinstance(getattr(module, norm, None), nn.BatchNorm1d) and hasattr(module, convolution):
                setattr(
                    module, convolution, fuse_conv_bn_eval(getattr(module, convolution), getattr(module, norm))
                )
                setattr(module, norm, nn.Identity())
    return model
