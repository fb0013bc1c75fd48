"""How does `hibari-vocoder` speak on ONNX Runtime? What was learnt is exported, the decoder is the published graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lib.graphs import session
from lib.graphs.export import kept
from lib.systems import checkpoint as checkpoints
from lib.systems.hibari_vocoder import published, signal
from lib.systems.hibari_vocoder.following import Following
from lib.systems.hibari_vocoder.parts import PARTS
from lib.systems.istft.onnx_vocoder import one_thread

_WRITERS = ("export.py", "network.py", "config.py", "../hifigan/network.py")  # the modules that decide what a graph is


class HibariVocoderOnnx(Following):
    """A trained vocoder on ONNX Runtime's CPU provider, from the same folder as on torch."""

    name = "hibari-vocoder"
    packages = (*Following.packages, "hibari-tts", "scipy", "threadpoolctl")

    def __init__(self, folder: str | Path, target: str = "onnxruntime/cpu", threads: int = 2):
        self.folder, self.target, self.threads = Path(folder), target, threads
        self.config = PARTS.sizes(folder)
        decoder = published.decoder_file()
        self.files = (*checkpoints.files(folder), published.graph_file())
        writers = (Path(__file__).parent / name for name in _WRITERS)
        sources = (*checkpoints.files(folder), *writers)
        graphs = kept(self.name, ("front",), sources, self._exported)
        self.graphs = {**graphs, "decoder": decoder.read_bytes()}
        self._open()

    def _open(self) -> None:
        self.sessions = session.open_all(self.graphs, self.threads, self.target)

    _changed = _open

    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        log_mel = self.checked(log_mel)
        frames = signal.at_decoder(log_mel, signal.n_frames(len(log_mel)))
        found, voiced, logits = self.sessions["front"].run(None, {"mel": frames})
        pitch = signal.hz(voiced, logits, self.config)
        spectra = self.sessions["decoder"].run(None, {published.INPUTS: signal.fed(found, pitch)})
        said = signal.spoken([of[0] for of in spectra], pitch, len(log_mel), seed)
        with one_thread():
            return self._held(said, log_mel)

    def _exported(self) -> dict[str, bytes]:
        from lib.systems.hibari_vocoder import export

        return export.graphs(PARTS.load(self.folder)[1])
