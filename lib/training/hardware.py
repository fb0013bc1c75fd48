"""On what does a run compute, and what has a GPU to be told to be fast? Tensor cores for float32, one kernel for the
optimizer; a CPU computes as it always did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from lib.errors import ParameterError, require

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerator(precision: str, seed: int) -> "Accelerator":
    """Accelerate's object for this process, with all generators seeded."""
    accelerate = require("accelerate", "accelerate==1.15.0")
    from accelerate.state import AcceleratorState

    # It remembers the precision of an earlier run in this process, and would refuse another.
    AcceleratorState._reset_state()
    if precision == "fp16" and not torch.cuda.is_available():
        raise ParameterError("training.precision is fp16, which needs a GPU; use bf16 or fp32 on the CPU")
    # Unless it is told that there is no device, Accelerate takes each process of torchrun on a CPU for the only one.
    made = accelerate.Accelerator(
        mixed_precision={"fp32": "no"}.get(precision, precision), cpu=not torch.accelerator.is_available()
    )
    accelerate.utils.set_seed(seed, device_specific=True)  # each process has its own dropout
    return made


@contextmanager
def tensor_cores(device: torch.device, tf32: bool) -> Iterator[None]:
    """Inside, float32 products and convolutions on a GPU read their inputs as TF32 (10 bits of mantissa instead of 23,
    sums in float32) or, with `tf32` false, in full; a CPU is left alone.
    """
    if device.type != "cuda":
        yield
        return
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = tf32
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def fuse(groups: Iterable[dict], device: torch.device) -> None:
    """Ask for one kernel over all parameters on a GPU, and for torch's default elsewhere.

    groups: an optimizer's `param_groups`, or those of its saved state: a run may go on where there is another device.
    """
    for group in groups:
        if "fused" in group:  # Adam, AdamW, SGD and Adagrad have it
            group["fused"] = True if device.type == "cuda" else None
