"""How much memory has this process held at most? MB are 10^6 bytes throughout.

The peak of a whole process is one system's own only when the process has done nothing else: see `process.call`.
"""

from __future__ import annotations

from lib.environment import peak_gpu_mb, peak_rss_mb

__all__ = ["peak_gpu_mb", "peak_rss_mb", "rss_mb"]

MB = 1e6


def rss_mb() -> float:
    """Resident memory of this process now."""
    import psutil

    return psutil.Process().memory_info().rss / MB
