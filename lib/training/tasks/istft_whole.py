"""How does the `istft` learn that sees the whole mel? As the one that streams, from pieces with frames behind them.

It goes on from that one's weights: of what a convolution looked back on the nearer half is kept, and what it looks
ahead on begins with nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lib.systems.istft import IstftConfig, whole
from lib.training.tasks import istft


@dataclass(frozen=True)
class Learning(istft.Learning):
    """The recipe's `model` part."""

    @property
    def future_frames(self) -> int:
        return self.past_frames


class WholeTask(istft.IstftTask):
    """As `istft`'s own task."""

    Config = Learning
    parts = whole.PARTS

    @staticmethod
    def built(config: IstftConfig, seed: int) -> dict[str, torch.nn.Module]:
        return whole.build(config, seed)

    def start(self, name: str) -> None:
        """As `istft.start`; the weights of one that streams are centred."""
        if istft.start(self.modules, name) != whole.SYSTEM:
            for network in ("pitch", "trunk"):
                recentred(self.modules[network])


@torch.no_grad()
def recentred(reader: torch.nn.Module) -> None:
    """Move the taps of convolutions that looked back alone to where they lie now that they look to both sides."""
    for layer, convolution in ((reader, reader.input), *((b, b.depthwise) for b in reader.blocks)):
        taps = convolution.weight.clone()
        convolution.weight.zero_()
        convolution.weight[..., : taps.shape[-1] - layer.future] = taps[..., layer.future :]
