"""How much noise does each timestep hold, and which of them does a walk from noise to data visit?

Data x0 is hidden in noise: x = alpha x0 + sigma epsilon, with alpha^2 + sigma^2 = 1 (Ho et al. 2020,
arXiv:2006.11239). For progressive distillation, `grid(schedule, n)` holds `grid(schedule, n // 2)` for every even n:
3,968 = 31 * 2^7 steps can be halved seven times. Readable without torch.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import ParameterError, unknown
from lib.systems.tortoise.solvers import SOLVERS

if TYPE_CHECKING:
    import torch

KINDS = ("linear", "cosine")
SAMPLERS = ("ddpm", "ddim", *SOLVERS)
SPACINGS = ("even", "published", "log-snr")
FAINTEST = (
    -5.1
)  # half the log SNR below which "log-snr" places nothing but the first step (that of Lu et al. 2022)


@dataclass(frozen=True)
class Schedule:
    """How much noise each timestep holds; 0 is the cleanest, steps - 1 the noisiest.

    kind: "linear" (Ho et al. 2020, betas 1e-4 to 0.02 at 1,000 steps, scaled to others as TorToiSe does) or
    "cosine" (Nichol and Dhariwal 2021, arXiv:2102.09672).
    """

    kind: str = "linear"
    steps: int = 4000

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("noise schedule", self.kind, KINDS)
        if self.steps < 32:
            raise ParameterError(f"a noise schedule of {self.steps} steps is too coarse: give at least 32")

    def squared(self) -> np.ndarray:
        """alpha^2 of every timestep, (steps,) float64, falling from nearly 1 to nearly 0."""
        return _squared(self.kind, self.steps)

    def alpha_bar(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """The same for torch."""
        import torch

        return torch.tensor(self.squared(), device=device)

    def signal_noise(self, timesteps: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """alpha and sigma at `timesteps` (B,), in the precision of `like` and shaped (B, 1, ...) to multiply it."""
        squared = self.alpha_bar(like.device)[timesteps].reshape(-1, *[1] * (like.ndim - 1))
        return squared.sqrt().to(like.dtype), (1 - squared).sqrt().to(like.dtype)


@functools.cache
def _squared(kind: str, steps: int) -> np.ndarray:
    if kind == "linear":
        betas = np.linspace(1e-4, 0.02, steps) * (1000 / steps)
    else:
        clock = np.arange(steps + 1) / steps
        signal = np.cos((clock + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = (1 - signal[1:] / signal[:-1]).clip(max=0.999)
    return (1 - betas).cumprod()


def grid(schedule: Schedule, steps: int, spacing: str = "even") -> tuple[int, ...]:
    """The timesteps a sampler visits, noisiest first. All spacings begin with pure noise, at schedule.steps - 1.

    "even": the upper ends of `steps` equal parts of the schedule; half as many steps are every other one of
    them. "published": from 0 to the last, as TorToiSe's decoder is respaced. "log-snr": the beginnings of equal parts
    of the logarithm of the SNR.
    """
    if spacing not in SPACINGS:
        raise unknown("spacing of timesteps", spacing, SPACINGS)
    if not 1 <= steps <= schedule.steps:
        raise ParameterError(f"{steps} sampling steps: give 1 to {schedule.steps}, the schedule's")
    if spacing == "even":
        return tuple((i * schedule.steps + steps // 2) // steps - 1 for i in range(steps, 0, -1))
    if spacing == "log-snr":
        return _by_log_snr(schedule, steps)
    stride = (schedule.steps - 1) / max(steps - 1, 1)
    return tuple(schedule.steps - 1 if steps == 1 else round(i * stride) for i in range(steps - 1, -1, -1))


def _by_log_snr(schedule: Schedule, steps: int) -> tuple[int, ...]:
    squared = schedule.squared()
    known = 0.5 * np.log(squared / (1 - squared))  # (schedule.steps,), falling
    low, high = max(FAINTEST, known[-1]), known[0]
    wanted = [low + (high - low) * i / steps for i in range(1, steps)]
    found = (schedule.steps - 1, *(int(np.abs(known - one).argmin()) for one in wanted))
    if any(a <= b for a, b in zip(found, found[1:])):
        raise ParameterError(
            f"{steps} steps are too many for spacing log-snr: some would fall together; take even"
        )
    return found


@dataclass(frozen=True)
class Sampling:
    """How to walk from noise to data."""

    # "ddpm" (ancestral), "ddim" (Song et al. 2021, arXiv:2010.02502), or one of second order: "dpm++", its stochastic
    # kin "sde-dpm++" (both Lu et al. 2022, arXiv:2211.01095) or "unipc" (Zhao et al. 2023, arXiv:2302.04867)
    sampler: str = "dpm++"
    steps: int = 32
    # weight w of (1 + w) conditional - w unconditional prediction (Ho and Salimans 2022, arXiv:2207.12598)
    guidance: float = 0.0
    ramp: bool = (
        True  # guidance grows from nothing at pure noise to w at the last step, as TorToiSe's (w = 2) does
    )
    temperature: float = 1.0  # of all noise: what the walk begins with, and what is drawn anew on the way
    eta: float = 0.0  # of "ddim": 0 is deterministic, 1 is "ddpm"
    bound: float = 0.0  # data lie within [-bound, bound]; 0: anywhere
    spacing: str = "even"  # of the timesteps, see `grid`
    timesteps: tuple[int, ...] = ()  # instead of a spacing: where each of the steps begins, noisiest first

    def __post_init__(self) -> None:
        object.__setattr__(self, "timesteps", tuple(self.timesteps))  # a list, from a file
        falling = all(a > b for a, b in zip(self.timesteps, self.timesteps[1:]))
        if self.timesteps and not (len(self.timesteps) == self.steps and falling and self.timesteps[-1] >= 0):
            raise ParameterError(
                f"timesteps {list(self.timesteps)}: give {self.steps}, one for each step, each below the one before"
            )
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        if self.spacing not in SPACINGS:
            raise unknown("spacing of timesteps", self.spacing, SPACINGS)
        if self.steps < 1:
            raise ParameterError(f"{self.steps} sampling steps: give at least 1")
        for name, high in (("guidance", 100.0), ("temperature", 10.0), ("eta", 1.0), ("bound", math.inf)):
            if not 0 <= getattr(self, name) <= high:  # refuses NaN too
                raise ParameterError(f"{name} is {getattr(self, name)}, it must lie between 0 and {high:g}")

    def grid(self, schedule: Schedule) -> tuple[int, ...]:
        """The timesteps that it visits."""
        if self.timesteps and self.timesteps[0] >= schedule.steps:
            raise ParameterError(f"timestep {self.timesteps[0]}: the schedule ends at {schedule.steps - 1}")
        return self.timesteps or grid(schedule, self.steps, self.spacing)

    def weight(self, index: int, steps: int) -> float:
        """Of guidance at a step, the first of which is 0."""
        return self.guidance * ((index + 1) / steps if self.ramp else 1.0)


# TorToiSe's presets "standard" and "high_quality" use it with 200 and 400 steps.
PUBLISHED = Sampling("ddpm", 200, guidance=2.0, bound=1.0, spacing="published")
