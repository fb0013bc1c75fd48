"""How does a finished `hifigan` speak on torch?"""

from __future__ import annotations

import torch

from lib.systems.hifigan.network import decode
from lib.systems.hifigan.parts import PARTS
from lib.systems.trained_vocoder import TrainedVocoder


class HifiGan(TrainedVocoder):
    """A trained vocoder, loaded from the folder that `save` made; the zoo's knows the voice of `vits-joe`."""

    name, parts = "hifigan", PARTS

    def decoded(self, log_mel: torch.Tensor) -> torch.Tensor:
        return decode(self.modules, log_mel)


pretrained = HifiGan.pretrained
