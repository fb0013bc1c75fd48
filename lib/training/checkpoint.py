"""Is there always a whole checkpoint on the disk? A new one is written beside the old, made durable, then
renamed into place.

<run>/checkpoints/step-00000500/
    <module>.safetensors, ema-<module>.safetensors    weights, readable without this package
    state.pt                                          optimizers, schedulers, scaler, place in the data, random states
    recipe.json                                       what the weights depend on, and its hash
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.errors import OutputError, ParameterError, TrainingError
from lib.training import sources
from lib.training.recipe import Recipe

_NAME = re.compile(r"step-(\d{8})")
WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """All that a run is at one step."""

    step: int
    weights: dict[str, dict[str, torch.Tensor]]  # file stem ("decoder", "ema-decoder") -> state dict
    state: dict[str, Any]  # everything else, in types that torch.load reads without pickle

    def of(self, module: str) -> dict[str, torch.Tensor] | None:
        """The state dict of a module, the averaged one if there is one; None where the run trained no such module."""
        return self.weights.get(f"ema-{module}", self.weights.get(module))


def save(
    folder: Path, checkpoint: Checkpoint, recipe: Recipe, *, keep: int, also: frozenset[int] = frozenset()
) -> Path:
    """Write `<folder>/step-N` all or nothing, then delete all but the newest `keep` checkpoints and the steps
    in `also`.

    Raises OutputError where it cannot be written (a full disk); what was there before stays.
    """
    import safetensors.torch

    name = f"step-{checkpoint.step:08d}"
    temporary, final = folder / f".{name}.{os.getpid()}", folder / name
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for stem, weights in checkpoint.weights.items():
            tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
            _write(temporary / f"{stem}{WEIGHTS}", safetensors.torch.save(tensors))
        buffer = io.BytesIO()
        torch.save(checkpoint.state, buffer)
        _write(temporary / "state.pt", buffer.getbuffer())
        description = {"step": checkpoint.step, "key": recipe.key(), "recipe": recipe.identity()}
        _write(temporary / "recipe.json", json.dumps(description, indent=1).encode())
        _sync(temporary)
        shutil.rmtree(final, ignore_errors=True)  # of the same step, where a run was asked to save it again
        temporary.rename(final)
        _sync(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        last = latest(folder)
        raise OutputError(
            f"cannot save {final}: {error.strerror or error}; free some space and start again: "
            f"training goes on from {last.name if last else 'its beginning'}"
        ) from error
    for old in sorted(everything(folder))[:-keep]:
        if step_of(old) not in also:
            shutil.rmtree(old, ignore_errors=True)
    return final


def load(path: Path, recipe: Recipe | None = None) -> Checkpoint:
    """Read a checkpoint; with a recipe, raise TrainingError where it was trained by another one, naming what
    differs.
    """
    import safetensors
    import safetensors.torch

    try:
        description = json.loads((path / "recipe.json").read_text(encoding="utf-8"))
        key, trained = description["key"], description["recipe"]
        weights = {
            file.stem: safetensors.torch.load(file.read_bytes()) for file in sorted(path.glob(f"*{WEIGHTS}"))
        }
        state = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
    except (OSError, KeyError, json.JSONDecodeError, safetensors.SafetensorError, RuntimeError) as error:
        raise TrainingError(
            f"checkpoint {path} cannot be read ({error}): delete it, and training goes on from the one before"
        ) from error
    if recipe is not None and key != recipe.key():
        raise TrainingError(
            f"checkpoint {path} was trained by another recipe ({_differences(trained, recipe)}): train in another "
            "folder, or with that recipe"
        )
    return Checkpoint(description["step"], weights, state)


def start(
    networks: Mapping[str, nn.Module],
    name: str,
    finished: Callable[[Path], Mapping[str, Mapping[str, torch.Tensor]]],
    *,
    averaged: bool = False,
) -> None:
    """Give networks the weights that a recipe's `start_from` names: of an earlier run's newest checkpoint, or, where
    the folder holds no run, what `finished` reads there, a state dict by network. Networks that it has not stay as
    they are. TrainingError for other sizes.

    averaged: a run's averaged weights where it has them, not those that it would go on with.
    """
    folder = sources.start(name)
    if (run := latest(folder / "checkpoints")) is None:
        weights = finished(folder)
    else:
        loaded = load(run)
        weights = {module: loaded.of(module) for module in networks} if averaged else loaded.weights
    try:
        for module, network in networks.items():
            if weights.get(module):
                network.load_state_dict(weights[module])
    except RuntimeError as error:  # torch's own words for other shapes
        raise TrainingError(
            f"the network in {folder} has other sizes than the recipe's ({' '.join(str(error).split())[:200]}): take "
            "its own recipe's `model`, or another start_from"
        ) from error


def latest(folder: Path) -> Path | None:
    """The newest whole checkpoint, None where there is none."""
    return max(everything(folder), default=None)


def newest(run: str | Path) -> Path:
    """The newest whole checkpoint of a run's folder; ParameterError where there is none."""
    path = latest(Path(run) / "checkpoints")
    if path is None:
        raise ParameterError(f"{run} holds no checkpoint to publish")
    return path


def everything(folder: Path) -> list[Path]:
    """All whole checkpoints of a run."""
    return [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]


def step_of(path: Path) -> int:
    """The training step at which a checkpoint was written."""
    return int(_NAME.fullmatch(path.name)[1])


def difference(path: Path, recipe: Recipe, apart: Collection[str] = ()) -> str:
    """What of a checkpoint's recipe is not as in this one, in words; "" where nothing is. apart: keys of the identity
    that do not count.
    """
    trained = json.loads((path / "recipe.json").read_text(encoding="utf-8"))["recipe"]
    return _differences(trained, recipe, apart)


def clean(folder: Path) -> None:
    """Remove what killed processes left half-written."""
    for path in folder.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def random_states() -> dict[str, Any]:
    """The states of Python's, NumPy's and torch's generators, in types that torch.load reads without pickle."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    version, internal, gauss_next = random.getstate()
    return {
        "python": (version, list(internal), gauss_next),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": (name, keys.tolist(), int(position), int(has_gauss), float(gauss)),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Put the generators back where `random_states` found them."""
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def _write(path: Path, data: bytes | memoryview) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a folder's entries durable, so that a power cut keeps either the old or the new checkpoint."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _differences(theirs: dict[str, Any], recipe: Recipe, apart: Collection[str] = ()) -> str:
    ours = json.loads(json.dumps(recipe.identity()))  # tuples as lists, as they were saved
    both = sorted({*theirs, *ours} - {*apart})
    keys = [key for key in both if theirs.get(key, "unset") != ours.get(key, "unset")]
    return "; ".join(
        f"{key} is {theirs.get(key, 'unset')!r} there, {ours.get(key, 'unset')!r} here" for key in keys[:5]
    )
