"""How is a floor's number read from the rows of one run? Speed-ups, differences, verdicts.

A speed-up is the paired one where a bench wrote it, else that of both intervals of one bench, which is cautious. One of
rows of two benches has no interval: a run lasts hours, and its machine is not always as busy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lib.errors import ParameterError
from lib.measure import judgement, verdict
from lib.metrics import deliberate
from lib.studies.floors import MET, MISSED, NOT_RUN, UNDECIDED, Answer, Number, Part

if TYPE_CHECKING:
    import pandas as pd

WHOLE = "baseline"
_BENCH = ("load_before", "load_after", "busy_before", "threads", "rounds", "benched")  # what its rows say alike
_WRITTEN_S = 60  # the rows of a bench are written one after the other when it has ended
_WORDS = {verdict.WITHOUT_LOSS: MET, verdict.WORSE: MISSED, verdict.UNDECIDED: UNDECIDED}


def judged(run: pd.DataFrame, system: str, variant: str, target: str) -> Part:
    """What the verdict calls a variant; the baseline itself is what others are heard beside."""
    if variant == WHOLE:
        return Part("the whole network on another runtime, nothing compressed", MET, plain=True)
    unheard = Part("nobody judged it", NOT_RUN, plain=True)
    try:
        quality = judgement.from_rows(run, system, variant, target).quality
    except ParameterError:
        return unheard
    compared = cell(run, system, variant, target, "wer") is not None
    return Part(f"heard: {quality.word}", _WORDS[quality.word], plain=True) if compared else unheard


def no_dearer(
    run: pd.DataFrame, system: str, variant: str, target: str, costs: Sequence[str] = verdict.OF_A_VARIANT
) -> Part | None:
    """Whether a variant costs no more time and no more bytes than its baseline on the same target, by the rule of the
    recommendation: what is slower or larger is no optimization. costs: those that the floor does not ask about itself;
    None where none of them was compared.
    """
    if variant == WHOLE:
        return None
    try:
        gains = judgement.from_rows(run, system, variant, target).gains
    except ParameterError:
        return None
    asked = [gain for gain in gains if gain.metric in costs]
    if not asked:
        return None
    words = [_dearer(gain) for gain in asked]
    word = next(word for word in (MISSED, UNDECIDED, MET) if word in words)
    return Part(f"beside its baseline there {', '.join(gain.text for gain in asked)}", word)


def _dearer(gain: verdict.Gain) -> str:
    if gain.costs_more:
        return MISSED
    return UNDECIDED if gain.may_cost_more else MET


def speed_up(run: pd.DataFrame, row: Any, base: str, base_target: str) -> Number | None:
    """How many times as fast a row's variant is as another one of its system, in one run; without an interval where
    they were not timed in one bench.
    """
    beside = cell(run, row.system, row.variant, row.target, "speedup")
    if beside is not None and detail(beside).get("of") == f"{row.system} {base} on {base_target}":
        return number(beside)
    paired = detail(row).get("speedup")
    if paired and (row.baseline, row.target) == (base, base_target):
        return Number(paired["value"], paired["ci_low"], paired["ci_high"])
    other = cell(run, row.system, base, base_target, "rtf")
    if other is None or other.kind != row.kind or row.value <= 0:
        return None
    if not same_bench(row, other):
        return Number(other.value / row.value, why="of two benches, which are not compared")
    ends = number(row).ends, number(other).ends
    if None in ends or ends[0][0] <= 0:
        return Number(other.value / row.value)
    return Number(other.value / row.value, ends[1][0] / ends[0][1], ends[1][1] / ends[0][0])


def same_bench(one: Any, other: Any) -> bool:
    """Whether two rows say that they were timed in turns: what slowed the machine for one slowed it for the other."""
    told, beside = detail(one), detail(other)
    if "rounds" not in told or any(told.get(name) != beside.get(name) for name in _BENCH):
        return False
    apart = datetime.fromisoformat(one.time) - datetime.fromisoformat(other.time)
    return abs(apart.total_seconds()) < _WRITTEN_S


def minus(one: Number, other: Number) -> Number:
    """A difference of two numbers that are not paired, end by end, which is cautious."""
    if one.ends is None or other.ends is None:
        return Number(one.value - other.value)
    return Number(one.value - other.value, one.low - other.high, one.high - other.low)


def variants(run: pd.DataFrame, system: str, metric: str) -> Iterator[Any]:
    """Rows of what was done to a system, on the usual sentences: neither other test sets nor damage on purpose."""
    for row in rows(run, system, metric):
        if "@" not in row.variant and not deliberate(row.variant):
            yield row


def rows(run: pd.DataFrame, system: str, metric: str) -> Iterator[Any]:
    """The rows of a metric; system "": of all."""
    mine = run[(run.metric == metric) & ((run.system == system) | (system == ""))]
    yield from mine.drop_duplicates(["system", "variant", "target"], keep="last").itertuples()


def cell(run: pd.DataFrame, system: str, variant: str, target: str, metric: str) -> Any | None:
    """The last row of a name; None without one."""
    mine = run[
        (run.system == system) & (run.variant == variant) & (run.target == target) & (run.metric == metric)
    ]
    return next(mine.iloc[-1:].itertuples(), None)


def answer(row: Any, *parts: Part | None, who: str = "", place: str = "", size: float = 0.0) -> Answer:
    """What the variant of a row has. who: another name than its own; place, size: of `Answer`."""
    name = who or f"{row.variant} on {row.target}"
    read = (f"{row.system} {row.variant} {row.target} {row.metric}",)
    asked = tuple(part for part in parts if part is not None)
    return Answer(name, asked, read, tried=(who or row.variant) != WHOLE, place=place, size=size)


def number(row: Any) -> Number:
    """A row's value with its interval."""
    return Number(row.value, row.ci_low, row.ci_high)


def difference(about: Mapping[str, Any] | None) -> Number | None:
    """A paired difference of word errors as a row's detail keeps it. Its interval counts by the rules of the verdict:
    of too few sentences it decides nothing, and where it ends at 0 (nobody misheard anything else) only of many.
    """
    if not about or about.get("difference") is None:
        return None
    value, low, high, n = (about.get(name) for name in ("difference", "ci_low", "ci_high", "n"))
    few = n is not None and low is not None and n < verdict.least_sentences("wer", low, high)
    return Number(value) if few else Number(value, low, high)


def detail(row: Any) -> dict[str, Any]:
    """A row's detail; {} where it is words."""
    try:
        detail = json.loads(row.detail)
    except (ValueError, TypeError):
        return {}
    return detail if isinstance(detail, dict) else {}
