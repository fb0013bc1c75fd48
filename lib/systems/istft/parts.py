"""How does an `istft` lie on disk? Readable without torch; its networks are built when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.systems import checkpoint
from lib.systems.istft.config import IstftConfig

if TYPE_CHECKING:
    from torch import nn


def _build(config: IstftConfig) -> dict[str, nn.Module]:
    from lib.systems.istft import network

    return network.build(config)


PARTS = checkpoint.Parts("istft", IstftConfig, _build)
save = PARTS.save
