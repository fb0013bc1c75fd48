"""How do losses reach the journal, and how is a NaN noticed, without asking a GPU at every step?

A number on a GPU is known only when everything ordered before it is done, so to ask for it is to wait. Losses and
gradient norms therefore stay where they are and come to the processor together, in one transfer, where the loop
writes a record, validates or saves. On the CPU asking costs nothing, and a NaN stops the step that made it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from lib.errors import DivergedError


class Scalars:
    """Named scalars of the steps since the last record."""

    def __init__(self) -> None:
        self._values: dict[str, list[torch.Tensor]] = {}

    def add(self, name: str, value: torch.Tensor) -> None:
        """Keep a scalar tensor, on whatever device it is."""
        self._values.setdefault(name, []).append(value.detach())

    def means(self) -> dict[str, float]:
        """Name -> mean of what was added since the last call, in the order in which the names first came."""
        values, self._values = self._values, {}
        numbers = iter(on_host([v for column in values.values() for v in column]))
        return {name: sum(next(numbers) for _ in column) / len(column) for name, column in values.items()}


class Suspect(NamedTuple):
    """A number that must be finite, and what to say if it is not."""

    what: str  # "loss" or "gradient"
    value: torch.Tensor
    optimizers: tuple[str, ...]
    step: int
    ids: tuple[str, ...]  # the utterances it came from


class Guard:
    """Stops a run whose losses or gradients are no longer numbers before anything of it is saved.

    at_once: look at each number as it comes, so that it does not reach the weights either; otherwise (on a GPU) only
    when `look` is called, which has to happen before each checkpoint. kept: says which checkpoint is intact.
    """

    def __init__(self, kept: Callable[[], str], *, at_once: bool):
        self._kept, self._at_once = kept, at_once
        self._suspects: list[Suspect] = []

    def add(self, suspect: Suspect) -> None:
        """Watch this number."""
        self._suspects.append(suspect)
        if self._at_once:
            self.look()

    def look(self) -> None:
        """Raise DivergedError, naming step and utterances, where one of the numbers is NaN or infinite."""
        suspects, self._suspects = self._suspects, []
        for suspect, number in zip(suspects, on_host([s.value for s in suspects])):
            if not abs(number) < float("inf"):
                raise DivergedError(
                    f"the {suspect.what} for {', '.join(suspect.optimizers)} is {number} at step {suspect.step}, on "
                    f"utterances {', '.join(suspect.ids)}: look at these clips, or lower the learning rate; "
                    f"{self._kept()}"
                )


def on_host(values: Sequence[torch.Tensor]) -> list[float]:
    """Scalar tensors as numbers, moved from their device together."""
    if not values:
        return []
    device = max((v.device for v in values), key=lambda d: d.type != "cpu")
    return torch.stack([v.detach().to(device, torch.float32).reshape(()) for v in values]).tolist()
