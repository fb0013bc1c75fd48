"""Which characters does a reader of English say? The others are folded to these, named, left out or refused."""

from __future__ import annotations

import re
import unicodedata

from lib.errors import TextError
from lib.readings import Match

_BEFORE_NFKC = str.maketrans(
    {
        **{
            c: f" {n}/{d}"
            for c, n, d in (
                ("½", 1, 2),
                ("⅓", 1, 3),
                ("⅔", 2, 3),
                ("¼", 1, 4),
                ("¾", 3, 4),
                ("⅕", 1, 5),
                ("⅛", 1, 8),
                ("⅜", 3, 8),
                ("⅝", 5, 8),
                ("⅞", 7, 8),
            )
        },
        "№": "No. ",
        "™": "",
        "®": "",
        "´": "'",
    }
)
_AFTER_NFKC = str.maketrans(
    {
        **dict.fromkeys("‘’‛`ʼ′", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‐‑", "-"),
        "⁄": "/",
        "‒": "–",
        "―": "—",
        "−": "-",
        "[": "(",
        "]": ")",
        "{": "(",
        "}": ")",
    }
)
_BASE_LETTER = str.maketrans(
    {
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "ı": "i",
        "œ": "oe",
        "Œ": "Oe",
        "ħ": "h",
        "Ħ": "H",
        "ŋ": "ng",
        "Ŋ": "Ng",
        "ə": "e",
        "ẞ": "SS",
        "ŧ": "t",
        "Ŧ": "T",
        "ſ": "s",
    }
)
_SIGNS = {
    "&": "and",
    "@": "at",
    "+": "plus",
    "=": "equals",
    "#": "hash",
    "%": "percent",
    "°": "degrees",
    "<": "is less than",
    ">": "is greater than",
    "≤": "is at most",
    "≥": "is at least",
    "≠": "is not equal to",
    "≈": "is about",
    "±": "plus or minus",
    "×": "times",
    "÷": "divided by",
    "√": "square root of",
    "∞": "infinity",
    "→": "to",
    "$": "dollars",
    "£": "pounds",
    "€": "euros",
    "¥": "yen",
    "¢": "cents",
    "©": "copyright",
    "§": "section",
    "/": "slash",
    "\\": "backslash",
    "^": "to the power of",
    "‰": "per mille",
}
_PAUSES = "•|—"
_EDGES = " \n-,.;:!?()\"'"  # what a word may touch


def clean(text: str) -> str:
    """Compatibility characters folded, digits ASCII, quotes straight; control and zero-width characters and
    pictures gone.
    """
    text = re.sub(r"(?<=\w)[⁻⁰¹²³⁴-⁹]+", _raised, text.translate(_BEFORE_NFKC))
    kept = []
    for c in unicodedata.normalize("NFKC", text).translate(_AFTER_NFKC):
        kind = unicodedata.category(c)
        if kind == "Nd":
            kept.append(str(unicodedata.digit(c)))
        elif c.isspace() or (kind[0] not in "CM" and (kind not in ("So", "Sk") or c in _SIGNS)):
            kept.append(c)
    return re.sub(r"\s+", lambda m: "\n\n" if m[0].count("\n") > 1 else " ", "".join(kept).strip())


def sign(m: Match) -> str:
    """A letter or sign beyond ASCII and Latin-1's letters: named, folded to its base letter, or refused."""
    c = m[0]
    if c in _PAUSES:
        return ", "
    name = unicodedata.name(c, f"U+{ord(c):04X}")
    greek = re.match(r"GREEK (?:SMALL|CAPITAL) LETTER (?:FINAL )?(\w+)", name)
    said = _SIGNS.get(c) or (greek and greek[1].lower().replace("lamda", "lambda"))
    if said:
        before, after = (m.string[m.start() - 1 : m.start()] or " ", m.string[m.end() : m.end() + 1] or " ")
        return ("" if before in _EDGES else " ") + said + ("" if after in _EDGES else " ")
    if not c.isalpha():
        return " "
    folded = [x for x in unicodedata.normalize("NFD", c.translate(_BASE_LETTER)) if x.isascii() and x.isalpha()]
    if not (name.startswith("LATIN") and folded):
        raise TextError(
            f"{c!r} ({name.lower()}) cannot be said by an English reader: write it in Latin letters"
        )
    return "".join(folded)


def _raised(m: Match) -> str:
    """Raised digits are powers after a digit, squares and cubes after a unit's letter, else the mark of a footnote."""
    power = unicodedata.normalize("NFKC", m[0]).replace("−", "-")
    return "^" + power if m.string[m.start() - 1].isdigit() or power in "23" else ""
