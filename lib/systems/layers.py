"""Is a layer nothing but its weights, so that they may be read, or is it more, so that it has to be called?

A few places multiply with a layer's weights themselves, fused with those of its neighbours, because that is faster.
It is right for a plain layer alone: an adapter, a pruning mask, a hook or packed int8 weights would be passed over.
"""

from __future__ import annotations

import torch
from torch import nn

_FEW_ROWS = 32  # fewer, and bringing the weights into blocks costs more than the blocks save
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def plain(*layers: nn.Module) -> bool:
    """Whether calling each of the layers is the same as multiplying with its weights as they are now.

    Not so for a layer that wraps or replaces one of torch's own (adapters, int8), that carries hooks (pruning masks) or
    a `forward` of its own (offloading), or whose weights are tensors of another kind (packed 4- and 8-bit weights); and
    of no layer while torch calls a hook for every module (`register_module_forward_hook`).
    """
    return not nn.modules.module._has_any_global_hook() and all(
        type(layer) in (nn.Linear, nn.Conv1d, nn.LSTMCell)
        and "forward" not in vars(layer)
        and not any(getattr(layer, hooks) for hooks in _HOOKS)
        and all(
            type(weight) in (nn.Parameter, torch.Tensor)
            for weight in layer._parameters.values()
            if weight is not None
        )
        for layer in layers
    )


def frozen_cpu(tensor: torch.Tensor) -> bool:
    """Whether this is inference in single precision on a CPU, eager: what nothing can learn through may be used."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def linear(layer: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """`layer(rows)`, (..., n_inputs) -> (..., n_outputs), where it is plain by oneDNN instead of MKL.

    MKL keeps its AVX-512 kernels for Intel's processors: on an AMD EPYC with AVX-512 oneDNN takes 0.45 of the time (344
    rows, 256 to 768 channels), and it changes no more than the order of additions.
    """
    many = rows.numel() >= _FEW_ROWS * rows.shape[-1]
    if (
        many
        and _one_dnn()
        and type(layer) is nn.Linear
        and frozen_cpu(rows)
        and layer.weight.dtype == rows.dtype
        and plain(layer)
    ):
        return torch.ops.mkldnn._linear_pointwise(rows, layer.weight, layer.bias, "none", [], "")
    return layer(rows)


def _one_dnn() -> bool:
    """Whether this torch has oneDNN, switched on, and its product of a layer, which is none of torch's public ones."""
    there = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
    return there and hasattr(torch.ops.mkldnn, "_linear_pointwise")
