"""What does a technique buy, and is it heard? Every variant judged and benched beside its baseline, none believed.

A trial is one technique on one system and target. It is made, saved, loaded again as anybody would load it, spoken and
heard on the same sentences and seeds as its baseline, and timed beside it in fresh processes. What cannot be made here
has a row that says why. `claims` lays what somebody promises of such variants beside what came out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import optimize, systems
from lib.errors import SpeechError, unknown
from lib.measure import bench, evaluate, verdict
from lib.metrics import METRICS
from lib.optimize.plan import Answer
from lib.studies import sensitivity

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.evaluate import Clip
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.base import System

log = logging.getLogger(__name__)

EXTENTS = ("smoke", "quick", "study")
CLAIMED = "pruned-30+int8-dynamic"  # the variant of SpeechT5 of which figures are claimed


@dataclass(frozen=True, eq=False)
class Trial:
    """One variant. steps: techniques with their arguments, each on what the one before made; settings: of the system
    before any of it (a vocoder, a speaker).
    """

    system: str
    target: str
    variant: str
    steps: tuple[tuple[str, Mapping[str, Any]], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def trial(system: str, target: str, variant: str, technique: str = "", **arguments: Any) -> Trial:
    """A trial of one step; technique: by default the variant's own name."""
    return Trial(system, target, variant, ((technique or variant, arguments),))


@dataclass(frozen=True)
class Tried:
    """What became of a trial: the answer, or None and why not; its first clip, and its baseline's."""

    trial: Trial
    answer: Answer | None
    why_not: str = ""
    clips: tuple[Clip, ...] = ()


def trials(extent: str) -> list[Trial]:
    """What is tried: "smoke" one variant that takes seconds, "quick" the SpeechT5 study and both sides of one voice on
    ONNX Runtime, "study" every technique on every system with weights. ParameterError for another extent.
    """
    if extent not in EXTENTS:
        raise unknown("extent of the trials", extent, EXTENTS)
    joe = ("vits-joe", "onnxruntime/cpu")
    if extent == "smoke":
        return [trial(*joe, "fp16-weights")]
    linear = {"share": 0.3, "types": ["Linear"]}
    made = [
        trial("speecht5", "torch/cpu", "int8-dynamic"),
        trial("speecht5", "torch/cpu", "pruned-30", "pruned", **linear),
        Trial("speecht5", "torch/cpu", CLAIMED, (("pruned", linear), ("int8-dynamic", {}))),
    ]
    static = {"stages": ["decoder"], **sensitivity.arguments_of("int8-static")}
    made += [
        trial(*joe, "int8-dynamic", stages=["decoder"], types=["Conv"]),
        trial(*joe, "int8-static", **static),
    ]
    if extent == "quick":
        return made
    made += [
        trial(*joe, f"int8-static-{method}", "int8-static", **static, method=method)
        for method in ("entropy", "percentile")
    ]
    # The decoder's last stage is what one hears of static scales: with channels brought into one range, and without it.
    early = {"layers": [f"*resblocks.{i}/*" for i in range(6)]}
    made.append(
        trial(*joe, "int8-static-early", "int8-static", **static, **early, method="percentile", equalise=0.5)
    )
    made += [trial(*joe, "int8-weights"), trial(*joe, "fp16-weights")]
    for name in ("vits-joe", "fastspeech2", "tacotron2", "speecht5", "tortoise"):
        on = (name, "torch/cpu")
        made += [
            trial(*on, variant) for variant in ("int8-dynamic", "int8-weights", "int4-weights", "nf4", "bf16")
        ]
        for share in (10, 30, 50, 70):
            made.append(trial(*on, f"pruned-{share}", "pruned", share=share / 100, types=["Linear"]))
            made.append(trial(*on, f"structured-{share}", "structured", share=share / 100))
    return list({(one.system, one.target, one.variant): one for one in reversed(made)}.values())[::-1]


def study(
    run: Run,
    trials: Iterable[Trial],
    sentences: Sequence[Sentence],
    texts: Sequence[str],
    scorer: Scorer,
    folder: str | Path,
    *,
    rounds: int = 3,
    threads: int = 2,
    keep: int = 0,
) -> list[Tried]:
    """Try one after the other, baselines judged once; keep: clips of each variant, and of its baseline, for the report.

    folder: where the variants are saved, by system, target and name. The verdict asks for naturalness, intelligibility
    and the voice, whose reference clips are of the system's teacher.
    """
    tried = []
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for one in trials:
        groups.setdefault((one.system, one.target, str(one.settings)), []).append(one)
    for group in groups.values():
        try:
            base = systems.load(group[0].system, target=group[0].target, threads=threads, **group[0].settings)
            voice = evaluate.reference_clips(base, threads=threads)
            clips = evaluate.speak(base, sentences, seed=run.seed)
            before = evaluate.judge(clips, scorer, voice=voice, seed=run.seed)
        except (ImportError, SpeechError) as error:
            tried += [_not_run(run, one, error) for one in group]
            continue
        _keep(run, base, clips[:keep])
        made: dict[Trial, System] = {}
        for one in group:
            home = Path(folder) / one.system / one.target.replace("/", "-") / one.variant
            try:
                made[one] = make(base, one, home, data=f"judged on {len(sentences)} sentences")
                _keep(run, made[one], evaluate.speak(made[one], sentences[:keep], seed=run.seed))
            except (ImportError, SpeechError) as error:
                tried.append(_not_run(run, one, error))
        answers = sensitivity.confirm(
            run, base, list(made.values()), sentences, texts, before, scorer, voice=voice, rounds=rounds
        )
        for (one, variant), answer in zip(made.items(), answers):
            said = evaluate.speak(variant, sentences[:1], seed=run.seed)  # found in the cache
            tried.append(Tried(one, answer, clips=(clips[0], said[0])))
    return tried


def make(base: System, one: Trial, home: Path, *, data: str = "") -> System:
    """The trial's variant, saved in a folder and loaded from it; of several steps each but the last lies beside it."""
    current = base
    for number, (technique, arguments) in enumerate(one.steps, 1):
        last = number == len(one.steps)
        name = one.variant if last else f"{one.variant}-step-{number}"
        place = home if last else home.with_name(name)
        made = optimize.make(current, technique, variant=name, **arguments)
        optimize.save(made, place, data=data)
        current = optimize.load(place, threads=base.threads)
    return current


def costs(run: Run, base: System, variants: Sequence[System], texts: Sequence[str], *, rounds: int = 1) -> None:
    """Speed, memory and size alone, of a system whose weights are random: rows as of any bench."""
    candidates = {one.variant: bench.Candidate.of(one) for one in (base, *variants)}
    bench.write(run, bench.bench(candidates, texts, rounds=rounds, threads=base.threads, seed=run.seed))


def table(tried: Sequence[Tried]) -> pd.DataFrame:
    """A line for each trial: speed-up, verdict, whether to take it, and why."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "system": one.trial.system,
                "target": one.trial.target,
                "variant": one.trial.variant,
                "times as fast": f"{one.answer.times:.2f}" if one.answer else "",
                "verdict": one.answer.word if one.answer else "not run",
                "take it": ("yes" if one.answer.recommended else "no") if one.answer else "",
                "why": one.answer.why if one.answer else one.why_not,
            }
            for one in tried
        ]
    )


def finding(tried: Sequence[Tried]) -> str | None:
    """How many variants are recommended, worse, undecided, not run, in a sentence."""
    if not tried:
        return None
    words: dict[str, list[str]] = {}
    for one in tried:
        word = "not run" if not one.answer else "recommended" if one.answer.recommended else one.answer.word
        word = "without audible loss but not worth having" if word == verdict.WITHOUT_LOSS else word
        words.setdefault(word, []).append(f"{one.trial.variant} of {one.trial.system}")
    slower = [one for one in tried if one.answer and 0 < one.answer.times < 1]
    said = "; ".join(f"{len(names)} {word} ({', '.join(names)})" for word, names in words.items())
    return f"Of {len(tried)} variants: {said}. {len(slower)} of them are slower than their baseline."


def first_clips(tried: Sequence[Tried]) -> dict[str, dict[str, Clip]]:
    """System and target -> label -> the first sentence, by the baseline and by each variant."""
    players: dict[str, dict[str, Clip]] = {}
    for one in tried:
        if one.clips:
            by_label = players.setdefault(f"{one.trial.system} on {one.trial.target}", {})
            by_label.setdefault("baseline", one.clips[0])
            by_label[one.trial.variant] = one.clips[1]
    return players


def published_size(run: Run, texts: Sequence[str], folder: str | Path, *, threads: int = 2) -> None:
    """Size and speed of the published SpeechT5 as it is, in 8 bit, pruned, and both; its weights are random."""
    base = systems.load("speecht5-base", threads=threads)
    made = [
        make(
            base, Trial(base.name, base.target, one.variant, one.steps), Path(folder) / base.name / one.variant
        )
        for one in trials("quick")
        if one.system == "speecht5"
    ]
    costs(run, base, made, texts)


@dataclass(frozen=True)
class Claim:
    """What somebody promises: the value before and after, each from low to high, in the unit of `scale`."""

    metric: str
    before: tuple[float, float]
    after: tuple[float, float]
    unit: str
    scale: float = 1.0  # of the results' unit


CLAIM_SOURCE = "the description of a project that quantized SpeechT5 to 8 bit and pruned 30 % of its weights"
CLAIMS = (
    Claim("size_mb", (1000, 1500), (300, 400), "MB"),
    Claim("latency_ms_p50", (3500, 5000), (2000, 2500), "ms"),
    Claim("mos_predicted", (4.2, 4.5), (4.0, 4.3), "MOS"),
    Claim("pesq_wb", (4.1, 4.1), (3.9, 3.9), "MOS-LQO"),
    Claim("wer", (5, 6), (7, 8), "%", 100.0),
)


def claims(
    rows: pd.DataFrame, variant: str, *, base: str = "speecht5-base", small: str = "speecht5"
) -> pd.DataFrame:
    """Theirs, ours, and whether ours agrees: sizes and times of the published size (random weights), quality of the
    trained small one. rows: of `lib.results.read`; variant: the one that was promised.

    A change agrees where ours, after over before, lies between the least and the most that theirs can mean.
    """
    import pandas as pd

    lines = []
    for claim in CLAIMS:
        system = base if claim.metric in ("size_mb", "latency_ms_p50") else small
        values = [
            rows[
                (rows.system == system) & (rows.variant == name) & (rows.metric == claim.metric)
            ].value.dropna()
            for name in ("baseline", variant)
        ]
        ours = [claim.scale * float(column.iloc[-1]) if len(column) else None for column in values]
        lines.append(
            {
                "measure": f"{METRICS[claim.metric].label}, {claim.unit}",
                "theirs before": _range(claim.before),
                "theirs after": _range(claim.after),
                "of": system,
                "ours before": "not measured" if ours[0] is None else f"{ours[0]:.4g}",
                "ours after": "not measured" if ours[1] is None else f"{ours[1]:.4g}",
                "verdict": _agreement(claim, *ours),
            }
        )
    return pd.DataFrame(lines)


def _agreement(claim: Claim, before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "not comparable: not measured"
    least, most = claim.after[0] / claim.before[1], claim.after[1] / claim.before[0]
    change = after / before
    there = claim.before[0] <= before <= claim.before[1]
    where = "the start agrees" if there else "the start does not"
    if least <= change <= most:
        return f"the change agrees ({change:.2f} times, theirs {least:.2f} to {most:.2f}), {where}"
    word = "better" if (METRICS[claim.metric].better > 0) == (change > most) else "worse"
    return f"{word} than promised ({change:.2f} times, theirs {least:.2f} to {most:.2f}), {where}"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"


def saved(rows: pd.DataFrame) -> str | None:
    """What zeros save, in a sentence: bytes and time of the pruned variant over those of its baseline. rows: of
    `lib.results.read`.
    """
    ratios = {}
    for metric in ("size_mb", "rtf"):
        values = [
            rows[
                (rows.variant == name)
                & (rows.metric == metric)
                & rows.system.isin(("speecht5", "speecht5-base"))
            ]
            .dropna(subset=["value"])
            .groupby("system")
            .value.last()
            for name in ("baseline", "pruned-30")
        ]
        ratio = (values[1] / values[0]).dropna()
        if len(ratio):
            ratios[metric] = ratio.iloc[-1]
    if len(ratios) < 2:
        return None
    return (
        f"With 30 % of its Linear weights zero SpeechT5 has {ratios['size_mb']:.2f} times the bytes and takes "
        f"{ratios['rtf']:.2f} times the time: zeros in dense storage save neither."
    )


def _keep(run: Run, system: System, clips: Sequence[Clip]) -> None:
    for clip in clips:
        run.clip(
            system.name,
            system.variant,
            clip.id,
            clip.waveform,
            clip.sample_rate,
            clip.text,
            target=system.target,
            group=f"{system.name} smaller",
        )


def _not_run(run: Run, one: Trial, error: Exception) -> Tried:
    log.warning("%s %s on %s: not run: %s", one.system, one.variant, one.target, error)
    run.not_run(one.system, one.variant, one.target, "rtf", str(error))
    return Tried(one, None, str(error))
