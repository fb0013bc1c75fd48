"""How does `hibari-small` speak on ONNX Runtime?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.graphs import session
from lib.graphs.export import kept
from lib.systems import checkpoint as checkpoints
from lib.systems.hibari_small.parts import PARTS
from lib.systems.hibari_small.speaking import HibariSmall

_WRITERS = ("export.py", "network.py", "config.py", "../hifigan/network.py", "../padding.py")


class HibariSmallOnnx(HibariSmall):
    """A student on ONNX Runtime, from the same folder as on torch."""

    def __init__(self, folder: str | Path, target: str = "onnxruntime/cpu", threads: int = 2):
        self._begin(folder, target, threads)
        self.config = PARTS.sizes(folder)
        sources = (*checkpoints.files(folder), *(Path(__file__).parent / name for name in _WRITERS))
        self.graphs = kept(self.name, ("encoder", "prosody", "decoder"), sources, self._exported)
        self._open()

    def _open(self) -> None:
        self.sessions = session.open_all(self.graphs, self.threads, self.target)

    _changed = _open

    def encode(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        known, lasting = self.sessions["encoder"].run(None, {"ids": ids})
        return known, lasting

    def hear(self, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hz, loudness = self.sessions["prosody"].run(None, {"held": held})
        return hz, loudness

    def decode(self, held: np.ndarray, hz: np.ndarray, loudness: np.ndarray) -> np.ndarray:
        return self.sessions["decoder"].run(None, {"held": held, "hz": hz, "loudness": loudness})[0]

    def _exported(self) -> dict[str, bytes]:
        from lib.systems.hibari_small import export

        config, networks = PARTS.load(self.folder)
        return export.graphs(networks, config)
