"""How does `istft` speak when a part of it is taken away? What the trunk says is changed behind it, in training
as in speech, so that the networks, the signal and whoever speaks stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lib.systems.istft import signal, tables

SILENT = -1e4  # added to a log gain: its exponential is 0


def deny(trunk: nn.Module, without: tuple[str, ...]) -> None:
    """Take parts away from every vocoder with this trunk; without: names of `partial.REMOVABLE`."""
    if without:
        trunk.without = without  # part of its fingerprint
        trunk.register_forward_hook(_Denial(without))


@dataclass(frozen=True)
class _Denial:
    """What a trunk corrects, changed so that with the prior added (`network.filters`) the parts are gone."""

    without: tuple[str, ...]

    def __call__(self, trunk: nn.Module, inputs: tuple, correction: torch.Tensor) -> torch.Tensor:
        """inputs: of `network.Trunk`; correction and the answer: (B, F, 3 * 513)."""
        log_mel, of_source = inputs[:2]
        log_h, angle, log_g = signal.prior(log_mel[:, : of_source.shape[1]], of_source)  # (B, F, 513) each
        more_h, more_angle, more_g = correction.float().chunk(3, -1)
        if "magnitude" in self.without:  # as loud as speech usually is, and no more is known
            more_h = more_h - log_h + (tables.MEL_MEAN - tables.SOURCE_MEAN)
            more_g = more_g - log_g + (tables.MEL_MEAN - tables.noise_level())
        if "learnt-phase" in self.without:
            more_angle = torch.zeros_like(more_angle)
        if "minimum-phase" in self.without:
            more_angle = more_angle - angle
        if "pulses" in self.without:
            more_h = torch.full_like(more_h, SILENT)
        if "noise" in self.without:
            more_g = torch.full_like(more_g, SILENT)
        return torch.cat([more_h, more_angle, more_g], -1)
