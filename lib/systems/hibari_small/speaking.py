"""What does `hibari-small` do on whatever it runs? It reads, holds each phoneme, says frames, adds them up."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

import numpy as np

from lib.errors import TextError
from lib.systems import checkpoint as checkpoints
from lib.systems.base import Speech, Stopwatch, System
from lib.systems.hibari_small import signal
from lib.systems.hibari_small.reading import Reader
from lib.systems.stored import Stored


class HibariSmall(Stored, System):
    """A student in the folder of a checkpoint; subclasses load and run its two networks."""

    name = "hibari-small"
    sample_rate = signal.RATE
    packages = ("hibari-tts", "scipy")

    def _begin(self, folder: str | Path, target: str, threads: int) -> None:
        self.folder, self.target, self.threads = Path(folder), target, threads
        self._read = Reader()
        signal.drawn()  # now, not inside a measurement
        self.front_end = self._read.files
        self.files = (*checkpoints.files(folder), *self.front_end)

    @abstractmethod
    def encode(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Phonemes (n,) int64 -> what is known of them (n, width), logarithms of their lengths (n,)."""

    @abstractmethod
    def decode(self, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`signal.held`'s (F, width + N_PLACE) -> F0 (F,), spectra (F, N_SPECTRA)."""

    def speak(self, sentence: str, seed: int) -> Speech:
        watch, parts = Stopwatch(), []
        with watch.stage("phonemes"):
            read = self._read(sentence)
        if not read:
            raise TextError(f"the voice has no phoneme for anything in {sentence[:40]!r}")
        for number, ids in enumerate(read):
            with watch.stage("acoustic_model"):
                known, lasting = self.encode(np.array(ids, np.int64))
                hz, spectra = self.decode(signal.held(known, signal.lengths(lasting)))
            with watch.stage("signal_processing"):
                parts.append(signal.spoken(spectra, hz, (seed, number)))
        return Speech(np.concatenate(parts).clip(-1, 1), self.sample_rate, watch.seconds)
