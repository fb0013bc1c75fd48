"""What does `istft` learn from? Voices of every kind, and when the glottis of each closes.

A clip's pulses become one rising line, cycles over time: whole numbers at the pulses that Praat finds, and through
stretches without voice the F0 of both shores bridged, so that the line never stops. From it come the phase of the
pulse train and F0 itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lib import progress
from lib.corpora import flite
from lib.corpora.base import Corpus, Utterance
from lib.errors import ParameterError, require
from lib.features import HIFIGAN
from lib.files import cache_folder, content_key, write_atomic
from lib.prosody import CEILING_HZ, FLOOR_HZ
from lib.training import sources

RECORDINGS = "prompts"
FEWEST_PULSES = 20  # a clip with fewer has no pitch to learn
_STEP_S = 0.005  # between the knots of a bridge
_GRID_S = 0.0025  # between the knots of a smooth line
_SMOOTH_S = 0.06  # the Hann window that smoothes it, twice its width at half height
_BEYOND_S = 1.0  # how far the line goes on before the first pulse and after the last: beyond any context


@dataclass(frozen=True)
class Data:
    """The recipe's `data` part."""

    voices: tuple[
        str, ...
    ]  # embedded systems that read the Gutenberg sentences, "prompts", "flite-slt" and so on
    train: int = 0  # training sentences of each embedded system (0: all)
    flite: int = 0  # training sentences of each of Flite's voices (0: as `train`)
    validation: int = 0  # clips of each voice to judge on (0: all)

    def __post_init__(self) -> None:
        if not self.voices:
            raise ParameterError("data.voices is empty: name at least one voice to learn")


@dataclass(frozen=True)
class Cycles:
    """times: of knots, seconds, rising; cycles: at them, whole numbers at pulses; voiced: whether the knot is one of
    Praat's pulses.
    """

    times: np.ndarray
    cycles: np.ndarray
    voiced: np.ndarray

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Cycles at any time, float64."""
        return np.interp(seconds, self.times, self.cycles)

    def hz(self, seconds: np.ndarray, width_s: float = 0.02) -> np.ndarray:
        """F0 at any time: cycles within `width_s` around it, which evens out the jitter of single pulses."""
        return (self.at(seconds + width_s / 2) - self.at(seconds - width_s / 2)) / width_s

    def is_voiced(self, seconds: np.ndarray) -> np.ndarray:
        """Whether a time lies between two pulses that Praat found in one stretch."""
        return np.interp(seconds, self.times, self.voiced.astype(float)) > 0.5


def corpus(data: Data) -> Corpus:
    """All voices' training and validation clips; speech that the cache does not hold is made now.

    Raises MissingDataError for recordings or voices that this machine cannot get: leave them out of the recipe's
    `voices`.
    """
    from lib.corpora import gutenberg, prompts

    parts = []
    for voice in data.voices:
        if voice == RECORDINGS:
            whole = prompts.load()
            chosen = whole.split("validation")[: data.validation or None] + whole.split("train")
            parts.append(Corpus(voice, whole.source, whole.licence, chosen))
        elif voice.startswith(flite.PREFIX):
            sentences = gutenberg.split("validation", data.validation or None) + gutenberg.split(
                "train", data.flite or data.train or None
            )
            parts.append(flite.corpus(voice.removeprefix(flite.PREFIX), sentences))
        else:
            parts.append(
                sources.corpus(sources.Data(voices=(voice,), train=data.train, validation=data.validation))
            )
    source, licence = "; ".join(p.source for p in parts), "; ".join(sorted({p.licence for p in parts}))
    return Corpus(
        "+".join(data.voices),
        source,
        licence,
        tuple(u for p in parts for u in p.utterances),
        {k: v for p in parts for k, v in p.skipped.items()},
    )


def all_cycles(utterances: tuple[Utterance, ...]) -> dict[str, Cycles]:
    """id -> the cycles of its clip; clips without a voice are left out. Praat's pulses are kept in the cache."""
    cycles = {}
    for utterance in progress.track(utterances, "pulses", unit="clip"):
        waveform = utterance.load(HIFIGAN.sample_rate)
        path = cache_folder(
            "pulse-times", (key := content_key("pulse times", waveform.tobytes()))[:2], f"{key}.f64"
        )
        if not path.exists():
            write_atomic(path, pulse_times(waveform).tobytes())
        times = np.fromfile(path, np.float64)
        if len(times) >= FEWEST_PULSES:
            cycles[utterance.id] = smoothed(bridged(times))
    return cycles


def pulse_times(waveform: np.ndarray) -> np.ndarray:
    """Seconds at which the glottis closes, (n,) float64, by Praat's cross-correlation method; waveform at 22.05 kHz."""
    parselmouth = require("parselmouth", "praat-parselmouth==0.4.7")
    if len(waveform) < 3 * HIFIGAN.sample_rate / FLOOR_HZ:
        return np.zeros(0)  # shorter than Praat's window
    sound = parselmouth.Sound(waveform.astype(np.float64), HIFIGAN.sample_rate)
    points = parselmouth.praat.call(sound, "To PointProcess (periodic, cc)...", FLOOR_HZ, CEILING_HZ)
    if parselmouth.praat.call(points, "Get number of points") < 2:
        return np.zeros(0)
    return np.ravel(parselmouth.praat.call(points, "To Matrix").values).astype(np.float64)


def bridged(pulses: np.ndarray) -> Cycles:
    """The rising line through pulses at `pulses` seconds.

    A gap longer than the lowest voice's period is a stretch without voice: F0 goes straight from one shore's to the
    other's, stretched a little so that a whole number of cycles fits in.
    """
    gaps = np.diff(pulses)
    joined = gaps <= 1.25 / FLOOR_HZ
    # F0 at each pulse as its shore knows it: the median of the nearest periods, for at the very edge they are irregular
    periods = np.where(joined, gaps, np.nan)
    typical = np.nanmedian(periods)

    def shore(index: int, direction: int) -> float:
        near = periods[max(index - 4, 0) : index] if direction < 0 else periods[index : index + 4]
        near = near[~np.isnan(near)]
        return 1 / (np.median(near) if len(near) else typical)

    times, cycles, voiced, count = [pulses[0]], [0.0], [True], 0.0
    for index, gap in enumerate(gaps):
        if joined[index]:
            count += 1
        else:
            low, high = shore(index, -1), shore(index + 1, 1)
            inside = np.arange(_STEP_S, gap - _STEP_S / 2, _STEP_S)
            line = low * inside + (high - low) * inside**2 / (2 * gap)
            whole = gap * (low + high) / 2
            stretch = max(1, round(whole)) / whole
            times += list(pulses[index] + inside)
            cycles += list(count + line * stretch)
            voiced += [False] * len(inside)
            count += max(1, round(whole))
        times.append(pulses[index + 1])
        cycles.append(count)
        voiced.append(True)
    first, last = shore(0, 1), shore(len(pulses) - 1, -1)
    times = [times[0] - _BEYOND_S, times[0] - _STEP_S, *times, times[-1] + _STEP_S, times[-1] + _BEYOND_S]
    cycles = [-first * _BEYOND_S, -first * _STEP_S, *cycles, count + last * _STEP_S, count + last * _BEYOND_S]
    return Cycles(np.array(times), np.array(cycles), np.array([False, False, *voiced, False, False]))


def smoothed(line: Cycles) -> Cycles:
    """The line without the jitter of single pulses, which blurs every harmonic above the first few.

    What the finished vocoder hears is F0 read from a mel, which is smooth. The line stays where it is: it is averaged
    over time, and F0 hardly bends within the window.
    """
    times = np.arange(line.times[0], line.times[-1], _GRID_S)
    half = round(_SMOOTH_S / 2 / _GRID_S)
    window = np.hanning(2 * half + 1)
    cycles = np.convolve(line.at(times), window / window.sum(), mode="valid")
    times = times[half:-half]
    return Cycles(times, cycles, line.is_voiced(times))
