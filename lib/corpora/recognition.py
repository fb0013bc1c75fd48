"""What does a recogniser learn from, and on what is it judged? Recordings of a person and speech of embedded voices.

They are apart by application and by text. When a prompt was recorded nobody tells (`lib.corpora.prompts`), so they
cannot be held apart by time; what was recorded for one application (all of voicemail, all of the conference) reads
alike, and may have been read in one go: such a block is on one side as a whole. Then no text of a side is near to one
of another (`lib.corpora.duplicates`): what of validation is near to a test clip, and what of training is near to
either, is left out. A corpus with published splits, such as LibriSpeech, keeps them and is held apart by text alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lib import audio
from lib.corpora import duplicates, prompts
from lib.corpora import sentences as texts
from lib.corpora.base import SPLITS, Corpus, Sentence, Utterance
from lib.errors import AudioError, MissingDataError, ParameterError, SpeechError

TEST_BLOCKS = ("conf", "confbridge", "queue", "dictate", "followme")
VALIDATION_BLOCKS = ("dir", "agent", "priv", "privacy", "tt")
FEWEST_WORDS = 3  # "zed" alone is no sentence, and a recogniser of sentences guesses
FEWEST_CLIPS = 2  # of each split: of one clip neither an interval nor a batch can be made
# What a person can say: between the slowest announcement and the fastest auctioneer. Outside, the text is another's.
WORDS_PER_S = (0.4, 7.0)
CLIPPED_PEAK, CLIPPED_SHARE = 0.999, 0.01  # so many samples at full scale are no longer speech's own


@dataclass(frozen=True)
class Apart:
    """utterances: of all splits; left_out: id -> why."""

    utterances: tuple[Utterance, ...]
    left_out: dict[str, str]


def recordings() -> Corpus:
    """The prompts of at least `FEWEST_WORDS` words, whole blocks of them in each split."""
    corpus = prompts.load()
    kept = [u for u in corpus.utterances if len(u.normalized.split()) >= FEWEST_WORDS]
    placed = tuple(dataclasses.replace(u, split=_split(block(u))) for u in kept)
    return dataclasses.replace(corpus, utterances=placed)


def block(utterance: Utterance) -> str:
    """What is kept on one side with it: of a prompt the application that it is for, else the utterance alone.

    >>> block(Utterance("prompt-vm-press", "Press", "press", "allison", "train", 16_000, lambda: None))
    'vm'
    """
    name = utterance.id
    return name.removeprefix("prompt-").partition("-")[0] if name.startswith("prompt-") else name


def to_read(limits: dict[str, int]) -> tuple[Sentence, ...]:
    """Sentences for voices to read: the first of the novel's, so many of each split."""
    chosen = {
        "train": texts.training(("botchan",), limits.get("train", 0)),
        "validation": texts.validation()[: limits.get("validation", 0)],
        "test": texts.test_set("botchan", limits.get("test", 0)),
    }
    return tuple(sentence for split in SPLITS for sentence in chosen[split])


def hold_apart(utterances: Iterable[Utterance]) -> Apart:
    """What is near to nothing of a split that matters more: test before validation before training."""
    everything, known = tuple(utterances), duplicates.Known()
    kept: list[Utterance] = []
    left_out: dict[str, str] = {}
    for split in ("test", "validation", "train"):
        own = [u for u in everything if u.split == split]
        for utterance in own:
            if text := known.near(utterance.normalized):
                left_out[utterance.id] = f"near to {text!r}, which is held out of {split}"
            else:
                kept.append(utterance)
        for utterance in own:
            known.add(utterance.normalized)
    return Apart(tuple(kept), left_out)


def usable(utterances: Iterable[Utterance], longest_s: float = 30.0) -> Apart:
    """Those that can be learnt from: audible, not clipped, no longer than the window, with a text that fits."""
    kept: list[Utterance] = []
    left_out: dict[str, str] = {}
    for utterance in utterances:
        try:
            check(utterance.load(), utterance, longest_s)
        except (AudioError, MissingDataError) as error:
            left_out[utterance.id] = str(error)
        else:
            kept.append(utterance)
    return Apart(tuple(kept), left_out)


def check(waveform: np.ndarray, utterance: Utterance, longest_s: float = 30.0) -> None:
    """Raise AudioError where a clip, or its text beside it, cannot be learnt from."""
    rate, who = utterance.sample_rate, f"utterance {utterance.id}"
    waveform = audio.check(waveform, rate, who)
    seconds, words = len(waveform) / rate, len(utterance.normalized.split())
    if seconds > longest_s:
        raise AudioError(
            f"{who}: {seconds:.1f} s are longer than the window of {longest_s:g} s: cut it at a pause"
        )
    clipped = float(np.mean(np.abs(waveform) >= CLIPPED_PEAK))
    if clipped > CLIPPED_SHARE:
        raise AudioError(
            f"{who}: is clipped, {clipped:.0%} of its samples are at full scale: record it more quietly"
        )
    low, high = WORDS_PER_S
    if not low <= words / seconds <= high:
        raise AudioError(
            f"{who}: its text does not fit: {words} words in {seconds:.1f} s are {words / seconds:.1f} a second, "
            f"people say {low:g} to {high:g}; look whether the text belongs to this clip"
        )


def of_split(utterances: Sequence[Utterance], split: str, limit: int = 0) -> tuple[Utterance, ...]:
    """The first `limit` (0: all) of a split, speakers in turns; ParameterError where there are too few to work with."""
    own = [u for u in utterances if u.split == split]
    by_speaker = [[u for u in own if u.speaker == s] for s in sorted({u.speaker for u in own})]
    chosen = texts.in_turns(by_speaker)[: limit or None]
    if len(chosen) < FEWEST_CLIPS:
        raise ParameterError(
            f"{len(chosen)} clip{'s' * (len(chosen) != 1)} of the {split} split cannot be worked with: give at least "
            f"{FEWEST_CLIPS} that differ in their texts"
        )
    return chosen


def _split(name: str) -> str:
    if name in TEST_BLOCKS:
        return "test"
    return "validation" if name in VALIDATION_BLOCKS else "train"


def refuse_overlap(utterances: Sequence[Utterance]) -> None:
    """Raise SpeechError where a block or a text is on two sides."""
    sides: dict[str, set[str]] = {}
    for utterance in utterances:
        sides.setdefault(block(utterance), set()).add(utterance.split)
    if shared := sorted(name for name, splits in sides.items() if len(splits) > 1):
        raise SpeechError(f"recordings of {', '.join(shared[:5])} are on two sides: hold them apart by block")
    if near := hold_apart(utterances).left_out:
        name, why = next(iter(near.items()))
        raise SpeechError(f"{len(near)} texts are on two sides ({name}: {why}): use `hold_apart` first")
