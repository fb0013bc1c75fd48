"""`istft`: can a vocoder work at the frame rate alone and still copy any voice? Pulses and noise through learnt
complex filters.

The mel spectrogram says how loud each band is; what it does not say, where the pulses lie and how their harmonics'
phases relate, comes from a pulse train at the F0 that a small network reads in the mel. So there is no upsampling:
one network at 86 frames a second, then an inverse STFT. The neural source-filter idea (Wang et al. 2019,
arXiv:1904.12088) in the STFT domain, the inverse STFT as the last layer as in iSTFTNet (Kaneko et al. 2022,
arXiv:2203.02395) and Vocos (Siuzdak 2023, arXiv:2306.00814).

`signal.py` has what is not learnt, `network.py` what is; how it is trained is in `lib.training.tasks.istft`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib import targets, zoo
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN, MelConfig
from lib.files import content_key, write_atomic
from lib.systems import checkpoint
from lib.systems.base import Vocoder
from lib.systems.istft.network import IstftConfig, Noise, build, decode

__all__ = ["Istft", "IstftConfig", "build", "decode", "pretrained", "save"]


class Istft(Vocoder):
    """A trained vocoder, loaded from the folder that `save` made. Its noise always is the same: it takes no seed."""

    name = "istft"
    mel: MelConfig = HIFIGAN
    sample_rate = HIFIGAN.sample_rate

    def __init__(self, folder: str | Path, target: str = "torch/cpu", threads: int = 2):
        self.folder, self.target, self.threads = Path(folder), target, threads
        self.device, self.files = torch.device(targets.find(target).device), checkpoint.files(folder)
        torch.set_num_threads(threads)
        self.config, networks = _load(self.folder)
        self.modules = {**networks, "noise": Noise()}
        for module in self.modules.values():
            module.eval().to(self.device)

    @property
    def card(self) -> str:
        """What the checkpoint is (Markdown)."""
        return checkpoint.card(self.folder)

    @torch.inference_mode()
    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        batch = torch.from_numpy(self.checked(log_mel))[None].to(self.device)  # (1, F, n_bands)
        return decode(self.modules, batch)[0].float().clamp(-1, 1).cpu().numpy()


def pretrained(target: str = "torch/cpu", threads: int = 2, checkpoint: str | Path | None = None) -> Istft:
    """A checkpoint, by default that of `lib.zoo`."""
    return Istft(checkpoint or zoo.folder("istft"), target, threads)


def save(
    folder: str | Path, config: IstftConfig, weights: dict[str, dict[str, torch.Tensor]], card: str
) -> Path:
    """Store a vocoder as `config.json`, `model.safetensors` (half precision) and its card `README.md`.

    weights: module name -> state dict.
    """
    import safetensors.torch

    expected, description = build(config), _describe(config)
    if weights.keys() != expected.keys():
        raise ParameterError(f"this vocoder consists of {', '.join(expected)}, not of {', '.join(weights)}")
    flat = {
        f"{name}.{key}": value.half().cpu().contiguous()
        for name, state in weights.items()
        for key, value in state.items()
    }
    folder = Path(folder)
    write_atomic(
        folder / checkpoint.WEIGHTS, safetensors.torch.save(flat, {"config": content_key(description)})
    )
    write_atomic(folder / checkpoint.CARD, card.encode())
    write_atomic(folder / checkpoint.CONFIG, json.dumps(description, indent=1).encode())
    return folder


def _describe(config: IstftConfig) -> dict:
    """All that the weights mean: sizes and mel."""
    return {"system": "istft", "network": dataclasses.asdict(config), "mel": dataclasses.asdict(HIFIGAN)}


def _load(folder: Path) -> tuple[IstftConfig, dict[str, nn.Module]]:
    """Sizes and networks of a folder that `save` made.

    Raises MissingDataError where there is none, TrainingError where its files are damaged, do not belong together, or
    hold another system.
    """
    import safetensors
    import safetensors.torch

    for file in checkpoint.files(folder):
        if not file.is_file():
            raise MissingDataError(
                f"{folder} holds no vocoder: {file.name} is missing; train one, or name another folder"
            )
    try:
        description = json.loads((folder / checkpoint.CONFIG).read_text(encoding="utf-8"))
        if description.get("system") != "istft":
            raise TrainingError(
                f"{folder} holds a {description.get('system', 'nameless system')}, not an istft"
            )
        config = IstftConfig(**description["network"])
        with safetensors.safe_open(folder / checkpoint.WEIGHTS, "pt") as file:
            key = (file.metadata() or {}).get("config")
            flat = {name: file.get_tensor(name).float() for name in file.keys()}
        if content_key(_describe(config)) != key:
            raise TrainingError(
                f"{folder}: the weights were not saved with this config.json, or for another mel; take both files "
                "from one checkpoint"
            )
        modules = build(config)
        for name, module in modules.items():
            own = {
                key.removeprefix(f"{name}."): value for key, value in flat.items() if key.startswith(f"{name}.")
            }
            module.load_state_dict(own)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        safetensors.SafetensorError,
    ) as error:
        if isinstance(error, TrainingError):
            raise
        raise TrainingError(
            f"the istft in {folder} cannot be read ({error}): take it anew from its checkpoint"
        ) from error
    return config, modules
