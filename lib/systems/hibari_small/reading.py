"""How does text become phonemes? By the package's lexicon and rules, one list of numbers a sentence."""

from __future__ import annotations

import json
from pathlib import Path

from lib.errors import require
from lib.systems.hibari import PACKAGE
from lib.systems.hibari_small.config import N_SYMBOLS


class Reader:
    """Loads the American lexicon once. files: all that it needs."""

    def __init__(self):
        self._split = require("hibari", PACKAGE).Hibari.split_sentences
        assets = Path(require("hibari", PACKAGE).__file__).parent / "assets"
        self._g2p = require("hibari.g2p", PACKAGE).G2P(british=False)
        numbers = json.loads((assets / "vocab.json").read_text(encoding="utf-8"))
        self._numbers = {symbol: number for symbol, number in numbers.items() if number < N_SYMBOLS}
        others = ("hibari.onnx", "voices.json")  # the teacher's network, and which voices there are
        self.files = tuple(p for p in sorted(assets.iterdir()) if "_gb" not in p.name and p.name not in others)

    def __call__(self, text: str) -> list[list[int]]:
        """The phonemes of each sentence, between two that stand for silence; nothing of what has none."""
        read = (self._g2p(sentence) for sentence in self._split(text))
        known = ([self._numbers[symbol] for symbol in phonemes if symbol in self._numbers] for phonemes in read)
        return [[0, *ids, 0] for ids in known if ids]
