"""What did the bench see of one candidate? Its times, starts and memory with their intervals, and sentences about
them; its rows are in `bench_rows`.

RTF is compute seconds per audio second (lower is better), RTFx its inverse; latency is the time of one whole
utterance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import targets
from lib.errors import ParameterError, SpeechError, unknown
from lib.measure import nested
from lib.measure.bench_child import KINDS
from lib.measure.nested import Ratio
from lib.measure.stats import Estimate

if TYPE_CHECKING:
    from lib.systems.model import Model

INPUTS = {"speech": "text", "recogniser": "clip", "vocoder": "log_mel"}  # kind of model -> kind of its inputs
P90_TIMINGS = 30  # with fewer, at most two lie beyond the 90th percentile


@dataclass(frozen=True)
class Candidate:
    """Something that any process can rebuild and speak with. kind: of its inputs, of `bench_child.KINDS`.

    origin: {"system", "target", "settings"} or {"folder", "target"}; fingerprint: what the rebuilt one must
    have, "" to trust.
    """

    system: str
    variant: str
    target: str
    origin: dict[str, Any]
    kind: str = "text"
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind of input", self.kind, KINDS)

    @classmethod
    def of(cls, model: "Model") -> "Candidate":
        """A loaded system, recogniser or vocoder as a candidate. Raises ParameterError for one that no process
        can rebuild.
        """
        if not model.origin:
            raise ParameterError(
                f"{model.name} {model.variant} has not been saved: what cannot be rebuilt cannot be benched; "
                "save it with lib.optimize.save and load it again"
            )
        return cls(
            model.name, model.variant, model.target, model.origin, INPUTS[model.kind], model.fingerprint()
        )

    @property
    def names(self) -> tuple[str, str, str]:
        """(system, variant, target), as rows have them: a GPU with its model."""
        return self.system, self.variant, targets.label(self.target)

    def __str__(self) -> str:
        return f"{self.system} {self.variant} on {self.target}"


@dataclass(frozen=True, eq=False)
class Benched:
    """One candidate's R rounds of P passes over N inputs; `why_not` says why there are none, and then nothing
    else is asked of it.

    seconds: (R, P, N); audio_s: (N,) of speech made (or heard); stages: name -> (R, P, N) seconds;
    first_audio_s, stalled_s: (R, P, N) or None, see `streamed`; one value a round (R,): cold_start_s (from before the
    process to the end of the first sentence), load_s, first_sentence_s, peak_rss_mb, peak_gpu_mb (None without a GPU),
    cpu_s; peak_of_whole_life: whether loading is in peak_rss_mb, where the kernel's mark cannot begin anew behind it;
    energy: a dict a round, of `bench_child`; footprint: size_mb, loaded_mb, params_m; circumstances: what
    `detail` says of how it was benched.
    """

    candidate: Candidate
    why_not: str = ""
    seconds: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))
    audio_s: np.ndarray = field(default_factory=lambda: np.zeros(0))
    stages: dict[str, np.ndarray] = field(default_factory=dict)
    first_audio_s: np.ndarray | None = None
    stalled_s: np.ndarray | None = None
    cold_start_s: np.ndarray | None = None
    load_s: np.ndarray | None = None
    first_sentence_s: np.ndarray | None = None
    peak_rss_mb: np.ndarray | None = None
    peak_gpu_mb: np.ndarray | None = None
    peak_of_whole_life: bool = False
    cpu_s: np.ndarray | None = None
    nfe: float | None = None
    energy: tuple[dict[str, Any], ...] = ()
    footprint: dict[str, Any] = field(default_factory=dict)
    circumstances: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    @cached_property
    def medians_s(self) -> np.ndarray:
        """(R, N) median seconds of each input over the passes of a round."""
        if self.why_not:
            raise SpeechError(f"{self.candidate} was not benched: {self.why_not}")
        return np.median(self.seconds, axis=1)

    @cached_property
    def rtf(self) -> Estimate:
        """Sum over inputs of the seconds (mean over rounds) over the sum of the audio seconds."""
        return nested.estimate(_rtf, self.medians_s, self._audio, seed=self.seed)

    @cached_property
    def throughput_rtfx(self) -> Estimate:
        """Audio seconds per compute second, one utterance after the other: RTF upside down."""
        rtf = self.rtf
        low, high = (1 / end for end in reversed(rtf.ci)) if rtf.ci else (None, None)
        return Estimate(1 / rtf.value, low, high, rtf.n)

    @cached_property
    def latency_ms_p50(self) -> Estimate:
        """Median over inputs and rounds of the time of a whole utterance."""
        return nested.estimate(lambda s: _quantile(s, 0.5), 1000 * self.medians_s, seed=self.seed)

    @cached_property
    def latency_ms_p90(self) -> Estimate | None:
        """90th percentile over all single timings; None below P90_TIMINGS of them."""
        if self.seconds.size < P90_TIMINGS:
            return None
        timings = 1000 * self.seconds.swapaxes(1, 2)  # (R, N, P)
        return nested.estimate(lambda s: _quantile(s, 0.9), timings, seed=self.seed)

    @cached_property
    def first_audio_ms(self) -> Estimate | None:
        """Median time until the first samples can be heard, of systems that hand them out before they are done."""
        if self.first_audio_s is None:
            return None
        return nested.estimate(
            lambda s: _quantile(s, 0.5), 1000 * np.median(self.first_audio_s, axis=1), seed=self.seed
        )

    @cached_property
    def stage_rtf(self) -> dict[str, float]:
        """Each stage's share of the RTF: its seconds (median over passes, mean over rounds) per second of
        audio.
        """
        return {
            name: float(np.median(spent, axis=1).mean(0).sum() / self.audio_s.sum())
            for name, spent in self.stages.items()
        }

    @property
    def _audio(self) -> np.ndarray:
        return np.broadcast_to(self.audio_s, self.medians_s.shape)

    def detail(self) -> dict[str, Any]:
        """What a row's `detail` says of how this was timed."""
        rounds, passes, inputs = self.seconds.shape
        stages = {name: round(value, 5) for name, value in self.stage_rtf.items()}
        return {"stages": stages, "rounds": rounds, "passes": passes, "inputs": inputs, **self.circumstances}


def speedup(one: Benched, baseline: Benched) -> Ratio:
    """How many times as fast as the baseline, per second of audio, paired by round and input; with p value.

    Both must come from one bench: what a round did to one it did to the other. Where a variant speaks faster or
    slower than its baseline, both are taken per second of their own audio.
    """
    _same_shape(one, baseline)

    def times(own, own_audio, other, other_audio):
        return _rtf(other, other_audio) / _rtf(own, own_audio)

    return nested.ratio(times, one.medians_s, one._audio, baseline.medians_s, baseline._audio, seed=one.seed)


def latency_ratio(one: Benched, baseline: Benched) -> Ratio:
    """How many times as long as the baseline a sentence takes from begin to end: the geometric mean of the ratios,
    paired by round and input; with p value. Both must come from one bench.

    What sentences differ in length, which makes the interval of a median latency wide, cancels in every pair.
    """
    _same_shape(one, baseline)

    def times(own, other):
        return np.exp((np.log(own) - np.log(other)).mean((1, 2)))

    return nested.ratio(times, one.medians_s, baseline.medians_s, seed=one.seed)


def memory_ratio(one: Benched, baseline: Benched) -> Ratio | None:
    """How many times as much memory as the baseline it takes at most, paired by round; None where either does not say,
    or counts from elsewhere. Both must come from one bench.
    """
    own, other = one.peak_rss_mb, baseline.peak_rss_mb
    if own is None or other is None or one.peak_of_whole_life != baseline.peak_of_whole_life:
        return None
    _same_shape(one, baseline)
    over = nested.over_rounds(np.asarray(own) / np.asarray(other))
    return Ratio(over.value, over.low, over.high, over.n)


def faster(one: Benched, other: Benched, name: str, other_name: str) -> str:
    """The speed-up of one over the other with its interval, and whether it is one, in a sentence."""
    for benched, label in ((one, name), (other, other_name)):
        if benched.why_not:
            return f"{label} was not benched: {benched.why_not}"
    gain = speedup(one, other)
    interval = (
        f" [{gain.low:.2f}, {gain.high:.2f}]" if gain.ci else " (too few rounds or sentences for an interval)"
    )
    if gain.p_value is not None and not gain.significant:
        verdict = "no difference that would be sure to come again"
    else:
        verdict = "faster" if gain.value >= 1 else "slower, so not recommended for speed"
    return f"{name} runs at {gain.value:.2f} times the speed of {other_name}{interval}: {verdict}."


def largest_stage(one: Benched, name: str) -> str:
    """Where the time of a system goes, in a sentence."""
    if one.why_not or not one.stages:
        return f"{name} tells no stages{': ' + one.why_not if one.why_not else ''}."
    stages = one.stage_rtf
    stage = max(stages, key=stages.get)
    share = 100 * stages[stage] / sum(stages.values())
    return f"In {name}, the stage {stage.replace('_', ' ')} takes {share:.0f} % of the time."


def _same_shape(one: Benched, baseline: Benched) -> None:
    """Raise ParameterError where two were not timed in the same rounds and inputs."""
    if one.medians_s.shape != baseline.medians_s.shape:
        raise ParameterError(
            f"{one.candidate} was timed in (rounds, inputs) {one.medians_s.shape}, {baseline.candidate} in "
            f"{baseline.medians_s.shape}: a comparison needs the same rounds and inputs"
        )


def _rtf(seconds: np.ndarray, audio_s: np.ndarray) -> np.ndarray:
    """(draws, R, N) twice -> (draws,): ratio of sums."""
    return seconds.sum((1, 2)) / audio_s.sum((1, 2))


def _quantile(seconds: np.ndarray, q: float) -> np.ndarray:
    """(draws, R, N[, P]) -> (draws,) of all timings."""
    return np.quantile(seconds.reshape(len(seconds), -1), q, axis=1)
