"""What does a technique buy, and is it heard? Every variant judged and benched beside its baseline, none believed.

A trial is one technique on one system and target (`menu` lists them). It is made, saved, loaded again as anybody would
load it, spoken and heard on the same sentences and seeds as its baseline, and timed beside it in fresh processes. What
cannot be made here has a row that says why.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import optimize, results, systems
from lib.measure import evaluate, judgement, verdict
from lib.metrics import deliberate
from lib.optimize.plan import Answer
from lib.studies import confirmed, failed, worst
from lib.studies.menu import TORCH, Trial

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.evaluate import Clip
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.studies.confirmed import Heard
    from lib.studies.worst import Worst
    from lib.systems.base import System

log = logging.getLogger(__name__)

WHOLE = "baseline"


@dataclass(frozen=True)
class Tried:
    """What became of a trial: the answer, or None and why not; the sentence that it hurt most."""

    trial: Trial
    answer: Answer | None
    why_not: str = ""
    worst: Worst | None = None


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
    """Try one after the other, baselines judged once; what breaks has a row that says why. keep: clips of each variant,
    and of its baseline, for the report.

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
        beside = _on_torch(system, one)
        _keep(run, system, base.judged.clips[: keep if system.kind != "recogniser" else 0])
    except Exception as error:
        return [_not_run(run, one, error) for one in group]
    heard: dict[Trial, Heard] = {}
    data = f"judged on {len(sentences)} sentences"
    for number, one in enumerate(group, 1):
        try:
            made = confirmed.make(system, one.steps, one.variant, folder, data=data, resume=resume)
            said = confirmed.hear(run, base, made, scorer, keep=max(1, keep), first=first)
            _keep(run, made, said.clips[:keep])
        except Exception as error:
            tried.append(_not_run(run, one, error))
            continue
        heard[one], word = said, said.verdict.word
        log.info("%s %s on %s: %s (%d of %d)", one.system, one.variant, one.target, word, number, len(group))
    kept_in = folder if resume else None
    try:
        answers = confirmed.weigh(
            run, base, list(heard.values()), texts, rounds=rounds, resume=kept_in, beside=beside
        )
    except Exception as error:
        return tried + [_not_run(run, one, error) for one in heard]
    return tried + [Tried(one, said, worst=heard[one].worst) for one, said in zip(heard, answers)]


def _on_torch(system: System, one: Trial) -> System | None:
    """A vocoder as it is on PyTorch, what most people run and what its floor asks for: so it takes turns with the
    variants elsewhere. None for others, and where they run there themselves.
    """
    if system.kind != "vocoder" or one.target == TORCH:
        return None
    return systems.load(one.system, target=TORCH, threads=system.threads, **one.settings)


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
                "take it": _take(one.answer) if one.answer else "",
                "why": one.answer.why if one.answer else one.why_not,
            }
            for one in tried
        ]
    )


def findings(tried: Sequence[Tried]) -> list[str]:
    """For each system on each target a sentence: which variant to take, or none, and what became of all of them."""
    groups: dict[str, list[Tried]] = {}
    for one in tried:
        groups.setdefault(f"{one.trial.system} on {one.trial.target}", []).append(one)
    return [f"{where}: {_finding(group)}." for where, group in groups.items()]


def _finding(group: Sequence[Tried]) -> str:
    """Of the variants of one system on one target."""
    answered = [one for one in group if one.answer]
    good = [one for one in answered if one.answer.recommended]
    words = Counter(_word(one.answer) for one in answered)
    counts = [f"{count} {_are(count)} {word}" for word, count in words.items()]
    if missing := len(group) - len(answered):
        counts.append(f"{missing} could not run")
    slower = sum(one.answer.slower for one in answered)
    if answered:
        counts.append(f"{slower} {_are(slower)} significantly slower than the baseline")
    told = f"of {len(group)} tried {', '.join(counts)}"
    if good:
        best = max(good, key=lambda one: _worth(one.answer.faster, one.answer.times, one.answer.smaller))
        return f"take {best.trial.variant}, {best.answer.why}; {told}"
    more = " until more is measured" if any(one.answer.undecided for one in answered) else ""
    return f"leave it as it is{more}; {told}"


def _worth(faster: bool, times: float, smaller: float) -> tuple[bool, float]:
    """Of variants that may be taken the largest is the best: the fastest of those that are faster by more than chance,
    else the smallest.
    """
    return faster, times if faster else smaller


def _word(answer: Answer) -> str:
    if answer.recommended:
        return "recommended"
    if answer.word != verdict.WITHOUT_LOSS:
        return answer.word
    worth = "of undecided worth" if answer.undecided else "not worth having"
    return f"{verdict.WITHOUT_LOSS} but {worth}"


def _take(answer: Answer) -> str:
    return "yes" if answer.recommended else verdict.UNDECIDED if answer.undecided else "no"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def taken(rows: pd.DataFrame, name: str, target: str, folder: str | Path, *, threads: int = 2) -> System:
    """The fastest variant of a system that this run recommends (the smallest, where none is faster by more than
    chance), a plan's among them, loaded from where it was saved; the system itself where it recommends none. rows: of
    `lib.results.read`, this run's.
    """
    mine = rows[(rows.system == name) & (rows.target == target) & (rows.metric == "rtf") & rows.value.notna()]
    worth: dict[str, tuple[bool, float]] = {}
    for variant in dict.fromkeys(mine.variant):
        home = confirmed.home(folder, name, target, variant)
        if variant == WHOLE or not home.is_dir():
            continue
        said = judgement.from_rows(rows, name, variant, target)
        if said.recommendation.word == verdict.RECOMMENDED:
            gains = {gain.metric: gain for gain in said.gains}
            smaller = gains["size_mb"].times if "size_mb" in gains else 1.0
            worth[str(home)] = _worth(gains["rtf"].saves, gains["rtf"].times, smaller)
    if not worth:
        return systems.load(name, target=target, threads=threads)
    return optimize.load(max(worth, key=worth.get), threads=threads)


def with_baselines(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `lib.results.read` with what the baseline scored on the sentences of its variants, of which it has no
    rows itself (`confirmed.baseline`), before the first of its variants: of several the one of most sentences.
    """
    known = set(zip(rows.system, rows.variant, rows.target, rows.metric))
    told: dict[tuple, Any] = {}
    for row in rows[rows.value.notna() & ~rows.variant.map(deliberate)].itertuples():
        names = (row.system, row.baseline, row.target, row.metric)
        if (
            names not in known
            and confirmed.before(row) is not None
            and (names not in told or row.n > told[names].n)
        ):
            told[names] = row
    made = [
        row._asdict() | {"variant": row.baseline, "value": confirmed.before(row), "baseline": "", "detail": ""}
        for row in told.values()
    ]
    of: dict[tuple, list[dict]] = {}
    for one in made:
        of.setdefault((one["system"], one["target"]), []).append(one | dict.fromkeys(("ci_low", "ci_high")))
    ordered: list[dict] = []
    for row in rows.to_dict("records"):
        ordered += [*of.pop((row["system"], row["target"]), ()), row]
    return results.frame(ordered)


def worst_clips(tried: Sequence[Tried]) -> dict[str, dict[str, Clip]]:
    """Heading -> label -> clip: of each variant the sentence that it hurt most, beside its baseline's (`worst`)."""
    known = [(f"{one.trial.system} on {one.trial.target}", one.trial.variant, one.worst) for one in tried]
    return worst.headed(found for found in known if found[2] is not None)


def _keep(run: Run, system: System, clips: Sequence[Clip]) -> None:
    for clip in clips:
        names = (system.name, system.variant, system.target)
        evaluate.keep_clip(run, names, clip, f"{system.name} smaller")


def _not_run(run: Run, one: Trial, error: Exception) -> Tried:
    return Tried(one, None, failed.told(run, (one.system, one.variant, one.target), error))
