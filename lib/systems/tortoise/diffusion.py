"""How is a diffusion model taught, and how does it draw, on torch? Data in noise, what the network is asked for, how
much an error counts, and `sample`.

The noise of each timestep is in `schedules`, a walk's steps in `sampling`, both readable without torch.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from lib.systems.tortoise.sampling import PREDICTIONS, Sample, checked, clean_and_noise, ddim_step, descend
from lib.systems.tortoise.schedules import PUBLISHED, SAMPLERS, Sampling, Schedule, grid

__all__ = [
    "PREDICTIONS",
    "PUBLISHED",
    "SAMPLERS",
    "Denoiser",
    "Sample",
    "Sampling",
    "Schedule",
    "clean_and_noise",
    "ddim_step",
    "grid",
    "loss_weight",
    "noised",
    "sample",
    "target",
]

# x (B, C, ...), timesteps (B,) int64 -> the prediction, like x
Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def noised(x0: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The data hidden in noise."""
    return alpha * x0 + sigma * noise


def target(
    prediction: str, x0: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """What the network is asked for."""
    return noise if checked(prediction) == "epsilon" else alpha * noise - sigma * x0


def loss_weight(prediction: str, alpha: torch.Tensor, sigma: torch.Tensor, gamma: float) -> torch.Tensor:
    """Min-SNR weight of the squared error of a prediction (Hang et al. 2023, arXiv:2303.09556); gamma 0: 1 everywhere.

    In terms of x0 the squared error counts min(SNR, gamma) times, so that nearly clean timesteps, all of them
    easy and alike, do not take the gradient from those that decide what is said.
    """
    if not gamma:
        return torch.ones_like(alpha)
    snr = (alpha / sigma).square()
    clipped = snr.clamp(max=gamma)
    return clipped / snr if checked(prediction) == "epsilon" else clipped / (snr + 1)


@torch.no_grad()
def sample(
    schedule: Schedule,
    prediction: str,
    conditional: Denoiser,
    noise: torch.Tensor,
    how: Sampling = Sampling(),
    *,
    unconditional: Denoiser | None = None,
    generator: torch.Generator | None = None,
    skip: int = 0,
) -> Sample:
    """`sampling.descend` for networks that are asked with a tensor of timesteps. generator: of the noise that is drawn
    on the way, on the CPU, so that every device draws the same.
    """

    def asked(denoiser: Denoiser) -> Callable[[torch.Tensor, int], torch.Tensor]:
        return lambda x, t: denoiser(x, torch.full((len(x),), t, dtype=torch.int64, device=x.device))

    def draw(like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)

    return descend(
        schedule,
        prediction,
        asked(conditional),
        noise,
        how,
        draw,
        unconditional=asked(unconditional) if unconditional else None,
        skip=skip,
    )
