"""`speecht5`: how does text become a mel spectrogram by a Transformer that writes it as a language model writes text?

SpeechT5 (Ao et al. 2022, arXiv:2110.07205): an encoder reads the symbols, a decoder says two frames at a time
and looks at all it has said and at the symbols while it does, until it holds the sentence to be over. Two
systems speak so. `speecht5` is small, was trained here and leaves the waveform to a vocoder. `speecht5-base`
has the published sizes and random weights: it shows what the published system costs in time and memory where
its weights cannot be had, and what comes out of it is noise.

`config.py` has the sizes, `network.py` how it learns, `decoding.py` and `system.py` how it speaks on torch; `export.py`
makes graphs of it, `stages.py` speaks with them, without torch; `limits.py` has what both need to know.
"""

from __future__ import annotations

from lib.systems import lazily

_PLACES = {
    **dict.fromkeys(("SpeechT5", "SpeechT5Base"), "system"),
    **dict.fromkeys(("SpeechT5Onnx", "SpeechT5BaseOnnx"), "stages"),
    **dict.fromkeys(("Limits", "LONGEST", "portions"), "limits"),
    **dict.fromkeys(("NetworkConfig", "PUBLISHED"), "config"),
    **dict.fromkeys(("SpeechT5Network", "build"), "network"),
    "checkpoints": "stored",
}
__getattr__, __all__ = lazily.parts(__name__, _PLACES)
