"""Does the copy show the mel that it was made of? Where it does not, it is moved there, band by band.

The trunk says its filters frame by frame, but what is heard is the sum of overlapping frames, with this very noise
and these very pulses: its mel lies 0.24 to 0.29 nepers from the one asked for. One pass takes the spectra of the
finished waveform, multiplies each bin by what the mel's bands miss there, interpolated as the prior is, and adds up
again; phases stay. It is the step of Griffin and Lim (1984) with the mel in place of the magnitudes, and nothing of it
is learnt.

Only for the mel of speech: an acoustic model's is smoother than speech, and a copy that is held to it is smoother, too.
It looks 4 frames (46 ms) further ahead a pass, so `stream` goes without.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lib.errors import ParameterError
from lib.features import HIFIGAN
from lib.systems.istft import stream, tables
from lib.systems.istft.tables import HOP, LARGEST, PAD, SIZE
from lib.systems.stored_vocoder import StoredVocoder

PASSES = 2  # each takes a tenth of the vocoder's time; after the second little changes
MOST_PASSES = 16  # more change nothing that is heard


class Held(StoredVocoder):
    """A vocoder whose copies are held to their mel in `passes` passes, a setting."""

    passes: int = PASSES

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


def held(waveform: np.ndarray, log_mel: np.ndarray, passes: int) -> np.ndarray:
    """(F * HOP,) and the log-mel (F, 80) to be shown -> (F * HOP,) float32 in [-1, 1]; see the module."""
    for _ in range(passes):
        waveform = _once(waveform, log_mel)
    return np.clip(waveform, -1, 1) if passes else waveform


def _once(waveform: np.ndarray, log_mel: np.ndarray) -> np.ndarray:
    from scipy import fft

    filters, envelope = _matrices()
    n_frames, window = len(log_mel), tables.window().astype(np.float32)
    padded = np.zeros(n_frames * HOP + 2 * PAD, np.float32)
    padded[PAD:-PAD] = waveform
    framed = np.lib.stride_tricks.sliding_window_view(padded, SIZE)[::HOP]  # (F, 1024)
    spectrum = fft.rfft(framed * window)  # (F, 513)
    ours = np.abs(spectrum[:, : len(filters)]) @ filters
    missing = log_mel - np.log(np.maximum(ours, np.float32(HIFIGAN.floor)))  # (F, 80)
    spectrum *= np.exp(np.clip(missing, -LARGEST, LARGEST) @ envelope)
    made = fft.irfft(spectrum, n=SIZE, overwrite_x=True)
    made *= window
    rows = stream.overlapped(made)
    rows /= stream.weights(0, len(rows), n_frames)
    return rows.reshape(-1)[PAD : PAD + n_frames * HOP]


@functools.cache
def _matrices() -> tuple[np.ndarray, np.ndarray]:
    """Bins -> bands, as far as bands reach, (372, 80); bands -> all bins, (80, 513); float32."""
    filters, middles = tables.filters()
    reached = np.flatnonzero(filters.any(1))[-1] + 1
    return np.ascontiguousarray(filters[:reached], np.float32), tables.interpolation(middles).astype(np.float32)
