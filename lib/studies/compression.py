"""What does a technique buy, and is it heard? Every variant judged and benched beside its baseline, none believed.

A trial is one technique on one system and target. It is made, saved, loaded again as anybody would load it, spoken and
heard on the same sentences and seeds as its baseline, and timed beside it in fresh processes. What cannot be made here
has a row that says why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import optimize, systems
from lib.errors import SpeechError, unknown
from lib.measure import evaluate, verdict
from lib.optimize.plan import Answer
from lib.studies import confirmed, sensitivity

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.evaluate import Clip
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.studies.confirmed import Heard
    from lib.systems.base import System

log = logging.getLogger(__name__)

EXTENTS = ("smoke", "quick", "study")
CLAIMED = "pruned-30+int8-dynamic"  # the variant of SpeechT5 of which figures are claimed
# What int8 leaves is stored in half precision, as checkpoints are: of graphs the download would grow otherwise.
SMALL = ("int8-dynamic+fp16-weights", (("int8-dynamic", {}), ("fp16-weights", {})))
# Graphs of acoustic models, without their vocoder's, and the one of them that is all convolutions or sees most frames.
GENERATING = {
    "fastspeech2": (["encoder", "prosody", "decoder"], ["decoder"]),
    "tacotron2": (["encoder", "decoder", "postnet"], ["postnet"]),
    "speecht5": (["encoder", "decoder", "postnet"], ["postnet"]),
}


@dataclass(frozen=True, eq=False)
class Trial:
    """One variant. steps: techniques with their arguments, in turn; settings: of the system before it (a vocoder,
    a speaker).
    """

    system: str
    target: str
    variant: str
    steps: tuple[tuple[str, Mapping[str, Any]], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def trial(system: str, target: str, variant: str, technique: str = "", **arguments: Any) -> Trial:
    """A trial of one step; technique: by default the variant's own name."""
    return Trial(system, target, variant, ((technique or variant, arguments),))


def halved(system: str, target: str, variant: str, technique: str = "", **arguments: Any) -> Trial:
    """As `trial`; what stays in single precision is stored in half, as the checkpoints of the baseline are: else the
    download of its graphs would be larger.
    """
    steps = ((technique or variant, arguments), ("fp16-weights", {}))
    return Trial(system, target, f"{variant}+fp16-weights", steps)


@dataclass(frozen=True)
class Tried:
    """What became of a trial: the answer, or None and why not; its first clip, and its baseline's."""

    trial: Trial
    answer: Answer | None
    why_not: str = ""
    clips: tuple[Clip, ...] = ()


def trials(extent: str) -> list[Trial]:
    """What is tried: "smoke" one variant that takes seconds, "quick" what is claimed of SpeechT5 and both sides of one
    voice on ONNX Runtime, "study" every technique on every system with weights. ParameterError for another extent.
    """
    if extent not in EXTENTS:
        raise unknown("extent of the trials", extent, EXTENTS)
    joe = ("vits-joe", "onnxruntime/cpu")
    if extent == "smoke":
        return [trial(*joe, "fp16-weights")]
    linear = {"share": 0.3, "types": ["Linear"]}
    made = [
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
    seen = sensitivity.arguments_of("int8-static")
    vocoder = ("hifigan", "onnxruntime/cpu")
    made += [
        halved(*vocoder, "int8-dynamic", stages=["decoder"], types=["Conv"]),
        halved(*vocoder, "int8-static", **static),
    ]
    for name, (own, widest) in GENERATING.items():
        on = (name, "onnxruntime/cpu")
        made += [Trial(*on, *SMALL), *(trial(*on, variant) for variant in ("int8-weights", "fp16-weights"))]
        made.append(halved(*on, "int8-dynamic-mel", "int8-dynamic", stages=own))
        made.append(halved(*on, "int8-static", stages=widest, **seen))
    for target in ("torch/cpu", "onnxruntime/cpu", "ctranslate2/cpu"):
        made.append(trial("whisper-tiny.en", target, "int8-dynamic"))
    made.append(Trial("whisper-tiny.en", "onnxruntime/cpu", *SMALL))
    for name in ("vits-joe", "fastspeech2", "tacotron2", "speecht5", "tortoise"):
        on = (name, "torch/cpu")
        made += [
            trial(*on, variant) for variant in ("int8-dynamic", "int8-weights", "int4-weights", "nf4", "bf16")
        ]
        if name == "vits-joe":  # the others lie there in half precision already
            made.append(Trial(*on, *SMALL))
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
    first: int = 0,
    resume: bool = False,
) -> list[Tried]:
    """Try one after the other, baselines judged once; keep: clips of each variant, and of its baseline, for the report.

    folder: where the variants are saved, by system, target and name; first: sentences that a variant is screened on
    (`confirmed.hear`); resume: whether variants and benches are taken that an interrupted run of this code left there.
    The verdict asks for naturalness, intelligibility and the voice, whose reference clips are of the system's teacher.
    """
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for one in trials:
        groups.setdefault((one.system, one.target, str(one.settings)), []).append(one)
    tried, count = [], sum(map(len, groups.values()))
    for group in groups.values():
        log.info(
            "%s on %s: %d variants; %d of %d are done",
            group[0].system,
            group[0].target,
            len(group),
            len(tried),
            count,
        )
        tried += _group(
            run, group, sentences, texts, scorer, Path(folder), rounds, threads, keep, first, resume
        )
    return tried


def _group(run, group, sentences, texts, scorer, folder, rounds, threads, keep, first, resume) -> list[Tried]:
    """The trials of one system on one target, in one bench; arguments as of `study`."""
    tried, one = [], group[0]
    try:
        system = systems.load(one.system, target=one.target, threads=threads, **one.settings)
        base = confirmed.baseline(run, system, sentences, scorer)
    except (ImportError, SpeechError) as error:
        return [_not_run(run, one, error) for one in group]
    _keep(run, system, base.judged.clips[: keep if system.kind != "recogniser" else 0])
    heard: dict[Trial, Heard] = {}
    data = f"judged on {len(sentences)} sentences"
    for number, one in enumerate(group, 1):
        try:
            made = confirmed.make(system, one.steps, one.variant, folder, data=data, resume=resume)
            heard[one] = confirmed.hear(run, base, made, scorer, keep=max(1, keep), first=first)
        except (
            Exception
        ) as error:  # whatever it is, one variant must not cost the others hours: its row says so
            tried.append(_not_run(run, one, error))
            continue
        _keep(run, made, heard[one].clips[:keep])
        word = heard[one].verdict.word
        log.info("%s %s on %s: %s (%d of %d)", one.system, one.variant, one.target, word, number, len(group))
    kept_in = folder if resume else None
    answers = confirmed.weigh(run, base, list(heard.values()), texts, rounds=rounds, resume=kept_in)
    for (one, variant), answer in zip(heard.items(), answers):
        clips = (base.judged.clips[0], variant.clips[0]) if variant.clips else ()  # a recogniser says nothing
        tried.append(Tried(one, answer, clips=clips))
    return tried


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
        word = "without audible loss but not shown to be worth having" if word == verdict.WITHOUT_LOSS else word
        words.setdefault(word, []).append(f"{one.trial.variant} of {one.trial.system}")
    slower = [one for one in tried if one.answer and 0 < one.answer.times < 1]
    said = "; ".join(f"{len(names)} {word} ({', '.join(names)})" for word, names in words.items())
    return f"Of {len(tried)} variants: {said}. {len(slower)} of them are slower than their baseline."


def taken(tried: Sequence[Tried], name: str, target: str, folder: str | Path, *, threads: int = 2) -> System:
    """The fastest variant of a system that is recommended, loaded from where `study` saved it; the system itself where
    none is.
    """
    good = [
        one
        for one in tried
        if one.answer and one.answer.recommended and (one.trial.system, one.trial.target) == (name, target)
    ]
    if not good:
        return systems.load(name, target=target, threads=threads)
    best = max(good, key=lambda one: one.answer.times).trial
    return optimize.load(confirmed.home(folder, name, target, best.variant), threads=threads)


def first_clips(tried: Sequence[Tried]) -> dict[str, dict[str, Clip]]:
    """System and target -> label -> the first sentence, by the baseline and by each variant."""
    players: dict[str, dict[str, Clip]] = {}
    for one in tried:
        if one.clips:
            by_label = players.setdefault(f"{one.trial.system} on {one.trial.target}", {})
            by_label.setdefault("baseline", one.clips[0])
            by_label[one.trial.variant] = one.clips[1]
    return players


def _keep(run: Run, system: System, clips: Sequence[Clip]) -> None:
    for clip in clips:
        names = (system.name, system.variant, system.target)
        evaluate.keep_clip(run, names, clip, f"{system.name} smaller")


def _not_run(run: Run, one: Trial, error: Exception) -> Tried:
    ours = isinstance(error, (ImportError, SpeechError))
    why = str(error) if ours else f"{type(error).__name__}: {error}"
    names = (one.system, one.variant, one.target)
    log.warning("%s %s on %s: not run: %s", *names, why, exc_info=None if ours else error)
    run.not_run(*names, "rtf", why)
    return Tried(one, None, why)
