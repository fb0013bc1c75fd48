"""What lies around the networks? Lengths in whole frames, and the package's synthesis, frame by frame.

Harmonics are a train of pulses through a filter, noise is shaped, and a third spectrum says its phases itself: their
sum, 80 frames a second of 1,200 samples, is added up where frames overlap (see `hibari.dsp`, whose frames lie in
columns).
"""

from __future__ import annotations

import functools

import numpy as np

from lib.errors import require
from lib.systems.hibari import PACKAGE
from lib.systems.hibari_small.config import N_BINS

RATE, HOP, N_FFT = 24_000, 300, 1_200
LOUDEST = 7.0  # of a logarithm of a magnitude
LONGEST = 200  # times 25 ms of a phoneme: what is said longer is a fault
NOISE_FRAMES = 800  # 10 s of noise are drawn once and begun anywhere: to draw it each time is 40 % of the synthesis


def lengths(logarithms: np.ndarray) -> np.ndarray:
    """Frames of each phoneme (n,) int, an even number: the teacher counts in 25 ms, of which a phoneme has at least
    one, and tells the logarithm of one more.
    """
    return 2 * np.expm1(logarithms).round().clip(1, LONGEST).astype(np.int64)


def held(known: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """What is known of phonemes (n, width), each held for its frames (n,) -> (F, width + N_PLACE) float32."""
    index, places = at_frames(frames)
    return np.concatenate([known[index], places], 1).astype(np.float32)


def at_frames(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each frame which phoneme it belongs to (F,), and (F, N_PLACE) float32: how much of that is over, and the
    logarithm of how long it is.
    """
    index = np.repeat(np.arange(len(frames)), frames)
    begin = np.cumsum(frames) - frames
    over = (np.arange(len(index)) - begin[index] + 0.5) / frames[index]
    return index, np.stack([over, np.log(frames[index])], 1).astype(np.float32)


def spoken(spectra: np.ndarray, hz: np.ndarray, seed: int | tuple[int, ...]) -> np.ndarray:
    """The waveform (F * HOP,) float32. spectra: (F, N_SPECTRA); hz: F0 (F,), 0 where unvoiced."""
    transforms = require("scipy.fft", "scipy")
    harmonic, turn, noise, free, phase = (spectra[:, i * N_BINS : (i + 1) * N_BINS] for i in range(5))
    n = len(hz)
    first = int(np.random.default_rng(seed).integers(NOISE_FRAMES))
    whole = drawn()[np.arange(first, first + n) % NOISE_FRAMES]
    whole *= _magnitude(noise)
    whole += _polar(_magnitude(free), phase)
    sounding = sounding_frames(hz)
    if sounding.any():
        pulses = require("hibari.dsp", PACKAGE).pulses(hz)
        around = np.pad(pulses, N_FFT // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(around, N_FFT)[::HOP][:n][sounding]
        excited = transforms.rfft(frames * (_window() / (N_FFT / 4)), axis=1, overwrite_x=True)
        excited *= _polar(_magnitude(harmonic[sounding]), np.pi * np.tanh(turn[sounding]))
        whole[sounding] += excited
    return _overlapped(transforms.irfft(whole, N_FFT, axis=1, overwrite_x=True))


@functools.cache
def drawn() -> np.ndarray:
    """complex64 (NOISE_FRAMES, N_BINS), each part of variance 1."""
    return np.random.default_rng(0).standard_normal((NOISE_FRAMES, 2 * N_BINS), np.float32).view(np.complex64)


def _magnitude(logarithm: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(logarithm, np.float32(LOUDEST)))


def _polar(magnitude: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """complex64 of the same shape."""
    made = np.empty(magnitude.shape, np.complex64)
    np.multiply(np.cos(phase), magnitude, out=made.real)
    np.multiply(np.sin(phase), magnitude, out=made.imag)
    return made


def sounding_frames(hz: np.ndarray) -> np.ndarray:
    """Frames (F,) bool whose window holds pulses: those near a voiced one."""
    voiced = np.pad(hz > 0, 3)
    return np.lib.stride_tricks.sliding_window_view(voiced, 7).any(1)


@functools.cache
def _window() -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


def _overlapped(frames: np.ndarray) -> np.ndarray:
    """Windowed frames (F, N_FFT), added up and divided by what the windows come to, from the first one's middle on."""
    n, parts = len(frames), N_FFT // HOP
    frames = (frames * _window()).reshape(n, parts, HOP)
    square = np.square(_window()).reshape(parts, HOP)
    made, weight = np.zeros((n + parts - 1, HOP), np.float32), np.zeros((n + parts - 1, HOP), np.float32)
    for part in range(parts):
        made[part : part + n] += frames[:, part]
        weight[part : part + n] += square[part]
    made /= np.maximum(weight, np.float32(1e-11))
    return made.reshape(-1)[N_FFT // 2 :][: n * HOP]
