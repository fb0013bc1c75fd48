"""How is written English read aloud? Numbers, dates, money, abbreviations and symbols as the words a reader would say.

`spoken` applies one table of rules, `RULES`, in order: each is a pattern and a reader of its match (`lib.readings`,
of numbers `lib.quantities`).
Earlier rules see the text first, and each leaves either words or digits for a later one. Number words are num2words'.
Own rules, because of the packages that install without a compiler (November 2026) the grammars of NeMo in pure Python
take 6 s for 2,000 characters and lower the case of names, and the quick ones leave telephone numbers, "Henry VIII",
"St." and addresses unread. The classes of tokens follow Sproat et al. 2001, "Normalization of non-standard words".

Plain prose passes unchanged but for quotes, dashes and white space; the output passes through unchanged.

Where the writing is ambiguous the reading is fixed, and tested: 3/4 is three quarters and 3/4/2025 an American date;
2024-03 is a month and 2001–02 (en dash) a range; four digits without a comma from 1000 to 2099 are a year; 2-1 is two
to one; 80s is a decade; 5M is five M, except after a currency sign; IT, WHO and other capitals that are also words stay
words; pictures are not read; "St." between two names is Street unless it is a well-known saint's.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from lib import characters, quantities, readings
from lib.errors import TextError
from lib.numberwords import cardinal, digit_by_digit, in_words, ordinal, year_words
from lib.readings import Match, full_stop


def spoken(text: str) -> str:
    """The words in which `text` is read aloud: Latin letters and the punctuation , . ; : ! ? ' " ( ) - only.

    Blank lines (paragraphs) are kept. Raises TextError for text without anything to say, and for letters of a script
    that an English reader cannot say.

    >>> spoken("Dr. Smith paid $9.50 on Jan. 3, 2024.")
    'Doctor Smith paid nine dollars and fifty cents on January third, twenty twenty-four.'
    """
    if not isinstance(text, str):
        raise TextError(f"text is a {type(text).__name__}, not a string")
    words = characters.clean(text)
    for _ in range(
        5
    ):  # a second pass finds nothing to do in real text; it makes the output a fixed point of the table
        before = words
        for _, pattern, read in RULES:
            words = pattern.sub(read, words)
        words = words.strip()
        if words == before:
            break
    if not any(c.isalpha() for c in words):
        raise TextError(f"nothing in {text[:40]!r} can be spoken: give at least one word or number")
    return words


# --- the table: (name, pattern, reader), in the order in which they are applied. A pattern begins at most once
# in a run of digits or letters (a lookbehind) and repeats possessively or a bounded number of times, so time is
# linear in the text.

_N = r"(?:\d{1,3}(?:,\d{3}(?!\d))++(?:\.\d++)?|\d++(?:\.\d++)?|\.\d++)"
_MONTH = (
    "(?P<month>Sept\\.?|"
    + "|".join(f"{m[:3]}(?:{m[3:]}|\\.)?" if m != "May" else m for m in quantities.MONTHS)
    + ")"
)
_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?P<year>[12]\d{3})(?![\w:]|[.,]\d)"
_TITLE, _COUNTED, _NAMED, _WORD = (
    "|".join(map(re.escape, table))
    for table in (readings.TITLES, readings.BEFORE_NUMBER, readings.AFTER_NAME, readings.ANYWHERE)
)
_TOP = "com|org|net|edu|gov|io|co|uk|de|fr|eu|info|ai|dev|tv"
_IN_URL = r"[^\s\"'()<>,]*[\w/]"

RULES: list[tuple[str, re.Pattern[str], Callable[[Match], str]]] = [
    (name, re.compile(pattern), read)
    for name, pattern, read in [
        ("e-mail", r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", readings.read_internet),
        (
            "URL",
            rf"(?<![\w.])(?:(?:https?|ftp)://|www\.){_IN_URL}|"
            rf"(?<![\w.@-])(?:[A-Za-z0-9-]{{1,63}}\.){{1,4}}(?:{_TOP})\b(?!\.\w)"
            rf"(?:/{_IN_URL})?",
            readings.read_internet,
        ),
        ("word", rf"(?<![\w./])(?:{_WORD})(?![\w/])", lambda m: readings.ANYWHERE[m[0]] + full_stop(m)),
        ("hashtag", r"(?<!\w)#(\w+)", readings.read_hashtag),
        ("handle", r"(?<!\w)@(?=\w)", lambda m: "at "),
        (
            "telephone",
            r"(?<![\w.-])(?:\+\d{1,3}[ .-]\(?\d{1,4}\)?(?:[ .-]\d{2,4}){1,4}|(?:\+?1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])"
            r"\d{3}[ .-]\d{4}|\d{3}-\d{4}|0\d{2,4} \d{3,4} \d{3,4})(?![\w-])|(?<!\w)\(\d{3}\) ?\d{3}-\d{4}\b",
            quantities.read_telephone,
        ),
        ("emergency", r"(?<=[Cc]all |[Dd]ial )(?:911|999|112)\b", lambda m: digit_by_digit(m[0])),
        (
            "ISO date",
            r"(?<![\w-])(?P<year>[12]\d{3})-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12]\d|3[01]))?(?![\w-]|\.\d)",
            quantities.read_date,
        ),
        (
            "numeric date",
            r"(?<![\w/.])(\d{1,2})([/.])(\d{1,2})\2(\d{4}|(?<=/)\d{2})(?![\w/]|\.\d)",
            quantities.read_numeric_date,
        ),
        (
            "weekday",
            r"\b(Mon|Tues?|Wed|Thu(?:rs?)?|Fri|Sat|Sun)\.(?=,? (?:[A-Z][a-z]{2,8}\.? )?\d)",
            lambda m: quantities.WEEKDAYS[m[1][:3]],
        ),
        (
            "day month",
            rf"(?<![\w.,:/$-])(?P<day_first>{_DAY})(?:st|nd|rd|th)?(?: of)? {_MONTH}(?!\w)(?:,? {_YEAR})?",
            quantities.read_date,
        ),
        (
            "month day",
            rf"\b{_MONTH} {_DAY}(?:st|nd|rd|th)?(?![\w:%]|[.,]\d)(?:,? {_YEAR})?",
            quantities.read_date,
        ),
        ("month year", rf"\b{_MONTH},? {_YEAR}", quantities.read_date),
        ("month", r"\b(?P<month>Jan|Feb|Aug|Sept?|Oct|Nov|Dec)\.", quantities.read_date),
        (
            "id",
            r"(?<![\w-])\d++(?:-\d++){2,20}(?![\w-])",
            lambda m: ", ".join(map(digit_by_digit, m[0].split("-"))),
        ),
        (
            "range",
            r"(?:(?<=[\d%])|(?<=\d[ap]m))-(?=[$£€]?\.?\d)|(?<=[\w%.]) ?– ?(?=[$£€]?\.?\d)",
            lambda m: " to ",
        ),
        (
            "span",
            r"(?<=\w)–(?=\w)",
            lambda m: " to " if m.string.endswith(quantities.DAYS_AND_MONTHS, 0, m.start()) else "-",
        ),
        ("minus", r"(?<![\w).,^-])[-–](?=[$£€¥]?\.?\d)", lambda m: "minus "),
        (
            "time",
            r"(?<![\w:.,])(?P<hour>\d{1,2})(?::(?P<minute>\d\d)(?::(?P<second>\d\d))?(?![\d:])|(?= ?[apAP]\.?[mM]\b))"
            r"(?: ?(?P<half>[apAP])(?:\.[mM]\.|[mM]\b))?",
            quantities.read_time,
        ),
        ("half of the day", r"(?<=[\da-z] )([ap])\.m\.", lambda m: f"{m[1].upper()} M" + full_stop(m)),
        ("ratio", r"(?<![\w:])(\d{1,4}):(\d{1,4})(?![\w:])", lambda m: f"{m[1]} to {m[2]}"),
        (
            "money",
            rf"(?:\b(?P<nation>US|A|C))?(?P<sign>(?(nation)\$|(?:[$£€¥]|\b(?:USD|EUR|GBP)))) ?"
            rf"(?P<amount>{_N})(?: to (?P<to>{_N})(?! ?%))?"
            r"(?: ?(?P<magnitude>thousand|million|billion|trillion|mn|bn|tn|[kKmMbBT])\b)?",
            quantities.read_money,
        ),
        (
            "money after",
            rf"(?<![\w.,])(?P<amount>\d++,\d\d(?!\d)|{_N})(?P<magnitude> (?:million|billion|trillion))?"
            r"(?: (?=[€¢UEG]))?(?P<sign>(?<=\d)p\b|[€¢]|USD\b|EUR\b|GBP\b)",
            quantities.read_money,
        ),
        (
            "per",
            r"(?<=[a-z])/(?=(?:hour|day|week|month|year|person|night|mile|minute|second)\b)",
            lambda m: " per ",
        ),
        (
            "feet and inches",
            r"(?<![\w.])(\d{1,2})'(\d{1,2})(?:\"|'')",
            lambda m: f"{in_words(int(m[1]))} foot {in_words(int(m[2]))}",
        ),
        ("by", r"(?<=\d) ?[x×] ?(?=\d)", lambda m: " by "),
        ("times", r"(?<=\d)x\b", lambda m: " times"),
        ("decade", r"(?<![\w.,])(?:'?([1-9]0)|(1[1-9]|20)(\d0))'?s\b", quantities.read_decade),
        (
            "unit",
            rf"(?<![\w.,])(?P<number>{_N})(?P<hyphen>[ -]?)(?P<unit>{quantities.UNIT})(?P<power>\^?[23](?![\d.]))?"
            rf"(?:/(?P<per>{quantities.UNIT}))?"
            r"(?![\w°/'])(?:\.(?= [a-z]|,))?",
            quantities.read_unit,
        ),
        ("square, cube", r"(?<=[\dA-Za-z])\^([23])(?!\d)", lambda m: " squared" if m[1] == "2" else " cubed"),
        ("power", r"(?<=\d)\^(-?)(?=\d)", lambda m: " to the " + ("minus " if m[1] else "")),
        (
            "fraction",
            r"(?<![\w./,])(?:(\d{1,6}) )?(\d{1,6})/(\d{1,6})(?![\w/]|[.,]\d)",
            quantities.read_fraction,
        ),
        ("era before", r"\bAD (\d{1,4})(?![\w.,]\d)", lambda m: f"A D {year_words(m[1])}"),
        (
            "era after",
            r"(?<![\w.,])(\d{1,4}) (B\.?C\.?E?\.?|A\.?D\.?|C\.?E\.?)(?!\w)",
            lambda m: f"{year_words(m[1])} {readings.spell(m[2])}" + full_stop(m),
        ),
        ("Roman numeral", r"\b([A-Z][a-z]{1,15}) ([IVXLCDM]{1,8})\b(?!'[a-rt-z])", quantities.read_roman),
        ("saint, street", r"\b(St|Dr)(?:\.|(?= [A-Z]))", readings.read_saint_or_street),
        ("title", rf"\b({_TITLE})(?:\.|(?<=Mr|Ms|Mt)|(?<=Mrs))(?= [A-Z])", lambda m: readings.TITLES[m[1]]),
        ("before a number", rf"(?<![\w.])({_COUNTED})\. ?(?=\d)", lambda m: readings.BEFORE_NUMBER[m[1]] + " "),
        ("after a name", rf"\b({_NAMED})\.", readings.read_after_name),
        ("ordinal", r"(?<![\w.,])((?:\d{1,3},)*+\d++)(?:st|nd|rd|th|ST|ND|RD|TH)\b", lambda m: ordinal(m[1])),
        ("initials", r"\b(?:[A-Z]\. ?){1,7}[A-Z]\.(?!\w)", lambda m: readings.spell(m[0]) + full_stop(m)),
        ("initial", r"\b([A-HJ-Z])\.(?= [A-Z][a-z])", readings.read_initial),
        ("year", r"(?<![\w.,])(?<!minus )(1\d{3}|20\d\d)(?![\w]|[.,]\d)", lambda m: year_words(m[1])),
        ("multiplied", r"(?<=\d) ?\* ?(?=\d)", lambda m: " times "),
        ("subtracted", r"(?<=\d) - (?=\d)", lambda m: " minus "),
        ("letter after digit", r"(?<=\d)(?=[^\W\d_])", lambda m: " "),
        ("code", r"([A-Za-z])-?(\d++(?:\.\d++)*+)", quantities.read_code),
        ("version", r"(?<!\d)\d++(?:\.\d++){2,9}", quantities.read_version),
        ("number", _N, lambda m: cardinal(m[0])),
        ("initialism", r"(?<![\w'])([A-Z]{2,6})(s?)(?![A-Za-z])", readings.read_initialism),
        ("about", r"~ ?(?=\w)", lambda m: "about "),
        ("dash", r"[,;:]? ?(?:—|--+| – | - ) ?", lambda m: m[0][0] + " " if m[0][0] in ",;:" else ", "),
        ("sign", r"[^\x00-\x7fÀ-ÖØ-öø-ÿ]|[&@+=#%<>$\\/|^]", characters.sign),
        (
            "markup",
            r"[*~_`]+",
            lambda m: " " if m.string[m.start() - 1 : m.start()].isalnum() and m[0] == "_" else "",
        ),
        ("comma", r",(?:[ ,]*,)?(?=[^\s\"')])|(?:, ?){2,}", lambda m: ", "),
        ("white space", r" *(\n\n) *|[^\S\n]{2,}", lambda m: m[1] or " "),
        ("space before punctuation", r"[^\S\n]+(?=[,.;:!?)](?!\w))|(?<=\()[^\S\n]+", lambda m: ""),
    ]
]
