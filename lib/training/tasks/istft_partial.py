"""How does `istft` learn without one of its parts? As it always does, its trunk changed before it is heard.

Only the ablation (`lib.studies.vocoder_parts`) trains it: no recipe names this task, and what comes out of it
is no `istft` that anything else would load.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lib.corpora.base import Corpus
from lib.systems.istft import denial, partial
from lib.training import checkpoint as checkpoints
from lib.training.recipe import Recipe, narrowed, parse
from lib.training.tasks import istft


@dataclass(frozen=True)
class Learning(istft.Learning):
    """The recipe's `model` part, with what the network lacks."""

    without: tuple[str, ...] = ()  # names of `partial.REMOVABLE`

    @property
    def network(self) -> partial.PartialConfig:
        return narrowed(self, partial.PartialConfig)


class PartialTask(istft.IstftTask):
    """As `istft`'s own task, for recipes of that task with `without` in their `model` part."""

    Config = Learning

    def __init__(self, corpus: Corpus, config: Learning):
        super().__init__(corpus, config)
        denial.deny(self.modules["trunk"], config.without)

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        """As `Task.export`, without what a training would go on from."""
        loaded = checkpoints.load(checkpoint, recipe)
        config = parse(Learning, recipe.model, "model").network
        return partial.PARTS.save(folder, config, {name: loaded.of(name) for name in ("pitch", "trunk")}, card)
