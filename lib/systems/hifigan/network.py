"""The networks of `hifigan`: one that finds latents in a mel, one that reads F0 there, and a decoder."""

from __future__ import annotations

import torch
from torch import nn

from lib.features import HIFIGAN
from lib.systems.hifigan.config import GeneratorConfig

MEL_MEAN, MEL_SCALE = (
    -5.0,
    2.5,
)  # of natural-log mel magnitudes of speech: brings the front's input near zero mean, unit variance


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a network per frame, added to the input (Liu et al. 2022,
    arXiv:2201.03545).
    """

    def __init__(self, width: int, kernel_size: int = 7, expansion: int = 3):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel_size, padding=kernel_size // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, expansion * width)
        self.project = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-1))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:  # (B, width, F) in and out
        frames = self.norm(self.depthwise(hidden).transpose(1, 2))  # (B, F, width)
        frames = self.project(nn.functional.gelu(self.expand(frames)))
        return hidden + (self.scale * frames).transpose(1, 2)


class MelReader(nn.Module):
    """Log-mel frames, and what else is known of each, -> what shall be known; sees 3 * blocks + 3 frames to
    either side.
    """

    def __init__(self, width: int, blocks: int, n_others: int, n_outputs: int):
        super().__init__()
        self.input = nn.Conv1d(HIFIGAN.n_bands + n_others, width, 7, padding=3)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width) for _ in range(blocks)))
        self.output = nn.Conv1d(width, n_outputs, 1)

    def forward(
        self, log_mel: torch.Tensor, *others: torch.Tensor
    ) -> torch.Tensor:  # (B, F, n_bands), (B, F, n) -> (B, n_outputs, F)
        frames = torch.cat([(log_mel - MEL_MEAN) / MEL_SCALE, *others], -1)
        return self.output(self.blocks(self.input(frames.transpose(1, 2))))


def source(phase: torch.Tensor, hz: torch.Tensor) -> torch.Tensor:
    """What the front is told of the glottal pulses: (..., 4), sine and cosine of the phase, voiced or not, F0
    in half octaves over 100 Hz.

    phase: (...) in cycles; hz: (...), 0 where unvoiced: all four are 0 there.
    """
    angle, voiced = 2 * torch.pi * phase, (hz > 0).to(phase.dtype)
    return (
        torch.stack(
            [angle.sin(), angle.cos(), torch.ones_like(phase), 2 * torch.log2(hz.clamp_min(1) / 100)], -1
        )
        * voiced[..., None]
    )


def read_pitch(modules: dict[str, nn.Module], log_mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, F, n_bands) -> the logit of "voiced" and log2(F0 / 100 Hz), each (B, F)."""
    logit, octaves = modules["pitch"](log_mel).unbind(1)
    return logit, octaves


def read_source(modules: dict[str, nn.Module], log_mel: torch.Tensor) -> torch.Tensor:
    """`source` for a mel alone: F0 as the mel shows it, the phase its integral, (B, F, 4)."""
    logit, octaves = read_pitch(modules, log_mel)
    hz = torch.where(logit > 0, 100 * 2 ** octaves.clamp(-1, 2.5), torch.zeros_like(octaves))  # 50 to 566 Hz
    cycles = (hz.double() * HIFIGAN.hop / HIFIGAN.sample_rate).cumsum(-1)  # a minute of speech has 10^4 of them
    return source((cycles % 1).to(log_mel.dtype), hz)


def build(config: GeneratorConfig, *, warm: bool = True, seed: int = 0) -> dict[str, nn.Module]:
    """The generator's networks by name: "front", "pitch" and "decoder", or for V1 "decoder" alone.

    warm: the decoder starts with the weights of `vits-joe`; without, its weights are random until a checkpoint
    is loaded.
    """
    torch.manual_seed(seed)
    if config.generator == "v1":
        from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

        decoder = SpeechT5HifiGan(
            SpeechT5HifiGanConfig(
                model_in_dim=HIFIGAN.n_bands,
                sampling_rate=HIFIGAN.sample_rate,
                upsample_initial_channel=512,
                upsample_rates=[8, 8, 2, 2],
                upsample_kernel_sizes=[16, 16, 4, 4],
                normalize_before=False,
            )
        )
        return {"decoder": decoder}
    from lib.systems.vits_joe import network as vits_joe

    front = MelReader(config.front_width, config.front_blocks, n_others=4, n_outputs=192)
    pitch = MelReader(config.pitch_width, config.pitch_blocks, n_others=0, n_outputs=2)
    return {
        "front": front,
        "pitch": pitch,
        "decoder": (vits_joe.load_model() if warm else vits_joe.build_model()).decoder,
    }


def decode(modules: dict[str, nn.Module], log_mel: torch.Tensor) -> torch.Tensor:
    """(B, F, n_bands) -> waveforms (B, F * hop), through the networks of `build`."""
    if "front" not in modules:
        return modules["decoder"](log_mel)
    return modules["decoder"](modules["front"](log_mel, read_source(modules, log_mel)))[:, 0]
