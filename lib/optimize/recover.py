"""How much of what pruning took can a network learn again from the whole one?

What a decoder makes is a function of what it is fed, so the whole one can be asked for the answer to any input: no
recording, no text, no jury. The pruned one learns the same waveform, sample by sample and by its spectra. That holds
for the decoder of `vits-joe` and of `hifigan` (latents in) and for the trunk of `istft` (mels in, the pulses and the
noise being the same for both).

It is a task of the training engine: seeded, killed and resumed at will, with its curves in the folder.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lib.errors import ParameterError
from lib.features import HIFIGAN, log_mel_torch
from lib.files import content_key
from lib.optimize import aware, heard
from lib.systems.model import Model
from lib.training import checkpoint as checkpoints
from lib.training import loop
from lib.training.recipe import Recipe, Settings
from lib.training.task import Batch, Task, Update, Validation
from lib.training.tasks.vocoder_losses import stft_loss

HOP = HIFIGAN.hop
DECODER, TRUNK = "VitsHifiGan", "Trunk"  # classes of networks that can be taught so


class Lesson(NamedTuple):
    """What the whole network saw of a sentence, (channels, F), and the waveform that it made of that, (F * HOP,)."""

    inputs: np.ndarray
    waveform: np.ndarray


@dataclass(frozen=True)
class Learning:
    """How the pruned network learns."""

    segment_frames: int = 48  # of a lesson in one step, 0.56 s
    context_frames: int = 8  # to either side, which the losses do not see
    learning_rate: float = 1e-3  # at first; falls along a cosine to a twentieth at the last step
    range_rate: float = 1e-2  # the same of the ranges of what rounds: logarithms, which have some tenths to go
    waveform_weight: float = 10.0  # of the mean absolute difference of samples
    stft_weight: float = 2.5  # of the distance of spectra at three resolutions
    mel_weight: float = 15.0  # of the mean absolute difference of log-mels
    validation: int = 4  # lessons, the last ones, that are kept for validation

    def __post_init__(self) -> None:
        if self.segment_frames < 16 or self.context_frames < 0 or self.validation < 1:
            raise ParameterError(
                f"{self}: the largest window needs 16 frames, no context is negative, and one lesson at least validates"
            )

    @property
    def frames(self) -> int:
        """Of a segment with its contexts."""
        return self.segment_frames + 2 * self.context_frames


USUAL = Settings(steps=1000, batch_size=4, ema=0.99, validate_every=250, checkpoint_every=250, clip_norm=10.0)


def lessons(teacher: Model, sentences: Sequence[str], *, stage: str = "", seed: int = 0) -> list[Lesson]:
    """What a stage of the whole system is fed and makes of it while the system reads sentences (ids of
    `lib.corpora.gutenberg`, or texts). stage: by default its only one that can be taught so.
    """
    stage = stage or _teachable(teacher)
    if type(teacher.modules[stage]).__name__ == DECODER:
        noted = heard.calls(teacher, [stage], sentences, seed=seed)[stage]
        pairs = [(call.arguments[0][0], call.output[0, 0]) for call in noted]
    else:  # a trunk's mel is that of the pitch network beside it, too
        pitch = stage.removesuffix("trunk") + "pitch"
        noted = heard.calls(teacher, [pitch], sentences, seed=seed)[pitch]
        mels = [call.arguments[0] for call in noted]
        pairs = [(mel[0].T, _render(teacher.modules, stage, teacher.modules[stage], mel.mT)[0]) for mel in mels]
    return [Lesson(x.detach().cpu().numpy(), y.detach().float().cpu().numpy()) for x, y in pairs]


def recover(
    variant: Model,
    teacher: Model,
    taught: Sequence[Lesson],
    folder: str | Path,
    *,
    stage: str = "",
    learning: Learning = Learning(),
    training: Settings = USUAL,
    name: str = "",
) -> Model:
    """A variant whose pruned stage has learnt from the whole one; the given one stays as it is.

    taught: of `lessons`; folder: of the run, which goes on where it stopped; name: by default "<variant>+recovered".
    Raises StoppedError where the training is ended from outside.
    Its `made["recovery"]` says how it learnt; it is saved and loaded as the one it was made from.
    """
    stage = stage or _teachable(variant)
    if variant.made is None:
        raise ParameterError(
            f"{variant.name} {variant.variant} was not made by a technique: nothing is to be recovered"
        )
    other = variant.derive(name or f"{variant.variant}+recovered", lambda system: None)
    task = Recovery(other, teacher, stage, taught, learning, training)
    keys = {"pupil": variant.weights_key(), "teacher": teacher.weights_key(), "stage": stage}
    data = {"lessons": content_key(*(x.tobytes() for lesson in taught for x in lesson))}
    recipe = Recipe("recovery", training, {**dataclasses.asdict(learning), **keys}, data)
    outcome = loop.train(task, recipe, folder)
    outcome.check_whole(training.steps)
    network = other.modules[stage]
    network.load_state_dict(checkpoints.load(outcome.checkpoint, recipe).of("pupil"))
    network.to(next(variant.modules[stage].parameters()).device).eval().requires_grad_(False)
    other._changed()
    other.made = {**variant.made, "recovery": _told(outcome, stage, len(taught), learning, training)}
    return other


class Recovery(Task):
    """The task: `pupil` learns what `teacher`'s stage does."""

    kind, watch, averaged = "vocoder", "mel_l1", ("pupil",)

    def __init__(
        self,
        pupil: Model,
        teacher: Model,
        stage: str,
        taught: Sequence[Lesson],
        learning: Learning,
        training: Settings,
    ):
        self.learning, self.stage = learning, stage
        self.train, self.validation = taught[: -learning.validation], taught[-learning.validation :]
        self.train = [lesson for lesson in self.train if lesson.inputs.shape[1] >= learning.frames]
        if not self.train:
            raise ParameterError(
                f"{len(taught)} lessons, of which {learning.validation} validate, hold none of {learning.frames} "
                "frames to learn from: give more or longer sentences, or shorter segments"
            )
        self.teacher = {name: copy.deepcopy(teacher.modules[name]) for name in _beside(teacher, stage)}
        self.lengths = [learning.segment_frames] * len(self.train)
        self.modules = {"pupil": pupil.modules[stage].requires_grad_(True)}
        self.plain = dict(self.modules)
        optimizer = torch.optim.AdamW(
            _groups(self.modules["pupil"], learning), learning.learning_rate, betas=(0.8, 0.99)
        )
        self.optimizers = {"pupil": optimizer}

        def rate(step: int) -> float:
            return 0.05 + 0.475 * (1 + float(np.cos(np.pi * min(1.0, step / training.steps))))

        self.schedulers = {"pupil": torch.optim.lr_scheduler.LambdaLR(optimizer, rate)}

    def item(self, index: int, rng: np.random.Generator) -> tuple[int, np.ndarray, np.ndarray]:
        lesson, length = self.train[index], self.learning.frames
        begin = int(rng.integers(lesson.inputs.shape[1] - length + 1))
        waveform = lesson.waveform[begin * HOP : (begin + length) * HOP]
        return index, lesson.inputs[:, begin : begin + length], waveform

    def collate(self, items: list[tuple[int, np.ndarray, np.ndarray]]) -> Batch:
        ids, inputs, waveforms = zip(*items)
        tensors = {
            "inputs": torch.from_numpy(np.stack(inputs)),
            "waveform": torch.from_numpy(np.stack(waveforms)),
        }
        return Batch(tuple(map(str, ids)), len(items) * self.learning.segment_frames, tensors)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        inputs = batch.tensors["inputs"]  # (B, channels, segment and contexts)
        cut = slice(self.learning.context_frames * HOP, -self.learning.context_frames * HOP or None)
        fake = _render(self.teacher, self.stage, self.modules["pupil"], inputs)[:, cut]
        real = batch.tensors["waveform"]
        if type(self.plain["pupil"]).__name__ == TRUNK:  # the pulses of a cut begin anew: so does the answer
            with torch.no_grad():
                real = _render(self.teacher, self.stage, self.teacher[self.stage].to(inputs.device), inputs)
        parts = distances(fake, real[:, cut])
        loss = sum(getattr(self.learning, f"{name}_weight") * value for name, value in parts.items())
        yield Update(loss, ("pupil",), {name: value.detach() for name, value in parts.items()})

    def validate(self, step: int) -> Validation:
        """The distances on whole sentences that it does not learn from."""
        totals: dict[str, list[float]] = {}
        for lesson in self.validation:
            inputs = torch.from_numpy(lesson.inputs)[None].to(next(self.plain["pupil"].parameters()).device)
            fake = _render(self.teacher, self.stage, self.plain["pupil"], inputs)
            real = torch.from_numpy(lesson.waveform)[None].to(fake)
            for name, value in distances(fake, real).items():
                totals.setdefault(name, []).append(float(value))
        means = {f"{name}_l1" if name != "stft" else name: float(np.mean(v)) for name, v in totals.items()}
        return Validation(means)


def _groups(network: nn.Module, learning: Learning) -> list[dict[str, Any]]:
    """A network's parameters as its optimizer takes them: ranges apart, at a rate of their own, and without weight
    decay, which would widen them: it draws a logarithm of less than 0 upwards.
    """
    ranges = aware.ranges(network)
    known = set(map(id, ranges))
    groups = [{"params": [p for p in network.parameters() if id(p) not in known]}]
    if ranges:
        groups.append({"params": ranges, "lr": learning.range_rate, "weight_decay": 0.0})
    return groups


def distances(fake: torch.Tensor, real: torch.Tensor) -> dict[str, torch.Tensor]:
    """Of (B, n_samples): "waveform", "stft" and "mel", each a mean."""
    return {
        "waveform": F.l1_loss(fake, real),
        "stft": stft_loss(fake, real),
        "mel": F.l1_loss(log_mel_torch(fake), log_mel_torch(real)),
    }


def _render(
    teacher: Mapping[str, nn.Module], stage: str, network: nn.Module, inputs: torch.Tensor
) -> torch.Tensor:
    """(B, F * HOP): what a stage's network makes of inputs (B, channels, F), a trunk with what the teacher's networks
    beside it add.
    """
    if not stage.endswith("trunk"):
        return network(inputs)[:, 0]
    from lib.systems import istft

    prefix = stage.removesuffix("trunk")
    others = {name: teacher[f"{prefix}{name}"].to(inputs.device) for name in ("pitch", "noise")}
    return istft.decode({**others, "trunk": network}, inputs.transpose(1, 2))


def _beside(teacher: Model, stage: str) -> list[str]:
    """The teacher's networks that are asked while a stage learns: none for a decoder, whose answers are known."""
    if type(teacher.modules[stage]).__name__ != TRUNK:
        return []
    prefix = stage.removesuffix("trunk")
    return [stage, f"{prefix}pitch", f"{prefix}noise"]


def _teachable(system: Model) -> str:
    """The stage that can be taught: the one decoder, or trunk."""
    stages = [s for s, network in system.modules.items() if type(network).__name__ in (DECODER, TRUNK)]
    if len(stages) != 1:
        raise ParameterError(
            f"{system.name} on {system.target} has {len(stages)} networks that a whole one can teach (decoders built "
            f"like that of vits-joe, trunks of istft), among {', '.join(system.modules) or 'none'}: name the `stage`"
        )
    return stages[0]


def _told(outcome: Any, stage: str, n: int, learning: Learning, training: Settings) -> dict[str, Any]:
    return {
        "stage": stage,
        "lessons": n,
        "steps": outcome.step,
        "seconds": round(outcome.seconds, 1),
        "threads": outcome.threads,
        "batch_size": training.batch_size,
        "seed": training.seed,
        **dataclasses.asdict(learning),
        "reached": {name: round(value, 4) for name, value in outcome.validation.items()},
    }
