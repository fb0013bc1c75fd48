"""Which parts of our systems are worth a processor of their own, and what do they see? Networks with fixed lengths and
real inputs.

NPUs run graphs whose every shape is known beforehand. So a stage here is built for a number of frames, a **bucket**; a
sentence is cut into buckets, and what the last one lacks is padding, computed for nothing (`padding_waste`). A chunk
is right only where the network sees all that it sees in the whole: what lies nearer to a cut than its `context` is
computed twice, once on either side. What depends on values (durations, the phase of the pulses, a token after another)
stays on the host.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib.errors import ParameterError, unknown

if TYPE_CHECKING:
    from torch import nn

THREADS = 2  # of a processor, where a row's name says nothing else
FRAMES = 200  # of the mel, 2.3 s: what is long enough to load a device and short enough for its memory
HOP_S = 256 / 22_050  # a frame of our mels


@dataclass(frozen=True, eq=False)
class Spoken:
    """A sentence that a stage takes whole. inputs: what it sees of it, of its own shapes; waveform: outputs ->
    (n_samples,) of the sentence alone; transcript: outputs -> what was understood, of a stage that listens.
    """

    text: str
    inputs: tuple[np.ndarray, ...]
    waveform: Callable[[Sequence[np.ndarray]], np.ndarray] | None = None
    transcript: Callable[[Sequence[np.ndarray]], str] | None = None


@dataclass(frozen=True, eq=False)
class Stage:
    """A network on fixed shapes. network: one that torch.save can write whole (not with hooks that weight norm leaves
    behind); inputs: what it is timed and checked on; others: what it is timed on, too, of the same shapes; calibration:
    likewise, from which scales are set; spoken: sentences by which what comes out is judged; audio_s: what one run
    makes or hears, in the mean; window_s: what it computes however little of that is speech, None where it is audio_s;
    waveform: outputs -> (n_samples,), where they are heard at once or once the host has finished them; batch: sentences
    a run.
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
    others: tuple[tuple[np.ndarray, ...], ...] = ()
    spoken: tuple[Spoken, ...] = ()
    window_s: float | None = None
    batch: int = 1

    @property
    def timed(self) -> tuple[tuple[np.ndarray, ...], ...]:
        """All inputs that a clock sees."""
        return (self.inputs, *self.others)

    def batched(self, n: int) -> "Stage":
        """The same on n inputs side by side; nothing is heard of them."""
        if n == 1:
            return self
        several = [_side_by_side(self.timed, first, n) for first in range(len(self.timed))]
        return dataclasses.replace(
            self,
            inputs=several[0],
            others=tuple(several[1:]),
            calibration=tuple(_side_by_side(self.calibration, i, n) for i in range(len(self.calibration))),
            audio_s=n * self.audio_s,
            window_s=None if self.window_s is None else n * self.window_s,
            waveform=None,
            spoken=(),
            batch=n,
        )

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


def build(
    name: str,
    frames: int = FRAMES,
    *,
    texts: Sequence[str],
    calibration: Sequence[str] = (),
    spoken: Sequence[str] = (),
) -> Stage:
    """A stage of `NAMES`. texts: what is read for its inputs, a set each; calibration: likewise, by default its own
    first inputs; spoken: by which it is judged, those that its bucket does not hold whole left out.
    """
    if not texts:
        raise ParameterError(f"{name} needs something to read: give at least one text")
    if name not in _STAGES:
        raise unknown("stage", name, _STAGES)
    module, function = _STAGES[name].split(":")
    make = getattr(importlib.import_module(f"lib.deploy.{module}"), function)
    return make(frames, list(texts), list(calibration), list(spoken))


# A stage is one function (frames, texts, calibration texts, texts to judge by) -> Stage, and one line here; one that is
# cut into chunks a line in `_CONTEXT`, too.
_STAGES = {
    "hifigan/generator": "networks:hifigan_generator",
    "istft/trunk": "networks:istft_trunk",
    "vits-joe/decoder": "networks:vits_decoder",
    "fastspeech2/decoder": "networks:fastspeech2_decoder",
    "whisper-tiny.en/encoder": "networks:whisper_encoder",
}
NAMES = tuple(_STAGES)


# Frames of its input (before, after) that an output of the network depends on, itself aside. What attends depends on
# all of them, and is not cut: a bucket holds its whole sentence. So does that of a stage without a line here: nothing
# of its chunks is counted as seen twice.
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


def _side_by_side(sets: Sequence[tuple[np.ndarray, ...]], first: int, n: int) -> tuple[np.ndarray, ...]:
    """n sets of inputs (1, ...) beginning with one of them -> one of (n, ...)."""
    taken = [sets[(first + i) % len(sets)] for i in range(n)]
    return tuple(np.concatenate(arrays) for arrays in zip(*taken))


def fixed(frames: np.ndarray, length: int) -> np.ndarray:
    """(n, ...) -> (length, ...): cut, or said again from its beginning until it is long enough."""
    return np.concatenate([frames] * math.ceil(length / len(frames)))[:length]
