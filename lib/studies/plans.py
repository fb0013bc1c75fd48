"""The fastest variant of a system that nobody hears, from what its groups of layers do alone; or none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import systems
from lib.optimize import plan as planning
from lib.studies import confirmed, sensitivity

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.scorer import Scorer
    from lib.optimize.plan import Answer, Chosen, Plan
    from lib.results import Run
    from lib.studies.confirmed import Baseline
    from lib.studies.sensitivity import Tried

AUTO = "auto"  # the variant of a plan's row


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
) -> Chosen:
    """The fastest variant of a system that is without audible loss, or the reasons why it is left in fp32.

    candidates: technique -> its arguments beside the layers; tried: technique -> what `screen` found of its blocks;
    texts: of the bench; folder: where variants are saved. A plan is confirmed on the baseline's sentences. Rows of
    every variant that was asked about are written as of any other.
    """
    made = [
        plan
        for technique, arguments in candidates.items()
        for plan in planning.plans(
            technique, arguments, [t.effect for t in tried[technique] if t.effect and t.group.axis == "block"]
        )
    ]

    def ask(plan: Plan) -> Answer:
        name = f"{plan.technique}-{len(plan.layers)}"
        steps = [(plan.technique, {**plan.arguments, "layers": plan.layers})]
        data = f"{len(base.sentences)} sentences judged"
        variant = confirmed.make(base.system, steps, name, folder, data=data)
        heard = confirmed.hear(run, base, variant, scorer)
        return confirmed.weigh(run, base, [heard], texts, rounds=rounds)[0]

    return planning.auto(made, ask, whose=f"{base.system.name} on {base.system.target}", most=most)


def plan_of(
    run: Run,
    name: str,
    target: str,
    tried: Mapping[str, Sequence[Tried]],
    sentences: Sequence[Sentence],
    texts: Sequence[str],
    scorer: Scorer,
    folder: str | Path,
    *,
    rounds: int = 3,
    most: int = 4,
    threads: int = 2,
) -> str:
    """The plan for a system from what its groups did, confirmed, in words; its row has the variant "auto"."""
    base = confirmed.baseline(run, systems.load(name, target=target, threads=threads), sentences, scorer)
    candidates = {technique: sensitivity.arguments_of(technique) for technique in tried}
    chosen = auto(run, base, candidates, tried, texts, scorer, folder, rounds=rounds, most=most)
    if chosen.plan is None:
        run.not_run(name, AUTO, target, "rtf", chosen.reason)
        return f"{name} on {target}: {chosen.reason}."
    times = max(answer.times for plan, answer in chosen.asked if plan is chosen.plan)
    run.add(
        name,
        AUTO,
        target,
        "speedup",
        times,
        source="the bench: baseline over variant",
        detail={"plan": chosen.reason, "technique": chosen.plan.technique, "layers": chosen.plan.layers},
    )
    return f"{name} on {target}: take {chosen.reason} ({times:.2f} times as fast)."


def recalled(rows: pd.DataFrame) -> str | None:
    """What earlier plans came to, in sentences; None without any. rows: of `lib.results.read`."""
    plans = rows[rows.variant == AUTO]
    said = []
    for row in plans.itertuples():
        reason = json.loads(row.detail)["plan"] if row.detail.startswith("{") else row.detail
        said.append(f"{row.system} on {row.target}: {reason}.")
    return " ".join(dict.fromkeys(said)) or None
