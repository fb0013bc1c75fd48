"""How does a `tacotron2` lie on disk? Readable without torch; its network is built when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.systems import checkpoint
from lib.systems.tacotron2.config import NetworkConfig

if TYPE_CHECKING:
    from lib.systems.tacotron2.network import Tacotron2Network


def _build(config: NetworkConfig, n_speakers: int, seed: int = 0) -> Tacotron2Network:
    from lib.systems.tacotron2 import network

    return network.build(config, n_speakers, seed)


checkpoints = checkpoint.Kind("tacotron2", NetworkConfig, _build)
