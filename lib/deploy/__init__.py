"""Where else can a stage of a system run, and what does it gain there? One file for each runtime, one line for each
target in `lib.targets`.

A **stage** (`stages`) is a network on inputs of fixed shapes, with examples of what it really sees. `export` writes it
into a folder in the forms that runtimes read; a **runtime** is a module of this room that says which form it reads
(`READS`), which precisions it has (`PRECISIONS`) and how it loads one (`load(job) -> Loaded`, see `job`). It is loaded
by a process of its own (`apart`), in the Python of its toolchain where that wants one, and under a time limit: what is
missing, crashes or hangs costs a sentence.

>>> runtime("torch-compile/cpu").PRECISIONS
('fp32', 'bf16')
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from lib import targets


def runtime(target: str) -> ModuleType:
    """The module that loads stages for a target: "torch-compile/cpu" -> `lib.deploy.torch_compile`."""
    return importlib.import_module(f"lib.deploy.{targets.find(target).runtime.replace('-', '_')}")


def known() -> list[str]:
    """The targets of the table that stages can be deployed to, in its order."""
    return [name for name in targets.TARGETS if _has_runtime(name)]


def _has_runtime(target: str) -> bool:
    name = f"lib.deploy.{targets.find(target).runtime.replace('-', '_')}"
    return importlib.util.find_spec(name) is not None
