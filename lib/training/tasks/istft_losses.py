"""How far is a copy from its original for `istft`? Distances of magnitudes at four resolutions, and of the harmonic
part itself.
"""

from __future__ import annotations

import functools
import math

import torch
from torch.nn import functional as F

WINDOWS = (256, 512, 1024, 2048)  # samples; each moves by a quarter
FLOOR = 1e-9  # added to the power of a spectrum: white noise of unit power has 1, the rounding to 16 bits 1e-10


def spectral_loss(fake: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, n_samples) twice -> L1 of log magnitudes (nepers), and of the magnitudes' square roots, both means over the
    windows.

    The logarithm minds what is quiet, the root what is loud.
    """
    logs = roots = 0.0
    for size in WINDOWS:
        ours, theirs = power(fake, size), power(real, size)
        logs = logs + 0.5 * F.l1_loss(ours.log(), theirs.log())
        roots = roots + F.l1_loss(ours**0.25, theirs**0.25)
    return logs / len(WINDOWS), roots / len(WINDOWS)


def power(waveform: torch.Tensor, size: int) -> torch.Tensor:
    """(B, n_samples) -> (B, bins, frames) power, floored; white noise of unit power has a mean of 1."""
    window = _window(size, waveform.device)
    spectrum = torch.stft(waveform, size, size // 4, window=window, center=False, return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1) + FLOOR


def complex_loss(harmonic: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
    """How much of the speech the pulses do not explain, wave by wave: (B, F, bins) complex, ours and the original's.

    Each bin is weighed by the root of its magnitude, so the result counts square roots of magnitudes as
    `spectral_loss` does. Noise, which no pulse predicts, makes the best answer there 0: so the harmonic part learns
    to hold what is periodic, and no more.
    """
    scale = spectrum.shape[-1] * 0.75  # mean power of white noise under a Hann window of 2 bins samples
    difference = torch.view_as_real(harmonic - spectrum).square().sum(-1) / scale
    weight = (torch.view_as_real(spectrum).square().sum(-1) / scale + 1e-6) ** -0.25
    return (weight * (difference + FLOOR).sqrt()).mean()


def median_loss(harmonic: torch.Tensor, noise_gain: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
    """L1 of log magnitudes (nepers) of the original's spectra (B, F, bins) to the median that pulses and noise promise.

    Two draws of the same noise differ by 0.7 nepers a bin, a draw and the median by 0.5: measured on draws, a buzz of
    pulses would win over noise wherever speech is noise. The power of noise is distributed exponentially: its median is
    ln 2 of its mean.
    """
    scale = spectrum.shape[-1] * 0.75
    promised = torch.view_as_real(harmonic).square().sum(-1) / scale + math.log(2) * noise_gain.square()
    true = torch.view_as_real(spectrum).square().sum(-1) / scale
    return 0.5 * F.l1_loss((promised + FLOOR).log(), (true + FLOOR).log())


@functools.lru_cache(maxsize=16)
def _window(size: int, device: torch.device) -> torch.Tensor:
    """A Hann window of unit energy."""
    with torch.inference_mode(False):
        window = torch.hann_window(size, device=device)
        return window / window.square().sum().sqrt()
