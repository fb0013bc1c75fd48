"""How does `hifigan` speak on ONNX Runtime? Its networks are graphs, the integral of the pitch between them is NumPy.

The graphs are exported when a checkpoint is first loaded and kept in the cache; then torch is not needed.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from lib.features import HIFIGAN
from lib.graphs import session
from lib.graphs.export import kept
from lib.graphs.fastest import fastest
from lib.systems import checkpoint as checkpoints
from lib.systems.hifigan.parts import PARTS
from lib.systems.stored_vocoder import StoredVocoder

_WRITERS = ("export.py", "network.py", "config.py")  # the modules that decide what a graph is


class HifiGanOnnx(StoredVocoder):
    """A trained vocoder on ONNX Runtime's CPU provider, from the same folder as on torch."""

    name = "hifigan"

    def __init__(self, folder: str | Path, target: str = "onnxruntime/cpu", threads: int = 2):
        self.folder, self.target, self.threads = Path(folder), target, threads
        self.files = checkpoints.files(folder)
        self.config = PARTS.sizes(folder)
        stages = ("decoder",) if self.config.generator == "v1" else ("pitch", "front", "decoder")
        sources = (*self.files, *(Path(__file__).with_name(name) for name in _WRITERS))
        self.graphs = kept(self.name, stages, sources, self._exported)
        self._open()

    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        given = {"mel": self.checked(log_mel)}
        if "front" in self.graphs:
            source = read_source(*self._run("pitch", given))
            (latents,) = self._run("front", {**given, "source": source})
            given = {"latents": latents}
        (waveform,) = self._run("decoder", given)
        return waveform.reshape(-1).clip(-1, 1)

    def _exported(self) -> dict[str, bytes]:
        from lib.systems.hifigan import export

        return export.graphs(PARTS.load(self.folder)[1])

    def _open(self) -> None:
        decoder = functools.partial(fastest, self.graphs["decoder"], self.threads, self.target)
        self.sessions = session.open_all({**self.graphs, "decoder": decoder}, self.threads, self.target)

    _changed = _open

    def _run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self.sessions[stage].run(None, inputs)


def read_source(voiced: np.ndarray, octaves: np.ndarray) -> np.ndarray:
    """As `network.read_source`: logits (F,) and log2(F0 / 100 Hz) (F,) to (F, 4) float32."""
    heard = voiced > 0
    hz = np.where(heard, np.float32(100) * np.exp2(octaves.clip(-1, 2.5)), np.float32(0))
    cycles = np.cumsum(hz.astype(np.float64) * HIFIGAN.hop / HIFIGAN.sample_rate)
    angle = np.float32(2 * np.pi) * (cycles % 1).astype(np.float32)
    height = 2 * np.log2(np.maximum(hz, np.float32(1)) / np.float32(100))
    known = np.stack([np.sin(angle), np.cos(angle), np.ones_like(angle), height], -1)
    return (known * heard[:, None]).astype(np.float32)
