"""Which filters turn pulses and noise into this speech? A trunk of ConvNeXt blocks at the frame rate, and a small
network for the pitch.

Every convolution looks back only; what a network sees of the future is the mel, moved by `lookahead` frames. With the
window of the STFT, an output sample waits for the mel of 4 frames later (46 ms): two for the overlap, two for what
the pulses in those windows need, which is also the trunk's look-ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from lib.errors import ParameterError
from lib.features import HIFIGAN
from lib.systems.istft import signal

MEL_MEAN, MEL_SCALE = -5.0, 2.5  # of natural-log mel magnitudes of speech
SOURCE_MEAN, SOURCE_SCALE = -0.4, 0.5  # of those of the pulses
REFERENCE_HZ = 150.0  # between a low and a high voice


@dataclass(frozen=True)
class IstftConfig:
    """The sizes that a finished vocoder has; saved beside its weights."""

    width: int = 256  # channels of the trunk
    blocks: int = 6  # ConvNeXt blocks of the trunk, 5 expansion width^2 parameters each
    kernel: int = 7  # frames that a block's depthwise convolution sees, the last one its own
    expansion: int = 3  # hidden channels of a block, in widths
    lookahead: int = 2  # frames of the mel that the trunk sees ahead, 11.6 ms each
    pitch_width: int = 96  # channels of the network that reads F0
    pitch_blocks: int = 5
    pitch_lookahead: int = 0  # frames of the mel that it sees ahead: each delays the whole vocoder by one
    pitch_bins: int = 160  # classes of F0
    pitch_step_cents: float = 24.0  # from one class to the next
    pitch_low_hz: float = 55.0  # the middle of the lowest class; the highest lies at 500 Hz

    def __post_init__(self) -> None:
        for name in ("width", "blocks", "kernel", "expansion", "pitch_width", "pitch_blocks", "pitch_bins"):
            if getattr(self, name) < 1:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must be at least 1")
        if min(self.lookahead, self.pitch_lookahead) < 0:
            raise ParameterError(
                "model.lookahead and model.pitch_lookahead count frames: they must not be negative"
            )


class Block(nn.Module):
    """ConvNeXt (Liu et al. 2022, arXiv:2201.03545), causal: a depthwise convolution over the past, then a network per
    frame.
    """

    def __init__(self, width: int, kernel: int, expansion: int):
        super().__init__()
        self.past = kernel - 1
        self.depthwise = nn.Conv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, expansion * width)
        self.project = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:  # (B, F, width) in and out
        mixed = self.depthwise(F.pad(hidden.transpose(1, 2), (self.past, 0))).transpose(1, 2)
        return hidden + self.scale * self.project(F.gelu(self.expand(self.norm(mixed))))


class Reader(nn.Module):
    """Frames of features -> frames of something else, seeing the past alone."""

    def __init__(self, n_inputs: int, width: int, blocks: int, kernel: int, expansion: int, n_outputs: int):
        super().__init__()
        self.past = kernel - 1
        self.input = nn.Conv1d(n_inputs, width, kernel)
        self.blocks = nn.Sequential(*(Block(width, kernel, expansion) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, n_outputs)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:  # (B, F, n_inputs) -> (B, F, n_outputs)
        hidden = self.input(F.pad(frames.transpose(1, 2), (self.past, 0))).transpose(1, 2)  # (B, F, width)
        return self.output(self.norm(self.blocks(hidden)))


class Trunk(Reader):
    """What is to be corrected in the prior: log|H|, the phase of H, log G; at first nothing but the balance of pulses
    and noise.
    """

    def __init__(self, config: IstftConfig):
        super().__init__(
            2 * HIFIGAN.n_bands + 1,
            config.width,
            config.blocks,
            config.kernel,
            config.expansion,
            3 * signal.BINS,
        )
        self.lookahead = config.lookahead
        # Speech at first: harmonics carry it below 4 kHz, noise above; each 3 dB down where both are as loud.
        hz = torch.arange(signal.BINS) * (signal.RATE / signal.SIZE)
        rising = (hz / 5_000).clamp(max=1)
        nn.init.zeros_(self.output.weight)
        with torch.no_grad():
            self.output.bias.copy_(torch.cat([-0.1 - 0.6 * rising, torch.zeros_like(hz), -3.0 + 2.7 * rising]))

    def forward(self, log_mel: torch.Tensor, of_source: torch.Tensor, hz: torch.Tensor) -> torch.Tensor:
        """(B, F, 80), (B, F, 80), (B, F) -> (B, F, 3 * 513)."""
        octaves = torch.log2(hz.clamp_min(20.0) / REFERENCE_HZ)[..., None]
        mel = (ahead(log_mel, self.lookahead) - MEL_MEAN) / MEL_SCALE
        return super().forward(torch.cat([mel, (of_source - SOURCE_MEAN) / SOURCE_SCALE, octaves], -1))


class Pitch(Reader):
    """Which F0 does a mel show at the end of each hop? Classes `pitch_step_cents` apart."""

    def __init__(self, config: IstftConfig):
        super().__init__(
            HIFIGAN.n_bands,
            config.pitch_width,
            config.pitch_blocks,
            config.kernel,
            config.expansion,
            config.pitch_bins,
        )
        self.lookahead, self.low_hz, self.step = (
            config.pitch_lookahead,
            config.pitch_low_hz,
            config.pitch_step_cents,
        )

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, F, 80) -> logits (B, F, bins)."""
        return super().forward((ahead(log_mel, self.lookahead) - MEL_MEAN) / MEL_SCALE)

    def position(self, hz: torch.Tensor) -> torch.Tensor:
        """F0 in classes, from 0 to bins - 1; what lies beyond is moved to the nearest."""
        cents = 1200 * torch.log2(hz.clamp_min(20.0) / self.low_hz)
        return (cents / self.step).clamp(0, self.output.out_features - 1)

    def hz(self, logits: torch.Tensor) -> torch.Tensor:
        """(..., bins) -> (...): the mean of the classes within 4 of the likeliest (Kim et al. 2018,
        arXiv:1802.06182).
        """
        index = torch.arange(logits.shape[-1], device=logits.device)
        near = (index - logits.argmax(-1, keepdim=True)).abs() <= 4
        weights = torch.softmax(logits.float().masked_fill(~near, -1e4), -1)
        return self.low_hz * 2 ** ((weights * index).sum(-1) * self.step / 1200)


class Noise(nn.Module):
    """The loop of noise that a finished vocoder speaks with: no weights, but heard."""

    def __init__(self):
        super().__init__()
        spectra = signal.noise(torch.zeros(1, dtype=torch.long), signal.NOISE_FRAMES)[0]  # (NOISE_FRAMES, 513)
        self.register_buffer("spectra", spectra.clone(), persistent=False)

    def forward(self, offset: torch.Tensor, n_frames: int) -> torch.Tensor:
        """As `signal.noise`."""
        index = offset[:, None] + torch.arange(n_frames, device=offset.device)
        return self.spectra[index % len(self.spectra)]


def build(config: IstftConfig, seed: int = 0) -> dict[str, nn.Module]:
    """The networks by name, with random weights: "pitch" and "trunk"."""
    torch.manual_seed(seed)
    return {"pitch": Pitch(config), "trunk": Trunk(config)}


def render(
    trunk: nn.Module,
    log_mel: torch.Tensor,
    phase: torch.Tensor,
    hz_of_samples: torch.Tensor,
    hz: torch.Tensor,
    offset: torch.Tensor,
    noise: Callable[[torch.Tensor, int], torch.Tensor] = signal.noise,
) -> torch.Tensor:
    """The waveform (B, F * HOP).

    log_mel: (B, F, 80); phase, hz_of_samples: of the pulses, (B, F * HOP); hz: F0 at the ends of the hops (B, F);
    offset: where in the loop of noise each clip begins (B,); noise: that loop.
    """
    source = signal.spectra(signal.pulses(phase, hz_of_samples))
    return shape(trunk, log_mel, source, hz, offset, noise)[0]


def shape(
    trunk: nn.Module,
    log_mel: torch.Tensor,
    source: torch.Tensor,
    hz: torch.Tensor,
    offset: torch.Tensor,
    noise: Callable[[torch.Tensor, int], torch.Tensor] = signal.noise,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`render` for pulses that are spectra already, (B, F, 513); beside the waveform H S, complex, and G, (B, F,
    513).
    """
    of_source = signal.source_mel(source)
    log_h, angle, log_g = signal.prior(log_mel, of_source)
    more_h, more_angle, more_g = trunk(log_mel, of_source, hz).float().chunk(3, -1)
    gain = torch.exp((log_h + more_h).clamp(max=8.0))  # 8: far above any speech, yet finite for any input
    harmonic = torch.polar(gain, angle + more_angle) * source
    noise_gain = torch.exp((log_g + more_g).clamp(max=8.0))
    waveform = signal.overlap_add(harmonic + noise_gain * noise(offset, log_mel.shape[1]))
    return waveform, harmonic, noise_gain


def decode(modules: Mapping[str, nn.Module], log_mel: torch.Tensor) -> torch.Tensor:
    """(B, F, 80) -> waveforms (B, F * HOP), with the pitch that the mel shows.

    modules: of `build`, and, for a vocoder whose noise can be replaced, "noise".
    """
    hz = modules["pitch"].hz(modules["pitch"](log_mel))
    phase, hz_of_samples = signal.integrate(hz)
    offset = torch.zeros(len(log_mel), dtype=torch.long, device=log_mel.device)
    return render(
        modules["trunk"], log_mel, phase, hz_of_samples, hz, offset, modules.get("noise", signal.noise)
    )


def ahead(frames: torch.Tensor, n: int) -> torch.Tensor:
    """(B, F, n_bands) moved n frames into the past, the last frame held."""
    moved = min(n, frames.shape[1])
    return torch.cat([frames[:, moved:], frames[:, -1:].expand(-1, moved, -1)], 1)
