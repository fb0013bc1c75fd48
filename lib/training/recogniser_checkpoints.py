"""Is a checkpoint of the recogniser's training whole, and does it fit the network that it is loaded into?

transformers writes a checkpoint file by file; a machine that stops between two leaves one that looks like any other. So
the last thing that is written is a list of all files with their sizes.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import MissingDataError, TrainingError
from lib.files import write_atomic

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
WEIGHTS, WHOLE = "model.safetensors", "whole.json"


def newest_whole(run: Path) -> Path | None:
    """The newest checkpoint of a run that is whole; others are named in the log. None where there is none."""
    for path in sorted(run.glob("checkpoint-*"), key=step_of, reverse=True):
        if why := broken(path):
            log.warning("%s is not whole (%s): training goes on from the one before", path, why)
        else:
            return path
    return None


def broken(checkpoint: Path) -> str:
    """Why a checkpoint cannot be used; "" where it can."""
    try:
        sizes = json.loads((checkpoint / WHOLE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{WHOLE}, which is written last, is missing or cut short"
    for name, size in sizes.items():
        file = checkpoint / name
        if not file.is_file() or file.stat().st_size != size:
            return f"{name} is missing or cut short"
    return ""


def mark_whole(checkpoint: Path) -> None:
    """Write down that every file of a checkpoint is there."""
    files = [f for f in sorted(checkpoint.iterdir()) if f.is_file() and f.name != WHOLE]
    write_atomic(checkpoint / WHOLE, json.dumps({f.name: f.stat().st_size for f in files}).encode())


def learnt_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Name -> weight of all that learns, shared ones once."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def write_learnt(model: torch.nn.Module, folder: Path) -> None:
    """What learns into a checkpoint's folder."""
    import safetensors.torch

    tensors = {name: value.cpu().contiguous() for name, value in learnt_state(model).items()}
    write_atomic(folder / WEIGHTS, safetensors.torch.save(tensors))


def load_learnt(model: torch.nn.Module, checkpoint: str | Path) -> None:
    """Give a network, whose learning part is chosen, the weights of a checkpoint; TrainingError where it is damaged or
    of another part.
    """
    import safetensors
    import safetensors.torch
    import torch

    checkpoint = Path(checkpoint)
    if not checkpoint.is_dir():
        raise MissingDataError(f"no checkpoint at {checkpoint}: train first, or name another folder")
    if why := broken(checkpoint):
        raise TrainingError(f"{checkpoint} is not whole ({why}): delete it, and take the one before")
    try:
        weights = safetensors.torch.load_file(checkpoint / WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise TrainingError(
            f"{checkpoint} cannot be read ({error}): delete it, and take the one before"
        ) from error
    own = set(learnt_state(model))
    if own != set(weights):
        raise TrainingError(
            f"{checkpoint} holds weights of another part ({', '.join(sorted(own ^ set(weights))[:3])}): choose the "
            "method that it was trained with"
        )
    state = model.state_dict()
    for name, value in weights.items():
        if state[name].shape != value.shape:
            raise TrainingError(
                f"{checkpoint} does not fit: {name} is {tuple(value.shape)} there, {tuple(state[name].shape)} here"
            )
    with torch.no_grad():
        for name, value in weights.items():
            state[name].copy_(value)


def step_of(checkpoint: Path) -> int:
    """The step at which a checkpoint was written; -1 where its name says none."""
    tail = checkpoint.name.rpartition("-")[2]
    return int(tail) if tail.isdigit() else -1
