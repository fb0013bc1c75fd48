"""What did the students gain? Every speed-up stated twice: against 4,000 steps, and against the best rival without
training that is as good; and how little a fast decoder is worth where another stage takes the time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lib.measure import judgement, verdict
from lib.studies import ladder
from lib.studies.distillation_claim import DEGRADED, PUBLISHED_STEPS, REFERENCE, SYSTEM

if TYPE_CHECKING:
    import pandas as pd


def stages(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds of each stage for a second of speech, a line for each variant that was benched; index: the variant.

    table: rows, as `lib.results.read` returns them.
    """
    import pandas as pd

    chosen = table[(table.system == SYSTEM) & (table.metric == "rtf") & table.value.notna()]
    lines = {row.variant: json.loads(row.detail)["stages"] for row in chosen.itertuples()}
    return pd.DataFrame.from_dict(lines, orient="index")


def amdahl(table: pd.DataFrame) -> str | None:
    """What the decoder's gain is worth to the whole, in a sentence; None without the converged teacher and another."""
    by_stage = stages(table)
    if REFERENCE not in by_stage.index or len(by_stage) < 2:
        return None
    before = by_stage.loc[REFERENCE]
    after = by_stage.drop(index=REFERENCE).sum(axis=1).idxmin()
    best = by_stage.loc[after]
    share, rest = before.decoder / before.sum(), best.drop("decoder").idxmax()
    return (
        f"The decoder takes {100 * share:.0f} % of the time of the converged teacher ({ladder.CONVERGED} evaluations), "
        f"{100 * best.decoder / best.sum():.0f} % with {after}: its own {before.decoder / best.decoder:.0f} times are "
        f"{before.sum() / best.sum():.1f} times for the whole. No decoder, however fast, could make more of it than "
        f"{best.sum() / (best.sum() - best.decoder):.2f} times again: now the {rest.replace('_', ' ')} takes most, "
        f"{100 * best[rest] / best.sum():.0f} %."
    )


def verdicts(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """A line for each variant that was judged against the converged teacher: evaluations, whether it was trained, what
    it is called and why. known: of `ladder.known`, which has the distances, and who was trained.
    """
    import pandas as pd

    judged = set(table[(table.system == SYSTEM) & (table.baseline == REFERENCE)].variant)
    chosen = table[(table.system == SYSTEM) & (table.metric == "nfe") & table.variant.isin(judged)]
    lines = []
    for row in chosen.itertuples():
        said = judgement.from_rows(table, SYSTEM, row.variant, row.target, REFERENCE, quality_target=row.target)
        near = known[known.walk == row.variant].distance
        lines.append(
            {
                "variant": row.variant,
                "trained": "yes" if known[known.walk == row.variant].student.any() else "no",
                "evaluations": int(row.value),
                "mel distance, dB": near.iloc[0] if len(near) else float("nan"),
                "verdict": said.quality.word,
                "why": "; ".join(said.quality.reasons),
            }
        )
    columns = ["variant", "trained", "evaluations", "mel distance, dB", "verdict", "why"]
    return pd.DataFrame(lines, columns=columns).sort_values(["evaluations", "variant"]).reset_index(drop=True)


def folding(known: pd.DataFrame) -> str | None:
    """How much of the students' distance folding guidance in has brought, in a sentence; None where it was not walked.

    known: of `ladder.known`.
    """
    taught = known[(known.student != "") & (known.guidance == 0.0)]
    folded = taught[taught.evaluations >= ladder.CONVERGED]
    halved = taught[(taught.sampler == "student") & taught.walk.str.startswith("distilled-")]
    if folded.empty or halved.empty:
        return None
    first, most, least = (
        folded.iloc[0],
        halved.loc[halved.evaluations.idxmax()],
        halved.loc[halved.evaluations.idxmin()],
    )
    students = taught[taught.walk == taught.student].drop_duplicates("walk").set_index("walk")
    apart = isinstance(students.teacher[most.walk], str) and first.student not in _line(students, most.walk)
    halvings = "halvings of the teacher itself leave" if apart else "after all halvings it is"
    return (
        f"Folding guidance in has by itself moved the converged walk by {first.distance:.2f} dB ({first.student}, "
        f"without any halving); {halvings} {most.distance:.2f} dB with {most.evaluations} evaluations and "
        f"{least.distance:.2f} dB with {least.evaluations}."
    )


def ways(known: pd.DataFrame) -> str | None:
    """Which way leads to a single evaluation at what cost, in a sentence: halving upon halving, intervals, consistency,
    each from the student where they part; None where no run taught two of them.

    known: of `ladder.known`. Minutes are those of each training's own clock, the rungs between counted in.
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
        return f"To a single evaluation lead, from {parting} on: {', '.join(said)}{rest}{ladder.few(last)}."
    return None


def _line(students: pd.DataFrame, name: str) -> list[str]:
    """A student, its teacher, that one's, as far as students are known; the last may be none of them."""
    line = [name]
    while line[-1] in students.index:
        line.append(students.teacher[line[-1]])
    return line


def poorer(known: pd.DataFrame) -> str | None:
    """What poor synthetic data does to a student, in a sentence; None where none was taught with it.

    known: of `ladder.known`.
    """
    said = []
    for row in known[known.student.str.contains(DEGRADED, regex=False)].itertuples():
        clean, _, level = row.student.partition(DEGRADED)
        beside = known[(known.student == clean) & (known.walk == clean) & (known.table == row.table)]
        if len(beside):
            said.append(
                f"told what to say through noise of {level} times its spread, {clean} lies {row.distance:.2f} dB from "
                f"the converged walk, {beside.iloc[0].distance:.2f} without"
            )
    return f"What the data are worth: {'; '.join(said)}." if said else None


def newest(recorded: pd.DataFrame) -> pd.DataFrame:
    """Of recorded rows those of the newest run in which walks were judged."""
    ours = recorded[(recorded.system == SYSTEM) & (recorded.metric == "nfe") & (recorded.variant == REFERENCE)]
    if ours.empty:
        return recorded[:0]
    last = ours.sort_values("time").iloc[-1]
    return recorded[(recorded.notebook == last.notebook) & (recorded.host == last.host)]


def fewest(table: pd.DataFrame) -> str | None:
    """With how few evaluations one hears no difference, with training and without, in a sentence; None without any.

    table: of `verdicts`.
    """
    if table.empty:
        return None
    said = []
    for trained, who in (("no", "without training"), ("yes", "with a student")):
        mine = table[table.trained == trained]
        good = mine[mine.verdict == verdict.WITHOUT_LOSS].evaluations
        bad = mine[mine.verdict == verdict.WORSE].evaluations
        if mine.empty:
            continue
        words = (
            f"{who} {good.min()} evaluations are enough (of {len(mine)} walks judged)"
            if len(good)
            else f"{who} none is proven to be without loss"
        )
        said.append(words + (f" and {bad.max()} are heard to be too few" if len(bad) else ""))
    return "By the verdict of the judges, " + "; ".join(said) + "."


def twice(table: pd.DataFrame, known: pd.DataFrame) -> str | None:
    """The speed-up of the cheapest student that is without audible loss, against 4,000 steps and against the cheapest
    such rival, in a sentence; None where no student is: of what is undecided nothing follows.

    tables: of `verdicts` and of `ladder.known`.
    """
    ranked = table[table.verdict == verdict.WITHOUT_LOSS].sort_values("evaluations")
    taught = ranked[ranked.trained == "yes"]
    spent = known.set_index("walk").decoder_s_per_audio_s
    if taught.empty or taught.iloc[0].variant not in spent:
        return None
    student = taught.iloc[0]
    free = ranked[(ranked.trained == "no") & ranked.variant.isin(spent.index)]
    other = free.sort_values("evaluations").iloc[0] if len(free) else None
    teacher = known[known.student == ""]
    each = (teacher.decoder_s_per_audio_s / teacher.evaluations).median()  # seconds of an evaluation
    whole, mine = PUBLISHED_STEPS * each, spent[student.variant]
    return (
        f"{student.variant} ({student.evaluations} evaluations, {student.verdict}) takes {1000 * mine:.0f} ms of "
        f"decoder time for a second of speech: {whole / mine:,.0f} times less than {PUBLISHED_STEPS:,} steps would "
        f"({each * 1000:.1f} ms each), and {_against(student, other, mine, spent)}."
    )


def _against(student: pd.Series, other: pd.Series | None, mine: float, spent: pd.Series) -> str:
    """The same beside the best rival."""
    if other is None:
        return "no walk without training that was judged is as good"
    bought = (
        "so the training bought nothing that a better sampler does not give"
        if other.evaluations <= student.evaluations
        else "which is what the training bought"
    )
    return (
        f"{spent[other.variant] / mine:.1f} times less than {other.variant} ({other.evaluations} evaluations, "
        f"{other.verdict}), the best without training; {bought}"
    )
