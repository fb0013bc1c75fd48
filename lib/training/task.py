"""What does a model bring to be trained? Its networks, its data and its losses; the loop (`loop.py`) brings
everything else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.corpora.base import Corpus, Utterance
from lib.errors import MissingDataError


@dataclass(frozen=True)
class Batch:
    """What one forward pass sees. ids: utterances in it, for error messages; frames: how many real (not padded)
    ones it holds.
    """

    ids: tuple[str, ...]
    frames: int
    tensors: dict[str, torch.Tensor]

    def to(self, device: torch.device) -> "Batch":
        """The batch on `device`."""
        return Batch(
            self.ids, self.frames, {name: t.to(device, non_blocking=True) for name, t in self.tensors.items()}
        )


@dataclass(frozen=True)
class Update:
    """A loss and the optimizers that follow it: the loop computes gradients for their parameters alone, then
    steps them.

    loss: scalar; scalars: its parts, for the learning curve.
    """

    loss: torch.Tensor
    optimizers: tuple[str, ...]
    scalars: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """scalars: name -> mean over the validation split; figures: name -> matplotlib figure; audio: name ->
    (waveform, rate).
    """

    scalars: dict[str, float]
    figures: dict[str, Any] = field(default_factory=dict)
    audio: dict[str, tuple[np.ndarray, int]] = field(default_factory=dict)


class Task(ABC):
    """One model being trained on one corpus.

    During a run `modules` holds the networks as Accelerate wrapped them (call these where gradients are wanted) and
    `plain` the networks themselves (call these where a network is only passed through, and for validation).
    """

    modules: dict[str, nn.Module]  # all that is trained or saved, by name
    plain: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    schedulers: dict[str, torch.optim.lr_scheduler.LRScheduler] = {}  # stepped once per training step
    averaged: tuple[str, ...] = ()  # modules whose moving average is kept where the recipe asks for one
    watch: str  # the validation scalar that early stopping looks at; lower is better
    lengths: Sequence[int]  # frames of each training item: items of like length share a batch

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
