"""How does `hibari-small` speak on torch?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lib import targets
from lib.systems.hibari_small.parts import PARTS
from lib.systems.hibari_small.speaking import HibariSmall


class HibariSmallTorch(HibariSmall):
    """A student on a processor or a GPU; the synthesis is the processor's."""

    def __init__(self, folder: str | Path, target: str = "torch/cpu", threads: int = 2):
        self._begin(folder, target, threads)
        self.device = torch.device(targets.find(target).device)
        torch.set_num_threads(threads)
        self.config, networks = PARTS.load(folder)
        self.modules = {name: network.to(self.device) for name, network in networks.items()}

    @torch.inference_mode()
    def encode(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        known, lasting = self.modules["encoder"](torch.from_numpy(ids)[None].to(self.device), None)
        return known[0].float().cpu().numpy(), lasting[0].float().cpu().numpy()

    @torch.inference_mode()
    def decode(self, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hz, spectra = self.modules["decoder"](torch.from_numpy(held)[None].to(self.device))
        return hz[0].float().cpu().numpy(), spectra[0].float().cpu().numpy()
