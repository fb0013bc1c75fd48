"""Which one should I take? For each need the system and variant that meets it best, and what argues against the others.

A need is met by what was measured, judged by the words of `lib.measure.verdict`: a voice as it comes, or a variant of
it that is recommended. What is worse, undecided or below the floor is never offered, and where it would have won the
answer says so. Nothing qualifies: then the answer says why.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lib.measure import energy, verdict
from lib.measure.verdict import COUNTED
from lib.metrics import LEAST_SAVING
from lib.report import vocabulary
from lib.report.candidates import Candidate, candidates, runs
from lib.report.collect import Row
from lib.report.tables import interval_text, kind_text
from lib.report.verdicts import Judged, judged
from lib.results import METRICS

FLOOR_MOS = 3.5  # what speech coding calls communication quality: below it a listener has to make an effort
FLOOR_WER = 0.15  # of a text that a recogniser hears from real recordings with a third of that
_BESIDE = 2  # others that are named


@dataclass(frozen=True)
class Need:
    """metrics: what decides, the first that anything has; shown: what is told beside it; floor: whether the voice must
    be good enough (`FLOOR_MOS`, `FLOOR_WER`); real_time: whether it must speak faster than one listens, on a CPU.
    """

    key: str
    title: str
    metrics: tuple[str, ...]
    shown: tuple[str, ...]
    word: str  # of the best
    ahead: str  # of how it compares with the next
    floor: bool = True
    real_time: bool = False


NEEDS = (
    Need(
        "real-time",
        "Real time on a laptop",
        ("rtf",),
        ("latency_ms_p50", "mos_predicted", "wer"),
        "fastest",
        "times as fast as",
        real_time=True,
    ),
    Need(
        "smallest", "Smallest download", ("size_mb",), ("mos_predicted", "rtf"), "smallest", "times as small as"
    ),
    Need(
        "quality",
        "Best quality",
        ("mos_human", "mos_predicted"),
        ("wer", "rtf", "size_mb"),
        "best",
        "above",
        floor=False,
    ),
    Need(
        "battery",
        "Battery",
        ("energy_j_per_audio_s",),
        ("mos_predicted", "rtf"),
        "most frugal",
        "times as frugal as",
    ),
)


@dataclass(frozen=True)
class Number:
    """A number of an answer as shown: "0.0055", "s/s", "[0.0045, 0.0067]", "measured"."""

    metric: str
    label: str
    text: str
    unit: str
    interval: str
    kind: str


@dataclass(frozen=True)
class Answer:
    """choice: None where nothing measured meets the need; tied: others that the intervals do not tell from it;
    reason: why it, in words; against: what would have won and why it was not taken, a sentence each; origin: of the
    rows, where an earlier run measured them.
    """

    need: Need
    choice: Candidate | None
    numbers: tuple[Number, ...]
    tied: tuple[Candidate, ...]
    reason: str
    against: tuple[str, ...]
    origin: str = ""


def answers(rows: Iterable[Row]) -> list[Answer]:
    """An answer to each of NEEDS, [] where no voice was measured.

    Each from one run on one machine: this one where it has anything to say to the need, else the newest earlier one.
    """
    every = [row for row in rows if row.kind not in ("published", "not_run") and not row.claimed]
    entries = judged(every)
    pools = [candidates(run, entries) for run in runs(every)]
    if not any(pools):
        return []
    return [_first(need, pools) for need in NEEDS]


def sentence(answer: Answer) -> str:
    """An answer as one line of text: "Smallest download: hibari (13.6 MB). ..." """
    if answer.choice is None:
        return f"{answer.need.title}: no answer. {answer.reason}"
    told = "; ".join(
        " ".join(filter(None, (number.label, number.text, number.unit, number.interval, _marked(number))))
        for number in answer.numbers
    )
    said = f"{answer.need.title}: **{answer.choice.name}**, {answer.choice.target} ({told}). {answer.reason}"
    return " ".join([said, *answer.against, *([f"Recorded {answer.origin}."] if answer.origin else [])])


def _first(need: Need, pools: Sequence[Sequence[Candidate]]) -> Answer:
    """The answer of the first run that has one, else why the first cannot give one."""
    made = (_answer(need, pool) for pool in pools if pool)
    first = None
    for answer in made:
        if answer.choice is not None:
            return answer
        first = first or answer
    return first


def _answer(need: Need, pool: Sequence[Candidate]) -> Answer:
    known = {m: sum(m in one.rows for one in pool) for m in need.metrics}
    metric = next(
        (m for m in need.metrics if known[m] >= min(2, len(pool))), None
    )  # one rated voice is no ranking
    metric = metric or next((m for m in need.metrics if known[m]), None)
    if metric is None:
        wanted = METRICS[need.metrics[-1]].in_sentence
        return Answer(need, None, (), (), f"Of no voice {wanted} is known.", ())
    ranked = sorted((one for one in pool if metric in one.rows), key=lambda one: _cost(one, metric))
    refusals = {one: _refusal(need, one) for one in ranked}
    eligible = [one for one in ranked if not refusals[one]]
    if not eligible:
        why = "; ".join(f"{one.name} {refusals[one]}" for one in ranked[:_BESIDE])
        return Answer(need, None, (), (), f"Nothing measured qualifies: {why}.", ())
    choice = eligible[0]
    others = _distinct(choice, [one for one in eligible[1:] if _alike(choice, one, metric)], metric)
    tied = tuple(one for one in others if not settled(choice, one, metric))
    better = [one for one in ranked[: ranked.index(choice)] if refusals[one]]
    against = [f"{_told(one, metric)} is not offered: it {refusals[one]}." for one in better[:_BESIDE]]
    numbers = tuple(_number(choice.rows[m]) for m in (metric, *need.shown) if m in choice.rows)
    return Answer(
        need, choice, numbers, tied, _reason(need, metric, choice, others, tied), tuple(against), choice.origin
    )


def _alike(one: Candidate, other: Candidate, metric: str) -> bool:
    """Whether two may be ranked: joules that count different things, or of which one is an estimate, may not."""
    return metric not in energy.METRICS or energy.sort(one.rows[metric]) == energy.sort(other.rows[metric])


def settled(one: Candidate, other: Candidate, metric: str) -> bool:
    """Whether `one` is better than `other` beyond chance: bytes are counted; a recommended variant beats its own
    baseline by a paired interval; else the two intervals must lie apart.
    """
    mine, theirs = one.rows[metric], other.rows[metric]
    if metric in COUNTED:
        return max(mine.value, theirs.value) >= LEAST_SAVING * min(mine.value, theirs.value)
    if one.judged and (one.system, one.judged.baseline, one.target) == (
        other.system,
        other.variant,
        other.target,
    ):
        return any(gain.metric == metric and gain.saves for gain in one.judged.judgement.gains)
    if mine.ci_low is None or theirs.ci_low is None:
        return False
    return mine.ci_high < theirs.ci_low or theirs.ci_high < mine.ci_low


def _cost(one: Candidate, metric: str) -> tuple:
    """What to sort by: the best first; of equals what was measured before what was estimated, then the better rated."""
    row = one.rows[metric]
    mos = one.rows.get("mos_predicted")
    rtf = one.rows.get("rtf")
    return (
        row.kind != "measured",
        -METRICS[metric].better * row.value,
        -(mos.value if mos else 0.0),
        rtf.value if rtf else float("inf"),
        one.system,
        one.variant,
        one.target,
    )


def _refusal(need: Need, one: Candidate) -> str:
    """Why a candidate does not qualify, as what follows its name; "" where it does."""
    if one.judged and one.judged.judgement.recommendation.word != verdict.RECOMMENDED:
        return _unloved(one.judged)
    if need.real_time:
        rtf = one.rows["rtf"]
        if not one.target.endswith("/cpu"):
            return f"runs on {one.target}, which a laptop has not"
        if (rtf.ci_high or rtf.value) >= 1:
            return f"is not surely faster than real time (RTF {_amount(rtf)})"
    if need.floor:
        mos, wer = one.rows.get("mos_predicted"), one.rows.get("wer")
        if mos is None or wer is None:
            lacking = METRICS["mos_predicted" if mos is None else "wer"].in_sentence
            return f"was not judged: its {lacking} is not known"
        if mos.value < FLOOR_MOS:
            return f"sounds too poor (predicted MOS {_amount(mos)}, the floor is {FLOOR_MOS})"
        if wer.value > FLOOR_WER:
            return f"is too hard to understand (WER {_amount(wer)}, the floor is {100 * FLOOR_WER:.0f} %)"
    return ""


def _unloved(entry: Judged) -> str:
    """ "is undecided against its baseline; about 240 sentences would decide", by the words of the verdict."""
    quality, word = entry.judgement.quality, entry.judgement.recommendation.word
    if quality.word == verdict.WORSE:
        outside = [reason for reason in quality.reasons if reason.endswith(": outside")]
        return f"is worse than its baseline ({outside[0] if outside else quality.reasons[0]})"
    if quality.word == verdict.UNDECIDED:
        needed = quality.sentences_needed
        more = f"; about {needed:,} sentences would decide" if needed else ""
        return f"is undecided against its baseline{more}"
    return f"is {quality.word}, but {word}: {entry.judgement.recommendation.reason}"


def _distinct(choice: Candidate, others: Sequence[Candidate], metric: str) -> list[Candidate]:
    """The others, each voice's variant once: where quality or bytes decide, another target of the same is the same."""
    seen = {(choice.system, choice.variant, choice.target if metric in vocabulary.OF_THE_MACHINE else "")}
    kept = []
    for one in others:
        key = (one.system, one.variant, one.target if metric in vocabulary.OF_THE_MACHINE else "")
        if key not in seen:
            seen.add(key)
            kept.append(one)
    return kept


def _reason(
    need: Need, metric: str, choice: Candidate, others: Sequence[Candidate], tied: Sequence[Candidate]
) -> str:
    row = choice.rows[metric]
    said = []
    if choice.judged:
        said.append(f"Recommended against its {choice.judged.baseline}")
    if not others:
        alone = "The only one that qualifies" if need.floor else "The only one that was measured"
        said.append(alone + (" among numbers of its kind" if metric in energy.METRICS else ""))
    elif tied:
        names = ", ".join(one.name for one in tied[:_BESIDE])
        more = f" and {len(tied) - _BESIDE} more" if len(tied) > _BESIDE else ""
        said.append(f"The {need.word} by value; the intervals do not tell it from {names}{more}")
    else:
        said.append(f"The {need.word}: {_lead(need, choice, others[0], metric)}")
    if metric in energy.METRICS:
        formula = [] if row.kind == "measured" else [f"for this machine has no sensor: {energy.FORMULA}"]
        said.append(", ".join([f"Energy is {row.kind}", *formula, *energy.words(row)]))
    if metric == "mos_predicted":
        said.append("Predicted by a network: no listener was asked")
    return f"{'. '.join(said)}."


def _lead(need: Need, one: Candidate, other: Candidate, metric: str) -> str:
    mine, theirs = one.rows[metric].value, other.rows[metric].value
    if METRICS[metric].better < 0 and mine > 0:
        return f"{theirs / mine:.1f} {need.ahead} the next, {other.name} ({_amount(other.rows[metric])})"
    difference = vocabulary.number(metric, abs(mine - theirs))
    return f"{difference} {need.ahead} the next, {other.name} ({_amount(other.rows[metric])})"


def _told(one: Candidate, metric: str) -> str:
    return f"{one.name} ({METRICS[metric].in_sentence} {_amount(one.rows[metric])})"


def _amount(row: Row) -> str:
    """ "4.13 [4.05, 4.20]", a per cent sign with error rates."""
    unit = " %" if vocabulary.unit(row.metric) == "%" else " MB" if row.metric == "size_mb" else ""
    return f"{vocabulary.number(row.metric, row.value)}{unit} {interval_text(row)}".strip()


def _number(row: Row) -> Number:
    unit = "" if vocabulary.unit(row.metric) in ("points", "s/s") else vocabulary.unit(row.metric)
    shown = dataclasses.replace(row, recorded=False)  # the answer says once where it is from
    label = vocabulary.SHORT.get(row.metric, METRICS[row.metric].label)
    return Number(
        row.metric, label, vocabulary.number(row.metric, row.value), unit, interval_text(row), kind_text(shown)
    )


def _marked(number: Number) -> str:
    return "" if number.kind == "measured" else f"({number.kind})"
