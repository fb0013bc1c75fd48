"""Is a change heard, and what does it buy? Each variant saved, loaded as anybody would load it, judged and timed.

`baseline` is what variants are laid beside; `make` saves and loads one, `hear` judges it on the baseline's sentences,
`weigh` times all of them beside the baseline in one bench and answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import optimize
from lib.measure import bench, evaluate, verdict
from lib.measure.scores import compare
from lib.optimize.plan import Answer

if TYPE_CHECKING:
    from lib.corpora.base import Sentence
    from lib.measure.benched import Benched
    from lib.measure.evaluate import Clip, Judged
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.base import System


@dataclass(frozen=True, eq=False)
class Baseline:
    """A system as it is. judged: its clips of the sentences with their scores; voice: clips of the speaker who should
    be heard, none where nobody is meant.
    """

    system: System
    sentences: Sequence[Sentence]
    judged: Judged
    voice: Sequence[Clip] = ()


@dataclass(frozen=True, eq=False)
class Heard:
    """A variant that was judged beside its baseline, with the first of its clips."""

    system: System
    verdict: verdict.Verdict
    clips: Sequence[Clip]


def baseline(run: Run, system: System, sentences: Sequence[Sentence], scorer: Scorer) -> Baseline:
    """Speak and judge the sentences with a system; the reference clips are of its teacher, see `reference_clips`."""
    voice = evaluate.reference_clips(system, threads=system.threads)
    clips = evaluate.speak(system, sentences, seed=run.seed)
    return Baseline(system, sentences, evaluate.judge(clips, scorer, voice=voice, seed=run.seed), voice)


def make(
    base: System,
    steps: Sequence[tuple[str, Mapping[str, Any]]],
    variant: str,
    folder: str | Path,
    *,
    data: str = "",
) -> System:
    """A variant by one technique after the other, saved under a folder and loaded from there.

    steps: techniques with their arguments, each on what the one before made; what each but the last made lies beside
    the variant. data: what it was judged on, for its card.
    """
    home = Path(folder) / base.name / base.target.replace("/", "-") / variant
    current = base
    for number, (technique, arguments) in enumerate(steps, 1):
        name = variant if number == len(steps) else f"{variant}-step-{number}"
        made = optimize.make(current, technique, variant=name, **arguments)
        optimize.save(made, home.with_name(name), data=data)
        current = optimize.load(home.with_name(name), threads=base.threads)
    return current


def hear(run: Run, base: Baseline, variant: System, scorer: Scorer, *, keep: int = 1) -> Heard:
    """Judge a variant on the baseline's sentences and write its rows; keep: how many of its clips are held."""
    judged = evaluate.quality(
        run,
        (variant.name, variant.variant, variant.target),
        evaluate.speak(variant, base.sentences, seed=run.seed),
        scorer,
        baseline=base.judged,
        baseline_name=base.system.variant,
        second_opinion=0,
        voice=base.voice,
    )
    differences = compare(judged.scores, base.judged.scores, seed=run.seed)
    required = verdict.SPEECH if base.voice else ("naturalness", "intelligibility")
    return Heard(variant, verdict.quality_verdict(differences, required), judged.clips[:keep])


def weigh(
    run: Run, base: Baseline, heard: Sequence[Heard], texts: Sequence[str], *, rounds: int = 3
) -> list[Answer]:
    """Time all variants beside their baseline in one bench, write its rows and answer for each. texts: of the bench."""
    system = base.system
    candidates = {one.variant: bench.Candidate.of(one) for one in (system, *(one.system for one in heard))}
    benched = bench.bench(candidates, texts, rounds=rounds, threads=system.threads, seed=run.seed)
    bench.write(run, benched)
    return [_answer(system, one, benched[one.system.variant], benched[system.variant]) for one in heard]


def _answer(base: System, heard: Heard, timed: Benched, before: Benched) -> Answer:
    word = heard.verdict.word
    if why := timed.why_not or before.why_not:
        return Answer(word, False, f"it could not be timed: {why}", 0.0)
    faster = bench.speedup(timed, before)
    gains = [verdict.Gain("rtf", faster.value, *(faster.ci or (None, None)))]
    if base.size_mb and heard.system.size_mb:
        gains.append(verdict.Gain("size_mb", base.size_mb / heard.system.size_mb))
    worth = verdict.recommendation(heard.verdict, gains)
    return Answer(word, worth.word == verdict.RECOMMENDED, worth.reason, faster.value)
