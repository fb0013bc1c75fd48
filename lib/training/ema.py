"""Weights averaged over the last steps, which sound better than the last ones (Polyak averaging)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class Ema:
    """An exponential moving average of modules, on torch's `AveragedModel`.

    Two things are ours, for `get_ema_multi_avg_fn` has neither. Early on the decay is small, min(decay, (1+n)/(10+n)):
    a short training would otherwise hear mostly of its random start. And counters among the buffers (batch norm's)
    are taken over as they are, where averaging would round them to nonsense.
    """

    def __init__(self, modules: dict[str, nn.Module], decay: float):
        self.sources, self.decay, self.updates = modules, decay, 0
        self.modules: dict[str, nn.Module] = {}  # the averaged copies, in evaluation mode
        self._models = {
            name: AveragedModel(module, multi_avg_fn=self._move, use_buffers=True)
            for name, module in modules.items()
        }
        for name, model in self._models.items():
            model.n_averaged.fill_(1)  # the weights of now are the first in the average; 0 would drop them
            self.modules[name] = model.module.eval().requires_grad_(False)

    def update(self) -> None:
        """Move the average towards the weights of now."""
        self.updates += 1
        for name, module in self.sources.items():
            self._models[name].update_parameters(module)

    def state_dicts(self) -> dict[str, dict[str, torch.Tensor]]:
        """Name -> the averaged state dict, with the module's own keys."""
        return {name: module.state_dict() for name, module in self.modules.items()}

    def load(self, states: dict[str, dict[str, torch.Tensor]], updates: int) -> None:
        """Take over a saved average."""
        self.updates = updates
        for name, state in states.items():
            self.modules[name].load_state_dict(state)

    @contextmanager
    def applied(self, networks: dict[str, nn.Module]) -> Iterator[None]:
        """Inside, the averaged copies stand in `networks` (name -> module) in place of what they were copied from."""
        own = {name: networks[name] for name in self.modules}
        networks.update(self.modules)
        try:
            yield
        finally:
            networks.update(own)

    @torch.no_grad()
    def _move(self, average: list[torch.Tensor], now: list[torch.Tensor], _: object) -> None:
        """What AveragedModel calls for all tensors of one kind."""
        if not average[0].is_floating_point():
            torch._foreach_copy_(average, now)
            return
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(average, now, 1 - decay)
