"""Would a listener notice, and is it worth having? The words that headlines use of a variant, and how they are earned.

A variant is compared with its baseline on the same sentences and seeds, paired. `quality_verdict` sets the 95 %
intervals of the differences against margins; `recommendation` weighs the answer against what the variant saves
(`judgement` does both from the rows of a results table). Nothing here hears or times anything.

- without audible loss: every interval lies inside its margin;
- worse: one interval lies wholly outside;
- undecided: neither, or something was not measured; then with the number of sentences that would decide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lib.errors import unknown
from lib.measure.stats import CONFIDENCE, Difference
from lib.metrics import LEAST_SAVING
from lib.results import METRICS

WITHOUT_LOSS, WORSE, UNDECIDED = "without audible loss", "worse", "undecided"
RECOMMENDED, NOT_RECOMMENDED = "recommended", "not recommended"
POWER = 0.8  # how often as many sentences as `sentences_needed` says would decide

# The largest change for the worse that still counts as none, in the metric's unit.
# asr_nll: what goes with a point of WER was 0.035 [0.023, 0.059] and 0.042 [0.032, 0.063] nats a word in two runs of
# `lib.studies.damage.margin` (100 test sentences by vits-joe on one thread and on two, noise at 30 to 10 dB, an 8-bit
# decoder, November 2026). Those intervals know other sentences, not other damages: of single ones it was 0.021 (8 bit,
# the other time 0.029) to 0.094 (30 dB, the other time 0.033). So only a growth below all of them counts as none, and
# only one above all as worse.
MARGINS = {
    "mos_predicted": -0.1,
    "wer": 0.01,
    "asr_nll": 0.02,
    "speaker_similarity": -0.02,
    "f0_error_cents": 20.0,
    "mos_human": -0.1,
}
WORSE_BEYOND = MARGINS | {"asr_nll": 0.095}
HEARD = "naturalness to listeners"  # counts where people were asked, and is required of nothing
# What must be known of a variant, and the metrics that can say it, the first that decides.
CRITERIA = {
    "naturalness": ("mos_predicted",),
    HEARD: ("mos_human",),
    "intelligibility": ("wer", "asr_nll"),
    "voice": ("speaker_similarity",),
    "pitch": ("f0_error_cents",),
}
SPEECH = ("naturalness", "intelligibility", "voice")  # required of speech; pitch only where clips are aligned
RECOGNISER = ("intelligibility",)
# What a variant may save: metric -> (the word for less of it, for more of it).
SAVINGS = {
    "rtf": ("faster", "slower"),
    "size_mb": ("smaller", "larger"),
    "energy_j_per_audio_s": ("more frugal with energy", "less frugal with energy"),
    "peak_rss_mb": ("more frugal with memory", "less frugal with memory"),
    "peak_gpu_mb": ("more frugal with GPU memory", "less frugal with GPU memory"),
}
MIN_SENTENCES = 8  # an interval of fewer covers the truth too seldom to decide anything
# Where no sentence of n got more word errors, the share of sentences that do is bounded by 3 / n: with 40 sentences of
# a dozen words and one error each, by 0.6 points of WER. An interval drawn from such sentences ends at 0, however few
# they are, and whether another one got better tells nothing of that: of fewer it decides nothing.
MIN_AGREEING = 40
ERRORS = ("wer",)  # counts, of which most sentences have none
# What no variant may cost more of than its baseline: what is slower or larger is no optimization, whatever it saves.
OF_A_VARIANT = ("rtf", "size_mb")
COUNTED = ("size_mb",)  # bytes: known without an interval
# How much larger still counts as the same: what is written beside the weights of a pruned voice here (names of layers,
# settings) is 0.02 to 0.04 % of the file; the next larger growth that was seen, 0.9 %, is no header.
LEAST_GROWTH = 1.001
# As many times as fast a variant must be shown to be at least where it is taken for anything but its speed: a wider
# interval knows too little of it, and asking for less would reward a noisy bench.
LEAST_SPEED = 0.9


@dataclass(frozen=True)
class Verdict:
    """word: one of WITHOUT_LOSS, WORSE, UNDECIDED; reasons: a phrase for each criterion; sentences_needed: how many
    would decide with a power of 80 % if the differences stay as they are, None where the word is not UNDECIDED or
    where more sentences do not help (something was not measured, or a difference lies exactly on its margin).
    """

    word: str
    reasons: tuple[str, ...]
    sentences_needed: int | None = None


@dataclass(frozen=True)
class Gain:
    """times: baseline over variant of a cost (2.0: half of it is left), with its 95 % interval where it has one;
    kind: of the two numbers, as in the results contract.
    """

    metric: str
    times: float
    low: float | None = None
    high: float | None = None
    kind: str = "measured"

    def __post_init__(self) -> None:
        if self.metric not in SAVINGS:
            raise unknown("cost", self.metric, SAVINGS)

    @property
    def saves(self) -> bool:
        """Whether the variant costs less by LEAST_SAVING at least, and the interval lies above 1; a counted cost has
        none and needs none.
        """
        if self.times < LEAST_SAVING:
            return False
        return self.metric in COUNTED or (self.low is not None and self.low > 1)

    @property
    def unproven(self) -> bool:
        """Whether the variant seems to cost less, and was measured too few times for an interval."""
        return self.times >= LEAST_SAVING and self.low is None and self.metric not in COUNTED

    @property
    def costs_more(self) -> bool:
        """Whether the variant costs more, by the same rule; of a counted cost by LEAST_GROWTH."""
        if self.metric in COUNTED:
            return self.times <= 1 / LEAST_GROWTH
        return self.times <= 1 / LEAST_SAVING and self.high is not None and self.high < 1

    @property
    def may_cost_more(self) -> bool:
        """Whether it is not known that the variant is LEAST_SPEED times as cheap; what is counted is known."""
        return self.metric not in COUNTED and (self.low is None or self.low < LEAST_SPEED)

    @property
    def text(self) -> str:
        """As in "faster (1.92 times [1.80, 2.05])"."""
        less, more = SAVINGS[self.metric]
        if self.low is None and self.metric not in COUNTED:
            return f"{less if self.times > 1 else more} ({self._numbers})"
        word = less if self.saves else more if self.costs_more else f"not significantly {less}"
        return f"{word} ({self._numbers})"

    @property
    def open_text(self) -> str:
        """As in "whether it is slower is not known: 0.93 times [0.73, 1.18]"."""
        return f"whether it is {SAVINGS[self.metric][1]} is not known: {self._numbers}"

    @property
    def _numbers(self) -> str:
        if self.low is None and self.metric not in COUNTED:
            return f"{self.times:.2f} times, too few timings for an interval"
        times = self.times if not self.costs_more else 1 / self.times
        ends = () if self.low is None else (self.low, self.high)
        ends = sorted(1 / end for end in ends) if self.costs_more else ends
        interval = f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else ""
        kind = "" if self.kind == "measured" else f", {self.kind}"
        digits = 3 if self.costs_more and times < 1.005 else 2  # "larger (1.00 times)" would be no reason
        return f"{times:.{digits}f} times{interval}{kind}"


@dataclass(frozen=True)
class Recommendation:
    """word: one of RECOMMENDED, NOT_RECOMMENDED, UNDECIDED; reason: why, in words."""

    word: str
    reason: str


def quality_verdict(differences: Mapping[str, Difference], required: Sequence[str] = SPEECH) -> Verdict:
    """The verdict on paired differences (variant minus baseline), by metric; metrics without a margin say nothing.

    required: criteria that must have been measured for WITHOUT_LOSS (SPEECH, or RECOGNISER for a recogniser). The
    others count where they were measured: `f0_error_cents`, the error against the baseline's own aligned clips or its
    growth. Of intelligibility WER speaks where it decides, else `asr_nll`.
    """
    for name in required:
        if name not in CRITERIA:
            raise unknown("criterion", name, CRITERIA)
    words, reasons, good, bad, missing = [], [], [], [], False
    for criterion, metrics in CRITERIA.items():
        measured = [metric for metric in metrics if metric in differences and metric in MARGINS]
        if not measured:
            if criterion in required:
                reasons.append(f"{METRICS[metrics[0]].in_sentence} was not compared with the baseline")
                missing = True
            continue
        sides = {metric: _side(metric, differences[metric]) for metric in measured}
        speaks = next((metric for metric in measured if sides[metric] != UNDECIDED), measured[-1])
        words.append(sides[speaks])
        reasons.append(_reason(speaks, differences[speaks], sides[speaks]))
        if sides[speaks] == UNDECIDED:
            needed = min((_needed(m, differences[m]) for m in measured), default=math.inf)
            (bad if _beyond(speaks, differences[speaks].value) else good).append(needed)
    if WORSE in words:
        return Verdict(WORSE, tuple(reasons))
    if words and not missing and all(word == WITHOUT_LOSS for word in words):
        return Verdict(WITHOUT_LOSS, tuple(reasons))
    # One difference beyond its margin is enough for "worse"; "without audible loss" needs all of them.
    needed = min(bad) if bad else math.inf if missing else max(good)
    return Verdict(UNDECIDED, tuple(reasons), None if math.isinf(needed) else needed)


def recommendation(
    quality: Verdict, gains: Iterable[Gain], *, never_more: Sequence[str] = ()
) -> Recommendation:
    """Whether to take the variant: without audible loss, and faster, smaller or more frugal than its baseline.

    never_more: costs of which it must not have more, whatever it saves (OF_A_VARIANT); another system may. Undecided
    where nobody knows whether it has: where it was timed and its speed is not shown to be LEAST_SPEED times the
    baseline's.
    """
    gains = tuple(gains)
    saved = [gain.text for gain in gains if gain.saves]
    but = [gain.text for gain in gains if gain.costs_more]
    because = "; ".join(quality.reasons)
    if quality.word == WORSE:
        return Recommendation(NOT_RECOMMENDED, f"worse: {because}")
    if not gains:
        return Recommendation(UNDECIDED, f"{quality.word}, and neither speed, size nor energy was compared")
    if not saved and any(gain.unproven for gain in gains):
        said = ", ".join(gain.text for gain in gains)
        return Recommendation(UNDECIDED, f"{quality.word}, and nothing saved for certain: {said}")
    if not saved:
        return Recommendation(
            NOT_RECOMMENDED, "better in nothing that was measured: " + ", ".join(gain.text for gain in gains)
        )
    gained = ", ".join(saved) + (f", but {', '.join(but)}" if but else "")
    if any(gain.costs_more and gain.metric in never_more for gain in gains):
        return Recommendation(NOT_RECOMMENDED, f"no optimization: {gained}")
    unknown = [gain.open_text for gain in gains if gain.may_cost_more and gain.metric in never_more]
    if unknown:
        gained += f", {'and' if but else 'but'} {', '.join(unknown)}"
    if quality.word == WITHOUT_LOSS and unknown:
        return Recommendation(UNDECIDED, gained)
    if quality.word == WITHOUT_LOSS:
        return Recommendation(RECOMMENDED, f"without audible loss and {gained}")
    count = f"; about {quality.sentences_needed} sentences would decide" if quality.sentences_needed else ""
    return Recommendation(UNDECIDED, f"{gained}; whether it is worse is undecided ({because}){count}")


def least_sentences(metric: str, low: float, high: float) -> int:
    """Of how many sentences an interval of a difference must be to decide anything."""
    worst = high if METRICS[metric].better < 0 else low
    none_worse = metric in ERRORS and (worst == 0 or low == high)
    return MIN_AGREEING if none_worse else MIN_SENTENCES


def _beyond(metric: str, value: float) -> bool:
    """Whether a value is beyond the metric's margin, on the bad side of it."""
    sign = METRICS[metric].better
    return sign * value < sign * WORSE_BEYOND[metric]


def _side(metric: str, difference: Difference) -> str:
    """WITHOUT_LOSS, WORSE or UNDECIDED, by where the interval lies; an end on the margin decides nothing."""
    if difference.ci is None or difference.n < least_sentences(metric, *difference.ci):
        return UNDECIDED
    sign, ends = METRICS[metric].better, difference.ci
    worst, best = sorted(sign * end for end in ends)
    inside, outside = worst > sign * MARGINS[metric], best < sign * WORSE_BEYOND[metric]
    return WITHOUT_LOSS if inside else WORSE if outside else UNDECIDED


def _needed(metric: str, difference: Difference) -> float:
    """Sentences after which the interval would clear the margin with a power of POWER, or infinity."""
    from scipy.stats import norm

    sign, value = METRICS[metric].better, difference.value
    gap = max(sign * (value - MARGINS[metric]), sign * (WORSE_BEYOND[metric] - value))
    if difference.sd is None or gap <= 0:
        return math.inf
    z = norm.ppf((1 + CONFIDENCE) / 2) + norm.ppf(POWER)
    ends = difference.ci or ((0.0, 0.0) if difference.sd == 0 else (-math.inf, math.inf))
    least = least_sentences(metric, *ends)
    return max(least, math.ceil((z * difference.sd / gap) ** 2))


def _reason(metric: str, difference: Difference, side: str) -> str:
    """As in "WER +18.5 points [+15.4, +21.8], margin +1.0: outside": error rates in points, as they are shown."""
    fraction = METRICS[metric].unit == "fraction"
    scale, digits = (100, METRICS[metric].digits - 2) if fraction else (1, METRICS[metric].digits)
    ends = None if difference.ci is None else [scale * end for end in difference.ci]
    interval = (" points" if fraction else "") + (
        "" if ends is None else " [{:+.{d}f}, {:+.{d}f}]".format(*ends, d=digits)
    )
    word = {WITHOUT_LOSS: "inside", WORSE: "outside", UNDECIDED: "undecided"}[side]
    value, margin = scale * difference.value, scale * MARGINS[metric]
    return f"{METRICS[metric].in_sentence} {value:+.{digits}f}{interval}, margin {margin:+.{digits}f}: {word}"
