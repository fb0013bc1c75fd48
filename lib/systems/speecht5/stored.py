"""How does a `speecht5` lie on disk? Readable without torch; its network is built when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.systems import checkpoint
from lib.systems.speecht5.config import NetworkConfig

if TYPE_CHECKING:
    from lib.systems.speecht5.network import SpeechT5Network


def _build(config: NetworkConfig, n_speakers: int, seed: int = 0) -> SpeechT5Network:
    from lib.systems.speecht5 import network

    return network.build(config, n_speakers, seed)


checkpoints = checkpoint.Kind("speecht5", NetworkConfig, _build)
