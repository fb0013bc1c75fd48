"""How much of a voice is there to learn from, and does it say anything that it is judged on? A part of a corpus.

Sentences of the train split that are near to one of the validation or test split are left out, and validation
sentences near to one of the test split (`duplicates`): a person who recorded a menu says "press one" again and again.
What is left is taken in an order drawn by the sentence's hash, so 1 minute is the beginning of 3, and 3 of 10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lib.corpora.base import Corpus, Utterance
from lib.corpora.duplicates import Known, words
from lib.errors import MissingDataError, ParameterError, SpeechError

SHORTEST_S, LONGEST_S = (
    1.0,
    12.0,
)  # of a clip to learn from: shorter ones are all edge, longer ones fill a batch
FEWEST = 2  # clips to learn from: of one, nothing could be told from chance


@dataclass(frozen=True)
class Portion:
    """corpus: what is learnt from and validated on, without the test split; seconds: of its train split; left_out: ids
    of what was near to a sentence held out.
    """

    corpus: Corpus
    seconds: float
    left_out: tuple[str, ...]


def portion(corpus: Corpus, minutes: float = 0.0, *, validation: int = 8) -> Portion:
    """The first `minutes` (0: all) of the train split, with `validation` sentences to watch.

    Raises MissingDataError where fewer than `FEWEST` clips are left, with the reason of the first that was skipped.
    """
    if not minutes >= 0:
        raise ParameterError(f"{minutes} minutes of speech cannot be taken: give 0 for all, or a length")
    free, watched = apart(corpus)
    near = {u.id for split in ("train", "validation") for u in corpus.split(split)}
    near -= {u.id for u in (*watched, *free)}
    chosen, seconds = [], 0.0
    for utterance, length in _lengths(corpus, in_drawn_order(free)):
        if not SHORTEST_S <= length <= LONGEST_S:
            corpus.skipped[utterance.id] = f"it lasts {length:.1f} s, not {SHORTEST_S:g} to {LONGEST_S:g}"
            continue
        if minutes and seconds + length > 60 * minutes and len(chosen) >= FEWEST:
            break
        chosen.append(utterance)
        seconds += length
    if len(chosen) < FEWEST:
        reasons = [f"{name}: {why}" for name, why in corpus.skipped.items()]
        raise MissingDataError(
            f"corpus {corpus.name} leaves {len(chosen)} clip{'' if len(chosen) == 1 else 's'} to learn from, at least "
            f"{FEWEST} are needed ({len(near)} say what is held out for judging"
            + (f"; skipped: {'; '.join(reasons[:3])}" if reasons else "")
            + "): record more sentences"
        )
    return Portion(
        replace(corpus, utterances=(*chosen, *in_drawn_order(watched)[:validation])),
        seconds,
        tuple(sorted(near)),
    )


def apart(corpus: Corpus) -> tuple[list[Utterance], list[Utterance]]:
    """(train, validation) utterances of a corpus, each without what is near to a sentence of the splits behind it."""
    tests = Known(u.normalized for u in corpus.split("test"))
    watched = [u for u in corpus.split("validation") if tests.near(u.normalized) is None]
    held_out = Known(u.normalized for u in (*corpus.split("test"), *watched))
    return [u for u in corpus.split("train") if held_out.near(u.normalized) is None], watched


def in_drawn_order(utterances: Sequence[Utterance]) -> list[Utterance]:
    """By the hash of the words: the same on every machine, whatever the corpus is sorted by."""

    def drawn(utterance: Utterance) -> tuple[str, str]:
        return hashlib.sha256(" ".join(words(utterance.normalized)).encode()).hexdigest(), utterance.id

    return sorted(utterances, key=drawn)


def _lengths(corpus: Corpus, utterances: Sequence[Utterance]):
    """(utterance, seconds) of the clips that can be read; the others are named in `corpus.skipped`."""
    for utterance in utterances:
        try:
            yield utterance, len(utterance.load()) / utterance.sample_rate
        except SpeechError as error:
            corpus.skipped[utterance.id] = str(error)
