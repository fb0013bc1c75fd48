"""What is in a file of NVIDIA's public checkpoints?"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch

from lib.errors import MissingDataError, TrainingError


def published(path: str | Path) -> dict[str, torch.Tensor]:
    """The weights in a file of NVIDIA's public checkpoints, under the names of `network.Tacotron2Layers`:
    those of its own symbols (148 characters and ARPAbet phones), on log-mels that are not standardised.

    Raises MissingDataError where there is no file, TrainingError where it holds no Tacotron 2.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no published checkpoint at {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        weights = {
            name.removeprefix("module."): value.float() if value.is_floating_point() else value
            for name, value in found.get("state_dict", found).items()
        }
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, AttributeError) as error:
        raise TrainingError(f"{path} cannot be read as a checkpoint ({error}): fetch it anew") from error
    if "decoder.attention_rnn.weight_ih" not in weights:
        raise TrainingError(f"{path} holds no Tacotron 2: there is no decoder.attention_rnn.weight_ih in it")
    return weights
