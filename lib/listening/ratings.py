"""What did listeners answer? Ratings as the page writes them, checked against the key, and with the key what
they are of.

A rating is one page of one listener. Nothing is taken on trust: a page that the key does not know, a value off
the scale or clips in another order are refused with what is wrong, by the reader of files and by the server
alike.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import SpeechError
from lib.listening.kit import FORMAT, SCALES, Key

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("test", "group", "number", "listener", "trial", "clips", "values", "plays", "seconds", "at")
_LISTENER = re.compile(r"\d{1,4}-\d{1,6}-[0-9a-f]{8}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_MAX_PLAYS, _MAX_SECONDS = 10_000, 10**8


class RatingError(SpeechError, ValueError):
    """A rating that the key does not know or that cannot be one; the message says what is wrong with it."""


@dataclass(frozen=True)
class Rating:
    """One page of one listener. values: one of the page, or one of each clip (mushra); plays: of each clip."""

    test: str
    group: int
    number: int
    listener: str
    trial: str
    clips: tuple[str, ...]
    values: tuple[int, ...]
    plays: tuple[int, ...]
    seconds: int
    at: str


def checked(envelope: object, rating: object, key: Key) -> Rating:
    """A rating of the key's test, or RatingError. envelope: the listener's part of what the page sends or
    saves.
    """
    if not isinstance(envelope, dict) or not isinstance(rating, dict):
        raise RatingError("not an object with a rating")
    if envelope.get("format") != FORMAT or envelope.get("test") != key.test:
        raise RatingError("of another test than the key's")
    trial = key.trials.get(_text(rating, "trial"))
    if trial is None:
        raise RatingError("the key knows no such page")
    group, number = envelope.get("group"), envelope.get("number")
    if (group, number) != (trial["group"], trial["number"]) or not (_whole(group) and _whole(number)):
        raise RatingError("the page belongs to another listener")
    listener = _text(envelope, "listener")
    if not _LISTENER.fullmatch(listener) or not listener.startswith(f"{group}-{number}-"):
        raise RatingError("the listener's name is none that the page gives")
    if rating.get("clips") != trial["clips"]:
        raise RatingError("other clips than the page's")
    many = len(trial["clips"]) if trial["kind"] == "mushra" else 1
    low, high = SCALES[trial["kind"]]
    values = _numbers(rating, "values", low, high, {many})
    heard = len(trial["clips"]) + (trial["kind"] == "mushra")
    plays = _numbers(rating, "plays", 1, _MAX_PLAYS, {heard})
    (seconds,) = _numbers({"seconds": [rating.get("seconds")]}, "seconds", 0, _MAX_SECONDS, {1})
    at = _text(rating, "at")
    if not _TIME.fullmatch(at):
        raise RatingError("the time is none")
    return Rating(
        key.test, group, number, listener, trial["id"], tuple(trial["clips"]), values, plays, seconds, at
    )


def read(paths: Iterable[str | Path], key: Key) -> list[Rating]:
    """The ratings of files that listeners saved (.json, .csv), each once, in the order of the files.

    The same page of the same listener may come in several files, if it says the same; else RatingError names it.
    """
    known: dict[tuple[str, str], Rating] = {}
    for path in map(Path, paths):
        try:
            for envelope, raw in _parsed(path):
                rating = checked(envelope, raw, key)
                before = known.setdefault((rating.listener, rating.trial), rating)
                if before != rating:
                    raise RatingError(
                        f"page {rating.trial} of {rating.listener} is rated twice, and differently"
                    )
        except (ValueError, KeyError, TypeError) as error:
            raise RatingError(f"{path}: {error}") from error
    return list(known.values())


def collected(folder: str | Path, key: Key) -> list[Rating]:
    """All ratings of a folder: saved files, and what a server kept (ratings.sqlite) there."""
    from lib.listening.store import Store

    folder = Path(folder)
    files = sorted(path for kind in ("json", "csv") for path in folder.glob(f"ratings-*.{kind}"))
    known = {(r.listener, r.trial): r for r in read(files, key)}
    if (folder / "ratings.sqlite").exists():
        with Store(folder / "ratings.sqlite") as store:
            known |= {(r.listener, r.trial): r for r in (checked(*pair, key) for pair in store.all())}
    return list(known.values())


def table(ratings: Iterable[Rating], key: Key) -> "pd.DataFrame":
    """One line for each value: listener, trial, role, sentence, condition, value, expected, seconds.

    Of a pair, `condition` and `other` are its clips and `value` is how much better `condition` was, whichever
    came first.
    """
    import pandas as pd

    lines = []
    for rating in ratings:
        trial = key.trials[rating.trial]
        common = {
            "listener": rating.listener,
            "trial": rating.trial,
            "role": trial["role"],
            "expected": trial["expected"],
            "seconds": rating.seconds,
        }
        if trial["role"] != "rating":
            lines.append(
                {**common, "sentence": None, "condition": None, "other": None, "value": rating.values[0]}
            )
            continue
        said, shown = key.sentences[trial["sentence"]]["id"], [key.conditions[c].name for c in trial["shown"]]
        if trial["kind"] in ("ab", "ccr"):
            turned = (
                trial["shown"][0] < trial["shown"][1]
            )  # in the order of conditions: a value above 0 is for the later
            pair, value = (shown[::-1], rating.values[0]) if turned else (shown, -rating.values[0])
            lines.append({**common, "sentence": said, "condition": pair[0], "other": pair[1], "value": value})
            continue
        for name, value in zip(shown, rating.values, strict=True):
            lines.append({**common, "sentence": said, "condition": name, "other": None, "value": value})
    columns = ["listener", "trial", "role", "sentence", "condition", "other", "value", "expected", "seconds"]
    return pd.DataFrame(lines, columns=columns)


def _parsed(path: Path) -> Iterable[tuple[dict, dict]]:
    """(envelope, rating) pairs as the page wrote them."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".json":
        held = json.loads(text)
        envelope = {name: held[name] for name in ("format", "test", "group", "number", "listener")}
        return [(envelope, rating) for rating in held["ratings"]]
    lines = list(csv.DictReader(io.StringIO(text)))
    if lines and tuple(lines[0]) != COLUMNS:
        raise RatingError(f"its columns are {', '.join(map(str, lines[0]))}, not {', '.join(COLUMNS)}")
    pairs = []
    for line in lines:
        envelope = {name: line[name] for name in ("test", "listener")} | {"format": FORMAT}
        envelope |= {name: int(line[name]) for name in ("group", "number")}
        rating = {"trial": line["trial"], "clips": line["clips"].split(), "seconds": int(line["seconds"])}
        rating |= {name: [int(x) for x in line[name].split()] for name in ("values", "plays")}
        pairs.append((envelope, rating | {"at": line["at"]}))
    return pairs


def _text(record: dict, name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or len(value) > 64:
        raise RatingError(f"{name} is no short text")
    return value


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(record: dict, name: str, low: int, high: int, lengths: set[int]) -> tuple[int, ...]:
    values = record.get(name)
    if not isinstance(values, list) or len(values) not in lengths:
        raise RatingError(f"{name}: give {' or '.join(map(str, lengths))} of them")
    if not all(_whole(value) and low <= value <= high for value in values):
        raise RatingError(f"{name}: whole numbers from {low} to {high} only")
    return tuple(values)
