"""Products in 8 bit with a floating point (e4m3) for a network that runs in PyTorch itself on a GPU.

Linear layers alone: PyTorch has no such convolution. Scales come from the largest value, as in `fp8`, one for each
layer's inputs over the calibration and one for its weights, so that any GPU that multiplies the type takes them. What
is not replaced computes in bf16, and so do biases.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import nn

from lib.deploy.fp8 import LARGEST

MULTIPLE = 16  # of both sizes of a matrix, without which no GPU multiplies it so


class Fp8Linear(nn.Module):
    """A linear layer in this precision. largest: of its inputs; what is larger is cut off."""

    def __init__(self, plain: nn.Linear, largest: float):
        super().__init__()
        weight = plain.weight.detach().float()
        scale = weight.abs().max().clamp_min(1e-12) / LARGEST
        self.register_buffer("weight", (weight / scale).to(torch.float8_e4m3fn))  # (out, in)
        self.register_buffer("weight_scale", scale)
        self.register_buffer("input_scale", torch.full_like(scale, (largest or 1.0) / LARGEST))
        self.register_buffer("bias", None if plain.bias is None else plain.bias.detach().bfloat16())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(..., in) -> (..., out) in bf16."""
        rows = inputs.reshape(-1, inputs.shape[-1]).float() / self.input_scale
        made = torch._scaled_mm(
            rows.clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn),
            self.weight.t(),
            self.input_scale,
            self.weight_scale,
            bias=self.bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,  # its sums are far more exact than what is summed
        )
        return made.view(*inputs.shape[:-1], -1)


@torch.no_grad()
def replace(network: nn.Module, calibration: Sequence[Sequence[torch.Tensor]]) -> dict[str, int]:
    """Put an `Fp8Linear` in the place of each layer that sees one of the inputs and can be one; returns how many linear
    layers that see them compute "in_fp8" and how many "in_bf16". RuntimeError where none can.
    """
    largest: dict[nn.Module, float] = {}

    def seen(layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        largest[layer] = max(largest.get(layer, 0.0), float(given[0].abs().max()))

    with ExitStack() as hooks:
        for layer in network.modules():
            if type(layer) is nn.Linear:  # what derives from it may be read without being called
                hooks.enter_context(layer.register_forward_pre_hook(seen))
        for inputs in calibration:
            network(*inputs)
    chosen = [layer for layer in largest if not any(size % MULTIPLE for size in layer.weight.shape)]
    if not chosen:
        raise RuntimeError(
            f"fp8 in PyTorch is for linear layers whose sizes are multiples of {MULTIPLE}, and this network has none"
        )
    made = {layer: Fp8Linear(layer, largest[layer]) for layer in chosen}
    for parent in list(network.modules()):
        for name, layer in parent.named_children():
            if layer in made:
                setattr(parent, name, made[layer])
    return {"in_fp8": len(made), "in_bf16": len(largest) - len(made)}
