"""How is a training run described? By one YAML file with four parts, every key checked, its identity kept
beside the weights.

task: hifigan                     which system trains (see `tasks.py`)
data: {voices: [vits-joe], ...}   what it hears (`sources.Data`)
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
    "loader_threads",
)


@dataclass(frozen=True)
class Settings:
    """The loop's part of a recipe. Zero switches a thing off.

    batch_size: items per process and forward pass; max_frames: of a batch after padding (0: any);
    accumulate: forward passes per step; ema: decay of the averaged weights; clip_norm: of the gradients;
    patience: validations without a better `watch` before it stops; minutes: wall-clock budget of one call;
    loader_threads: batches prepared at the same time.
    """

    steps: int
    batch_size: int = 16
    max_frames: int = 0
    accumulate: int = 1
    precision: str = "fp32"
    seed: int = 0
    ema: float = 0.0
    clip_norm: float = 0.0
    checkpoint_every: int = 500
    keep: int = 2
    validate_every: int = 500
    log_every: int = 10
    patience: int = 0
    minutes: float = 0.0
    loader_threads: int = 1

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
            if getattr(self, name) < 1:
                raise ParameterError(f"training.{name} is {getattr(self, name)}, it must be at least 1")
        if not 0 <= self.ema < 1:
            raise ParameterError(f"training.ema is {self.ema}, a decay lies in [0, 1)")


@dataclass(frozen=True)
class Recipe:
    """A training run in words. data, model: mappings that the source and the task turn into their own dataclasses."""

    task: str
    training: Settings
    model: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Everything that the weights depend on, flat: "model.width" -> 64."""
        training = {k: v for k, v in dataclasses.asdict(self.training).items() if k not in FREE}
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
