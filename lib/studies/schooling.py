"""What do the students' trainings teach us? What guidance costs, which way to a single evaluation is the nearest,
and what poor data do: sentences about distances from the converged walk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.studies import ladder, walked
from lib.studies.distillation_claim import DEGRADED

if TYPE_CHECKING:
    import pandas as pd


def folding(known: pd.DataFrame) -> str | None:
    """What folding guidance in costs by itself, with guidance and without, beside what halving costs, in a sentence;
    None where no student that learnt it was walked.

    known: of `walked.known`.
    """
    taught = known[known.student != ""]
    folded = taught[(taught.evaluations >= ladder.CONVERGED) & (taught.guidance == 0.0)]
    if folded.empty:
        return None
    first = folded.iloc[0]
    beside = taught[(taught.table == first.table) & (taught.guidance == 0.0)]
    halved = beside[(beside.sampler == "student") & beside.walk.str.startswith("distilled-")]
    if halved.empty:
        return None
    most, least = halved.loc[halved.evaluations.idxmax()], halved.loc[halved.evaluations.idxmin()]
    students = beside[beside.walk == beside.student].drop_duplicates("walk").set_index("walk")
    apart = isinstance(students.teacher[most.walk], str) and first.student not in _line(students, most.walk)
    halvings = "halvings of the teacher itself leave" if apart else "after all halvings it is"
    guided = taught[(taught.student == first.student) & (taught.guidance > 0) & (taught.table == first.table)]
    whole = "".join(
        f" and the guided one by {row.distance:.2f} dB, at weight {row.guidance:g}"
        for row in guided.itertuples()
    )
    spent = f" for {first.minutes:.0f} minutes" if first.get("minutes", 0) > 0 else ""
    return (
        f"A student that learnt nothing but to fold guidance in{spent} ({first.student}) has moved the converged walk "
        f"by {first.distance:.2f} dB{whole}: whether folding costs that, or so short a training, is not shown; "
        f"{halvings} {most.distance:.2f} dB with {most.evaluations} evaluations and {least.distance:.2f} dB with "
        f"{least.evaluations}{walked.few(halved)}."
    )


def ways(known: pd.DataFrame) -> str | None:
    """Which way leads to a single evaluation at what cost, in a sentence: halving upon halving, intervals, consistency,
    each from the student where they part; None where no run taught two of them.

    known: of `walked.known`. Minutes are those of each training's own clock, the rungs between counted in.
    """
    taught = known[known.method.notna() & ~known.student.str.contains(DEGRADED, regex=False)]
    for _, run in taught.groupby("table"):
        students = run[run.walk == run.student].set_index("walk")
        last = students[students.evaluations == 1]
        if last.method.nunique() < 2:
            continue
        lines = {name: _line(students, name) for name in last.index}
        parting = next(
            (one for one in lines[last.index[0]] if all(one in line for line in lines.values())), None
        )
        if parting is None:
            continue
        own = {name: line[: line.index(parting)] for name, line in lines.items()}
        if not all((students.minutes[line] > 0).all() for line in own.values()):
            continue  # students of an older version do not say their minutes
        spent = {name: students.minutes[line].sum() for name, line in own.items()}
        said = [
            f"{row.method} {row.distance:.2f} dB after {spent[row.Index]:.0f} minutes"
            for row in last.sort_values("distance", kind="stable").itertuples()
        ]
        equal = max(spent.values()) <= 1.25 * min(spent.values())
        rest = "" if equal else "; their minutes differ too much to rank the methods by it"
        return f"To a single evaluation lead, from {parting} on: {', '.join(said)}{rest}{walked.few(last)}."
    return None


def _line(students: pd.DataFrame, name: str) -> list[str]:
    """A student, its teacher, that one's, as far as students are known; the last may be none of them."""
    line = [name]
    while line[-1] in students.index:
        line.append(students.teacher[line[-1]])
    return line


def poorer(known: pd.DataFrame) -> str | None:
    """What poor synthetic data does to a student, in a sentence; None where none was taught with it. Each student once,
    by the run that measured it on the most sentences.

    known: of `walked.known`.
    """
    said = {}
    poor = known[known.student.str.contains(DEGRADED, regex=False)]
    for row in poor.sort_values(["n", "table"], ascending=[False, True], kind="stable").itertuples():
        clean, _, level = row.student.partition(DEGRADED)
        beside = known[(known.student == clean) & (known.walk == clean) & (known.table == row.table)]
        if len(beside) and row.student not in said:
            said[row.student] = (
                f"told what to say through noise of {level} times its spread, {clean} lies {row.distance:.2f} dB from "
                f"the converged walk, {beside.iloc[0].distance:.2f} without{walked.few(beside)}"
            )
    return f"What the data are worth: {'; '.join(said.values())}." if said else None
