"""What a student of a diffusion model is shown, on a mixture of Gaussians, where the right answer is known."""

import math

import pytest
import torch

from lib.errors import ParameterError
from lib.systems.tortoise import diffusion
from lib.systems.tortoise.diffusion import Sampling, Schedule
from lib.training.tasks import distillation
from lib.training.tasks.distillation import CLEAN

SCHEDULE = Schedule("cosine", 512)
CENTRES, WIDTHS, SHARES = (
    torch.tensor([-1.5, 0.2, 1.4]),
    torch.tensor([0.15, 0.3, 0.1]),
    torch.tensor([0.3, 0.3, 0.4]),
)
NOISE = (
    torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(400) + 0.5) / 400).reshape(-1, 1)
)  # (B, 1), evenly


def mean_of_data(x, alpha, sigma):
    """E[x0 | x] of the mixture, (B, 1)."""
    variance = (alpha * WIDTHS) ** 2 + sigma**2  # (B, 3)
    scores = SHARES.log() - 0.5 * variance.log() - 0.5 * (x - alpha * CENTRES) ** 2 / variance
    by_component = CENTRES + alpha * WIDTHS**2 / variance * (x - alpha * CENTRES)
    return (scores.softmax(-1) * by_component).sum(-1, keepdim=True)


def teacher(x, timesteps):
    """The perfect network, in v."""
    now = distillation.level(SCHEDULE, timesteps, x)
    return distillation.output_of("v", mean_of_data(x, now.alpha, now.sigma), x, now)


def drawn(predict, steps):
    return diffusion.sample(SCHEDULE, "v", predict, NOISE, Sampling("ddim", steps)).x0


class Table:
    """A student that knows by heart what it was shown, between 4,001 places."""

    places = torch.linspace(-6, 6, 4001)

    def __init__(self):
        self.x0 = {}

    def show(self, timestep, x0):
        self.x0[timestep] = x0.flatten()

    def __call__(self, x, timesteps):
        table = self.x0[int(timesteps[0])]
        position = (x.clamp(-5.999, 5.999) + 6) / 12 * (len(self.places) - 1)
        left = position.long()
        x0 = torch.lerp(table[left], table[left + 1], position - left)
        return distillation.output_of("v", x0, x, distillation.level(SCHEDULE, timesteps, x))


def test_a_belief_leads_where_it_says():
    x, x0 = torch.randn(5, 2, 7), torch.randn(5, 2, 7)
    now, then = (distillation.level(SCHEDULE, torch.full((5,), t), x) for t in (300, 120))
    assert torch.allclose(
        distillation.believed(x, distillation.stepped(x, x0, now, then), now, then), x0, atol=1e-5
    )
    clean = distillation.level(SCHEDULE, torch.full((5,), CLEAN), x)
    assert torch.equal(distillation.stepped(x, x0, now, clean), x0)
    for prediction in diffusion.PREDICTIONS:
        output = distillation.output_of(prediction, x0, x, now)
        assert torch.allclose(distillation.x0_of(prediction, output, x, now), x0, atol=1e-5)


def test_walking_is_what_the_sampler_does():
    steps = distillation.places(SCHEDULE, 16)
    walked = distillation.walked(teacher, "v", SCHEDULE, NOISE, [t.expand(len(NOISE)) for t in steps])
    assert torch.allclose(walked, drawn(teacher, 16), atol=1e-5)


def test_each_halving_keeps_what_its_teacher_draws():
    """Of students that learn their lesson perfectly. Each keeps all but 0.002 of its teacher's samples' places, so that
    one step draws after nine halvings what 512 drew, where one step of DDIM draws the mean of all data.
    """
    whole = drawn(teacher, 512)
    master, worst = teacher, 0.0
    for steps in distillation.ladder(512, 1)[1:]:
        student, visited = Table(), distillation.places(SCHEDULE, 2 * steps).tolist()
        for begin, middle, end in zip(visited[::2], visited[1::2], visited[2::2]):
            x = student.places[:, None]
            times = [torch.full((len(x),), t) for t in (begin, middle, end)]
            student.show(begin, distillation.halved(master, "v", SCHEDULE, x, times))
        before, after = drawn(master, 2 * steps), drawn(student, steps)
        worst = max(worst, (after - before).abs().mean().item())
        master = student
    assert worst < 0.002
    assert (after - whole).abs().mean() < 0.01 < 0.5 < (drawn(teacher, 1) - whole).abs().mean()


def test_any_interval_is_one_step_of_the_right_belief():
    """The mean velocity over an interval adds up: over both halves it is that over the whole."""
    times = [t.expand(len(NOISE)) for t in distillation.places(SCHEDULE, 128)]
    middle = distillation.walked(teacher, "v", SCHEDULE, NOISE, times[:65])
    end = distillation.walked(teacher, "v", SCHEDULE, middle, times[64:])
    levels = [distillation.level(SCHEDULE, times[i], NOISE) for i in (0, 64, 128)]
    whole = distillation.believed(NOISE, end, levels[0], levels[2])
    assert torch.allclose(distillation.stepped(NOISE, whole, levels[0], levels[2]), end, atol=1e-5)
    # y = x / alpha moves with the noise as its velocity when sigma / alpha is the clock.
    clocks = [(a.sigma / a.alpha).double() for a in levels]
    points = [x.double() / a.alpha for x, a in zip((NOISE, middle, end), levels)]
    first, second = ((points[i] - points[i + 1]) / (clocks[i] - clocks[i + 1]) for i in (0, 1))
    share = (clocks[0] - clocks[1]) / (clocks[0] - clocks[2])
    both = (points[0] - points[2]) / (clocks[0] - clocks[2])
    assert torch.allclose(share * first + (1 - share) * second, both, rtol=1e-6)


def test_guidance_is_folded_with_its_weight_by_item():
    conditional, unconditional = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    both = distillation.guided(conditional, unconditional, torch.tensor([0.0, 1.0, 2.5]))
    assert torch.equal(both[0], conditional[0])
    assert torch.allclose(both[2], 3.5 * conditional[2] - 2.5 * unconditional[2])


def test_weights_of_the_paper():
    now = distillation.level(SCHEDULE, torch.tensor([20, 490]), torch.zeros(2, 1))
    snr = (now.alpha / now.sigma) ** 2
    assert torch.equal(distillation.loss_weight("truncated", now)[1], torch.ones(1, dtype=torch.float64))
    assert torch.equal(distillation.loss_weight("truncated", now)[0], snr[0])
    # "snr+1" of x0 is the plain error of v, "snr" that of epsilon.
    x, guess, x0 = torch.randn(2, 1), torch.randn(2, 1), torch.randn(2, 1)
    for kind, prediction in (("snr+1", "v"), ("snr", "epsilon")):
        outputs = (distillation.output_of(prediction, value, x, now) for value in (guess, x0))
        error = torch.nn.functional.mse_loss(*outputs)
        assert math.isclose(distillation.loss(guess, x0, now, kind), error, rel_tol=1e-4)
    with pytest.raises(ParameterError, match="loss weight"):
        distillation.loss_weight("min-snr", now)


def test_a_ladder_halves():
    assert distillation.ladder(3968, 31) == [3968, 1984, 992, 496, 248, 124, 62, 31]
    with pytest.raises(ParameterError, match="125 is odd"):
        distillation.ladder(4000, 31)
    with pytest.raises(ParameterError, match="pass it at 2"):
        distillation.ladder(8, 3)
    every, other = distillation.places(SCHEDULE, 64), distillation.places(SCHEDULE, 32)
    assert torch.equal(every[::2], other) and other[-1] == CLEAN
