"""What do all vocoders share that were trained here and run on torch? A folder, its card, a device, one mel."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np
import torch

from lib import targets
from lib.systems import checkpoint as checkpoints
from lib.systems.stored_vocoder import StoredVocoder


class TrainedVocoder(StoredVocoder):
    """A vocoder of one or more networks, loaded from a checkpoint's folder; subclasses say how they decode."""

    parts: checkpoints.Parts  # how its networks lie on disk

    def __init__(self, folder: str | Path, target: str = "torch/cpu", threads: int = 2):
        self.folder, self.target, self.threads = Path(folder), target, threads
        self.device, self.files = torch.device(targets.find(target).device), checkpoints.files(folder)
        torch.set_num_threads(threads)
        self.config, networks = self.parts.load(folder)
        self.modules = {name: network.to(self.device) for name, network in networks.items()}

    @abstractmethod
    def decoded(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(1, F, n_bands) on the device -> waveform (1, F * hop)."""

    @torch.inference_mode()
    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        batch = torch.from_numpy(self.checked(log_mel))[None].to(self.device)  # (1, F, n_bands)
        return self.decoded(batch)[0].float().clamp(-1, 1).cpu().numpy()
