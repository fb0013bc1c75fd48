"""How does a `fastspeech2` lie on disk? Readable without torch; its network is built when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lib.systems import checkpoint
from lib.systems.fastspeech2.config import NetworkConfig

if TYPE_CHECKING:
    from lib.systems.fastspeech2.network import FastSpeech2Network


def _build(config: NetworkConfig, n_speakers: int, seed: int = 0) -> FastSpeech2Network:
    from lib.systems.fastspeech2 import network

    return network.build(config, n_speakers, seed)


checkpoints = checkpoint.Kind("fastspeech2", NetworkConfig, _build)
