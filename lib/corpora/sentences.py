"""Which texts are voices trained on, and which are they judged on? Four test sets that nobody trains on.

botchan: 100 sentences of a novel; wordnet: 100 everyday ones; prompts: what the recorded person says in the corpus's
test split; sus: 50 without sense, which nobody can guess. A training sentence that says nearly the same as one of them,
or as one of the sentences that trainings are validated on, is left out (`lib.corpora.duplicates`). That is true of
`TEXTS`; the prompts are split by equal texts alone, and 14 of their training split are near to one of the test split.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeVar

from lib.corpora import duplicates, gutenberg, prompts, unpredictable, wordnet
from lib.corpora.base import Sentence
from lib.errors import ParameterError, unknown

Item = TypeVar("Item")

TEST_SETS = {
    "botchan": "a novel",
    "wordnet": "everyday sentences",
    "prompts": "telephone prompts",
    "sus": "sentences without sense",
}
TEXTS = ("botchan", "wordnet")  # that can be trained on
WORDNET_TEST = 100
FEWEST_WORDS = 4  # of a test sentence; the most are `wordnet.MOST_WORDS`


def test_set(name: str, limit: int | None = None) -> tuple[Sentence, ...]:
    """The first `limit` sentences of one of `TEST_SETS`; ParameterError for another name, MissingDataError where the
    texts cannot be had here.
    """
    if name not in TEST_SETS:
        raise unknown("test set", name, TEST_SETS)
    return _test_set(name)[:limit]


def training(names: Sequence[str], limit: int | None = None) -> tuple[Sentence, ...]:
    """The training sentences of some of `TEXTS`, the first `limit` of all: texts take turns in proportion to their
    lengths, so that every beginning holds as much of each as the whole.
    """
    return in_turns([_training(name) for name in check(names)])[:limit]


def check(names: Sequence[str]) -> tuple[str, ...]:
    """The names of texts to train on, each once; ParameterError for an unknown one, and for none."""
    if not names:
        raise ParameterError(f"no text to train on is named; known: {', '.join(TEXTS)}")
    for name in names:
        if name not in TEXTS:
            raise unknown("text", name, TEXTS)
    return tuple(dict.fromkeys(names))


def validation(limit: int | None = None) -> tuple[Sentence, ...]:
    """What every training is validated on, whatever it learns from: sentences of the novel."""
    return gutenberg.split("validation", limit)


def in_turns(parts: Sequence[Sequence[Item]]) -> tuple[Item, ...]:
    """Several lists as one, each spread evenly over the whole.

    >>> in_turns(["abcd", "XY"])
    ('a', 'X', 'b', 'c', 'Y', 'd')
    """
    placed = [
        ((i + 0.5) / len(part), number, item)
        for number, part in enumerate(parts)
        for i, item in enumerate(part)
    ]
    return tuple(item for _, _, item in sorted(placed, key=lambda place: place[:2]))


@functools.cache
def held_out() -> tuple[Sentence, ...]:
    """Every sentence that no training may come near to: all test sets, the novel's validation sentences and what the
    recorded person says in that corpus's validation split.
    """
    tests = [sentence for name in TEST_SETS for sentence in _test_set(name)]
    return (*tests, *validation(), *_prompts("validation"))


def candidates() -> tuple[Sentence, ...]:
    """What of WordNet may be trained on: all that reads well and is near to nothing held out."""
    return duplicates.apart(wordnet.candidates(), duplicates.Known(s.text for s in held_out()))


@functools.cache
def _test_set(name: str) -> tuple[Sentence, ...]:
    if name == "botchan":
        return gutenberg.split("test")
    if name == "sus":
        return unpredictable.sentences()
    if name == "wordnet":
        return _everyday()
    return tuple(s for s in _prompts("test") if FEWEST_WORDS <= len(s.text.split()) <= wordnet.MOST_WORDS)


def _everyday() -> tuple[Sentence, ...]:
    """The first of WordNet's whole sentences, in the order drawn by their hash, that are not near to each other."""
    drawn, known = [], duplicates.Known()
    for sentence in wordnet.candidates():
        if len(sentence.text.split()) >= FEWEST_WORDS and known.near(sentence.text) is None:
            known.add(sentence.text)
            drawn.append(Sentence(sentence.id, sentence.text, "test"))
        if len(drawn) == WORDNET_TEST:
            break
    return tuple(drawn)


def _prompts(split: str) -> tuple[Sentence, ...]:
    """The texts of a split of the recordings, each once, whatever its case and punctuation."""
    once: dict[tuple[str, ...], Sentence] = {}
    for utterance in prompts.load().split(split):
        text = utterance.normalized.removeprefix("...")
        once.setdefault(duplicates.words(text), Sentence(utterance.id, text, split))
    return tuple(once.values())


def _training(name: str) -> tuple[Sentence, ...]:
    return gutenberg.split("train") if name == "botchan" else wordnet.chosen()
