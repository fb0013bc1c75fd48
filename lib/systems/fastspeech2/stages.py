"""How does `fastspeech2` speak on ONNX Runtime? With three graphs, and the durations between them in NumPy."""

from __future__ import annotations

import math

import numpy as np

from lib.errors import AudioError
from lib.features import HIFIGAN
from lib.systems import positions
from lib.systems.acoustic_onnx import AcousticOnnx
from lib.systems.base import Stopwatch
from lib.systems.before_vocoder import Spectrogram
from lib.systems.fastspeech2.config import SPEECH_MAX_S, SYMBOL_FRAMES_MAX, Controls
from lib.systems.fastspeech2.stored import checkpoints


class FastSpeech2Onnx(AcousticOnnx):
    """A trained acoustic model, loaded from the same folder as on torch, before a vocoder (see `BeforeVocoder`)."""

    name = "fastspeech2"
    draws = False
    checkpoints, manner = checkpoints, "controls"
    controls = Controls()
    stages, writers = (
        ("encoder", "prosody", "decoder"),
        ("export.py", "network.py", "config.py", "../padding.py", "../standardised.py"),
    )

    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """As on torch."""
        with watch.stage("phonemes"):
            phones = self._known(sentence)
        with watch.stage("acoustic_model"):
            log_mel, frames = self.log_mel(phones)
        return Spectrogram(log_mel, phones, tuple(frames.tolist()))

    def log_mel(self, phones: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Log-mel (F, n_bands) of symbols, and the frames (T,) of each, as `network.FastSpeech2Network.speak`."""
        width, controls = self.config.hidden, self.controls
        distances = positions.distances(width, len(phones))
        hidden, log_frames, pitch, energy, pitch_deviation, energy_deviation = self.sessions["encoder"].run(
            None, {**self._inputs(phones), "distances": distances}
        )
        frames = whole_frames(log_frames, controls.rate)
        seconds = frames.sum() * HIFIGAN.hop / HIFIGAN.sample_rate * controls.rate
        if not 0 < seconds <= SPEECH_MAX_S:
            raise AudioError(
                f"the network wants {seconds:.1f} s for {len(phones)} symbols: it is not trained, or its "
                "weights are broken; take another checkpoint"
            )
        shift = np.float32(controls.semitones * math.log(2) / 12)
        (spoken,) = self.sessions["prosody"].run(
            None,
            {
                "hidden": hidden,
                "pitch": pitch + shift / pitch_deviation,
                "energy": energy + np.float32(math.log(controls.energy)) / energy_deviation,
            },
        )
        spoken = np.repeat(spoken, frames, axis=0)  # (F, H)
        distances = positions.distances(width, len(spoken))
        (log_mel,) = self.sessions["decoder"].run(None, {"hidden": spoken, "distances": distances})
        return log_mel, frames

    def _exported(self) -> dict[str, bytes]:
        from lib.systems.fastspeech2 import export

        return export.graphs(self.checkpoints.load(self.folder)[2])


def whole_frames(log_frames: np.ndarray, rate: float) -> np.ndarray:
    """Frames (T,) int64 of symbols: what rounding takes from one the next one gets, so that the whole keeps its
    length at every rate.
    """
    lengths = (np.exp(log_frames) - 1).clip(0, SYMBOL_FRAMES_MAX) / np.float32(rate)
    return np.diff(np.cumsum(lengths, dtype=np.float32).round().astype(np.int64), prepend=0)
