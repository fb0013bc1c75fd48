"""How does `istft` speak on ONNX Runtime? Two graphs for what is learnt, NumPy and a Fourier transform around them.

The graphs are written from a checkpoint's arrays when it is first loaded and kept in the cache; then neither torch nor
the ONNX package is needed. Around them lies `stream.Utterance`, for a whole mel as for one that still comes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib import features
from lib.errors import TrainingError
from lib.files import cache_folder, content_key, write_atomic
from lib.graphs import session
from lib.systems import checkpoint as checkpoints
from lib.systems.istft import partial, stream, tables
from lib.systems.istft.config import IstftConfig
from lib.systems.istft.held import Held, held
from lib.systems.istft.parts import PARTS
from lib.systems.istft.tables import LOWEST_HZ, REFERENCE_HZ

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from lib.systems.hibari_vocoder.config import HibariVocoderConfig

WRITERS = (
    "graph.py",
    "tables.py",
    "config.py",
)  # the modules that decide what a graph is, beside the mel's own


class IstftOnnx(Held):
    """A trained vocoder on ONNX Runtime's CPU provider, from the same folder as on torch."""

    name = "istft"
    packages = ("scipy", "threadpoolctl")  # its Fourier transform, and who may wait for whom meanwhile

    def __init__(self, folder: str | Path, target: str = "onnxruntime/cpu", threads: int = 2):
        self.folder, self.target, self.threads = Path(folder), target, threads
        self.files = checkpoints.files(folder)
        self.config, self.graphs = stage_graphs(self.folder)
        self._open()

    def _open(self) -> None:
        self.sessions = session.open_all(self.graphs, self.threads, self.target)

    _changed = _open

    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        log_mel = self.checked(log_mel)
        said = stream.Utterance(Stages(self.sessions, self.config)).push(log_mel, last=True)
        with one_thread():
            return held(said, log_mel, self.passes)

    def stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Log-mels (n, n_bands) as they come -> the waveform as far as it is known, held to no mel; see
        `stream.speak`."""
        return stream.speak(Stages(self.sessions, self.config), map(self.checked, chunks))


def stage_graphs(folder: Path) -> tuple[IstftConfig, dict[str, bytes]]:
    """The sizes of a checkpoint and its graphs, of the cache where they lie there; errors as of `Parts.load`."""
    try:
        config, weights = PARTS.arrays(folder)
    except TrainingError:
        partial.refuse(folder)  # in plainer words, where that is the reason
        raise
    writers = (*(Path(__file__).with_name(name) for name in WRITERS), Path(features.__file__))
    key = content_key(*(path.read_bytes() for path in (*checkpoints.files(folder), *writers)))
    kept = {stage: cache_folder("graphs", f"istft-{key}-{stage}.onnx") for stage in ("pitch", "trunk")}
    if not all(path.is_file() for path in kept.values()):
        from lib.systems.istft import graph

        for stage, made in graph.graphs(config, weights).items():
            write_atomic(kept[stage], made)
    return config, {stage: path.read_bytes() for stage, path in kept.items()}


def one_thread() -> AbstractContextManager:
    """Inside of it NumPy's products take one thread: they are so small that waking a second one costs more than it
    does, above all where others, of ONNX Runtime or of torch, still spin.
    """
    return _pools().limit(limits=1)


@functools.cache
def _pools():
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


class Stages:
    """The graphs of a vocoder, with what their convolutions saw last. sessions: at least of "pitch" and "trunk"."""

    def __init__(self, sessions: Mapping[str, InferenceSession], config: IstftConfig):
        self.sessions, self.config = {name: sessions[name] for name in ("pitch", "trunk")}, config
        self.pitch_lookahead, self.lookahead = self.config.pitch_lookahead, self.config.lookahead
        self.memory = {
            stage: {
                end.name: np.zeros(end.shape, np.float32)
                for end in opened.get_inputs()
                if end.name.endswith("/past")
            }
            for stage, opened in self.sessions.items()
        }

    def hz(self, log_mel: np.ndarray, n_frames: int) -> np.ndarray:
        (logits,) = self._run("pitch", {"mel": ahead(log_mel, self.pitch_lookahead)[:n_frames]})
        return read(logits, self.config)

    def filters(self, log_mel: np.ndarray, source: np.ndarray, hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        real, imaginary, gain = self._run(
            "trunk",
            {
                "mel": log_mel[: len(hz)],
                "ahead": ahead(log_mel, self.lookahead)[: len(hz)],
                "magnitude": np.abs(source),
                "octaves": np.log2(np.maximum(hz, np.float32(LOWEST_HZ)) / np.float32(REFERENCE_HZ))[:, None],
            },
        )
        filters = np.empty(real.shape, np.complex64)
        filters.real, filters.imag = real, imaginary
        return filters, gain

    def noise(self, first: int, n_frames: int) -> np.ndarray:
        return tables.noise()[np.arange(first, first + n_frames) % tables.NOISE_FRAMES]

    def _run(self, stage: str, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        opened, memory = self.sessions[stage], self.memory[stage]
        names = [end.name for end in opened.get_outputs()]
        answers = dict(zip(names, opened.run(None, inputs | memory)))
        for name in memory:
            memory[name] = answers.pop(f"{name.removesuffix('/past')}/next")
        return list(answers.values())


def read(logits: np.ndarray, config: IstftConfig | HibariVocoderConfig, reach: int = 4) -> np.ndarray:
    """(F, bins) -> F0 (F,) float64, as `network.Pitch.hz`: mean of the likeliest class and `reach` on either side."""
    near = np.clip(
        logits.argmax(1)[:, None] + np.arange(-reach, reach + 1), -1, config.pitch_bins
    )  # (F, 2 * reach + 1), beyond the ends: -1, n
    outside = (near < 0) | (near == config.pitch_bins)
    chosen = np.take_along_axis(logits, np.clip(near, 0, config.pitch_bins - 1), 1).astype(np.float64)
    weights = np.where(outside, 0, np.exp(chosen - chosen.max(1, keepdims=True)))
    position = (weights * near).sum(1) / weights.sum(1)
    return config.pitch_low_hz * 2 ** (position * config.pitch_step_cents / 1200)


def ahead(log_mel: np.ndarray, n: int) -> np.ndarray:
    """As `network.ahead`, for one clip (F, n_bands)."""
    moved = min(n, len(log_mel))
    return np.concatenate([log_mel[moved:], np.repeat(log_mel[-1:], moved, 0)])
