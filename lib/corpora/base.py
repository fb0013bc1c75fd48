"""The one shape of speech data: an utterance is a text, who says it, and a waveform loaded when it is asked for; a
sentence is a text that nobody has said yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from lib import audio
from lib.errors import AudioError, MissingDataError, unknown

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Sentence:
    """A text to speak. id: its set's name and digits of its words' hash; split: "train", "validation" or "test"."""

    id: str
    text: str
    split: str


@dataclass(frozen=True)
class Utterance:
    """One spoken sentence.

    text: as published; normalized: as spoken (numbers and abbreviations in words); read: returns
    (waveform (n_samples,) float32, sample_rate) and may raise AudioError or MissingDataError;
    phones, frames: phone symbols and their lengths in frames of 256 samples at 22.05 kHz, where they are known.
    """

    id: str
    text: str
    normalized: str
    speaker: str
    split: str
    sample_rate: int
    read: Callable[[], tuple[np.ndarray, int]] = field(repr=False, compare=False)
    phones: tuple[str, ...] | None = None
    frames: tuple[int, ...] | None = None

    def load(self, sample_rate: int | None = None) -> np.ndarray:
        """The waveform, (n_samples,) float32, resampled to `sample_rate` Hz if one is given."""
        waveform, rate = self.read()
        waveform = audio.check(waveform, rate, f"utterance {self.id}")
        return waveform if sample_rate is None else audio.resample(waveform, rate, sample_rate)


@dataclass
class Corpus:
    """Utterances with their source and licence.

    skipped: id -> reason of clips that could not be used (where there is no id, "file:line" stands for it);
    speakers: speaker -> what the corpus publishes about the person, such as {"gender": "female"}.
    """

    name: str
    source: str
    licence: str
    utterances: tuple[Utterance, ...]
    skipped: dict[str, str] = field(default_factory=dict)
    speakers: dict[str, dict[str, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.utterances)

    def split(self, name: str) -> tuple[Utterance, ...]:
        """The utterances of "train", "validation" or "test"."""
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
        return tuple(u for u in self.utterances if u.split == name)

    def waveforms(
        self, split: str | None = None, sample_rate: int | None = None
    ) -> Iterator[tuple[Utterance, np.ndarray]]:
        """(utterance, waveform) pairs; a clip that cannot be read is logged, counted in `skipped`, and left out."""
        for utterance in self.utterances if split is None else self.split(split):
            try:
                yield utterance, utterance.load(sample_rate)
            except (AudioError, MissingDataError) as error:
                self.skipped[utterance.id] = str(error)
                log.warning("%s: skipped %s: %s", self.name, utterance.id, error)
