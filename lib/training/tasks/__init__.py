"""Which system does a recipe train? The one table of trainable systems."""

from __future__ import annotations

import importlib
from pathlib import Path

from lib.errors import unknown
from lib.training.recipe import Recipe
from lib.training.task import Task

# Name in recipes -> its class, a `task.Task`. A new trainable system is one file and one line here.
_TASKS = {
    "fastspeech2": "lib.training.tasks.fastspeech2:AcousticTask",
    "hibari-small": "lib.training.tasks.hibari_small:HibariSmallTask",
    "hibari-vocoder": "lib.training.tasks.hibari_vocoder:HibariVocoderTask",
    "hifigan": "lib.training.tasks.hifigan:VocoderTask",
    "istft": "lib.training.tasks.istft:IstftTask",
    "speecht5": "lib.training.tasks.speecht5:AcousticTask",
    "tacotron2": "lib.training.tasks.tacotron2:AcousticTask",
    "vits": "lib.training.tasks.vits:VitsTask",
    "tortoise": "lib.training.tasks.tortoise:AcousticTask",
    "vits-joe-reader": "lib.training.tasks.vits_joe_reader:ReaderTask",
    "tortoise-student": "lib.training.tasks.tortoise_student:StudentTask",
    "tortoise-published-student": "lib.training.tasks.tortoise_published_student:StudentTask",
}


def names() -> list[str]:
    """The systems that can be trained."""
    return sorted(_TASKS)


def find(name: str) -> type[Task]:
    """The class of a task: its `Config`, what becomes of it (`kind`), how it is built and exported. ParameterError for
    an unknown one.
    """
    if name not in _TASKS:
        raise unknown("task", name, _TASKS)
    module, attribute = _TASKS[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def build(recipe: Recipe) -> Task:
    """The recipe's task on the recipe's data, ready for `loop.train`."""
    return find(recipe.task).build(recipe)


def export(recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
    """A checkpoint of the recipe's run as a folder that its system loads; returns the folder (see `Task.export`)."""
    return find(recipe.task).export(recipe, checkpoint, folder, card)
