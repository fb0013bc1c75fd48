"""How does `tacotron2` speak on ONNX Runtime? With three graphs, and the loop between them in NumPy.

The same seed draws the same dropout as on torch, so the same frames are said, but for rounding.
"""

from __future__ import annotations

import logging

import numpy as np

from lib.errors import AudioError
from lib.systems import draws
from lib.systems.acoustic_onnx import AcousticOnnx
from lib.systems.attention import Reading
from lib.systems.base import Stopwatch
from lib.systems.before_vocoder import Spectrogram
from lib.systems.tacotron2.config import Gate, steps_allowed, steps_needed
from lib.systems.tacotron2.stored import checkpoints

log = logging.getLogger(__name__)


class Tacotron2Onnx(AcousticOnnx):
    """A trained acoustic model, loaded from the same folder as on torch, before a vocoder (see `BeforeVocoder`)."""

    name, attends = "tacotron2", True
    checkpoints, manner = checkpoints, "gate"
    gate = Gate()
    stages = ("encoder", "decoder", "postnet")
    writers = (
        "export.py",
        "network.py",
        "decoder.py",
        "layers.py",
        "reader.py",
        "config.py",
        "../padding.py",
        "../standardised.py",
        "../attention.py",
    )

    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """As on torch."""
        with watch.stage("phonemes"):
            phones = self._known(sentence)
        with watch.stage("acoustic_model"):
            reading = self._read(phones, seed)
        notes = reading.failures.notes(reading.phones)
        for note in notes:
            log.warning("%s: %r: %s", self.name, sentence[:40], note)
        return Spectrogram(reading.log_mel, reading.phones, notes=notes)

    def read(self, sentence: str, seed: int = 0) -> tuple[Reading, ...]:
        """The sentence, in one piece, up to its mel and alignment, to be looked at or judged."""
        return (self._read(self._known(sentence), seed),)

    def _read(self, phones: tuple[str, ...], seed: int) -> Reading:
        memory, projected = self.sessions["encoder"].run(None, self._inputs(phones))
        rough, alignment, stopped = self._decode({"memory": memory, "projected": projected}, seed)
        (log_mel,) = self.sessions["postnet"].run(None, {"rough": rough})
        if not np.isfinite(log_mel).all():
            raise AudioError(
                "the network says what is not a number: it is not trained, or its weights are broken; take another "
                "checkpoint"
            )
        return Reading(phones, log_mel, alignment, stopped)

    def _decode(self, text: dict[str, np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray, bool]:
        """(frames (F, n_bands) before the postnet, alignment (S, T), stopped), as `decoder.Decoder.read`."""
        config, step = self.config, self.sessions["decoder"]
        n_symbols = len(text["memory"])
        allowed, needed = (count(n_symbols, config.frames_per_step) for count in (steps_allowed, steps_needed))
        share = 1 - config.prenet_dropout
        keep = draws.bernoulli((allowed, 2, config.prenet), share, seed) / np.float32(share)
        widths = {
            "hidden": config.attention_rnn,
            "cell": config.attention_rnn,
            "context": config.embedding,
            "weights": n_symbols,
            "total": n_symbols,
            "rnn_hidden": config.decoder_rnn,
            "rnn_cell": config.decoder_rnn,
        }
        state = {name: np.zeros((1, width), np.float32) for name, width in widths.items()}
        frames = [np.zeros((1, self.mel.n_bands * config.frames_per_step), np.float32)]
        alignment: list[np.ndarray] = []
        stopped = False
        while not stopped and len(alignment) < allowed:
            inputs = {"said": frames[-1], "keep": keep[len(alignment)], **text, **state}
            said, stop, *after = step.run(None, inputs)
            state = dict(zip(widths, after))
            frames.append(said)
            alignment.append(state["weights"][0])
            stopped = bool(len(alignment) >= needed and stop[0] > self.gate.threshold)
        return np.concatenate(frames[1:]).reshape(-1, self.mel.n_bands), np.stack(alignment), stopped

    def _exported(self) -> dict[str, bytes]:
        from lib.systems.tacotron2 import export

        return export.graphs(self.checkpoints.load(self.folder)[2])
