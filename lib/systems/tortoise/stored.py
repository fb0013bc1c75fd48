"""How does a `tortoise` lie on disk? Readable without torch; its network is built when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.systems import checkpoint
from lib.systems.tortoise.config import NetworkConfig

if TYPE_CHECKING:
    from lib.systems.tortoise.joint import TortoiseNetwork


def _build(config: NetworkConfig, n_speakers: int, seed: int = 0) -> TortoiseNetwork:
    from lib.systems.tortoise import joint

    return joint.build(config, n_speakers, seed)


checkpoints = checkpoint.Kind("tortoise", NetworkConfig, _build)
