"""What do the rows of walks say? How near samplers without training come, and students beside them (`ladder.measure`
has written them).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lib import results
from lib.measure import stats
from lib.studies.distillation_claim import DEGRADED
from lib.studies.ladder import CONVERGED, STOCHASTIC, SUFFIX

if TYPE_CHECKING:
    import pandas as pd


def known(*tables: pd.DataFrame) -> pd.DataFrame:
    """Walks that were measured, a line each: walk, sampler, student, spacing, guidance, steps, evaluations,
    decoder_s_per_audio_s, distance, ci_low, ci_high, n; of students method, teacher, minutes of training and with all
    teachers' line_minutes (0: unknown); table, the number of the run that measured it; recorded, whether that is an
    earlier one. Left out is what no row should say any more: students of consistency that took several steps by DDIM,
    and samplers whose noise on the way had not yet the temperature of the walk.

    tables: of `lib.results.read`, this run's first. A run is what a notebook measured on one host at one commit; those
    of a table count from the newest on. All numbers of a line are of one run, and only walks of one run began in the
    same noise: a walk that several runs measured has a line of each (`foremost` takes the first).
    """
    import pandas as pd

    lines = []
    for number, rows in enumerate(run for rows in tables for run in _runs(rows)):
        for row in rows.drop_duplicates("variant", keep="last").itertuples():
            walk, detail = row.variant.removesuffix(SUFFIX), json.loads(row.detail)
            detail.pop("timesteps", None)
            several = detail.get("method") == "consistency" and walk != detail["student"]
            if several or (detail["sampler"] in STOCHASTIC and "temperature" not in detail):
                continue
            lines.append(
                {
                    "walk": walk, **detail, "distance": row.value, "ci_low": row.ci_low, "ci_high": row.ci_high,
                    "n": row.n, "table": number, "recorded": bool(row.recorded),
                }
            )  # fmt: skip
    columns = [
        "walk",
        "sampler",
        "student",
        "spacing",
        "guidance",
        "steps",
        "evaluations",
        "decoder_s_per_audio_s",
        "method",
        "teacher",
        "minutes",
        "line_minutes",
        "n",
    ]
    return pd.DataFrame(lines, columns=[*columns, "distance", "ci_low", "ci_high", "table", "recorded"])


def foremost(known: pd.DataFrame) -> pd.DataFrame:
    """Of each walk the line of the first run that has it, for pictures of all that is known."""
    return known.drop_duplicates("walk", ignore_index=True)


def _runs(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The walks of a table, run by run, the newest first."""
    if not len(rows):
        return []
    walked = rows[rows.variant.str.endswith(SUFFIX) & (rows.metric == "mel_distance_db")]
    runs = [run for _, run in walked.groupby(results.RUN, sort=False)]
    return sorted(runs, key=lambda run: run.time.max(), reverse=True)


def rival(known: pd.DataFrame, distance: float, guidance: float = 0.0) -> pd.Series | None:
    """The training-free walk with the fewest evaluations that comes at least as near to the converged one; None where
    no walk that was measured does. known: walks of one run.
    """
    free = known[(known.student == "") & (known.guidance == guidance) & (known.distance <= distance)]
    return None if free.empty else free.sort_values(["evaluations", "distance"], kind="stable").iloc[0]


def rivals(known: pd.DataFrame) -> str | None:
    """How near the best training-free sampler comes with few evaluations, in a sentence: in the run that walked the
    most sentences.
    """
    free = known[(known.student == "") & (known.guidance == 0.0) & ~known.sampler.isin(STOCHASTIC)]
    if free.empty:
        return None
    free = free[free.table == free.sort_values(["n", "table"], ascending=[False, True]).table.iloc[0]]
    best = free.loc[free.groupby("evaluations").distance.idxmin()].sort_values("evaluations")
    said = ", ".join(f"{row.evaluations} {row.distance:.2f} ({row.walk})" for row in best.itertuples())
    far = "Without any training the mel lies so many dB from the converged walk's, by evaluations"
    return f"{far}: {said}{few(best)}."


def taught(known: pd.DataFrame) -> pd.DataFrame:
    """Every student of fewer steps than a converged walk, most evaluations first, beside what as many steps of DDIM
    give untrained, and beside the training-free walk with the fewest evaluations that comes as near in the same run:
    walk, evaluations, distance, untrained (NaN: not walked), rival ("": none came as near), its evaluations, ratio, n,
    recorded, and up to how many evaluations rivals were walked. Of several runs the first with students.
    """
    import pandas as pd

    mine = known[(known.student != "") & (known.guidance == 0.0) & (known.evaluations < CONVERGED)]
    mine = mine[~mine.student.str.contains(DEGRADED, regex=False)]
    mine = mine[mine.table == mine.table.min()].sort_values("evaluations", ascending=False, kind="stable")
    beside = known[known.table == mine.table.min()]
    most = beside[(beside.student == "") & (beside.guidance == 0.0)].evaluations.max()
    lines = []
    for row in mine.itertuples():
        plain = beside[beside.walk == f"ddim-{row.evaluations}"].distance
        other = rival(beside, row.distance)
        count = float("nan") if other is None else other.evaluations
        lines.append(
            {
                "walk": row.walk,
                "evaluations": row.evaluations,
                "distance": row.distance,
                "untrained": plain.iloc[0] if len(plain) else float("nan"),
                "rival": "" if other is None else other.walk,
                "its evaluations": count,
                "ratio": count / row.evaluations,
                "n": row.n,
                "recorded": row.recorded,
                "rivals up to": most,
            }
        )
    columns = ["walk", "evaluations", "distance", "untrained", "rival", "its evaluations", "ratio", "n"]
    columns += ["recorded", "rivals up to"]
    return pd.DataFrame(lines, columns=columns)


def finding(known: pd.DataFrame) -> str | None:
    """Of `taught` the student of the most evaluations and the one that gained most, in a sentence; None without any."""
    lines = taught(known)
    if lines.empty:
        return None
    alone = lines[(lines.rival == "") & (lines.evaluations <= lines["rivals up to"])]
    gained = lines[lines.ratio.notna()].sort_values("ratio", ascending=False, kind="stable")
    best = (alone if len(alone) else gained).iloc[:1]
    said = [_beside(one) for _, one in (*lines.iloc[:1].iterrows(), *best.iterrows())]
    listed = "; ".join(dict.fromkeys(said))
    return f"Of {len(lines)} walks of students, {listed}{few(lines)}."


def _beside(line: pd.Series) -> str:
    untrained = "" if line.untrained != line.untrained else f" ({line.untrained:.2f} by DDIM untrained)"
    said = f"{line.walk} comes to {line.distance:.2f} dB with {line.evaluations}{untrained}"
    if line.rival:
        count = int(line["its evaluations"])
        return f"{said}; of the training-free walks that were tried the first as near is {line.rival} with {count}"
    if line["rivals up to"] >= line.evaluations:
        return f"{said}, nearer than every training-free walk of the same run"
    most = "none" if line["rivals up to"] != line["rivals up to"] else f"{line['rivals up to']:.0f} at most"
    return f"{said}, where no training-free walk of so many was tried ({most})"


def few(lines: pd.DataFrame) -> str:
    """On how many sentences distances stand, what so few are worth, and whether an earlier run measured them."""
    least = int(lines.n.min())
    plural, worth = "s" if least != 1 else "", "" if least >= stats.MIN_N else ": an order and no more"
    return f" (on {least} sentence{plural}{worth}{earlier(lines)})"


def earlier(lines: pd.DataFrame) -> str:
    """", recorded" where an earlier run measured some of them."""
    return ", recorded" if lines.recorded.any() else ""
