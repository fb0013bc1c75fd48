"""When is a voice that streams first heard, and does it keep up with whoever listens?

A voice is given a text and speaks it piece by piece: the listener hears the first piece when it is there, and the next
ones without a gap, if they come in time. A vocoder is given its mel frame by frame, as fast as it takes it, up to the
first sample: what comes behind it waits for whoever makes the mel.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lib.measure import memory


@dataclass(frozen=True)
class Heard:
    """first_s: until the first piece is there; stalled_s: for how long the sound stands still behind it, in all."""

    first_s: float
    stalled_s: float


def listen(
    pieces: Iterable[np.ndarray],
    sample_rate: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    synchronize: Callable[[], None] = lambda: None,
) -> Heard:
    """Hear all pieces, (n_samples,) each, of which there is at least one; the clock starts now."""
    begin = clock()
    first_s = silent_from_s = stalled_s = 0.0  # silent from: when all that came so far has been heard
    for number, piece in enumerate(pieces):
        synchronize()
        now_s = clock() - begin
        if number == 0:
            first_s = silent_from_s = now_s
        stalled_s += max(0.0, now_s - silent_from_s)
        silent_from_s = max(silent_from_s, now_s) + len(piece) / sample_rate
    return Heard(first_s, stalled_s)


def timed(
    system: Any,
    kind: str,
    values: Sequence,
    *,
    passes: int,
    seed: int,
    prepare: Callable[[], None],
    synchronize: Callable[[], None],
) -> dict[str, list[list[float]] | None]:
    """As `bench_child.one_round` answers, (passes, inputs) each. kind: of the inputs; input i is spoken with seed + i;
    prepare, synchronize: called before every input, and when a piece is there.
    """
    whole = kind == "text"

    def stream(index: int) -> Iterable[np.ndarray]:
        if whole:
            return system.stream(values[index], seed + index)
        return itertools.islice(system.stream(frame[None] for frame in values[index]), 1)

    def heard(index: int) -> Heard:
        prepare()
        synchronize()
        return listen(stream(index), system.sample_rate, synchronize=synchronize)

    heard(0)  # chunks are shapes of their own
    with memory.uncollected():  # as where whole sentences are timed, beside which this is laid
        every = [[heard(index) for index in range(len(values))] for _ in range(passes)]
    return {
        "first_audio_s": [[one.first_s for one in row] for row in every],
        "stalled_s": [[one.stalled_s for one in row] for row in every] if whole else None,
    }
