"""`whisper-tiny.en` as the package faster-whisper runs it: published weights, made 8 bits wide when it loads them.

A comparator. It searches as greedily as ours do and says as many tokens at most (`package.LONGEST`), but where ours
hear silence behind a clip it fills the finished log-mels with zeros, so its transcripts may differ.
"""

from __future__ import annotations

import numpy as np

from lib import audio
from lib.errors import require
from lib.systems.base import Recogniser, Stopwatch, Transcript
from lib.systems.whisper import ctranslate2_weights
from lib.systems.whisper.package import SAMPLE_RATE, folder, front_end, windows


class FasterWhisper(Recogniser):
    """The package's own WhisperModel with compute_type int8."""

    name, variant = "whisper-tiny.en", "int8-dynamic"
    sample_rate = SAMPLE_RATE
    packages = ("faster-whisper",)

    def __init__(self, target: str = "faster-whisper/cpu", threads: int = 2):
        package = require("faster_whisper", "faster-whisper==1.2.1")
        self.target, self.threads = target, threads
        self.front_end = front_end()
        self.files = (folder() / "model.bin", *self.front_end)
        self._model = package.WhisperModel(
            str(folder()), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
        )

    @property
    def params_m(self) -> float:
        """10^6 parameters of the file that it reads, for it holds neither networks nor graphs of ours."""
        return ctranslate2_weights.parameters(self.files[0].read_bytes()) / 1e6

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> Transcript:
        """Greedy transcript of a clip of any length, in windows of 30 s."""
        watch, parts = Stopwatch(), []
        for window in windows(waveform, sample_rate):
            with watch.stage("all"):
                segments, _ = self._model.transcribe(
                    audio.resample(window, sample_rate, SAMPLE_RATE),
                    language="en",
                    beam_size=1,
                    temperature=0.0,
                    without_timestamps=True,
                    condition_on_previous_text=False,
                    vad_filter=False,
                )
                parts.append("".join(segment.text for segment in segments).strip())
        return Transcript(" ".join(parts), watch.seconds, len(waveform) / sample_rate)
