"""Which layers of a system bear being treated, and which are heard? Each group of them alone, then the plan.

A technique treats one group of layers at a time (a type, a stage, a block), everything else stays as it is. What is
lost is paired with the baseline on the same sentences and seeds: the recogniser's loss and predicted MOS, in units of
the verdict's margins. What is gained is the time of the whole system, both spoken in turns in this process: good enough
to order the groups, not to be quoted; `lib.studies.plans` confirms a plan by the bench and by more sentences.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import optimize, progress, systems, targets
from lib.corpora import gutenberg
from lib.measure import evaluate, verdict
from lib.measure.scores import compare
from lib.optimize import plan as planning
from lib.optimize import quantize
from lib.optimize.plan import Effect, Group
from lib.studies import failed
from lib.studies.resumed import kept

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.base import System

METRICS = ("asr_nll", "mos_predicted")
SUFFIX = "@sensitivity"  # of the variants whose rows are groups
JOINT = "+"  # between the parts of their names
TECHNIQUES = {"torch": ("int8-dynamic",), "onnxruntime": ("int8-static", "int8-dynamic")}  # runtime -> screened
# Training sentences that static scales are found on: groups are screened and plans are chosen on validation sentences,
# and of the very sentences that set a scale none lies beyond it.
CALIBRATED = 8


@dataclass(frozen=True)
class Tried:
    """A group with what it did, or with why it could not be treated (`effect` is None then)."""

    group: Group
    effect: Effect | None
    why: str = ""


def screen(
    run: Run,
    base: System,
    technique: str,
    groups: Sequence[Group],
    sentences: Sequence[Sentence],
    scorer: Scorer,
    *,
    passes: int = 3,
    arguments: Mapping[str, Any] | None = None,
    resume: str | Path | None = None,
) -> list[Tried]:
    """Treat every group alone, judge and time it; its rows have the variant "<technique>+<axis>+<name>@sensitivity".

    Groups of the same layers are tried once. One that cannot be treated (an operator without a kernel, say) is told.
    passes: texts that are timed, and how often each; resume: where times are kept (`resumed`), None for nowhere.
    """
    before = evaluate.judge(evaluate.speak(base, sentences, seed=run.seed), scorer, seed=run.seed)

    def alone(group: Group) -> Tried:
        name = variant_of(technique, group)
        given = {**(arguments or {}), "layers": list(group.layers)}
        try:
            variant = optimize.make(base, technique, variant=name, **given)
            return Tried(group, _effect(run, base, variant, group, sentences, before, scorer, passes, resume))
        except Exception as error:
            names = (base.name, f"{name}{SUFFIX}", base.target)
            return Tried(group, None, failed.told(run, names, error, METRICS[0]))

    by_layers: dict[frozenset[str], Tried] = {}
    tried = []
    for group in progress.track(groups, f"{technique} on groups of {base.name}", unit="group"):
        layers = frozenset(group.layers)
        if layers not in by_layers:
            by_layers[layers] = alone(group)
        same = by_layers[layers]
        tried.append(Tried(group, same.effect and replace(same.effect, group=group), same.why))
    return tried


def by_group(
    run: Run,
    name: str,
    target: str,
    axes: Sequence[str],
    sentences: Sequence[Sentence],
    scorer: Scorer,
    *,
    threads: int = 2,
    passes: int = 3,
    resume: str | Path | None = None,
) -> dict[str, list[Tried]]:
    """Technique -> what it does to each group of a system's layers, see `screen`; where it could not be screened at
    all, why. axes: of `plan.groups`.
    """
    screened = {}
    for technique in TECHNIQUES.get(targets.find(target).runtime, ()):
        try:
            base = systems.load(name, target=target, threads=threads)
            screened[technique] = screen(
                run,
                base,
                technique,
                planning.groups(base, quantize.treated(technique, base), axes=axes),
                sentences,
                scorer,
                passes=passes,
                arguments=arguments_of(technique),
                resume=resume,
            )
        except Exception as error:
            why = failed.told(run, (name, f"{technique}{SUFFIX}", target), error, METRICS[0])
            screened[technique] = [Tried(Group("type", "none", ()), None, why)]
    return screened


def variant_of(technique: str, group: Group) -> str:
    """What a variant with one treated group is called; characters that no name may have become dashes."""
    return JOINT.join((technique, group.axis, re.sub(r"[^\w./-]", "-", group.name)))


def arguments_of(technique: str) -> dict[str, Any]:
    """What a technique is given beside its layers: static scales want sentences, none that anything is judged on."""
    if technique != "int8-static":
        return {}
    return {"sentences": [sentence.id for sentence in gutenberg.split("train", CALIBRATED)]}


def known(*tables: pd.DataFrame) -> pd.DataFrame:
    """Groups that were screened, a line each: system, target, technique, axis, group, times, loss in margins.

    tables: of `lib.results.read`, this run's first; an earlier run's groups of a system count where this has none.
    """
    import pandas as pd

    lines: dict[tuple, dict[str, Any]] = {}
    seen: set[tuple[str, str]] = set()
    for rows in tables:
        chosen = rows[rows.variant.str.endswith(SUFFIX) & rows.value.notna()] if len(rows) else rows
        added = set()
        for row in chosen.itertuples():
            if (row.system, row.target) in seen:
                continue
            detail = json.loads(row.detail)
            added.add((row.system, row.target))
            technique = row.variant.partition(JOINT)[0]
            line = lines.setdefault(
                (row.system, row.target, technique, detail["axis"], detail["group"]),
                {"times": detail["times"], "loss": planning.NOISE},
            )
            line["loss"] = max(line["loss"], detail["difference"] / verdict.MARGINS[row.metric])
        seen |= added
    names = ["system", "target", "technique", "axis", "group"]
    return pd.DataFrame(
        [{**dict(zip(names, key)), **line} for key, line in lines.items()], columns=[*names, "times", "loss"]
    )


def finding(tried: Sequence[Tried], whose: str) -> str:
    """Which groups gain, which lose most, in a sentence."""
    known = [t.effect for t in tried if t.effect]
    if not known:
        return f"No group of {whose} could be treated: {tried[0].why if tried else 'there is none'}."
    fastest = max(known, key=lambda e: e.times)
    worst = max(known, key=lambda e: e.loss)
    slower = [e.group.name for e in known if e.times < 1]
    text = (
        f"Of {len(known)} groups of {whose}, {fastest.group.name} gains most (the whole is {fastest.times:.2f} times "
        f"as fast), {worst.group.name} loses most ({worst.loss:.1f} of what is allowed)."
    )
    if slower:
        text += f" Slower than in fp32 are {len(slower)}: {', '.join(slower[:4])}{', ...' if len(slower) > 4 else ''}."
    return text


def in_turns(base: System, variant: System, texts: Sequence[str], *, passes: int = 3, seed: int = 0) -> float:
    """How many times as fast a variant speaks as its base, both in turns, each text after a first one not timed; the
    median over texts of ratios of the fastest passes.
    """
    ratios = []
    for number, text in enumerate(texts):
        spent = {id(base): [], id(variant): []}
        for turn in range(passes + 1):
            for system in (base, variant) if turn % 2 else (variant, base):
                begin = time.perf_counter()
                system.synthesize(text, seed + number)
                spent[id(system)].append(time.perf_counter() - begin)
        ratios.append(min(spent[id(base)][1:]) / min(spent[id(variant)][1:]))
    return float(np.median(ratios))


def _effect(run, base, variant, group, sentences, before, scorer, passes, resume) -> Effect:
    judged = evaluate.judge(evaluate.speak(variant, sentences, seed=run.seed), scorer, seed=run.seed)
    differences = compare(judged.scores, before.scores, seed=run.seed)
    texts = [s.text for s in sentences[:passes]]
    times = kept(
        resume,
        lambda: ["in turns", base.fingerprint(), variant.fingerprint(), texts, passes, run.seed, base.threads],
        lambda: in_turns(base, variant, texts, passes=passes, seed=run.seed),
        label=f"{variant.variant} of {base.name}",
    )
    losses = {m: differences[m].value / verdict.MARGINS[m] for m in METRICS}
    for metric in METRICS:
        estimate, difference = judged.summary[metric], differences[metric]
        low, high = difference.ci or (None, None)
        run.add(
            base.name,
            f"{variant.variant}{SUFFIX}",
            base.target,
            metric,
            estimate.value,
            n=estimate.n,
            ci=estimate.ci,
            source=f"{variant.made['technique']} on {len(group.layers)} layers alone",
            baseline=base.variant,
            detail={
                "axis": group.axis,
                "group": group.name,
                "layers": len(group.layers),
                "times": round(times, 3),
                "difference": round(difference.value, 4),
                "ci_low": low,
                "ci_high": high,
            },
        )
    return Effect(group, times, losses)
