"""`whisper-tiny.en` on CTranslate2: the published file itself, in single precision or as a file of 8-bit weights.

The engine multiplies in 8 bit where its weights are int8 (`int8-dynamic`), in single precision otherwise; what goes in
is the same as in torch: log-mels of the clip with silence behind it up to 30 s. Its packaged judge pads the finished
log-mels with zeros instead, which is no silence to the encoder.
"""

from __future__ import annotations

import io
import json

import numpy as np

from lib import audio
from lib.errors import require
from lib.graphs import session
from lib.systems.base import Recogniser, Stopwatch, Transcript
from lib.systems.whisper import ctranslate2_weights
from lib.systems.whisper.package import (
    LONGEST,
    NO_TIMESTAMPS,
    SAMPLE_RATE,
    SOT,
    WINDOW_S,
    folder,
    front_end,
    windows,
)

HOP = 160  # samples from one frame of the log-mel to the next


class WhisperCTranslate2(Recogniser):
    """The recogniser on CTranslate2's CPU engine. `graphs`: "model", the file that it reads."""

    name = "whisper-tiny.en"
    sample_rate = SAMPLE_RATE
    graph_suffix = ".bin"
    packages = ("faster-whisper",)  # its log-mels

    def __init__(self, target: str = "ctranslate2/cpu", threads: int = 2):
        tokenizers = require("tokenizers", "tokenizers")
        features = require("faster_whisper.feature_extractor", "faster-whisper==1.2.1")
        self.target, self.threads = target, threads
        self.front_end = front_end()
        self.files = (folder() / "model.bin", *self.front_end)
        self.graphs = {"model": (folder() / "model.bin").read_bytes()}
        self._log_mel = features.FeatureExtractor(sampling_rate=SAMPLE_RATE)
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder() / "tokenizer.json"))
        self._open()

    @property
    def params_m(self) -> float:
        """10^6 parameters; embedding and head are one matrix and count once."""
        return ctranslate2_weights.parameters(self.graphs["model"]) / 1e6

    def _open(self) -> None:
        ctranslate2 = require("ctranslate2", "ctranslate2")
        model = self.graphs["model"]
        config = json.loads((folder() / "config.json").read_text(encoding="utf-8"))
        vocabulary = (folder() / "vocabulary.txt").read_bytes()
        files = {"model.bin": model, "config.json": json.dumps(config).encode(), "vocabulary.txt": vocabulary}
        self._engine = session.later(
            lambda: ctranslate2.models.Whisper(
                str(folder()),
                device="cpu",
                compute_type="int8" if ctranslate2_weights.is_int8(model) else "float32",
                intra_threads=self.threads,
                inter_threads=1,
                files={name: io.BytesIO(content) for name, content in files.items()},
            )
        )

    _changed = _open

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> Transcript:
        """Greedy transcript of a clip of any length, in windows of 30 s."""
        import ctranslate2

        watch, parts = Stopwatch(), []
        for window in windows(waveform, sample_rate):
            with watch.stage("features"):
                features = self.features(window, sample_rate)
            with watch.stage("encoder"):
                heard = self._engine.encode(ctranslate2.StorageView.from_array(features))
            with watch.stage("decoder"):
                (result,) = self._engine.generate(
                    heard,
                    [[SOT, NO_TIMESTAMPS]],
                    beam_size=1,
                    max_length=2 * LONGEST,  # the engine says half as many at most
                    suppress_blank=True,
                    suppress_tokens=[-1],  # those of its configuration
                )
            parts.append(self._tokenizer.decode(result.sequences_ids[0], skip_special_tokens=True).strip())
        return Transcript(" ".join(parts), watch.seconds, len(waveform) / sample_rate)

    def features(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """Log-mel input (1, 80, 3000) of a clip of at most 30 s, with silence behind it."""
        clip = audio.resample(waveform, sample_rate, SAMPLE_RATE)
        padded = np.pad(clip, (0, max(0, WINDOW_S * SAMPLE_RATE - len(clip))))
        frames = self._log_mel(padded, padding=0)[None, :, : WINDOW_S * SAMPLE_RATE // HOP]
        return np.ascontiguousarray(frames, np.float32)
