"""How fast could this network be on this device at best, and how much of that does it reach? The roofline (Williams,
Waterman and Patterson 2009, doi 10.1145/1498765.1498785): a run takes at least its arithmetic at the rate of a large
matrix product, and at least its bytes at the bandwidth of a large copy; both are measured here, in the same process.

The bytes are the fewest there can be: weights, inputs and outputs once each. What lies between two layers may stay in
a cache, so the share reached is a lower bound of how well it is computed, not of how good the code is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lib.measure.trace import synchronize

if TYPE_CHECKING:
    import torch

COPIED_MB = {"cpu": 256, "cuda": 2_048}  # far more than a cache holds
MATRIX = {"cpu": 1_536, "cuda": 8_192}  # rows and columns: enough that the arithmetic takes the time
REPEATS = 7


@dataclass(frozen=True)
class Roof:
    """bytes_s: of a copy, read and written; flops_s: of a matrix product in single precision, with TF32 where PyTorch
    was allowed that.
    """

    bytes_s: float
    flops_s: float

    def least_s(self, work: "Work") -> float:
        """No run of so much work is shorter."""
        return max(work.flops / self.flops_s, work.bytes / self.bytes_s)

    def share(self, work: "Work", seconds: float) -> float:
        """Of the best that is possible, what a run of so many seconds reaches."""
        return self.least_s(work) / seconds

    def bound(self, work: "Work") -> str:
        """What limits it: "memory" or "arithmetic"."""
        return "memory" if work.bytes / self.bytes_s > work.flops / self.flops_s else "arithmetic"


@dataclass(frozen=True)
class Work:
    """Of one run: floating point operations (a product and a sum are two), bytes at least."""

    flops: float
    bytes: float


def measure(device: str = "cpu", *, copied_mb: int | None = None, matrix: int | None = None) -> Roof:
    """The bandwidth and the rate of a device ("cpu", "cuda") with the threads that PyTorch has now."""
    import torch

    n, side = 250_000 * (copied_mb or COPIED_MB[device]), matrix or MATRIX[device]
    pair = [torch.rand(n, device=device) for _ in range(2)]
    copied = median_s(lambda: pair[0].copy_(pair[1]), device)
    pair.clear()  # a GPU's memory is needed for what follows
    square = torch.rand(side, side, device=device)
    multiplied = median_s(lambda: square @ square, device)
    return Roof(2 * 4 * n / copied, 2 * side**3 / multiplied)


def median_s(run: Callable[[], Any], device: str, repeats: int = REPEATS) -> float:
    """Seconds of a run, the median, after two that are not timed."""
    spent = []
    for number in range(2 + repeats):
        synchronize(device)
        begin = time.perf_counter()
        run()
        synchronize(device)
        spent.append(time.perf_counter() - begin)
    return sorted(spent[2:])[repeats // 2]


def work(network: "torch.nn.Module", inputs: Sequence["torch.Tensor"]) -> Work:
    """What one run of a network computes: convolutions, products and attention, as PyTorch counts them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        made = network(*inputs)
    outputs = made if isinstance(made, (tuple, list)) else (made,)
    tensors = [*network.parameters(), *inputs, *outputs]
    return Work(float(counted.get_total_flops()), float(sum(t.numel() * t.element_size() for t in tensors)))
