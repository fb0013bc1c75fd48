"""Do two texts say nearly the same? What a voice was trained on must not be what it is judged on, nor almost.

Two texts are near when, after normalisation (numbers and abbreviations in words, small letters, no punctuation),
their words are equal, or four words or more of one, all that it has, stand in a row in the other, or the word edit
distance is at most a quarter of the longer one's words (`SHARE`): of four to seven words one may differ, of eight two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from lib.corpora.base import Sentence
from lib.errors import TextError
from lib.normalise import spoken
from lib.text import for_raw_comparison

SHARE = 0.25  # of the longer text's words that may differ
CONTAINED = 4  # words from which on a whole text inside another counts


def words(text: str) -> tuple[str, ...]:
    """The words of a text as it is read aloud, in small letters."""
    try:
        return tuple(for_raw_comparison(spoken(text)).split())
    except TextError:  # nothing in it is spoken
        return ()


def near(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two word sequences say nearly the same: see above.

    >>> near("he paid the bill".split(), "she paid the bill".split()), near(["dog"], ["cat"])
    (True, False)
    """
    short, long = sorted((tuple(one), tuple(other)), key=len)
    if len(short) >= CONTAINED and any(
        long[i : i + len(short)] == short for i in range(len(long) - len(short) + 1)
    ):
        return True
    allowed = int(SHARE * len(long))
    return len(long) - len(short) <= allowed and _distance(short, long) <= allowed


class Known:
    """Texts that another text may be near to, found without comparing it with each of them."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._texts: list[tuple[str, ...]] = []
        self._by_piece: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Know one more text."""
        said = words(text)
        for piece in _pieces(said):
            self._by_piece[piece].add(len(self._texts))
        self._texts.append(said)

    def near(self, text: str) -> str | None:
        """The words of the first known text that `text` is near to; None where there is none."""
        said = words(text)
        found = sorted(set().union(*(self._by_piece.get(piece, ()) for piece in _pieces(said))))
        return next((" ".join(self._texts[i]) for i in found if near(said, self._texts[i])), None)


def apart(sentences: Iterable[Sentence], known: Known) -> tuple[Sentence, ...]:
    """The sentences that are near to none of the known texts, in order."""
    return tuple(sentence for sentence in sentences if known.near(sentence.text) is None)


def groups(texts: Iterable[str]) -> list[int]:
    """Of each text the number of the group that it belongs to: those near to the first of it.

    >>> groups(["you are now muted", "nobody is here today", "you are now unmuted", "You are now muted."])
    [0, 1, 0, 0]
    """
    first, numbers = Known(), {}
    made = []
    for text in texts:
        known = first.near(text)
        if known is None:
            first.add(text)
            known = " ".join(words(text))
            numbers[known] = len(numbers)
        made.append(numbers[known])
    return made


def _pieces(said: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Pairs of neighbouring words; of texts too short to differ in any, all that they have.

    Near texts of four words and more share a pair: so many edits leave two neighbours somewhere untouched.
    """
    return [said] if len(said) < 3 else list(zip(said, said[1:]))


def _distance(one: Sequence[str], other: Sequence[str]) -> int:
    """The word edit distance (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, word in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, candidate in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != candidate))
    return row[-1]
