"""What do the scores of many clips say together? Corpus values with intervals, and paired differences of two systems.

Named as the results contract names them. Error rates and `asr_nll` are sums over sums of lengths, the rest are means
over the clips that have the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from lib.errors import ParameterError
from lib.measure import intelligibility, stats
from lib.measure.intelligibility import ErrorCounts
from lib.measure.likelihood import Loss

RECOGNISED = ("wer", "cer", "wer_raw", "cer_raw")


@dataclass(frozen=True)
class Recognition:
    """What the judge heard and how far it is from the text, in words and characters, normalised and raw."""

    transcript: str
    wer: ErrorCounts
    cer: ErrorCounts
    wer_raw: ErrorCounts
    cer_raw: ErrorCounts


@dataclass(frozen=True)
class ClipScores:
    """All scores of one clip. recognition, loss: None where `wer`, `asr_nll` were not asked for; values: metric name
    -> score, without those that are not defined for this clip (the pitch error of a copy without a voiced frame).
    """

    recognition: Recognition | None
    values: dict[str, float] = field(default_factory=dict)
    loss: Loss | None = None


def recognised(text: str, heard: str) -> Recognition:
    """What was heard, compared with the text that was said."""
    words, characters = intelligibility.word_errors, intelligibility.character_errors
    return Recognition(
        heard,
        words(text, heard),
        characters(text, heard),
        words(text, heard, normalise=False),
        characters(text, heard, normalise=False),
    )


def summarise(scores: Sequence[ClipScores], *, seed: int = 0) -> dict[str, stats.Estimate]:
    """Corpus values with 95 % intervals over clips: error rates and `asr_nll` as sums over sums of lengths, the rest
    as means over the clips that have the score (their number is the estimate's n).
    """
    if not scores:
        raise ParameterError("there are no scores to summarise")
    summary = {}
    if scores[0].recognition is not None:
        for metric in RECOGNISED:
            counts = [getattr(clip.recognition, metric) for clip in scores]
            summary[metric] = stats.ratio_ci([c.errors for c in counts], [c.length for c in counts], seed=seed)
    if scores[0].loss is not None:
        summary["asr_nll"] = stats.ratio_ci(
            [s.loss.nats for s in scores], [s.loss.words for s in scores], seed=seed
        )
    for metric in dict.fromkeys(name for clip in scores for name in clip.values):
        defined = [clip.values[metric] for clip in scores if metric in clip.values]
        summary[metric] = stats.mean_ci(defined, seed=seed)
    return summary


def compare(
    scores: Sequence[ClipScores], baseline: Sequence[ClipScores], *, seed: int = 0
) -> dict[str, stats.Difference]:
    """`scores` minus `baseline` on the same texts in the same order, for every metric and over the clips that both
    have.
    """
    if len(scores) != len(baseline) or not scores:
        raise ParameterError(
            f"{len(scores)} clips cannot be paired with {len(baseline)}: compare the same texts, in order"
        )
    difference = {}
    if scores[0].recognition is not None and baseline[0].recognition is not None:
        for metric in RECOGNISED:
            now, before = ([getattr(clip.recognition, metric) for clip in side] for side in (scores, baseline))
            difference[metric] = stats.paired_ratio_difference(
                [c.errors for c in now],
                [c.length for c in now],
                [c.errors for c in before],
                [c.length for c in before],
                seed=seed,
            )
    if scores[0].loss is not None and baseline[0].loss is not None:
        difference["asr_nll"] = stats.paired_ratio_difference(
            *([getattr(s.loss, of) for s in side] for side in (scores, baseline) for of in ("nats", "words")),
            seed=seed,
        )
    for metric in dict.fromkeys(name for clip in scores for name in clip.values):
        pairs = [
            (now.values[metric], before.values[metric])
            for now, before in zip(scores, baseline)
            if metric in now.values and metric in before.values
        ]
        if pairs:
            difference[metric] = stats.paired_difference(*zip(*pairs), seed=seed)
    return difference
