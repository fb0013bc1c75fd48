"""A layer that multiplies in bfloat16 and adds to its surroundings in single precision.

Weights and inputs have 8 significant bits, the products are summed in single precision inside the kernel, and what
comes out is single again: residual sums, norms and whatever else lies between the layers lose nothing. Worth it on
processors with bf16 units (AMX, AVX512-BF16) alone; others emulate it, more slowly than single precision.
"""

from __future__ import annotations

from torch import Tensor, nn

KINDS = ("Linear", "Conv1d", "ConvTranspose1d")


class Bf16Linear(nn.Linear):
    """As nn.Linear."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.bfloat16()).float()


class Bf16Conv1d(nn.Conv1d):
    """As nn.Conv1d."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.bfloat16()).float()


class Bf16ConvTranspose1d(nn.ConvTranspose1d):
    """As nn.ConvTranspose1d."""

    def forward(self, inputs: Tensor, output_size: list[int] | None = None) -> Tensor:
        return super().forward(inputs.bfloat16(), output_size).float()


CLASSES = {"Linear": Bf16Linear, "Conv1d": Bf16Conv1d, "ConvTranspose1d": Bf16ConvTranspose1d}


def turn(layer: nn.Module) -> None:
    """Make a layer of one of `KINDS` compute so, in place."""
    layer.__class__ = CLASSES[type(layer).__name__]
    layer.bfloat16()
