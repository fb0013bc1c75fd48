"""Text: what can be spoken, where it may be cut, how it becomes phonemes, how transcripts are compared, and how a
sentence lists things.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lib.errors import TextError, require

MAX_SENTENCE_CHARS = (
    300  # about 20 s of speech; LJ Speech and LibriTTS, which such voices learn from, end near 10-20 s
)

_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=\S)|\n\s*\n")
_CLOSED = r"\.[\"'”’)\]]*\s*$"
_ABBREVIATION = re.compile(  # never ends a sentence; a lone capital but I is an initial, the last of U S A is not
    r"(?<![A-Za-z])(?:Mr|Mrs|Ms|Dr|Prof|St|vs|Rev|Gen|Col|Capt|Lt|Sgt|Maj|Sen|Gov|Hon|Mt|Ft|[Ee]\.g|[Ii]\.e|cf|"
    r"(?<!\b[A-Z] )[A-HJ-Z])" + _CLOSED
)
_BEFORE_NUMBER = re.compile(
    r"(?<![A-Za-z])(?:Nos?|Vol|vol|Figs?|fig|[Cc]h|pp?|[Ss]ec|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)"
    + _CLOSED
)
_GOES_ON = re.compile(
    r"(?:\.\.|…|[\"'”’)\]]|\b(?:etc|a\.k\.a|[ap]\.m|Jr|Sr|Inc|Co|Ltd|Corp|al)\.|(?:[A-Z]\.){2,})\s*$"
)
_CLAUSE_END = re.compile(r"(?<=[,;:—–])\s+")


def speakable(text: str) -> str:
    """Return the text with compatibility characters and white space folded; raise TextError if nothing in it is
    spoken.
    """
    if not isinstance(text, str):
        raise TextError(f"text is a {type(text).__name__}, not a string")
    folded = re.sub(r"[^\S\n]+", " ", unicodedata.normalize("NFKC", text)).strip()
    folded = "".join(c for c in folded if c == "\n" or unicodedata.category(c)[0] != "C")
    if not folded:
        raise TextError("the text is empty: give at least one word")
    if not any(unicodedata.category(c)[0] in "LN" for c in folded):
        raise TextError(f"nothing in {text[:40]!r} can be spoken: it holds no letter and no digit")
    return folded


def sentences(text: str, max_chars: int = MAX_SENTENCE_CHARS) -> list[str]:
    """Cut at sentence ends; what is still longer than `max_chars` at clause ends, then at spaces.

    >>> sentences("Dr. Smith paid $9.50. Why? Nobody knows.")
    ['Dr. Smith paid $9.50.', 'Why?', 'Nobody knows.']
    """
    pieces, begin = [], 0
    folded = speakable(text)
    for match in _SENTENCE_END.finditer(folded):
        if not _ends(folded[max(begin, match.end() - 24) : match.end()], folded[match.end() : match.end() + 1]):
            continue
        pieces.append(folded[begin : match.end()])
        begin = match.end()
    pieces.append(folded[begin:])
    whole = [" ".join(piece.split()) for piece in pieces]
    short = [part for piece in whole for part in _fit(piece, max_chars)]
    return [part for part in short if any(unicodedata.category(c)[0] in "LN" for c in part)]


def _ends(before: str, following: str) -> bool:
    """Whether the stop at the end of `before` ends a sentence; `following`: the next character."""
    if before.endswith("\n") and before[len(before.rstrip()) :].count("\n") > 1:
        return True
    if _ABBREVIATION.search(before) or (following.isdigit() and _BEFORE_NUMBER.search(before)):
        return False
    return not (
        following.islower() and _GOES_ON.search(before)
    )  # "Why?" he asked. Wait... what? At 5 p.m. on Monday


def _fit(piece: str, max_chars: int) -> list[str]:
    """Pack a too long sentence's clauses (or words, or characters) greedily into parts of at most `max_chars`."""
    if len(piece) <= max_chars:
        return [piece]
    units = _CLAUSE_END.split(piece)
    if len(units) == 1:
        units = piece.split(" ")
    if len(units) == 1:
        units = [piece[i : i + max_chars] for i in range(0, len(piece), max_chars)]
    parts: list[str] = []
    for short in (fitting for unit in units for fitting in _fit(unit, max_chars)):
        if parts and len(parts[-1]) + 1 + len(short) <= max_chars:
            parts[-1] += " " + short
        else:
            parts.append(short)
    return parts


_ESPEAK_LOCK = (
    threading.Lock()
)  # eSpeak's state is global, phonemizer's per backend: two threads would mix their sentences


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Inside, a module that nobody has imported yet cannot be imported, as if it were not installed."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None
    try:
        yield
    finally:
        del sys.modules[module]


@functools.cache
def _espeak(language: str):
    loader = require("espeakng_loader", "espeakng-loader==0.2.4")
    # phonemizer imports jsonschema, by way of a back end that is not used here, and that compiles 38 grammars
    # for checking addresses where rfc3987_syntax is installed (JupyterLab brings it): three quarters of the
    # time to the first phoneme. Nothing here checks any.
    with _hidden("rfc3987_syntax"):
        require("phonemizer", "phonemizer-fork==3.3.2")
    from phonemizer.backend import EspeakBackend
    from phonemizer.backend.espeak.wrapper import EspeakWrapper

    EspeakWrapper.set_library(loader.get_library_path())
    EspeakWrapper.set_data_path(loader.get_data_path())
    quiet = logging.getLogger("lib.phonemizer")
    quiet.setLevel(
        logging.ERROR
    )  # it warns whenever eSpeak joins two words into one, as it should ("of the" -> "ʌvðə")
    return EspeakBackend(
        language, preserve_punctuation=True, with_stress=True, language_switch="remove-flags", logger=quiet
    )


def front_end_files() -> tuple[Path, ...]:
    """What somebody downloads to read English: eSpeak NG's library and those of its data that English needs."""
    loader = require("espeakng_loader", "espeakng-loader==0.2.4")
    data = Path(loader.get_data_path())
    english = (data / name for name in ("phondata", "phonindex", "phontab", "intonations", "en_dict"))
    return (Path(loader.get_library_path()), *(path for path in english if path.exists()))


_SPELLED = re.compile(r"\b(?!I A\b)[A-Z](?: [A-Z])+\b")


def phonemes(text: str, language: str = "en-us") -> str:
    """IPA phonemes by eSpeak NG with stress marks, spaces between words and punctuation kept, as Piper voices
    read them.

    In English a capital A among spelled letters (U S A) is given as "eigh", because eSpeak would read the article.
    """
    line = " ".join(speakable(text).split())
    if language.startswith("en"):
        line = _SPELLED.sub(lambda spelled: spelled[0].replace("A", "eigh"), line)
    with _ESPEAK_LOCK:
        return _espeak(language).phonemize([line], strip=True)[0]


@functools.cache
def _english_normalizer():
    require("whisper_normalizer", "whisper-normalizer==0.1.15")
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer()


def for_comparison(transcript: str) -> str:
    """Whisper's English normalisation (Radford et al. 2022, appendix C): case, punctuation, numbers, spelling,
    contractions.

    >>> for_comparison("Mr. Brown paid twenty-five dollars; he didn't mind.")
    'mister brown paid $25 he did not mind'
    """
    words = _english_normalizer()(transcript).split()
    return " ".join(
        word for word in words if word != "."
    )  # it leaves every other stop of an ellipsis, which is no word


def for_raw_comparison(transcript: str) -> str:
    """Only case, punctuation and white space are folded: numbers and spellings must match letter by letter."""
    kept = (
        c if unicodedata.category(c)[0] in "LN" or c == "'" else " "
        for c in transcript.lower().replace("’", "'")
    )
    return " ".join("".join(kept).split())


def listed(words: Sequence[str]) -> str:
    """As a sentence lists them.

    >>> listed(["a", "b", "c"]), listed(["a"]), listed([])
    ('a, b and c', 'a', '')
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
