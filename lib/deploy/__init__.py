"""Where else can a stage of a system run, and what does it gain there? One file for each runtime, one line for each
target in `lib.targets`.

A **stage** (`stages`) is a network on inputs of fixed shapes, with examples of what it really sees. `export` writes it
into a folder in the forms that runtimes read; a **runtime** is a module of this room that says which form it reads
(`READS`; `READS_AS` where a precision wants another), which precisions it has (`PRECISIONS`; where a device has others,
a name for it: `CUDA_PRECISIONS`, `NPU_PRECISIONS`) and how it loads a stage (`load(job) -> Loaded`, see `job`). It may
have `build(job)`, which compiles without the device, and `EMULATES = True`, where its answers come from a slow
emulator. It is loaded by a process of its own (`apart`), in the Python of its toolchain where that wants one, and under
a time limit: what is missing, crashes or hangs is one row that says why. `torch` is the shortest of them.

>>> runtime("torch-compile/cpu").PRECISIONS
('fp32', 'bf16')
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from lib import environment, targets
from lib.errors import SpeechError

BF16 = {"avx512_bf16", "amx_bf16", "bf16"}  # flags of processors that multiply it, the last one Arm's


def runtime(target: str) -> ModuleType:
    """The module that loads stages for a target: "torch-compile/cpu" -> `lib.deploy.torch_compile`. SpeechError where
    there is none, or it cannot be read here: whatever its file does wrong is that target's own failure.
    """
    if not _has_runtime(target):
        raise SpeechError(
            f"{target} runs whole systems, not stages: targets that take stages are {', '.join(known())}"
        )
    name = _module(target)
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise SpeechError(
            f"{name.replace('.', '/')}.py cannot be read: {type(error).__name__}: {error}. What a vendor brings is "
            "imported within load, which runs in the Python of its toolchain"
        ) from error
    if lacking := [part for part in ("READS", "PRECISIONS", "load") if not hasattr(module, part)]:
        raise SpeechError(f"{name.replace('.', '/')}.py has no {' and no '.join(lacking)}")
    return module


def no_runtime(target: str) -> str | None:
    """Why no stage can be deployed to it, whatever is installed; None where one can."""
    try:
        runtime(target)
    except SpeechError as error:
        return str(error)
    return None


def precisions(target: str) -> tuple[str, ...]:
    """Those that a target has; SpeechError as `runtime` raises it.

    >>> precisions("torch/cuda")
    ('fp32', 'tf32', 'fp16', 'bf16', 'fp8')
    """
    module = runtime(target)
    device = targets.find(target).device.upper().replace("-", "_")
    return getattr(module, f"{device}_PRECISIONS", module.PRECISIONS)


def reads(target: str, precision: str) -> tuple[str, ...]:
    """Which forms of a stage it reads for that; SpeechError as `runtime` raises it."""
    module = runtime(target)
    return getattr(module, "READS_AS", {}).get(precision, module.READS)


def why_not(target: str, precision: str) -> str | None:
    """Why it cannot run here in that precision; None where it can."""
    if why := no_runtime(target):
        return why
    flags = environment.cpu_flags()
    if precision == "bf16" and targets.find(target).device == "cpu" and flags and not BF16 & set(flags):
        return (
            f"bf16 without {' or '.join(sorted(BF16))} is computed in steps of fp32, slower and less exactly: take a "
            f"processor that has it (this one: {', '.join(flags)})"
        )
    if precision == "fp8" and (why := _no_fp8()):
        return why
    return targets.find(target).why_not()


def _no_fp8() -> str | None:
    """Why the GPU that is here cannot multiply it; None where it can, or none is here, which its target says."""
    import torch

    from lib.deploy import fp8

    return fp8.too_old(torch.cuda.get_device_capability()) if torch.cuda.is_available() else None


def builds(target: str) -> bool:
    """Whether its runtime is installed and compiles stages without the device that it compiles for."""
    if no_runtime(target):
        return False
    one = targets.find(target)
    found = (module in sys.modules or importlib.util.find_spec(module) for module in one.modules)
    return hasattr(runtime(target), "build") and all(found) and (not one.toolchain or one.installed)


def known() -> list[str]:
    """The targets of the table that stages can be deployed to, in its order."""
    return [name for name in targets.TARGETS if _has_runtime(name)]


def _has_runtime(target: str) -> bool:
    return importlib.util.find_spec(_module(target)) is not None


def _module(target: str) -> str:
    return f"lib.deploy.{targets.find(target).runtime.replace('-', '_')}"
