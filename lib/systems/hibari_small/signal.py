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
PARTS = N_FFT // HOP  # of a frame, each as long as a hop
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
    return Synthesis(hz, seed).push(spectra)


class Synthesis:
    """A sentence on its way from spectra to samples, some frames at a time. hz: F0 of each (F,), 0 where unvoiced."""

    def __init__(self, hz: np.ndarray, seed: int | tuple[int, ...]):
        self.hz, self._sounding = hz, sounding_frames(hz)
        self._n_done = 0
        self._noise = int(np.random.default_rng(seed).integers(NOISE_FRAMES))
        self._sums = np.zeros((PARTS - 1, HOP), np.float32)  # of frames done, where more will be added

    def push(self, spectra: np.ndarray) -> np.ndarray:
        """The spectra of the next n frames, (n, N_SPECTRA), -> the samples that are known now and were not before,
        float32: n * HOP, of the first frames N_FFT / 2 less, of the last ones as many more.
        """
        begin, n = self._n_done, len(spectra)
        last = begin + n == len(self.hz)
        frames = (self._frames(spectra, begin) * _window()).reshape(n, PARTS, HOP)
        made = np.concatenate([self._sums, np.zeros((n, HOP), np.float32)])
        for part in reversed(range(PARTS)):  # in this order sums are the same wherever one begins
            made[part : part + n] += frames[:, part]
        self._n_done, self._sums = begin + n, made[n:].copy()
        known = made if last else made[:n]
        known /= _weights(begin, len(known), len(self.hz))
        outside = PARTS // 2  # rows that the first frame reaches ahead of the sentence
        return known[max(0, outside - begin) : outside + len(self.hz) - begin].reshape(-1)

    def _frames(self, spectra: np.ndarray, begin: int) -> np.ndarray:
        """(n, N_FFT), not yet windowed."""
        transforms = require("scipy.fft", "scipy")
        harmonic, turn, noise, free, phase = (spectra[:, i * N_BINS : (i + 1) * N_BINS] for i in range(5))
        end = begin + len(spectra)
        whole = drawn()[np.arange(self._noise + begin, self._noise + end) % NOISE_FRAMES]
        whole *= _magnitude(noise)
        whole += _polar(_magnitude(free), phase)
        sounding = self._sounding[begin:end]
        if sounding.any():
            # From the beginning, for a phase is a sum; as far as the last window reaches, between two frames each.
            pulses = require("hibari.dsp", PACKAGE).pulses(self.hz[: end + 2])
            around = np.pad(pulses, N_FFT // 2, mode="reflect")[begin * HOP :]
            frames = np.lib.stride_tricks.sliding_window_view(around, N_FFT)[::HOP][: len(spectra)][sounding]
            excited = transforms.rfft(frames * (_window() / (N_FFT / 4)), axis=1, overwrite_x=True)
            excited *= _polar(_magnitude(harmonic[sounding]), np.pi * np.tanh(turn[sounding]))
            whole[sounding] += excited
        return transforms.irfft(whole, N_FFT, axis=1, overwrite_x=True)


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


def _weights(first: int, n_rows: int, n_frames: int) -> np.ndarray:
    """What the sums are divided by, (n_rows, HOP), from row `first` on: squares of the windows that lie there."""
    square = np.square(_window()).reshape(PARTS, HOP)
    frame = first + np.arange(n_rows)[:, None] - np.arange(PARTS)  # whose part lies in a row
    there = (frame >= 0) & (frame < n_frames)
    weights = np.repeat(square.sum(0)[None], n_rows, 0)
    for row in np.flatnonzero(~there.all(1)):
        weights[row] = square[there[row]].sum(0)
    return np.maximum(weights, np.float32(1e-11))
