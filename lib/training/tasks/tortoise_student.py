"""How does a student of `tortoise`'s decoder learn to need fewer steps? It is shown mels in noise, and what its teacher
would make of them in several evaluations, to say it in one.

`method` is one of those of `distillation`: "guidance" folds the second evaluation of guidance away; "halving" makes of
two steps one; "interval" leads from anywhere to anywhere in one; "consistency" agrees with itself one step nearer to
the data. The teacher is a trained decoder, or an earlier student of it. Noise is drawn at the temperatures that the
students are to speak with, so that they know the places that such walks pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lib.corpora.base import Corpus
from lib.errors import MissingDataError, ParameterError, TrainingError, unknown
from lib.features import HIFIGAN, griffin_lim
from lib.systems import tortoise
from lib.systems.tortoise import diffusion, students
from lib.systems.tortoise import network as networks
from lib.systems.tortoise.diffusion import Sampling, Schedule
from lib.training import checkpoint as checkpoints
from lib.training import sources
from lib.training.recipe import Recipe, parse
from lib.training.task import Batch, Update, Validation
from lib.training.tasks import acoustic, distillation, pictures
from lib.training.tasks import tortoise as tortoise_task
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.distillation import CLEAN

METHODS = ("guidance", "halving", "interval", "consistency")
JUDGED = 64  # steps of the walk that validation takes for the converged one


@dataclass(frozen=True)
class StudentConfig(acoustic.Learning):
    """The recipe's `model` part. `start_from` is an earlier student or a run that goes on; "": as the teacher is."""

    base: str = "tortoise"  # a checkpoint of `lib.zoo` or a folder: the front end, and the first teacher
    teacher: str = ""  # an earlier student of it (a folder, or one of `lib.zoo`); "": the base's own decoder
    method: str = "halving"  # of METHODS
    steps: int = 1984  # that the student is to walk; of "halving" half of its teacher's
    teacher_steps: int = 64  # of "interval" and "consistency": the grid that the teacher walks on
    inner: int = 4  # of "interval": the teacher's steps over an interval
    guidance: float = 2.0  # the highest weight that is folded in; 0: students of an unguided teacher
    temperature: tuple[float, float] = (0.5, 1.0)  # of the noise
    loss: str = "truncated"  # of `distillation.WEIGHTS`
    segment: int = 256  # frames of a window
    weight_decay: float = 0.0
    learning_rate: float = 2e-4

    def __post_init__(self) -> None:
        self.check_schedule()
        if self.method not in METHODS:
            raise unknown("model.method", self.method, METHODS)
        if self.loss not in distillation.WEIGHTS:
            raise unknown("model.loss", self.loss, distillation.WEIGHTS)
        for name in ("steps", "inner", "segment"):
            if getattr(self, name) < 1:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must be at least 1")
        if not 0 <= self.guidance <= 100:
            raise ParameterError(f"model.guidance is {self.guidance}, it must lie between 0 and 100")
        if len(self.temperature) != 2 or not 0 < self.temperature[0] <= self.temperature[1] <= 10:
            raise ParameterError(
                f"model.temperature is {list(self.temperature)}: give the lowest and the highest"
            )
        if self.method in ("interval", "consistency") and not self.steps <= self.teacher_steps:
            raise ParameterError(
                f"model.teacher_steps is {self.teacher_steps}: a student of {self.steps} steps has a teacher of as "
                "many or more"
            )


class StudentTask(tortoise_task.AcousticTask):
    """A student on any corpus that its base's front end knows the voices of."""

    watch = "apart"
    Config = StudentConfig

    def __init__(self, corpus: Corpus, config: StudentConfig):
        acoustic.AcousticTask.__init__(self, corpus, config)
        self.folder = sources.start(config.base)
        self.sizes, speakers, network = tortoise.checkpoints.load(self.folder)
        if strangers := set(self.speakers) - set(speakers):
            raise MissingDataError(
                f"the base {config.base} does not know {', '.join(sorted(strangers)[:5])} of corpus {corpus.name}, "
                f"only {', '.join(speakers)}: take another"
            )
        self.schedule: Schedule = self.sizes.noise
        self.prediction = self.sizes.prediction
        self.front = network.front.requires_grad_(False).eval()
        self.teacher = network.decoder.requires_grad_(False).eval()
        self.taught_by = config.base
        if config.teacher:
            folder = students.find(config.teacher)
            known, self.teacher = students.load(folder, self.folder, self.teacher)
            self.teacher.requires_grad_(False)
            self.taught_by = f"{folder.name} ({known.steps} steps)"
            if known.guidance < config.guidance:
                raise ParameterError(
                    f"model.guidance is {config.guidance:g}, but the teacher {folder.name} knows it up to "
                    f"{known.guidance:g}: fold it in first, or ask for less"
                )
        self.statistics = replace(self.statistics.taken_from(self.front), speakers=speakers)
        self.speakers = speakers
        self.follow(self._student())

    @classmethod
    def untrained(cls, config, speakers):
        raise ParameterError("a student is no system by itself: its export is a folder of `tortoise.students`")

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        """The student as a folder of `tortoise.students`."""
        config = parse(StudentConfig, recipe.model, "model")
        loaded = checkpoints.load(checkpoint, recipe)
        weights = loaded.of(MODULE)
        if weights is None:
            raise TrainingError(
                f"checkpoint {checkpoint} holds no student: take the recipe it was trained with"
            )
        about = students.Student(
            config.method,
            config.steps,
            config.guidance,
            tuple(config.temperature),
            Path(config.teacher or config.base).name,
            students.key(sources.start(config.base)),
            folded=any(name.startswith("guidance_embed") for name in weights),
            interval=any(name.startswith("until_embed") for name in weights),
        )
        return students.save(folder, about, weights, card)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        config, given = self.config, batch.tensors
        size, device = len(batch.ids), given["mel"].device
        with torch.no_grad():
            said = tortoise.read(self.front, *(given[name] for name in tortoise_task.READ))
            said = tortoise.windows(said, given["starts"], given["mel"].shape[-1])
            times = self._times(size).to(device)  # (hops + 1, B)
            weight = (torch.rand(size) * config.guidance).to(device)
            low, high = config.temperature
            noise = torch.randn(given["mel"].shape) * (low + (high - low) * torch.rand(size, 1, 1))
            now = distillation.level(self.schedule, times[0], given["mel"])
            x = diffusion.noised(given["mel"], noise.to(device), now.alpha, now.sigma).to(given["mel"].dtype)
            target = self._target(x, times, said, given["speakers"], weight)
        guess = self._guess(self.modules[MODULE], x, times[0], times[-1], said, given["speakers"], weight)
        loss = distillation.loss(guess, target, now, config.loss)
        yield Update(loss, (MODULE,), {"lesson": loss, "apart": (guess - target).abs().mean()})

    def validate(self, step: int) -> Validation:
        """apart: mean distance of the mels that the student draws from those of the teacher's converged walk, from the
        same noise (in deviations of the mel); of each speaker's first sentence its picture and sound.
        """
        student, config = self.plain[MODULE], self.config
        low, high = config.temperature
        how = Sampling("ddim", config.steps, min(1.0, config.guidance), temperature=low)
        converged = replace(how, sampler="dpm++", steps=JUDGED)
        apart, audio, figures, heard = [], {}, {}, set()
        for e in self.validation:
            given = self._cut([(e, e.mel(), 0.0)], e.n_frames).to(next(student.parameters()).device).tensors
            said = tortoise.read(self.front, *(given[name] for name in tortoise_task.READ))
            walk = how if config.steps <= JUDGED else converged
            drawn, goal = (
                tortoise.denoised(decoder, self.sizes, said, given["speakers"], way, seed=0).x0[0].T
                for decoder, way in ((student, walk), (self.teacher, converged))
            )
            apart.append((drawn - goal).abs().mean().item())
            if e.speaker in heard:
                continue
            heard.add(e.speaker)
            figures[e.id] = pictures.mels(
                goal.float().cpu().numpy(), drawn.float().cpu().numpy(), f"the student's, in {walk.steps} steps"
            )
            audio[e.id] = (griffin_lim(self.front.as_log_mel(drawn).float().cpu().numpy()), HIFIGAN.sample_rate)
        return Validation({"apart": sum(apart) / len(apart)}, figures, audio)

    def _student(self) -> networks.DiffusionDecoder:
        """As the teacher is, with the inputs that its method needs."""
        config = self.config
        made = networks.student(self.teacher, folded=config.guidance > 0, interval=config.method == "interval")
        if config.start_from:
            _, made = students.load(students.find(config.start_from), self.folder, made)
        return made.requires_grad_(True).train()

    def _times(self, size: int) -> torch.Tensor:
        """(hops + 1, B) int64: the timestep of each item, those that its teacher's walk passes, and where that ends."""
        config, offset = self.config, torch.rand(()).item()
        order = torch.randperm(size)

        def spread(steps: int) -> torch.Tensor:
            return tortoise_task.spread(size, steps, offset)[order]  # (B,)

        if config.method in ("guidance", "halving"):
            hops = 1 if config.method == "guidance" else 2
            visited = distillation.places(self.schedule, config.steps * hops)  # (steps * hops + 1,)
            first = spread(config.steps) * hops
            return torch.stack([visited[first + hop] for hop in range(hops + 1)])
        visited = distillation.places(self.schedule, config.teacher_steps)
        if config.method == "consistency":
            first = spread(config.teacher_steps)
            return torch.stack([visited[first], visited[first + 1]])
        # Of intervals half begin with pure noise, as every walk of few steps does.
        first = torch.where(torch.rand(size) < 0.5, 0, spread(config.teacher_steps))
        last = first + 1 + (torch.rand(size) * (config.teacher_steps - first)).long()
        hops = torch.linspace(0, 1, config.inner + 1)[:, None]
        return visited[(first + hops * (last - first)).round().long()]

    @torch.no_grad()
    def _target(self, x, times, said, voices, weight) -> torch.Tensor:
        """The x0 that the student is to say of x at times[0]."""
        config, whole = self.config, said.shape[1]
        condition = self.teacher.condition(said, voices, whole)

        def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            if self.teacher.config.folded:
                return self.teacher.denoise(x, t, condition, guidance=weight)
            output = self.teacher.denoise(x, t, condition)
            return (
                distillation.guided(output, self.teacher.denoise(x, t), weight) if config.guidance else output
            )

        now = distillation.level(self.schedule, times[0], x)
        if config.method == "guidance":
            return distillation.x0_of(self.prediction, predict(x, times[0]), x, now)
        if config.method == "consistency":
            nearer = distillation.walked(predict, self.prediction, self.schedule, x, list(times))
            clean = (times[1] == CLEAN)[:, None, None]
            there = times[1].clamp(min=0)
            own = self._guess(self.plain[MODULE], nearer, there, times[1], said, voices, weight)
            return torch.where(clean, nearer, own)
        return distillation.halved(predict, self.prediction, self.schedule, x, list(times))

    def _guess(self, student, x, t, until, said, voices, weight) -> torch.Tensor:
        """The student's x0 of x at t."""
        inputs = {"guidance": weight} if self.config.guidance else {}
        if self.config.method == "interval":
            inputs["until"] = until
        output = student(x, t, said, voices, **inputs)[0]
        return distillation.x0_of(self.prediction, output, x, distillation.level(self.schedule, t, x))
