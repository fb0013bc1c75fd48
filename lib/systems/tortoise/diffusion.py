"""How does noise become a spectrogram, and in how many steps? Schedules, predictions, guidance and samplers of
diffusion models.

Data x0 is hidden in noise: x = alpha x0 + sigma epsilon, with alpha^2 + sigma^2 = 1 (Ho et al. 2020,
arXiv:2006.11239). A network is asked for epsilon, or for v = alpha epsilon - sigma x0 (Salimans and Ho 2022,
arXiv:2202.00512), and a sampler walks from pure noise down a grid of timesteps. Nothing here knows of speech or
of a network: `sample` is given a function.

diffusers' schedulers are not used for speaking but judge it (`tests/test_diffusion.py`): with them the same noise
gives the same mel within 2e-6, yet `DDIMScheduler` steps back by `4000 // steps`, so it cannot walk the 3,968 or 31
steps of the grid below, their schedules are in single precision, and loading them costs every cold start 0.5 s of CPU
time (300 modules) for what are 40 lines here.

For progressive distillation, `ddim_step` is the step that a student learns to double, and `grid(schedule, n)` holds
`grid(schedule, n // 2)` for every even n: 3,968 = 31 * 2^7 steps can be halved seven times.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lib.errors import ParameterError, unknown
from lib.systems.tortoise.solvers import SOLVERS, Fresh

KINDS = ("linear", "cosine")
PREDICTIONS = ("epsilon", "v")
SAMPLERS = ("ddpm", "ddim", *SOLVERS)
SPACINGS = ("even", "published", "log-snr")
FAINTEST = (
    -5.1
)  # half the log SNR below which "log-snr" places nothing but the first step (that of Lu et al. 2022)
# x (B, C, ...), timesteps (B,) int64 -> the prediction, like x
Denoiser = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


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

    def alpha_bar(self, device: torch.device | str = "cpu") -> torch.Tensor:
        """alpha^2 of every timestep, (steps,) float64, falling from nearly 1 to nearly 0."""
        return _alpha_bar(self.kind, self.steps).to(device)

    def signal_noise(self, timesteps: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """alpha and sigma at `timesteps` (B,), in the precision of `like` and shaped (B, 1, ...) to multiply it."""
        squared = self.alpha_bar(like.device)[timesteps].reshape(-1, *[1] * (like.ndim - 1))
        return squared.sqrt().to(like.dtype), (1 - squared).sqrt().to(like.dtype)


@functools.cache
def _alpha_bar(kind: str, steps: int) -> torch.Tensor:
    with torch.inference_mode(False):
        if kind == "linear":
            betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * (1000 / steps)
        else:
            clock = torch.arange(steps + 1, dtype=torch.float64) / steps
            signal = ((clock + 0.008) / 1.008 * math.pi / 2).cos().square()
            betas = (1 - signal[1:] / signal[:-1]).clamp(max=0.999)
        return (1 - betas).cumprod(0)


def noised(x0: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The data hidden in noise."""
    return alpha * x0 + sigma * noise


def target(
    prediction: str, x0: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """What the network is asked for."""
    return noise if _known(prediction) == "epsilon" else alpha * noise - sigma * x0


def clean_and_noise(
    prediction: str,
    output: torch.Tensor,
    x: torch.Tensor,
    alpha: torch.Tensor | float,
    sigma: torch.Tensor | float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(x0, epsilon) that a network's output stands for at x."""
    if _known(prediction) == "epsilon":
        return (x - sigma * output) / alpha, output
    return alpha * x - sigma * output, sigma * x + alpha * output


def loss_weight(prediction: str, alpha: torch.Tensor, sigma: torch.Tensor, gamma: float) -> torch.Tensor:
    """Min-SNR weight of the squared error of a prediction (Hang et al. 2023, arXiv:2303.09556); gamma 0: 1 everywhere.

    In terms of x0 the squared error counts min(SNR, gamma) times, so that nearly clean timesteps, all of them
    easy and alike, do not take the gradient from those that decide what is said.
    """
    if not gamma:
        return torch.ones_like(alpha)
    snr = (alpha / sigma).square()
    clipped = snr.clamp(max=gamma)
    return clipped / snr if _known(prediction) == "epsilon" else clipped / (snr + 1)


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
    squared = schedule.alpha_bar()
    known = 0.5 * (squared / (1 - squared)).log()  # (schedule.steps,), falling
    low, high = max(FAINTEST, known[-1].item()), known[0].item()
    wanted = [low + (high - low) * i / steps for i in range(1, steps)]
    found = (schedule.steps - 1, *((known - one).abs().argmin().item() for one in wanted))
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


@dataclass(frozen=True)
class Sample:
    """x0: what came out; nfe: how often a network was evaluated (with guidance twice per step)."""

    x0: torch.Tensor
    nfe: int


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
    """Walk from `noise` (B, C, ...), standard normal, to data; deterministic for given noise and generator.

    skip: steps of the grid that are left out at its beginning; `noise` is then data in the noise of the first one
    that is walked, of which the walk keeps the coarse and draws the fine anew (Meng et al. 2022, arXiv:2108.01073).

    unconditional: the prediction without a condition, needed where how.guidance is not 0. A network that
    answers with twice the channels (TorToiSe's) says in the second half where between its bounds the variance
    of a "ddpm" step lies. `generator`: of the noise that "ddpm", "sde-dpm++" and "ddim" with eta add, on the CPU, so
    that every device draws the same.
    """
    if how.guidance and unconditional is None:
        raise ParameterError(
            "guidance needs a prediction without condition: train with dropped conditions, or set guidance to 0"
        )
    steps = how.grid(schedule)
    if not 0 <= skip < len(steps):
        raise ParameterError(f"skip is {skip}: of {len(steps)} sampling steps at least one is walked")
    squared = [schedule.alpha_bar()[t].item() for t in steps] + [
        1.0
    ]  # after the last step there is no noise left
    x, evaluations = noise * (1.0 if skip else how.temperature), 0
    # At full strength, noise that is drawn on the way would lead a walk away from the temperature it began at.
    fresh = functools.partial(_normal, generator=generator, temperature=how.temperature)
    solver = SOLVERS[how.sampler](fresh) if how.sampler in SOLVERS else None
    for index, t in list(enumerate(steps))[skip:]:
        timesteps = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        alpha, sigma = math.sqrt(squared[index]), math.sqrt(1 - squared[index])
        weight = how.weight(index, len(steps))
        output, evaluations = conditional(x, timesteps), evaluations + 1
        output, spread = output.split(x.shape[1], 1) if output.shape[1] == 2 * x.shape[1] else (output, None)
        if weight:
            without, evaluations = unconditional(x, timesteps)[:, : x.shape[1]], evaluations + 1
            output = output + weight * (output - without)
        x0, epsilon = clean_and_noise(prediction, output, x, alpha, sigma)
        if how.bound:
            x0 = x0.clamp(-how.bound, how.bound)
            epsilon = (x - alpha * x0) / sigma
        if solver:
            x = solver.step(x, x0, squared[index], squared[index + 1])
        elif how.sampler == "ddim":
            x = ddim_step(x0, epsilon, squared[index], squared[index + 1], how.eta, fresh)
        else:
            x = ddpm_step(x, x0, squared[index], squared[index + 1], spread, fresh)
    return Sample(x, evaluations)


def ddim_step(
    x0: torch.Tensor,
    epsilon: torch.Tensor,
    now: float,
    then: float,
    eta: float = 0.0,
    fresh: Fresh | None = None,
) -> torch.Tensor:
    """x at the next timestep; now, then: alpha^2 before and after. With eta, `fresh` draws part of the noise anew."""
    anew = eta * math.sqrt(_posterior_variance(now, then))
    x = math.sqrt(then) * x0 + math.sqrt(max(1 - then - anew**2, 0.0)) * epsilon
    return x + anew * (fresh or _normal)(x) if anew else x


def ddpm_step(
    x: torch.Tensor,
    x0: torch.Tensor,
    now: float,
    then: float,
    spread: torch.Tensor | None = None,
    fresh: Fresh | None = None,
) -> torch.Tensor:
    """A draw from q(next | x, x0); spread in [-1, 1]: its log variance between that of the posterior and beta
    (Nichol and Dhariwal 2021); None: the posterior's.
    """
    beta = 1 - now / then
    mean = math.sqrt(then) * beta / (1 - now) * x0 + math.sqrt(now / then) * (1 - then) / (1 - now) * x
    variance = _posterior_variance(now, then)
    if not variance:
        return mean
    deviation: torch.Tensor | float = math.sqrt(variance)
    if spread is not None:
        part = (spread + 1) / 2
        deviation = (0.5 * (part * math.log(beta) + (1 - part) * math.log(variance))).exp()
    return mean + deviation * (fresh or _normal)(x)


def _posterior_variance(now: float, then: float) -> float:
    return (1 - then) / (1 - now) * (1 - now / then)


def _normal(
    like: torch.Tensor, generator: torch.Generator | None = None, temperature: float = 1.0
) -> torch.Tensor:
    return temperature * torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)


def _known(prediction: str) -> str:
    if prediction not in PREDICTIONS:
        raise unknown("prediction", prediction, PREDICTIONS)
    return prediction
