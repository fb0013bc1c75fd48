"""How far is a vocoder's copy, or what leads to it, from the truth? Distances of latents and of spectra."""

from __future__ import annotations

import torch
from torch.nn import functional as F

STFT_SIZES = (
    512,
    1024,
    2048,
)  # windows of the multi-resolution STFT loss (Yamamoto et al. 2020, arXiv:1910.11480)


def latent_distance(ours: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """(B, 192, F) twice -> (B,): half the mean absolute difference, half the length of the difference vector
    per root of its size.

    The length minds the two directions that carry the phase, a third of the latents' variance; the absolute
    values the many small ones, which tell the consonants apart.
    """
    difference = ours - true
    length = (difference.square().mean(1) + 1e-6).sqrt().mean(-1)  # the floor keeps the root's slope finite
    return 0.5 * (length + difference.abs().mean((1, 2)))


def stft_loss(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Multi-resolution STFT distance of (B, n_samples): spectral convergence plus log-magnitude L1, the mean of
    three windows.
    """
    total = 0.0
    for size in STFT_SIZES:
        window = torch.hann_window(size, device=fake.device)
        spectra = (torch.stft(x, size, size // 4, window=window, return_complex=True) for x in (fake, real))
        # The floor keeps the root's slope finite in digital silence.
        ours, theirs = ((torch.view_as_real(s).square().sum(-1) + 1e-7).sqrt() for s in spectra)
        total = total + (ours - theirs).norm() / theirs.norm() + F.l1_loss(ours.log(), theirs.log())
    return total / len(STFT_SIZES)
