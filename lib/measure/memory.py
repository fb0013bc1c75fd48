"""How much memory has this process held at most? MB are 10^6 bytes throughout.

The peak of a whole process is one system's own only when the process has done nothing else: see `process.call`.
"""

from __future__ import annotations

from pathlib import Path

from lib.environment import peak_gpu_mb, peak_rss_mb

__all__ = ["Stretch", "peak_gpu_mb", "peak_rss_mb", "rss_mb"]

MB = 1e6
_MARK = Path("/proc/self/clear_refs")  # "5" there lets the kernel's high-water mark begin anew


def rss_mb() -> float:
    """Resident memory of this process now."""
    import psutil

    return psutil.Process().memory_info().rss / MB


class Stretch:
    """What a stretch of this process holds at most, whatever came before it (loading) or comes after (saving).

    Where the kernel cannot begin its mark anew, what an earlier peak hides is not counted.
    """

    begin_mb = before_mb = added_mb = peak_mb = 0.0

    def begin(self) -> None:
        """The stretch begins now."""
        self.before_mb = self.begin_mb = peak_rss_mb()
        try:
            _MARK.write_text("5")
        except OSError:
            return
        self.begin_mb = rss_mb()

    def end(self) -> None:
        """It ended: `added_mb` beside what was held at its begin, `peak_mb` of the process so far."""
        highest = peak_rss_mb()
        self.added_mb, self.peak_mb = max(0.0, highest - self.begin_mb), max(self.before_mb, highest)
