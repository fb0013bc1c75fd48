"""How is a training run described? By one YAML file with four parts, every key checked, its identity kept
beside the weights.

task: hifigan                     which system trains (see `tasks/__init__.py`)
data: {voices: [vits-joe], ...}   what it hears (`Task.Data`)
model: {...}                      the system's own configuration
training: {steps: 2000, ...}      the loop's (`Settings`)
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from lib import REPOSITORY, params
from lib.errors import MissingDataError, ParameterError, unknown
from lib.files import content_key

Config = TypeVar("Config")
PARTS = ("task", "data", "model", "training")
PRECISIONS = ("fp32", "bf16", "fp16")
# What may change between a checkpoint and its continuation: how long and how often, not what is computed.
FREE = (
    "steps",
    "minutes",
    "checkpoint_every",
    "keep",
    "validate_every",
    "log_every",
    "patience",
    "target",
    "loader_threads",
)
# Settings younger than the oldest checkpoints: no part of the identity while they have these values, so that what
# was trained before they existed stays valid.
YOUNGER = {"tf32": True}


@dataclass(frozen=True)
class Settings:
    """The loop's part of a recipe. Zero switches a thing off."""

    steps: int  # optimizer steps in all
    batch_size: int = 16  # items per process and forward pass
    max_frames: int = 0  # of a batch after padding (0: any)
    accumulate: int = 1  # forward passes per step
    precision: str = "fp32"  # of `PRECISIONS`; fp16 needs a GPU
    tf32: bool = True  # on a GPU, float32 products in TF32; nothing elsewhere (see `hardware.py`)
    seed: int = 0  # of dropout, crops, and the order of the data
    ema: float = 0.0  # decay of the averaged weights, in [0, 1)
    clip_norm: float = 0.0  # largest norm of each optimizer's gradients
    checkpoint_every: int = 500  # steps
    keep: int = 2  # newest checkpoints that stay, beside the best one
    validate_every: int = 500  # steps
    log_every: int = 10  # steps; on a GPU also how often the loop waits for it
    patience: int = 0  # validations without a better `watch` before it stops
    target: float = 0.0  # it stops at the first validation whose `watch` is as low as this
    minutes: float = 0.0  # wall-clock budget of one call
    loader_threads: int = 1  # batches prepared at the same time

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        for name in (
            "steps",
            "batch_size",
            "accumulate",
            "checkpoint_every",
            "keep",
            "log_every",
            "loader_threads",
        ):
            if not getattr(self, name) >= 1:  # refuses NaN, too
                raise ParameterError(f"training.{name} is {getattr(self, name)}, it must be at least 1")
        for name in ("max_frames", "clip_norm", "validate_every", "patience", "target", "minutes"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ParameterError(
                    f"training.{name} is {getattr(self, name)}, it must not be negative or without end (0: off)"
                )
        if not 0 <= self.ema < 1:
            raise ParameterError(f"training.ema is {self.ema}, a decay lies in [0, 1)")
        for name in ("patience", "target"):
            if getattr(self, name) and not self.validate_every:
                raise ParameterError(
                    f"training.{name} is {getattr(self, name)}, but training.validate_every is 0: without "
                    "validations nothing can be compared with it"
                )


@dataclass(frozen=True)
class Recipe:
    """A training run in words."""

    task: str  # which system trains, a name of `tasks.names()`
    training: Settings  # the loop's part
    model: dict[str, Any] = field(default_factory=dict)  # the task turns it into its own dataclass
    data: dict[str, Any] = field(default_factory=dict)  # becomes `Task.Data`

    def identity(self) -> dict[str, Any]:
        """Everything that the weights depend on, flat: "model.width" -> 64."""
        training = {
            name: value
            for name, value in dataclasses.asdict(self.training).items()
            if name not in FREE and not (name in YOUNGER and value == YOUNGER[name])
        }
        flat = {
            f"{part}.{key}": value
            for part, values in (("data", self.data), ("model", self.model), ("training", training))
            for key, value in values.items()
        }
        return {"task": self.task, **flat}

    def key(self) -> str:
        """The hash of `identity`, saved beside the weights."""
        return content_key(self.identity())


def load(file: str | Path) -> Recipe:
    """Read a recipe. Raises MissingDataError for no file, ParameterError for bad YAML, unknown keys and wrong types."""
    import yaml

    path = Path(file)
    if not path.is_file():
        raise MissingDataError(f"no recipe at {path}; those of a profile lie in params/<profile>/recipes/")
    try:
        parts = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(parts, dict) or not {"task", "training"} <= parts.keys():
        raise ParameterError(f"{path} is no recipe: it needs the parts `task` and `training`")
    for name, value in parts.items():
        if name not in PARTS:
            raise unknown(f"part of recipe {path.name}", name, PARTS)
        if not isinstance(value, str if name == "task" else dict):
            raise ParameterError(
                f"{path}: `{name}` must hold {'a name' if name == 'task' else '`key: value` lines'}"
            )
    return Recipe(
        parts["task"],
        parse(Settings, parts["training"], "training"),
        parts.get("model", {}),
        parts.get("data", {}),
    )


def path(profile: str, task: str) -> Path:
    """Where a profile's recipe of a task lies: params/<profile>/recipes/<task>.yaml."""
    return REPOSITORY / "params" / params.check_profile(profile) / "recipes" / f"{task}.yaml"


def find(profile: str, task: str) -> Recipe:
    """A profile's recipe of a task."""
    return load(path(profile, task))


def narrowed(whole: Any, kind: type[Config]) -> Config:
    """The part of a configuration that a dataclass, which it extends, has."""
    return kind(**{f.name: getattr(whole, f.name) for f in dataclasses.fields(kind)})


def parse(config: type[Config], values: dict[str, Any], part: str) -> Config:
    """Build a dataclass from a mapping; an unknown, missing or mistyped key is named with its part."""
    fields = {f.name: f for f in dataclasses.fields(config)}
    hints = typing.get_type_hints(config)
    given = {}
    for name, value in values.items():
        if name not in fields:
            raise unknown(f"key of the recipe's {part}", name, fields)
        kind = typing.get_origin(hints[name]) or hints[name]
        if kind is float and type(value) is int:
            value = float(value)
        if kind is tuple and isinstance(value, list):
            value = tuple(value)
        if isinstance(kind, type) and (
            not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        ):
            hint = (
                " (YAML reads 1e-4 as text: write 1.0e-4)" if kind is float and isinstance(value, str) else ""
            )
            raise ParameterError(f"{part}.{name} is {value!r}, it must be of type {kind.__name__}{hint}")
        given[name] = value
    missing = [
        name
        for name, f in fields.items()
        if name not in given and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ParameterError(f"the recipe's {part} lacks {', '.join(missing)}")
    return config(**given)
