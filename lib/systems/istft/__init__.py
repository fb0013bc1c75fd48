"""`istft`: can a vocoder work at the frame rate alone and still copy any voice? Pulses and noise through learnt
complex filters.

The mel spectrogram says how loud each band is; what it does not say, where the pulses lie and how their harmonics'
phases relate, comes from a pulse train at the F0 that a small network reads in the mel. So there is no upsampling:
one network at 86 frames a second, then an inverse STFT. The neural source-filter idea (Wang et al. 2019,
arXiv:1904.12088) in the STFT domain, the inverse STFT as the last layer as in iSTFTNet (Kaneko et al. 2022,
arXiv:2203.02395) and Vocos (Siuzdak 2023, arXiv:2306.00814).

`signal.py` has what is not learnt, `network.py` what is, `vocoder.py` the finished vocoder on torch; `onnx_vocoder.py`
runs it without torch, on graphs that `graph.py` makes; `stream.py` speaks while the mel still comes, and `held.py`
holds the copy of a whole mel to it; `partial.py` says which parts an ablation can take away. How it is trained is in
`lib.training.tasks.istft`.
"""

from __future__ import annotations

from lib.systems import lazily

_PLACES = {
    "Istft": "vocoder",
    "PartialIstft": "vocoder",
    "pretrained": "vocoder",
    "IstftConfig": "config",
    "PARTS": "parts",
    "save": "parts",
    "build": "network",
    "decode": "network",
}
__getattr__, __all__ = lazily.parts(__name__, _PLACES)
