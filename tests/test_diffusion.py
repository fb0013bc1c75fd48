"""Diffusion: on Gaussian data, whose best denoiser is known in closed form, every sampler must land where
theory says.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from lib.errors import ParameterError
from lib.systems.tortoise import sampling
from lib.systems.tortoise.diffusion import (
    PUBLISHED,
    SAMPLERS,
    Sampling,
    Schedule,
    clean_and_noise,
    ddim_step,
    grid,
    loss_weight,
    noised,
    sample,
    target,
)

MEAN, DEVIATION = 1.5, 0.4
LINEAR, COSINE = Schedule("linear"), Schedule("cosine")


def best(schedule: Schedule, prediction: str, mean: float = MEAN, deviation: float = DEVIATION):
    """The denoiser with the least squared error on data that are N(mean, deviation^2): E[x0 | x], as a prediction."""

    def denoise(x: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        alpha, sigma = schedule.signal_noise(timesteps, x)
        x0 = mean + alpha * deviation**2 / (alpha**2 * deviation**2 + sigma**2) * (x - alpha * mean)
        return target(prediction, x0, (x - alpha * x0) / sigma, alpha, sigma)

    return denoise


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def flow(schedule: Schedule, x: torch.Tensor) -> torch.Tensor:
    """Where the probability flow ODE takes x, in closed form: at every time its place within the Gaussian is
    the same.
    """
    squared = schedule.alpha_bar()[-1]
    return MEAN + DEVIATION * (x - squared.sqrt() * MEAN) / (squared * DEVIATION**2 + 1 - squared).sqrt()


@pytest.mark.parametrize("schedule", [LINEAR, COSINE])
def test_schedules_hide_the_data_steadily_and_almost_wholly(schedule):
    squared = schedule.alpha_bar()
    assert squared.shape == (4000,) and squared.dtype == torch.float64
    snr = squared / (1 - squared)
    assert (snr.diff() < 0).all() and snr[0] > 1000 and snr[-1] < 1e-4


def test_linear_betas_are_the_published_ones_scaled_to_4000_steps():
    squared = LINEAR.alpha_bar()
    assert 1 - squared[0].item() == pytest.approx(2.5e-5)
    assert 1 - (squared[-1] / squared[-2]).item() == pytest.approx(5e-3)
    assert squared[-1].item() == pytest.approx(math.exp(-4000 * (2.5e-5 + 5e-3) / 2), rel=0.05)


def test_the_cosine_schedule_is_half_way_in_the_middle():
    squared = COSINE.alpha_bar()
    expected = (math.cos((0.5 + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)) ** 2
    assert squared[1999].item() == pytest.approx(expected, abs=1e-12)


def test_respacing_picks_the_right_steps():
    assert grid(LINEAR, 5, "published") == (3999, 2999, 2000, 1000, 0)
    assert grid(Schedule("linear", 1000), 4, "published") == (999, 666, 333, 0)
    assert grid(LINEAR, 4) == (3999, 2999, 1999, 999)
    assert grid(LINEAR, 4000) == grid(LINEAR, 4000, "published") == tuple(range(3999, -1, -1))
    assert grid(LINEAR, 1) == grid(LINEAR, 1, "published") == (3999,)


def test_seven_halvings_lead_to_31_steps_of_the_same_grid():
    steps = 3968
    for _ in range(7):
        whole, half = grid(LINEAR, steps), grid(LINEAR, steps // 2)
        assert whole[::2] == half and len(set(whole)) == steps
        steps //= 2
    assert steps == 31


def test_v_and_epsilon_say_the_same():
    x0, epsilon = noise(3, 2, 5), noise(3, 2, 5, seed=1)
    alpha, sigma = COSINE.signal_noise(torch.tensor([0, 1700, 3990]), x0)
    x = noised(x0, epsilon, alpha, sigma)
    for prediction in ("epsilon", "v"):
        found = clean_and_noise(prediction, target(prediction, x0, epsilon, alpha, sigma), x, alpha, sigma)
        assert torch.allclose(found[0], x0, atol=1e-9) and torch.allclose(found[1], epsilon, atol=1e-12)


def test_loss_weights_bound_the_weight_of_the_clean_data():
    alpha, sigma = LINEAR.signal_noise(torch.arange(0, 4000, 37), noise(109, 1))
    snr = (alpha / sigma).square()
    for prediction, of_x0 in (
        ("epsilon", snr),
        ("v", snr + 1),
    ):  # |error of the prediction|^2 = of_x0 * |error of x0|^2
        assert torch.allclose(loss_weight(prediction, alpha, sigma, 5.0) * of_x0, snr.clamp(max=5.0))
        assert (loss_weight(prediction, alpha, sigma, 0.0) == 1).all()


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("schedule", [LINEAR, COSINE])
@pytest.mark.parametrize(
    "how, mean, deviation",
    [
        (Sampling("ddpm", 250), 0.02, 0.04),
        (Sampling("ddpm", 250, spacing="published"), 0.02, 0.04),
        (Sampling("ddim", 200, eta=0.5), 0.02, 0.04),
        (Sampling("ddim", 250), 0.006, 0.02),
        (Sampling("dpm++", 40), 0.006, 0.015),
    ],
)
def test_every_sampler_reaches_the_datas_mean_and_deviation(prediction, schedule, how, mean, deviation):
    half = noise(1, 4000)
    start = (
        torch.cat([half, -half], 1) / half.std()
    )  # mean 0, deviation 1 exactly; what is missed is the sampler's fault
    found = sample(
        schedule, prediction, best(schedule, prediction), start, how, generator=torch.Generator().manual_seed(1)
    )
    assert found.nfe == how.steps
    # The last of 4,000 steps keeps 0.65 % of the data (linear), of which a walk from pure noise knows nothing: 0.004.
    assert found.x0.mean().item() == pytest.approx(MEAN, abs=mean)
    assert found.x0.std().item() == pytest.approx(DEVIATION, rel=deviation)


def test_dpm_solver_is_far_closer_to_the_exact_flow_than_ddim_and_ddim_of_first_order():
    start = noise(1, 200)
    exact = flow(LINEAR, start)

    def error(sampler: str, steps: int) -> float:
        return (
            (sample(LINEAR, "v", best(LINEAR, "v"), start, Sampling(sampler, steps)).x0 - exact)
            .abs()
            .max()
            .item()
        )

    assert error("dpm++", 20) < error("ddim", 20) / 2
    assert error("ddim", 250) / error("ddim", 500) == pytest.approx(2.0, rel=0.1)  # first order
    assert error("dpm++", 25) / error("dpm++", 50) > 3  # second order
    assert error("unipc", 25) / error("unipc", 50) > 3 and error("unipc", 20) < error("dpm++", 20)


@pytest.mark.parametrize(
    "how", [Sampling("ddpm", 250), Sampling("sde-dpm++", 30), Sampling("ddim", 250, eta=1.0), Sampling("dpm++", 40)]
)
def test_a_temperature_is_kept_by_who_draws_noise_on_the_way(how):
    """The noise of a Gaussian's data is spread in proportion, whether a walk draws all of it first or not."""
    cool = dataclasses.replace(how, temperature=0.5)
    drawn = sample(
        LINEAR, "v", best(LINEAR, "v"), noise(4000, 1), cool, generator=torch.Generator().manual_seed(1)
    ).x0
    assert drawn.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert drawn.std().item() == pytest.approx(0.5 * DEVIATION, rel=0.05)


def test_the_stochastic_solver_draws_the_data():
    """Its draws are other than the flow's, their mean and spread those of the data."""
    start = noise(4000, 1)
    how = Sampling("sde-dpm++", 30)
    drawn = sample(LINEAR, "v", best(LINEAR, "v"), start, how, generator=torch.Generator().manual_seed(1)).x0
    assert drawn.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert drawn.std().item() == pytest.approx(DEVIATION, rel=0.05)
    assert (drawn - flow(LINEAR, start)).abs().mean() > 0.3


def test_steps_can_be_placed_by_the_snr_or_by_hand():
    placed = grid(COSINE, 8, "log-snr")
    assert placed[0] == 3999 and len(placed) == 8
    squared = COSINE.alpha_bar()
    halves = (0.5 * (squared / (1 - squared)).log())[list(placed)]
    gaps = halves[1:].diff()  # the first step begins in pure noise
    assert (gaps - gaps.mean()).abs().max() < 0.02 and halves[1] - (-5.1) == pytest.approx(
        gaps.mean().item(), abs=0.02
    )
    with pytest.raises(ParameterError, match="too many for spacing log-snr"):
        grid(COSINE, 2000, "log-snr")
    by_hand = Sampling("dpm++", 3, timesteps=[3999, 1500, 20])
    assert by_hand.grid(COSINE) == by_hand.timesteps == (3999, 1500, 20)
    asked = []
    denoise = best(COSINE, "v")
    found = sample(COSINE, "v", lambda x, t: asked.append(int(t[0])) or denoise(x, t), noise(1, 4), by_hand)
    assert asked == [3999, 1500, 20] and found.nfe == 3
    for steps, timesteps in ((2, (3999, 20, 3)), (3, (20, 3999, 3)), (2, (5, 5)), (2, (3, -1))):
        with pytest.raises(ParameterError, match="one for each step"):
            Sampling("dpm++", steps, timesteps=timesteps)
    with pytest.raises(ParameterError, match="the schedule ends at 3999"):
        Sampling("dpm++", 1, timesteps=(4000,)).grid(COSINE)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("schedule", [LINEAR, COSINE])
@pytest.mark.parametrize(
    "sampler, steps",
    [
        ("dpm++", 8),
        ("dpm++", 20),
        ("sde-dpm++", 8),
        ("sde-dpm++", 40),
        ("unipc", 5),
        ("unipc", 20),
        ("ddim", 8),
        ("ddim", 50),
        ("ddpm", 40),
    ],
)
def test_diffusers_schedulers_walk_to_the_same_place(prediction, schedule, sampler, steps):
    """In single precision, as theirs are; with counts of steps that divide 4,000, where our grid is their trailing."""
    import diffusers

    squared = schedule.alpha_bar()
    settings = dict(
        num_train_timesteps=4000,
        trained_betas=(1 - squared / torch.cat([squared.new_ones(1), squared[:-1]])).numpy(),
        prediction_type="v_prediction" if prediction == "v" else "epsilon",
        timestep_spacing="trailing",
    )
    drawn = {"generator": torch.Generator().manual_seed(3)}
    if sampler == "dpm++":
        scheduler, drawn = diffusers.DPMSolverMultistepScheduler(**settings, final_sigmas_type="zero"), {}
    elif sampler == "sde-dpm++":
        more = {"algorithm_type": "sde-dpmsolver++", "final_sigmas_type": "zero"}
        scheduler = diffusers.DPMSolverMultistepScheduler(**settings, **more)
    elif sampler == "unipc":
        scheduler, drawn = diffusers.UniPCMultistepScheduler(**settings, final_sigmas_type="zero"), {}
    elif sampler == "ddim":
        scheduler = diffusers.DDIMScheduler(**settings, clip_sample=False)
    else:
        scheduler = diffusers.DDPMScheduler(**settings, clip_sample=False)
    start, denoise = noise(2, 60, dtype=torch.float32), best(schedule, prediction)
    scheduler.set_timesteps(steps)
    assert tuple(int(t) for t in scheduler.timesteps) == grid(schedule, steps)
    x = start
    for t in scheduler.timesteps:
        x = scheduler.step(denoise(x, t.long().expand(len(x))), t, x, **drawn).prev_sample
    draws = torch.Generator().manual_seed(3)
    ours = sample(schedule, prediction, denoise, start, Sampling(sampler, steps), generator=draws)
    assert (ours.x0 - x).abs().max() < 2e-3 and ours.nfe == steps


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_arrays_walk_where_tensors_do(sampler, spread):
    """In single precision throughout, with noise drawn on the way, guidance, a bound and a learned variance."""
    how = Sampling(sampler, 9, guidance=0.7, temperature=0.8, eta=0.6, bound=3.0)
    start, drawn = noise(2, 30, dtype=torch.float32), [noise(2, 30, seed=n, dtype=torch.float32) for n in range(9)]

    def answer(by: float, last):
        return lambda x, t: last([by * x - t / 4000] + [0.3 * x] * spread, 1)

    tensors, arrays = (
        sampling.descend(
            COSINE, "v", answer(0.9, last), begin, how, lambda like, left=iter(those): next(left),
            unconditional=answer(0.4, last),
        )
        for last, begin, those in (
            (torch.cat, start, drawn),
            (np.concatenate, start.numpy(), [one.numpy() for one in drawn]),
        )
    )
    assert arrays.x0.dtype == np.float32 and arrays.nfe == tensors.nfe == 18
    assert np.abs(tensors.x0.numpy() - arrays.x0).max() < 1e-4 < np.abs(arrays.x0).max()


def test_a_first_dpm_step_is_a_ddim_step():
    start = noise(2, 30)
    for steps in (1, 2):  # the second and last step ends in x0 in both
        found = {
            name: sample(COSINE, "v", best(COSINE, "v"), start, Sampling(name, steps)).x0
            for name in ("ddim", "dpm++")
        }
        assert torch.allclose(found["ddim"], found["dpm++"], atol=1e-9)


def test_ddim_draws_nothing_and_with_eta_1_it_is_ddpm():
    start = noise(2, 30)
    generators = [torch.Generator().manual_seed(7) for _ in range(2)]
    first, second = (
        sample(LINEAR, "epsilon", best(LINEAR, "epsilon"), start, Sampling("ddim", 400), generator=g).x0
        for g in (generators[0], None)
    )
    assert torch.equal(first, second)
    how = Sampling("ddim", 50, eta=1.0)
    ddim, ddpm = (
        sample(
            LINEAR,
            "v",
            best(LINEAR, "v"),
            start,
            dataclasses.replace(how, sampler=name),
            generator=torch.Generator().manual_seed(7),
        ).x0
        for name in ("ddim", "ddpm")
    )
    assert torch.allclose(ddim, ddpm, atol=1e-9)
    other = sample(LINEAR, "v", best(LINEAR, "v"), start, how, generator=torch.Generator().manual_seed(8)).x0
    assert (other - ddim).abs().max() > 0.1


def test_two_ddim_steps_equal_one_where_the_denoiser_knows_the_data():
    x0, epsilon, squared = noise(1, 9), noise(1, 9, seed=1), LINEAR.alpha_bar()
    far, near, nearer = (squared[t].item() for t in (3000, 1500, 600))
    middle = ddim_step(x0, epsilon, far, near)
    assert torch.allclose(middle, noised(x0, epsilon, squared[1500].sqrt(), (1 - squared[1500]).sqrt()))
    assert torch.allclose(ddim_step(x0, epsilon, near, nearer), ddim_step(x0, epsilon, far, nearer))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm++", "sde-dpm++", "unipc"])
def test_guidance_0_is_the_conditional_model_and_costs_nothing(sampler):
    conditional, without = best(LINEAR, "v"), best(LINEAR, "v", -2.0)
    alone, guided, unused = (
        sample(
            LINEAR,
            "v",
            conditional,
            noise(1, 50),
            Sampling(sampler, 16, guidance=weight),
            unconditional=other,
            generator=torch.Generator().manual_seed(0),
        )
        for weight, other in ((0.0, None), (1.0, without), (0.0, without))
    )
    assert torch.equal(alone.x0, unused.x0) and alone.nfe == unused.nfe == 16 and guided.nfe == 32
    assert guided.x0.mean() > alone.x0.mean() + 0.1  # away from what the model without a condition says


def test_guiding_v_is_guiding_epsilon_and_the_ramp_grows():
    how, found = Sampling("ddim", 25, guidance=0.7), []
    for prediction in ("epsilon", "v"):
        found.append(
            sample(
                LINEAR,
                prediction,
                best(LINEAR, prediction),
                noise(1, 50),
                how,
                unconditional=best(LINEAR, prediction, -2.0),
            ).x0
        )
    assert torch.allclose(*found, atol=1e-8)
    seen = []

    def answer(value: float):
        return lambda x, t: torch.full_like(x, value)

    def spy(x, t):
        seen.append(x)
        return torch.zeros_like(x)

    how = Sampling("ddim", 4, guidance=2.0)
    sample(LINEAR, "epsilon", spy, noise(1, 3), how, unconditional=answer(-1.0))
    squared = [LINEAR.alpha_bar()[t].item() for t in grid(LINEAR, 4)]
    weights = []
    for now, then, x, ahead in zip(
        squared, squared[1:], seen, seen[1:]
    ):  # ahead is linear in epsilon = weight * (0 - -1)
        ratio = math.sqrt(then / now)
        weights.append(((ahead - ratio * x) / (math.sqrt(1 - then) - ratio * math.sqrt(1 - now))).mean().item())
    assert weights == pytest.approx([0.5, 1.0, 1.5])


def test_a_learned_variance_lies_between_its_bounds():
    squared = LINEAR.alpha_bar()
    timesteps = grid(LINEAR, 2, "published")

    def answer(spread: float):
        return lambda x, t: torch.cat([torch.zeros_like(x), torch.full_like(x, spread)], 1)

    how = Sampling("ddpm", 2, spacing="published")
    seen = {}
    for spread in (-1.0, 0.0, 1.0):
        deviations = []

        def spy(x, t, spread=spread):
            deviations.append(x.std().item())
            return answer(spread)(x, t)

        sample(LINEAR, "v", spy, torch.zeros(1, 1, 20_000), how, generator=torch.Generator().manual_seed(0))
        seen[spread] = deviations[1]
    now, then = (squared[t].item() for t in timesteps)
    beta, posterior = 1 - now / then, (1 - then) / (1 - now) * (1 - now / then)
    assert seen[-1.0] == pytest.approx(math.sqrt(posterior), rel=0.02) and seen[1.0] == pytest.approx(
        math.sqrt(beta), rel=0.02
    )
    assert seen[0.0] == pytest.approx((posterior * beta) ** 0.25, rel=0.02)


def test_a_bound_keeps_the_data_within_it_and_temperature_0_is_the_mean():
    wild = best(LINEAR, "v", mean=9.0)
    for sampler in ("ddpm", "ddim", "dpm++"):
        found = sample(
            LINEAR,
            "v",
            wild,
            noise(1, 40),
            Sampling(sampler, 20, bound=1.0),
            generator=torch.Generator().manual_seed(0),
        ).x0
        assert found.abs().max() <= 1.0
    calm = sample(LINEAR, "v", best(LINEAR, "v"), noise(1, 40), Sampling("ddim", 500, temperature=0.0)).x0
    assert calm.std() == 0 and calm.mean().item() == pytest.approx(MEAN, abs=0.01)


def test_the_published_setting_is_tortoises_standard_preset():
    assert (PUBLISHED.sampler, PUBLISHED.steps, PUBLISHED.guidance, PUBLISHED.ramp) == ("ddpm", 200, 2.0, True)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Schedule("cosin"), "unknown noise schedule 'cosin': did you mean 'cosine'"),
        (lambda: Schedule("linear", 20), "20 steps is too coarse"),
        (lambda: Sampling("dpm+"), "unknown sampler 'dpm\\+': did you mean 'dpm\\+\\+'"),
        (lambda: Sampling(steps=0), "0 sampling steps"),
        (lambda: Sampling(guidance=-1.0), "guidance is -1.0, it must lie between 0 and 100"),
        (lambda: Sampling(temperature=math.nan), "temperature is nan"),
        (lambda: grid(LINEAR, 4001), "4001 sampling steps: give 1 to 4000"),
        (lambda: grid(LINEAR, 4, "evn"), "unknown spacing of timesteps 'evn': did you mean 'even'"),
        (lambda: target("x0", *[torch.zeros(1)] * 4), "unknown prediction 'x0'"),
        (
            lambda: sample(LINEAR, "v", best(LINEAR, "v"), noise(1, 2), Sampling(guidance=1.0)),
            "guidance needs a prediction without",
        ),
    ],
)
def test_a_bad_setting_has_one_clear_error(make, message):
    with pytest.raises(ParameterError, match=message):
        make()
