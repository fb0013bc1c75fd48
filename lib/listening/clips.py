"""What is there to listen to? Clips of a run, or of any list, as a grid: every condition says every sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib import audio
from lib.errors import MissingDataError, ParameterError
from lib.report.collect import collect

if TYPE_CHECKING:
    from lib.systems.base import System


@dataclass(frozen=True)
class Condition:
    """What is judged. target: where it spoke, as in the results; "" where that does not matter."""

    system: str
    variant: str = "baseline"
    target: str = ""

    @property
    def name(self) -> str:
        """As in "hibari baseline (onnxruntime/cpu)"."""
        return f"{self.system} {self.variant}" + (f" ({self.target})" if self.target else "")


@dataclass(frozen=True)
class Stimulus:
    """One clip. waveform: (n_samples,) float32."""

    condition: Condition
    sentence: str
    text: str
    waveform: np.ndarray
    sample_rate: int


def of_run(profile_folder: str | Path, notebook: str = "01_baselines") -> list[Stimulus]:
    """The clips that a notebook kept in outputs/<profile>/audio; empty where it kept none."""
    return [
        _loaded(Condition(clip.system, clip.variant, clip.target), clip.sentence, clip.text, clip.path)
        for clip in collect(profile_folder).clips
        if clip.notebook == notebook and not clip.recorded
    ]


def of_list(listed: Iterable[tuple[str, str, str, str | Path]]) -> list[Stimulus]:
    """Clips of (system, variant, text, path): the text names the sentence."""
    return [
        _loaded(Condition(system, variant), text, text, Path(path)) for system, variant, text, path in listed
    ]


def read_aloud(voices: Sequence["System"], texts: Sequence[str], seed: int = 0) -> list[Stimulus]:
    """Clips that loaded systems speak now."""
    made = []
    for voice in voices:
        for text in texts:
            speech = voice.synthesize(text, seed=seed)
            made.append(
                Stimulus(Condition(voice.name, "baseline"), text, text, speech.waveform, speech.sample_rate)
            )
    return made


def grid(stimuli: Iterable[Stimulus], *, most_conditions: int | None = None) -> list[list[Stimulus]]:
    """[condition][sentence]: the sentences and conditions of the largest grid without a hole.

    most_conditions: the first so many of its conditions. Raises MissingDataError where no two share a sentence.
    """
    spoken: dict[str, dict[Condition, Stimulus]] = {}
    for stimulus in stimuli:
        spoken.setdefault(stimulus.sentence, {})[stimulus.condition] = stimulus
    by_size = sorted(spoken, key=lambda sentence: -len(spoken[sentence]))
    best: tuple[int, list[str], list[Condition]] = (0, [], [])
    for count in range(1, len(by_size) + 1):
        chosen = by_size[:count]
        shared = [c for c in spoken[chosen[0]] if all(c in spoken[s] for s in chosen)][:most_conditions]
        if len(shared) >= 2 and count * len(shared) >= best[0]:
            best = count * len(shared), chosen, shared
    if not best[0]:
        raise MissingDataError(
            "no two conditions speak the same sentence: nothing can be compared. Keep clips of the same sentences "
            "(`keep_clips` of 01_baselines), or hand in a list"
        )
    return [[spoken[sentence][condition] for sentence in best[1]] for condition in best[2]]


def low_anchor(stimulus: Stimulus, cutoff_hz: float = 3_500) -> Stimulus:
    """The clip through a low-pass filter at 3.5 kHz, the low anchor of ITU-R BS.1534."""
    from scipy.signal import butter, sosfiltfilt

    if stimulus.sample_rate <= 2 * cutoff_hz:
        raise ParameterError(
            f"{stimulus.sample_rate} Hz hold nothing above {cutoff_hz:g} Hz: no anchor can be made"
        )
    sections = butter(8, cutoff_hz, fs=stimulus.sample_rate, output="sos")
    dull = sosfiltfilt(sections, stimulus.waveform).astype(np.float32)
    return Stimulus(
        Condition(stimulus.condition.system, "low-anchor"),
        stimulus.sentence,
        stimulus.text,
        dull,
        stimulus.sample_rate,
    )


def _loaded(condition: Condition, sentence: str, text: str, path: Path) -> Stimulus:
    waveform, sample_rate = audio.load(path)
    return Stimulus(condition, sentence, text or sentence, waveform, sample_rate)
