"""`hibari`: a 24 kHz female voice of 7.9 MB in int8 ONNX, the second speaker and a fast reference system.

Text front end, network and signal processing are those of the pip package (Apache-2.0); it was distilled from
Kokoro-82M and generates harmonics and noise by classic signal processing after a small network.
"""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np

from lib.errors import TextError, require
from lib.graphs import session
from lib.systems.base import Speech, Stopwatch, System

PACKAGE = "hibari-tts==0.2.1"


class Hibari(System):
    """The bundled voice "heart" on ONNX Runtime's CPU provider."""

    name = "hibari"
    sample_rate = 24_000
    packages = ("hibari-tts",)  # its front end and signal processing

    def __init__(self, target: str = "onnxruntime/cpu", threads: int = 2):
        self.target, self.threads = target, threads
        package = require("hibari", PACKAGE)
        self._dsp = require("hibari.dsp", PACKAGE)
        self._voice = package.Hibari(threads=threads)
        self._voice.g2p  # noqa: B018  the lexicon is loaded on first use; load it here, not inside a measurement
        graph = Path(self._voice.model_path)
        # The package holds what British voices read by, too, which this one does not need.
        assets = [path for path in graph.parent.iterdir() if "_gb" not in path.name]
        self.files = tuple(sorted(assets))
        self.front_end = tuple(path for path in self.files if path != graph)
        self.graphs = {"voice": graph.read_bytes()}
        self._open()

    def _open(self) -> None:
        # The package's own always spins.
        self._voice.sess = session.open(self.graphs["voice"], self.threads, target=self.target)

    def _copy_networks(self) -> None:
        self._voice = copy.copy(self._voice)  # its session is another one's

    _changed = _open

    def speak(self, sentence: str, seed: int) -> Speech:
        watch = Stopwatch()
        noise = np.random.default_rng(seed)
        with watch.stage("phonemes"):
            chunks = [self._voice.ids(phonemes) for phonemes in self._voice.phonemize(sentence)]
            if not chunks:
                raise TextError(f"the voice has no phoneme for anything in {sentence[:40]!r}")
        parts = []
        for ids in chunks:
            with watch.stage("acoustic_model"):
                outputs = self._voice.sess.run(
                    None, {"ids": np.array([ids], np.int64), "speed": np.ones(1, np.float32)}
                )
            with watch.stage("signal_processing"):
                parts.append(self._dsp.synth(*(output[0] for output in outputs), noise))
        return Speech(np.concatenate(parts).astype(np.float32), self.sample_rate, watch.seconds)
