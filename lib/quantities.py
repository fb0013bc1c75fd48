"""What are written numbers read as: telephones, dates, times, money, measures, fractions, Roman numerals, codes? The
vocabulary and the readers of numbers behind the rules of `lib.normalise`; those of letters are in `lib.readings`.

A reader takes the match of its rule and returns words, or digits that a later rule reads.
"""

from __future__ import annotations

import re

from lib.numberwords import cardinal, digit_by_digit, in_words, ordinal, plural_of, year_words
from lib.readings import Match, full_stop


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
