"""The networks of `tortoise`: which spectrogram hides in this noise, given what is to be said and who says it?

`DiffusionDecoder` is TorToiSe's diffusion decoder (Betker 2023, arXiv:2305.07243), its state-dict names and
shapes those of the published checkpoint, in one implementation for the published size and for a small one. The
published decoder is conditioned on latents of an autoregressive model trained before it, four mel frames long
each, and on clips of the voice. The small one takes its latents, one per frame, from a FastSpeech 2 in the same
way, and its voices from a table.

Spectrograms are (B, bands, F) here, as the published network wants them; the latents (B, F, latent_channels).
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from lib.errors import ParameterError
from lib.systems.layers import plain
from lib.systems.tortoise.config import DecoderConfig

GUIDANCE_UNIT = (
    500.0  # of guidance, in timesteps: its embedding tells weights apart as the other tells timesteps
)


def norm(channels: int) -> nn.GroupNorm:
    """Group norm with as many groups as published: 32, fewer where a channel count is small or no multiple."""
    groups = 8 if channels <= 16 else 16 if channels <= 64 else 32
    while channels % groups:
        groups //= 2
    return nn.GroupNorm(groups, channels)


def pointwise(layer: nn.Conv1d, x: torch.Tensor) -> torch.Tensor:
    """A convolution that sees one frame at a time, (B, C, F) in and out, as one product of matrices: faster on
    a CPU. One that is more than its weights is called, and in a graph it is a convolution, as which quantizers know it.
    """
    if torch.jit.is_tracing() or not plain(layer):
        return layer(x)
    return torch.matmul(layer.weight[..., 0], x) + layer.bias[:, None]


class RelativeBias(nn.Module):
    """What a head prefers by distance: T5's 32 buckets (Raffel et al. 2020, arXiv:1910.10683), half of them for
    each direction, the last from 64 frames on.
    """

    buckets, farthest = 32, 64

    def __init__(self, heads: int):
        super().__init__()
        self.relative_attention_bias = nn.Embedding(self.buckets, heads)

    def forward(self, length: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """(1, heads, length, length), queries before keys."""
        distance = torch.arange(1 - length, length, device=device)  # key minus query
        side, exact = self.buckets // 2, self.buckets // 4
        far = exact + (distance.abs().clamp(min=1).float() / exact).log() / math.log(self.farthest / exact) * (
            side - exact
        )
        bucket = torch.where(distance.abs() < exact, distance.abs(), far.long().clamp(max=side - 1)) + side * (
            distance > 0
        )
        by_distance = self.relative_attention_bias(bucket).T  # (heads, 2 length - 1)
        # Every query sees a window of it, the first query the last window: copies, where looking up each pair
        # would be slow.
        return by_distance.unfold(1, length, 1).flip(1)[None]


class Attention(nn.Module):
    """Self-attention over frames with a bias by distance, added to its input, (B, C, F) in and out."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(
            channels, 3 * channels, 1
        )  # queries, keys and values of one head beside each other
        self.proj_out = nn.Conv1d(channels, channels, 1)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)
        self.relative_pos_embeddings = RelativeBias(heads)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, _, length = x.shape
        qkv = pointwise(self.qkv, self.norm(x))  # (B, heads * 3 * width, F)
        width = qkv.shape[1] // (3 * self.heads)
        qkv = qkv.reshape(batch, self.heads, 3, width, length).transpose(3, 4).contiguous()
        # The bias is published in units of the scores before they are divided by sqrt(width), times that root:
        # it stays as it is.
        bias = self.relative_pos_embeddings(length, x.device) * math.sqrt(width)
        heard = F.scaled_dot_product_attention(
            *qkv.unbind(2), attn_mask=bias.to(qkv.dtype)
        )  # (B, heads, F, width)
        return x + pointwise(self.proj_out, heard.transpose(2, 3).reshape(batch, self.heads * width, length))


class ResidualBlock(nn.Module):
    """Two convolutions, the second behind a norm that the timestep scales and shifts, (B, C, F) in and out."""

    def __init__(self, channels: int, dropout: float):
        super().__init__()
        self.in_layers = nn.Sequential(norm(channels), nn.SiLU(), nn.Conv1d(channels, channels, 1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(channels, 2 * channels))
        self.out_layers = nn.Sequential(
            norm(channels), nn.SiLU(), nn.Dropout(dropout), nn.Conv1d(channels, channels, 3, padding=1)
        )

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:  # time: (B, C)
        before, act, convolution = self.in_layers
        scale, shift = self.emb_layers(time)[..., None].chunk(2, 1)
        hidden = pointwise(convolution, act(before(x)))
        after, act, drop, convolution = self.out_layers
        return x + convolution(drop(act(after(hidden) * (1 + scale) + shift)))


class DiffusionLayer(nn.Module):
    """A residual block, then attention."""

    def __init__(self, channels: int, heads: int, dropout: float):
        super().__init__()
        self.resblk = ResidualBlock(channels, dropout)
        self.attn = Attention(channels, heads)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.attn(self.resblk(x, time))


class DiffusionDecoder(nn.Module):
    """The decoder: `condition` once per sentence, then `denoise` at every step."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        channels, heads, bands = config.channels, config.heads, config.in_channels
        self.inp_block = nn.Conv1d(bands, channels, 3, padding=1)
        self.time_embed = nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels))
        if config.folded:
            self.guidance_embed = _silent(channels)
        if config.interval:
            self.until_embed = _silent(channels)
        if config.code_count:
            self.code_embedding = nn.Embedding(config.code_count, channels)
            self.code_converter = nn.Sequential(
                *(Attention(channels, heads) for _ in range(config.code_layers))
            )
        self.code_norm = norm(channels)
        self.latent_conditioner = nn.Sequential(
            nn.Conv1d(config.latent_channels, channels, 3, padding=1),
            *(Attention(channels, heads) for _ in range(config.latent_layers)),
        )
        if config.context_layers:
            self.contextual_embedder = nn.Sequential(
                nn.Conv1d(bands, channels, 3, padding=1, stride=2),
                nn.Conv1d(channels, 2 * channels, 3, padding=1, stride=2),
                *(Attention(2 * channels, heads) for _ in range(config.context_layers)),
            )
        else:
            self.speaker_embedding = nn.Embedding(config.speakers, 2 * channels)
        self.unconditioned_embedding = nn.Parameter(torch.randn(1, channels, 1))
        self.conditioning_timestep_integrator = nn.ModuleList(
            DiffusionLayer(channels, heads, config.dropout) for _ in range(config.integrator_layers)
        )
        self.integrating_conv = nn.Conv1d(2 * channels, channels, 1)
        self.mel_head = nn.Conv1d(channels, bands, 3, padding=1)
        self.layers = nn.ModuleList(
            [DiffusionLayer(channels, heads, config.dropout) for _ in range(config.layers)]
            + [ResidualBlock(channels, config.dropout) for _ in range(config.end_layers)]
        )
        self.out = nn.Sequential(
            norm(channels), nn.SiLU(), nn.Conv1d(channels, config.out_channels, 3, padding=1)
        )

    def voice(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, n_clips, bands, F) mels of a voice -> (B, 2 * channels): the mean over all of their frames."""
        heard = [self.contextual_embedder(clip) for clip in clips.unbind(1)]  # (B, 2 * channels, F / 4) each
        return torch.cat(heard, -1).mean(-1)

    def condition(self, said: torch.Tensor, voice: torch.Tensor, frames: int) -> torch.Tensor:
        """What is to be said, (B, channels, frames). said: latents (B, T, latent_channels) or codes (B, T)
        int64, stretched to `frames`; voice: of `voice`, or numbers of speakers (B,) int64.
        """
        if said.is_floating_point():
            hidden = self.latent_conditioner(said.transpose(1, 2))
        else:
            hidden = self.code_converter(self.code_embedding(said).transpose(1, 2))
        if not voice.is_floating_point():
            voice = self.speaker_embedding(voice)
        scale, shift = voice[..., None].chunk(2, 1)
        return F.interpolate(self.code_norm(hidden) * (1 + scale) + shift, size=frames, mode="nearest")

    def rough(self, condition: torch.Tensor) -> torch.Tensor:
        """(B, bands, F): the mel that the condition alone stands for, a mean over all ways to say it."""
        return self.mel_head(condition)

    def denoise(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        condition: torch.Tensor | None = None,
        *,
        guidance: torch.Tensor | None = None,
        until: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The prediction for x (B, bands, F) at `timesteps` (B,), (B, out_channels, F); condition: None for
        guidance. Of students: guidance (B,), its weight; until (B,), the timestep that the step leads to.
        """
        if condition is None:
            condition = self.unconditioned_embedding.expand(len(x), -1, x.shape[-1])
        channels = self.config.channels
        time = self.time_embed(clock(timesteps, channels).to(x.dtype))
        if self.config.folded:
            guidance = torch.zeros_like(timesteps) if guidance is None else guidance
            time = time + self.guidance_embed(clock(GUIDANCE_UNIT * guidance, channels).to(x.dtype))
        if self.config.interval:
            if until is None:
                raise ParameterError(
                    "this student wants to know which timestep its step leads to: give `until`"
                )
            time = time + self.until_embed(clock(until + 1, channels).to(x.dtype))
        for layer in self.conditioning_timestep_integrator:
            condition = layer(condition, time)
        hidden = pointwise(self.integrating_conv, torch.cat([self.inp_block(x), condition], 1))
        for layer in self.layers:
            hidden = layer(hidden, time)
        return self.out(hidden)

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        said: torch.Tensor,
        voice: torch.Tensor,
        dropped: torch.Tensor | None = None,
        **inputs: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Training: (prediction, rough mel). dropped: (B,) bool, items whose condition is taken away, for guidance;
        inputs: those of students, see `denoise`.
        """
        condition = self.condition(said, voice, x.shape[-1])
        seen = condition
        if dropped is not None:
            seen = torch.where(
                dropped[:, None, None], self.unconditioned_embedding.to(condition.dtype), condition
            )
        return self.denoise(x, timesteps, seen, **inputs), self.rough(condition)


def student(network: DiffusionDecoder, *, folded: bool = False, interval: bool = False) -> DiffusionDecoder:
    """A copy of a decoder that has these inputs, too, and does not heed them yet: it says what the decoder says."""
    config = network.config
    wider = replace(config, folded=config.folded or folded, interval=config.interval or interval)
    with torch.random.fork_rng(devices=()):
        made = build(wider).to(next(network.parameters()).device)
    missing, surplus = made.load_state_dict(network.state_dict(), strict=False)
    if surplus or {name.partition(".")[0] for name in missing} - {"guidance_embed", "until_embed"}:
        raise ParameterError("a student has all that its teacher has: " + ", ".join([*surplus, *missing])[:200])
    return made.train(network.training)


def _silent(channels: int) -> nn.Sequential:
    """An embedding that says nothing before it has learnt."""
    layers = nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, channels))
    nn.init.zeros_(layers[2].weight)
    nn.init.zeros_(layers[2].bias)
    return layers


def clock(timesteps: torch.Tensor, channels: int) -> torch.Tensor:
    """Timesteps (B,), whole or not, as cosines and sines of channels / 2 frequencies from 1 down to 1e-4, (B,
    channels).
    """
    half = channels // 2
    frequencies = torch.exp(
        -math.log(10_000) / half * torch.arange(half, device=timesteps.device, dtype=torch.float32)
    )
    angles = timesteps[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], -1)


def build(config: DecoderConfig, seed: int = 0) -> DiffusionDecoder:
    """The network with random weights."""
    torch.manual_seed(seed)
    return DiffusionDecoder(config)
