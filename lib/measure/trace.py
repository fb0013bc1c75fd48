"""Where does the time go within a network? PyTorch's profiler, saved as a trace (chrome://tracing, Perfetto) and summed
up: which operators or kernels take it, and how long the device waits between them.

On a GPU what counts is what the GPU did: kernels and copies; time without any is idle, and most often the processor's,
which starts them one by one. On a processor it is operators, each without what it called. Every run is an NVTX range,
so that Nsight shows the same borders.
"""

from __future__ import annotations

import collections
import contextlib
import gzip
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.errors import ParameterError

RANGE = "run"  # what a run is called in the trace
ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")  # categories of the profiler's events
ON_CPU = ("cpu_op",)


@dataclass(frozen=True)
class Summary:
    """wall_s: from the first event to the last; idle_pct: of that, without any; longest_gap_s; taken: (name, seconds,
    how often) of operators or kernels, without what they called, most first.
    """

    wall_s: float
    idle_pct: float
    longest_gap_s: float
    taken: tuple[tuple[str, float, int], ...]

    def top(self, n: int = 5) -> list[tuple[str, float]]:
        """The first n with their share in % of the time in which anything ran."""
        busy = sum(seconds for _, seconds, _ in self.taken)
        return [(name, 100 * seconds / busy) for name, seconds, _ in self.taken[:n]]


def profile(work: Callable[[], Any], path: str | Path, *, device: str = "cpu", runs: int = 5) -> Summary:
    """Run something a few times under the profiler, after one run without; the trace is written to path (.json.gz)."""
    from torch import profiler

    kinds = [profiler.ProfilerActivity.CPU]
    if device == "cuda":
        kinds.append(profiler.ProfilerActivity.CUDA)
    with ranged(device):
        work()
    synchronize(device)
    with profiler.profile(activities=kinds) as watched:
        for _ in range(runs):
            with ranged(device):
                work()
        synchronize(device)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    watched.export_chrome_trace(str(path))
    return summary(read(path), device)


@contextlib.contextmanager
def ranged(device: str):
    """A run, with its name for PyTorch's profiler and for Nsight."""
    import torch

    with torch.profiler.record_function(RANGE):
        if device != "cuda":
            yield
            return
        with torch.cuda.nvtx.range(RANGE):
            yield


def synchronize(device: str) -> None:
    """Wait until the device has done what it was told."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def read(path: str | Path) -> list[dict]:
    """The events of a trace file."""
    opened = gzip.open if str(path).endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8") as file:
        return json.load(file)["traceEvents"]


def summary(events: Iterable[dict], device: str = "cpu") -> Summary:
    """What a trace says of a device."""
    kinds = ON_GPU if device == "cuda" else ON_CPU
    spans = [
        (e["tid"], e["ts"], e["ts"] + e["dur"], e["name"])
        for e in events
        if e.get("cat") in kinds and "dur" in e
    ]
    if not spans:
        raise ParameterError(f"the trace holds no {' or '.join(kinds)} event: nothing ran on {device}")
    gaps, wall = _gaps(sorted((begin, end) for _, begin, end, _ in spans))
    seconds, counts = _own(spans)
    taken = sorted(((name, 1e-6 * spent, counts[name]) for name, spent in seconds.items()), key=lambda t: -t[1])
    return Summary(
        1e-6 * wall, 100 * sum(gaps) / wall if wall else 0.0, 1e-6 * max(gaps, default=0.0), tuple(taken)
    )


def _gaps(spans: list[tuple[float, float]]) -> tuple[list[float], float]:
    """Stretches that none of the spans covers, and the whole; spans: in order of their beginning."""
    gaps, reached = [], spans[0][1]
    for begin, end in spans:
        if begin > reached:
            gaps.append(begin - reached)
        reached = max(reached, end)
    return gaps, reached - spans[0][0]


def _own(spans: list[tuple]) -> tuple[dict[str, float], dict[str, int]]:
    """Of each name the time without what was called within, and how often it ran; spans: (thread, begin, end, name)."""
    seconds, counts = collections.Counter(), collections.Counter()
    within: list[tuple] = []  # those around the present one, outermost first
    for span in sorted(spans, key=lambda s: (s[0], s[1], -s[2])):
        thread, begin, end, name = span
        while within and (within[-1][0] != thread or within[-1][2] <= begin):
            within.pop()
        if within:
            seconds[within[-1][3]] -= end - begin
        seconds[name] += end - begin
        counts[name] += 1
        within.append(span)
    return dict(seconds), dict(counts)
