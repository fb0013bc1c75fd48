"""Whose voice is learnt, what is the nearest that can be had without learning, and the best that the vocoder allows?

Similarity is to clips of the validation split, which say other sentences than are judged. No weight learnt from them,
neither an acoustic model's nor the vocoder's; some are those whose loss chooses the learning rates (`rates`). How a new
voice begins is chosen by training clips (`lib.optimize.new_voice.begin_as_the_likest`), not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lib import prosody, systems
from lib.corpora import duplicates, unheard
from lib.corpora.base import Corpus, Sentence, Utterance
from lib.measure import evaluate
from lib.measure.evaluate import Clip

if TYPE_CHECKING:
    from lib.measure.scorer import Scorer
    from lib.systems.base import System

VOCODER = "istft"  # of the zoo: it learnt from the train splits of both voices of `lib.corpora.unheard`
TARGET = "torch/cpu"
REFERENCES = 12  # clips of the person that similarity is to
TRIED = 3  # of the judged sentences, by which the nearest of the base's voices is chosen
SECONDS, WORDS = (1.2, 12.0), 3  # of a clip that is judged


@dataclass(frozen=True)
class Person:
    """recordings: held-out clips, whose sentences the learnt voices read; references: of others, held out, too;
    pitch_st: (n,) semitones of all voiced frames of the recordings; rates: (n,) phones/s of each.
    """

    voice: str
    recordings: tuple[Clip, ...]
    references: tuple[Clip, ...]
    pitch_st: np.ndarray
    rates: np.ndarray

    @property
    def sentences(self) -> tuple[Sentence, ...]:
        """What the learnt voices read."""
        return tuple(Sentence(clip.id, clip.text, "test") for clip in self.recordings)


def known(voice: str, n_sentences: int) -> Person:
    """One of `lib.corpora.unheard`."""
    return of(unheard.load(voice), n_sentences)


def of(corpus: Corpus, n_sentences: int) -> Person:
    """The one speaker of a corpus, by the held-out clips, of those that say nearly the same the first: an interval over
    sentences is as wide as so many sentences make it. MissingDataError where none is of a usual length.
    """
    once = replace(corpus, utterances=_once(corpus.split("test")))
    recordings = evaluate.recordings(once, limit=n_sentences, seconds=SECONDS, words=WORDS)
    references = evaluate.recordings(corpus, split="validation", limit=REFERENCES, seconds=SECONDS, words=WORDS)
    return Person(corpus.name, recordings, references, *movement(recordings))


def movement(clips: Sequence[Clip]) -> tuple[np.ndarray, np.ndarray]:
    """(semitones above 1 Hz of every voiced frame, phones a second of every clip)."""
    pitch, rates = [], []
    for clip in clips:
        track = prosody.f0(clip.waveform, clip.sample_rate)
        pitch.append(12 * np.log2(track.hz[track.voiced].astype(np.float64)))
        rates.append(prosody.prosody(clip.waveform, clip.sample_rate, text=clip.text).rate)
    return np.concatenate(pitch), np.array(rates)


def copied(person: Person, threads: int = 2) -> tuple[Clip, ...]:
    """The person's held-out clips as the vocoder copies them: the ceiling of every voice that speaks through it."""
    vocoder = systems.load(VOCODER, target=TARGET, threads=threads)
    return evaluate.copies(person.recordings, vocoder.vocode, f"{VOCODER} copies {person.voice}")[1]


def load_base(system: str, threads: int = 2) -> System:
    """The zoo's system before that vocoder."""
    return systems.load(system, target=TARGET, threads=threads, vocoder=VOCODER)


def nearest(base: System, person: Person, scorer: Scorer) -> System:
    """The base in whichever of its voices is the most like the person when it says the first of the sentences that are
    judged, which rather flatters it: a learnt voice is not chosen so.
    """
    voice = [(clip.waveform, clip.sample_rate) for clip in person.references]

    def likeness(speaker: str) -> float:
        spoken = evaluate.speak(base.adjusted(speaker=speaker), person.sentences[:TRIED])
        return float(np.mean([scorer.similarity(voice, (clip.waveform, clip.sample_rate)) for clip in spoken]))

    return base.adjusted(speaker=max(base.speakers, key=likeness))


def _once(utterances: Sequence[Utterance]) -> tuple[Utterance, ...]:
    numbers = duplicates.groups(utterance.normalized for utterance in utterances)
    return tuple(u for place, u in enumerate(utterances) if numbers.index(numbers[place]) == place)
