"""How would the same voice say the same words with another melody or other durations? Praat's overlap-add.

Pitch-synchronous overlap-add (Moulines and Charpentier 1990) moves whole glottal periods: pitch and timing change, the
spectrum of each period stays, and no network or vocoder has a part in it. What it does to a clip by itself is heard in
`resynthesised`, which changes nothing: compare with that, not with the recording. Needs praat-parselmouth.

Every function takes a waveform, float32 (n_samples,), and its sample rate in Hz and returns a new one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib import audio
from lib.errors import ParameterError, require
from lib.prosody import CEILING_HZ, FLOOR_HZ

STEP_S = 0.01  # between the pitch points of the analysis
EDGE_S = 1e-4  # how steep a change of the tempo is
SLOWEST, FASTEST = 4.0, 0.25  # factors of a duration; beyond them overlap-add repeats or drops too many periods


def resynthesised(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """The clip taken apart and put together again with its own pitch and durations."""
    return _changed(waveform, sample_rate)


def shifted(waveform: np.ndarray, sample_rate: int, semitones: float) -> np.ndarray:
    """The whole melody higher (or, below 0, lower) at the same tempo."""
    return _changed(waveform, sample_rate, pitch=f"self * {2 ** (semitones / 12):.9g}")


def flattened(waveform: np.ndarray, sample_rate: int, share: float) -> np.ndarray:
    """A share (0 to 1) of the melody's movement around its median taken away, in log frequency; 1: one tone."""
    if not 0 <= share <= 1:
        raise ParameterError(f"a share of {share!r} of the melody cannot be taken away: give 0 to 1")
    return _changed(waveform, sample_rate, pitch=f"exp({1 - share:.9g} * ln(self) + {share:.9g} * ln(MEDIAN))")


def stretched(
    waveform: np.ndarray, sample_rate: int, ends_s: Sequence[float], factors: Sequence[float]
) -> np.ndarray:
    """Stretch number i, up to ends_s[i] seconds from where the last one ended, lasts factors[i] times as long.

    What lies behind the last end keeps its tempo. Pitch stays.
    """
    if len(ends_s) != len(factors) or any(b <= a for a, b in zip((0.0, *ends_s), ends_s)):
        raise ParameterError(
            f"{len(ends_s)} rising ends and {len(factors)} factors: give one factor for each end"
        )
    if any(not FASTEST <= factor <= SLOWEST for factor in factors):
        raise ParameterError(f"a factor of a duration lies outside {FASTEST:g} to {SLOWEST:g}")
    return _changed(waveform, sample_rate, tempo=tuple(zip((0.0, *ends_s), ends_s, factors)))


def _changed(
    waveform: np.ndarray, sample_rate: int, *, pitch: str = "", tempo: Sequence[tuple[float, float, float]] = ()
) -> np.ndarray:
    """pitch: Praat's formula of a pitch point, MEDIAN for that of all; tempo: (begin_s, end_s, factor)."""
    parselmouth = require("parselmouth", "praat-parselmouth==0.4.7")
    call = parselmouth.praat.call
    samples = audio.check(waveform, sample_rate, min_seconds=3 / FLOOR_HZ)  # Praat's window
    sound = parselmouth.Sound(samples.astype(np.float64), sample_rate)
    manipulation = call(sound, "To Manipulation", STEP_S, FLOOR_HZ, CEILING_HZ)
    if pitch:
        tier = call(manipulation, "Extract pitch tier")
        count = call(tier, "Get number of points")
        points = [call(tier, "Get value at index", index) for index in range(1, count + 1)]
        if points:  # a clip without voice has no melody to change
            call(tier, "Formula", pitch.replace("MEDIAN", f"{np.median(points):.9g}"))
            call([tier, manipulation], "Replace pitch tier")
    if tempo:
        tier = call(manipulation, "Extract duration tier")
        for begin, end, factor in tempo:
            edge = min(EDGE_S, (end - begin) / 4)
            call(tier, "Add point", begin + edge, factor)
            call(tier, "Add point", end - edge, factor)
        last = tempo[-1][1]
        if last + EDGE_S < sound.xmax:
            call(tier, "Add point", last + EDGE_S, 1.0)
        call([tier, manipulation], "Replace duration tier")
    # Praat draws which periods of voiceless speech are repeated or dropped: the same ones every time.
    parselmouth.praat.run("random_initializeWithSeedUnsafelyButPredictably (0)")
    made = call(manipulation, "Get resynthesis (overlap-add)").values[0]
    parselmouth.praat.run("random_initializeSafelyAndUnpredictably ()")
    peak = np.abs(made).max()
    return (made * (0.99 / peak) if peak > 1 else made).astype(np.float32)
