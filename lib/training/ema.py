"""Weights averaged over the last steps, which sound better than the last ones (Polyak averaging)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Ema:
    """An exponential moving average of the state of some modules. Early on the decay is small: min(decay,
    (1+n)/(10+n)).
    """

    def __init__(self, modules: dict[str, nn.Module], decay: float):
        self.modules, self.decay, self.updates = modules, decay, 0
        self.average = {
            name: {k: v.detach().clone() for k, v in module.state_dict().items()}
            for name, module in modules.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights of now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, module in self.modules.items():
            for key, value in module.state_dict().items():
                if value.is_floating_point():
                    self.average[name][key].lerp_(value, 1 - decay)
                else:
                    self.average[name][key].copy_(value)

    def load(self, average: dict[str, dict[str, torch.Tensor]], updates: int) -> None:
        """Take over a saved average."""
        self.updates = updates
        for name, state in average.items():
            for key, value in state.items():
                self.average[name][key].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the modules hold the averaged weights."""
        now = {
            name: {k: v.detach().clone() for k, v in module.state_dict().items()}
            for name, module in self.modules.items()
        }
        try:
            for name, module in self.modules.items():
                module.load_state_dict(self.average[name])
            yield
        finally:
            for name, module in self.modules.items():
                module.load_state_dict(now[name])
