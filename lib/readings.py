"""What are names, abbreviations and addresses read as? The vocabulary and the readers of letters behind the rules of
`lib.normalise`; those of numbers are in `lib.quantities`.

A reader takes the match of its rule and returns words, or digits that a later rule reads.
"""

from __future__ import annotations

import re

from lib.numberwords import cardinal, digit_by_digit

Match = re.Match[str]


def spell(letters: str) -> str:
    """F B I for FBI and U.S. alike."""
    return " ".join(letters.replace(".", "").replace(" ", "").upper())


STARTS = re.compile(
    r"[\"')]*(?:\s*\Z|\n\n| [\"'(]*"
    r"(?:The|He|She|It|They|We|But|And|In|I|This|That|You|There|A|Then|When|If|So)\b)"
)


def full_stop(m: Match) -> str:
    """The full stop of an abbreviation is also the sentence's where text ends or a sentence clearly begins."""
    return "." if m[0].endswith(".") and STARTS.match(m.string, m.end()) else ""


def read_internet(m: Match) -> str:
    """An address, URL or handle: words and short codes between dots, slashes and dashes."""
    names = {
        ".": "dot",
        "/": "slash",
        "-": "dash",
        "_": "underscore",
        "@": "at",
        "?": "question mark",
        "=": "equals",
        "&": "and",
        "#": "hash",
        "%": "percent",
        "~": "tilde",
        "+": "plus",
        ":": "colon",
        ",": "comma",
    }
    address = re.sub(r"^[a-z]+://", "", m[0], flags=re.I).rstrip("/")
    said = []
    for part in re.findall(r"[^\W\d_]+|\d+|[./\-_@?=&#%~+:,]", address):
        if part.isdigit():
            said.append(cardinal(part) if len(part) < 4 else digit_by_digit(part))
        elif (
            len(part) == 1
            or not re.search("[aeiouy]", part, re.I)
            or (len(part) == 2 and address.endswith("." + part))
        ):
            said.append(names.get(part) or spell(part))
        else:
            said.append(part)
    return " ".join(said)


def read_hashtag(m: Match) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)|_", " ", m[1])
    return f"number {words}" if words.isdigit() else f"hashtag {words}"


TITLES = {
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Miz",
    "Prof": "Professor",
    "Mt": "Mount",
    "Rev": "Reverend",
    "Gen": "General",
    "Col": "Colonel",
    "Capt": "Captain",
    "Cmdr": "Commander",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Maj": "Major",
    "Sen": "Senator",
    "Rep": "Representative",
    "Gov": "Governor",
    "Hon": "Honorable",
    "Pres": "President",
    "Fr": "Father",
    "Ft": "Fort",
}
BEFORE_NUMBER = {
    "No": "number",
    "no": "number",
    "Nos": "numbers",
    "nos": "numbers",
    "p": "page",
    "pp": "pages",
    "vol": "volume",
    "Vol": "Volume",
    "ch": "chapter",
    "Ch": "Chapter",
    "fig": "figure",
    "Fig": "Figure",
    "sec": "section",
    "Sec": "Section",
    "ext": "extension",
    "est": "established",
    "ca": "circa",
    "c": "circa",
    "Eq": "Equation",
    "eq": "equation",
}
AFTER_NAME = {
    "Ave": "Avenue",
    "Blvd": "Boulevard",
    "Rd": "Road",
    "Ln": "Lane",
    "Hwy": "Highway",
    "Sq": "Square",
    "Jr": "Junior",
    "Sr": "Senior",
    "Inc": "Incorporated",
    "Ltd": "Limited",
    "Co": "Company",
    "Corp": "Corporation",
    "Bros": "Brothers",
}
ANYWHERE = {
    "e.g.": "for example",
    "i.e.": "that is",
    "etc.": "et cetera",
    "vs.": "versus",
    "cf.": "compare",
    "a.k.a.": "also known as",
    "approx.": "approximately",
    "dept.": "department",
    "Dept.": "Department",
    "Ph.D.": "P H D",
    "PhD": "P H D",
    "w/o": "without",
    "w/": "with",
    "et al.": "and others",
    "vs": "versus",
    "C#": "C sharp",
    "AT&T": "A T and T",
    "and/or": "and or",
    "24/7": "twenty-four seven",
    "9/11": "nine eleven",
}
SAINTS = set(
    """James John Paul Louis Mary Patrick Andrew Andrews George Peter Petersburg Helens Helena Lawrence
    Francis Nicholas Moritz Tropez Clair Lucia Lucie Kitts Vincent Thomas Augustine Bernard Joseph Michael Martin
    Stephen Mark Luke Matthew Albans Ives""".split()
)
NAME_BEFORE = re.compile(r"(?:[A-Z][\w'.-]*|\d(?:st|nd|rd|th)),? \Z")


def read_saint_or_street(m: Match) -> str:
    """St. is Saint, Dr. Doctor before a name, unless a street's name stands before it."""
    before = m.string[max(0, m.start() - 40) : m.start()]
    after = re.compile(r" ([A-Z][a-z]*)").match(m.string, m.end())
    named = bool(NAME_BEFORE.search(before))
    if m[1] == "Dr":
        if after and not re.search(r"\d+ (?:[A-Z]\w* ){1,3}\Z", before):
            return "Doctor"
        return "Drive" + full_stop(m) if named else m[0]
    opens = re.search(r"(?:\A|[.!?]\s)[\"'(]*\w+ \Z", before)
    if after and (not named or opens or after[1] in SAINTS):
        return "Saint"
    return "Street" + full_stop(m) if named else m[0]


def read_after_name(m: Match) -> str:
    return (
        AFTER_NAME[m[1]] + full_stop(m)
        if NAME_BEFORE.search(m.string[max(0, m.start() - 40) : m.start()])
        else m[0]
    )


SPELLED = set(
    """USA UK US EU UN UAE FBI CIA IBM ATM CPU GPU TPU NPU URL API AI ID IQ UFO ICU IRS EPA FAA FDA NBA DNA
    RNA EKG MRI CEO CFO CTO USB UCLA IPO DIY FAQ AC IP UI UX OS ETA VIP HIV ABC USSR NAACP ESPN UPS RSVP EST UTC IEEE
    ISO IEC ITU UHF AOL""".split()
)
SOUNDS = re.compile(r"(?:H+M+|M+|S+H+|P+S+T+|T+S+K+|B+R+|G+R+|P+F+T*|Z+|M+R+S*|D+R|S+T|N+T+H)\Z")


def read_initialism(m: Match) -> str:
    """Capitals said letter by letter: a known set, unless the text shouts there, and whatever holds no vowel."""
    letters, plural = m[1], "'s" if m[2] else ""
    if not re.search("[AEIOUY]", letters):
        return m[0] if SOUNDS.match(letters) else spell(letters) + plural
    around = re.findall(r"\b([A-Z]{2,}) ?\Z", m.string[max(0, m.start() - 12) : m.start()])
    around += re.findall(r"\A ?([A-Z]{2,})\b", m.string[m.end() : m.end() + 12])
    shouted = any(word not in SPELLED and re.search("[AEIOUY]", word) for word in around)
    return spell(letters) + plural if letters in SPELLED and not shouted else m[0]


def read_initial(m: Match) -> str:
    """John F. Kennedy: the stop of an initial goes, unless the sentence clearly ends there."""
    before = m.string[max(0, m.start() - 20) : m.start()]
    return m[1] + full_stop(m) if not before or re.search(r"(?:\n|[.!?] |\b[A-Z][a-z]+ )\Z", before) else m[0]
