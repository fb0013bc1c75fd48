"""Everyday English to read: the sentences that WordNet 3.0 quotes to show how a word is used, and its common words.

WordNet (Fellbaum 1998, Princeton University), out of the Debian package wordnet-base; no root needed. A gloss is a
definition and, in quotation marks, examples: a small amount; "he took a dab of butter". What is kept of them reads
aloud well: whole sentences of 4 to 30 words, phrases of two or three, single words; plain letters, digits and
punctuation. Quotations from named authors are left out. Where there is no apt, the texts are missing and whatever needs
them says so.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import re
from collections import Counter
from pathlib import Path

from lib.corpora import fetch, taste
from lib.corpora.base import Sentence
from lib.errors import MissingDataError

SOURCE = "WordNet 3.0 (Princeton University), Debian package wordnet-base"
LICENCE = "WordNet 3.0 licence (free to use, copy, modify and distribute with its notice)"
CHOSEN = Path(__file__).with_name("wordnet_chosen.gz")  # ids, as `lib.studies.texts` chose them
MOST_WORDS = 30
LEAST_COUNT = 5  # how often a single word stands in WordNet's tagged texts, to be read alone

CLASSES = {"1": "noun", "2": "verb", "3": "adjective", "4": "adverb", "5": "adjective"}  # of a sense key
_FOLDER = "usr/share/wordnet"
_FILES = ("noun", "verb", "adj", "adv")

_QUOTE = re.compile(r'"([^"]*)"')
_PLAIN = re.compile(r"[A-Za-z0-9$][A-Za-z0-9 ,.;:'?!$%-]*")
_RELATIVE = r"(?:who|whom|whose|which|that|where|when|while|as|than|if|because|since|for|after|before)"
# A form that no participle looks like, or a pronoun that only a subject has: the sign of a whole sentence.
_FINITE = re.compile(
    r"\b(?:is|are|was|were|am|has|have|had|do|does|did|can|could|will|would|shall|should|may|might|must|cannot|"
    r"I|he|she|we|they|let's|\w+n't|(?:I|it|he|she|that|there|what|who|we|they|you)'(?:s|d|ll|re|ve|m))\b|"
    r"^(?:it|you|there)\b",
    re.I,
)
_ASKS = re.compile(
    r"(?:(?:what|who|why|how|where|when|which) (?:\w+ )?)?(?:do|does|did|is|are|was|were|can|could|will|would|have|has)"
    r"(?:n't| not)? (?:I|you|he|she|it|we|they|there|this|that)\b",
    re.I,
)


def folder() -> Path:
    """Where WordNet's files lie, fetched once."""
    return fetch.from_debian("wordnet-base", f"{_FOLDER}/data.noun") / _FOLDER


@functools.cache
def candidates() -> tuple[Sentence, ...]:
    """Every example and every common word that reads aloud well, in an order drawn by their hash; no words twice.

    All are of the split "train"; which of them are taken out to be judged on, and which are chosen, others say.
    """
    texts = [
        text
        for kind in _FILES
        for gloss in glosses(kind)
        for example in examples(gloss)
        if (text := clean(example, verb=kind == "verb"))
    ]
    texts += [f"{word.capitalize()}." for word, count in sorted(words().items()) if count >= LEAST_COUNT]
    unique: dict[str, str] = {}
    for text in texts:
        if taste.fit(text):
            unique.setdefault(_key(text), text)  # the first of those that say the same
    return tuple(Sentence(f"wordnet-{key[:10]}", text, "train") for key, text in sorted(unique.items()))


@functools.cache
def chosen() -> tuple[Sentence, ...]:
    """The training sentences: those of `CHOSEN`, best covering first. Nothing is phonemised for it."""
    known = {sentence.id: sentence for sentence in candidates()}
    ids = read_ids(CHOSEN.read_bytes())
    lost = [name for name in ids if name not in known]
    if lost:
        raise MissingDataError(
            f"{len(lost)} of the {len(ids)} sentences in {CHOSEN.name} are not in this WordNet, the first is "
            f"{lost[0]}: install Debian's wordnet-base 3.0, or choose anew with `python -m lib.studies.texts`"
        )
    return tuple(known[name] for name in ids)


def read_ids(data: bytes) -> list[str]:
    """The ids in a file made by `write_ids`."""
    digits = gzip.decompress(data).hex()
    return [f"wordnet-{digits[i : i + 10]}" for i in range(0, len(digits), 10)]


def write_ids(ids: list[str]) -> bytes:
    """Ids as five bytes each, compressed; the same ids give the same bytes."""
    return gzip.compress(bytes.fromhex("".join(name.removeprefix("wordnet-") for name in ids)), 9, mtime=0)


def kind(text: str) -> str:
    """ "word", "phrase" (two or three words), "question", "number" (or abbreviation), or "sentence"."""
    n = len(text.split())
    if n < 4:
        return "word" if n == 1 else "phrase"
    if text.endswith("?"):
        return "question"
    return (
        "number"
        if re.search(r"\d|\b[A-Z]{2,}\b|\b(?:[A-Za-z]\.){2}|\b(?:Mr|Mrs|Dr|St)\.", text)
        else "sentence"
    )


def glosses(kind: str) -> list[str]:
    """The glosses of a part of speech: "noun", "verb", "adj" or "adv"."""
    lines = (folder() / f"data.{kind}").read_text(encoding="latin-1").splitlines()
    return [line.split(" | ", 1)[1] for line in lines if not line.startswith(" ")]


def examples(gloss: str) -> list[str]:
    """What a gloss quotes between two semicolons, in order; nothing of a gloss whose quotation marks do not pair.

    >>> examples('small; "a dab; no more"; "to be" - Shakespeare; of the letter "x" only')
    ['a dab; no more']
    """
    if gloss.count('"') % 2:
        return []
    return [
        match[1].strip()
        for match in _QUOTE.finditer(gloss)
        if re.search(r"(?:^|[;,:])$", gloss[: match.start()].rstrip())
        and re.match(r"$|[;,]", gloss[match.end() :].lstrip())
    ]


def clean(example: str, *, verb: bool = False) -> str | None:
    """An example as it is read aloud, with a capital and a final stop; None where it is no sentence or bears marks
    that nobody reads: brackets, inner quotes, dots of omission, signs of formulas, an author.

    verb: whether it shows how a verb is used, which takes a sentence or an order ("close up an umbrella").

    >>> clean("he took a dab of butter"), clean("are you sure of it"), clean("an odd (or queer) thing")
    ('He took a dab of butter.', 'Are you sure of it?', None)
    """
    text = re.sub(r"\s*--\s*", ", ", " ".join(example.split()))
    text = re.sub(r"\s+([,.;:?!])", r"\1", text).rstrip(",;: ")
    n = len(text.split())
    if not 2 <= n <= MOST_WORDS or not _PLAIN.fullmatch(text):
        return None
    # dots of omission, an author behind a dash, a list's hyphen, an apostrophe that opens or closes a quotation
    if re.search(r"\.\.| -|- |(?:^|\s)'|'(?:\s|$)(?<!s' )|[?!].*[?!.;]|\.[A-Za-z]{2}", text):
        return None
    if n >= 4 and re.match(r"(?:was|were|has|had|is|are) ", text) and text[-1] != "?" and not _ASKS.match(text):
        return None  # its subject is the word that is explained
    if n >= 4 and not (verb or text[-1] in ".?!" or _whole(text)):
        return None
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?!" else text + ("?" if _ASKS.match(text) else ".")


def _whole(text: str) -> bool:
    """Whether a finite form stands before anything that opens a clause: "the man is old", not "a man who is old"."""
    finite = _FINITE.search(text)
    return bool(finite) and not re.search(rf"\b{_RELATIVE}\b", text[: finite.start()], re.I)


@functools.cache
def senses() -> Counter:
    """(word, class, number of its lexicographer's file) -> how often it stands in that sense in WordNet's tagged
    texts; single words in small letters alone. The classes are those of `CLASSES`.
    """
    counts: Counter = Counter()
    for line in (folder() / "cntlist.rev").read_text(encoding="latin-1").splitlines():
        sense, _, count = line.split()
        word, fields = sense.split("%")
        if re.fullmatch(r"[a-z]+", word):
            counts[word, CLASSES[fields[0]], int(fields.split(":")[1])] += int(count)
    return counts


def words() -> Counter:
    """Word -> how often it stands in WordNet's tagged texts, whatever its class."""
    counts: Counter = Counter()
    for (word, _, _), count in senses().items():
        counts[word] += count
    return counts


@functools.cache
def frames() -> dict[str, frozenset[int]]:
    """Verb -> the numbers of WordNet's sentence frames that its most frequent sense takes ("Somebody ----s" is 2)."""
    taken = {}
    for line in (folder() / "data.verb").read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):
            fields = line.split(" | ", 1)[0].split()
            n_words = int(fields[3], 16)
            pairs = line.split(" | ", 1)[0].split(" + ")[1:]
            found = [pair.split()[:2] for pair in pairs if re.match(r"\d\d [0-9a-f]{2}(?: |$)", pair)]
            for i in range(n_words):
                taken[int(fields[0]), fields[4 + 2 * i].lower()] = frozenset(
                    int(frame) for frame, word in found if int(word, 16) in (0, i + 1)
                )
    first = {}
    for line in (folder() / "index.verb").read_text(encoding="latin-1").splitlines():
        if not line.startswith(" "):
            fields = line.split()
            first[fields[0]] = taken.get((int(fields[-int(fields[2])]), fields[0]), frozenset())
    return first


def _key(text: str) -> str:
    """Two texts of the same words are one: the hash of letters and digits alone."""
    return hashlib.sha256(re.sub(r"[^a-z0-9]+", " ", text.lower()).strip().encode()).hexdigest()
