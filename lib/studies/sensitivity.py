"""Which layers of a system bear being treated, and which are heard? Each group of them alone, then the plan.

A technique treats one group of layers at a time (a type, a stage, a block), everything else stays as it is. What is
lost is paired with the baseline on the same sentences and seeds: the recogniser's loss and predicted MOS, in units of
the verdict's margins. What is gained is the time of the whole system, both spoken in turns in this process: good enough
to order the groups, not to be quoted; the plan that is taken is confirmed by the bench and by more sentences.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import optimize, progress, systems, targets
from lib.corpora import gutenberg
from lib.errors import SpeechError
from lib.measure import bench, evaluate, verdict
from lib.measure.scores import compare
from lib.optimize import plan as planning
from lib.optimize import quantize
from lib.optimize.plan import Answer, Chosen, Effect, Group, Plan

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.benched import Benched
    from lib.measure.evaluate import Clip, Judged
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.base import System

METRICS = ("asr_nll", "mos_predicted")
SUFFIX = "@sensitivity"  # of the variants whose rows are groups
JOINT = "+"  # between the parts of their names
AUTO = "auto"  # the variant of a plan's row
CALIBRATED = 8  # validation sentences that static scales are found on


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
    """Treat every group alone, judge and time it; its rows have the variant "<technique>+<axis>+<name>@sensitivity".

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
                variant=variant_of(technique, group),
                **{**(arguments or {}), "layers": list(group.layers)},
            )
            known[key] = Tried(group, _effect(run, base, variant, group, sentences, before, scorer, passes))
        except SpeechError as error:
            known[key] = Tried(group, None, str(error))
            run.not_run(
                base.name, f"{variant_of(technique, group)}{SUFFIX}", base.target, METRICS[0], str(error)
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
    clips = evaluate.speak(base, sentences, seed=run.seed)
    before = evaluate.judge(clips, scorer, voice=voice, seed=run.seed)
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
            run,
            base,
            [optimize.load(home, threads=base.threads)],
            sentences,
            texts,
            before,
            scorer,
            voice=voice,
            rounds=rounds,
        )[0]

    return planning.auto(made, ask, whose=f"{base.name} on {base.target}", most=most)


def confirm(
    run: Run,
    base: System,
    variants: Sequence[System],
    sentences: Sequence[Sentence],
    texts: Sequence[str],
    before: Judged,
    scorer: Scorer,
    *,
    voice: Sequence[Clip] = (),
    rounds: int = 3,
) -> list[Answer]:
    """The verdicts on saved variants of a system: each judged beside it, all timed beside it in one bench. Rows of
    every variant are written, and the costs of the base.

    before: the base's clips of the same sentences, judged; texts: of the bench; voice: see `evaluate.quality`.
    """
    required = verdict.SPEECH if voice else ("naturalness", "intelligibility")
    qualities = []
    for variant in variants:
        names = (variant.name, variant.variant, variant.target)
        judged = evaluate.quality(
            run,
            names,
            evaluate.speak(variant, sentences, seed=run.seed),
            scorer,
            baseline=before,
            baseline_name=base.variant,
            second_opinion=0,
            voice=voice,
        )
        differences = compare(judged.scores, before.scores, seed=run.seed)
        qualities.append(verdict.quality_verdict(differences, required))
    candidates = {one.variant: bench.Candidate.of(one) for one in (base, *variants)}
    benched = bench.bench(candidates, texts, rounds=rounds, threads=base.threads, seed=run.seed)
    bench.write(run, benched)
    return [
        _answer(base, variant, quality, benched[variant.variant], benched[base.variant])
        for variant, quality in zip(variants, qualities)
    ]


TECHNIQUES = {"torch": ("int8-dynamic",), "onnxruntime": ("int8-static", "int8-dynamic")}  # runtime -> screened


def by_group(
    run: Run,
    name: str,
    target: str,
    axes: Sequence[str],
    sentences: Sequence[Sentence],
    scorer: Scorer,
    *,
    threads: int = 2,
) -> dict[str, list[Tried]]:
    """Technique -> what it does to each group of a system's layers, see `screen`. axes: of `plan.groups`."""
    base = systems.load(name, target=target, threads=threads)
    screened = {}
    for technique in TECHNIQUES.get(targets.find(target).runtime, ()):
        groups = planning.groups(base, quantize.treated(technique, base), axes=axes)
        screened[technique] = screen(
            run, base, technique, groups, sentences, scorer, arguments=arguments_of(technique)
        )
    return screened


def variant_of(technique: str, group: Group) -> str:
    """What a variant with one treated group is called; characters that no name may have become dashes."""
    return JOINT.join((technique, group.axis, re.sub(r"[^\w./-]", "-", group.name)))


def arguments_of(technique: str) -> dict[str, Any]:
    """What a technique is given beside its layers: static scales want sentences, none of them a test sentence."""
    if technique != "int8-static":
        return {}
    return {"sentences": [sentence.id for sentence in gutenberg.split("validation", CALIBRATED)]}


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
    base = systems.load(name, target=target, threads=threads)
    voice = evaluate.reference_clips(base, threads=threads)
    candidates = {technique: arguments_of(technique) for technique in tried}
    chosen = auto(
        run, base, candidates, tried, sentences, texts, scorer, folder, voice=voice, rounds=rounds, most=most
    )
    if chosen.plan is None:
        run.not_run(base.name, AUTO, base.target, "rtf", chosen.reason)
    else:
        times = max(answer.times for plan, answer in chosen.asked if plan is chosen.plan)
        layers = {"plan": chosen.reason, "technique": chosen.plan.technique, "layers": chosen.plan.layers}
        run.add(
            base.name,
            AUTO,
            base.target,
            "speedup",
            times,
            source="the bench: baseline over variant",
            detail=layers,
        )
        return f"{name} on {target}: take {chosen.reason} ({times:.2f} times as fast)."
    return f"{name} on {target}: {chosen.reason}."


def recalled(rows: pd.DataFrame) -> str | None:
    """What earlier plans came to, in sentences; None without any. rows: of `lib.results.read`."""
    plans = rows[rows.variant == AUTO]
    said = []
    for row in plans.itertuples():
        reason = json.loads(row.detail)["plan"] if row.detail.startswith("{") else row.detail
        said.append(f"{row.system} on {row.target}: {reason}.")
    return " ".join(dict.fromkeys(said)) or None


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


def _answer(base: System, variant: System, quality: verdict.Verdict, timed: Benched, before: Benched) -> Answer:
    if why := timed.why_not or before.why_not:
        return Answer(quality.word, False, f"it could not be timed: {why}", 0.0)
    faster = bench.speedup(timed, before)
    gains = [verdict.Gain("rtf", faster.value, *(faster.ci or (None, None)))]
    if base.size_mb and variant.size_mb:
        gains.append(verdict.Gain("size_mb", base.size_mb / variant.size_mb))
    worth = verdict.recommendation(quality, gains)
    return Answer(quality.word, worth.word == verdict.RECOMMENDED, worth.reason, faster.value)


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
