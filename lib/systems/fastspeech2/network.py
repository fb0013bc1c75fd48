"""The network of `fastspeech2`: phones in, a log-mel spectrogram out, the same for a sentence alone as in a batch.

The layers are transformers' own (`FastSpeech2ConformerModel`), called here one by one, for three reasons: the
padding of a batch is kept out of every convolution and of the decoder's attention, which transformers leaves
open; durations stay real numbers until the rate is known; and the losses can be judged in evaluation mode.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

from lib.errors import AudioError
from lib.features import HIFIGAN
from lib.systems.fastspeech2.config import SPEECH_MAX_S, SYMBOL_FRAMES_MAX, Controls, NetworkConfig
from lib.systems.padding import silenced
from lib.systems.standardised import Standardised

PROSODY = ("pitch", "energy")  # what a symbol has besides its duration


class Encoded(NamedTuple):
    """What the network knows of the text. hidden: (B, T, hidden); the rest (B, T): log(frames + 1), and
    standardised pitch and energy of each symbol; real: (B, T) bool, False where there is padding, None for a
    batch without.
    """

    hidden: torch.Tensor
    log_frames: torch.Tensor
    pitch: torch.Tensor
    energy: torch.Tensor
    real: torch.Tensor | None


class Prediction(NamedTuple):
    """rough, mel: standardised log-mels before and after the postnet, (B, F, n_bands); the rest as in `Encoded`."""

    rough: torch.Tensor
    mel: torch.Tensor
    log_frames: torch.Tensor
    pitch: torch.Tensor
    energy: torch.Tensor


class FastSpeech2Network(Standardised):
    """transformers' network beside the statistics that its inputs and outputs are standardised with, saved together.

    Pitch is the mean of log F0 (Hz) over a symbol's frames, energy that of the log of `features.energy`; both
    are standardised per speaker, mel bands over all of them.
    """

    def __init__(self, config: NetworkConfig, n_speakers: int):
        super().__init__(HIFIGAN.n_bands)
        from transformers import FastSpeech2ConformerModel

        self.per_frame = (
            config.feed_forward_kernel == 1
        )  # the blocks' feed-forward layers see one frame at a time
        self.network = FastSpeech2ConformerModel(config.transformers(n_speakers))
        for layer in (*self.network.encoder.conformer_layers, *self.network.decoder.conformer_layers):
            pointwise = [(layer.conv_module, "pointwise_conv1"), (layer.conv_module, "pointwise_conv2")]
            if self.per_frame:
                pointwise += [
                    (part, name)
                    for part in (layer.feed_forward, layer.feed_forward_macaron)
                    for name in ("conv1", "conv2")
                ]
            for part, name in pointwise:
                setattr(part, name, _as_linear(getattr(part, name)))
        for name in PROSODY:
            self.register_buffer(f"{name}_mean", torch.zeros(n_speakers))
            self.register_buffer(f"{name}_deviation", torch.ones(n_speakers))

    def forward(
        self,
        ids: torch.Tensor,
        speakers: torch.Tensor,
        frames: torch.Tensor,
        pitch: torch.Tensor,
        energy: torch.Tensor,
    ) -> Prediction:
        """Teacher forcing: ids, frames (B, T) int64, padded with 0, with pitch and energy (B, T) standardised;
        speakers (B,).
        """
        encoded = self.encode(ids, speakers)
        rough, mel = self.decode(encoded, frames, pitch, energy)  # (B, F, n_bands)
        return Prediction(rough, mel, encoded.log_frames, encoded.pitch, encoded.energy)

    def encode(self, ids: torch.Tensor, speakers: torch.Tensor) -> Encoded:
        """ids: (B, T) int64, padded with 0; speakers: (B,) int64."""
        network = self.network
        real = ids != 0 if len(ids) > 1 else None  # (B, T)
        hidden = _blocks(network.encoder, network.encoder.embed(ids), real, self.per_frame)
        if network.multispeaker_model:
            hidden = hidden + network.speaker_id_embedding(speakers)[:, None]
        pitch_sees = hidden.detach() if network.stop_gradient_from_pitch_predictor else hidden
        predicted = (
            predict(network.duration_predictor, hidden, real),
            predict(network.pitch_predictor, pitch_sees, real),
            predict(network.energy_predictor, hidden, real),
        )
        return Encoded(hidden, *predicted, real)

    def decode(
        self, encoded: Encoded, frames: torch.Tensor, pitch: torch.Tensor, energy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Standardised log-mels (B, F, n_bands) before and after the postnet; frames (B, T) int64, pitch,
        energy (B, T).
        """
        return self.render(*self.expand(encoded, frames, pitch, energy))

    def expand(
        self, encoded: Encoded, frames: torch.Tensor, pitch: torch.Tensor, energy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Symbols to frames: (B, F, hidden) and where they are real, (B, F) bool or None. The only part whose
        output length depends on values, which exporters leave to their caller.
        """
        network, ends = self.network, frames.cumsum(1)
        hidden = (
            encoded.hidden + network.energy_embed(energy[..., None]) + network.pitch_embed(pitch[..., None])
        )
        lengths = ends[:, -1]
        clock = (
            torch.arange(int(lengths.max()), device=frames.device).expand(len(frames), -1).contiguous()
        )  # (B, F)
        owner = torch.searchsorted(ends.contiguous(), clock, right=True).clamp(max=frames.shape[1] - 1)
        hidden = hidden.gather(1, owner[..., None].expand(-1, -1, hidden.shape[-1]))
        return hidden, clock < lengths[:, None] if len(frames) > 1 else None

    def render(
        self, hidden: torch.Tensor, real: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, F, hidden) to standardised log-mels (B, F, n_bands) before and after the postnet."""
        hidden = self.deepen(hidden, real)
        postnet = self.network.speech_decoder_postnet
        rough = postnet.feat_out(hidden)
        correction = rough.transpose(1, 2)  # (B, n_bands, F)
        for layer in postnet.layers:
            correction = layer(silenced(correction, real))
        return rough, rough + correction.transpose(1, 2)

    def deepen(self, hidden: torch.Tensor, real: torch.Tensor | None = None) -> torch.Tensor:
        """(B, F, hidden) in and out: frames that know of each other; one linear layer makes a mel of them."""
        return _blocks(self.network.decoder, hidden, real, self.per_frame)

    def plan(
        self, ids: torch.Tensor, speakers: torch.Tensor, controls: Controls = Controls()
    ) -> tuple[Encoded, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What `expand` and `decode` take, as the network would say it: the text, and frames, pitch and energy
        of each symbol.
        """
        encoded = self.encode(ids, speakers)
        lengths = (encoded.log_frames.exp() - 1).clamp(
            0, SYMBOL_FRAMES_MAX
        ) / controls.rate  # (B, T), not whole yet
        if encoded.real is not None:
            lengths = lengths * encoded.real
        # What rounding takes from one symbol the next one gets, so that the whole keeps its length at every rate.
        frames = lengths.cumsum(1).round().long().diff(dim=1, prepend=torch.zeros_like(ids[:, :1]))
        pitch = encoded.pitch + controls.semitones * math.log(2) / 12 / self.pitch_deviation[speakers][:, None]
        energy = encoded.energy + math.log(controls.energy) / self.energy_deviation[speakers][:, None]
        return encoded, frames, pitch, energy

    def speak(
        self, ids: torch.Tensor, speakers: torch.Tensor, controls: Controls = Controls()
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-mels (B, F, n_bands) of `features.HIFIGAN` and the frames (B, T) of each symbol, as the network
        would say it.
        """
        encoded, frames, pitch, energy = self.plan(ids, speakers, controls)
        seconds = frames.sum(1) * HIFIGAN.hop / HIFIGAN.sample_rate * controls.rate
        if not ((seconds > 0) & (seconds <= SPEECH_MAX_S)).all():
            raise AudioError(
                f"the network wants {seconds.max():.1f} s for {ids.shape[1]} symbols: it is not trained, or its "
                "weights are broken; take another checkpoint"
            )
        return self.as_log_mel(self.decode(encoded, frames, pitch, energy)[1]), frames


def _blocks(stack: nn.Module, hidden: torch.Tensor, real: torch.Tensor | None, per_frame: bool) -> torch.Tensor:
    """`blocks` with the stack's own table of distances, and its scale, on (B, time, hidden)."""
    hidden, distances = stack.pos_enc(hidden)
    return blocks(stack, hidden, distances, real, per_frame)


def blocks(
    stack: nn.Module, hidden: torch.Tensor, distances: torch.Tensor, real: torch.Tensor | None, per_frame: bool
) -> torch.Tensor:
    """transformers' Conformer blocks (Gulati et al. 2020, arXiv:2005.08100) on (B, time, hidden); distances: (1, 2 *
    time - 1, hidden).
    """
    attended = None if real is None else real[:, None]  # (B, 1, time)
    for layer in stack.conformer_layers:
        hidden = layer.ff_macaron_layer_norm(
            hidden
            + layer.ff_scale * layer.dropout(_feed_forward(layer.feed_forward_macaron, hidden, real, per_frame))
        )
        attention = layer.self_attn(hidden, attention_mask=attended, pos_emb=distances)[0]
        hidden = layer.self_attn_layer_norm(hidden + layer.dropout(attention))
        hidden = layer.conv_layer_norm(hidden + layer.dropout(_convolve(layer.conv_module, hidden, real)))
        hidden = layer.ff_layer_norm(
            hidden + layer.ff_scale * layer.dropout(_feed_forward(layer.feed_forward, hidden, real, per_frame))
        )
        hidden = layer.final_layer_norm(hidden)
    return hidden


def _feed_forward(
    module: nn.Module, hidden: torch.Tensor, real: torch.Tensor | None, per_frame: bool
) -> torch.Tensor:
    """(B, time, hidden) in and out; per_frame: its two layers are linear ones, else convolutions over time."""
    if per_frame:
        return module.conv2(module.dropout(torch.relu(module.conv1(hidden))))
    inner = module.dropout(torch.relu(module.conv1(silenced(hidden.transpose(1, 2), real))))  # (B, units, time)
    return module.conv2(silenced(inner, real)).transpose(1, 2)


def _convolve(module: nn.Module, hidden: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    channels = nn.functional.glu(module.pointwise_conv1(hidden), dim=-1).transpose(1, 2)  # (B, hidden, time)
    channels = module.activation(module.norm(module.depthwise_conv(silenced(channels, real))))
    return module.pointwise_conv2(channels.transpose(1, 2))


def _as_linear(convolution: nn.Conv1d) -> nn.Linear:
    """A convolution that sees one frame at a time, with its weights: several times faster on a CPU, and open to
    int8.
    """
    linear = nn.Linear(convolution.in_channels, convolution.out_channels)
    linear.weight, linear.bias = nn.Parameter(convolution.weight.detach()[..., 0]), convolution.bias
    return linear


def predict(predictor: nn.Module, hidden: torch.Tensor, real: torch.Tensor | None) -> torch.Tensor:
    """One value per symbol, (B, T); durations in the log domain, in training and in use alike."""
    channels = hidden.transpose(1, 2)  # (B, hidden, T)
    for layer in predictor.conv_layers:
        channels = layer(silenced(channels, real))
    return predictor.linear(channels.transpose(1, 2))[..., 0]


def build(config: NetworkConfig, n_speakers: int, seed: int = 0) -> FastSpeech2Network:
    """The network with random weights."""
    torch.manual_seed(seed)
    return FastSpeech2Network(config, n_speakers)
