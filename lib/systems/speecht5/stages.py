"""How do `speecht5` and `speecht5-base` speak on ONNX Runtime? With three graphs, and the loop between them in NumPy.

The same seed draws the same dropout as on torch, so the same frames are said, but for rounding.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lib.errors import AudioError, TextError
from lib.features import SPEECHT5
from lib.graphs import session
from lib.graphs.export import kept
from lib.systems import draws, positions
from lib.systems.acoustic_onnx import AcousticOnnx
from lib.systems.attention import Reading
from lib.systems.base import Speech, Stopwatch, System
from lib.systems.before_vocoder import Spectrogram
from lib.systems.memory import Memory
from lib.systems.speecht5.config import POSITIONS, PRENET_DROPOUT, PUBLISHED, NetworkConfig
from lib.systems.speecht5.limits import Limits, Window, characters, portions, spoken_length
from lib.systems.speecht5.stored import checkpoints

log = logging.getLogger(__name__)

STAGES = ("encoder", "decoder", "postnet")
WRITERS = ("export.py", "network.py", "config.py", "../padding.py", "../standardised.py")


class SpeechT5Onnx(AcousticOnnx):
    """A trained acoustic model, loaded from the same folder as on torch, before a vocoder (see `BeforeVocoder`)."""

    name, attends = "speecht5", True
    checkpoints, manner = checkpoints, "limits"
    limits = Limits()
    stages, writers = STAGES, WRITERS

    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """As on torch."""
        readings = []
        with watch.stage("phonemes"):
            phones = self._known(sentence)
        for index, portion in enumerate(portions(phones)):
            readings.append(self._read(portion, seed + index, watch))
        notes = tuple(note for reading in readings for note in reading.failures.notes(reading.phones))
        for note in notes:
            log.warning("%s: %r: %s", self.name, sentence[:40], note)
        return Spectrogram(np.concatenate([reading.log_mel for reading in readings]), phones, notes=notes)

    def read(self, sentence: str, seed: int = 0) -> tuple[Reading, ...]:
        """The portions of a sentence (mostly one) up to their mels and alignments, to be looked at or judged."""
        parts = portions(self._known(sentence))
        return tuple(self._read(part, seed + index, Stopwatch()) for index, part in enumerate(parts))

    def _read(self, phones: tuple[str, ...], seed: int, watch: Stopwatch) -> Reading:
        said = read(self.sessions, self.config, self._inputs(phones), self.limits, seed, watch)
        return Reading(phones, *said)

    def _exported(self) -> dict[str, bytes]:
        from lib.systems.speecht5 import export

        return export.graphs(self.checkpoints.load(self.folder)[2])


class SpeechT5BaseOnnx(System):
    """The published sizes with random weights, with the published vocoder: for speed, memory and size, never for
    quality. It says the noise that it says on torch.
    """

    name = "speecht5-base"
    sample_rate = SPEECHT5.sample_rate

    def __init__(self, *, target: str = "onnxruntime/cpu", threads: int = 2):
        self.target, self.threads = target, threads
        names = (*WRITERS, "system.py", "../hifigan/export.py")
        sources = (Path(__file__).parent / name for name in names)
        self.graphs = kept(self.name, (*STAGES, "vocoder"), sources, _exported_base)
        self._open()
        self._limits = spoken_length()

    @property
    def size_mb(self) -> float:
        """10^6 bytes of a saved variant's files; of the baseline, which has none, of its weights in memory."""
        return super().size_mb or self.loaded_mb

    @property
    def size_kind(self) -> str:
        """Whether `size_mb` is of files."""
        return "measured" if self.files else "estimated"

    def speak(self, sentence: str, seed: int) -> Speech:
        """As on torch."""
        watch = Stopwatch()
        inputs = {"ids": np.array(characters(sentence), np.int64), "speaker": np.zeros(1, np.int64)}
        log_mel, _, _ = read(self.sessions, PUBLISHED, inputs, self._limits, seed, watch)
        with watch.stage("vocoder"):
            (waveform,) = self.sessions["vocoder"].run(None, {"mel": log_mel})
        return Speech(
            waveform, self.sample_rate, watch.seconds, notes=("random weights: noise, for its timing alone",)
        )

    def _open(self) -> None:
        self.sessions = session.open_all(self.graphs, self.threads, self.target)

    _changed = _open


def read(
    sessions: Mapping[str, Any],
    config: NetworkConfig,
    inputs: Mapping[str, np.ndarray],
    limits: Limits,
    seed: int,
    watch: Stopwatch,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """(log-mel (F, n_bands), alignment (S, T), stopped) of one sentence, each stage timed. inputs: ids and speaker."""
    n_symbols = len(inputs["ids"])
    if n_symbols > POSITIONS:
        raise TextError(
            f"a sentence of {n_symbols} symbols is longer than the {POSITIONS} that the network can count: cut it"
        )
    with watch.stage("encoder"):
        places = positions.sines(config.hidden, POSITIONS)
        names = [end.name for end in sessions["encoder"].get_outputs()]
        encoded = sessions["encoder"].run(None, {**inputs, "positions": places[:n_symbols]})
        text = dict(zip(names, encoded))
    with watch.stage("decoder"):
        rough, alignment, stopped = _decode(sessions["decoder"], config, text, n_symbols, limits, seed)
    if not np.isfinite(rough).all():
        raise AudioError(
            f"the network makes frames that are not numbers of {n_symbols} symbols: its weights are broken; take "
            "another checkpoint"
        )
    with watch.stage("postnet"):
        (log_mel,) = sessions["postnet"].run(None, {"rough": rough})
    return log_mel, alignment, stopped


def _decode(
    step: Any, config: NetworkConfig, text: dict[str, np.ndarray], n_symbols: int, limits: Limits, seed: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """(frames (F, n_bands) before the postnet, alignment (S, T), stopped), as `decoding.decode`."""
    least, most = limits.steps(n_symbols, config.reduction)
    keep = draws.uniform((most, config.prenet_layers, config.prenet), seed) >= PRENET_DROPOUT
    keep = keep.astype(np.float32) / np.float32(1 - PRENET_DROPOUT)
    places = positions.sines(config.hidden, POSITIONS)
    nearness = text["nearness"] if config.ahead else np.zeros(n_symbols, np.float32)
    memory = Memory(config.decoder_layers, config.heads, config.hidden // config.heads)
    frames = np.empty((most, config.reduction, config.features.n_bands), np.float32)
    alignment = np.zeros((most, n_symbols), np.float32)
    frame, stopped, count = np.zeros((1, config.features.n_bands), np.float32), False, 0
    window = Window(config, n_symbols, limits.linger)
    while count < most and not stopped:
        first, end = window.bounds()
        inputs = {
            "frame": frame,
            "keep": keep[count],
            "position": places[count : count + 1],
            "voice": text["voice"],
            "nearness": nearness[window.nearness()] if config.ahead else nearness,
            **memory.inputs(),
            **_seen(text, first, end),
        }
        frames[count], stop, looked, *new = step.run(None, inputs)
        memory.add(new)
        alignment[count, first:end] = looked
        frame, count = frames[count, -1:], count + 1
        window.move(int(alignment[count - 1].argmax()))
        stopped = count >= least and window.bounds()[1] == n_symbols and stop >= limits.threshold
    rough = frames[:count].reshape(count * config.reduction, -1)
    return rough, alignment[:count] / (config.decoder_layers * config.guided), bool(stopped)


def _seen(text: dict[str, np.ndarray], first: int, end: int) -> dict[str, np.ndarray]:
    """The keys and values of the symbols from the first to before the last, of every layer."""
    whose = {"text_keys": (..., slice(first, end)), "text_values": (slice(None), slice(first, end))}
    return {
        name: np.ascontiguousarray(values[whose[kind]])
        for name, values in text.items()
        if (kind := name.partition(".")[0]) in whose
    }


def _exported_base() -> dict[str, bytes]:
    from lib.systems.hifigan.export import published
    from lib.systems.speecht5 import export
    from lib.systems.speecht5.system import published_networks

    model, vocoder = published_networks()
    return {**export.graphs(model), "vocoder": published(vocoder)}
