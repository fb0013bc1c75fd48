"""How fast is it? One timing loop for every notebook, and the cold start of a process of its own.

RTF is compute seconds per audio second (lower is better), RTFx its inverse; latency is the time of one whole
utterance. The loop warms up apart from timing, takes the candidates in turns so that a busy minute of the
machine hits all of them, waits for the GPU before the clock stops, and keeps the median of the repeats of each
utterance; intervals are over utterances.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lib.errors import AudioError, ParameterError
from lib.measure import fresh, stats


@dataclass(frozen=True, eq=False)
class Timing:
    """One candidate's times. seconds: (repeats, inputs); audio_s: (inputs,) of speech made (or heard).

    stages: stage name -> (repeats, inputs) seconds, where the candidate reports them; load_before, load_after:
    the machine's one-minute load average around the whole comparison; threads: torch's, None where torch is not loaded.
    """

    name: str
    seconds: np.ndarray
    audio_s: np.ndarray
    stages: dict[str, np.ndarray] = field(default_factory=dict)
    load_before: float = float("nan")
    load_after: float = float("nan")
    threads: int | None = None
    seed: int = 0

    @property
    def medians_s(self) -> np.ndarray:
        """(inputs,) median seconds of each input over the repeats."""
        return np.median(self.seconds, axis=0)

    @property
    def rtf(self) -> stats.Estimate:
        """Sum of the median seconds over sum of the audio seconds."""
        return stats.ratio_ci(self.medians_s, self.audio_s, seed=self.seed)

    @property
    def throughput_rtfx(self) -> stats.Estimate:
        """Audio seconds per compute second, one utterance after the other."""
        return stats.ratio_ci(self.audio_s, self.medians_s, seed=self.seed)

    @property
    def latency_ms_p50(self) -> stats.Estimate:
        """Median over inputs of the time of a whole utterance."""
        return stats.median_ci(1000 * self.medians_s)

    @property
    def latency_ms_p90(self) -> stats.Estimate:
        """90th percentile over inputs of the time of a whole utterance."""
        return stats.quantile_ci(1000 * self.medians_s, 0.9)

    @property
    def stage_rtf(self) -> dict[str, float]:
        """Each stage's share of the RTF: its median seconds, summed over inputs, per second of audio."""
        return {
            name: float(np.median(seconds, axis=0).sum() / self.audio_s.sum())
            for name, seconds in self.stages.items()
        }

    def metrics(self) -> dict[str, stats.Estimate]:
        """The four speeds under the names of the results contract."""
        return {
            name: getattr(self, name) for name in ("rtf", "latency_ms_p50", "latency_ms_p90", "throughput_rtfx")
        }

    def detail(self) -> dict[str, object]:
        """What a result's `detail` should say of how this was timed."""
        return {
            "stages": {name: round(value, 5) for name, value in self.stage_rtf.items()},
            "repeats": len(self.seconds),
            "threads": self.threads,
            "load_before": self.load_before,
            "load_after": self.load_after,
        }

    def speedup_over(self, baseline: "Timing") -> stats.Estimate:
        """How many times as fast as the baseline, per second of audio, on the same inputs (paired by input)."""
        if len(self.medians_s) != len(baseline.medians_s):
            raise ParameterError(
                f"{self.name} was timed on {len(self.medians_s)} inputs, {baseline.name} on "
                f"{len(baseline.medians_s)}: a speed-up compares the same inputs"
            )
        # Equal audio cancels; where a variant speaks faster or slower, both are taken per second of audio.
        own, other = (self.medians_s / self.audio_s.sum(), baseline.medians_s / baseline.audio_s.sum())
        return stats.ratio_ci(other, own, seed=self.seed)


def pin_threads(n: int) -> int:
    """Let torch compute with n threads in this process; returns how many it had.

    ONNX Runtime and OpenVINO sessions and CTranslate2 models take their number when they are built (`systems.load(...,
    threads=n)`), and idle ONNX Runtime threads spin unless told not to: they were seen to slow torch fivefold.
    """
    import torch

    if n < 1:
        raise ParameterError(f"{n} threads cannot compute: give at least 1")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    return before


def interleaved(
    candidates: Mapping[str, Callable[[object], object]],
    inputs: Sequence[object],
    *,
    repeats: int = 5,
    warmup: int = 1,
    seed: int = 0,
) -> dict[str, Timing]:
    """Time every candidate on every input, `repeats` times, in turns.

    candidates: name -> function of one input that returns a Speech, or the seconds of audio it made (or heard).
    warmup: passes over all inputs before the clock matters (each length may cost an allocation, a compilation,
    a tuning). The candidates follow one another on each input in an order drawn anew, so that none always meets
    the caches or the heat of the same one.
    """
    if not candidates or not len(inputs) or repeats < 1 or warmup < 0:
        raise ParameterError(
            f"{len(candidates)} candidates, {len(inputs)} inputs, {repeats} repeats, {warmup} warm-ups: "
            "give at least one candidate, input and repeat"
        )
    names, rng = list(candidates), np.random.default_rng(seed)
    shape = (repeats, len(inputs))
    seconds = {name: np.zeros(shape) for name in names}
    audio_s = {name: np.zeros(shape) for name in names}
    stages: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    load_before = _load_average()
    for _ in range(warmup):
        for value in inputs:
            for name in names:
                candidates[name](value)
    collecting = gc.isenabled()
    try:
        for repeat in range(repeats):
            gc.collect()
            gc.disable()  # as timeit does: a collection would land on whoever happens to run
            for index, value in enumerate(inputs):
                for name in (names[i] for i in rng.permutation(len(names))):
                    _synchronize()
                    begin = time.perf_counter()
                    result = candidates[name](value)
                    _synchronize()
                    seconds[name][repeat, index] = time.perf_counter() - begin
                    audio_s[name][repeat, index] = _audio_seconds(result, name)
                    for stage, spent in getattr(result, "seconds", {}).items():
                        stages[name].setdefault(stage, np.zeros(shape))[repeat, index] = spent
            if collecting:
                gc.enable()
    finally:
        if collecting:
            gc.enable()
    torch = sys.modules.get("torch")
    return {
        name: Timing(
            name,
            seconds[name],
            np.median(audio_s[name], axis=0),
            stages[name],
            load_before,
            _load_average(),
            None if torch is None else torch.get_num_threads(),
            seed,
        )
        for name in names
    }


@dataclass(frozen=True)
class ColdStart:
    """Medians over `runs` fresh processes. cold_start_s: from before the process exists to the end of the first
    sentence.
    """

    cold_start_s: float
    load_s: float
    first_sentence_s: float
    peak_rss_mb: float  # of the process that loaded the system and spoke all texts
    rss_before_mb: float  # of the same process before it loaded anything
    runs: int


def cold_start(
    system: str, target: str | None, texts: Sequence[str], *, threads: int = 2, runs: int = 3
) -> ColdStart:
    """Load a system in fresh processes and let it speak: cold start and peak memory of the same clean process.

    system, target, threads: as `systems.load` takes them. The first run reads from disk what later ones find in
    the kernel's cache, which is why the median of several is given.
    """
    if isinstance(texts, str) or not len(texts) or runs < 1:
        raise ParameterError("give a list of at least one sentence, and at least one run")
    from lib import systems

    systems.targets(system)  # an unknown name is an error here, before any process starts
    arguments = {
        "system": system,
        "target": target,
        "texts": list(texts),
        "threads": threads,
        "started": "parent",
    }
    done = [fresh.run("lib.measure.fresh:first_words", arguments, threads=threads) for _ in range(runs)]
    times = {
        name: float(np.median([run.value[name] for run in done]))
        for name in ("cold_start_s", "load_s", "first_sentence_s")
    }
    return ColdStart(
        **times,
        peak_rss_mb=float(np.median([run.peak_rss_mb for run in done])),
        rss_before_mb=float(np.median([run.rss_before_mb for run in done])),
        runs=runs,
    )


def _audio_seconds(result: object, name: str) -> float:
    length = float(getattr(result, "audio_s", result))
    if not length > 0:
        raise AudioError(f"{name} returned {length} s of audio: there is nothing to divide its time by")
    return length


def _synchronize() -> None:
    """Wait for the GPU, if this process has started to use one: its work is queued, not done, when a call returns."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _load_average() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
