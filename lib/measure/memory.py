"""How much memory has this process held at most? MB are 10^6 bytes throughout.

The peak of a whole process is one system's own only when the process has done nothing else: see `process.call`.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.environment import peak_gpu_mb, peak_rss_mb

__all__ = ["Stretch", "peak_gpu_mb", "peak_rss_mb", "release", "restart", "rss_mb", "uncollected"]

MB = 1e6
_MARK = Path("/proc/self/clear_refs")  # "5" there lets the kernel's high-water mark begin anew


def rss_mb() -> float:
    """Resident memory of this process now."""
    import psutil

    return psutil.Process().memory_info().rss / MB


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected while something is timed, as in timeit: it would land on whichever sentence runs."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def release() -> None:
    """Give back what nobody holds any more: what a library freed stays with the process until somebody asks for it."""
    gc.collect()
    if (torch := _on_gpu()) is not None:
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc's; others give back by themselves, or not at all
    except (OSError, AttributeError, TypeError):
        return


def restart() -> bool:
    """Let the high-water marks of kernel and GPU begin anew with what is held now; False where the kernel's cannot, as
    outside Linux.
    """
    if (torch := _on_gpu()) is not None:
        torch.cuda.reset_peak_memory_stats()
    try:
        _MARK.write_text("5")
    except OSError:
        return False
    return True


def _on_gpu() -> Any:
    """torch, where this process uses a GPU with it."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None


class Stretch:
    """What a stretch of this process holds at most, whatever came before it (loading) or comes after (saving).

    Where the kernel cannot begin its mark anew, what an earlier peak hides is not counted.
    """

    begin_mb = before_mb = added_mb = peak_mb = 0.0

    def begin(self) -> None:
        """The stretch begins now."""
        self.before_mb = self.begin_mb = peak_rss_mb()
        if restart():
            self.begin_mb = rss_mb()

    def end(self) -> None:
        """It ended: `added_mb` beside what was held at its begin, `peak_mb` of the process so far."""
        highest = peak_rss_mb()
        self.added_mb, self.peak_mb = max(0.0, highest - self.begin_mb), max(self.before_mb, highest)
