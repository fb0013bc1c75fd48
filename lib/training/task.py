"""What does a model bring to be trained? Its networks, its data and its losses; the loop (`loop.py`) brings
everything else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from lib.corpora.base import Corpus, Utterance
from lib.errors import MissingDataError, ParameterError
from lib.training import sources
from lib.training.recipe import Recipe, parse


@dataclass(frozen=True)
class Batch:
    """What one forward pass sees."""

    ids: tuple[str, ...]  # of the utterances in it, for error messages
    frames: int  # how many real (not padded) ones it holds
    tensors: dict[str, torch.Tensor]

    def pinned(self) -> Batch:
        """The batch in memory that a GPU copies from by itself, while the processor goes on."""
        return replace(self, tensors={name: t.pin_memory() for name, t in self.tensors.items()})

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`; a pinned one is still on its way when this returns."""
        return replace(
            self, tensors={name: t.to(device, non_blocking=True) for name, t in self.tensors.items()}
        )


@dataclass(frozen=True)
class Update:
    """A loss and the optimizers that follow it: the loop computes gradients for their parameters alone, then
    steps them.
    """

    loss: torch.Tensor  # scalar
    optimizers: tuple[str, ...]  # names in `Task.optimizers`
    scalars: dict[str, torch.Tensor] = field(default_factory=dict)  # its parts, for the learning curve


@dataclass(frozen=True)
class Validation:
    """What a validation says, shows and lets hear, by name."""

    scalars: dict[str, float]  # means over the validation split
    figures: dict[str, Any] = field(default_factory=dict)  # matplotlib figures
    audio: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)  # (waveform, rate)


class Task(ABC):
    """One model being trained on one corpus.

    During a run `modules` holds the networks as Accelerate wrapped them (call these where gradients are wanted) and
    `plain` the networks themselves (call these where a network is only passed through, and for validation).
    """

    kind: ClassVar[str] = "speech"  # what becomes of it: "speech" from text, or a "vocoder"
    Config: ClassVar[type]  # the dataclass of the recipe's `model` part
    Data: ClassVar[type] = sources.Data  # the same of its `data` part

    modules: dict[str, nn.Module]  # all that is trained or saved, by name
    plain: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    schedulers: dict[str, torch.optim.lr_scheduler.LRScheduler] = {}  # stepped once per training step
    averaged: tuple[str, ...] = ()  # modules whose moving average is kept where the recipe asks for one
    watch: str  # the validation scalar that early stopping looks at; lower is better
    lengths: Sequence[int]  # frames of each training item: items of like length share a batch
    about: dict[
        str, Any
    ] = {}  # what its export needs and no recipe holds: plain values, kept in each checkpoint

    @classmethod
    def build(cls, recipe: Recipe) -> Task:
        """The task of a recipe: its corpus (made and measured where the cache lacks it) and the networks."""
        return cls(cls.corpus(recipe), parse(cls.Config, recipe.model, "model"))

    @classmethod
    def corpus(cls, recipe: Recipe) -> Corpus:
        """What the recipe's `data` part stands for."""
        return sources.corpus(parse(cls.Data, recipe.data, "data"))

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        """Turn a checkpoint of the recipe's run, averaged weights if it has them, into a folder that a system loads.

        card: what the README.md beside the weights says. Raises TrainingError where the checkpoint is of another
        network than the recipe's. Tasks without a system to become leave it out.
        """
        raise ParameterError(f"{recipe.task} trains, but becomes no system that could be exported")

    @abstractmethod
    def item(self, index: int, rng: np.random.Generator) -> Any:
        """Load training item `index`; every random choice comes from `rng`. Runs in a thread: NumPy, no torch."""

    @abstractmethod
    def collate(self, items: list[Any]) -> Batch:
        """Items to one batch of CPU tensors. Runs in a thread."""

    @abstractmethod
    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        """The losses of a step, in order; each is followed before the next one is computed.

        A GAN yields its discriminators' loss, then, against the discriminators just updated, its generator's.
        """

    @abstractmethod
    def validate(self, step: int) -> Validation:
        """Judge the networks (in evaluation mode, averaged weights in place if there are any) on the validation
        split.
        """


def split(corpus: Corpus, name: str) -> tuple[Utterance, ...]:
    """The utterances of a split, or an error where there are none."""
    utterances = corpus.split(name)
    if not utterances:
        raise MissingDataError(
            f"the {name} split of corpus {corpus.name} is empty: nothing to train or judge on; "
            f"it holds {len(corpus)} utterances in all and skipped {len(corpus.skipped)}"
        )
    return utterances
