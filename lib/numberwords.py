"""Which words is a number read as? Cardinals, ordinals, years and digits, American style (no "and"), by num2words."""

from __future__ import annotations

import functools

from lib.errors import require


def cardinal(number: str | int) -> str:
    """Digits (with or without thousands commas and decimals) in words; codes such as 007 and very long ones
    digit by digit.
    """
    whole, point, decimals = str(number).replace(",", "").partition(".")
    spelled = len(whole) > 15 or (len(whole) > 1 and whole[0] == "0")
    words = digit_by_digit(whole) if spelled or not whole else in_words(int(whole))
    return (words + (" point " + digit_by_digit(decimals) if point else "")).strip()


_SCALES = ("", " thousand", " million", " billion", " trillion")


def in_words(number: int) -> str:
    """A whole number from 0 to 999,999,999,999,999; groups of three digits are cached, because num2words takes
    70 us.
    """
    if number < 1000:
        return _num2words(number, "cardinal")
    groups = [number // 1000**power % 1000 for power in range(len(_SCALES))]
    return " ".join(
        _num2words(group, "cardinal") + scale for group, scale in zip(groups[::-1], _SCALES[::-1]) if group
    )


@functools.lru_cache(4096)
def _num2words(number: int, kind: str) -> str:
    words = require("num2words", "num2words==0.5.14").num2words(number, to=kind)
    return words.replace(",", "").replace(" and ", " ")


def ordinal(number: str | int) -> str:
    """3 or "1,000" as third, one thousandth; more than 15 digits one by one."""
    number = str(number).replace(",", "")
    return _num2words(int(number), "ordinal") if len(number) <= 15 else digit_by_digit(number)


def digit_by_digit(digits: str) -> str:
    """The digits among the characters, one word each: telephone numbers, decimals."""
    return " ".join(in_words(int(digit)) for digit in digits if digit.isdigit())


def year_words(year: str | int) -> str:
    """As years, flight numbers and house numbers are read: 1905 nineteen oh five, 2000 two thousand, 380 three
    eighty.
    """
    century, rest = divmod(int(year), 100)
    if century == 0 or (century % 10 == 0 and rest < 10):
        return in_words(int(year))
    return f"{in_words(century)} " + (
        "hundred" if rest == 0 else f"oh {in_words(rest)}" if rest < 10 else in_words(rest)
    )


def plural_of(words: str) -> str:
    """nineties from ninety, hundreds from hundred."""
    return words[:-1] + "ies" if words.endswith("y") else words + ("es" if words.endswith("x") else "s")
