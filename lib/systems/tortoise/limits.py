"""When does `tortoise` say no more? Where its durations are longer than anybody speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.errors import AudioError
from lib.features import HIFIGAN

if TYPE_CHECKING:
    from lib.systems.tortoise.solvers import Array

FRAMES_PER_SYMBOL = 16  # the length guard: twice what the slowest sentence of the training speech needs
FRAMES_BESIDE = 86  # 1 s more, for the pauses around a single word


def guarded(frames: Array) -> tuple[Array, int]:
    """(frames (1, T), frames cut off at the end): a sentence gets FRAMES_PER_SYMBOL for each symbol and
    FRAMES_BESIDE at most.

    Raises AudioError where there is nothing to say at all.
    """
    ends = frames.cumsum(1)
    wanted = int(ends[0, -1])
    if wanted < 1:
        raise AudioError(
            f"the network wants {wanted} frames for {frames.shape[1]} symbols: it is not trained, or its weights "
            "are broken; take another checkpoint"
        )
    limit = FRAMES_PER_SYMBOL * frames.shape[1] + FRAMES_BESIDE
    return ends.clip(max=limit) - (ends - frames).clip(max=limit), max(wanted - limit, 0)


def cut(over: int, kept: int) -> tuple[str, ...]:
    """What a speech notes of `over` frames that the guard cut off after `kept`; nothing where it cut none."""
    after, off = (frames * HIFIGAN.hop / HIFIGAN.sample_rate for frames in (kept, over))
    return (f"its durations are too long: the length guard cut {off:.1f} s off after {after:.1f} s",) * bool(over)
