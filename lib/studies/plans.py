"""The fastest variant of a system that nobody hears, by plans put together from what its groups of layers do alone;
where none is faster for certain the smallest, and it is said that it is no faster; or none.

Groups are ranked on some sentences, plans are chosen on others (`apart`); the one that was chosen is judged on a third
lot. Its times are those of the bench that chose it.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import results, systems
from lib.errors import ParameterError, SpeechError
from lib.optimize import plan as planning
from lib.optimize.plan import Answer
from lib.results import METRICS, newest_run
from lib.studies import confirmed, failed, origins, sensitivity

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.benched import Benched
    from lib.measure.scorer import Scorer
    from lib.optimize.plan import Chosen, Plan
    from lib.results import Run
    from lib.studies.confirmed import Baseline
    from lib.studies.sensitivity import Tried
    from lib.systems.base import System

AUTO = "auto"  # the variant of a plan's row
CHOOSING = "@validation"  # behind the names of variants in rows about the sentences that chose among them


@dataclass
class Asked:
    """A plan's variant with what the bench said of it and of its baseline."""

    variant: System
    timed: Benched
    before: Benched


@dataclass(frozen=True)
class Found:
    """variant: to take, saved and loaded, None for the system as it is; said: why, in words."""

    variant: System | None
    said: str


def auto(
    run: Run,
    base: Baseline,
    candidates: Mapping[str, Mapping[str, Any]],
    tried: Mapping[str, Sequence[Tried]],
    texts: Sequence[str],
    scorer: Scorer,
    folder: str | Path,
    *,
    rounds: int = 3,
    most: int = 4,
    resume: bool = False,
    margins: Mapping[str, float] = {},
) -> tuple[Chosen, dict[int, Asked]]:
    """The plan for a system as `lib.optimize.plan.auto` chooses it, or the reasons why it is left in fp32; and, by the
    plan's id, what was made of every plan that was asked about.

    candidates: technique -> its arguments beside the layers; tried: technique -> what `screen` found of its groups;
    base: judged on the sentences that are to choose; texts: of the bench; folder: where variants are saved; margins:
    of `strict`. Rows of every variant that was asked about are written. SpeechError where no group could be treated: of
    what nobody tried, nobody knows that it makes nothing faster.
    """
    effects = {technique: [t.effect for t in tried[technique] if t.effect] for technique in candidates}
    if not any(effects.values()):
        why = next((t.why for found in tried.values() for t in found if t.why), "none was screened")
        raise SpeechError(f"no group of its layers could be treated, so nothing is known of any plan ({why})")
    made = [
        plan
        for technique, arguments in candidates.items()
        for plan in planning.plans(technique, arguments, effects[technique])
    ]
    called = _names(made)
    asked: dict[int, Asked] = {}

    def ask(plan: Plan) -> Answer:
        try:
            return asked_in_full(plan)
        except Exception as error:
            names = (base.system.name, called[id(plan)], base.system.target)
            return Answer("not run", False, failed.told(run, names, error), 0.0)

    def asked_in_full(plan: Plan) -> Answer:
        steps = [(plan.technique, {**plan.arguments, "layers": plan.layers})]
        data = f"chosen by {len(base.sentences)} sentences"
        variant = confirmed.make(base.system, steps, called[id(plan)], folder, data=data, resume=resume)
        heard = confirmed.hear(run, base, variant, scorer)
        kept_in = Path(folder) if resume else None
        timed = confirmed.timed(run, base.system, [variant], texts, rounds=rounds, resume=kept_in)
        one = asked[id(plan)] = Asked(variant, timed[variant.variant], timed[base.system.variant])
        answer = confirmed.answer(run, base.system, heard, one.timed, one.before)
        return strict(run, answer, base, variant, margins)

    return planning.auto(made, ask, whose=f"{base.system.name} on {base.system.target}", most=most), asked


def plan_of(
    run: Run,
    name: str,
    target: str,
    tried: Mapping[str, Sequence[Tried]],
    choosing: Sequence[Sentence],
    held_out: Sequence[Sentence],
    texts: Sequence[str],
    scorer: Scorer,
    folder: str | Path,
    *,
    rounds: int = 3,
    most: int = 4,
    threads: int = 2,
    resume: bool = False,
    margins: Mapping[str, float] = {},
) -> Found:
    """The plan for a system from what its groups did; its row has the variant "auto".

    choosing: sentences that choose among the plans; held_out: others, on which the one that was chosen is judged: the
    best of several on the very sentences that chose it looks better than it is. margins: of `strict`.
    """
    if shared := {s.id for s in choosing} & {s.id for s in held_out}:
        raise ParameterError(
            f"{len(shared)} sentences would choose the plan and judge it, {min(shared)} among them: take others"
        )
    try:
        return _planned(
            run,
            name,
            target,
            tried,
            choosing,
            held_out,
            texts,
            scorer,
            folder,
            rounds,
            most,
            threads,
            resume,
            margins,
        )
    except Exception as error:
        return Found(None, f"{name} on {target}: not planned: {failed.told(run, (name, AUTO, target), error)}.")


def strict(run: Run, answer: Answer, base: Baseline, variant: System, margins: Mapping[str, float]) -> Answer:
    """An answer that may be taken only where the whole interval of a variant's differences lies inside margins that are
    narrower than the verdict's. margins: metric -> the largest change for the worse, in its unit; none: as it is.
    """
    if not margins or not answer.recommended:
        return answer
    names = (variant.name, f"{variant.variant}{base.at}", variant.target)
    rows = results.read(run.path)
    mine = rows[(rows[["system", "variant", "target"]] == names).all(axis=1)].set_index("metric")
    for metric, margin in margins.items():
        told = json.loads(mine.detail[metric]) if metric in mine.index else {}
        sign = METRICS[metric].better
        ends = [told[end] for end in ("ci_low", "ci_high") if told.get(end) is not None]
        if not ends or min(sign * end for end in ends) <= sign * margin:
            shown = f"[{ends[0]:+g}, {ends[1]:+g}]" if ends else "not known"
            why = f"{METRICS[metric].in_sentence} {shown} is not inside the margin of {margin:+g} that was asked for"
            return replace(answer, recommended=False, why=why)
    return answer


def _planned(
    run, name, target, tried, choosing, held_out, texts, scorer, folder, rounds, most, threads, resume, margins
) -> Found:
    """The plan, arguments as of `plan_of`."""
    system = systems.load(name, target=target, threads=threads)
    base = confirmed.baseline(run, system, choosing, scorer, at=CHOOSING)
    candidates = {technique: sensitivity.arguments_of(technique) for technique in tried}
    chosen, asked = auto(
        run,
        base,
        candidates,
        tried,
        texts,
        scorer,
        folder,
        rounds=rounds,
        most=most,
        resume=resume,
        margins=margins,
    )
    if chosen.plan is None:
        return _left(run, name, target, chosen.reason)
    one = asked[id(chosen.plan)]
    others = confirmed.baseline(run, system, held_out, scorer)
    heard = confirmed.hear(run, others, one.variant, scorer)
    answer = confirmed.answer(run, system, heard, one.timed, one.before)
    answer = strict(run, answer, others, one.variant, margins)
    where = f"judged on {len(held_out)} sentences that had no part in choosing it"
    if not answer.recommended:
        reason = f"{planning.LEAVE}: {chosen.reason}; {where}: {answer.word} ({answer.why})"
        return _left(run, name, target, reason)
    reason = f"{chosen.plan.said}, {where}: {answer.why}"
    told = {"plan": reason, "technique": chosen.plan.technique, "layers": chosen.plan.layers}
    run.add(
        name,
        AUTO,
        target,
        "speedup",
        answer.times,
        n=answer.n,
        ci=answer.ci,
        source="the bench: baseline over variant",
        detail=told | {"smaller": round(answer.smaller, 3)},
    )
    return Found(one.variant, f"{name} on {target}: take {reason}; {answer.gained}.")


def _left(run: Run, name: str, target: str, reason: str) -> Found:
    """The row and the words of a system that stays as it is."""
    run.not_run(name, AUTO, target, "rtf", reason)
    return Found(None, f"{name} on {target}: {reason}.")


def _names(made: Sequence[Plan]) -> dict[int, str]:
    """By a plan's id what its variant is called: after how many layers it treats, "int8-static-25"; of several with as
    many, the second "int8-static-25-2".
    """
    named, counted = {}, Counter()
    for plan in made:
        first = f"{plan.technique}-{len(plan.layers)}"
        counted[first] += 1
        named[id(plan)] = first if counted[first] == 1 else f"{first}-{counted[first]}"
    return named


def recalled(rows: pd.DataFrame) -> str | None:
    """What earlier plans came to, in sentences, of each system by its newest run; None without any. rows: of
    `lib.results.read`.
    """
    said = []
    for _, own in rows[rows.variant == AUTO].groupby("system", sort=False):
        newest = newest_run(own)
        reasons = []
        for row in newest.itertuples():
            reasons.append(f"{row.system} on {row.target}: {_reason(row)}.")
        said.append(origins.told(newest, " ".join(dict.fromkeys(reasons))))
    return " ".join(said) or None


def _reason(row: Any) -> str:
    """What a plan's row says of it; one without an interval, as older ones are, shows nothing to be faster."""
    if not row.detail.startswith("{"):
        return row.detail
    told = json.loads(row.detail)
    ci = None if math.isnan(row.ci_low) or math.isnan(row.ci_high) else (row.ci_low, row.ci_high)
    return f"{told['plan']}; {planning.gained(row.value, ci, told.get('smaller', 1.0))}"
