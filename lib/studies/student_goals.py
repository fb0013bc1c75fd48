"""Are the goals of the distillation reached? Each with the number it was measured by, and one of three words.

Reached and missed need proof: a goal that hangs on walks of which the judges are not sure is undecided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.measure import verdict
from lib.studies import gains
from lib.studies.distillation_claim import PUBLISHED_STEPS, Claim

if TYPE_CHECKING:
    import pandas as pd

REACHED, MISSED, UNDECIDED = "reached", "missed", "undecided"
MOST_EVALUATIONS = 2
FEWER = 4  # times fewer evaluations than the best rival of equal quality
NEAR = 0.75  # of so many: rivals are not walked at every number
BELOW_WHOLE, BELOW_GUIDED = 100, 10  # times below 4,000 steps, and below the preset with guidance
MOST_HOURS = 4.0
COLUMNS = ("goal", "what was measured", "word")


def goals(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """A line for each goal; empty where nothing was judged.

    tables: of `gains.verdicts` and of `walked.known`.
    """
    import pandas as pd

    lines = []
    if len(table):
        student = gains.cheapest(table, "yes")
        lines = [_few_evaluations(table, student), _fewer_than_rivals(table, student)]
        lines += _faster(student, known) + [_trained_in_time(student, known)]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def said(found: pd.DataFrame) -> str | None:
    """The goals in a sentence; None where nothing was judged. found: of `goals`."""
    if found.empty:
        return None
    if (found.word == UNDECIDED).all() and (found[COLUMNS[1]] == _NO_STUDENT).any():
        return f"Of the study's {len(found)} goals none is decided here: {_NO_STUDENT}."
    words = [
        f"{word}: {'; '.join(f'{row.goal} ({row[2]})' for row in found[found.word == word].itertuples())}"
        for word in (REACHED, MISSED, UNDECIDED)
        if (found.word == word).any()
    ]
    return f"Of the study's goals, {'. '.join(words)}. Judged in the voice of vits-joe alone."


def _few_evaluations(table: pd.DataFrame, student: pd.Series | None) -> tuple[str, str, str]:
    goal = f"at most {MOST_EVALUATIONS} evaluations without audible loss"
    if student is not None and student.evaluations <= MOST_EVALUATIONS:
        free = gains.cheapest(table, "no")
        too = free is not None and free.evaluations <= MOST_EVALUATIONS
        beside = f"; {free.variant} without training, too" if too else ""
        return goal, f"{student.variant} with {student.evaluations}{beside}", REACHED
    few = gains.own_voiced(table[(table.trained == "yes") & (table.evaluations <= MOST_EVALUATIONS)])
    told = ", ".join(f"{row.variant} {row.verdict}" for row in few.itertuples()) or "no such student was judged"
    return goal, told, MISSED if len(few) and (few.verdict == verdict.WORSE).all() else UNDECIDED


def _fewer_than_rivals(table: pd.DataFrame, student: pd.Series | None) -> tuple[str, str, str]:
    """Missed where a rival with less than so many times the evaluations is proven to be as good; reached where the
    ones that come nearest to so many were judged, and are proven worse.
    """
    goal = f"{FEWER} times fewer evaluations than the best sampler without training"
    if student is None:
        return goal, _NO_STUDENT, UNDECIDED
    free = gains.own_voiced(table[table.trained == "no"])
    below = free[free.evaluations < FEWER * student.evaluations]
    good = below[below.verdict == verdict.WITHOUT_LOSS]
    if len(good):
        rival = good.iloc[0]
        return (
            goal,
            f"{student.variant} with {student.evaluations}, {rival.variant} with {rival.evaluations}",
            MISSED,
        )
    nearest = below[below.evaluations == below.evaluations.max()]
    near = len(nearest) and nearest.evaluations.max() >= NEAR * FEWER * student.evaluations
    if near and (nearest.verdict == verdict.WORSE).all():
        return (
            goal,
            f"beside {student.variant} with {student.evaluations}, {_and(nearest.variant)} worse",
            REACHED,
        )
    told = ", ".join(f"{row.variant} {row.verdict}" for row in below.itertuples()) or "no such rival was judged"
    return goal, f"beside {student.variant} with {student.evaluations}: {told}", UNDECIDED


def _faster(student: pd.Series | None, known: pd.DataFrame) -> list[tuple[str, str, str]]:
    evaluations = 2 * Claim().guided_steps
    wanted = (
        (BELOW_WHOLE, f"{PUBLISHED_STEPS:,} steps", PUBLISHED_STEPS),
        (BELOW_GUIDED, f"{Claim().guided_steps} guided steps", evaluations),
    )
    costs = None if student is None else gains.Costs.of(known, student.variant)
    lines = []
    for least, what, count in wanted:
        goal = f"decoder {least} times below {what}"
        if costs is None:
            lines.append((goal, _NO_STUDENT, UNDECIDED))
            continue
        times = count * costs.each / costs.walks[student.variant]
        word = REACHED if times >= least else MISSED
        lines.append((goal, f"{student.variant}: {times:,.0f} times, from the time of one evaluation", word))
    return lines


def _trained_in_time(student: pd.Series | None, known: pd.DataFrame) -> tuple[str, str, str]:
    goal = f"trained within {MOST_HOURS:g} hours on two cores"
    if student is None:
        return goal, _NO_STUDENT, UNDECIDED
    mine = known[known.walk == student.variant].line_minutes
    minutes = mine.iloc[0] if len(mine) else 0.0
    if not minutes > 0:
        return goal, f"what {student.variant}'s teachers took is not known", UNDECIDED
    word = REACHED if minutes <= 60 * MOST_HOURS else MISSED
    return goal, f"{student.variant} and all its teachers: {minutes:.0f} minutes of training", word


def _and(names: pd.Series) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'}"


_NO_STUDENT = "no student is proven to be without audible loss"
