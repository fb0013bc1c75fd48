"""Which models has this project trained itself? Small checkpoints, each in a folder with its card, recipe and
learning curve.

    lib/zoo/<name>/model.safetensors   weights, half precision
                   config.json         what they mean
                   README.md           the card: data, steps, hardware, quality, licence, how to train it again
                   recipe.yaml         for `python -m lib.training`
                   curve.jsonl         how it learnt
                   resume.safetensors  of some: all that training goes on from, discriminators too
                   students/<name>     of `tortoise`: decoders of fewer steps (`lib.systems.tortoise.students`)

`python -m lib.publish RUN` turns a training run into such a folder (see `lib/publish.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

from lib.errors import MissingDataError

HERE = Path(__file__).parent


def names() -> list[str]:
    """The checkpoints that are here."""
    return sorted(path.parent.name for path in HERE.glob("*/model.safetensors"))


def folder(name: str) -> Path:
    """Where a checkpoint lies; MissingDataError with the command that trains it where it does not."""
    if name not in names():
        raise MissingDataError(
            f"lib/zoo holds no {name} (it holds: {', '.join(names()) or 'nothing'}); train one: python -m "
            f"lib.training params/study/recipes/{name}.yaml --out RUN, then python -m lib.publish RUN"
        )
    return HERE / name


def card(name: str) -> str:
    """The card of a checkpoint (Markdown)."""
    return (folder(name) / "README.md").read_text(encoding="utf-8")


def curve(name: str) -> list[dict]:
    """How a checkpoint learnt: records of `training.journal`, {"step", "seconds", losses...} and {"step",
    "validation": {...}}.
    """
    lines = (folder(name) / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
