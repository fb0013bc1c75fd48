"""Which system does a recipe train? The one table of trainable systems."""

from __future__ import annotations

import importlib

from lib.errors import unknown
from lib.training.recipe import Recipe
from lib.training.task import Task

# Name in recipes -> module and its builder `(recipe) -> Task`. A new trainable system is one file and one line here.
_BUILDERS = {
    "fastspeech2": ("lib.training.fastspeech2", "build"),
    "hifigan": ("lib.training.hifigan", "build"),
    "istft": ("lib.training.istft", "build"),
    "speecht5": ("lib.training.speecht5", "build"),
    "tacotron2": ("lib.training.tacotron2", "build"),
    "tortoise": ("lib.training.tortoise", "build"),
}


def names() -> list[str]:
    """The systems that can be trained."""
    return sorted(_BUILDERS)


def build(recipe: Recipe) -> Task:
    """The recipe's task on the recipe's data, ready for `loop.train`; raises ParameterError for an unknown one."""
    if recipe.task not in _BUILDERS:
        raise unknown("task", recipe.task, _BUILDERS)
    module, function = _BUILDERS[recipe.task]
    return getattr(importlib.import_module(module), function)(recipe)
