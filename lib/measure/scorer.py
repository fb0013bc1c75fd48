"""Everything a clip is scored by, computed once: the metrics behind one object that remembers by content.

A score is kept on disk under the hash of the samples, the sample rate, the metric and the versions behind it,
so a notebook that runs again, or another one that meets the same clip, reads it back. `summarise` and `compare`
turn the scores of many clips into corpus values with intervals, named as the results contract names them.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from lib import audio
from lib.errors import ParameterError, unknown
from lib.files import cache_folder, content_key, write_atomic
from lib.measure import aligned, intelligibility, quality, stats
from lib.measure.intelligibility import ErrorCounts

_PACKAGES = {  # metric -> (what people call it, distribution)
    "mos_predicted": ("DistillMOS", "distillmos"),
    "dnsmos_ovrl": ("DNSMOS P.835, speechmos", "speechmos"),
    "pesq_wb": ("PESQ P.862.2, pesq", "pesq"),
    "stoi": ("STOI, pystoi", "pystoi"),
    "f0_error_cents": ("F0 by Praat, praat-parselmouth", "praat-parselmouth"),
    "speaker_similarity": ("Resemblyzer", "resemblyzer"),
}
ALIGNED = ("pesq_wb", "stoi", "f0_error_cents")  # compare with the original
_RECOGNISED = ("wer", "cer", "wer_raw", "cer_raw")
DEFAULT_METRICS = ("wer", "mos_predicted", "dnsmos_ovrl")
_REVISION = 1  # raise it when a metric here comes to mean something else, so that no old score is read back


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
    """All scores of one clip. recognition: None where `wer` was not asked for; values: metric name -> score."""

    recognition: Recognition | None
    values: dict[str, float] = field(default_factory=dict)


class Scorer:
    """The metrics, loaded when first needed. threads: clips judged at once; cache: whether scores are kept on disk.

    Predicted MOS runs on torch's own threads (`environment.pin_threads`), one clip after the other: that is as fast
    as clips side by side. The judge and DNSMOS gain from neighbours, not from more threads for one clip.
    """

    def __init__(self, *, threads: int = 2, cache: bool = True, compute_type: str = "int8"):
        if threads < 1:
            raise ParameterError(f"{threads} threads cannot score anything: give at least 1")
        self.threads, self.cache, self.compute_type = threads, cache, compute_type
        self._judge_loaded: intelligibility.Judge | None = None
        self._lock = threading.Lock()
        self._memory: dict[str, object] = {}  # content key -> score

    def transcript(self, waveform: np.ndarray, sample_rate: int) -> str:
        """What the judge hears (`intelligibility.Judge.transcribe`)."""
        return self._remember(
            "wer", (waveform, sample_rate), lambda w: self._judge().transcribe(w, sample_rate)
        )

    def word_errors(self, waveform: np.ndarray, sample_rate: int, text: str) -> Recognition:
        """The transcript compared with the text that was to be spoken."""
        heard = self.transcript(waveform, sample_rate)
        words, characters = intelligibility.word_errors, intelligibility.character_errors
        return Recognition(
            heard,
            words(text, heard),
            characters(text, heard),
            words(text, heard, normalise=False),
            characters(text, heard, normalise=False),
        )

    def mos(self, waveform: np.ndarray, sample_rate: int) -> float:
        """`quality.predicted_mos`."""
        return self._remember(
            "mos_predicted", (waveform, sample_rate), lambda w: quality.predicted_mos(w, sample_rate)
        )

    def dnsmos(self, waveform: np.ndarray, sample_rate: int) -> float:
        """`quality.dnsmos_ovrl`."""
        return self._remember(
            "dnsmos_ovrl", (waveform, sample_rate), lambda w: quality.dnsmos_ovrl(w, sample_rate, threads=1)
        )

    def pesq(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        """`aligned.pesq_wb`: of aligned pairs only."""
        return self._remember(
            "pesq_wb",
            (degraded, sample_rate),
            lambda w: aligned.pesq_wb(reference, w, sample_rate),
            beside=(reference, sample_rate),
        )

    def stoi(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        """`aligned.stoi`: of aligned pairs only."""
        return self._remember(
            "stoi",
            (degraded, sample_rate),
            lambda w: aligned.stoi(reference, w, sample_rate),
            beside=(reference, sample_rate),
        )

    def f0_error(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        """`aligned.f0_error_cents`: of aligned pairs only."""
        return self._remember(
            "f0_error_cents",
            (degraded, sample_rate),
            lambda w: aligned.f0_error_cents(reference, w, sample_rate),
            beside=(reference, sample_rate),
        )

    def embedding(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """`quality.speaker_embedding`."""

        def compute(clip: np.ndarray) -> list[float]:
            return [float(x) for x in quality.speaker_embedding(clip, sample_rate)]

        return np.asarray(self._remember("speaker_similarity", (waveform, sample_rate), compute), np.float32)

    def similarity(self, first: tuple[np.ndarray, int], second: tuple[np.ndarray, int]) -> float:
        """`quality.speaker_similarity` of two clips (waveform, sample_rate): is it the same voice?"""
        return quality.speaker_similarity(self.embedding(*first), self.embedding(*second))

    def rate(
        self,
        waveform: np.ndarray,
        sample_rate: int,
        text: str | None = None,
        *,
        original: np.ndarray | None = None,
        voice: tuple[np.ndarray, int] | None = None,
        metrics: Sequence[str] = DEFAULT_METRICS,
    ) -> ClipScores:
        """The scores of one clip; see `rate_all`."""
        originals = None if original is None else [original]
        return self.rate_all(
            [(waveform, sample_rate, text)], originals=originals, voice=voice, metrics=metrics
        )[0]

    def rate_all(
        self,
        clips: Sequence[tuple[np.ndarray, int, str | None]],
        *,
        originals: Sequence[np.ndarray] | None = None,
        voice: tuple[np.ndarray, int] | None = None,
        metrics: Sequence[str] = DEFAULT_METRICS,
    ) -> list[ClipScores]:
        """The scores of (waveform, sample_rate, text) clips, in their order.

        metrics: `wer` (brings the other three error rates), `mos_predicted`, `dnsmos_ovrl`; with `originals`,
        one aligned waveform per clip at its sample rate, also `pesq_wb`, `stoi` and `f0_error_cents`; with
        `voice`, a clip of the speaker who should be heard, also `speaker_similarity`. Raises AudioError naming
        the first clip that is no usable audio.
        """
        known = ("wer", *_PACKAGES)
        for metric in metrics:
            if metric not in known:
                raise unknown("clip metric", metric, known)
            if metric in ALIGNED and (originals is None or len(originals) != len(clips)):
                raise ParameterError(
                    f"{metric} compares with the original: give `originals`, one for each of {len(clips)} clips"
                )
            if metric == "speaker_similarity" and voice is None:
                raise ParameterError(
                    "speaker_similarity compares with a voice: give `voice`, a clip of the speaker"
                )
        if "wer" in metrics and any(text is None for _, _, text in clips):
            raise ParameterError(
                "wer compares with the text that was to be spoken: give the text of every clip"
            )
        sounds = [
            (audio.check(waveform, rate, f"clip {i}"), rate) for i, (waveform, rate, _) in enumerate(clips)
        ]
        columns: dict[str, list] = {}
        if "wer" in metrics:
            self._side_by_side(
                self.transcript, sounds
            )  # now every transcript is known, and the next line reads it back
            columns["wer"] = [self.word_errors(*sound, text) for sound, (_, _, text) in zip(sounds, clips)]
        if "mos_predicted" in metrics:
            columns["mos_predicted"] = [self.mos(*sound) for sound in sounds]
        if "dnsmos_ovrl" in metrics:
            columns["dnsmos_ovrl"] = self._side_by_side(self.dnsmos, sounds)
        for metric, call in zip(ALIGNED, (self.pesq, self.stoi, self.f0_error)):
            if metric in metrics:
                columns[metric] = [call(original, *sound) for original, sound in zip(originals, sounds)]
        if "speaker_similarity" in metrics:
            columns["speaker_similarity"] = [self.similarity(voice, sound) for sound in sounds]
        recognised = columns.pop("wer", [None] * len(clips))
        return [
            ClipScores(recognised[i], {name: column[i] for name, column in columns.items()})
            for i in range(len(clips))
        ]

    def _judge(self) -> intelligibility.Judge:
        with self._lock:
            if self._judge_loaded is None:
                self._judge_loaded = intelligibility.Judge(compute_type=self.compute_type, threads=self.threads)
            return self._judge_loaded

    def _side_by_side(self, call: Callable, sounds: Sequence[tuple[np.ndarray, int]]) -> list:
        """call(*sound) of every sound, `threads` at a time; the first one alone, for it loads the network."""
        if not sounds:
            return []
        with ThreadPoolExecutor(self.threads) as pool:
            return [call(*sounds[0]), *pool.map(lambda sound: call(*sound), sounds[1:])]

    def _remember(
        self,
        metric: str,
        sound: tuple[np.ndarray, int],
        compute: Callable[[np.ndarray], object],
        beside: tuple[np.ndarray, int] | None = None,
    ):
        """The stored score of a clip (beside another), or compute(clip), then stored."""
        clip = audio.check(*sound)
        parts = [clip.tobytes(), int(sound[1])]
        if beside is not None:
            parts += [audio.check(*beside, "reference").tobytes(), int(beside[1])]
        key = content_key(*parts, metric, source(metric, self.compute_type), _REVISION)
        if key in self._memory:
            return self._memory[key]
        path = cache_folder("scores", metric) / f"{key}.json"
        if self.cache:
            try:
                self._memory[key] = json.loads(path.read_text())["score"]
                return self._memory[key]
            except (
                OSError,
                ValueError,
                KeyError,
                TypeError,
            ):  # not there, or cut short by an older crash: compute it again
                pass
        score = compute(clip)
        if self.cache:
            write_atomic(path, json.dumps({"score": score}).encode())
        self._memory[key] = score
        return score


@functools.cache
def source(metric: str, compute_type: str = "int8") -> str:
    """Which implementation and version a metric's value comes from, for a result's `source`."""
    if metric in _RECOGNISED:
        return intelligibility.judge_source(compute_type)
    if metric not in _PACKAGES:
        raise unknown("clip metric", metric, (*_RECOGNISED, *_PACKAGES))
    label, distribution = _PACKAGES[metric]
    try:
        return f"{label} {version(distribution)}"
    except PackageNotFoundError:  # the metric itself says how to install it
        return label


def summarise(scores: Sequence[ClipScores], *, seed: int = 0) -> dict[str, stats.Estimate]:
    """Corpus values with 95 % intervals over clips: error rates as sums of errors over sums of lengths, the
    rest as means.
    """
    if not scores:
        raise ParameterError("there are no scores to summarise")
    summary = {}
    if scores[0].recognition is not None:
        for metric in _RECOGNISED:
            counts = [getattr(clip.recognition, metric) for clip in scores]
            summary[metric] = stats.ratio_ci([c.errors for c in counts], [c.length for c in counts], seed=seed)
    for metric in scores[0].values:
        summary[metric] = stats.mean_ci([clip.values[metric] for clip in scores], seed=seed)
    return summary


def compare(
    scores: Sequence[ClipScores], baseline: Sequence[ClipScores], *, seed: int = 0
) -> dict[str, stats.Difference]:
    """`scores` minus `baseline` on the same texts in the same order, for every metric that both have."""
    if len(scores) != len(baseline) or not scores:
        raise ParameterError(
            f"{len(scores)} clips cannot be paired with {len(baseline)}: compare the same texts, in order"
        )
    difference = {}
    if scores[0].recognition is not None and baseline[0].recognition is not None:
        for metric in _RECOGNISED:
            now, before = ([getattr(clip.recognition, metric) for clip in side] for side in (scores, baseline))
            difference[metric] = stats.paired_ratio_difference(
                [c.errors for c in now],
                [c.length for c in now],
                [c.errors for c in before],
                [c.length for c in before],
                seed=seed,
            )
    for metric in (name for name in scores[0].values if name in baseline[0].values):
        difference[metric] = stats.paired_difference(
            [clip.values[metric] for clip in scores], [clip.values[metric] for clip in baseline], seed=seed
        )
    return difference
