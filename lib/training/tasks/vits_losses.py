"""What VITS minimises beside what a vocoder does: the divergence of heard latents from read ones, and how unlikely the
lengths of the symbols are.

Kim et al. 2021, arXiv:2106.06103, equations 3 to 5. Shapes: T input ids, F frames, C latents.
"""

from __future__ import annotations

import math

import torch

from lib.training import alignment_search

_MEDIAN = 0.6745  # of the absolute values of a Gaussian, in its scale
_SMALLEST = 1e-3  # distance of latents that counts: they are kept in half precision


def likelihood(latents: torch.Tensor, means: torch.Tensor, log_scales: torch.Tensor) -> torch.Tensor:
    """Log-density of each frame of `latents` (B, C, F) under each id's Gaussian (B, C, T): (B, T, F)."""
    precision = torch.exp(-2 * log_scales)
    constant = (-0.5 * math.log(2 * math.pi) - log_scales - 0.5 * means.square() * precision).sum(1)  # (B, T)
    square = precision.transpose(1, 2) @ (-0.5 * latents.square())  # (B, T, F)
    return constant[..., None] + square + (means * precision).transpose(1, 2) @ latents


@torch.no_grad()
def aligned(
    latents: torch.Tensor,
    means: torch.Tensor,
    log_scales: torch.Tensor,
    n_ids: torch.Tensor,
    n_frames: torch.Tensor,
) -> torch.Tensor:
    """Frames of each id under the most likely alignment, (B, T) int64; zeros beyond a clip's ids."""
    with torch.autocast(
        latents.device.type, enabled=False
    ):  # sums of hundreds of squares want single precision
        densities = likelihood(latents.float(), means.float(), log_scales.float()).cpu().double().numpy()
    frames = torch.zeros(means.shape[0], means.shape[2], dtype=torch.long)
    for row, (table, t, f) in enumerate(zip(densities, n_ids.tolist(), n_frames.tolist())):
        frames[row, :t] = torch.from_numpy(alignment_search.frames_of(table[:t, :f]))
    return frames.to(means.device)


def spread(values: torch.Tensor, frames: torch.Tensor, n_frames: int) -> torch.Tensor:
    """(B, C, T) -> (B, C, n_frames): each id's values for as many frames as it has (B, T); zeros beyond the last."""
    ends = frames.cumsum(1)  # (B, T)
    places = torch.arange(n_frames, device=frames.device)
    owner = torch.searchsorted(ends, places.expand(len(ends), -1).contiguous(), right=True)  # (B, F)
    inside = owner < frames.shape[1]
    owner = owner.clamp_max(frames.shape[1] - 1)
    wide = values.gather(2, owner[:, None].expand(-1, values.shape[1], -1))
    return wide * inside[:, None]


def divergence(
    latents: torch.Tensor,
    heard_log_scales: torch.Tensor,
    means: torch.Tensor,
    log_scales: torch.Tensor,
    mask: torch.Tensor,
) -> torch.Tensor:
    """Kullback-Leibler divergence of the posterior from the prior at its own sample, nats a frame.

    latents: the posterior's sample after the flow, (B, C, F); heard_log_scales: the posterior's; means, log_scales: the
    prior's, spread over the frames; mask: (B, 1, F), 1 for real frames.
    """
    at = log_scales - heard_log_scales - 0.5 + 0.5 * (latents - means).square() * torch.exp(-2 * log_scales)
    return (at * mask).sum() / mask.sum()


def regression(
    latents: torch.Tensor, means: torch.Tensor, log_scales: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(how far known latents (B, C, F) are from the posterior's means, how far its scales are from what fits that),
    both mean absolute differences.

    A likelihood would teach both, but its gradient grows without bound where a scale is too small, as all are at first.
    The median of a Gaussian's absolute values is 0.6745 of its scale, and an L1 distance is least at the median.
    """
    values = mask.sum() * latents.shape[1]
    off = (latents - means).abs()  # (B, C, F)
    wanted = torch.log((off.detach() + _SMALLEST) / _MEDIAN)
    return (off * mask).sum() / values, ((log_scales - wanted).abs() * mask).sum() / values
