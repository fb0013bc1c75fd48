"""Waveforms: what counts as usable audio, and how it is read, resampled, levelled and stored.

A waveform is a float32 array of shape (n_samples,) with values in [-1, 1], always beside its sample rate
in Hz. Everything that takes one calls `check` first, so bad audio has one error and one message.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from lib.errors import AudioError, MissingDataError
from lib.files import write_atomic

SILENCE_PEAK = 1e-4  # -80 dBFS: below this a 16-bit clip holds two or three code values and nothing to hear
SPEECH_LEVEL_DBFS = -26.0  # the active level ITU-T P.56/P.800 listening tests play speech at


def check(
    waveform: np.ndarray, sample_rate: int, name: str = "waveform", *, min_seconds: float = 0.0
) -> np.ndarray:
    """Return `waveform` as contiguous float32 (n_samples,), or raise AudioError naming what is wrong with it."""
    if not isinstance(sample_rate, (int, np.integer)) or not 4_000 <= sample_rate <= 192_000:
        raise AudioError(
            f"{name}: sample rate {sample_rate!r} is not a whole number of Hz between 4,000 and 192,000"
        )
    array = np.asarray(waveform)
    if array.ndim != 1:
        raise AudioError(f"{name}: shape {array.shape} is not (n_samples,); average or pick a channel first")
    if array.size == 0:
        raise AudioError(f"{name}: holds no samples")
    if not np.issubdtype(array.dtype, np.floating):
        raise AudioError(
            f"{name}: dtype {array.dtype} is not float; divide integer PCM by its full scale first"
        )
    if not np.isfinite(array).all():
        bad = int(np.size(array) - np.isfinite(array).sum())
        raise AudioError(
            f"{name}: {bad} of {array.size} samples are NaN or infinite; the system that made it is broken"
        )
    if np.abs(array).max() < SILENCE_PEAK:
        raise AudioError(f"{name}: is silent (peak below {SILENCE_PEAK:g}); there is nothing to measure")
    if array.size < min_seconds * sample_rate:
        raise AudioError(
            f"{name}: {array.size / sample_rate:.3f} s is shorter than the {min_seconds:g} s needed here"
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def resample(waveform: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Band-limited resampling (soxr, very high quality), float32 (n_samples,) in and out."""
    if from_hz == to_hz:
        return np.ascontiguousarray(waveform, dtype=np.float32)
    import soxr

    return soxr.resample(np.asarray(waveform, dtype=np.float32), from_hz, to_hz, quality="VHQ")


def level_dbfs(waveform: np.ndarray, sample_rate: int) -> float:
    """Active speech level in dB relative to full scale: RMS over the 20 ms frames within 30 dB of the loudest.

    A plain RMS would call a sentence with long pauses quiet; this is the gating idea of ITU-T P.56.
    """
    frame = max(1, sample_rate // 50)
    padded = np.pad(waveform.astype(np.float64), (0, -len(waveform) % frame))
    power = (padded.reshape(-1, frame) ** 2).mean(axis=1)
    active = power[power >= power.max() * 1e-3]
    return float(10 * np.log10(active.mean() + 1e-12))


def match_level(waveform: np.ndarray, sample_rate: int, dbfs: float = SPEECH_LEVEL_DBFS) -> np.ndarray:
    """Scale to the given active speech level, less where that would clip (loud peaks keep their shape)."""
    gain = 10 ** ((dbfs - level_dbfs(waveform, sample_rate)) / 20)
    return (waveform * min(gain, 0.99 / np.abs(waveform).max())).astype(np.float32)


def load(path: str | Path) -> tuple[np.ndarray, int]:
    """Read a WAV, FLAC, Ogg or MP3 file as (waveform, sample_rate); channels are averaged."""
    import soundfile

    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no audio file at {path}")
    try:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path} cannot be decoded ({error}); is it truncated?") from error
    return check(samples.mean(axis=1), sample_rate, str(path)), sample_rate


def encode(waveform: np.ndarray, sample_rate: int, format: str = "mp3") -> bytes:
    """The clip as the bytes of an audio file: "mp3" (for web pages) or "flac" (lossless, 16 bit)."""
    import soundfile

    buffer = io.BytesIO()
    clipped = np.clip(waveform, -1, 1)
    if format == "mp3":
        # VBR at the quality end: the point of the page is to hear small differences.
        soundfile.write(
            buffer,
            clipped,
            sample_rate,
            format="MP3",
            subtype="MPEG_LAYER_III",
            bitrate_mode="VARIABLE",
            compression_level=0.2,
        )
    elif format == "flac":
        soundfile.write(buffer, clipped, sample_rate, format="FLAC", subtype="PCM_16")
    else:
        raise AudioError(f"cannot encode {format!r}: use 'mp3' or 'flac'")
    return buffer.getvalue()


def save(path: str | Path, waveform: np.ndarray, sample_rate: int) -> Path:
    """Store a clip losslessly (16-bit FLAC), atomically."""
    return write_atomic(path, encode(check(waveform, sample_rate, str(path)), sample_rate, "flac"))
