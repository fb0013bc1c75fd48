"""What did this project set out to reach at least, and was it reached? Every floor beside the rows that answer it.

A floor is met where one variant of one run meets all that is asked of it, each by the whole of its 95 % interval;
missed where an interval lies wholly on the wrong side; undecided where one crosses, or where there is none though
chance has a say. Bytes and shares of parameters are counted and need none. Rows of two runs or two machines are never
laid beside each other. Nothing is measured here: `floor_rows` says how each is read from a results table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MET, MISSED, UNDECIDED, NOT_RUN = "met", "missed", "undecided", "not run"
_RANK = {MET: 0, UNDECIDED: 1, NOT_RUN: 2, MISSED: 3}  # of variants: one that is not decided may still meet it


@dataclass(frozen=True)
class Number:
    """What a row says. exact: counted, so it needs no interval."""

    value: float
    low: float | None = None
    high: float | None = None
    exact: bool = False

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval; of what is counted the value twice; None where there is none."""
        if self.exact:
            return self.value, self.value
        if any(end is None or math.isnan(end) for end in (self.low, self.high)):
            return None
        return self.low, self.high


@dataclass(frozen=True)
class Part:
    """One thing that a floor asks, answered: what we have, in words, and one of MET, MISSED, UNDECIDED, NOT_RUN."""

    said: str
    word: str


@dataclass(frozen=True)
class Answer:
    """What one variant has of a floor. rows: "system variant target metric" of those that it was read from."""

    who: str
    parts: tuple[Part, ...]
    rows: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """The worst of its parts."""
        words = [part.word for part in self.parts]
        return next((word for word in (MISSED, NOT_RUN, UNDECIDED) if word in words), MET if words else NOT_RUN)

    @property
    def said(self) -> str:
        """What it has, in words."""
        return f"{self.who}: {'; '.join(part.said for part in self.parts)}"


@dataclass(frozen=True)
class Floor:
    """What is asked. answers: of the rows of one run, one for each variant that has a say; lacking: what has to run
    first where there is none; asked: (system, target) whose `not_run` row says more.
    """

    study: str
    name: str
    wanted: str
    answers: Callable[[pd.DataFrame], Sequence[Answer]]
    lacking: str
    asked: tuple[str, str] = ("", "")


@dataclass(frozen=True)
class Line:
    """A floor with our answer. origin: of an earlier run's rows, where and when."""

    study: str
    name: str
    wanted: str
    ours: str
    word: str
    why: str
    rows: tuple[str, ...] = ()
    origin: str = ""


def at_least(number: Number | None, limit: float, said: str) -> Part:
    """Whether a number is no less than a limit, by its whole interval. said: with {} for the number."""
    return _sided(
        number, said, lambda low, high: MET if low >= limit else MISSED if high < limit else UNDECIDED
    )


def at_most(number: Number | None, limit: float, said: str) -> Part:
    """Whether a number is no more than a limit, by its whole interval. said: with {} for the number."""
    return _sided(
        number, said, lambda low, high: MET if high <= limit else MISSED if low > limit else UNDECIDED
    )


def lines(table: pd.DataFrame, floors: Sequence[Floor]) -> list[Line]:
    """A line for each floor, of the rows that `lib.results.read` returns."""
    parts = runs(table)
    return [_line(floor, table, parts) for floor in floors]


def runs(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The measured rows run by run: what was not recorded first, then the newest."""
    known = table[table.value.notna() & (table.kind != "published")]
    recorded = known.recorded.astype(bool)
    keys = [recorded, known.notebook, known.host, known.commit.where(recorded, "")]
    parts = [part for _, part in known.groupby(keys, sort=False, dropna=False)]
    parts.sort(key=lambda part: str(part.time.max()), reverse=True)
    return sorted(parts, key=lambda part: bool(part.recorded.iloc[0]))


def shown(told: Sequence[Line]) -> pd.DataFrame:
    """The lines as a notebook shows them."""
    import pandas as pd

    columns = {
        "study": "of",
        "name": "floor",
        "wanted": "wanted",
        "ours": "ours",
        "word": "answer",
        "why": "why",
    }
    return pd.DataFrame(
        [
            [getattr(line, name) for name in columns] + [line.origin or "this run" if line.ours else ""]
            for line in told
        ],
        columns=[*columns.values(), "measured"],
    ).set_index(["of", "floor"])


def finding(told: Sequence[Line]) -> str | None:
    """How many floors are reached, in a sentence; None without any."""
    if not told:
        return None
    words = [line.word for line in told]
    said = [f"{words.count(word)} {word}" for word in (MET, MISSED, UNDECIDED, NOT_RUN) if word in words]
    return f"Of {len(told)} floors: {', '.join(said)}."


def _sided(number: Number | None, said: str, word: Callable[[float, float], str]) -> Part:
    if number is None or math.isnan(number.value):
        return Part(f"not measured: {said.format('?')}", NOT_RUN)
    shown = f"{number.value:.3g}"
    if number.ends is None:
        return Part(said.format(f"{shown} (no interval)"), UNDECIDED)
    low, high = number.ends
    interval = "" if number.exact else f" [{low:.3g}, {high:.3g}]"
    return Part(said.format(shown + interval), word(low, high))


def _line(floor: Floor, table: pd.DataFrame, parts: Sequence[pd.DataFrame]) -> Line:
    """Of the runs one that meets it, else of those that have a say the one that tried most, this run before others."""
    found = []
    for place, part in enumerate(parts):
        answers = list(floor.answers(part))
        if answers:
            best = min(answers, key=lambda one: (_RANK[one.word], -sum(p.word == MET for p in one.parts)))
            order = (best.word != MET, best.word == NOT_RUN, -len(answers), place)
            found.append((order, best, len(answers), part.iloc[0]))
    if not found:
        return Line(floor.study, floor.name, floor.wanted, "", NOT_RUN, _why_not(floor, table))
    _, best, tried, row = min(found, key=lambda one: one[0])
    origin = f"recorded {row.time[:10]}, {row.host}, commit {row.commit}" if bool(row.recorded) else ""
    return Line(
        floor.study, floor.name, floor.wanted, best.said, best.word, _why(best, tried), best.rows, origin
    )


def _why(best: Answer, tried: int) -> str:
    """The parts that keep it from being met; where one is missed, that no other of those tried did better."""
    short = [part for part in best.parts if part.word != MET]
    if not short:
        return ""
    said = "; ".join(f"{part.word}: {part.said}" for part in short)
    return f"{said} (the best of {tried} tried)" if tried > 1 else said


def _why_not(floor: Floor, table: pd.DataFrame) -> str:
    """What has to run first, and what a row says that could not run."""
    system, target = floor.asked
    mine = table[(table.kind == "not_run") & (table.system == system) & (table.target == target)]
    return f"{floor.lacking} ({mine.iloc[-1].detail})" if len(mine) else floor.lacking
