"""How does a decoder walk from noise to a spectrogram? As `diffusion.sample` does, and a student is told more."""

from __future__ import annotations

import torch

from lib.systems.tortoise.diffusion import sample
from lib.systems.tortoise.network import DiffusionDecoder
from lib.systems.tortoise.sampling import Sample, told
from lib.systems.tortoise.schedules import Sampling, Schedule


def walk(
    decoder: DiffusionDecoder,
    schedule: Schedule,
    prediction: str,
    condition: torch.Tensor,
    noise: torch.Tensor,
    how: Sampling,
    generator: torch.Generator | None = None,
) -> Sample:
    """Data (B, bands, F) from `noise`, like it, for a condition of `decoder.condition`."""
    known = decoder.config
    once, inputs = told(how, schedule, folded=known.folded, interval=known.interval)

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        said = {name: torch.full((len(x),), value, device=x.device) for name, value in inputs(int(t[0])).items()}
        return decoder.denoise(x, t, condition, **said)

    return sample(
        schedule, prediction, predict, noise, once, unconditional=decoder.denoise, generator=generator
    )
