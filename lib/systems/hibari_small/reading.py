"""How does text become phonemes? By the package's lexicon and rules, one list of numbers a sentence."""

from __future__ import annotations

import json
from pathlib import Path

from lib.errors import require
from lib.files import content_key
from lib.systems.hibari import PACKAGE
from lib.systems.hibari_small.config import N_SYMBOLS


class Reader:
    """Loads the American lexicon once. files: all that it needs."""

    def __init__(self):
        package = require("hibari", PACKAGE)
        # What splits and reads text there, without the teacher's network, which its constructor opens.
        self._package = package.Hibari.__new__(package.Hibari)
        self._package._g2p = require("hibari.g2p", PACKAGE).G2P(british=False)
        self._numbers = vocabulary()
        # The package brings the teacher's network, too, which is not needed.
        self.files = tuple(p for p in sorted(_assets().iterdir()) if "_gb" not in p.name and p.name != "hibari.onnx")

    def __call__(self, text: str) -> list[list[int]]:
        """The phonemes of each sentence, or part of a long one, between two that stand for silence; nothing of what has
        none.
        """
        read = self._package.phonemize(text)
        known = ([self._numbers[symbol] for symbol in phonemes if symbol in self._numbers] for phonemes in read)
        return [[0, *ids, 0] for ids in known if ids]


def vocabulary() -> dict[str, int]:
    """Phoneme -> its number, of all that the teacher knows, as the installed package has them."""
    numbers = json.loads((_assets() / "vocab.json").read_text(encoding="utf-8"))
    return {symbol: number for symbol, number in numbers.items() if number < N_SYMBOLS}


def vocabulary_key() -> str:
    """A hash of it."""
    return content_key(vocabulary())


def _assets() -> Path:
    return Path(require("hibari", PACKAGE).__file__).parent / "assets"
