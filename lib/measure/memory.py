"""How much memory does it take, on disk and at work? MB are 10^6 bytes throughout.

The peak of a whole process is only that system's own when the process has done nothing else: see `fresh.run`. Inside a
notebook, `PeakMemory` measures what one block reaches, on top of what is already loaded.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from lib.environment import peak_rss_mb
from lib.errors import MissingDataError

if TYPE_CHECKING:
    import torch

MB = 1e6


def rss_mb() -> float:
    """Resident memory of this process now."""
    import psutil

    return psutil.Process().memory_info().rss / MB


def peak_gpu_mb() -> float | None:
    """The most memory torch's tensors have held on the current CUDA device since the last reset; None without one."""
    torch = sys.modules.get("torch")  # whoever used a GPU has imported it
    if torch is None or not torch.cuda.is_available():
        return None
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / MB


class PeakMemory:
    """`with PeakMemory() as peak: train()`, then peak.rss_mb, peak.added_rss_mb (above the start) and
    peak.gpu_mb (or None).

    The kernel's high-water mark is reset on entry where it allows that (Linux); elsewhere the memory is sampled
    every 10 ms, and a shorter peak is missed: `sampled` says which.
    """

    rss_mb: float
    added_rss_mb: float
    gpu_mb: float | None
    sampled: bool

    def __enter__(self) -> "PeakMemory":
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._start = rss_mb()
        self.sampled = not _reset_high_water_mark()
        if self.sampled:
            self._highest, self._stop = self._start, threading.Event()
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        if self.sampled:
            self._stop.set()
            self._thread.join()
            self.rss_mb = max(self._highest, rss_mb())
        else:
            self.rss_mb = peak_rss_mb()
        self.added_rss_mb = max(0.0, self.rss_mb - self._start)
        self.gpu_mb = peak_gpu_mb()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self._highest = max(self._highest, rss_mb())


def _reset_high_water_mark() -> bool:
    """Set VmHWM to the memory held now (proc(5), clear_refs); False where that cannot be done."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return peak_rss_mb() < 1.05 * rss_mb() + 10  # some sandboxes take the write and do nothing


def size_mb(thing: "torch.nn.Module | str | Path") -> float:
    """Size as stored: of a module its state dict as torch.save writes it, of a file its bytes, of a folder
    those of its files.

    Writing it, rather than adding up parameters, also counts the packed weights of quantized layers, which are
    no parameters; shared tensors count once. The archive adds some hundred bytes per tensor.
    """
    if isinstance(thing, (str, Path)):
        path = Path(thing)
        if not path.exists():
            raise MissingDataError(f"no file or folder at {path} to take the size of")
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file()) / MB
    import torch

    counter = _ByteCounter()
    torch.save(thing.state_dict(), counter)
    return counter.size / MB


class _ByteCounter:
    """A file that only counts, so that measuring a model takes no second copy of it."""

    size = 0

    def write(self, data) -> int:
        length = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
        self.size += length
        return length

    def flush(self) -> None:
        pass
