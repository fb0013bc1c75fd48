"""Is a layer nothing but its weights, so that they may be read, or is it more, so that it has to be called?

A few places multiply with a layer's weights themselves, fused with those of its neighbours, because that is faster.
It is right for a plain layer alone: an adapter, a pruning mask, a hook or packed int8 weights would be passed over.
"""

from __future__ import annotations

import torch
from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def plain(*layers: nn.Module) -> bool:
    """Whether calling each of the layers is the same as multiplying with its weights as they are now.

    Not so for a layer that wraps or replaces one of torch's own (adapters, int8), that carries hooks (pruning masks) or
    a `forward` of its own (offloading), or whose weights are tensors of another kind (packed 4- and 8-bit weights).
    """
    return all(
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
