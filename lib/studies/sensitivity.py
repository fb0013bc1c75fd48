"""Which layers of a system bear being treated, and which are heard? Each group of them alone, then the plan.

A technique treats one group of layers at a time (a type, a stage, a block), everything else stays as it is. What is
lost is paired with the baseline on the same sentences and seeds: the recogniser's loss and predicted MOS, in units of
the verdict's margins. What is gained is the time of the whole system, both spoken in turns in this process: good enough
to order the groups, not to be quoted; the plan that is taken is confirmed by the bench and by more sentences.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import optimize, progress
from lib.errors import SpeechError
from lib.measure import bench, evaluate, verdict
from lib.measure.scores import compare
from lib.optimize import plan as planning
from lib.optimize.plan import Answer, Chosen, Effect, Group, Plan

if TYPE_CHECKING:
    from lib.corpora.base import Sentence
    from lib.measure.evaluate import Clip, Judged
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.base import System

METRICS = ("asr_nll", "mos_predicted")
SUFFIX = "@sensitivity"  # of the variants whose rows are groups


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
) -> list[Tried]:
    """Treat every group alone, judge and time it; its rows have the variant "<technique>:<axis>:<name>@sensitivity".

    Groups of the same layers are tried once. One that cannot be treated (an operator without a kernel, say) is told.
    """
    clips = evaluate.speak(base, sentences, seed=run.seed)
    before = evaluate.judge(clips, scorer, seed=run.seed)
    known: dict[frozenset[str], Tried] = {}
    for group in progress.track(groups, f"{technique} on groups of {base.name}", unit="group"):
        key = frozenset(group.layers)
        if key in known:
            known[key, group.axis] = Tried(group, _renamed(known[key].effect, group), known[key].why)
            continue
        try:
            variant = optimize.make(
                base,
                technique,
                variant=f"{technique}:{group.axis}:{group.name}",
                **{**(arguments or {}), "layers": list(group.layers)},
            )
            known[key] = Tried(group, _effect(run, base, variant, group, sentences, before, scorer, passes))
        except SpeechError as error:
            known[key] = Tried(group, None, str(error))
            run.not_run(
                base.name, f"{technique}:{group.axis}:{group.name}{SUFFIX}", base.target, METRICS[0], str(error)
            )
    return list(known.values())


def auto(
    run: Run,
    base: System,
    candidates: Mapping[str, Mapping[str, Any]],
    tried: Mapping[str, Sequence[Tried]],
    sentences: Sequence[Sentence],
    texts: Sequence[str],
    scorer: Scorer,
    folder: str | Path,
    *,
    voice: Sequence[Clip] = (),
    rounds: int = 3,
    most: int = 4,
) -> Chosen:
    """The fastest variant of a system that is without audible loss, or the reasons why it is left in fp32.

    candidates: technique -> its arguments beside the layers; tried: technique -> what `screen` found of its blocks;
    sentences: on which a plan is confirmed; texts: of the bench; folder: where variants are saved. Rows of every
    variant that was asked about are written as of any other.
    """
    before = evaluate.judge(evaluate.speak(base, sentences, seed=run.seed), scorer, seed=run.seed)
    made = [
        plan
        for technique, arguments in candidates.items()
        for plan in planning.plans(
            technique, arguments, [t.effect for t in tried[technique] if t.effect and t.group.axis == "block"]
        )
    ]

    def ask(plan: Plan) -> Answer:
        name = f"{plan.technique}-{len(plan.layers)}"
        home = Path(folder) / base.name / base.target.replace("/", "-") / name
        variant = optimize.make(base, plan.technique, variant=name, **{**plan.arguments, "layers": plan.layers})
        optimize.save(variant, home, data=f"{len(sentences)} sentences judged")
        return confirm(
            run, base, optimize.load(home), sentences, texts, before, scorer, voice=voice, rounds=rounds
        )

    return planning.auto(made, ask, whose=f"{base.name} on {base.target}", most=most)


def confirm(
    run: Run,
    base: System,
    variant: System,
    sentences: Sequence[Sentence],
    texts: Sequence[str],
    before: Judged,
    scorer: Scorer,
    *,
    voice: Sequence[Clip] = (),
    rounds: int = 3,
) -> Answer:
    """The verdict on a saved variant: judged beside its baseline and benched beside it."""
    names = (variant.name, variant.variant, variant.target)
    clips = evaluate.speak(variant, sentences, seed=run.seed)
    judged = evaluate.quality(
        run, names, clips, scorer, baseline=before, baseline_name=base.variant, second_opinion=0, voice=voice
    )
    required = verdict.SPEECH if voice else ("naturalness", "intelligibility")
    quality = verdict.quality_verdict(compare(judged.scores, before.scores, seed=run.seed), required)
    both = {"base": bench.Candidate.of(base), "variant": bench.Candidate.of(variant)}
    benched = bench.bench(both, texts, rounds=rounds, threads=base.threads, seed=run.seed)
    if benched["variant"].why_not:
        return Answer(quality.word, False, benched["variant"].why_not, 0.0)
    bench.write(run, {"variant": benched["variant"], "baseline": benched["base"]})
    faster = bench.speedup(benched["variant"], benched["base"])
    gains = [verdict.Gain("rtf", faster.value, *(faster.ci or (None, None)))]
    if base.size_mb and variant.size_mb:
        gains.append(verdict.Gain("size_mb", base.size_mb / variant.size_mb))
    worth = verdict.recommendation(quality, gains)
    return Answer(
        quality.word, worth.word == verdict.RECOMMENDED and gains[0].saves, worth.reason, faster.value
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


def _effect(run, base, variant, group, sentences, before, scorer, passes) -> Effect:
    judged = evaluate.judge(evaluate.speak(variant, sentences, seed=run.seed), scorer, seed=run.seed)
    differences = compare(judged.scores, before.scores, seed=run.seed)
    times = in_turns(base, variant, [s.text for s in sentences[:passes]], passes=passes, seed=run.seed)
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


def _renamed(effect: Effect | None, group: Group) -> Effect | None:
    return None if effect is None else Effect(group, effect.times, effect.losses)
