"""What do all acoustic models share in training? Targets, voices, standardised batches, a schedule, publishing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from lib.corpora.base import Corpus
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN
from lib.training import checkpoint as checkpoints
from lib.training import sources
from lib.training.recipe import Recipe, narrowed, parse
from lib.training.task import Batch, Task
from lib.training.tasks import acoustic_data
from lib.training.tasks.acoustic_data import Example

MODULE = "acoustic_model"
Sizes = TypeVar("Sizes")


@dataclass(frozen=True)
class Learning:
    """The keys that every acoustic model's recipe has in its `model` part, beside the sizes of its network."""

    Network: ClassVar[type]  # the dataclass of those sizes
    learning_rate: float = 1e-3  # the highest
    warm_up: int = 400  # steps over which the learning rate rises to it
    half_life: int = 10_000  # steps in which it halves from then on
    weight_decay: float = 1e-2  # of the optimizer
    seed: int = 0  # of the first weights
    start_from: str = (
        ""  # a checkpoint of `lib.zoo`, or a folder, that the training goes on from ("": random weights)
    )

    def check_schedule(self) -> None:
        """Refuse what `rate` cannot divide by."""
        if self.warm_up < 1 or self.half_life < 1:
            raise ParameterError(
                f"model.warm_up and model.half_life are {self.warm_up} and {self.half_life}: both count steps, from 1"
            )

    @property
    def network(self) -> Any:
        """The part that the finished network needs."""
        return self.sizes(self.Network)

    def sizes(self, kind: type[Sizes]) -> Sizes:
        """The part of the recipe that another dataclass holds."""
        return narrowed(self, kind)


class AcousticTask(Task):
    """Text to mel on any corpus, with as many voices as its train split has speakers. Subclasses bring the network,
    which `begin` makes and `follow` trains.

    frames_per_step: mels are made whole steps long by repeating their last frame, which counts as real then.
    """

    watch = "mel"
    averaged = (MODULE,)
    system: ClassVar[
        ModuleType
    ]  # of `lib.systems`, whose `checkpoints.save` makes the folder that is published

    betas: ClassVar[tuple[float, float]] = (0.9, 0.98)  # of AdamW

    def __init__(self, corpus: Corpus, config: Learning, *, frames_per_step: int = 1):
        self.config, self.frames_per_step = config, frames_per_step
        self.examples = acoustic_data.examples(corpus, "train")
        self.validation = acoustic_data.examples(corpus, "validation")
        self.statistics = acoustic_data.statistics(self.examples)
        self.speakers = self.statistics.speakers
        if strangers := {e.speaker for e in self.validation} - set(self.speakers):
            raise MissingDataError(
                f"the validation split of corpus {corpus.name} has speakers that are not in its train split: "
                f"{', '.join(sorted(strangers)[:5])}; split by sentence, not by speaker"
            )
        self.lengths = [e.n_frames for e in self.examples]

    @property
    def about(self) -> dict[str, list[str]]:
        """Whose rows the table of voices has, in order: a recipe on a public corpus does not know them."""
        return {"speakers": list(self.speakers)}

    @classmethod
    def untrained(cls, config: Any, speakers: tuple[str, ...]) -> tuple[Any, tuple[str, ...], torch.nn.Module]:
        """What the recipe's `model` part becomes in the finished system: the network's own configuration, the speakers
        that it knows, and the network itself with random weights.
        """
        return config.network, speakers, cls.system.checkpoints.build(config.network, len(speakers))

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        loaded = checkpoints.load(checkpoint, recipe)
        # Checkpoints older than `Task.about` are of recipes whose speakers are the voices.
        voices = loaded.state.get("about", {}).get("speakers") or sorted(recipe.data.get("voices", ()))
        config, speakers, network = cls.untrained(parse(cls.Config, recipe.model, "model"), tuple(voices))
        weights, expected = loaded.of(MODULE), network.state_dict()
        if weights is None or {k: v.shape for k, v in weights.items()} != {
            k: v.shape for k, v in expected.items()
        }:
            raise TrainingError(
                f"checkpoint {checkpoint} is of another network than {cls.system.__name__} makes now of this "
                f"configuration with {len(speakers)} speakers: take the recipe it was trained with"
            )
        return cls.system.checkpoints.save(folder, config, speakers, weights, card)

    def begin(self) -> torch.nn.Module:
        """The network as the recipe has it begin, with random weights or those of `start_from`, and its statistics."""
        sizes = self.config.network
        network = self.system.checkpoints.build(sizes, len(self.speakers), self.config.seed)
        if self.config.start_from:
            self.start(network, sizes)
        self.statistics.hand_to(network)
        return network

    def start(self, network: torch.nn.Module, sizes: Any) -> None:
        """Go on from the trained network of `start_from`, and from the statistics that it was trained with.

        Raises TrainingError where its sizes or speakers are not the recipe's.
        """
        folder = sources.start(self.config.start_from)
        trained_sizes, speakers, trained = self.system.checkpoints.load(folder)
        if trained_sizes != sizes or speakers != self.speakers:
            raise TrainingError(
                f"the network in {folder} has other sizes or speakers ({', '.join(speakers)}) than the recipe's "
                f"({', '.join(self.speakers)}): take its own `model` and `voices`, or another start_from"
            )
        network.load_state_dict(trained.state_dict())
        self.statistics = self.statistics.taken_from(trained)

    def follow(self, network: torch.nn.Module) -> None:
        """Train what may learn of this network, on the schedule of `rate`."""
        self.modules = {MODULE: network}
        self.plain = dict(self.modules)
        optimizer = self.optimizer([p for p in network.parameters() if p.requires_grad])
        warm_up, half_life = self.config.warm_up, self.config.half_life
        self.optimizers = {MODULE: optimizer}
        self.schedulers = {
            MODULE: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, warm_up, half_life))
        }

    def optimizer(self, learning: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """What changes these weights."""
        config = self.config
        return torch.optim.AdamW(
            learning, config.learning_rate, betas=self.betas, weight_decay=config.weight_decay
        )

    def item(self, index: int, rng: np.random.Generator) -> tuple[Example, np.ndarray]:
        """The example and its mel."""
        return self.examples[index], self.examples[index].mel()

    def collate(self, items: list[tuple[Example, np.ndarray]]) -> Batch:
        """Examples with their mels, see `collated`."""
        return collated(items, self.statistics, self.speakers, self.frames_per_step)


def collated(
    items: list[tuple[Example, np.ndarray]],
    statistics: acoustic_data.Statistics,
    speakers: tuple[str, ...],
    frames_per_step: int = 1,
) -> Batch:
    """ids, frames: (B, T); mel: (B, F, n_bands) standardised; mask: (B, F) 1 where real; speakers: (B,), rows of the
    network's table of voices.
    """
    examples, step = [e for e, _ in items], frames_per_step
    whole = [-(-e.n_frames // step) * step for e in examples]  # frames in whole steps
    shape = (len(items), max(len(e.ids) for e in examples))
    ids, frames = np.zeros(shape, np.int64), np.zeros(shape, np.int64)  # (B, T)
    mask = np.zeros((len(items), max(whole)), np.float32)  # (B, F)
    mel = np.zeros((*mask.shape, HIFIGAN.n_bands), np.float32)  # (B, F, n_bands)
    for row, ((e, target), end) in enumerate(zip(items, whole)):
        ids[row, : len(e.ids)], frames[row, : len(e.ids)] = e.ids, e.frames
        mel[row, :end] = statistics.standardised(target)[np.minimum(np.arange(end), e.n_frames - 1)]
        mask[row, :end] = 1
    voices = np.array([speakers.index(e.speaker) for e in examples], np.int64)  # (B,)
    tensors = {"ids": ids, "frames": frames, "mel": mel, "mask": mask, "speakers": voices}
    return Batch(
        tuple(e.id for e in examples),
        sum(e.n_frames for e in examples),
        {name: torch.from_numpy(values) for name, values in tensors.items()},
    )


def rate(step: int, warm_up: int, half_life: int) -> float:
    """Factor of the learning rate: it rises over `warm_up` steps, then halves every `half_life` steps."""
    return min(1.0, (step + 1) / warm_up) * 0.5 ** (max(0, step - warm_up) / half_life)
