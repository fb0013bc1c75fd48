"""Are all clips equally loud? Loudness by ITU-R BS.1770 (K-weighted, gated), through pyloudnorm.

A clip half a decibel louder is preferred without anybody knowing why, so clips of one test share one loudness.
Where one of them would clip, all are played more softly: a clip that alone stays behind would be worse than any
level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lib import audio
from lib.errors import AudioError, require

SPEECH_LUFS = -23.0  # EBU R 128's programme level
PEAK = 0.97  # of full scale: MP3 overshoots a little
_BLOCK_S = 0.4  # BS.1770 measures in blocks of this length


def lufs(waveform: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of (n_samples,) float32, LUFS; a clip shorter than a block is measured with itself
    repeated.
    """
    pyloudnorm = require("pyloudnorm", "pyloudnorm==0.2.0")
    checked = audio.check(waveform, sample_rate, "clip").astype(np.float64)
    shortest = int(np.ceil(_BLOCK_S * sample_rate)) + 1
    if len(checked) < shortest:
        checked = np.tile(checked, -(-shortest // len(checked)))
    loudness = float(pyloudnorm.Meter(sample_rate, block_size=_BLOCK_S).integrated_loudness(checked))
    if not np.isfinite(loudness):
        raise AudioError("clip: below the absolute gate of BS.1770 (-70 LUFS): too soft to be heard at all")
    return loudness


def match(
    waveforms: Sequence[np.ndarray], sample_rates: Sequence[int], target: float = SPEECH_LUFS
) -> tuple[list[np.ndarray], float]:
    """(the clips at one loudness, that loudness in LUFS): `target`, or the highest at which none of them clips."""
    measured = [lufs(waveform, rate) for waveform, rate in zip(waveforms, sample_rates, strict=True)]
    peaks = [20 * np.log10(PEAK / np.abs(waveform).max()) for waveform in waveforms]  # dB of gain left, each
    common = min([target, *(loudness + room for loudness, room in zip(measured, peaks))])
    gains = [10 ** ((common - loudness) / 20) for loudness in measured]
    return [(gain * waveform).astype(np.float32) for gain, waveform in zip(gains, waveforms)], float(common)
