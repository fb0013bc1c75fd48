"""How close is a waveform to its original, sample by sample? PESQ, STOI, pitch and voicing, and the guard that keeps
them honest.

All compare two recordings of the same speech at the same time: before and after a codec, a vocoder's copy, or
one network before and after an optimization with the same seed and durations. Between two readings of a
sentence their values mean nothing, so every call first checks that the two are aligned, and refuses with
AlignmentError when they are not.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from lib import audio
from lib.errors import AlignmentError, AudioError, require

OCTAVE_CENTS = 1200.0
RATE = 16_000  # Hz; both metrics see at most this (STOI resamples to 10 kHz itself)
MIN_SECONDS = 0.5  # STOI needs 30 frames of 12.8 ms that are not silence; PESQ utterances of 0.32 s
MAX_LENGTH_DIFFERENCE = 0.01  # of the reference
# PESQ realigns such delays, and framing in a network moves audio by less; other durations move it by more
MAX_LAG_S = 0.02
MIN_SHARE = 0.7  # of the speech windows that must be in place

_HOP = 80  # samples, 5 ms
_FFT = 512  # samples, 32 ms: long enough to resolve the lowest bands
_BANDS_HZ = (150, 3_600)  # inside a telephone's band, so a band limit does not look like another utterance
_N_BANDS = 16
_WINDOW_S = 0.5  # two syllables: less finds chance matches inside a vowel, more hides a changing speed
_SEARCH_S = 0.2


@dataclass(frozen=True)
class Alignment:
    """share: of the speech windows, those within MAX_LAG_S; lag_s: median lag, positive where the second is late."""

    share: float
    lag_s: float


def pesq_wb(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
    """Wideband PESQ (ITU-T P.862.2), about 1.0 to 4.64, by the package pesq. Raises AudioError, AlignmentError."""
    pesq = require("pesq", "pesq==0.0.4")
    first, second = _aligned_pair(reference, degraded, sample_rate)
    try:
        return float(pesq.pesq(RATE, first, second, "wb"))
    except pesq.NoUtterancesError as error:
        raise AudioError(
            "PESQ finds no speech in one of the two waveforms: is it noise, or far too quiet?"
        ) from error
    except pesq.PesqError as error:
        raise AudioError(
            f"PESQ cannot compare these waveforms of {len(first) / RATE:.2f} s: {error}"
        ) from error


def stoi(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011), 0 to 1, by pystoi. Raises AudioError, AlignmentError."""
    pystoi = require("pystoi", "pystoi==0.4.1")
    first, second = _aligned_pair(reference, degraded, sample_rate)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "error", RuntimeWarning
        )  # it warns and returns 1e-5 where there is too little speech
        try:
            return float(pystoi.stoi(first, second, RATE))
        except RuntimeWarning as error:
            raise AudioError(
                "STOI needs at least 0.4 s of speech that is not silence in the reference"
            ) from error


def f0_error_cents(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float | None:
    """Median distance of the two F0 tracks (Praat's autocorrelation method) in cents, over the frames voiced in both.

    None where no frame is voiced in both: there is no pitch to compare, and `voicing_error_pct` tells how much was
    lost. Raises AudioError, AlignmentError.
    """
    first, second = _f0_tracks(reference, degraded, sample_rate)
    voiced = (first > 0) & (second > 0)
    if not voiced.any():
        return None
    return float(np.median(np.abs(OCTAVE_CENTS * np.log2(second[voiced] / first[voiced]))))


def voicing_error_pct(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
    """Share of all frames, in %, that are voiced in one of the two and unvoiced in the other (Nakatani et al. 2008,
    https://doi.org/10.1016/j.specom.2007.09.003). Raises AudioError, AlignmentError.
    """
    first, second = _f0_tracks(reference, degraded, sample_rate)
    return float(100 * np.mean((first > 0) != (second > 0)))


def alignment(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> Alignment:
    """Where the speech of the reference is found again in the other waveform, both (n_samples,) at `sample_rate`.

    Windows of 0.5 s of compressed band energies are searched within +-200 ms in the other waveform. Energies
    rise with the power 0.3, like loudness, so noise between the words weighs little; every band is freed of its
    mean, so that a different spectral tilt, level or band width does not matter. Windows without speech are left out.
    """
    first, second = (
        _band_loudness(audio.resample(w, sample_rate, RATE)) for w in (reference, degraded)
    )  # (frames, bands)
    width, search = round(_WINDOW_S * RATE / _HOP), round(_SEARCH_S * RATE / _HOP)
    width = min(width, len(first))
    power = first.sum(axis=1) ** (1 / 0.3)  # back to an energy, to find speech
    speech = power > 1e-3 * power.max()  # within 30 dB of the loudest frame
    second = np.pad(second, ((search, search + max(0, len(first) - len(second))), (0, 0)), mode="edge")
    lags = []
    for start in range(0, len(first) - width + 1, max(1, width // 2)):
        if speech[start : start + width].mean() < 0.5:
            continue
        template = first[start : start + width] - first[start : start + width].mean(axis=0)
        views = np.lib.stride_tricks.sliding_window_view(
            second[start : start + width + 2 * search], width, axis=0
        )
        views = views - views.mean(axis=-1, keepdims=True)  # (lags, bands, width)
        match = np.einsum("lbw,wb->l", views, template) / (np.sqrt((views**2).sum(axis=(1, 2))) + 1e-9)
        lags.append((int(match.argmax()) - search) * _HOP / RATE)
    if not lags:
        return Alignment(0.0, 0.0)
    return Alignment(float(np.mean(np.abs(lags) < MAX_LAG_S + 1e-9)), float(np.median(lags)))


def _f0_tracks(reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """F0 in Hz of both, (frames,) each, 0 where unvoiced."""
    from lib.prosody import f0

    tracks = [f0(w, RATE).hz for w in _aligned_pair(reference, degraded, sample_rate)]
    length = min(map(len, tracks))
    return tracks[0][:length], tracks[1][:length]


def _aligned_pair(
    reference: np.ndarray, degraded: np.ndarray, sample_rate: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both waveforms at 16 kHz, cut to one length, or AudioError or AlignmentError."""
    reference = audio.check(reference, sample_rate, "reference", min_seconds=MIN_SECONDS)
    degraded = audio.check(degraded, sample_rate, "degraded waveform", min_seconds=MIN_SECONDS)
    remedy = (
        "compare copy-synthesis, or the same seed and durations; for anything else use WER and predicted MOS"
    )
    if abs(len(reference) - len(degraded)) > MAX_LENGTH_DIFFERENCE * len(reference):
        raise AlignmentError(
            f"the waveforms last {len(reference) / sample_rate:.3f} s and {len(degraded) / sample_rate:.3f} s, "
            f"more than {MAX_LENGTH_DIFFERENCE:.0%} apart: {remedy}"
        )
    found = alignment(reference, degraded, sample_rate)
    if found.share < MIN_SHARE:
        raise AlignmentError(
            f"only {found.share:.0%} of the speech is at the same time in both waveforms "
            f"(median lag {1000 * found.lag_s:.0f} ms): {remedy}"
        )
    length = min(len(reference), len(degraded))
    return tuple(audio.resample(w[:length], sample_rate, RATE) for w in (reference, degraded))


def _band_loudness(waveform: np.ndarray) -> np.ndarray:
    """(frames, bands) band energies to the power 0.3, bands equally wide on the mel scale, a frame every 5 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, _FFT // 2), _FFT)[::_HOP]
    energy = np.abs(np.fft.rfft(frames * np.hanning(_FFT), axis=1)) ** 2  # (frames, 257)
    mel = np.linspace(*(2595 * np.log10(1 + np.array(_BANDS_HZ) / 700)), _N_BANDS + 1)
    edges = np.round(700 * (10 ** (mel / 2595) - 1) * _FFT / RATE).astype(int)
    return np.add.reduceat(energy[:, : edges[-1]], edges[:-1], axis=1) ** 0.3
