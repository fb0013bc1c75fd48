"""Is speech over-smooth? What a spectrogram's movement says where each value by itself looks right.

A network that is unsure says the mean of all that could be, and the mean moves less than any of it: bands vary less
over time (global variance, Toda and Tokuda 2007), peaks and valleys of a frame lie closer together, and fast changes go
first (the modulation spectrum; Takamichi et al. 2016). Nothing is aligned: texts are the same, durations need not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib import audio, features
from lib.errors import AudioError
from lib.features import HIFIGAN

WINDOW = 64  # frames of a modulation spectrum, 0.74 s
FLOOR_DB = 50.0  # frames this far below the loudest of a clip are pauses, which say nothing of the voice
_DECIBELS = 20 / np.log(10)  # of a natural logarithm of amplitude


@dataclass(frozen=True, eq=False)
class Clips:
    """What each of n clips adds to a texture: the number of its spoken frames (n,), the sums of each band's values and
    of their squares (n, 80), dB and dB^2, and of the frames' variances over the bands (n,); the number of its windows
    (n,), and the sum of their power (n, 33).
    """

    frames: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    contrast: np.ndarray
    windows: np.ndarray
    power: np.ndarray

    @property
    def n(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class Texture:
    """band_variance: (80,) of each band's log-mel over time, dB^2; contrast: mean variance over the bands of a frame,
    dB^2; modulation: (33,) power of the bands' movement, dB^2, at `rates_hz`; clips: what it was made of.
    """

    band_variance: np.ndarray
    contrast: float
    modulation: np.ndarray
    clips: Clips

    @property
    def rates_hz(self) -> np.ndarray:
        """Of the modulation spectrum, from 0 to half the frame rate."""
        return np.fft.rfftfreq(WINDOW, HIFIGAN.hop / HIFIGAN.sample_rate)


def texture(log_mels: Sequence[np.ndarray]) -> Texture:
    """Of clips that belong together, each a log-mel (F, 80): all their spoken frames. AudioError for too short ones."""
    return pooled(Clips(*map(np.array, zip(*map(_sums, log_mels)))))


def pooled(clips: Clips, counts: np.ndarray | None = None) -> Texture:
    """The texture of clips. counts: (n,) how often each counts, by default once."""
    counts = np.ones(clips.n) if counts is None else np.asarray(counts, float)
    windows, frames = counts @ clips.windows, counts @ clips.frames
    if not windows:
        raise AudioError(f"no clip has {WINDOW} spoken frames in a row: give longer ones")
    mean = counts @ clips.total / frames
    variance = counts @ clips.squares / frames - mean**2
    return Texture(variance, float(counts @ clips.contrast / frames), counts @ clips.power / windows, clips)


def _sums(log_mel: np.ndarray) -> tuple[int, np.ndarray, np.ndarray, float, int, np.ndarray]:
    """The fields of `Clips` for one clip (F, 80)."""
    decibels = _DECIBELS * np.asarray(log_mel, np.float64)
    loud = _loud(decibels)
    spoken = decibels[loud]
    windows = [
        decibels[begin : begin + WINDOW]
        for begin in range(0, len(decibels) - WINDOW + 1, WINDOW // 2)
        if loud[begin : begin + WINDOW].mean() > 0.5
    ]
    power = np.zeros(WINDOW // 2 + 1)
    if windows:
        moving = np.stack(windows)  # (windows, WINDOW, 80)
        moving = (moving - moving.mean(1, keepdims=True)) * np.hanning(WINDOW)[None, :, None]
        power = (np.abs(np.fft.rfft(moving, axis=1)) ** 2).mean(2).sum(0)
    return len(spoken), spoken.sum(0), np.square(spoken).sum(0), spoken.var(1).sum(), len(windows), power


def of_clips(clips: Sequence[tuple[np.ndarray, int]]) -> Texture:
    """Of clips (waveform, sample rate)."""
    rate = HIFIGAN.sample_rate
    return texture([features.log_mel(audio.resample(waveform, own, rate)) for waveform, own in clips])


def smoother(one: Texture, other: Texture) -> dict[str, float]:
    """How much less one moves than another, as ratios below 1: global variance (the median band's), contrast, and fast
    modulation, above 16 Hz.
    """
    fast = one.rates_hz > 16
    return {
        "global variance": float(np.median(one.band_variance / other.band_variance)),
        "contrast": one.contrast / other.contrast,
        "fast modulation": float(one.modulation[fast].sum() / other.modulation[fast].sum()),
    }


def _loud(decibels: np.ndarray) -> np.ndarray:
    level = decibels.mean(1)
    return level > level.max() - FLOOR_DB
