"""What is each kind of written token read as? The vocabulary and the readers behind the rules of `lib.normalise`.

A reader takes the match of its rule and returns words, or digits that a later rule reads.
"""

from __future__ import annotations

import re

from lib.numberwords import cardinal, digit_by_digit, in_words, ordinal, plural_of, year_words

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


def read_telephone(m: Match) -> str:
    groups = re.findall(r"\d+", m[0])
    said = ["eight hundred" if group == "800" else digit_by_digit(group) for group in groups]
    return ("plus " if m[0].startswith("+") else "") + ", ".join(said)


MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS = {
    day[:3]: day for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
}
DAYS_AND_MONTHS = (*MONTHS, *WEEKDAYS, *WEEKDAYS.values())


def read_date(m: Match) -> str:
    """Day, month and year groups, those that the rule has; "the third of January" where the day was written first."""
    parts = m.groupdict()
    month, day, year = parts["month"], parts.get("day"), parts.get("year")
    name = MONTHS[int(month) - 1] if month.isdigit() else next(x for x in MONTHS if x.startswith(month[:3]))
    if day is None:
        return f"{name} {year_words(year)}" if year else name + full_stop(m)
    if "day_first" not in parts:
        return f"{name} {ordinal(int(day))}" + (f", {year_words(year)}" if year else "")
    the = "" if m.string.endswith(("the ", "The "), 0, m.start()) else "the "
    return f"{the}{ordinal(int(day))} of {name}" + (f" {year_words(year)}" if year else full_stop(m))


def read_numeric_date(m: Match) -> str:
    """American month/day, unless only the other order exists, or dots were used."""
    first, second, year = int(m[1]), int(m[3]), m[4]
    month, day = (second, first) if first > 12 or m[2] == "." else (first, second)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return m[0].replace("/", " slash ")
    century = "" if len(year) == 4 else "19" if int(year) >= 70 else "20"
    return f"{MONTHS[month - 1]} {ordinal(day)}, {year_words(century + year)}"


def read_time(m: Match) -> str:
    hour, minute, second, half = m["hour"], m["minute"], m["second"], m["half"]
    if int(hour) > 24 or (minute and int(minute) > 59):
        return m[0].replace(":", " to ")
    said = in_words(int(hour))
    if minute and int(minute):
        said += f" oh {in_words(int(minute))}" if int(minute) < 10 else f" {in_words(int(minute))}"
    elif minute and not half and not second:
        said += " o'clock" if 1 <= int(hour) <= 12 else " hundred"
    if second:
        said += f" and {in_words(int(second))} seconds"
    return said + (f" {half.upper()} M" + full_stop(m) if half else "")


CURRENCY = {
    "$": ("dollar", "cent"),
    "£": ("pound", "penny"),
    "€": ("euro", "cent"),
    "¥": ("yen", ""),
    "USD": ("dollar", "cent"),
    "GBP": ("pound", "penny"),
    "EUR": ("euro", "cent"),
    "¢": ("cent", ""),
    "p": ("penny", ""),
}
MAGNITUDE = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "bn": "billion",
    "B": "billion",
    "b": "billion",
    "tn": "trillion",
    "T": "trillion",
}


def coins(unit: str, number: str = "2") -> str:
    return unit if number == "1" else {"penny": "pence", "yen": "yen"}.get(unit, unit + "s")


def read_money(m: Match) -> str:
    parts = m.groupdict()
    unit, small = CURRENCY[m["sign"]]
    unit = {"US": "U S ", "A": "Australian ", "C": "Canadian "}.get(parts.get("nation"), "") + unit
    amount, magnitude, to = m["amount"], (parts.get("magnitude") or "").strip(), parts.get("to")
    if re.fullmatch(r"\d+,\d\d", amount):  # 5,50 as much of Europe writes it
        amount = amount.replace(",", ".")
    if m.string.startswith((" bill", " note", " coin", "-"), m.end()):  # a five dollar bill
        return f"{cardinal(amount)} {unit}"
    if magnitude or to:
        scale = f" {MAGNITUDE.get(magnitude, magnitude)}" if magnitude else ""
        return f"{cardinal(amount)}{f' to {cardinal(to)}' if to else ''}{scale} {coins(unit)}"
    whole, _, cents = amount.replace(",", "").partition(".")
    if len(cents) != 2 or not small:
        return f"{cardinal(amount)} {coins(unit, amount)}"
    parts = [
        f"{cardinal(n)} {coins(u, n)}"
        for n, u in ((whole or "0", unit), (cents.lstrip("0"), small))
        if n.strip("0")
    ]
    return " and ".join(parts) or f"zero {coins(unit)}"


UNITS = {  # symbol -> singular; the plural adds an s unless it is given
    "km": "kilometer",
    "m": "meter",
    "cm": "centimeter",
    "mm": "millimeter",
    "μm": "micrometer",
    "nm": "nanometer",
    "kg": "kilogram",
    "g": "gram",
    "mg": "milligram",
    "μg": "microgram",
    "lb": "pound",
    "lbs": "pound",
    "oz": "ounce",
    "mi": "mile",
    "ft": "foot|feet",
    "in.": "inch|inches",
    "yd": "yard",
    "mph": "mile per hour|miles per hour",
    "kph": "kilometer per hour|kilometers per hour",
    "L": "liter",
    "l": "liter",
    "mL": "milliliter",
    "ml": "milliliter",
    "gal": "gallon",
    "kB": "kilobyte",
    "KB": "kilobyte",
    "MB": "megabyte",
    "GB": "gigabyte",
    "TB": "terabyte",
    "kbps": "kilobit per second|kilobits per second",
    "ha": "hectare",
    "Mbps": "megabit per second|megabits per second",
    "Hz": "hertz|hertz",
    "kHz": "kilohertz|kilohertz",
    "MHz": "megahertz|megahertz",
    "GHz": "gigahertz|gigahertz",
    "W": "watt",
    "kW": "kilowatt",
    "MW": "megawatt",
    "GW": "gigawatt",
    "kWh": "kilowatt hour",
    "V": "volt",
    "mA": "milliamp",
    "mAh": "milliamp hour",
    "Ω": "ohm",
    "kPa": "kilopascal",
    "hPa": "hectopascal",
    "kJ": "kilojoule",
    "J": "joule",
    "kcal": "kilocalorie",
    "°C": "degree Celsius|degrees Celsius",
    "°F": "degree Fahrenheit|degrees Fahrenheit",
    "°": "degree",
    "%": "percent|percent",
    "s": "second",
    "sec": "second",
    "ms": "millisecond",
    "μs": "microsecond",
    "min": "minute",
    "h": "hour",
    "hr": "hour",
    "hrs": "hour",
    "dB": "decibel",
    "rpm": "revolution per minute|revolutions per minute",
    "psi": "P S I|P S I",
    "fps": "frame per second|frames per second",
    "sq ft": "square foot|square feet",
    "yr": "year",
    "yrs": "year",
}
UNIT = "|".join(sorted((re.escape(unit).replace("\\ ", " ") for unit in UNITS), key=len, reverse=True))


def read_unit(m: Match) -> str:
    one, _, many = UNITS[m["unit"]].partition("|")
    many = many or one + "s"
    power = {"^2": "square ", "2": "square ", "^3": "cubic ", "3": "cubic "}.get(m["power"] or "", "")
    per = f" per {UNITS[m['per']].partition('|')[0]}" if m["per"] else ""
    return f"{cardinal(m['number'])} {power}{one if m['number'] == '1' or m['hyphen'] == '-' else many}{per}"


def read_fraction(m: Match) -> str:
    whole, top, bottom = m[1], m[2], m[3]
    if not 2 <= int(bottom[:4]) <= 100 or len(bottom) > 3 or len(top) > 3:
        said = f"{cardinal(top)} over {cardinal(bottom)}"
    else:
        name = {2: "half", 4: "quarter"}.get(int(bottom)) or ordinal(int(bottom))
        said = f"{cardinal(top)} {name if int(top) == 1 else 'halves' if name == 'half' else name + 's'}"
    said = said.replace("one half", "a half").replace("one quarter", "a quarter") if whole else said
    return (f"{cardinal(whole)} and " if whole else "") + said


ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
ROMAN_FORM = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
RULERS = set(
    """Henry Louis Elizabeth George Charles Edward William Richard James Philip Napoleon Frederick Catherine
    Alexander Nicholas Peter Ivan Leo Gregory Innocent Clement Urban Paul Mary Pius Benedict Boniface Leopold Wilhelm
    Friedrich Karl Carl Gustav Christian Haakon Harald Olav Alfonso Ferdinand Felipe Carlos Umberto Emmanuel Darius
    Xerxes Cyrus Otto Rudolf Maximilian Franz Joseph Thutmose Ramesses Amenhotep Ptolemy Mehmed Murad Selim Sixtus
    Julius""".split()
)
NUMBERED = set(
    """Chapter Part Book Volume War Act Scene Section Article Title Phase Type Class Grade Level Stage Step
    Figure Table Bowl Appendix Canto Symphony Episode Mark Division Region Amendment Psalm Vatican Schedule
    Group""".split()
)
NOT_NAMED = {
    "The",
    "An",
    "This",
    "That",
    "My",
    "His",
    "Her",
    "Our",
    "Your",
    "In",
    "On",
    "With",
    "And",
    "But",
    "For",
    "No",
    "When",
}


def read_roman(m: Match) -> str:
    """A Roman numeral after a ruler's name (the eighth) or after a numbered thing or title (four); else left alone."""
    name, numeral = m[1], m[2]
    if not ROMAN_FORM.fullmatch(numeral) or name in NOT_NAMED:
        return m[0]
    values = [ROMAN[c] for c in numeral]
    value = sum(-a if a < b else a for a, b in zip(values, values[1:] + [0]))
    if name in NUMBERED:
        return f"{name} {in_words(value)}"
    if name in RULERS:
        # "Elizabeth I reigned" is left alone: without a sign that the name ends there, I is the pronoun.
        ends = re.compile(r"'s|[,.;:!?)]| (?:of|was|and|is|died|ruled)\b|\s*\Z").match(m.string, m.end())
        return f"{name} the {ordinal(value)}" if len(numeral) > 1 or numeral in "VX" or ends else m[0]
    return f"{name} {in_words(value)}" if len(numeral) > 1 and set(numeral) <= set("IVX") else m[0]


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


def read_code(m: Match) -> str:
    """The number within MP3, A380, COVID-19: after a single letter with a hyphen, so that A is not read as the
    article.
    """
    digits = m[2]
    if "." in digits:
        number = " point ".join(map(cardinal, digits.split(".")))
    else:
        number = (
            year_words(digits)
            if len(digits) in (3, 4) and digits[0] != "0" and digits[1:] != "000"
            else cardinal(digits)
        )
    return m[1] + (" " if m.string[max(0, m.start() - 1) : m.start()].isalpha() else "-") + number


def read_version(m: Match) -> str:
    parts = m[0].split(".")
    return " dot ".join(map(digit_by_digit, parts)) if len(parts) == 4 else " point ".join(map(cardinal, parts))


def read_decade(m: Match) -> str:
    return plural_of(in_words(int(m[1])) if m[1] else year_words(m[2] + m[3]))


def read_initial(m: Match) -> str:
    """John F. Kennedy: the stop of an initial goes, unless the sentence clearly ends there."""
    before = m.string[max(0, m.start() - 20) : m.start()]
    return m[1] + full_stop(m) if not before or re.search(r"(?:\n|[.!?] |\b[A-Z][a-z]+ )\Z", before) else m[0]
