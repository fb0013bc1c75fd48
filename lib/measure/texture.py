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


@dataclass(frozen=True)
class Texture:
    """band_variance: (80,) of each band's log-mel over time, dB^2; contrast: mean variance over the bands of a frame,
    dB^2; modulation: (33,) power of the bands' movement, dB^2, at `rates_hz`.
    """

    band_variance: np.ndarray
    contrast: float
    modulation: np.ndarray

    @property
    def rates_hz(self) -> np.ndarray:
        """Of the modulation spectrum, from 0 to half the frame rate."""
        return np.fft.rfftfreq(WINDOW, HIFIGAN.hop / HIFIGAN.sample_rate)


def texture(log_mels: Sequence[np.ndarray]) -> Texture:
    """Of clips that belong together, each a log-mel (F, 80): all their spoken frames. AudioError for too short ones."""
    decibels = [_DECIBELS * np.asarray(mel, np.float64) for mel in log_mels]
    spoken = np.concatenate([mel[_loud(mel)] for mel in decibels])
    windows = [
        mel[begin : begin + WINDOW]
        for mel in decibels
        for begin in range(0, len(mel) - WINDOW + 1, WINDOW // 2)
        if _loud(mel)[begin : begin + WINDOW].mean() > 0.5
    ]
    if not windows:
        raise AudioError(f"no clip has {WINDOW} spoken frames in a row: give longer ones")
    moving = np.stack(windows)  # (n, WINDOW, 80)
    moving = (moving - moving.mean(1, keepdims=True)) * np.hanning(WINDOW)[None, :, None]
    power = np.abs(np.fft.rfft(moving, axis=1)) ** 2
    return Texture(spoken.var(0), float(spoken.var(1).mean()), power.mean((0, 2)))


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
