"""How does a decoder walk from noise to a spectrogram? As `diffusion.sample` does, and a student is told more."""

from __future__ import annotations

from dataclasses import replace

import torch

from lib.systems.tortoise.diffusion import Sample, Sampling, Schedule, sample
from lib.systems.tortoise.network import DiffusionDecoder


def walk(
    decoder: DiffusionDecoder,
    schedule: Schedule,
    prediction: str,
    condition: torch.Tensor,
    noise: torch.Tensor,
    how: Sampling,
    generator: torch.Generator | None = None,
) -> Sample:
    """Data (B, bands, F) from `noise`, like it, for a condition of `decoder.condition`.

    A student with guidance folded in is told its weight at every step, and asked once; one of intervals is told where
    its step leads to.
    """
    knows, grid = decoder.config, how.grid(schedule)
    following = dict(zip(grid, (*grid[1:], -1)))  # timestep -> the one that its step leads to

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        inputs = {}
        if knows.folded:
            inputs["guidance"] = torch.full_like(x[:, 0, 0], how.weight(grid.index(int(t[0])), len(grid)))
        if knows.interval:
            inputs["until"] = torch.full_like(t, following[int(t[0])])
        return decoder.denoise(x, t, condition, **inputs)

    once = replace(how, guidance=0.0) if knows.folded else how
    return sample(
        schedule, prediction, predict, noise, once, unconditional=decoder.denoise, generator=generator
    )
