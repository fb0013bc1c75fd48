"""What are the stand-ins for listeners worth? Good clips with known damage (`lib.studies.damages`), and what each
predictor makes of them: which damage it hears, whether it puts the levels in their order, and what it misses.

`study` writes the rows; everything that is said is computed from rows, of this run or recorded ones. Effects are paired
(the same clip before and after) and pooled over voices, each voice with its own spread; what one voice's clips say of
another voice, no interval knows.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib import results, systems
from lib.corpora import gutenberg, prompts
from lib.errors import AlignmentError, MissingDataError
from lib.measure import evaluate, paired, stats, verdict
from lib.measure.evaluate import Clip
from lib.measure.scorer import Scorer, source
from lib.measure.scores import ClipScores, compare, summarise
from lib.metrics import METRICS
from lib.progress import track
from lib.studies import damages
from lib.studies.damages import CLEAN, CONTROL, DAMAGES, Damage
from lib.text import listed

if TYPE_CHECKING:
    import pandas as pd

    from lib.results import Run

PREDICTORS = ("mos_predicted", "dnsmos_ovrl")
JUDGES = (*PREDICTORS, "speaker_similarity", "wer", "asr_nll", "f0_error_cents")
SUFFIX = "@predictors"  # of the variants: "noise-20@predictors"
VOICES = ("vits-joe", "hibari")
PERSON = ("ground-truth", "recording/prompts")
SPARE = 3  # more clips than asked for: words that cannot be found in a clip cannot be cut out of it
HEARS, MISSES, OPEN, PREFERS = "hears", "does not notice", "leaves open", "prefers"


@dataclass(frozen=True)
class Source:
    """Good clips of one speaker, and more of the same (`voice`) by which the speaker is known again."""

    system: str
    target: str
    clips: tuple[Clip, ...]
    voice: tuple[Clip, ...]


@dataclass(frozen=True)
class Effect:
    """What a level of a damage changes in a judge's score, with its 95 % interval (None where there is none); in_sd: in
    standard deviations of a clip's difference, None where there is none; p_value: two-sided t test.
    """

    level: float
    value: float
    low: float | None
    high: float | None
    in_sd: float | None
    p_value: float
    n: int


@dataclass(frozen=True)
class Sense:
    """What a judge makes of a damage.

    effects: the mildest level first; word: HEARS, MISSES, OPEN or PREFERS, of the strongest level; ordered: whether
    every level is worse than the one before; tau: Kendall's, the mean over clips, 1 where each clip's scores fall
    from level to level, None where it is not known.
    """

    judge: str
    damage: Damage
    effects: tuple[Effect, ...]
    word: str
    ordered: bool
    tau: float | None


def sources(run: Run, n: int, *, threads: int = 2) -> list[Source]:
    """n clips each of two good voices and of a person, who has a row that says why where the recordings are missing."""
    found = []
    for name in VOICES:
        voice = systems.load(name, target="onnxruntime/cpu", threads=threads)
        clips = evaluate.speak(voice, gutenberg.split("test", n + SPARE), seed=run.seed)
        found.append(Source(name, voice.target, clips, evaluate.reference_clips(voice, threads=threads)))
    names = (PERSON[0], f"{CLEAN}{SUFFIX}", PERSON[1])
    corpus = evaluate.try_or_not_run(run, names, PREDICTORS, prompts.load)
    if corpus is not None:
        clips = evaluate.recordings(corpus, limit=n + SPARE)
        found.append(Source(*PERSON, clips, evaluate.reference_clips(corpus)))
    return found


def study(
    run: Run, given: Sequence[Source], n: int, scorer: Scorer, *, ways: Sequence[Damage] = DAMAGES
) -> None:
    """Damage n clips of every source in all `ways`, have every judge score them, and write the rows."""
    for one in given:
        clips, places = damages.alignable(one.clips, n)
        if not clips:
            raise MissingDataError(
                f"in no clip of {one.system} can its words be found: give clips that say them"
            )
        made = {CLEAN: (clips, True), CONTROL: (damages.control(clips), True)}
        for way in ways:
            for variant, level in zip(way.variants, way.levels):
                made[variant] = damages.damaged(clips, way, level, places, run.seed), way.aligned
        scored = {
            variant: _scores(scorer, heard, clips, one.voice, aligned)
            for variant, (heard, aligned) in track(
                made.items(), f"damaged clips of {one.system}", total=len(made), unit="damage"
            )
        }
        _write(run, one, scored, ways, scorer)


def rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `study` in a table of `lib.results.read`, of its newest run alone."""
    return results.newest_run(table[table.variant.str.endswith(SUFFIX)])


def senses(table: pd.DataFrame) -> dict[tuple[str, str], Sense]:
    """(judge, damage) -> what the one makes of the other; empty without rows. table: as `lib.results.read` returns it.

    A damage is heard where the strongest level changes the score for the worse at 5 %, corrected for the number of
    damages that a judge was asked about (Holm); it is not noticed where the interval lies within the verdict's margin,
    to both sides, and else left open: few clips prove no deafness.
    """
    known = rows(table)
    details: dict[tuple[str, str], list[dict]] = {}
    for row in known[known.value.notna()].itertuples():
        details.setdefault((row.metric, row.variant.removesuffix(SUFFIX)), []).append(_detail(row.detail))
    found: dict[tuple[str, str], Sense] = {}
    for judge in JUDGES:
        effects = {}
        for way in DAMAGES:
            levels = [_pooled(details.get((judge, v), ()), level) for v, level in zip(way.variants, way.levels)]
            if all(levels):
                effects[way] = tuple(levels)
        corrected = stats.holm([e[-1].p_value for e in effects.values()])
        for (way, levels), p_value in zip(effects.items(), corrected):
            taus = [d["tau"] for d in details[judge, way.variants[-1]] if d.get("tau") is not None]
            worse = [-METRICS[judge].better * effect.value for effect in levels]
            word = _word(judge, levels[-1], p_value)
            ordered = all(b > a for a, b in zip((0.0, *worse), worse))
            found[judge, way.name] = Sense(
                judge, way, levels, word, ordered, float(np.mean(taus)) if taus else None
            )
    return found


def finding(table: pd.DataFrame, judge: str = "mos_predicted") -> str | None:
    """Which damage a judge hears, which it does not notice, which it even prefers, in a sentence; None without rows."""
    known = {name: sense for (who, name), sense in senses(table).items() if who == judge}
    if not known:
        return None
    parts = []
    for word in (HEARS, MISSES, OPEN, PREFERS):
        said = [_said(sense) for sense in known.values() if sense.word == word]
        parts += [f"{word} {', '.join(said)}"] if said else []
    n = max(sense.effects[-1].n for sense in known.values())
    right = [sense.damage.label for sense in known.values() if sense.ordered and sense.word == HEARS]
    order = f" Of what it hears, it puts the levels of {listed(right)} in their order." if right else ""
    label = METRICS[judge].in_sentence
    return f"On {n} clips with known damage, {label} {'; '.join(parts)}.{order}"


def prosody(table: pd.DataFrame, judge: str = "mos_predicted") -> str | None:
    """Whether a judge misses prosody and reacts to the mean F0, as is reported of predictors; None without rows."""
    known = senses(table)
    moved = [known.get((judge, name)) for name in ("flat", "timing")]
    shifted = [known.get((judge, name)) for name in damages.MEAN_PITCH]
    if not all((*moved, *shifted)):
        return None
    missed = [sense for sense in moved if sense.word in (MISSES, PREFERS)]
    heard = [sense for sense in moved if sense.word == HEARS]
    reacts = [sense for sense in shifted if sense.word in (HEARS, PREFERS)]
    left = [sense for sense in (*moved, *shifted) if sense.word == OPEN]
    parts = [f"misses {listed([_said(s) for s in missed])}"] if missed else []
    parts += [f"hears {listed([_said(s) for s in heard])}"] if heard else []
    calm = [sense for sense in shifted if sense.word == MISSES]
    parts += [f"reacts to {listed([_said(s) for s in reacts])}"] if reacts else []
    parts += [f"does not react to {listed([_said(s) for s in calm])}"] if calm else []
    parts += [f"leaves open {listed([_said(s) for s in left])}"] if left else []
    whole = len(missed) == len(moved) and reacts
    partly = "holds here in part" if missed or reacts else "is left open here" if left else "fails here"
    holds = "holds here" if whole else partly
    return (
        f"That predictors miss prosody and react to the mean F0, as is reported of others, {holds}: "
        f"{METRICS[judge].in_sentence} {'; '.join(parts)} (against the same clips through overlap-add, unchanged)."
    )


def table_of(known: Mapping[tuple[str, str], Sense]) -> pd.DataFrame:
    """A line for each damage at its strongest level, a column for each judge: the change with its interval, in standard
    deviations of a clip's difference, and Kendall's tau of the levels.
    """
    import pandas as pd

    lines: dict[str, dict[str, str]] = {}
    for (judge, _), sense in known.items():
        last = sense.effects[-1]
        ends = "" if last.low is None else f" [{_amount(judge, last.low)}, {_amount(judge, last.high)}]"
        spread = "" if last.in_sd is None else f"; {last.in_sd:+.1f} sd"
        tau = "" if sense.tau is None else f"; τ {sense.tau:.2f}"
        cell = f"{sense.word}: {_amount(judge, last.value)}{ends}{spread}{tau}"
        lines.setdefault(_named(sense), {})[METRICS[judge].label] = cell
    return pd.DataFrame.from_dict(lines, orient="index").rename_axis("damage").fillna("")


def _scores(
    scorer: Scorer, clips: Sequence[Clip], clean: Sequence[Clip], voice: Sequence[Clip], aligned: bool
) -> list[ClipScores]:
    scores = scorer.rate_all(
        [(clip.waveform, clip.sample_rate, clip.text) for clip in clips],
        metrics=("wer", "asr_nll", *PREDICTORS, "speaker_similarity"),
        voice=[(clip.waveform, clip.sample_rate) for clip in voice],
    )
    if not aligned:
        return scores
    pitch = [_pitch_error(scorer, before, after) for before, after in zip(clean, clips)]
    return [
        score if error is None else dataclasses.replace(score, values={**score.values, "f0_error_cents": error})
        for score, error in zip(scores, pitch)
    ]


def _pitch_error(scorer: Scorer, before: Clip, after: Clip) -> float | None:
    """None where the damage went so far that the two are no longer found aligned, or nothing is voiced in both."""
    try:
        return scorer.compared("f0_error_cents", before.waveform, after.waveform, after.sample_rate)
    except AlignmentError:
        return None


def _write(
    run: Run, one: Source, scored: Mapping[str, Sequence[ClipScores]], ways: Sequence[Damage], scorer: Scorer
) -> None:
    taus = {(way.variants[-1], m): _tau(scored, way, m) for way in ways for m in JUDGES}
    against = {variant: way.against for way in ways for variant in way.variants} | {CONTROL: CLEAN, CLEAN: ""}
    for variant, scores in scored.items():
        base = against[variant]
        differences = compare(scores, scored[base], seed=run.seed) if base else {}
        for metric, estimate in summarise(scores, seed=run.seed).items():
            if metric not in JUDGES:
                continue
            tau = taus.get((variant, metric))
            paired.write(
                run,
                (one.system, f"{variant}{SUFFIX}", one.target),
                metric,
                estimate,
                source(metric, scorer.compute_type),
                baseline=f"{base}{SUFFIX}" if base else "",
                difference=differences.get(metric),
                **({} if tau is None else {"tau": round(tau, 4)}),
            )


def _tau(scored: Mapping[str, Sequence[ClipScores]], way: Damage, metric: str) -> float | None:
    """Kendall's tau-b of level and badness, the mean over clips; a clip that always scores the same counts as 0."""
    from scipy.stats import kendalltau

    found = []
    for scores in zip(*(scored[name] for name in (way.against, *way.variants))):
        values = [_of_clip(score, metric) for score in scores]
        if None in values:
            continue
        tau = kendalltau(range(len(values)), [-METRICS[metric].better * v for v in values]).statistic
        found.append(0.0 if math.isnan(tau) else float(tau))
    return float(np.mean(found)) if found else None


def _of_clip(score: ClipScores, metric: str) -> float | None:
    if metric == "wer":
        return score.recognition.wer.rate
    if metric == "asr_nll":
        return score.loss.nats / score.loss.words
    return score.values.get(metric)


def _detail(text: str) -> dict:
    return json.loads(text) if text.startswith("{") else {}


def _word(judge: str, last: Effect, p_value: float) -> str:
    """What a judge makes of the strongest level of a damage."""
    if p_value < 1 - stats.CONFIDENCE:
        return HEARS if METRICS[judge].better * last.value < 0 else PREFERS
    room = abs(verdict.MARGINS.get(judge, verdict.MARGINS["mos_predicted"]))
    return MISSES if last.low is not None and max(-last.low, last.high) < room else OPEN


def _pooled(details: Sequence[dict], level: float) -> Effect | None:
    """The mean over all clips of all voices, from each voice's mean and spread; None without a difference.

    A stratified mean: var = sum(n_v sd_v^2) / N^2, t with N - V degrees of freedom.
    """
    from scipy.stats import t

    kept = [d for d in details if d.get("difference") is not None and d.get("sd") is not None and d["n"] > 1]
    if not kept:
        return None
    n, gap, sd = (np.array([d[name] for d in kept], float) for name in ("n", "difference", "sd"))
    total, freedom = n.sum(), n.sum() - len(kept)
    mean, error = float(n @ gap / total), float(np.sqrt(n @ sd**2) / total)
    spread = float(np.sqrt((n - 1) @ sd**2 / freedom))
    if error == 0:
        return Effect(level, mean, mean, mean, None, float(mean == 0), int(total))
    half = float(t.ppf((1 + stats.CONFIDENCE) / 2, freedom)) * error
    p_value = float(2 * t.sf(abs(mean) / error, freedom))
    return Effect(level, mean, mean - half, mean + half, mean / spread, p_value, int(total))


def _named(sense: Sense) -> str:
    return f"{sense.damage.label} ({sense.effects[-1].level:,g} {sense.damage.unit})"


def _said(sense: Sense) -> str:
    """As in "white noise (10 dB: -2.31)"."""
    last = sense.effects[-1]
    return f"{sense.damage.label} ({last.level:,g} {sense.damage.unit}: {_amount(sense.judge, last.value)})"


def _amount(judge: str, value: float) -> str:
    """A change as people read it, signed: error rates in points."""
    about = METRICS[judge]
    scale, digits = (100, about.digits - 2) if about.unit == "fraction" else (1, about.digits)
    return f"{scale * value:+.{digits}f}".replace("-", "−")
