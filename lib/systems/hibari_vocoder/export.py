"""Which ONNX graph is what `hibari-vocoder` learnt?

front     mel (F, 80) at the decoder's rate -> found (129, F), voiced (F,), a logit, and pitch (bins, F), logits
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from lib.features import HIFIGAN
from lib.graphs.export import export

_FRAMES = 24  # of the example


def graphs(networks: Mapping[str, nn.Module]) -> dict[str, bytes]:
    """That of `network.build`'s, by its name."""
    mel = torch.randn(_FRAMES, HIFIGAN.n_bands)
    outputs = ["found", "voiced", "pitch"]
    return {"front": export(_Front(networks["front"]), {"mel": mel}, outputs, {"mel": {0: "frames"}})}


class _Front(nn.Module):
    def __init__(self, front: nn.Module):
        super().__init__()
        self.front = front

    def forward(self, mel: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(found[0] for found in self.front(mel[None]))
