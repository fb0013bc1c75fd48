"""`fastspeech2`: how does text become a mel spectrogram in one pass, with rate, pitch and loudness under control?

FastSpeech 2 (Ren et al. 2021, arXiv:2006.04558) with Conformer blocks and pitch and energy averaged per phone,
as transformers has it. It reads the symbols of the Piper voices, knows its own voices by a speaker embedding,
and leaves the waveform to a vocoder (`hifigan`, else Griffin-Lim). The network is in `network.py`;
how it learns in `lib.training.tasks.fastspeech2`.

The finished system on torch is in `system.py`; `export.py` makes graphs of the network, and `stages.py` speaks with
them, without torch.
"""

from __future__ import annotations

from lib.systems import lazily

_PLACES = {
    "FastSpeech2": "system",
    "FastSpeech2Onnx": "stages",
    "Controls": "config",
    "NetworkConfig": "config",
    "build": "network",
    "checkpoints": "stored",
}
__getattr__, __all__ = lazily.parts(__name__, _PLACES)
