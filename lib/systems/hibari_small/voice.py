"""How does `hibari-small` speak on torch?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from lib import targets
from lib.systems.hibari_small.network import Heard
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
        known, lasting = self.modules["encoder"](self._batch(ids), None)
        return _array(known), _array(lasting)

    @torch.inference_mode()
    def hear(self, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        heard = self.modules["decoder"](self._batch(held))
        return _array(heard.hz), _array(heard.loudness)

    @torch.inference_mode()
    def decode(self, held: np.ndarray, hz: np.ndarray, loudness: np.ndarray) -> np.ndarray:
        return _array(self.modules["decoder"](self._batch(held), Heard(self._batch(hz), self._batch(loudness))))

    def _batch(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array)[None].to(self.device)


def _array(batch: torch.Tensor) -> np.ndarray:
    return batch[0].float().cpu().numpy()
