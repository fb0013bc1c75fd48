"""How does a guessed mel get back the movement that guessing took? Its modulation spectrum is raised to that of speech.

A network that is unsure says the mean of all that could be, which moves less than any of it, the less the faster: at
20 Hz half, at 40 Hz a third of what the voice moves (fastspeech2, November 2026). The mean cannot be undone, but its
movement can be stretched: every coefficient of a cosine transform over the bands (a quefrency) is filtered over time,
so that each rate of movement comes nearer to the power that it has in speech. Takamichi et al. 2016 ("Postfilters to
Modify the Modulation Spectrum for Statistical Parametric Speech Synthesis", IEEE/ACM TASLP 24(4)) do so with vocoder
parameters; here it is one linear filter of zero phase, whose table is counted, not trained: what the voice says of
some sentences beside what the model says of them. Nothing is aligned.

The tables of a checkpoint lie in its folder, one for each speaker (`python -m lib.sharpen` counts them).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lib.errors import AudioError, MissingDataError, ParameterError, TrainingError
from lib.files import content_key, write_atomic
from lib.systems.checkpoint import WEIGHTS

FILE = "postfilter.safetensors"
WINDOW = 64  # frames, 0.74 s, of which the rates of movement are told
# Times that movement is stretched at most. Predicted MOS of 24 validation sentences of fastspeech2, at 1.5, 2, 2.5, 4:
# hibari 4.06, 4.01, 3.94, 3.82; vits-joe 4.05, 4.11, 4.09, 4.06.
MOST = 2.0
KEPT = 16.0  # times that a table tells of
REVISION = 1  # raised where the same table would make another mel


def movement(log_mels: Sequence[np.ndarray]) -> np.ndarray:
    """(WINDOW / 2 + 1, n_bands) mean power of every rate of movement, of every quefrency, in log-mels (F, n_bands).

    AudioError where none of them is as long as a window.
    """
    power, n_windows = 0.0, 0
    taper = np.hanning(WINDOW)
    for log_mel in log_mels:
        moving = _cosines(log_mel.shape[1]) @ np.asarray(log_mel, np.float64).T  # (n_bands, F)
        for begin in range(0, moving.shape[1] - WINDOW + 1, WINDOW // 2):
            part = moving[:, begin : begin + WINDOW]
            spectrum = np.fft.rfft((part - part.mean(1, keepdims=True)) * taper, axis=1)
            power, n_windows = power + np.square(np.abs(spectrum)), n_windows + 1
    if not n_windows:
        raise AudioError(f"no clip has {WINDOW} frames: give longer ones")
    return power.T / n_windows


def gains(true: Sequence[np.ndarray], guessed: Sequence[np.ndarray]) -> np.ndarray:
    """(WINDOW / 2 + 1, n_bands) float32: by what each rate of movement is to be multiplied so that guessed log-mels
    move as true ones do; the level of the whole stays.
    """
    ratio = np.sqrt(movement(true) / np.maximum(movement(guessed), 1e-12)).clip(1 / KEPT, KEPT)
    ratio[0] = 1
    return ratio.astype(np.float32)


def sharpened(log_mel: np.ndarray, table: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """A guessed log-mel (F, n_bands) as float32, its movement stretched, MOST times at most.

    table: of `gains`; strength: from 0, as it is, to 1; what lies between stretches by a power of the table. AudioError
    for no frames.
    """
    n_frames, n_bands = log_mel.shape
    if not n_frames:
        raise AudioError("a log-mel without a frame moves nowhere: the model said nothing")
    cosines = _cosines(n_bands).astype(np.float32)
    moving = cosines @ log_mel.T.astype(np.float32)  # (n_bands, F)
    mean = moving.mean(1, keepdims=True)
    padded = np.pad(moving - mean, ((0, 0), (WINDOW // 2, WINDOW // 2)), mode="edge")
    size = 1 << (padded.shape[1] + WINDOW).bit_length()
    taps = _taps(table.clip(1 / MOST, MOST) ** strength)
    spectrum = np.fft.rfft(padded, size, axis=1) * np.fft.rfft(taps, size, axis=1)
    filtered = np.fft.irfft(spectrum, size, axis=1)[:, WINDOW : WINDOW + n_frames] + mean
    return np.ascontiguousarray((cosines.T @ filtered).T, np.float32)


def save(folder: str | Path, tables: Mapping[str, np.ndarray], about: Mapping[str, str]) -> Path:
    """Write the tables of a checkpoint's speakers. about: how they came to be; of which weights, is kept, too."""
    import safetensors.numpy

    path = Path(folder) / FILE
    packed = {speaker: np.ascontiguousarray(table, np.float16) for speaker, table in tables.items()}
    write_atomic(path, safetensors.numpy.save(packed, {**about, "of": _weights(folder)}))
    return path


def load(folder: str | Path, speaker: str) -> np.ndarray:
    """The table of a checkpoint's speaker, as far as it is used: up to MOST. MissingDataError where there is none,
    TrainingError for a damaged file, and for one of other weights.
    """
    import safetensors

    path, table, of = Path(folder) / FILE, None, None
    if path.is_file():
        try:
            with safetensors.safe_open(path, "np") as file:
                of = (file.metadata() or {}).get("of")
                table = file.get_tensor(speaker) if speaker in file.keys() else None
        except (OSError, ValueError, safetensors.SafetensorError) as error:
            raise TrainingError(f"{path} cannot be read ({error}): take it anew from its checkpoint") from error
    if table is None:
        raise MissingDataError(
            f"nobody has counted how the mels of {Path(folder).name} move in the voice {speaker}: set sharpness=0; of "
            f"voices that are systems here, python -m lib.sharpen {folder} counts it"
        )
    if of != _weights(folder) or len(table) != WINDOW // 2 + 1 or not np.isfinite(table).all():
        raise TrainingError(f"{path} was counted of other weights, or otherwise: python -m lib.sharpen {folder}")
    return table.astype(np.float32).clip(1 / MOST, MOST)


def _weights(folder: str | Path) -> str:
    """What tells a checkpoint's weights from others."""
    path = Path(folder) / WEIGHTS
    return content_key(path.read_bytes()) if path.is_file() else ""


def checked(strength: float) -> float:
    """The strength, or ParameterError."""
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 <= strength <= 1:
        raise ParameterError(f"sharpness is {strength!r}: give a number from 0, as the network says it, to 1")
    return float(strength)


def _taps(table: np.ndarray) -> np.ndarray:
    """(n_bands, WINDOW + 1): the filters of zero phase with these gains, which end within half a window."""
    response = np.fft.fftshift(np.fft.irfft(table.T, WINDOW, axis=1), axes=1)
    both_ends = np.concatenate([response, response[:, :1]], axis=1)  # symmetrical
    return (both_ends * np.hanning(WINDOW + 1)).astype(np.float32)


@functools.cache
def _cosines(n: int) -> np.ndarray:
    """(n, n) the orthonormal cosine transform (DCT-II)."""
    k, i = np.arange(n)[:, None], np.arange(n)[None]
    table = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * i + 1) / (2 * n))
    table[0] /= np.sqrt(2)
    return table
