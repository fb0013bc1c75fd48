"""`griffin-lim`: what does a waveform sound like whose phases were only guessed? The vocoder that learnt nothing.

Griffin and Lim 1984, https://doi.org/10.1109/TASSP.1984.1164317.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from lib.features import HIFIGAN, MelConfig, griffin_lim
from lib.files import content_key
from lib.systems.base import Vocoder


class GriffinLim(Vocoder):
    """Phases that fit the magnitudes of a mel, found in some iterations from random ones."""

    name, params_m = "griffin-lim", 0.0

    def __init__(self, mel: MelConfig = HIFIGAN, target: str = "numpy/cpu", threads: int = 2):
        self.mel, self.sample_rate, self.target, self.threads = mel, mel.sample_rate, target, threads

    def weights_key(self) -> str:
        """It has no weights; the mel decides."""
        return content_key(self.name, dataclasses.asdict(self.mel))

    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        return griffin_lim(self.checked(log_mel), self.mel, seed=seed)


def load(target: str = "numpy/cpu", threads: int = 2) -> GriffinLim:
    """For the mel that all vocoders of this project take."""
    return GriffinLim(HIFIGAN, target, threads)
