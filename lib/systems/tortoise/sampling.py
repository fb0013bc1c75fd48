"""How does a walk go from noise to data, step by step? The same way for tensors of torch and for arrays of NumPy.

A network is asked for epsilon, or for v = alpha epsilon - sigma x0 (Salimans and Ho 2022, arXiv:2202.00512), and a
sampler walks from pure noise down a grid of timesteps (`schedules`). Nothing here knows of speech or of a network:
`descend` is given functions.

diffusers' schedulers are not used for speaking but judge it (`tests/test_diffusion.py`): with them the same noise
gives the same mel within 2e-6, yet `DDIMScheduler` steps back by `4000 // steps`, so it cannot walk the 3,968 or 31
steps of the grid, their schedules are in single precision, and loading them costs every cold start 0.5 s of CPU
time (300 modules) for what are 40 lines here.

For progressive distillation, `ddim_step` is the step that a student learns to double.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lib.errors import ParameterError, unknown
from lib.systems.tortoise.schedules import Sampling, Schedule
from lib.systems.tortoise.solvers import SOLVERS, Array, Fresh

if TYPE_CHECKING:
    import numpy as np
    import torch

PREDICTIONS = ("epsilon", "v")


@dataclass(frozen=True)
class Sample:
    """x0: what came out; nfe: how often a network was evaluated (with guidance twice per step)."""

    x0: torch.Tensor | np.ndarray
    nfe: int


def descend(
    schedule: Schedule,
    prediction: str,
    conditional: Callable[[Array, int], Array],
    noise: Array,
    how: Sampling,
    draw: Fresh,
    *,
    unconditional: Callable[[Array, int], Array] | None = None,
    skip: int = 0,
) -> Sample:
    """Walk from `noise` (B, C, ...), standard normal, to data; deterministic for given noise and draws.

    conditional: x, a timestep -> the prediction, like x; unconditional: the same without a condition, needed where
    how.guidance is not 0. A network that answers with twice the channels (TorToiSe's) says in the second half where
    between its bounds the variance of a "ddpm" step lies. draw: x -> standard normal noise like it, drawn anew at
    every call, for "ddpm", "sde-dpm++" and "ddim" with eta.

    skip: steps of the grid that are left out at its beginning; `noise` is then data in the noise of the first one
    that is walked, of which the walk keeps the coarse and draws the fine anew (Meng et al. 2022, arXiv:2108.01073).
    """
    if how.guidance and unconditional is None:
        raise ParameterError(
            "guidance needs a prediction without condition: train with dropped conditions, or set guidance to 0"
        )
    steps = how.grid(schedule)
    if not 0 <= skip < len(steps):
        raise ParameterError(f"skip is {skip}: of {len(steps)} sampling steps at least one is walked")
    squared = [*schedule.squared()[list(steps)].tolist(), 1.0]  # after the last step there is no noise left
    x, evaluations = noise * (1.0 if skip else how.temperature), 0

    def fresh(like: Array) -> Array:
        # At full strength, noise that is drawn on the way would lead a walk away from the temperature it began at.
        return how.temperature * draw(like)

    solver = SOLVERS[how.sampler](fresh) if how.sampler in SOLVERS else None
    for index, t in list(enumerate(steps))[skip:]:
        alpha, sigma = math.sqrt(squared[index]), math.sqrt(1 - squared[index])
        weight = how.weight(index, len(steps))
        output, evaluations = conditional(x, t), evaluations + 1
        channels = x.shape[1]
        output, spread = output[:, :channels], output[:, channels:] if output.shape[1] == 2 * channels else None
        if weight:
            without, evaluations = unconditional(x, t)[:, :channels], evaluations + 1
            output = output + weight * (output - without)
        x0, epsilon = clean_and_noise(prediction, output, x, alpha, sigma)
        if how.bound:
            x0 = x0.clip(-how.bound, how.bound)
            epsilon = (x - alpha * x0) / sigma
        if solver:
            x = solver.step(x, x0, squared[index], squared[index + 1])
        elif how.sampler == "ddim":
            x = ddim_step(x0, epsilon, squared[index], squared[index + 1], how.eta, fresh)
        else:
            x = ddpm_step(x, x0, squared[index], squared[index + 1], spread, fresh)
    return Sample(x, evaluations)


def told(
    how: Sampling, schedule: Schedule, *, folded: bool, interval: bool
) -> tuple[Sampling, Callable[[int], dict[str, float | int]]]:
    """(how a student is walked, timestep -> what it is told beside it), see `config.DecoderConfig`.

    A student with guidance folded in is told its weight at every step, and asked once; one of intervals is told where
    its step leads to.
    """
    grid = how.grid(schedule)
    following = dict(zip(grid, (*grid[1:], -1)))  # timestep -> the one that its step leads to

    def inputs(t: int) -> dict[str, float | int]:
        guidance = {"guidance": how.weight(grid.index(t), len(grid))} if folded else {}
        return guidance | ({"until": following[t]} if interval else {})

    return replace(how, guidance=0.0) if folded else how, inputs


def clean_and_noise(
    prediction: str,
    output: Array,
    x: Array,
    alpha: Array | float,
    sigma: Array | float,
) -> tuple[Array, Array]:
    """(x0, epsilon) that a network's output stands for at x."""
    if checked(prediction) == "epsilon":
        return (x - sigma * output) / alpha, output
    return alpha * x - sigma * output, sigma * x + alpha * output


def ddim_step(
    x0: Array,
    epsilon: Array,
    now: float,
    then: float,
    eta: float = 0.0,
    fresh: Fresh | None = None,
) -> Array:
    """x at the next timestep; now, then: alpha^2 before and after. With eta, `fresh` draws part of the noise anew."""
    anew = eta * math.sqrt(_posterior_variance(now, then))
    x = math.sqrt(then) * x0 + math.sqrt(max(1 - then - anew**2, 0.0)) * epsilon
    return x + anew * fresh(x) if anew else x


def ddpm_step(
    x: Array,
    x0: Array,
    now: float,
    then: float,
    spread: Array | None,
    fresh: Fresh,
) -> Array:
    """A draw from q(next | x, x0); spread in [-1, 1]: its log variance between that of the posterior and beta
    (Nichol and Dhariwal 2021); None: the posterior's.
    """
    beta = 1 - now / then
    mean = math.sqrt(then) * beta / (1 - now) * x0 + math.sqrt(now / then) * (1 - then) / (1 - now) * x
    variance = _posterior_variance(now, then)
    if not variance:
        return mean
    deviation: Array | float = math.sqrt(variance)
    if spread is not None:
        part = (spread + 1) / 2
        deviation = math.sqrt(beta) ** part * deviation ** (1 - part)
    return mean + deviation * fresh(x)


def _posterior_variance(now: float, then: float) -> float:
    return (1 - then) / (1 - now) * (1 - now / then)


def checked(prediction: str) -> str:
    """The prediction itself, or ParameterError for an unknown one."""
    if prediction not in PREDICTIONS:
        raise unknown("prediction", prediction, PREDICTIONS)
    return prediction
