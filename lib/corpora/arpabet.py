"""What does a phone of eSpeak's American English mean in ARPAbet, which the aligner's acoustic model knows?"""

from __future__ import annotations

import unicodedata

from lib.errors import TextError

# A flap is a short d, a glottal stop a t.
_ARPABET = {
    "i": "IY",
    "iː": "IY",
    "ɪ": "IH",
    "ᵻ": "IH",
    "e": "EY",
    "eɪ": "EY",
    "ɛ": "EH",
    "ɛː": "EH",
    "æ": "AE",
    "a": "AA",
    "aɪ": "AY",
    "aʊ": "AW",
    "ɑ": "AA",
    "ɑː": "AA",
    "ɔ": "AO",
    "ɔː": "AO",
    "ɒ": "AA",
    "o": "AO",
    "oː": "AO",
    "oʊ": "OW",
    "əʊ": "OW",
    "ɔɪ": "OY",
    "ʊ": "UH",
    "u": "UW",
    "uː": "UW",
    "y": "UW",
    "ʌ": "AH",
    "ə": "AH",
    "ɐ": "AH",
    "ɚ": "ER",
    "ɜ": "ER",
    "ɜː": "ER",
    "p": "P",
    "b": "B",
    "t": "T",
    "d": "D",
    "k": "K",
    "ɡ": "G",
    "ɾ": "D",
    "ʔ": "T",
    "tʃ": "CH",
    "dʒ": "JH",
    "f": "F",
    "v": "V",
    "θ": "TH",
    "ð": "DH",
    "s": "S",
    "z": "Z",
    "ʃ": "SH",
    "ʒ": "ZH",
    "h": "HH",
    "x": "K",
    "ç": "HH",
    "m": "M",
    "n": "N",
    "ŋ": "NG",
    "ɲ": "N Y",
    "n̩": "AH N",
    "l": "L",
    "ɬ": "L",
    "ɫ": "L",
    "l̩": "AH L",
    "ɹ": "R",
    "r": "R",
    "j": "Y",
    "w": "W",
    "ʍ": "W",
}


def of(phone: str) -> str:
    """One or two symbols, without stress: "AY" for "ˈaɪ". Raises TextError for a phone that English does not have."""
    plain = phone.lstrip("ˈˌ")
    base = "".join(c for c in plain if unicodedata.category(c)[0] != "M" and c != "ː")
    for name in (plain, base):
        if name in _ARPABET:
            return _ARPABET[name]
    raise TextError(
        f"the aligner's English model has no phone for {phone!r}: spell the foreign word as an English one"
    )
