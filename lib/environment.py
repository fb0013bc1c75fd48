"""What ran this: processor, threads, versions, commit. Stamped on every measurement, printed in the report.

And the one place where a process is told how many threads it may compute with.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys

from lib import REPOSITORY
from lib.errors import ParameterError, require
from lib.files import content_key

PACKAGES = (
    "torch",
    "transformers",
    "onnxruntime",
    "numpy",
    "librosa",
    "faster-whisper",
    "ctranslate2",
    "jiwer",
    "pesq",
    "pystoi",
    "distillmos",
    "speechmos",
    "resemblyzer",
    "phonemizer-fork",
    "papermill",
)


@functools.cache
def processor() -> str:
    """The processor's marketing name, as the kernel knows it."""
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


# What decides how fast int8 and bf16 are: the same model name can be a virtual machine without them.
CPU_FLAGS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "i8mm",
    "bf16",
)


@functools.cache
def cpu_flags() -> tuple[str, ...]:
    """Those of CPU_FLAGS that the kernel says this processor has (x86 "flags", Arm "Features"); () where it
    tells none.
    """
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith(("flags", "Features")):
                    has = set(line.split(":", 1)[1].split())
                    return tuple(flag for flag in CPU_FLAGS if flag in has)
    except OSError:
        pass
    return ()


def pin_threads(n: int) -> int | None:
    """Let this process compute with n threads; returns how many torch had, None where torch is not loaded.

    torch takes its own call; OpenMP and the BLAS behind NumPy and SciPy are told by threadpoolctl, as far as
    they are loaded already: call it again after loading. Sessions of ONNX Runtime and OpenVINO and models of
    CTranslate2 take their number when they are built (`systems.load(..., threads=n)`).
    """
    if n < 1:
        raise ParameterError(f"{n} threads cannot compute: give at least 1")
    torch = sys.modules.get("torch")  # whoever computes with it has imported it
    before = None if torch is None else torch.get_num_threads()
    require("threadpoolctl", "threadpoolctl==3.8.0").threadpool_limits(n)
    if torch is not None:
        torch.set_num_threads(n)
    return before


def cores() -> int:
    """Cores this process may use (a container's or taskset's share, not the whole machine)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def host() -> str:
    """The machine in words, without its name: processor, usable cores, memory, and its GPUs where it has any."""
    gpus = accelerators()
    boards = {f"{gpus.count(name)} x {name}" if gpus.count(name) > 1 else name: None for name in gpus}
    return ", ".join([processor(), f"{cores()} cores", f"{_memory_gib():.0f} GiB", *boards])


def _memory_gib() -> float:
    import psutil

    return psutil.virtual_memory().total / 2**30


def peak_rss_mb() -> float:
    """The most resident memory that this process has held since it started, in 10^6 bytes.

    Linux's VmHWM, not ru_maxrss: the latter survives exec, so a child would report the peak of the parent that
    started it.
    """
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return psutil.Process().memory_info().peak_wset / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6  # macOS counts bytes


def peak_gpu_mb() -> float | None:
    """The most memory torch's allocator has held on the current CUDA device; None where this process uses none.

    What the allocator holds (reserved), not only what tensors fill: the rest is nobody else's meanwhile. CUDA's own
    context, some hundred MB that every process pays, is not in it.
    """
    torch = sys.modules.get("torch")  # whoever used a GPU has imported it
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    torch.cuda.synchronize()
    return torch.cuda.max_memory_reserved() / 1e6


@functools.cache
def commit() -> str:
    """The commit of this checkout, with "-dirty" when tracked files differ from it; "" outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, timeout=20
        ).stdout.strip()

    try:
        revision = git("rev-parse", "--short=10", "HEAD")
        return revision + (
            "-dirty" if revision and git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""


@functools.cache
def code() -> str:
    """What computes here: `code_now` when somebody first asked, which `results.start` does."""
    return code_now()


def code_now() -> str:
    """A hash of this project's modules as they lie on the disk and of the packages they run on.

    Two runs of one commit may be of different code, where something was changed and not committed; of two commits that
    differ in words alone it is the same.
    """
    modules = sorted((REPOSITORY / "lib").rglob("*.py"))
    sources = (part for path in modules for part in (str(path.relative_to(REPOSITORY)), path.read_bytes()))
    return content_key(sys.version, versions(), *sources)


def code_changed() -> bool:
    """Whether the modules are others by now than when the run began: what is imported late, and every process that
    starts anew, is then of other code than the rest.
    """
    return code_now() != code()


def versions() -> dict[str, str]:
    """PACKAGES -> the version of each, "not installed"."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def accelerators() -> list[str]:
    """Names of CUDA devices, without importing torch when it is not installed."""
    try:
        import torch
    except ImportError:
        return []
    return (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if torch.cuda.is_available()
        else []
    )


def describe() -> dict[str, str]:
    """Everything a reader needs to judge a number: machine, load, software versions, commit."""
    return {
        "processor": processor(),
        "cores": str(cores()),
        "memory": f"{_memory_gib():.0f} GiB",
        "accelerators": ", ".join(accelerators()) or "none",
        "system": f"{platform.system()} {platform.release()}",
        "load average": " ".join(f"{x:.2f}" for x in os.getloadavg())
        if hasattr(os, "getloadavg")
        else "unknown",
        "python": sys.version.split()[0],
        **versions(),
        "commit": commit(),
    }
