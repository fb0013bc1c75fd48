"""What every text-to-speech system looks like from outside, and what all of them share.

A system is loaded once and then speaks: `synthesize(text, seed)` -> Speech. Long text is cut at sentence ends, so a
book costs no more memory than its longest sentence, and no system sees longer input than it was trained on.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lib import text as text_module
from lib.errors import AudioError
from lib.systems.model import Model

if TYPE_CHECKING:
    from lib.features import MelConfig

PAUSE_S = 0.25  # silence between the sentences of a long text


@dataclass(frozen=True)
class Speech:
    """Spoken text. waveform: (n_samples,) float32 in [-1, 1]; seconds: compute time of each stage, in order.

    phones, frames: the symbols spoken and their exact lengths in frames, where the system knows them (one
    sentence only). notes: what went wrong on the way, in words (skipped text, a cut by the length guard); empty
    where nothing is known to have. nfe: how often an iterative network was evaluated; None where nothing iterates.
    """

    waveform: np.ndarray
    sample_rate: int
    seconds: dict[str, float] = field(default_factory=dict)
    phones: tuple[str, ...] | None = None
    frames: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    nfe: int | None = None

    @property
    def audio_s(self) -> float:
        """Length of the speech in seconds."""
        return len(self.waveform) / self.sample_rate

    @property
    def compute_s(self) -> float:
        """Seconds it took to make it, all stages together."""
        return sum(self.seconds.values())


class Stopwatch:
    """Adds up seconds per stage; `synchronize` waits for the device, so that queued work is not counted as done."""

    def __init__(self, synchronize=lambda: None):
        self.seconds: dict[str, float] = {}
        self._synchronize = synchronize

    @contextmanager
    def stage(self, name: str):
        self._synchronize()
        start = time.perf_counter()
        yield
        self._synchronize()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class System(Model):
    """A loaded text-to-speech system; subclasses say how one sentence is spoken."""

    kind = "speech"
    packages = ("espeakng-loader", "phonemizer-fork")  # how it comes from text to phones
    draws: bool = True  # whether another seed says the same in another way
    attends: bool = False  # whether it finds its own way through a text, and notes where it went astray
    streams: bool = False  # whether a sentence begins to be heard before it is done

    def prepare(self) -> None:
        """What a resident program would have done before the next sentence; called outside of what is timed."""

    @abstractmethod
    def speak(self, sentence: str, seed: int) -> Speech:
        """Synthesize one sentence (stripped, speakable, of bounded length)."""

    def synthesize(self, text: str, seed: int = 0) -> Speech:
        """Speak `text` of any length; the same seed gives the same samples on one machine and thread count.

        Raises TextError for text that holds nothing to speak, AudioError if the system produces NaN or nothing.
        """
        sentences = text_module.sentences(text)
        if len(sentences) == 1:
            return self._checked(self.speak(sentences[0], seed), text)
        parts, seconds, notes, nfe = [], {}, [], None
        pause = np.zeros(round(PAUSE_S * self.sample_rate), np.float32)
        for index, sentence in enumerate(sentences):
            speech = self.speak(sentence, seed + index)
            parts += [pause, speech.waveform] if parts else [speech.waveform]
            notes += [f"sentence {index + 1}: {note}" for note in speech.notes]
            for stage, spent in speech.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
            nfe = nfe if speech.nfe is None else (nfe or 0) + speech.nfe
        waveform = np.concatenate(parts)
        return self._checked(Speech(waveform, self.sample_rate, seconds, notes=tuple(notes), nfe=nfe), text)

    def stream(self, text: str, seed: int = 0) -> Iterator[np.ndarray]:
        """Speak `text` of any length piece by piece, (n_samples,) float32 each as soon as it is known: together what
        `synthesize` makes, as far as it, or its vocoder, streams that. Who does not stream hands out whole sentences.

        Errors as of `synthesize`; TextError at once.
        """
        return self._streamed(text_module.sentences(text), seed)

    def pieces(self, sentence: str, seed: int) -> Iterator[np.ndarray]:
        """One sentence as `stream` hands it out."""
        yield self.speak(sentence, seed).waveform

    def _streamed(self, sentences: Sequence[str], seed: int) -> Iterator[np.ndarray]:
        for index, sentence in enumerate(sentences):
            if index:
                yield np.zeros(round(PAUSE_S * self.sample_rate), np.float32)
            for piece in self.pieces(sentence, seed + index):
                self._refuse_broken(piece, sentence)
                yield piece

    def _checked(self, speech: Speech, text: str) -> Speech:
        self._refuse_broken(speech.waveform, text)
        return speech

    def _refuse_broken(self, waveform: np.ndarray, text: str) -> None:
        if not waveform.size or not np.isfinite(waveform).all():
            raise AudioError(
                f"{self.name}/{self.variant} made {'NaN' if waveform.size else 'no'} samples of {text[:60]!r}: "
                "its weights are broken; load it again from its package or checkpoint"
            )


@dataclass(frozen=True)
class Transcript:
    """text: what was recognised; seconds: compute time of each stage; audio_s: length of what was heard."""

    text: str
    seconds: dict[str, float] = field(default_factory=dict)
    audio_s: float = 0.0

    @property
    def compute_s(self) -> float:
        """Seconds it took, all stages together."""
        return sum(self.seconds.values())


class Recogniser(Model):
    """A loaded speech recogniser."""

    kind = "recogniser"

    @abstractmethod
    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> Transcript:
        """What is said in a clip (n_samples,) of any length."""


class Vocoder(Model):
    """What makes a waveform of a mel spectrogram."""

    kind = "vocoder"
    mel: "MelConfig"  # of the spectrograms it takes
    streams: bool = False  # whether it has `stream(chunks)`, which speaks while the mel still comes

    @abstractmethod
    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        """(n_frames, n_bands) log-mel -> (n_frames * hop,) float32 in [-1, 1]; the seed draws noise, where it uses any.

        Raises AudioError for a mel of another shape or with values that are not finite.
        """

    def expect_predicted(self) -> None:
        """From now on the mels are those that an acoustic model guesses, not those of speech."""

    def checked(self, log_mel: np.ndarray) -> np.ndarray:
        """The log-mel as float32 (n_frames, n_bands), or AudioError."""
        log_mel = np.asarray(log_mel)
        wrong = log_mel.ndim != 2 or log_mel.shape[1] != self.mel.n_bands or not len(log_mel)
        if wrong or not np.isfinite(log_mel).all():
            raise AudioError(
                f"log-mel of shape {log_mel.shape} is not (at least 1 frame, {self.mel.n_bands}) finite numbers"
            )
        return log_mel.astype(np.float32)
