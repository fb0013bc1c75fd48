"""What did the students gain, by the judges? Every speed-up stated twice: against 4,000 steps, and against the best
rival without training that is as good; and how little a fast decoder is worth where another stage takes the time.
Whether the goals of the study are reached is in `lib.studies.student_goals`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib import results
from lib.measure import judgement, verdict
from lib.studies import ladder, origins, walked
from lib.studies.distillation_claim import PUBLISHED_STEPS, REFERENCE, SPOKEN_BY, SYSTEM

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


def amdahl(table: pd.DataFrame, judged: pd.DataFrame) -> str | None:
    """What the decoder's gain is worth to the whole, in a sentence: that of the fastest whole without audible loss, or
    where none is proven, of the fastest that is not worse, which is then said. None without the converged teacher, or
    another to compare it with.

    tables: rows, and of `verdicts`.
    """
    by_stage = stages(table)
    words = judged.set_index("variant").verdict
    named = by_stage[by_stage.index.isin(words.index)]
    for word in (verdict.WITHOUT_LOSS, verdict.UNDECIDED):
        candidates = named[named.index.map(words) == word]
        if len(candidates):
            break
    if REFERENCE not in by_stage.index or candidates.empty:
        return None
    before = by_stage.loc[REFERENCE]
    after = candidates.sum(axis=1).idxmin()
    best = by_stage.loc[after]
    share, rest = before.decoder / before.sum(), best.drop("decoder").idxmax()
    rival = cheapest(judged, "no")
    if rival is None or rival.variant == after:
        beside = ""
    elif rival.variant in by_stage.index:
        times = by_stage.loc[rival.variant].sum() / best.sum()
        beside = (
            f" The best rival without training, {rival.variant}, takes {times:.2f} times as long as a whole."
        )
    else:
        beside = f" The best rival without training, {rival.variant}, was not timed."
    return (
        f"The decoder takes {100 * share:.0f} % of the time of the converged teacher ({ladder.CONVERGED} evaluations), "
        f"{100 * best.decoder / best.sum():.0f} % with {after} ({words[after]}): its own "
        f"{before.decoder / best.decoder:.0f} times are {before.sum() / best.sum():.1f} times for the whole. No "
        f"decoder, however fast, could make more of it than {best.sum() / (best.sum() - best.decoder):.2f} times "
        f"again: now the {rest.replace('_', ' ')} takes most, {100 * best[rest] / best.sum():.0f} %.{beside}"
    )


def verdicts(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """A line for each variant that was judged against the converged teacher: evaluations, whether it was trained, what
    it is called, on how many sentences, and why. known: of `walked.known`, which has the distances.
    """
    import pandas as pd

    ours = table[(table.system == SYSTEM) & (table.baseline == REFERENCE)]
    heard = ours[ours.metric == "mos_predicted"].drop_duplicates("variant", keep="last").set_index("variant").n
    chosen = table[(table.system == SYSTEM) & (table.metric == "nfe") & table.variant.isin(heard.index)]
    lines = []
    for row in chosen.itertuples():
        said = judgement.from_rows(table, SYSTEM, row.variant, row.target, REFERENCE, quality_target=row.target)
        near = known[known.walk == row.variant.partition(SPOKEN_BY)[0]]
        # A guided walk's goal is another: its distance from that one has no place here.
        goal = near[near.guidance == 0.0].distance
        lines.append(
            {
                "variant": row.variant,
                "trained": "yes" if near.student.any() else "no",
                "evaluations": int(row.value),
                "mel distance, dB": goal.iloc[0] if len(goal) else float("nan"),
                "verdict": said.quality.word,
                "sentences": int(heard[row.variant]),
                "why": "; ".join(said.quality.reasons),
            }
        )
    columns = ["variant", "trained", "evaluations", "mel distance, dB", "verdict", "sentences", "why"]
    return pd.DataFrame(lines, columns=columns).sort_values(["evaluations", "variant"]).reset_index(drop=True)


def fullest(table: pd.DataFrame) -> pd.DataFrame:
    """Of rows those of the run that judged walks on the most sentences, of several the one with the most walks, of
    those the newest.
    """
    ours = table[(table.system == SYSTEM) & (table.baseline == REFERENCE) & table.n.notna()]
    if ours.empty:
        return table[:0]
    best = max(results.by_run(ours), key=lambda run: (run.n.max(), run.variant.nunique(), str(run.time.max())))
    return results.run_of(table, best.iloc[-1])


def fewest(table: pd.DataFrame) -> str | None:
    """With how few evaluations one hears no difference, with training and without, in a sentence; None without any.

    table: of `verdicts`.
    """
    if table.empty:
        return None
    said = []
    for trained, who in (("no", "without training"), ("yes", "with a student")):
        mine = own_voiced(table[table.trained == trained])
        if mine.empty:
            continue
        good = mine[mine.verdict == verdict.WITHOUT_LOSS]
        bad = mine[mine.verdict == verdict.WORSE]
        if len(good):
            least = good.iloc[0]
            count = f"{least.evaluations} evaluation{'s are' if least.evaluations > 1 else ' is'}"
            words = f"{who} {count} enough ({least.variant}, of {len(mine)} walks judged)"
            bad = bad[bad.evaluations < least.evaluations]
        else:
            words = f"{who} none of {len(mine)} walks is proven to be without loss"
        if len(bad):
            most = bad.iloc[-1]
            words += f", and {most.evaluations} are heard to be too few ({most.variant})"
        said.append(words)
    own = own_voiced(table)
    if not (own.verdict == verdict.WORSE).any():
        least = own.evaluations.min()
        said.append(
            f"none is heard to be worse, down to {least} evaluation{'s' if least > 1 else ''}: how few are too few was "
            "not found, and no person was asked"
        )
    few = int(table.sentences.min())
    return f"By the verdict of the judges on {few} sentence{'s' * (few != 1)}, {'; '.join(said)}."


def guided(table: pd.DataFrame) -> str | None:
    """What guidance does to this decoder, by the judged walk with the most steps of it, in a sentence; None without
    any. table: rows of whatever runs; one of them is told of, that on the most sentences.
    """
    ours = table[(table.system == SYSTEM) & (table.baseline == REFERENCE) & table.n.notna()]
    ours = ours[ours.variant.str.endswith(ladder.GUIDED)]
    if ours.empty:
        return None
    run = results.run_of(table, ours.sort_values(["n", "time"]).iloc[-1])
    lines = verdicts(run, walked.known(run))
    lines = lines[lines.variant.isin(ours.variant)]
    line = lines.loc[lines.evaluations.idxmax()]
    return origins.told(
        run,
        f"Guidance, asked for at every step ({line.variant}, {line.evaluations} evaluations), is {line.verdict} beside "
        f"the converged walk without it on {line.sentences} sentences ({line.why}).",
    )


def own_voiced(table: pd.DataFrame) -> pd.DataFrame:
    """Of `verdicts` those that speak through the vocoder of the converged teacher: by evaluations, of as many the one
    that comes nearest to that teacher first.
    """
    own = table[~table.variant.str.contains(SPOKEN_BY, regex=False)]
    return own.sort_values(["evaluations", "mel distance, dB"])


def cheapest(table: pd.DataFrame, trained: str) -> pd.Series | None:
    """The walk with the fewest evaluations that is without audible loss; None where none is. table: of `verdicts`;
    trained: "yes" or "no".
    """
    mine = own_voiced(table[(table.trained == trained) & (table.verdict == verdict.WITHOUT_LOSS)])
    return None if mine.empty else mine.iloc[0]


@dataclass(frozen=True)
class Costs:
    """Seconds of decoder for a second of speech, of walks that were timed in turns: by walk, and of an evaluation of
    the teacher's.
    """

    walks: pd.Series
    each: float

    @classmethod
    def of(cls, known: pd.DataFrame, walk: str) -> Costs | None:
        """Those of the run that measured a walk; None where none has. known: of `walked.known`."""
        mine = known[known.walk == walk]
        if mine.empty:
            return None
        run = known[known.table == mine.iloc[0].table]
        teacher = run[run.student == ""]
        return cls(
            run.set_index("walk").decoder_s_per_audio_s,
            (teacher.decoder_s_per_audio_s / teacher.evaluations).median(),
        )


def twice(table: pd.DataFrame, known: pd.DataFrame) -> str | None:
    """The speed-up of the cheapest student that is without audible loss, against 4,000 steps and against the cheapest
    such rival, in a sentence; None where no student is: of what is undecided nothing follows.

    tables: of `verdicts` and of `walked.known`.
    """
    student = cheapest(table, "yes")
    costs = None if student is None else Costs.of(known, student.variant)
    if costs is None:
        return None
    mine, whole = costs.walks[student.variant], PUBLISHED_STEPS * costs.each
    count = f"{student.evaluations} evaluation{'s' if student.evaluations > 1 else ''}"
    return (
        f"{student.variant} ({count}, {student.verdict}) takes {1000 * mine:.0f} ms of decoder time for a "
        f"second of speech: {whole / mine:,.0f} times "
        f"less than {PUBLISHED_STEPS:,} steps would ({costs.each * 1000:.1f} ms each), and "
        f"{_against(student, own_voiced(table[table.trained == 'no']), costs)}."
    )


def _against(student: pd.Series, free: pd.DataFrame, costs: Costs) -> str:
    """The same beside the rivals. What the training bought is only what cheaper rivals are proven to lack."""
    good = free[(free.verdict == verdict.WITHOUT_LOSS) & free.variant.isin(costs.walks.index)]
    if good.empty:
        return "no walk without training that was judged is as good"
    other = good.iloc[0]
    said = (
        f"{costs.walks[other.variant] / costs.walks[student.variant]:.1f} times less than {other.variant} "
        f"({other.evaluations} evaluations, {other.verdict}), the best without training that is proven to be as good; "
    )
    if other.evaluations <= student.evaluations:
        return said + "so the training bought nothing that a better sampler does not give"
    between = free[(free.evaluations >= student.evaluations) & (free.evaluations < other.evaluations)]
    worse, open_ = (between[between.verdict == word] for word in (verdict.WORSE, verdict.UNDECIDED))
    if len(worse) and open_.empty:
        return (
            said
            + f"with fewer evaluations rivals are worse ({', '.join(worse.variant)}): that the training bought"
        )
    if open_.empty:
        return said + "no rival with fewer evaluations was judged: what the training bought is not shown"
    return said + f"{' and '.join(open_.variant)} may be as good: what the training bought is not shown"
