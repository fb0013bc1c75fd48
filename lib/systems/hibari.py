"""`hibari`: a 24 kHz female voice of 7.9 MB in int8 ONNX, the second speaker and a fast reference system.

Text front end, network and signal processing are those of the pip package (Apache-2.0); it was distilled from
Kokoro-82M and generates harmonics and noise by classic signal processing after a small network.
"""

from __future__ import annotations

import numpy as np

from lib.errors import TextError, require
from lib.systems.base import Speech, Stopwatch, System
from lib.systems.vits_joe.stages import session

PACKAGE = "hibari-tts==0.2.1"


class Hibari(System):
    """The bundled voice "heart" on ONNX Runtime's CPU provider."""

    name = "hibari"
    sample_rate = 24_000
    modules: dict = {}

    def __init__(self, target: str = "onnxruntime/cpu", threads: int = 2):
        from pathlib import Path

        self.target = target
        package = require("hibari", PACKAGE)
        self._dsp = require("hibari.dsp", PACKAGE)
        self._voice = package.Hibari(threads=threads)
        self._voice.sess = session(
            self._voice.model_path, threads
        )  # the package's own session leaves its threads spinning
        self._voice.g2p  # noqa: B018  the lexicon is loaded on first use; load it here, not inside a measurement
        self.size_mb = Path(self._voice.model_path).stat().st_size / 1e6
        self.params_m = _weights(self._voice.model_path) / 1e6

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
            with watch.stage("vocoder"):
                parts.append(self._dsp.synth(*(output[0] for output in outputs), noise))
        return Speech(np.concatenate(parts).astype(np.float32), self.sample_rate, watch.seconds)


def _weights(path: str) -> int:
    """Parameters of a quantized ONNX file: its matrices and biases, without the scales and zero points."""
    import onnx

    graph = onnx.load(path).graph
    skip = ("_scale", "_zero_point")
    return sum(int(np.prod(t.dims)) for t in graph.initializer if t.dims and not t.name.endswith(skip))
