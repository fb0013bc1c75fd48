"""What did this project set out to reach at least, and was it reached? Every floor beside the rows that answer it.

A floor is met where one variant of one run meets all that is asked of it, each by the whole of its 95 % interval;
missed where an interval lies wholly on the wrong side; undecided where one crosses, or where there is none though
chance has a say. Bytes and shares of parameters are counted and need none. Rows of two runs or two machines are never
laid beside each other. Where several runs tried the same variant, the one that asked most of it answers (`by_size`);
of several as large this run, else the newest that decides: what was met once may be lost. Nothing is measured
here: `floor_rows` says how each is read from a results table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib.studies import by_size

if TYPE_CHECKING:
    import pandas as pd

MET, MISSED, UNDECIDED, NOT_RUN = "met", "missed", "undecided", "not run"
TOLD = {
    MET: "Reached",
    MISSED: "Missed",
    UNDECIDED: "Undecided",
    NOT_RUN: "Not measured",
}  # as a sentence begins
_RANK = {MET: 0, UNDECIDED: 1, MISSED: 2, NOT_RUN: 3}  # of variants: one that is not decided may still meet it


@dataclass(frozen=True)
class Number:
    """What a row says. exact: counted, so it needs no interval; why: there is none, in words."""

    value: float
    low: float | None = None
    high: float | None = None
    exact: bool = False
    why: str = ""

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
    """One thing that a floor asks, answered: what we have, in words, and one of MET, MISSED, UNDECIDED, NOT_RUN.

    plain: whether what it says tells already what became of it; lacks: how far a number is from its limit, as a share
    of that, 0 where it is on the right side; None of what is no number.
    """

    said: str
    word: str
    plain: bool = False
    lacks: float | None = None

    @property
    def short(self) -> float:
        """`lacks`; where it misses by a verdict, more than any number does."""
        return self.lacks if self.lacks is not None else math.inf if self.word == MISSED else 0.0


@dataclass(frozen=True)
class Answer:
    """What one variant has of a floor. rows: "system variant target metric" of those that it was read from; tried:
    whether anything was done to it, or it is the baseline on another runtime; place: answers of two runs with the same
    one are about the same thing (by default who answers); size: how much the run asked for to say it, comparable
    between answers of one place, 0 where every run asks as much.
    """

    who: str
    parts: tuple[Part, ...]
    rows: tuple[str, ...] = ()
    tried: bool = True
    place: str = ""
    size: float = 0.0

    @property
    def word(self) -> str:
        """The worst of its parts."""
        words = [part.word for part in self.parts]
        return next((word for word in (MISSED, NOT_RUN, UNDECIDED) if word in words), MET if words else NOT_RUN)

    @property
    def decides(self) -> bool:
        """Whether it says yes or no: missed is missed, whoever judged the rest, but not where the rest is half unasked
        and half open.
        """
        words = {part.word for part in self.parts}
        return self.word in (MET, MISSED) and not {NOT_RUN, UNDECIDED} <= words

    @property
    def whole(self) -> bool:
        """Whether every part of it is decided."""
        return all(part.word in (MET, MISSED) for part in self.parts)

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
    return _sided(number, limit, said, upward=True)


def at_most(number: Number | None, limit: float, said: str) -> Part:
    """Whether a number is no more than a limit, by its whole interval. said: with {} for the number."""
    return _sided(number, limit, said, upward=False)


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


def _sided(number: Number | None, limit: float, said: str, *, upward: bool) -> Part:
    if number is None or math.isnan(number.value):
        return Part(f"not measured: {said.format('?')}", NOT_RUN)
    shown, sign = f"{number.value:.3g}", 1 if upward else -1
    lacks = max(0.0, sign * (limit - number.value)) / (abs(limit) or 1.0)
    if number.ends is None:
        return Part(said.format(f"{shown} ({number.why or 'no interval'})"), UNDECIDED, lacks=lacks)
    low, high = number.ends
    interval = "" if number.exact else f" [{low:.3g}, {high:.3g}]"
    worst, best = sorted((sign * low, sign * high))
    word = MET if worst >= sign * limit else MISSED if best < sign * limit else UNDECIDED
    return Part(said.format(shown + interval), word, lacks=lacks)


@dataclass(frozen=True)
class _Said:
    """An answer with its run: a row of it, and how many runs are newer."""

    answer: Answer
    row: pd.Series
    age: int

    @property
    def order(self) -> tuple:
        """Of several the least is the best: one that meets it, else may, else misses least, in parts, then in how far
        it is from a limit; what something was done to before what only ran elsewhere, the newer before the older.
        """
        parts = self.answer.parts
        words = [part.word for part in parts]
        short = words.count(MISSED), -words.count(MET), max((part.short for part in parts), default=0.0)
        return _RANK[self.answer.word], not self.answer.tried, *short, self.age

    @property
    def origin(self) -> str:
        """Of an earlier run: where and when."""
        row = self.row
        return f"recorded {row.time[:10]}, {row.host}, commit {row.commit}" if bool(row.recorded) else ""


def _line(floor: Floor, table: pd.DataFrame, parts: Sequence[pd.DataFrame]) -> Line:
    """The best of the variants, each as the run says it that answers for it."""
    by_place: dict[str, list[_Said]] = {}
    for age, part in enumerate(parts):
        for one in floor.answers(part):
            by_place.setdefault(one.place or one.who, []).append(_Said(one, part.iloc[0], age))
    if not by_place:
        return Line(floor.study, floor.name, floor.wanted, "", NOT_RUN, _why_not(floor, table))
    counting = {place: _counts(said) for place, said in by_place.items()}
    place, best = min(counting.items(), key=lambda one: one[1].order)
    decided = sum(said.answer.word != NOT_RUN for said in counting.values())
    word, why = best.answer.word, _why(best.answer, decided)
    if word != MET and not any(said.answer.tried for said in counting.values()):
        word, why = NOT_RUN, f"no variant tried yet: {_why_not(floor, table)}"
    told = [why, _newer(best, by_place[place])]
    if word != MET:
        told.append(_once(said for every in by_place.values() for said in every))
    why = "; ".join(filter(None, told))
    return Line(
        floor.study, floor.name, floor.wanted, best.answer.said, word, why, best.answer.rows, best.origin
    )


def _counts(said: Sequence[_Said]) -> _Said:
    """Of the same variant in several runs, the newest first, the one that answers: of those with a say that asked most
    the newest that decides, else the newest; of those that decide the same, one that decides every part before one that
    leaves some open. What is too little to decide anything takes nothing back.
    """
    having = [one for one in said if one.answer.word != NOT_RUN] or said
    large = by_size.largest(having, lambda one: one.answer.size)
    deciding = [one for one in large if one.answer.decides]
    if not deciding:
        return large[0]
    same = [one for one in deciding if one.answer.word == deciding[0].answer.word]
    return next((one for one in same if one.answer.whole), deciding[0])


def _newer(best: _Said, said: Sequence[_Said]) -> str:
    """What the newest run that tried the same variant has, where that decides nothing, or asked less."""
    newer = [one for one in said if one.age < best.age and one.answer.word != NOT_RUN]
    if not newer:
        return ""
    one = newer[0]
    parts = "; ".join(part.said for part in one.answer.parts)
    if one.answer.word == UNDECIDED or not one.answer.decides:
        what = "has too little to decide it"
    else:
        what = f"{'asked less' if one.answer.size < best.answer.size else 'leaves parts open'}: {one.answer.word} there"
    return f"{one.origin or 'this run'} {what}: {parts}"


def _once(said: Iterable[_Said]) -> str:
    """Which older run met the floor, the newest of them; "" where none did."""
    met = min((one for one in said if one.answer.word == MET), key=lambda one: one.age, default=None)
    return f"was met by {met.answer.who} ({met.origin or 'this run'})" if met else ""


def _why(best: Answer, tried: int) -> str:
    """The parts that keep it from being met; where one is missed, that no other of those tried did better."""
    short = [part for part in best.parts if part.word != MET]
    if not short:
        return ""
    said = "; ".join(part.said if part.plain else f"{part.word}: {part.said}" for part in short)
    if tried > 1:
        return f"{said} (the best of {tried} tried)"
    return f"{said} (the only one tried)" if tried and not best.place else said


def _why_not(floor: Floor, table: pd.DataFrame) -> str:
    """What has to run first, and what a row says that could not run."""
    system, target = floor.asked
    mine = table[(table.kind == "not_run") & (table.system == system) & (table.target == target)]
    return f"{floor.lacking} ({mine.iloc[-1].detail})" if len(mine) else floor.lacking
