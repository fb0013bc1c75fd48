"""How much memory has this process held at most? MB are 10^6 bytes throughout.

The peak of a whole process is one system's own only when the process has done nothing else: see `process.call`.
"""

from __future__ import annotations

import sys

MB = 1e6


def rss_mb() -> float:
    """Resident memory of this process now."""
    import psutil

    return psutil.Process().memory_info().rss / MB


def peak_rss_mb() -> float:
    """The most resident memory this process has held since it started.

    Linux's VmHWM, not ru_maxrss: the latter survives exec, so a child would report the peak of the parent that
    started it.
    """
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / MB
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MB if sys.platform == "darwin" else peak * 1024 / MB  # macOS counts bytes


def peak_gpu_mb() -> float | None:
    """The most memory torch's allocator has held on the current CUDA device; None where this process uses none.

    What the allocator holds (reserved), not only what tensors fill: the rest is nobody else's meanwhile. CUDA's own
    context, some hundred MB that every process pays, is not in it.
    """
    torch = sys.modules.get("torch")  # whoever used a GPU has imported it
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    torch.cuda.synchronize()
    return torch.cuda.max_memory_reserved() / MB
