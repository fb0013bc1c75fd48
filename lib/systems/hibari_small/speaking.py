"""What does `hibari-small` do on whatever it runs? It reads, holds each phoneme, says frames, adds them up."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lib.errors import TextError
from lib.systems import checkpoint as checkpoints
from lib.systems.base import Speech, Stopwatch, System
from lib.systems.hibari_small import signal
from lib.systems.hibari_small.config import HibariSmallConfig
from lib.systems.hibari_small.reading import Reader
from lib.systems.stored import Stored


CHUNK = 24  # frames that are heard first, 0.3 s; of those that follow, each time twice as many, while they sound


class HibariSmall(Stored, System):
    """A student in the folder of a checkpoint; subclasses load and run its networks."""

    name = "hibari-small"
    streams = True
    config: HibariSmallConfig
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
    def hear(self, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`signal.held`'s (F, width + N_PLACE) of a whole sentence -> F0 (F,), 0 where unvoiced, and loudness (F,)."""

    @abstractmethod
    def decode(self, held: np.ndarray, hz: np.ndarray, loudness: np.ndarray) -> np.ndarray:
        """Of a sentence, or a part of one, what `hear` took and made -> spectra (F, N_SPECTRA)."""

    def speak(self, sentence: str, seed: int) -> Speech:
        watch, parts = Stopwatch(), []
        with watch.stage("phonemes"):
            read = self._phonemes(sentence)
        for number, ids in enumerate(read):
            with watch.stage("acoustic_model"):
                told = self._told(ids)
                spectra = self.decode(*told)
            with watch.stage("signal_processing"):
                parts.append(signal.spoken(spectra, told[1], (seed, number)))
        return Speech(np.concatenate(parts).clip(-1, 1), self.sample_rate, watch.seconds)

    def pieces(self, sentence: str, seed: int) -> Iterator[np.ndarray]:
        """Pitch and loudness are of the whole sentence, its spectra are made some frames at a time, each with the
        frames that it sees.
        """
        for number, ids in enumerate(self._phonemes(sentence)):
            told = self._told(ids)
            n, around = len(told[0]), self.config.context
            synthesis = signal.Synthesis(told[1], (seed, number))
            for begin, end in chunks(n):
                low, high = max(0, begin - around), min(n, end + around)
                spectra = self.decode(*(each[low:high] for each in told))
                yield synthesis.push(spectra[begin - low : end - low]).clip(-1, 1)

    def _phonemes(self, sentence: str) -> list[list[int]]:
        read = self._read(sentence)
        if not read:
            raise TextError(f"the voice has no phoneme for anything in {sentence[:40]!r}")
        return read

    def _told(self, ids: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What `decode` is told of a whole sentence."""
        known, lasting = self.encode(np.array(ids, np.int64))
        held = signal.held(known, signal.lengths(lasting))
        return held, *self.hear(held)


def chunks(n_frames: int) -> list[tuple[int, int]]:
    """Begin and end of the chunks in which so many frames are spoken; none but a whole sentence is below CHUNK.

    >>> chunks(20), chunks(95), chunks(96)
    ([(0, 20)], [(0, 24), (24, 95)], [(0, 24), (24, 72), (72, 96)])
    """
    ends, size = [0], CHUNK
    while n_frames - ends[-1] - size >= CHUNK:
        ends.append(ends[-1] + size)
        size *= 2
    return list(zip(ends, (*ends[1:], n_frames)))
