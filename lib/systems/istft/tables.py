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


def interpolation(middles: np.ndarray) -> np.ndarray:
    """(80, 513) float64: bands -> bins, linear between the bands' middles (80,), in Hz."""
    bins = np.arange(BINS) * RATE / SIZE
    return np.stack([np.interp(bins, middles, row) for row in np.eye(HIFIGAN.n_bands)])


def filters() -> tuple[np.ndarray, np.ndarray]:
    """Those of `features.HIFIGAN`, (513, 80) float64, and the bands' middles in Hz, (80,), without librosa and torch.

    Slaney's scale: 200/3 Hz a mel up to 1 kHz, then 27 mels for a factor of 6.4; triangles of unit area.
    """
    knee, step = 15.0, np.log(6.4) / 27

    def mel(hz: float) -> float:
        return hz * 3 / 200 if hz < 1_000 else knee + np.log(hz / 1_000) / step

    mels = np.linspace(mel(HIFIGAN.low_hz), mel(HIFIGAN.high_hz), HIFIGAN.n_bands + 2)
    edges = np.where(mels < knee, mels * 200 / 3, 1_000 * np.exp((mels - knee) * step))  # (82,)
    bins = (np.arange(BINS) * RATE / SIZE)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clip(0)
    return triangles * 2 / (high - low), middle


@functools.cache
def matrices() -> tuple[np.ndarray, np.ndarray]:
    """(80, 513) float32 twice: log-mel -> log magnitude of every bin, by linear interpolation between the bands'
    middles; -> minimum phase.
    """
    from librosa import mel_frequencies

    middles = mel_frequencies(n_mels=HIFIGAN.n_bands + 2, fmin=HIFIGAN.low_hz, fmax=HIFIGAN.high_hz)[1:-1]
    envelope = interpolation(middles)
    cepstrum = np.fft.irfft(envelope, n=SIZE)  # (80, 1024), even
    fold = np.zeros(SIZE)
    fold[0] = fold[SIZE // 2] = 1
    fold[1 : SIZE // 2] = 2
    phase = np.fft.rfft(cepstrum * fold).imag
    return envelope.astype(np.float32), phase.astype(np.float32)
