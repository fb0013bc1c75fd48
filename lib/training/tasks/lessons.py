"""What is a student of a diffusion decoder shown at a training step, and what is it asked? For any decoder that
`systems.tortoise.network` builds.

`method` is one of those of `distillation`: "guidance" folds the second evaluation of guidance away; "halving" makes of
two steps one; "interval" leads from anywhere to anywhere in one; "consistency" agrees with itself one step nearer to
the data. Noise is drawn at the temperatures that the students are to speak with, so that they know the places that
such walks pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lib.errors import ParameterError, unknown
from lib.systems.tortoise import diffusion
from lib.systems.tortoise.diffusion import Schedule
from lib.systems.tortoise.network import DiffusionDecoder
from lib.training.task import Update
from lib.training.tasks import distillation
from lib.training.tasks import tortoise as tortoise_task
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.distillation import CLEAN

METHODS = ("guidance", "halving", "interval", "consistency")


@dataclass(frozen=True)
class Method:
    """The keys of a student's recipe that say how it learns."""

    method: str = "halving"  # of METHODS
    steps: int = 1984  # that the student is to walk; of "halving" half of its teacher's
    teacher_steps: int = 64  # of "interval" and "consistency": the grid that the teacher walks on
    inner: int = 4  # of "interval": the teacher's steps over an interval
    guidance: float = 2.0  # the highest weight that is folded in; 0: students of an unguided teacher
    temperature: tuple[float, float] = (0.5, 1.0)  # of the noise
    loss: str = "truncated"  # of `distillation.WEIGHTS`
    degraded: float = (
        0.0  # noise that is added to what both are told to say, in times its spread: poor synthetic data
    )

    def check_method(self) -> None:
        """Refuse what no student can learn."""
        if self.method not in METHODS:
            raise unknown("model.method", self.method, METHODS)
        if self.loss not in distillation.WEIGHTS:
            raise unknown("model.loss", self.loss, distillation.WEIGHTS)
        for name in ("steps", "inner"):
            if getattr(self, name) < 1:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must be at least 1")
        for name in ("guidance", "degraded"):
            if not 0 <= getattr(self, name) <= 100:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must lie between 0 and 100")
        if len(self.temperature) != 2 or not 0 < self.temperature[0] <= self.temperature[1] <= 10:
            raise ParameterError(
                f"model.temperature is {list(self.temperature)}: give the lowest and the highest"
            )
        if self.method in ("interval", "consistency") and not self.steps <= self.teacher_steps:
            raise ParameterError(
                f"model.teacher_steps is {self.teacher_steps}: a student of {self.steps} steps has a teacher of as "
                "many or more"
            )


@dataclass(frozen=True)
class Lessons:
    """All that the steps of one training share.

    prediction: what the teacher says; answer: what the student says (the same, where the student starts as its
    teacher is); bound: data lie within [-bound, bound], and the teacher's walk is kept there (0: anywhere).
    """

    how: Method
    schedule: Schedule
    teacher: DiffusionDecoder
    prediction: str
    answer: str
    bound: float = 0.0

    def update(
        self,
        student: torch.nn.Module,
        own: DiffusionDecoder,
        mel: torch.Tensor,
        said: torch.Tensor,
        voices: torch.Tensor,
    ) -> Update:
        """The loss of one step. student: the network as it is trained; own: the same without wrapper, which
        "consistency" asks for its opinion; mel (B, bands, F) data; said (B, T, latent_channels), voices: as
        `DiffusionDecoder.condition` takes them.
        """
        how, size, device = self.how, len(mel), mel.device
        with torch.no_grad():
            times = self.times(size).to(device)  # (hops + 1, B)
            weight = (torch.rand(size) * how.guidance).to(device)
            low, high = how.temperature
            if how.degraded:
                said = said + how.degraded * said.std() * torch.randn(said.shape).to(device)
            noise = torch.randn(mel.shape) * (low + (high - low) * torch.rand(size, 1, 1))
            now = distillation.level(self.schedule, times[0], mel)
            x = diffusion.noised(mel, noise.to(device), now.alpha, now.sigma).to(mel.dtype)
            target = self.target(own, x, times, said, voices, weight)
        guess = self.guess(student, x, times[0], times[-1], said, voices, weight)
        loss = distillation.loss(guess, target, now, how.loss)
        return Update(loss, (MODULE,), {"lesson": loss, "apart": (guess - target).abs().mean()})

    def times(self, size: int) -> torch.Tensor:
        """(hops + 1, B) int64: the timestep of each item, those that its teacher's walk passes, and where that ends."""
        how, offset = self.how, torch.rand(()).item()
        order = torch.randperm(size)

        def spread(steps: int) -> torch.Tensor:
            return tortoise_task.spread(size, steps, offset)[order]  # (B,)

        if how.method in ("guidance", "halving"):
            hops = 1 if how.method == "guidance" else 2
            visited = distillation.places(self.schedule, how.steps * hops)  # (steps * hops + 1,)
            first = spread(how.steps) * hops
            return torch.stack([visited[first + hop] for hop in range(hops + 1)])
        visited = distillation.places(self.schedule, how.teacher_steps)
        if how.method == "consistency":
            first = spread(how.teacher_steps)
            return torch.stack([visited[first], visited[first + 1]])
        # Of intervals half begin with pure noise, as every walk of few steps does.
        first = torch.where(torch.rand(size) < 0.5, 0, spread(how.teacher_steps))
        last = first + 1 + (torch.rand(size) * (how.teacher_steps - first)).long()
        hops = torch.linspace(0, 1, how.inner + 1)[:, None]
        return visited[(first + hops * (last - first)).round().long()]

    @torch.no_grad()
    def target(self, own, x, times, said, voices, weight) -> torch.Tensor:
        """The x0 that the student is to say of x at times[0]."""
        how, bands = self.how, x.shape[1]
        condition = self.teacher.condition(said, voices, x.shape[-1])

        def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            if self.teacher.config.folded:
                return self.teacher.denoise(x, t, condition, guidance=weight)[:, :bands]
            output = self.teacher.denoise(x, t, condition)[:, :bands]
            if not how.guidance:
                return output
            return distillation.guided(output, self.teacher.denoise(x, t)[:, :bands], weight)

        walk = (predict, self.prediction, self.schedule, x, list(times))
        if how.method == "guidance":
            now = distillation.level(self.schedule, times[0], x)
            return distillation.x0_of(self.prediction, predict(x, times[0]), x, now, self.bound)
        if how.method == "consistency":
            nearer = distillation.walked(*walk, bound=self.bound)
            clean = (times[1] == CLEAN)[:, None, None]
            belief = self.guess(own, nearer, times[1].clamp(min=0), times[1], said, voices, weight)
            return torch.where(clean, nearer, belief)
        return distillation.halved(*walk, bound=self.bound)

    def guess(self, student, x, t, until, said, voices, weight) -> torch.Tensor:
        """The student's x0 of x at t."""
        inputs = {"guidance": weight} if self.how.guidance else {}
        if self.how.method == "interval":
            inputs["until"] = until
        output = student(x, t, said, voices, **inputs)[0][:, : x.shape[1]]
        return distillation.x0_of(self.answer, output, x, distillation.level(self.schedule, t, x))
