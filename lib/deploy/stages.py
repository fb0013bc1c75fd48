"""Which parts of our systems are worth a processor of their own, and what do they see? Networks with fixed lengths and
real inputs.

NPUs run graphs whose every shape is known beforehand. So a stage here is built for a number of frames, a **bucket**; a
sentence is cut into buckets, and what the last one lacks is padding, computed for nothing (`padding_waste`). A chunk
is right only where the network sees all that it sees in the whole: what lies nearer to a cut than its `context` is
computed twice, once on either side. What depends on values (durations, the phase of the pulses, a token after another)
stays on the host.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import unknown

if TYPE_CHECKING:
    from torch import nn

FRAMES = 200  # of the mel, 2.3 s: what is long enough to load a device and short enough for its memory
HOP_S = 256 / 22_050  # a frame of our mels


@dataclass(frozen=True, eq=False)
class Stage:
    """A network on fixed shapes. inputs: what it is timed and checked on; calibration: others of the same shapes, from
    which scales are set; audio_s: what one run makes or hears; waveform: outputs -> (n_samples,), where they are heard
    at once or once the host has finished them.
    """

    system: str
    name: str
    network: "nn.Module"
    inputs: tuple[np.ndarray, ...]
    calibration: tuple[tuple[np.ndarray, ...], ...]
    audio_s: float
    frames: int
    waveform: Callable[[Sequence[np.ndarray]], np.ndarray] | None = None
    sample_rate: int = 22_050

    @property
    def usual(self) -> bool:
        """Whether it is of the usual length, which its name then need not tell."""
        return self.frames in (FRAMES, 3_000)

    @property
    def label(self) -> str:
        """Its name in tables: "hifigan/generator"."""
        return f"{self.system}/{self.name}"

    @property
    def context(self) -> tuple[int, int] | None:
        """As `context` has it."""
        return context(self.label)


def build(name: str, frames: int = FRAMES, *, texts: Sequence[str], calibration: Sequence[str] = ()) -> Stage:
    """A stage of `NAMES`. texts: what is read for its inputs, as many as fill its frames; calibration: likewise, a set
    of inputs each; by default its own inputs, backwards.
    """
    if name not in _STAGES:
        raise unknown("stage", name, _STAGES)
    module, function = _STAGES[name].split(":")
    make = getattr(importlib.import_module(f"lib.deploy.{module}"), function)
    return make(frames, list(texts), list(calibration))


# A stage is one function (frames, texts, calibration texts) -> Stage, and one line.
_STAGES = {
    "hifigan/generator": "networks:hifigan_generator",
    "istft/trunk": "networks:istft_trunk",
    "vits-joe/decoder": "networks:vits_decoder",
    "fastspeech2/decoder": "networks:fastspeech2_decoder",
    "whisper-tiny.en/encoder": "networks:whisper_encoder",
}
NAMES = tuple(_STAGES)


# Frames of its input (before, after) that an output of the network depends on, itself aside. What attends depends on
# all of them, and is not cut: a bucket holds its whole sentence.
_CONTEXT = {"hifigan/generator": (32, 32), "istft/trunk": (42, 0), "vits-joe/decoder": (11, 11)}


def context(label: str) -> tuple[int, int] | None:
    """How many frames (before, after) a chunk of a stage, "hifigan/generator", needs beside those that it is for; None
    for a stage that is not cut, or an unknown one.
    """
    return _CONTEXT.get(label)


def useful_frames(label: str, frames: int) -> int:
    """Of a chunk of so many frames from the middle of a sentence, those that come out as they do in the whole.

    >>> useful_frames("vits-joe/decoder", 25), useful_frames("vits-joe/decoder", 8)
    (3, 0)
    """
    return max(0, frames - sum(context(label) or (0, 0)))


def padding_waste(lengths: Sequence[int], buckets: Sequence[int], context: tuple[int, int] = (0, 0)) -> float:
    """The share of the frames computed that are padding or seen twice, when each sentence is cut into the largest
    bucket as long as it is longer, and its rest goes into the smallest bucket that holds it. context: as `context` has
    it; the ends of a sentence need none. 1 where a chunk has no room for anything beside its context.

    >>> padding_waste([150], [100, 200])
    0.25
    >>> padding_waste([150], [100], (10, 10))
    0.25
    """
    (before, after), largest, computed = context, max(buckets), 0
    for length in lengths:
        done = 0
        while done < length:
            seen_again = min(done, before)
            rest = seen_again + length - done
            if rest <= largest:
                computed, done = computed + min(b for b in buckets if b >= rest), length
            elif largest <= seen_again + after:
                return 1.0
            else:
                computed, done = computed + largest, done + largest - seen_again - after
    return 1 - sum(lengths) / computed if computed else 0.0


def fixed(frames: np.ndarray, length: int) -> np.ndarray:
    """(n, ...) -> (length, ...): cut, or said again from its beginning until it is long enough."""
    return np.concatenate([frames] * math.ceil(length / len(frames)))[:length]
