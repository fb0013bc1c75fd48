"""Which numbers of `istft` are neither learnt nor heard in a mel? Frames, window, noise and the prior's matrices.

NumPy alone, so that torch and ONNX Runtime take the same ones.
"""

from __future__ import annotations

import functools

import numpy as np

from lib.features import HIFIGAN

RATE, HOP, SIZE, PAD = HIFIGAN.sample_rate, HIFIGAN.hop, HIFIGAN.n_fft, HIFIGAN.pad
BINS = SIZE // 2 + 1
OVERLAP = SIZE // HOP  # frames that a sample lies in
NOISE_FRAMES = 512  # after 5.9 s the noise repeats, too long for an ear to notice
NOISE_SEED = 20261122
MEL_MEAN, MEL_SCALE = -5.0, 2.5  # of natural-log mel magnitudes of speech
SOURCE_MEAN, SOURCE_SCALE = -0.4, 0.5  # of those of the pulses
REFERENCE_HZ = 150.0  # between a low and a high voice
LOWEST_HZ = 20.0  # below it there is no voice: F0 is taken as this
LOWEST_LOG = (
    -1.5
)  # of the log-mel of the source, between two harmonics: no gain needs to be larger than that asks for
HIGHEST_LOG = 8.0  # of a gain: far above any speech, yet finite for any input


@functools.cache
def window() -> np.ndarray:
    """The periodic Hann window, (SIZE,) float64."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(SIZE) / SIZE)


@functools.cache
def noise() -> np.ndarray:
    """(NOISE_FRAMES, 513) complex64: the spectra of a loop of white noise of unit power."""
    samples = np.random.default_rng(NOISE_SEED).standard_normal(NOISE_FRAMES * HOP)
    looped = np.concatenate([samples, samples[:SIZE]])
    framed = np.lib.stride_tricks.sliding_window_view(looped, SIZE)[: len(samples) : HOP]
    return np.fft.rfft(framed * window().astype(np.float32).astype(np.float64)).astype(np.complex64)


@functools.cache
def noise_level() -> float:
    """The mean log-mel of that noise."""
    return float(np.log(np.abs(noise()).mean() * SIZE / RATE))  # the weights of a band sum to SIZE / RATE


@functools.cache
def matrices() -> tuple[np.ndarray, np.ndarray]:
    """(80, 513) float32 twice: log-mel -> log magnitude of every bin, by linear interpolation between the bands'
    middles; -> minimum phase.
    """
    from librosa import mel_frequencies

    middles = mel_frequencies(n_mels=HIFIGAN.n_bands + 2, fmin=HIFIGAN.low_hz, fmax=HIFIGAN.high_hz)[1:-1]
    bins = np.arange(BINS) * RATE / SIZE
    envelope = np.stack([np.interp(bins, middles, row) for row in np.eye(HIFIGAN.n_bands)])  # (80, 513)
    cepstrum = np.fft.irfft(envelope, n=SIZE)  # (80, 1024), even
    fold = np.zeros(SIZE)
    fold[0] = fold[SIZE // 2] = 1
    fold[1 : SIZE // 2] = 2
    phase = np.fft.rfft(cepstrum * fold).imag
    return envelope.astype(np.float32), phase.astype(np.float32)
