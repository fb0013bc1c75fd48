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

import torch

from lib.systems import checkpoint
from lib.systems.istft.network import IstftConfig, Noise, build, decode
from lib.systems.trained_vocoder import TrainedVocoder

__all__ = ["Istft", "IstftConfig", "build", "decode", "pretrained", "save"]

PARTS = checkpoint.Parts("istft", IstftConfig, build)
save = PARTS.save


class Istft(TrainedVocoder):
    """A trained vocoder, loaded from the folder that `save` made. Its noise always is the same: it takes no seed."""

    name, parts = "istft", PARTS

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.modules["noise"] = Noise().eval().to(self.device)

    def decoded(self, log_mel: torch.Tensor) -> torch.Tensor:
        return decode(self.modules, log_mel)


pretrained = Istft.pretrained
