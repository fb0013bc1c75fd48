"""A Linear layer that keeps and multiplies its nonzero weights alone (compressed sparse rows).

A weight that stays takes its own bytes and two for its column: less than a dense matrix of single precision from a
third of zeros on, of half precision from a half. Multiplying is by torch's CSR kernels, which skip what is zero but
read the rest one by one: faster than dense ones only where nearly everything is zero.
"""

from __future__ import annotations

import functools
import warnings

import torch
from torch import nn


class CsrLinear(nn.Module):
    """As nn.Linear. values, columns: (nonzeros,), row by row; rows: (outputs + 1,), where each of them begins."""

    def __init__(self, in_features: int, out_features: int, nonzeros: int, *, bias: bool = True):
        super().__init__()
        _heard_of_beta()
        self.in_features, self.out_features = in_features, out_features
        narrow = torch.int16 if in_features <= 2**15 else torch.int32
        self.values = nn.Parameter(torch.zeros(nonzeros), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(out_features), requires_grad=False) if bias else None
        self.register_buffer("columns", torch.zeros(nonzeros, dtype=narrow))
        self.register_buffer("rows", torch.zeros(out_features + 1, dtype=torch.int32))

    @classmethod
    def of(cls, layer: nn.Linear) -> "CsrLinear":
        """The same as a layer, whose zeros are left out."""
        _heard_of_beta()
        csr = layer.weight.detach().contiguous().to_sparse_csr()
        made = cls(layer.in_features, layer.out_features, csr.values().numel(), bias=layer.bias is not None)
        made = made.to(layer.weight.device).train(layer.training)
        with torch.no_grad():
            made.values.copy_(csr.values())
            made.columns.copy_(csr.col_indices())
            made.rows.copy_(csr.crow_indices())
            if made.bias is not None:
                made.bias.copy_(layer.bias)
        return made

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:  # (..., in_features) -> (..., out_features)
        weight = torch.sparse_csr_tensor(
            self.rows,
            self.columns.int(),
            self.values,
            (self.out_features, self.in_features),
            check_invariants=False,
        )
        flat = (weight @ inputs.reshape(-1, self.in_features).t()).t()
        outputs = flat.reshape(*inputs.shape[:-1], self.out_features)
        return outputs if self.bias is None else outputs + self.bias

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, nonzeros={self.values.numel()}"
        )


@functools.cache
def _heard_of_beta() -> None:
    """torch says once a process that its CSR tensors are in beta: nobody who listens to a voice has use for that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.zeros(1, 1).to_sparse_csr()
