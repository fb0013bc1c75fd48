"""Where do the seconds of a training step go? Into waiting for data, forward and backward passes, the optimizer, and
the loop's own bookkeeping, each taken inside the loop: nothing is computed a second time to be timed.

On a GPU the processor runs ahead of the work it has ordered, and waiting for the device after each pass would slow
down what is being measured. There a lap is an event in the device's own queue; how far apart two events were is
asked only where the loop stops anyway, to write a record or a checkpoint. A lap then holds what the device did
*and* how long it idled: "wait" is the time that the device, not the processor, waited for its data.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Protocol

import torch

PHASES = ("wait", "forward", "backward", "optimizer", "bookkeeping")
WINDOW = 200  # steps that the rates are taken over


class Timer(Protocol):
    """Marks on a clock that may be read later."""

    def now(self) -> Any: ...
    def settle(self, mark: Any) -> None: ...  # wait until `mark` is past and can be read
    def between(self, begin: Any, end: Any) -> float: ...  # seconds


class HostTimer:
    """The processor's clock."""

    def now(self) -> float:
        return time.perf_counter()

    def settle(self, mark: float) -> None:
        pass

    def between(self, begin: float, end: float) -> float:
        return end - begin


class CudaTimer:
    """Events in the queue of the current CUDA device; recording one waits for nothing."""

    def now(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def settle(self, mark: torch.cuda.Event) -> None:
        mark.synchronize()

    def between(self, begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return begin.elapsed_time(end) / 1000


class Speed:
    """Steps, frames and laps against the clock, without validation, checkpoints and the first (warm-up) step of a call.

    Rates are those of the last `WINDOW` steps, so that a machine that slept, or was busy an hour ago, is soon
    forgotten.
    """

    def __init__(self, seconds: float = 0.0, timer: Timer | None = None):
        self._seconds = seconds  # of training, over all calls
        self._timer = timer or HostTimer()
        self._last: Any = None  # the mark at which the current lap began
        self._laps: list[tuple[str, Any, Any]] = []  # (phase, begin, end) of the current step
        self._unread: list[
            tuple[list[tuple[str, Any, Any]], int]
        ] = []  # (laps, frames) of steps not asked about yet
        self._recent: deque[tuple[dict[str, float], int]] = deque(maxlen=WINDOW)  # (seconds by phase, frames)
        self._warm = False

    def resume(self, seconds: float) -> None:
        """An earlier call has trained for so long."""
        self._seconds = seconds

    def begin(self) -> None:
        """The clock runs from here: what came since the last lap (a validation, a checkpoint) is no training."""
        self._last = self._timer.now()

    def lap(self, phase: str) -> None:
        """What came since the last lap was `phase`, one of `PHASES`."""
        now = self._timer.now()
        self._laps.append((phase, self._last, now))
        self._last = now

    def step(self, frames: int) -> None:
        """The laps so far make a step, which saw `frames` frames over all processes."""
        self._unread.append((self._laps, frames))
        self._laps = []

    @property
    def seconds(self) -> float:
        """Seconds of training, over all calls. Waits for the device, as `rates` does."""
        self._read()
        return self._seconds

    def rates(self) -> dict[str, float]:
        """steps_per_s, frames_per_s, and the share of the time in each phase: wait_pct, forward_pct, backward_pct,
        optimizer_pct, bookkeeping_pct, which add up to 100. Empty before the second step.
        """
        self._read()
        if not self._recent:
            return {}
        spent = {phase: sum(laps[phase] for laps, _ in self._recent) for phase in PHASES}
        seconds = sum(spent.values())
        return {
            "steps_per_s": len(self._recent) / seconds,
            "frames_per_s": sum(frames for _, frames in self._recent) / seconds,
            **{f"{phase}_pct": 100 * part / seconds for phase, part in spent.items()},
        }

    def _read(self) -> None:
        if not self._unread:
            return
        laps, _ = self._unread[-1]
        self._timer.settle(laps[-1][2])
        for laps, frames in self._unread:
            spent = dict.fromkeys(PHASES, 0.0)
            for phase, begin, end in laps:
                spent[phase] += self._timer.between(begin, end)
            self._seconds += sum(spent.values())
            if self._warm:
                self._recent.append((spent, frames))
            self._warm = True
        self._unread = []
