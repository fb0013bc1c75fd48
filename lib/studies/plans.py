"""The fastest variant of a system that nobody hears, from what its groups of layers do alone; or none.

Groups are ranked and plans are chosen on validation sentences; the one that was chosen is judged on others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import systems
from lib.errors import ParameterError
from lib.optimize import plan as planning
from lib.optimize.plan import Answer
from lib.studies import confirmed, failed, sensitivity

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
) -> tuple[Chosen, dict[int, Asked]]:
    """The fastest variant of a system that is without audible loss, or the reasons why it is left in fp32; and, by the
    plan's id, what was made of every plan that was asked about.

    candidates: technique -> its arguments beside the layers; tried: technique -> what `screen` found of its blocks;
    base: judged on the sentences that are to choose; texts: of the bench; folder: where variants are saved. Rows of
    every variant that was asked about are written.
    """
    made = [
        plan
        for technique, arguments in candidates.items()
        for plan in planning.plans(
            technique, arguments, [t.effect for t in tried[technique] if t.effect and t.group.axis == "block"]
        )
    ]
    asked: dict[int, Asked] = {}

    def ask(plan: Plan) -> Answer:
        try:
            return asked_in_full(plan)
        except Exception as error:
            names = (base.system.name, _name(plan), base.system.target)
            return Answer("not run", False, failed.told(run, names, error), 0.0)

    def asked_in_full(plan: Plan) -> Answer:
        steps = [(plan.technique, {**plan.arguments, "layers": plan.layers})]
        data = f"chosen by {len(base.sentences)} sentences"
        variant = confirmed.make(base.system, steps, _name(plan), folder, data=data, resume=resume)
        heard = confirmed.hear(run, base, variant, scorer)
        kept_in = Path(folder) if resume else None
        timed = confirmed.timed(run, base.system, [variant], texts, rounds=rounds, resume=kept_in)
        one = asked[id(plan)] = Asked(variant, timed[variant.variant], timed[base.system.variant])
        return confirmed.answer(run, base.system, heard, one.timed, one.before)

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
) -> str:
    """The plan for a system from what its groups did, in words; its row has the variant "auto".

    choosing: sentences that choose among the plans; held_out: others, on which the one that was chosen is judged: the
    best of several on the very sentences that chose it looks better than it is.
    """
    if shared := {s.id for s in choosing} & {s.id for s in held_out}:
        raise ParameterError(
            f"{len(shared)} sentences would choose the plan and judge it, {min(shared)} among them: take others"
        )
    try:
        return _planned(
            run, name, target, tried, choosing, held_out, texts, scorer, folder, rounds, most, threads, resume
        )
    except Exception as error:
        return f"{name} on {target}: not planned: {failed.told(run, (name, AUTO, target), error)}."


def _planned(
    run, name, target, tried, choosing, held_out, texts, scorer, folder, rounds, most, threads, resume
) -> str:
    """The plan, arguments as of `plan_of`."""
    system = systems.load(name, target=target, threads=threads)
    base = confirmed.baseline(run, system, choosing, scorer, at=CHOOSING)
    candidates = {technique: sensitivity.arguments_of(technique) for technique in tried}
    chosen, asked = auto(
        run, base, candidates, tried, texts, scorer, folder, rounds=rounds, most=most, resume=resume
    )
    if chosen.plan is None:
        return _left(run, name, target, chosen.reason)
    one = asked[id(chosen.plan)]
    others = confirmed.baseline(run, system, held_out, scorer)
    heard = confirmed.hear(run, others, one.variant, scorer)
    answer = confirmed.answer(run, system, heard, one.timed, one.before)
    where = f"judged on {len(held_out)} sentences that had no part in choosing it"
    if not answer.recommended:
        reason = f"{planning.LEAVE}: {chosen.reason}; {where}: {answer.word} ({answer.why})"
        return _left(run, name, target, reason)
    groups = ", ".join(group.name for group in chosen.plan.groups)
    reason = f"{chosen.plan.technique} on {groups}, {where}: {answer.why}"
    run.add(
        name,
        AUTO,
        target,
        "speedup",
        answer.times,
        source="the bench: baseline over variant",
        detail={"plan": reason, "technique": chosen.plan.technique, "layers": chosen.plan.layers},
    )
    return f"{name} on {target}: take {reason} ({answer.times:.2f} times as fast)."


def _left(run: Run, name: str, target: str, reason: str) -> str:
    """The row and the words of a system that stays as it is."""
    run.not_run(name, AUTO, target, "rtf", reason)
    return f"{name} on {target}: {reason}."


def _name(plan: Plan) -> str:
    """What a plan's variant is called."""
    return f"{plan.technique}-{len(plan.layers)}"


def recalled(rows: pd.DataFrame) -> str | None:
    """What earlier plans came to, in sentences; None without any. rows: of `lib.results.read`."""
    plans = rows[rows.variant == AUTO]
    said = []
    for row in plans.itertuples():
        reason = json.loads(row.detail)["plan"] if row.detail.startswith("{") else row.detail
        said.append(f"{row.system} on {row.target}: {reason}.")
    return " ".join(dict.fromkeys(said)) or None
