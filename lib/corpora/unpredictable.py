"""What does a listener hear who cannot guess? Semantically unpredictable sentences: right grammar, no sense.

Benoit, Grice and Hazan (1996), "The SUS test", Speech Communication 18(4): short, common words fill five structures,
no content word twice in its class. The words are WordNet's, by how often they stand in its tagged texts; the present
tense is used, whose forms follow a rule. Of a sentence like "The table walks through the blue truth" no word follows
from the others, so a recogniser's or a person's knowledge of what people say is of no help.
"""

from __future__ import annotations

import hashlib
import re

import numpy as np

from lib.corpora import taste, wordnet
from lib.corpora.base import Sentence

EACH = 10  # sentences of each structure
SEED = 1996
MOST_LETTERS = 6
# structure -> its pattern; every {noun} and so on takes the next word of its class
STRUCTURES = {
    "intransitive": "The {noun} {intransitive_s} {preposition} the {adjective} {noun}.",
    "transitive": "The {adjective} {noun} {transitive_s} the {noun}.",
    "imperative": "{Transitive} the {noun} and the {noun}.",
    "interrogative": "{Question} does the {noun} {transitive} the {adjective} {noun}?",
    "relative": "The {noun} {transitive_s} the {noun} that {intransitive_s}.",
}
PREPOSITIONS = ("through", "past", "near", "by", "from", "with", "on", "in", "at", "to")
QUESTIONS = ("how", "when", "where", "why")
# Of WordNet's sentence frames: "Something ----s", "Somebody ----s"; "Somebody ----s something", "... somebody", and
# with something as the subject.
INTRANSITIVE, TRANSITIVE = frozenset({1, 2}), frozenset({8, 9, 10, 11})
LEAST = {"noun": 40, "adjective": 15, "transitive": 15, "intransitive": 5}  # how often a word must stand there
# They count, point or help, stand for something else, or do not fit into a place of their class; plurals, for which the
# verb would change; two syllables that are written as one; homographs, which nobody can read alone; colours of people.
NOT_FULL = frozenset(
    "be am do does have has get let can may will dare need ought such own more most much many few less least same "
    "next last past other another each all both some any no one two three four five six seven eight nine ten twelve "
    "first second third fourth main mere sole very then else due like up down out off over on in to well that thing "
    "way lot bit kind sort use worth able gone non greek south fig bob think say nod mean wish cease "
    "quiet prior real trial react create lion fuel cruel prayer people means news woods words bow lead tear read live "
    "close wind black white brown god".split()
)


def sentences(each: int = EACH, seed: int = SEED) -> tuple[Sentence, ...]:
    """`each` of every structure, in turns, so that every prefix holds all five; the same seed gives the same."""
    draws = {name: _Draw(pool, (seed, i)) for i, (name, pool) in enumerate(sorted(pools().items()))}
    made = []
    for _ in range(each):
        for pattern in STRUCTURES.values():
            text = re.sub(r"\{(\w+?)(_s)?\}", lambda m: _filled(m[1], bool(m[2]), draws), pattern)
            made.append(Sentence(f"sus-{hashlib.sha256(text.lower().encode()).hexdigest()[:8]}", text, "test"))
    return tuple(made)


def pools() -> dict[str, tuple[str, ...]]:
    """Class -> the words that may stand in its place, in order: of one syllable, common, and mostly of that class."""
    counts, totals, frames = wordnet.senses(), wordnet.words(), wordnet.frames()
    by_class: dict[tuple[str, str], int] = {}
    for (word, kind, _), count in counts.items():
        by_class[word, kind] = by_class.get((word, kind), 0) + count

    def usual(kind: str, least: int) -> list[str]:
        return sorted(
            word
            for (word, its), n in by_class.items()
            if its == kind and n >= least and 2 * n >= totals[word] and _short(word)
        )

    verbs = usual("verb", LEAST["intransitive"])
    takes = {verb: frames.get(verb, frozenset()) for verb in verbs}
    return {
        "noun": tuple(usual("noun", LEAST["noun"])),
        "adjective": tuple(usual("adjective", LEAST["adjective"])),
        "transitive": tuple(
            v for v in verbs if takes[v] & TRANSITIVE and by_class[v, "verb"] >= LEAST["transitive"]
        ),
        "intransitive": tuple(v for v in verbs if takes[v] & INTRANSITIVE and not takes[v] & TRANSITIVE),
        "preposition": PREPOSITIONS,
        "question": QUESTIONS,
    }


def third_person(verb: str) -> str:
    """The verb after "she", by rule.

    >>> [third_person(v) for v in ("walk", "pass", "cry", "play", "go")]
    ['walks', 'passes', 'cries', 'plays', 'goes']
    """
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ies"
    return verb + ("es" if re.search(r"(?:s|x|z|ch|sh|[^aeiou]o|^do|^go)$", verb) else "s")


class _Draw:
    """Words in a drawn order; after the last the order begins anew."""

    def __init__(self, pool: tuple[str, ...], seed: tuple[int, int]) -> None:
        self._words = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))]
        self._next = 0

    def __call__(self) -> str:
        self._next += 1
        return self._words[(self._next - 1) % len(self._words)]


def _filled(place: str, third: bool, draws: dict[str, _Draw]) -> str:
    word = draws[place.lower()]()
    word = third_person(word) if third else word
    return word.capitalize() if place[0].isupper() else word


def _short(word: str) -> bool:
    """Of one syllable, by its letters, and fit to be heard."""
    vowels = re.findall(r"[aeiouy]+", re.sub(r"(?<=[^aeioul])e$|(?<=[aeiouyrw]l)e$", "", word))
    return 3 <= len(word) <= MOST_LETTERS and len(vowels) == 1 and word not in NOT_FULL and taste.fit(word)
