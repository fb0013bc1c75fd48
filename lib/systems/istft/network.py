"""Which filters turn pulses and noise into this speech? A trunk of ConvNeXt blocks at the frame rate, and a small
network for the pitch.

Every convolution looks back only; what a network sees of the future is the mel, moved by `lookahead` frames. With the
window of the STFT, an output sample waits for the mel of 4 frames later (46 ms): two for the overlap, two for what
the pulses in those windows need, which is also the trunk's look-ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional as F

from lib.features import HIFIGAN
from lib.systems.istft import signal, tables
from lib.systems.istft.config import IstftConfig
from lib.systems.istft.tables import HIGHEST_LOG, LOWEST_HZ, MEL_MEAN, MEL_SCALE, SOURCE_MEAN, SOURCE_SCALE
from lib.systems.layers import frozen_cpu, linear, plain

Memory = dict[nn.Module, torch.Tensor]  # the last frames that each convolution saw, from chunk to chunk


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

    def forward(self, hidden: torch.Tensor, memory: Memory | None = None) -> torch.Tensor:
        """(B, F, width) in and out."""
        mixed = _mixed(self.depthwise, after(memory, self, hidden, self.past))
        wide = F.gelu(linear(self.expand, self.norm(mixed)))  # (B, F, expansion * width)
        return torch.addcmul(hidden, self.scale, linear(self.project, wide))


class Reader(nn.Module):
    """Frames of features -> frames of something else, seeing the past alone."""

    def __init__(self, n_inputs: int, width: int, blocks: int, kernel: int, expansion: int, n_outputs: int):
        super().__init__()
        self.past = kernel - 1
        self.input = nn.Conv1d(n_inputs, width, kernel)
        self.blocks = nn.Sequential(*(Block(width, kernel, expansion) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, n_outputs)

    def forward(self, frames: torch.Tensor, memory: Memory | None = None) -> torch.Tensor:
        """(B, F, n_inputs) -> (B, F, n_outputs)."""
        hidden = self.input(after(memory, self, frames, self.past).transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            hidden = block(hidden, memory)  # (B, F, width)
        return linear(self.output, self.norm(hidden))


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

    def forward(
        self, log_mel: torch.Tensor, of_source: torch.Tensor, hz: torch.Tensor, memory: Memory | None = None
    ) -> torch.Tensor:
        """(B, F, 80), (B, F, 80), (B, F) -> (B, F, 3 * 513); of the mel there may be frames that are only looked at."""
        octaves = torch.log2(hz.clamp_min(LOWEST_HZ) / tables.REFERENCE_HZ)[..., None]
        mel = (ahead(log_mel, self.lookahead)[:, : hz.shape[1]] - MEL_MEAN) / MEL_SCALE
        return super().forward(torch.cat([mel, (of_source - SOURCE_MEAN) / SOURCE_SCALE, octaves], -1), memory)


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

    def forward(
        self, log_mel: torch.Tensor, memory: Memory | None = None, n_frames: int | None = None
    ) -> torch.Tensor:
        """(B, F, 80) -> logits (B, F, bins); n_frames: those to read, where what follows them is only looked at."""
        return super().forward((ahead(log_mel, self.lookahead)[:, :n_frames] - MEL_MEAN) / MEL_SCALE, memory)

    def position(self, hz: torch.Tensor) -> torch.Tensor:
        """F0 in classes, from 0 to bins - 1; what lies beyond is moved to the nearest."""
        cents = 1200 * torch.log2(hz.clamp_min(LOWEST_HZ) / self.low_hz)
        return (cents / self.step).clamp(0, self.output.out_features - 1)

    def hz(self, logits: torch.Tensor) -> torch.Tensor:
        """(..., bins) -> (...): the mean of the classes within 4 of the likeliest (Kim et al. 2018,
        arXiv:1802.06182), in double precision, because it is integrated.
        """
        index = torch.arange(logits.shape[-1], device=logits.device)
        near = (index - logits.argmax(-1, keepdim=True)).abs() <= 4
        weights = torch.softmax(logits.double().masked_fill(~near, -1e4), -1)
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
    gain, noise_gain = filters(log_mel, of_source, trunk(log_mel, of_source, hz.to(log_mel.dtype)))
    harmonic = gain * source
    waveform = signal.overlap_add(harmonic + noise_gain * noise(offset, log_mel.shape[1]))
    return waveform, harmonic, noise_gain


def filters(
    log_mel: torch.Tensor, of_source: torch.Tensor, correction: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """H, complex, and G, each (B, F, 513): the prior of the log-mels (B, F, 80) and what the trunk adds (B, F, 3 *
    513).
    """
    log_h, angle, log_g = signal.prior(log_mel, of_source)
    more_h, more_angle, more_g = correction.float().chunk(3, -1)
    gain = torch.exp((log_h + more_h).clamp(max=HIGHEST_LOG))
    angle = angle + more_angle
    # torch.polar says the same in three times the time
    return torch.complex(gain * angle.cos(), gain * angle.sin()), torch.exp(
        (log_g + more_g).clamp(max=HIGHEST_LOG)
    )


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


def after(memory: Memory | None, layer: nn.Module, frames: torch.Tensor, n: int) -> torch.Tensor:
    """(B, F, width) -> (B, n + F, width): behind the n frames that the layer saw last, at first silence; those of now
    are remembered.
    """
    if memory is None:
        return F.pad(frames, (0, 0, n, 0))
    past = memory[layer] if layer in memory else frames.new_zeros(len(frames), n, frames.shape[2])
    joined = torch.cat([past, frames], 1)
    memory[layer] = joined[:, joined.shape[1] - n :]
    return joined


def _mixed(layer: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """A depthwise convolution over time, (B, n + F, width) -> (B, F, width); where it is plain as a 2-D one, which
    takes the channels last as they lie.
    """
    turned = frames.transpose(1, 2)
    if type(layer) is nn.Conv1d and frozen_cpu(frames) and plain(layer):
        weight = layer.weight[:, :, None]
        return F.conv2d(turned[:, :, None], weight, layer.bias, groups=layer.groups)[:, :, 0].transpose(1, 2)
    return layer(turned).transpose(1, 2)
