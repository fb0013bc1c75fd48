"""How does a student of the published TorToiSe's decoder learn to need fewer steps? As one of ours does (`lessons`),
from speech that the published pipeline made itself (`published_walks`).

The teacher says epsilon, its student v: of pure noise an epsilon tells next to nothing, and students of few steps begin
there (Salimans and Ho 2022, section 4). So the first student learns another language beside its lesson. The rest of the
pipeline stays as published; a student's folder holds the decoder alone.

Adam, weights, gradients and teacher of the published size take 5.8 GB: what a step takes in all, and how long, is
measured by `lib.studies.published_student`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lib.corpora import sentences as texts
from lib.errors import MissingDataError, ParameterError, TrainingError, unknown
from lib.files import cache_folder
from lib.systems.tortoise import diffusion, published, students
from lib.systems.tortoise import network as networks
from lib.systems.tortoise.diffusion import PUBLISHED, Sampling
from lib.systems.tortoise.network import DiffusionDecoder
from lib.systems.tortoise.published_parts import key
from lib.systems.tortoise.walking import walk
from lib.training import checkpoint as checkpoints
from lib.training.recipe import Recipe, parse
from lib.training.task import Batch, Task, Update, Validation
from lib.training.tasks import pictures
from lib.training.tasks import published_walks as walks
from lib.training.tasks.acoustic import MODULE, rate
from lib.training.tasks.lessons import Lessons, Method
from lib.training.tasks.published_walks import Walk

JUDGED = 64  # steps of the walk that validation takes for the converged one


@dataclass(frozen=True)
class Data:
    """The recipe's `data` part. Every voice reads all sentences; no test sentence ever enters."""

    voices: tuple[str, ...] = ()  # folders of recordings, two or more clips of some 10 s of one voice in each
    published: str = ""  # the folder of the published pipeline ("": the hub)
    texts: tuple[str, ...] = ("botchan",)  # of `lib.corpora.sentences.TEXTS`
    train: int = 2000  # sentences
    validation: int = 8
    candidates: int = 16  # readings that CLVP chooses from
    steps: int = 200  # of the walk that draws a mel, guided as published
    target: str = "torch/cpu"  # where the pipeline speaks meanwhile

    def __post_init__(self) -> None:
        if not self.voices:
            raise ParameterError(
                "the recipe's data names no `voices`: give folders of recordings that TorToiSe is to sound like"
            )
        texts.check(self.texts)
        for name in ("train", "validation", "candidates", "steps"):
            if getattr(self, name) < 1:
                raise ParameterError(f"data.{name} is {getattr(self, name)}, it must be at least 1")


@dataclass(frozen=True)
class Config(Method):
    """The recipe's `model` part."""

    temperature: tuple[float, float] = (1.0, 1.0)  # of the noise: the published walk begins with all of it
    teacher: str = ""  # an earlier student (a folder); "": the published decoder
    start_from: str = ""  # a student that goes on; "": as the teacher is
    prediction: str = "v"  # what the student says
    codes: int = 60  # of a window, 43 ms each
    learning_rate: float = 1e-4
    warm_up: int = 100  # steps over which the learning rate rises to it
    half_life: int = 10_000  # steps in which it halves from then on

    def __post_init__(self) -> None:
        self.check_method()
        if self.prediction not in diffusion.PREDICTIONS:
            raise unknown("model.prediction", self.prediction, diffusion.PREDICTIONS)
        for name in ("codes", "warm_up", "half_life"):
            if getattr(self, name) < 1:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must be at least 1")


class StudentTask(Task):
    """A student of the decoder, on walks of it; base: the published decoder; voices: (n, 2 * channels), those that the
    walks number.
    """

    watch = "apart"
    averaged = (MODULE,)
    Config, Data = Config, Data

    def __init__(
        self,
        base: DiffusionDecoder,
        voices: torch.Tensor,
        train: Sequence[Walk],
        validation: Sequence[Walk],
        config: Config,
    ):
        if not train or not validation:
            raise MissingDataError(
                f"there are {len(train)} walks to learn from and {len(validation)} to judge on: name more sentences"
            )
        self.config, self.base, self.voices = config, key(base), voices
        self._train, self._validation = list(train), list(validation)
        self.lengths = [published.frames_of(min(w.codes, config.codes)) for w in self._train]
        teacher, said = base, published.PREDICTION
        self.about = {"base": self.base, "teacher": "published"}
        if config.teacher:
            folder = students.find(config.teacher)
            known, teacher = students.load(folder, self.base, base)
            said = known.prediction or said
            self.about["teacher"] = folder.name
            if known.guidance < config.guidance:
                raise ParameterError(
                    f"model.guidance is {config.guidance:g}, but the teacher {folder.name} knows it up to "
                    f"{known.guidance:g}: fold it in first, or ask for less"
                )
        self.teacher, self.said = teacher.requires_grad_(False).eval(), said
        self.lessons = Lessons(config, published.NOISE, self.teacher, said, config.prediction, PUBLISHED.bound)
        student = networks.student(
            self.teacher, folded=config.guidance > 0, interval=config.method == "interval"
        )
        if config.start_from:
            _, student = students.load(students.find(config.start_from), self.base, student)
        self.modules = {MODULE: student.requires_grad_(True).train()}
        self.plain = dict(self.modules)
        optimizer = torch.optim.AdamW(
            student.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.optimizers = {MODULE: optimizer}
        self.schedulers = {
            MODULE: torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: rate(step, config.warm_up, config.half_life)
            )
        }

    @classmethod
    def build(cls, recipe: Recipe) -> StudentTask:
        """The published pipeline reads what is not in the cache yet; then only its decoder stays."""
        data, config = parse(cls.Data, recipe.data, "data"), parse(cls.Config, recipe.model, "model")
        parts = published.load(data.published or None, None)
        home, heard, found = cache_folder("walks"), [], {"train": [], "validation": []}
        sentences = {
            "validation": texts.validation(data.validation),
            "train": texts.training(data.texts, data.train),
        }
        for index, folder in enumerate(data.voices):
            voice = published.PublishedTortoise(
                parts,
                walks.clips(folder),
                candidates=data.candidates,
                sampling=replace(PUBLISHED, steps=data.steps),
                target=data.target,
            )
            heard.append(voice.voice.cpu())
            for split, wanted in sentences.items():
                found[split] += walks.collect(voice, wanted, home, index=index)
        voices = torch.from_numpy(torch.cat(heard).float().numpy().copy())  # made in inference mode
        return cls(parts.decoder.cpu(), voices, found["train"], found["validation"], config)

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        """The student as a folder that `PublishedTortoise(student=...)` and a next student take."""
        config = parse(cls.Config, recipe.model, "model")
        loaded = checkpoints.load(checkpoint, recipe)
        weights, known = loaded.of(MODULE), loaded.state.get("about", {})
        if weights is None or "base" not in known:
            raise TrainingError(
                f"checkpoint {checkpoint} holds no student: take the recipe it was trained with"
            )
        about = students.Student(
            config.method,
            config.steps,
            config.guidance,
            tuple(config.temperature),
            known["teacher"],
            known["base"],
            folded=any(name.startswith("guidance_embed") for name in weights),
            interval=any(name.startswith("until_embed") for name in weights),
            prediction=config.prediction,
            trained_steps=loaded.step,
            trained_minutes=round(loaded.state["seconds"] / 60, 4),
        )
        return students.save(folder, about, weights, card)

    def item(self, index: int, rng: np.random.Generator) -> tuple[Walk, float]:
        """The walk, and where in it the window begins, in [0, 1)."""
        return self._train[index], float(rng.random())

    def collate(self, items: list[tuple[Walk, float]]) -> Batch:
        """said: (B, codes, C); mel: (B, bands, F); voice: (B, 2 * channels); windows as long as the shortest walk."""
        codes = min(self.config.codes, *(w.codes for w, _ in items))
        said, mels = zip(*(walks.window(w, codes, place) for w, place in items))
        tensors = {
            "said": torch.from_numpy(np.stack(said)),
            "mel": torch.from_numpy(np.stack(mels)),
            "voice": self.voices[[w.voice for w, _ in items]],
        }
        return Batch(tuple(w.id for w, _ in items), len(items) * published.frames_of(codes), tensors)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        given = batch.tensors
        if next(self.teacher.parameters()).device != given["mel"].device:
            self.teacher.to(given["mel"].device)
        yield self.lessons.update(
            self.modules[MODULE], self.plain[MODULE], given["mel"], given["said"], given["voice"]
        )

    @torch.no_grad()
    def validate(self, step: int) -> Validation:
        """apart: mean distance of the mels that the student draws from those of the teacher's converged walk, from the
        same noise (the decoder's range is 2 wide); a picture of the first.
        """
        config, student, figures, apart = self.config, self.plain[MODULE], {}, []
        device = next(student.parameters()).device
        self.teacher.to(device)
        short = Sampling(
            "ddim",
            min(config.steps, JUDGED),
            min(PUBLISHED.guidance, config.guidance),
            ramp=False,
            temperature=config.temperature[0],
            bound=PUBLISHED.bound,
        )
        for one in self._validation:
            said, mel = (torch.from_numpy(value)[None].to(device) for value in one.load())
            noise = torch.randn(mel.shape, generator=torch.Generator().manual_seed(0)).to(device)
            voice = self.voices[[one.voice]].to(device)
            drawn, goal = (
                self._drawn(decoder, prediction, said, voice, noise, how)
                for decoder, prediction, how in (
                    (student, config.prediction, short),
                    (self.teacher, self.said, replace(short, steps=JUDGED)),
                )
            )
            apart.append((drawn - goal).abs().mean().item())
            if not figures:
                pair = (goal[0].T.float().cpu().numpy(), drawn[0].T.float().cpu().numpy())
                figures[one.id] = pictures.mels(*pair, f"the student's, in {short.steps} steps")
        return Validation({"apart": float(np.mean(apart))}, figures)

    def _drawn(self, decoder, prediction, said, voice, noise, how) -> torch.Tensor:
        condition = decoder.condition(said, voice, noise.shape[-1])
        return walk(decoder, published.NOISE, prediction, condition, noise, how).x0
