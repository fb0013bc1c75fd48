"""`istft`: can a vocoder work at the frame rate alone and still copy any voice? Pulses and noise through learnt
complex filters.

The mel spectrogram says how loud each band is; what it does not say, where the pulses lie and how their harmonics'
phases relate, comes from a pulse train at the F0 that a small network reads in the mel. So there is no upsampling:
one network at 86 frames a second, then an inverse STFT. The neural source-filter idea (Wang et al. 2019,
arXiv:1904.12088) in the STFT domain, the inverse STFT as the last layer as in iSTFTNet (Kaneko et al. 2022,
arXiv:2203.02395) and Vocos (Siuzdak 2023, arXiv:2306.00814).

`signal.py` has what is not learnt, `network.py` what is; how it is trained is in `lib.training.istft`.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch

from lib import zoo
from lib.errors import AudioError, MissingDataError, ParameterError
from lib.features import HIFIGAN, MelConfig
from lib.files import content_key, write_atomic
from lib.systems.base import Networks
from lib.systems.istft.network import IstftConfig, build, decode

__all__ = ["Istft", "IstftConfig", "build", "decode", "from_checkpoint", "pretrained", "save"]


class Istft(Networks):
    """A trained vocoder, loaded from the folder that `save` made: `vocode(log_mel)` -> waveform.

    identity: what the weights are, for whoever keeps their speech in a cache.
    """

    name, variant = "istft", "baseline"
    mel: MelConfig = HIFIGAN
    sample_rate = HIFIGAN.sample_rate

    def __init__(self, folder: str | Path, target: str = "torch/cpu", threads: int = 2):
        import safetensors.torch

        self.folder, self.target, self.device = Path(folder), target, torch.device(target.removeprefix("torch/"))
        description, weights = self.folder / "config.json", self.folder / "model.safetensors"
        for file in (description, weights):
            if not file.is_file():
                raise MissingDataError(f"{self.folder} holds no vocoder: {file.name} is missing; train one, or name "
                                       "another folder")
        torch.set_num_threads(threads)
        self.identity = (content_key(description.read_bytes(), weights.read_bytes()),)
        self.config = IstftConfig(**json.loads(description.read_text(encoding="utf-8"))["network"])
        self.modules = build(self.config)
        flat = {name: tensor.float() for name, tensor in safetensors.torch.load_file(weights).items()}
        for name, module in self.modules.items():
            own = {key.removeprefix(f"{name}."): value for key, value in flat.items() if key.startswith(f"{name}.")}
            module.load_state_dict(own)
            module.eval().to(self.device)

    @property
    def card(self) -> str:
        """What the checkpoint is: data, recipe, steps, measured quality, licence (Markdown); "" where it has none."""
        path = self.folder / "README.md"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    @torch.inference_mode()
    def vocode(self, log_mel: np.ndarray) -> np.ndarray:
        """(n_frames, 80) log-mel of `features.HIFIGAN` -> (n_frames * 256,) float32 in [-1, 1]. AudioError for bad
        input.
        """
        log_mel = np.asarray(log_mel)
        bands = self.mel.n_bands
        if log_mel.ndim != 2 or log_mel.shape[1] != bands or not len(log_mel) or not np.isfinite(log_mel).all():
            raise AudioError(f"log-mel of shape {log_mel.shape} is not (at least 1 frame, {bands}) finite numbers")
        batch = torch.from_numpy(log_mel.astype(np.float32))[None].to(self.device)
        return decode(self.modules, batch)[0].float().clamp(-1, 1).cpu().numpy()


def pretrained(target: str = "torch/cpu", threads: int = 2) -> Istft:
    """The vocoder of `lib.zoo`."""
    return Istft(zoo.folder("istft"), target, threads)


def save(folder: str | Path, config: IstftConfig, weights: dict[str, dict[str, torch.Tensor]], card: str) -> Path:
    """Store a vocoder as `config.json`, `model.safetensors` (half precision) and its card `README.md`.

    weights: module name -> state dict.
    """
    import safetensors.torch

    expected = build(config)
    if weights.keys() != expected.keys():
        raise ParameterError(f"this vocoder consists of {', '.join(expected)}, not of {', '.join(weights)}")
    flat = {f"{name}.{key}": value.half().cpu().contiguous()
            for name, state in weights.items() for key, value in state.items()}
    folder = Path(folder)
    write_atomic(folder / "model.safetensors", safetensors.torch.save(flat))
    write_atomic(folder / "README.md", card.encode())
    description = {"system": "istft", "network": dataclasses.asdict(config), "mel": dataclasses.asdict(HIFIGAN)}
    write_atomic(folder / "config.json", json.dumps(description, indent=1).encode())
    return folder


def from_checkpoint(checkpoint: str | Path) -> dict[str, dict[str, torch.Tensor]]:
    """The networks' weights in a training checkpoint, averaged ones where it has them, as `save` wants them."""
    from lib.training import checkpoint as checkpoints

    weights = checkpoints.load(Path(checkpoint)).weights
    return {name: weights.get(f"ema-{name}", weights[name]) for name in ("pitch", "trunk")}
