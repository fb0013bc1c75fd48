"""Is a change heard, and what does it buy? Each variant saved, loaded as anybody would load it, judged and timed.

`baseline` is what variants are laid beside; `make` saves and loads one, `hear` judges it on the baseline's sentences,
`weigh` times all of them beside the baseline in one bench and answers. A vocoder copies its teacher's
readings, a recogniser hears those of `listened`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import environment, optimize, results, systems
from lib.errors import AudioError, NoVoiceError, SpeechError
from lib.measure import bench, evaluate, judgement, stats, verdict
from lib.measure.scores import compare, summarise
from lib.optimize import calibration
from lib.optimize.plan import Answer
from lib.optimize.variant import DESCRIPTION
from lib.studies import listened, worst
from lib.studies.resumed import kept
from lib.studies.worst import Worst

if TYPE_CHECKING:
    from lib.corpora.base import Sentence
    from lib.measure.benched import Benched
    from lib.measure.evaluate import Clip, Judged
    from lib.measure.scorer import Scorer
    from lib.measure.stats import Difference
    from lib.results import Run
    from lib.systems.base import System

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Baseline:
    """A system as it is. judged: its clips of the sentences with their scores; voice: clips of the speaker who should
    be heard, none where nobody is meant; originals: what a vocoder copied, none of another system; at: what stands
    behind the names of variants in rows about these sentences, where they are not the usual ones ("@validation").
    """

    system: System
    sentences: Sequence[Sentence]
    judged: Judged
    voice: Sequence[Clip] = ()
    originals: tuple[Clip, ...] = ()
    at: str = ""

    def first(self, n: int) -> Baseline:
        """The same of the first n sentences."""
        clips, scores = self.judged.clips[:n], self.judged.scores[:n]
        judged = replace(self.judged, clips=clips, scores=scores, summary=summarise(scores))
        return replace(self, sentences=self.sentences[:n], judged=judged, originals=self.originals[:n])


@dataclass(frozen=True, eq=False)
class Heard:
    """A variant that was judged beside its baseline, with the first of its clips, and the worst."""

    system: System
    verdict: verdict.Verdict
    clips: Sequence[Clip]
    worst: Worst | None = None


def baseline(
    run: Run,
    system: System,
    sentences: Sequence[Sentence],
    scorer: Scorer,
    *,
    at: str = "",
    whose: bool = True,
) -> Baseline:
    """Speak and judge the sentences with a system; the reference clips are of its teacher, see `reference_clips`.

    at: of `Baseline`; whose: whether it is judged whose voice it is, too. No rows are written: `01_baselines` has those
    of more sentences, the variants' the differences.
    """
    if system.kind == "recogniser":
        clips = listened.clips(sentences, seed=run.seed, threads=system.threads)
        return Baseline(system, sentences, evaluate.heard(system, clips, seed=run.seed), at=at)
    voice = evaluate.reference_clips(system, threads=system.threads) if whose else ()
    clips, originals = _said(system, sentences, run.seed)
    judged = evaluate.judge(clips, scorer, voice=voice, originals=originals or None, seed=run.seed)
    return Baseline(system, sentences, judged, voice, originals, at)


def make(
    base: System,
    steps: Sequence[tuple[str, Mapping[str, Any]]],
    variant: str,
    folder: str | Path,
    *,
    data: str = "",
    resume: bool = False,
) -> System:
    """A variant by one technique, or by several in turn, saved under a folder and loaded from there.

    steps: techniques with their arguments; data: what it was judged on, for its card; resume: whether one that the
    same code saved there is taken as it is.
    """
    place = home(folder, base.name, base.target, variant)
    technique, arguments = steps[0]
    if len(steps) > 1:
        technique, arguments = "combined", {"steps": [[name, dict(given)] for name, given in steps]}
    if resume and _lies_there(place, technique, arguments, base):
        try:
            return optimize.load(place, threads=base.threads)
        except SpeechError as error:
            log.warning("%s is made anew: %s", place, error)
    made = optimize.make(base, technique, variant=variant, **arguments)
    optimize.save(made, place, data=data)
    return optimize.load(place, threads=base.threads)


def home(folder: str | Path, name: str, target: str, variant: str) -> Path:
    """Where a variant is saved."""
    return Path(folder) / name / target.replace("/", "-") / variant


def before(row: Any) -> float | None:
    """What a variant's row was compared with: its value less the paired difference in its detail; None without one."""
    try:
        return row.value - json.loads(row.detail)["difference"]
    except (ValueError, KeyError, TypeError):
        return None


def hear(run: Run, base: Baseline, variant: System, scorer: Scorer, *, keep: int = 1, first: int = 0) -> Heard:
    """Judge a variant on the baseline's sentences and write its rows; keep: how many of its clips are held.

    first: so many sentences are judged before the others, and alone where they prove it worse; 0: all at once.
    """
    if 0 < first < len(base.sentences):
        screened = _heard(run, base.first(first), variant, scorer, keep)
        if screened.verdict.word == verdict.WORSE:
            return screened
    return _heard(run, base, variant, scorer, keep)


def weigh(
    run: Run,
    base: Baseline,
    heard: Sequence[Heard],
    texts: Sequence[str],
    *,
    rounds: int = 3,
    resume: Path | None = None,
    beside: System | None = None,
) -> list[Answer]:
    """Time all variants beside their baseline in one bench, write its rows and answer for each. texts: of the bench;
    beside: of `timed`.
    """
    variants = [one.system for one in heard]
    benched = timed(run, base.system, variants, texts, rounds=rounds, resume=resume, beside=beside)
    whole = benched[base.system.variant]
    return [answer(run, base.system, one, benched[one.system.variant], whole) for one in heard]


def timed(
    run: Run,
    base: System,
    variants: Sequence[System],
    texts: Sequence[str],
    *,
    rounds: int = 3,
    resume: Path | None = None,
    beside: System | None = None,
) -> dict[str, Benched]:
    """A bench of a system and its variants, by variant, with its rows. resume: where benches are kept (`resumed`);
    beside: the system as it is on another target, which takes turns with them and which they are laid beside, too.
    """
    candidates = {one.variant: bench.Candidate.of(one) for one in (base, *variants)}
    if beside is not None:
        candidates[f"{beside.variant} on {beside.target}"] = bench.Candidate.of(beside)
    whose = [(*one.names, one.fingerprint) for one in candidates.values()]
    inputs: Sequence = texts
    if base.kind == "vocoder":
        inputs = [calibration.mel(base, text, run.seed + i) for i, text in enumerate(texts)]
    elif base.kind == "recogniser":
        inputs = listened.read(texts, seed=run.seed, threads=base.threads)
    benched = kept(
        resume,
        lambda: ["bench", whose, list(texts), rounds, base.threads, run.seed],
        lambda: bench.bench(candidates, inputs, rounds=rounds, threads=base.threads, seed=run.seed),
        label=f"bench of {base.name} on {base.target}",
        whole=lambda all_of_them: not any(one.why_not for one in all_of_them.values()),
    )
    bench.write(run, benched)
    if beside is not None:
        lay_beside(run, benched, f"{beside.variant} on {beside.target}")
    return benched


def lay_beside(run: Run, benched: Mapping[str, Benched], label: str) -> None:
    """Of one bench a row for every other candidate: how many times as fast and as small it is as the one of a label,
    wherever that ran.
    """
    whole = benched[label]
    for one in benched.values():
        if one is whole or one.why_not or whole.why_not:
            continue
        gain, sizes = bench.speedup(one, whole), [b.footprint.get("size_mb") for b in (whole, one)]
        run.add(
            *one.candidate.names,
            "speedup",
            gain.value,
            n=gain.n,
            ci=gain.ci,
            source="one bench of both",
            detail={
                "of": str(whole.candidate),
                "times_smaller": round(sizes[0] / sizes[1], 2) if all(sizes) else None,
                **{name: told for name, told in one.circumstances.items() if name == "benched"},
            },
        )


def answer(run: Run, base: System, heard: Heard, one: Benched, before: Benched) -> Answer:
    """What follows from what was heard and what the bench saw: whatever is slower or larger than its baseline is not
    recommended. What it saves is read from the rows of the run, as the report reads them.
    """
    word = heard.verdict.word
    if why := one.why_not or before.why_not:
        return Answer(word, False, f"it could not be timed: {why}", 0.0)
    _, variant, target = one.candidate.names
    gains = judgement.from_rows(results.read(run.path), base.name, variant, target, base.variant).gains
    worth = verdict.recommendation(heard.verdict, gains, never_more=verdict.OF_A_VARIANT)
    speed = bench.speedup(one, before)
    return Answer(
        word,
        worth.word == verdict.RECOMMENDED,
        worth.reason,
        speed.value,
        undecided=worth.word == verdict.UNDECIDED,
        slower=any(gain.metric == "rtf" and gain.costs_more for gain in gains),
        low=speed.low,
        high=speed.high,
        n=speed.n,
        smaller=next((gain.times for gain in gains if gain.metric == "size_mb" and gain.saves), 1.0),
    )


def _heard(run: Run, base: Baseline, variant: System, scorer: Scorer, keep: int) -> Heard:
    names = (variant.name, f"{variant.variant}{base.at}", variant.target)
    if variant.kind == "recogniser":
        judged = evaluate.heard(variant, base.judged.clips, seed=run.seed)
        differences = listened.compared(run, names, judged, base.judged, f"{base.system.variant}{base.at}")
        return Heard(variant, verdict.quality_verdict(differences, verdict.RECOGNISER), ())
    clips, originals = _said(variant, base.sentences, run.seed, base.originals)
    originals = originals or _aligned(variant, clips, base.judged.clips)
    judged, originals = _scored(run, names, clips, scorer, base, originals, base.voice)
    differences = compare(judged.scores, base.judged.scores, seed=run.seed)
    if originals and not base.originals:  # the baseline's own pitch is what it is compared with
        differences |= _pitch(judged, run.seed)
    # Of a voice that was asked for and is not found nobody may say that nothing is lost.
    required = verdict.SPEECH if base.voice else ("naturalness", "intelligibility")
    said = verdict.quality_verdict(differences, required)
    return Heard(variant, said, judged.clips[:keep], worst.find(judged, base.judged))


def _scored(run, names, clips, scorer, base, originals, voice) -> tuple[Judged, tuple[Clip, ...]]:
    """A variant's clips with their rows, and what they could be laid over; the most broken are judged by what is left:
    where nothing lies over anything any more, by ear alone; where nobody can be told to speak, by words and
    naturalness, with a `not_run` row for the speaker similarity alone.
    """
    given = {"baseline": base.judged, "baseline_name": f"{base.system.variant}{base.at}", "second_opinion": 0}
    try:
        judged = evaluate.quality(run, names, clips, scorer, originals=originals or None, voice=voice, **given)
    except NoVoiceError as error:
        log.info("%s %s on %s: judged without whose voice it is: %s", *names, error)
        scored = _scored(run, names, clips, scorer, base, originals, ())
        run.not_run(*names, "speaker_similarity", str(error))
        return scored
    except AudioError as error:
        if not originals:
            raise
        log.info("%s %s on %s: not laid over its originals: %s", *names, error)
        return _scored(run, names, clips, scorer, base, (), voice)
    return judged, originals


def _said(
    system: System, sentences: Sequence[Sentence], seed: int, originals: tuple[Clip, ...] = ()
) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """(clips of the sentences, what they are copies of); of a voice nothing is copied."""
    if system.kind != "vocoder":
        return evaluate.speak(system, sentences, seed=seed), ()
    if not originals:
        teacher = systems.load(systems.teachers().get(system.name) or system.name, threads=system.threads)
        originals = evaluate.speak(teacher, sentences, seed=seed)
    originals, copies = evaluate.copies(originals, system.vocode, f"{system.name} copies", system.mel)
    return copies, originals


def _aligned(variant: System, clips: Sequence[Clip], before: Sequence[Clip]) -> tuple[Clip, ...]:
    """The baseline's clips where every one is as long as the variant's, so that they can be laid over each other."""
    same = all(len(a.waveform) == len(b.waveform) for a, b in zip(clips, before))
    return tuple(before) if same and not variant.attends else ()


def _pitch(judged: Judged, seed: int) -> dict[str, Difference]:
    name = "f0_error_cents"
    cents = [one.values[name] for one in judged.scores if name in one.values]
    return {name: stats.paired_difference(cents, [0.0] * len(cents), seed=seed)} if cents else {}


def _lies_there(place: Path, technique: str, arguments: Mapping[str, Any], base: System) -> bool:
    """Whether a folder holds the variant that this code would make of a base."""
    try:
        told = json.loads((place / DESCRIPTION).read_text(encoding="utf-8"))
        made = (told["technique"], told["arguments"], told["base"]["weights"], told["code"])
    except (OSError, ValueError, KeyError):
        return False
    wanted = json.loads(json.dumps(arguments))
    return made == (technique, wanted, base.weights_key(), environment.code())
