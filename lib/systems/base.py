"""What every text-to-speech system looks like from outside, and what all of them share.

A system is loaded once and then speaks: `synthesize(text, seed)` -> Speech. Long text is cut at sentence ends, so a
book costs no more memory than its longest sentence, and no system sees longer input than it was trained on.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lib import text as text_module
from lib.errors import AudioError

if TYPE_CHECKING:
    import torch

PAUSE_S = 0.25  # silence between the sentences of a long text


@dataclass(frozen=True)
class Speech:
    """Spoken text. waveform: (n_samples,) float32 in [-1, 1]; seconds: compute time of each stage, in order.

    phones, frames: the symbols spoken and their exact lengths in frames, where the system knows them (one
    sentence only). notes: what went wrong on the way, in words (skipped text, a cut by the length guard); empty
    where nothing is known to have.
    """

    waveform: np.ndarray
    sample_rate: int
    seconds: dict[str, float] = field(default_factory=dict)
    phones: tuple[str, ...] | None = None
    frames: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def audio_s(self) -> float:
        """Length of the speech in seconds."""
        return len(self.waveform) / self.sample_rate

    @property
    def compute_s(self) -> float:
        """Seconds it took to make it, all stages together."""
        return sum(self.seconds.values())


class Stopwatch:
    """Adds up seconds per stage; `synchronize` waits for the device, so that queued work is not counted as done."""

    def __init__(self, synchronize=lambda: None):
        self.seconds: dict[str, float] = {}
        self._synchronize = synchronize

    @contextmanager
    def stage(self, name: str):
        self._synchronize()
        start = time.perf_counter()
        yield
        self._synchronize()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def stored_mb(module: "torch.nn.Module") -> float:
    """Size of a network's weights as torch stores them, in 10^6 bytes; packed int8 weights count as they are."""
    import io

    import torch

    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    return buffer.tell() / 1e6


class Networks:
    """What every system made of torch networks has: `modules`, and from them its parameters and size."""

    modules: dict[str, "torch.nn.Module"]

    @property
    def params_m(self) -> float:
        """10^6 parameters."""
        return sum(p.numel() for module in self.modules.values() for p in module.parameters()) / 1e6

    @property
    def size_mb(self) -> float:
        """10^6 bytes of weights as loaded."""
        return sum(stored_mb(module) for module in self.modules.values())


class System(ABC):
    """A loaded text-to-speech system; subclasses set the attributes and say how one sentence is spoken."""

    name: str  # "vits-joe"
    variant: str = "baseline"
    target: str  # "torch/cpu"
    sample_rate: int
    modules: dict[
        str, "torch.nn.Module"
    ]  # stage name -> network, what `optimize/` works on; empty where there is no torch
    size_mb: float  # 10^6 bytes of weights as stored
    params_m: float  # 10^6 parameters
    attends: bool = False  # whether it finds its own way through a text, and notes where it went astray
    identity: tuple = ()  # what else its speech depends on: weights trained here, a speaker, controls

    @abstractmethod
    def speak(self, sentence: str, seed: int) -> Speech:
        """Synthesize one sentence (stripped, speakable, of bounded length)."""

    def synthesize(self, text: str, seed: int = 0) -> Speech:
        """Speak `text` of any length; the same seed gives the same samples on one machine and thread count.

        Raises TextError for text that holds nothing to speak, AudioError if the system produces NaN or nothing.
        """
        sentences = text_module.sentences(text)
        if len(sentences) == 1:
            return self._checked(self.speak(sentences[0], seed), text)
        parts, seconds, notes = [], {}, []
        pause = np.zeros(round(PAUSE_S * self.sample_rate), np.float32)
        for index, sentence in enumerate(sentences):
            speech = self.speak(sentence, seed + index)
            parts += [pause, speech.waveform] if parts else [speech.waveform]
            notes += [f"sentence {index + 1}: {note}" for note in speech.notes]
            for stage, spent in speech.seconds.items():
                seconds[stage] = seconds.get(stage, 0.0) + spent
        return self._checked(Speech(np.concatenate(parts), self.sample_rate, seconds, notes=tuple(notes)), text)

    def _checked(self, speech: Speech, text: str) -> Speech:
        if not speech.waveform.size or not np.isfinite(speech.waveform).all():
            raise AudioError(
                f"{self.name}/{self.variant} made {'NaN' if speech.waveform.size else 'no'} samples of {text[:60]!r}: "
                "its weights are broken; load it again from its package or checkpoint"
            )
        return speech

    def __repr__(self) -> str:
        return f"<{self.name} {self.variant} on {self.target}, {self.params_m:.2f} M parameters, {self.size_mb:.1f} MB>"
