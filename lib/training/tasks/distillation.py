"""What is a student of a diffusion model shown, so that it needs fewer steps than its teacher?

Nothing here knows of speech or of a network. One identity carries all of it: DDIM moves on a straight line of data and
noise, so where a walk has landed tells which x0 a single step must have believed in to arrive there (`believed`).

- Guidance folded into one evaluation (Meng et al. 2023, arXiv:2210.03142, stage 1): `guided`.
- Halving (Salimans and Ho 2022, arXiv:2202.00512): the belief that makes of two of the teacher's steps one, `halved`.
- Any interval, down to all of it (IntMeanFlow, arXiv:2510.07979): the belief that leads from one point of the teacher's
  walk to any later one in a single step, which is its mean velocity between them, `believed`.
- Consistency (Song et al. 2023, arXiv:2303.01469): the student's own belief, one of the teacher's steps nearer to the
  data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from lib.errors import ParameterError, unknown
from lib.systems.tortoise import diffusion
from lib.systems.tortoise.diffusion import Schedule

CLEAN = -1  # the timestep beyond the cleanest: the data itself
WEIGHTS = ("truncated", "snr+1", "snr")
# (x (B, C, ...), timesteps (B,) int64) -> the prediction that the schedule's network makes of x, like x
Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Level(NamedTuple):
    """How much data and how much noise there is: alpha and sigma, (B, 1, ...)."""

    alpha: torch.Tensor
    sigma: torch.Tensor


def level(schedule: Schedule, timesteps: torch.Tensor, like: torch.Tensor) -> Level:
    """The level of each timestep (B,) of the schedule; at `CLEAN` there is no noise. In double precision: neighbours of
    4,000 differ in the fourth digit.
    """
    squared = schedule.alpha_bar(like.device)[timesteps.clamp(min=0)]
    squared = torch.where(timesteps < 0, torch.ones_like(squared), squared).reshape(-1, *[1] * (like.ndim - 1))
    return Level(squared.sqrt(), (1 - squared).sqrt())


def stepped(x: torch.Tensor, x0: torch.Tensor, now: Level, then: Level) -> torch.Tensor:
    """Where DDIM arrives at another level, believing in x0; whoever has arrived at the data stays there."""
    ratio = torch.where(now.sigma > 0, then.sigma / now.sigma, 1.0)
    return (ratio * x + (then.alpha - ratio * now.alpha) * x0).to(x.dtype)


def believed(x: torch.Tensor, landed: torch.Tensor, now: Level, then: Level) -> torch.Tensor:
    """The x0 that a single step of DDIM from x must believe in to arrive at `landed`: the inverse of `stepped`."""
    ratio = then.sigma / now.sigma
    return ((landed - ratio * x) / (then.alpha - ratio * now.alpha)).to(x.dtype)


def x0_of(
    prediction: str, output: torch.Tensor, x: torch.Tensor, now: Level, bound: float = 0.0
) -> torch.Tensor:
    """The x0 that a network's output stands for, kept within [-bound, bound] where that is not 0: of noise alone the
    error of an epsilon counts 150 times in it.
    """
    x0 = diffusion.clean_and_noise(prediction, output, x, now.alpha, now.sigma)[0].to(x.dtype)
    return x0.clamp(-bound, bound) if bound else x0


def output_of(prediction: str, x0: torch.Tensor, x: torch.Tensor, now: Level) -> torch.Tensor:
    """The output with which a network would say this x0."""
    noise = (x - now.alpha * x0) / now.sigma
    return diffusion.target(prediction, x0, noise, now.alpha, now.sigma).to(x.dtype)


def guided(conditional: torch.Tensor, unconditional: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(1 + w) conditional - w unconditional prediction; weight: (B,)."""
    weight = weight.reshape(-1, *[1] * (conditional.ndim - 1))
    return conditional + weight * (conditional - unconditional)


def walked(
    teacher: Predict,
    prediction: str,
    schedule: Schedule,
    x: torch.Tensor,
    timesteps: Sequence[torch.Tensor],
    bound: float = 0.0,
) -> torch.Tensor:
    """Where the teacher's DDIM arrives from x at timesteps[0] by way of all the others, each (B,); it is evaluated once
    less than there are timesteps. bound: of every x0 on the way, see `x0_of`.
    """
    levels = [level(schedule, t, x) for t in timesteps]
    for index, t in enumerate(timesteps[:-1]):
        x0 = x0_of(prediction, teacher(x, t), x, levels[index], bound)
        x = stepped(x, x0, levels[index], levels[index + 1])
    return x


def halved(
    teacher: Predict,
    prediction: str,
    schedule: Schedule,
    x: torch.Tensor,
    timesteps: Sequence[torch.Tensor],
    bound: float = 0.0,
) -> torch.Tensor:
    """The x0 for a student that is to do in one step what its teacher does from timesteps[0] over timesteps[1:], (B,)
    each: of two steps that of Salimans and Ho.
    """
    landed = walked(teacher, prediction, schedule, x, timesteps, bound)
    return believed(x, landed, level(schedule, timesteps[0], x), level(schedule, timesteps[-1], x))


def loss_weight(kind: str, now: Level) -> torch.Tensor:
    """What the squared error of x0 counts at a level of noise.

    "truncated": max(SNR, 1), and "snr+1", both of Salimans and Ho (section 4), of which the second is the squared error
    of v; "snr": of epsilon, which has nothing to say where there is hardly anything but noise.
    """
    if kind not in WEIGHTS:
        raise unknown("loss weight", kind, WEIGHTS)
    snr = (now.alpha / now.sigma).square()
    return {"truncated": snr.clamp(min=1), "snr+1": snr + 1, "snr": snr}[kind]


def loss(guess: torch.Tensor, x0: torch.Tensor, now: Level, kind: str = "truncated") -> torch.Tensor:
    """The weighted mean squared error of a student's x0, a scalar."""
    return (loss_weight(kind, now) * (guess.double() - x0.double()).square()).mean().float()


def ladder(steps: int, last: int) -> list[int]:
    """Numbers of steps from `steps` down to `last`, each half of the one before: 3,968, 1,984, ... 31."""
    rungs = [steps]
    while rungs[-1] > last:
        if rungs[-1] % 2:
            raise ParameterError(
                f"{steps} steps cannot be halved down to {last}: {rungs[-1]} is odd; take {last} times a power of 2"
            )
        rungs.append(rungs[-1] // 2)
    if rungs[-1] != last:
        raise ParameterError(f"{steps} steps cannot be halved down to {last}: they pass it at {rungs[-1]}")
    return rungs


def places(schedule: Schedule, steps: int) -> torch.Tensor:
    """The timesteps that a walk of so many steps visits, and `CLEAN` at its end, (steps + 1,) int64."""
    return torch.tensor([*diffusion.grid(schedule, steps), CLEAN])
