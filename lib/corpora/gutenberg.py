"""Sentences to speak: about 1,700 from one public-domain novel, split once and for all.

Botchan by Natsume Soseki, translated by Yasotaro Morri (1919), Project Gutenberg eBook 8868, as it lies in the
source distribution of sentencepiece. The 100 test sentences are what every system is judged on and none is trained on.
"""

from __future__ import annotations

import functools
import hashlib
import re

from lib import text as text_module
from lib.corpora import fetch
from lib.corpora.base import Sentence

SOURCE = "Project Gutenberg eBook 8868 (Botchan, transl. Y. Morri, 1919), from sentencepiece==0.2.3"
LICENCE = "public domain in the USA"
TEST, VALIDATION = 100, 50

_SHA256 = "464bd5300c24fce16fcc4555d4231a57632caae4d0090ad6aa92854a3b227ba7"


@functools.cache
def sentences() -> tuple[Sentence, ...]:
    """All sentences, in an order drawn by their hash, so that every prefix is a fair sample; no text twice."""
    path = fetch.from_sdist("sentencepiece==0.2.3", "test/botchan.txt", _SHA256)
    unique = {_key(s): s for s in clean(path.read_text(encoding="utf-8-sig"))}
    ordered = sorted(unique.items())
    splits = ["test"] * TEST + ["validation"] * VALIDATION + ["train"] * (len(ordered) - TEST - VALIDATION)
    return tuple(Sentence(f"botchan-{key[:8]}", text, split) for (key, text), split in zip(ordered, splits))


def split(name: str, limit: int | None = None) -> tuple[Sentence, ...]:
    """The first `limit` sentences of a split."""
    return tuple(s for s in sentences() if s.split == name)[:limit]


def clean(book: str) -> list[str]:
    """Sentences of the novel that read aloud well: whole, 4 to 30 words, plain letters and punctuation, quotes
    removed.
    """
    begin = book.index("CHAPTER I\n")
    novel = re.sub(r"^CHAPTER [IVX]+$", "\n\n", book[begin : book.index("*** END OF")], flags=re.M)
    novel = re.sub(r"[\"_*]", " ", novel).replace("--", ", ").replace("’", "'")
    whole = (" ".join(piece.split()) for piece in text_module.sentences(novel, max_chars=10_000))
    tidy = (re.sub(r"\s+([,.;:?!])", r"\1", re.sub(r"^[^A-Za-z]+", "", piece)) for piece in whole)
    return [
        s
        for s in tidy
        if re.fullmatch(r"[A-Z][A-Za-z ,.;:'?!-]*[.?!]", s) and 4 <= len(s.split()) <= 30 and len(s) <= 200
    ]


def _key(sentence: str) -> str:
    """Two sentences that sound the same are one: the hash of the letters alone."""
    return hashlib.sha256(re.sub(r"[^a-z]+", " ", sentence.lower()).strip().encode()).hexdigest()
