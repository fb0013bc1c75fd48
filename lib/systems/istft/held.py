"""Does the copy show the mel that it was made of? Where it does not, it is moved there, window by window.

The trunk says its filters frame by frame, but what is heard is the sum of overlapping frames, with this very noise
and these very pulses: its mel lies 0.24 to 0.29 nepers from the one asked for. So windows of the finished waveform are
multiplied, bin by bin, by what the mel's bands miss there, interpolated as the prior is; their phases stay, and what
changed is added to the waveform. It is the step of Griffin and Lim (1984) with the mel in place of the magnitudes, and
nothing of it is learnt. What it mends is heard less in the spectrum than in time: with the true magnitudes of these
46 ms windows a copy sounds no better, with the true ones of 12 ms windows, or the true phases below 2 kHz, nearly as
the original. Only where neighbouring windows agree does a waveform move within them as speech does.

Three things make a pass go further than that step at the same cost. Every third window at a time, so that each third
finds what the others have mended; a stretch further than what is missing; and what moved the waveform in one turn
moves it, by half, in the next one, too (Perraudin, Balazs and Sondergaard 2013; Polyak 1964).

Only for the mel of speech: an acoustic model's is smoother than speech, and a copy that is held to it is smoother, too.
(In the voice of hibari that pays all the same, `passes=3` on an acoustic model asks for it: see `studies.baselines`.)
It looks further ahead with every turn, so `stream` goes without.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from lib.errors import ParameterError
from lib.features import HIFIGAN
from lib.systems.istft import tables
from lib.systems.istft.tables import HOP, OVERLAP, PAD, SIZE
from lib.systems.stored_vocoder import StoredVocoder

Product = Callable[[np.ndarray, np.ndarray], np.ndarray]

TURNS = 3  # of a pass: windows i, i + 3, i + 6... at a time; fourth neighbours would not overlap, but move less at once
STRETCH = 1.3  # how far a turn moves a band, in what it misses
MOMENTUM = 0.5  # of a turn's change that the next one adds, too
LARGEST = 2.0  # nepers that one turn moves a band by
PASSES = 3
MOST_PASSES = 16  # more change nothing that is heard


class Held(StoredVocoder):
    """A vocoder whose copies are held to their mel in `passes` passes, a setting."""

    passes: int = PASSES
    streams = True

    def settings(self) -> dict[str, Any]:
        return {"passes": self.passes}

    def configure(self, *, passes: int | None = None, **others: Any) -> None:
        if passes is not None:
            self.passes = checked_passes(passes)
        super().configure(**others)

    def expect_predicted(self) -> None:
        self.passes = 0


def checked_passes(passes: int) -> int:
    """The number, or ParameterError."""
    if not isinstance(passes, int) or isinstance(passes, bool) or not 0 <= passes <= MOST_PASSES:
        raise ParameterError(f"passes is {passes!r}: give a whole number from 0 to {MOST_PASSES}")
    return passes


def held(
    waveform: np.ndarray, log_mel: np.ndarray, passes: int, product: Product = np.matmul, *, share: float = 1.0
) -> np.ndarray:
    """(F * HOP,) and the log-mel (F, 80) to be shown -> (F * HOP,) float32 in [-1, 1]; see the module.

    share: how far from the mel that the waveform has (0) to the one that is to be shown (1), in nepers.

    product: of two matrices. Beside a library whose threads spin while they wait, NumPy's own product may take ten
    times as long: give that library's.
    """
    if not passes:
        return waveform
    n_frames = len(log_mel)
    inside = slice(PAD, PAD + n_frames * HOP)  # beyond it there is silence, and stays
    rows = np.zeros((n_frames + OVERLAP - 1, HOP), np.float32)
    samples = rows.reshape(-1)
    samples[inside] = waveform
    windows = np.lib.stride_tricks.sliding_window_view(samples, SIZE)[::HOP]  # (F, 1024)
    if share < 1:
        log_mel = share * log_mel + (1 - share) * _shown(windows, product)
    moving = np.zeros_like(rows)
    for turn in range(TURNS * passes):
        first = turn % TURNS
        changes = _changes(windows[first::TURNS], log_mel[first::TURNS], product)
        moving *= np.float32(MOMENTUM)
        if len(changes):
            last = first + TURNS * (len(changes) - 1)
            for k in range(OVERLAP):
                moving[first + k : last + k + 1 : TURNS] += changes[:, k * HOP : (k + 1) * HOP]
        ends = moving.reshape(-1)
        ends[: inside.start] = ends[inside.stop :] = 0
        rows += moving
    return np.clip(samples[inside], -1, 1)


def _changes(windows: np.ndarray, log_mel: np.ndarray, product: Product) -> np.ndarray:
    """Windows of the waveform, (n, 1024), and the mels wanted there, (n, 80) -> what is to be added to each."""
    from scipy import fft

    filters, envelope, window = _constants()
    spectrum = fft.rfft(windows * window)  # (n, 513)
    missing = log_mel - _bands(spectrum, filters, product)
    gain = product(np.clip(STRETCH * missing, -LARGEST, LARGEST), envelope)
    spectrum *= np.expm1(gain, out=gain)
    changes = fft.irfft(spectrum, n=SIZE, overwrite_x=True)
    changes *= window
    return changes


def _shown(windows: np.ndarray, product: Product) -> np.ndarray:
    """(n, 80) log-mel that windows of a waveform (n, 1024) have."""
    from scipy import fft

    filters, _, window = _constants()
    return _bands(fft.rfft(windows * window), filters, product)


def _bands(spectrum: np.ndarray, filters: np.ndarray, product: Product) -> np.ndarray:
    ours = product(np.abs(spectrum[:, : len(filters)]), filters)
    return np.log(np.maximum(ours, np.float32(HIFIGAN.floor)))


@functools.cache
def _constants() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins -> bands, as far as bands reach, (372, 80); bands -> all bins, (80, 513); the window; float32."""
    filters, middles = tables.filters()
    reached = np.flatnonzero(filters.any(1))[-1] + 1
    return (
        np.ascontiguousarray(filters[:reached], np.float32),
        tables.interpolation(middles).astype(np.float32),
        tables.window().astype(np.float32),
    )
