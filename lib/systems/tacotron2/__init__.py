"""`tacotron2`: how does text become a mel spectrogram when the network finds its own way through it?

Tacotron 2 (Shen et al. 2018, arXiv:1712.05884): an encoder, and a decoder that reads the symbols by attention,
a few frames per step, until its gate says that all is said. It knows its voices by a speaker embedding and
leaves the waveform to a vocoder. No duration is predicted, so text may be skipped, read twice or never ended:
every reading is judged, bounded, and says what failed.

The finished system on torch is in `system.py`; `export.py` makes graphs of the network, and `stages.py` speaks with
them, without torch.
"""

from __future__ import annotations

from lib.systems import lazily

_PLACES = {
    "Tacotron2": "system",
    "Tacotron2Onnx": "stages",
    "Gate": "config",
    "NetworkConfig": "config",
    "build": "network",
    "checkpoints": "stored",
    "published": "nvidia",
}
__getattr__, __all__ = lazily.parts(__name__, _PLACES)
