"""How does a `hifigan` lie on disk? Readable without torch; its networks are built when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.systems import checkpoint
from lib.systems.hifigan.config import GeneratorConfig

if TYPE_CHECKING:
    from torch import nn


def _build(config: GeneratorConfig) -> dict[str, nn.Module]:
    from lib.systems.hifigan import network

    return network.build(config, warm=False)


PARTS = checkpoint.Parts("hifigan", GeneratorConfig, _build, section="generator", keyed=False)
save = PARTS.save
