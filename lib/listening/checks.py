"""Is somebody listening, and can they hear it? Pages that look like all others, with a known answer.

Their answers stand in the key alone. A **trap** begins as a clip of the test and goes on with a voice that asks
for a certain answer (ITU-T P.808 calls them trapping questions). The **level check** plays soft tones: who
counts them right hears what is 25 dB below speech.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib import audio

Speak = Callable[[str], tuple[np.ndarray, int]]  # a sentence -> (waveform, sample rate)

TONE_HZ, TONE_S, GAP_S = 1_000, 0.25, 0.35
TONES_BELOW_DB = 25  # below the speech that the listener set the volume by
COUNTS = (3, 4, 5, 6)  # how many tones there may be
_LEAD_S = 1.2  # of the clip before the voice asks

# Method -> what a trap may ask for, and the answer.
ASKED: dict[str, tuple[tuple[str, int], ...]] = {
    "acr": (
        ("This is a check. Please choose two, poor.", 2),
        ("This is a check. Please choose four, good.", 4),
        ("This is a check. Please choose one, bad.", 1),
    ),
    "ab": (
        ("This is a check. Please choose no difference.", 0),
        ("This is a check. Please choose the first clip.", -1),
        ("This is a check. Please choose the second clip.", 1),
    ),
    "ccr": (
        ("This is a check. Please choose about the same.", 0),
        ("This is a check. Please choose much worse.", -3),
        ("This is a check. Please choose much better.", 3),
    ),
    "mushra": (),  # its hidden reference and its anchor are the checks
}


@dataclass(frozen=True)
class Trap:
    """A clip that ends in a request, and the value that answers it."""

    waveform: np.ndarray
    sample_rate: int
    expected: int


def traps(method: str, count: int, beginning: tuple[np.ndarray, int], speak: Speak) -> list[Trap]:
    """`count` traps in turn of what the method can ask for; none where it has other checks.

    beginning: (waveform, sample rate) of a clip of the test.
    """
    made = []
    for place in range(count if ASKED[method] else 0):
        sentence, answer = ASKED[method][place % len(ASKED[method])]
        made.append(Trap(_asking(*beginning, *speak(sentence)), beginning[1], answer))
    return made


def tones(count: int, speech_rms: float, sample_rate: int = 22_050) -> np.ndarray:
    """(n_samples,) `count` tones, TONES_BELOW_DB below speech of the given RMS."""
    time = np.arange(int(TONE_S * sample_rate)) / sample_rate
    fade = np.minimum(1, np.minimum(time, TONE_S - time) / 0.02)  # no clicks, which are louder than the tone
    loud = speech_rms * 10 ** (-TONES_BELOW_DB / 20) * np.sqrt(2)
    one = np.concatenate([loud * fade * np.sin(2 * np.pi * TONE_HZ * time), np.zeros(int(GAP_S * sample_rate))])
    return np.concatenate([np.zeros(int(GAP_S * sample_rate)), np.tile(one, count)]).astype(np.float32)


def _asking(waveform: np.ndarray, sample_rate: int, request: np.ndarray, request_rate: int) -> np.ndarray:
    """The clip's beginning, faded out, a short pause, the request at the same level."""
    start = waveform[: int(_LEAD_S * sample_rate)].copy()
    fade = min(len(start), int(0.1 * sample_rate))
    start[len(start) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    asked = audio.resample(request, request_rate, sample_rate)
    asked = audio.match_level(asked, sample_rate, audio.level_dbfs(waveform, sample_rate))
    return np.concatenate([start, np.zeros(int(0.2 * sample_rate), np.float32), asked])
