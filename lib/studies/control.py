"""Does a voice do what its knobs say? Pitch, energy and rate asked for, against pitch, level and length found
in the speech.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib import audio, prosody
from lib.measure import evaluate
from lib.measure.scorer import Scorer
from lib.measure.scores import summarise

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.gutenberg import Sentence

SETTINGS = {
    "as it speaks": {},
    "pitch -4 semitones": {"semitones": -4.0},
    "pitch +4 semitones": {"semitones": 4.0},
    "rate x 0.8": {"rate": 0.8},
    "rate x 1.25": {"rate": 1.25},
    "energy x 0.5": {"energy": 0.5},
    "energy x 1.5": {"energy": 1.5},
}
COLUMNS = {"semitones": "pitch, semitones", "energy": "level, dB", "rate": "rate, factor"}


def responses(
    voice,
    sentences: Sequence["Sentence"],
    scorer: Scorer,
    *,
    seed: int = 0,
    settings: Mapping[str, Mapping[str, float]] = SETTINGS,
) -> tuple["pd.DataFrame", dict[str, evaluate.Clip]]:
    """(table, first clip by setting): per setting the mean change of pitch (semitones), level (dB) and rate
    (factor) against the voice as it speaks, and the predicted MOS and WER that the change costs. voice: has
    `adjusted`, as FastSpeech 2.
    """
    import pandas as pd

    spoken = {
        label: evaluate.speak(voice.adjusted(**values), sentences, seed=seed)
        for label, values in settings.items()
    }
    plain = [_found(clip) for clip in spoken[next(iter(settings))]]
    rows = {}
    for label, clips in spoken.items():
        changes = np.mean(
            [
                (12 * math.log2(p / p0), level - level0, s0 / s)
                for (p, level, s), (p0, level0, s0) in zip((_found(clip) for clip in clips), plain)
            ],
            axis=0,
        )
        scores = summarise(
            scorer.rate_all(
                [(c.waveform, c.sample_rate, c.text) for c in clips], metrics=("wer", "mos_predicted")
            )
        )
        rows[label] = {
            "pitch, semitones": round(changes[0], 2),
            "level, dB": round(changes[1], 2),
            "rate, factor": round(changes[2], 3),
            "predicted MOS": round(scores["mos_predicted"].value, 2),
            "WER": round(scores["wer"].value, 3),
        }
    return pd.DataFrame(rows).T, {label: clips[0] for label, clips in spoken.items()}


def obeys(table: "pd.DataFrame") -> str:
    """How much of what was asked for was heard, in a sentence."""
    words = []
    for label, values in SETTINGS.items():
        for knob, wish in values.items() if label in table.index else ():
            found = table.loc[label, COLUMNS[knob]]
            wanted = 20 * math.log10(wish) if knob == "energy" else wish
            words.append(
                f"{label}: {found:.2f}" if knob == "rate" else f"{label}: {found:+.2f} of {wanted:+.2f}"
            )
    return "Found against asked for (semitones, factor, dB): " + "; ".join(words) + "."


def _found(clip: evaluate.Clip) -> tuple[float, float, float]:
    """(median F0 in Hz, active level in dBFS, seconds) of a clip."""
    pitch = prosody.f0(clip.waveform, clip.sample_rate)
    level = audio.level_dbfs(clip.waveform, clip.sample_rate)
    return float(np.median(pitch.hz[pitch.voiced])), level, len(clip.waveform) / clip.sample_rate
