"""How does a student of `tortoise`'s decoder learn to need fewer steps? It is shown mels in noise, and what its teacher
would make of them in several evaluations, to say it in one (`lessons`).

The teacher is a trained decoder, or an earlier student of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lib.corpora.base import Corpus
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN, griffin_lim
from lib.systems import tortoise
from lib.systems.tortoise import network as networks
from lib.systems.tortoise import students
from lib.systems.tortoise.diffusion import Sampling, Schedule
from lib.training import checkpoint as checkpoints
from lib.training import sources
from lib.training.recipe import Recipe, parse
from lib.training.task import Batch, Update, Validation
from lib.training.tasks import acoustic, pictures
from lib.training.tasks import tortoise as tortoise_task
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.lessons import Lessons, Method

JUDGED = 64  # steps of the walk that validation takes for the converged one


@dataclass(frozen=True)
class StudentConfig(acoustic.Learning, Method):
    """The recipe's `model` part. `start_from` is an earlier student or a run that goes on; "": as the teacher is."""

    base: str = "tortoise"  # a checkpoint of `lib.zoo` or a folder: the front end, and the first teacher
    teacher: str = ""  # an earlier student of it (a folder, or one of `lib.zoo`); "": the base's own decoder
    segment: int = 256  # frames of a window
    weight_decay: float = 0.0
    learning_rate: float = 2e-4

    def __post_init__(self) -> None:
        self.check_schedule()
        self.check_method()
        if self.segment < 1:
            raise ParameterError(f"model.segment is {self.segment}, it must be at least 1")


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
            known, self.teacher = students.load(folder, students.key(self.folder), self.teacher)
            self.teacher.requires_grad_(False)
            self.taught_by = f"{folder.name} ({known.steps} steps)"
            if known.guidance < config.guidance:
                raise ParameterError(
                    f"model.guidance is {config.guidance:g}, but the teacher {folder.name} knows it up to "
                    f"{known.guidance:g}: fold it in first, or ask for less"
                )
        self.statistics = replace(self.statistics.taken_from(self.front), speakers=speakers)
        self.speakers = speakers
        self.lessons = Lessons(config, self.schedule, self.teacher, self.prediction, self.prediction)
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
        minutes = loaded.state["seconds"] / 60
        about = students.Student(
            config.method,
            config.steps,
            config.guidance,
            tuple(config.temperature),
            Path(config.teacher or config.base).name,
            students.key(sources.start(config.base)),
            folded=any(name.startswith("guidance_embed") for name in weights),
            interval=any(name.startswith("until_embed") for name in weights),
            trained_steps=loaded.step,
            trained_minutes=round(minutes, 4),
            line_minutes=students.line_minutes(config.teacher, minutes),
        )
        return students.save(folder, about, weights, card)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        given = batch.tensors
        with torch.no_grad():
            said = tortoise.read(self.front, *(given[name] for name in tortoise_task.READ))
            said = tortoise.windows(said, given["starts"], given["mel"].shape[-1])
        yield self.lessons.update(
            self.modules[MODULE], self.plain[MODULE], given["mel"], said, given["speakers"]
        )

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
            _, made = students.load(students.find(config.start_from), students.key(self.folder), made)
        return made.requires_grad_(True).train()
