"""Which layers of a system bear being treated, and which are heard? Each group of them alone, then the plan.

A technique treats one group of layers at a time (a type, a stage, a block), everything else stays as it is. What is
lost is paired with the baseline on the same sentences and seeds: the recogniser's loss and predicted MOS, in units of
the verdict's margins. What is gained is the time of the whole system, both spoken in turns in this process, the base
once more to see how far two times of the same thing lie apart: good enough to order the groups, not to be quoted;
`lib.studies.plans` confirms a plan by the bench and by more sentences. A loss has an interval where enough sentences
were heard; where that crosses what the verdict allows, the group is shown neither to bear it nor to be heard.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lib import optimize, progress, systems, targets
from lib.corpora import gutenberg
from lib.measure import evaluate, paired, verdict
from lib.measure.scores import compare
from lib.optimize import plan as planning
from lib.optimize import quantize
from lib.optimize.plan import Effect, Group
from lib.results import run_of
from lib.studies import failed, margins, origins
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
# Losses that nobody overlooks on however few sentences, in margins. Paired differences of blocks that lose nothing were
# seen with an SD of up to 0.28 MOS and 0.17 nats a word (vits-joe, 20 sentences): these, 0.5 MOS and 0.3 nats a word,
# are three standard errors of a mean of three.
UNMISTAKABLE = {"mos_predicted": 5.0, "asr_nll": 15.0}


class Turns(NamedTuple):
    """What two systems in turns said. times: how many times as fast the variant is; spread: how far the base lay from
    itself, as a factor of 1 or more: what lies within it is no difference.
    """

    times: float
    spread: float


@dataclass(frozen=True)
class Tried:
    """A group with what it did, or with why it could not be treated (`effect` is None then). sentences: on which it was
    heard; ends: the 95 % interval of its loss, of `margins.worst`.
    """

    group: Group
    effect: Effect | None
    why: str = ""
    sentences: int = 0
    ends: tuple[float, float] = margins.UNKNOWN

    @property
    def unmistakable(self) -> bool:
        """Whether it loses what nobody could overlook, however few sentences were heard."""
        return any(self.effect.losses.get(m, 0.0) >= limit for m, limit in UNMISTAKABLE.items())


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
    again = base.derive(
        f"{base.variant}-again", lambda system: None
    )  # with sessions of its own, as every variant has

    def alone(group: Group) -> Tried:
        name = variant_of(technique, group)
        given = {**(arguments or {}), "layers": list(group.layers)}
        try:
            variant = optimize.make(base, technique, variant=name, **given)
            return _treated(run, (base, again), variant, group, sentences, before, scorer, passes, resume)
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
        tried.append(replace(same, group=group, effect=same.effect and replace(same.effect, group=group)))
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
    """Groups that were screened, a line each: system, target, technique, axis, group, times, spread (of `Turns`, nan
    where it was not noted), loss in margins with its interval (low, high; nan of too few sentences), origin
    (`origins.stamp`).

    tables: of `lib.results.read`, this run's first; an earlier run's groups of a system on a target count where this
    has none, and of several runs those of the one that heard most sentences, of these the newest.
    """
    import pandas as pd

    names = ["system", "target", "technique", "axis", "group"]
    lines: dict[tuple, dict[str, Any]] = {}
    seen: set[tuple[str, str]] = set()
    for rows in tables:
        chosen = rows[rows.variant.str.endswith(SUFFIX) & rows.value.notna()] if len(rows) else rows
        for where, own in chosen.groupby(["system", "target"], sort=False):
            if where in seen:
                continue
            seen.add(where)
            mine = run_of(own, own.sort_values(["n", "time"], kind="stable").iloc[-1])
            for row in mine.itertuples():
                detail = json.loads(row.detail)
                key = (*where, row.variant.partition(JOINT)[0], detail["axis"], detail["group"])
                line = lines.setdefault(
                    key,
                    {
                        "times": detail["times"],
                        "spread": detail.get("spread", math.nan),
                        "loss": planning.NOISE,
                        "ends": [],
                        "origin": origins.stamp(mine),
                    },
                )
                line["loss"] = max(line["loss"], detail["difference"] / verdict.MARGINS[row.metric])
                line["ends"].append(margins.interval(row.metric, row.n, detail.get("ci_low"), detail.get("ci_high")))
    return pd.DataFrame(
        [
            {**dict(zip(names, key)), **line, **dict(zip(("low", "high"), margins.worst(line["ends"])))}
            for key, line in lines.items()
        ],
        columns=[*names, "times", "spread", "loss", "low", "high", "origin"],
    )


def finding(tried: Sequence[Tried], whose: str) -> str:
    """Which groups gain, and which lose most, in a sentence; of fewer sentences than decide anything only what nobody
    could overlook. Faster or slower is what lies beyond the spread of the baseline against itself in the same turns.
    """
    known = [t for t in tried if t.effect]
    if not known:
        return f"No group of {whose} could be treated: {tried[0].why if tried else 'there is none'}."
    fastest = max(known, key=lambda t: (t.effect.faster, t.effect.times))
    said = f"{fastest.group.name} gains most (the whole is {fastest.effect.times:.2f} times as fast)"
    if not fastest.effect.faster:
        spread = max(t.effect.spread for t in known)
        said = f"none makes the whole faster by more than the baseline differs from itself (up to {spread:.2f} times)"
    text = f"Of {len(known)} groups of {whose}, {said}; {_loses(known)}."
    slower = [t.group.name for t in known if t.effect.times < 1 / t.effect.spread]
    if slower:
        text += f" Slower than in fp32 are {len(slower)}: {', '.join(slower[:4])}{', ...' if len(slower) > 4 else ''}."
    return text


def _loses(known: Sequence[Tried]) -> str:
    """Who loses most, as far as the sentences can tell."""
    few = min(t.sentences for t in known)
    decided = few >= verdict.MIN_SENTENCES
    told = [t for t in known if decided or t.unmistakable]
    if not told:
        return f"none loses so much that {few} sentences could show it"
    worst = max(told, key=lambda t: t.effect.loss)
    low, high = worst.ends
    ends = "" if math.isnan(low) else f" [{low:.1f}, {high:.1f}]"
    lost = f"{worst.group.name} loses most ({worst.effect.loss:.1f} times what is allowed{ends})"
    if not decided:
        return f"{lost}; of the others {few} sentences decide nothing"
    if worst.effect.loss <= planning.NOISE:
        lost = "none loses anything that was measured"
    if unproven := sum(margins.crosses(*t.ends) for t in known):
        lost += f"; of {unproven} the interval crosses what is allowed: that does not prove that less is lost"
    return lost


def in_turns(
    base: System, again: System, variant: System, texts: Sequence[str], *, passes: int = 3, seed: int = 0
) -> Turns:
    """How many times as fast a variant speaks as its base, all in turns, each text after a first one not timed; the
    median over texts of ratios of the fastest passes. again: the base once more, so that its spread is known, the
    largest of any text; as a copy, for who speaks twice in a row finds all that it needs at hand.
    """
    ratios, apart = [], [1.0]
    order = [base, variant, again]
    for number, text in enumerate(texts):
        spent: list[list[float]] = [[] for _ in order]
        for turn in range(passes + 1):
            for place in sorted(range(len(order)), key=lambda place: (place + turn) % len(order)):
                begin = time.perf_counter()
                order[place].synthesize(text, seed + number)
                spent[place].append(time.perf_counter() - begin)
        first, own, second = (min(seconds[1:]) for seconds in spent)
        ratios.append(math.sqrt(first * second) / own)
        apart.append(max(first / second, second / first))
    return Turns(float(np.median(ratios)), max(apart))


def _treated(run, bases, variant, group, sentences, before, scorer, passes, resume) -> Tried:
    """What a variant does, with its rows. bases: the system as it is, twice."""
    base, _ = bases
    judged = evaluate.judge(evaluate.speak(variant, sentences, seed=run.seed), scorer, seed=run.seed)
    differences = compare(judged.scores, before.scores, seed=run.seed)
    texts = [s.text for s in sentences[:passes]]
    times, spread = kept(
        resume,
        lambda: ["in turns", base.fingerprint(), variant.fingerprint(), texts, passes, run.seed, base.threads],
        lambda: in_turns(*bases, variant, texts, passes=passes, seed=run.seed),
        label=f"{variant.variant} of {base.name}",
    )
    losses = {m: differences[m].value / verdict.MARGINS[m] for m in METRICS}
    ends = [margins.interval(m, differences[m].n, differences[m].low, differences[m].high) for m in METRICS]
    changed = variant.made["changed"]["layers"]  # whoever asks for 40 may be given 20, and not be told
    for metric in METRICS:
        estimate, difference = judged.summary[metric], differences[metric]
        paired.write(
            run,
            (base.name, f"{variant.variant}{SUFFIX}", base.target),
            metric,
            estimate,
            f"{variant.made['technique']} changed {changed} layers, {len(group.layers)} were asked for",
            baseline=base.variant,
            difference=difference,
            axis=group.axis,
            group=group.name,
            layers=changed,
            asked=len(group.layers),
            times=round(times, 3),
            spread=round(spread, 3),
        )
    return Tried(group, Effect(group, times, losses, spread), sentences=len(sentences), ends=margins.worst(ends))
