"""What does a frame-rate vocoder shape? A pulse train and noise, as spectra that learnt filters multiply and an
inverse STFT adds up.

    Y = H S + G N        frame by frame, (F, 513) complex; H complex, G real

S: the spectra of a pulse train at the voice's F0, bridged through unvoiced stretches; N: those of white noise. The
frames are those of `features.HIFIGAN`: Hann, 1024 samples every 256, frame i from sample 256 i - 384 on. Nothing here
has weights.

The prior, what H and G are before anything is learnt: their magnitude is the mel spectrogram, interpolated to the 513
bins and divided by that of the source, the phase of H the minimum phase of that magnitude (Oppenheim and Schafer,
"Discrete-Time Signal Processing", 12.1: the Hilbert transform of log magnitude, hence a matrix).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch.nn import functional as F

from lib import features
from lib.features import HIFIGAN
from lib.systems.istft import tables
from lib.systems.istft.tables import BINS, HOP, LOWEST_HZ, LOWEST_LOG, NOISE_FRAMES, OVERLAP, PAD, RATE, SIZE

__all__ = [
    "BINS",
    "HOP",
    "NOISE_FRAMES",
    "RATE",
    "SIZE",
    "integrate",
    "noise",
    "overlap_add",
    "prior",
    "pulses",
]
__all__ += ["source_mel", "spectra"]


def pulses(phase: torch.Tensor, hz: torch.Tensor) -> torch.Tensor:
    """A pulse at every whole number of cycles, all harmonics below half the sample rate, of unit power.

    phase: (...) in cycles, any offset; hz: (...), the F0 there, which decides how many harmonics there are. The sum
    of K cosines in closed form (Winham and Steiglitz 1970), so its cost does not depend on F0.
    """
    phase = phase - torch.round(phase)  # [-0.5, 0.5]
    harmonics = torch.floor(0.49 * RATE / hz.clamp_min(LOWEST_HZ))  # K
    below = torch.sin(math.pi * phase)
    near = below.abs() < 1e-4
    ratio = torch.sin(math.pi * (2 * harmonics + 1) * phase) / torch.where(near, torch.ones_like(below), below)
    summed = 0.5 * (torch.where(near, 2 * harmonics + 1, ratio) - 1)
    return summed * torch.sqrt(2 / harmonics)


def integrate(hz: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """F0 at the ends of the frames' hops -> phase in cycles, from -0.5 to 0.5, and F0 of every sample, each (B, F *
    HOP).

    hz: (B, F), the F0 at sample (i + 1) * HOP, linear in between. A sample's phase depends on no frame behind its own.
    In double precision up to the end: of a minute's 10^4 cycles the 90th harmonic wants a fraction of a thousandth.
    """
    end = hz.double()
    begin = torch.cat([end[:, :1], end[:, :-1]], 1)
    cycles = (0.5 * (begin + end) * (HOP / RATE)).cumsum(1)  # at the ends
    clock = torch.arange(HOP, device=hz.device, dtype=torch.float64)  # samples since the hop began
    rise = ((end - begin) / HOP)[..., None] * clock  # (B, F, HOP)
    since = torch.cat([torch.zeros_like(cycles[:, :1]), cycles[:, :-1]], 1)[..., None]
    phase = since + (begin[..., None] + 0.5 * rise) * (clock / RATE)
    phase = (phase - phase.round()).float()
    return phase.flatten(1), (begin[..., None] + rise).float().flatten(1)


def spectra(waveform: torch.Tensor) -> torch.Tensor:
    """(B, F * HOP) -> (B, F, 513) complex; beyond its ends the waveform is silent."""
    framed = F.pad(waveform, (PAD, PAD)).unfold(1, SIZE, HOP)  # (B, F, 1024)
    return torch.fft.rfft(framed * _window(waveform.device))


def overlap_add(spectrum: torch.Tensor) -> torch.Tensor:
    """(B, F, 513) complex -> (B, F * HOP): the least-squares inverse of `spectra` (Griffin and Lim 1984)."""
    window = _window(spectrum.device)
    framed = torch.fft.irfft(spectrum, n=SIZE) * window  # (B, F, 1024)
    n_frames = framed.shape[1]
    weight = window.square().expand(1, n_frames, SIZE)
    total, norm = _added(framed), _added(weight)
    return (total / norm.clamp_min(1e-2))[:, PAD : PAD + n_frames * HOP]


def noise(offset: torch.Tensor, n_frames: int) -> torch.Tensor:
    """Spectra of white noise of unit power: n_frames frames of the endless loop from frame `offset` (B,) on, (B,
    n_frames, 513).
    """
    index = offset[:, None] + torch.arange(n_frames, device=offset.device)
    return _noise(offset.device)[index % NOISE_FRAMES]


def source_mel(spectrum: torch.Tensor) -> torch.Tensor:
    """(B, F, 513) complex -> log-mel (B, F, 80), floored between the harmonics."""
    magnitude = (spectrum.real.square() + spectrum.imag.square()).sqrt()
    mel = magnitude @ features._filters(HIFIGAN, magnitude.device, magnitude.dtype)
    return mel.clamp_min(math.exp(LOWEST_LOG)).log()


def prior(log_mel: torch.Tensor, of_source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """log|H|, the phase of H and log G before anything is learnt, each (B, F, 513), of log-mels (B, F, 80)."""
    envelope, phase = _matrices(log_mel.device)
    gain = log_mel - of_source
    return gain @ envelope, gain @ phase, (log_mel - tables.noise_level()) @ envelope


def _added(framed: torch.Tensor) -> torch.Tensor:
    """(B, F, SIZE) -> (B, (F + OVERLAP - 1) * HOP): the frames laid HOP apart and summed."""
    parts = framed.unflatten(2, (OVERLAP, HOP))  # (B, F, OVERLAP, HOP)
    return sum(F.pad(parts[:, :, k], (0, 0, k, OVERLAP - 1 - k)) for k in range(OVERLAP)).flatten(1)


@functools.lru_cache(maxsize=4)
def _window(device: torch.device) -> torch.Tensor:
    return _fixed(tables.window(), device)


@functools.lru_cache(maxsize=4)
def _noise(device: torch.device) -> torch.Tensor:
    return _fixed(tables.noise(), device)


@functools.lru_cache(maxsize=4)
def _matrices(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(_fixed(matrix, device) for matrix in tables.matrices())


def _fixed(table: np.ndarray, device: torch.device) -> torch.Tensor:
    """A table on the device, in single precision."""
    with torch.inference_mode(False):  # a tensor first made in inference mode could never take part in training
        single = table.astype(np.complex64 if np.iscomplexobj(table) else np.float32)
        return torch.from_numpy(single).to(device)
