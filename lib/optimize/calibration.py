"""What does a stage of a system see when it speaks, and in which range do its tensors lie? For scales that are set
once, before anything is spoken.

The system itself reads the given sentences, and what goes into the graph is noted; a vocoder copies its teacher's
reading of them. ONNX Runtime then finds the range of every tensor: all of it (minmax), all but the outermost share
(percentile), or what loses least when it is cut off (entropy). Ranges are kept by content: a study makes dozens of
variants from the same ones.
"""

from __future__ import annotations

import functools
import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import audio, features, systems
from lib.corpora import gutenberg
from lib.errors import ParameterError, require, unknown
from lib.files import cache_folder, content_key, write_atomic
from lib.systems.model import Model, Part
from lib.target import versions

if TYPE_CHECKING:
    from lib.systems.base import System, Vocoder

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
Feeds = list[dict[str, np.ndarray]]  # what goes into a graph, run by run
EVERY = 16  # of a graph that runs many times in a sentence (a decoder's step), every so many runs are noted


def texts(sentences: Sequence[str]) -> list[str]:
    """What is to be read. sentences: ids of `lib.corpora.gutenberg` or texts; ParameterError for none, for an unknown
    id, and for one of the test sentences, which the variant will be judged on.
    """
    if isinstance(sentences, str) or not len(sentences):
        raise ParameterError(
            "calibration needs data: give `sentences`, a list of texts or of ids of lib.corpora.gutenberg "
            "(8 of its validation sentences do)"
        )
    ids = [s for s in sentences if " " not in s.strip()]
    known = {s.id: s for s in gutenberg.sentences()} if ids else {}
    for name in ids:
        if name not in known:
            raise unknown("sentence", name, known)
        if known[name].split == "test":
            raise ParameterError(
                f"{name} is a test sentence: calibrate on others, such as the validation sentences"
            )
    return [known[s].text if s in known else s for s in sentences]


def feeds(system: Model, stages: Sequence[str], sentences: Sequence[str], *, seed: int = 0) -> dict[str, Feeds]:
    """What each of some stages of a system on ONNX Runtime sees while it reads the sentences, sentence i with
    seed + i.
    """
    copy = system.adjusted()
    seen: dict[str, Feeds] = {stage: [] for stage in stages}
    holders, noting = [(copy, "")], []
    if isinstance(getattr(getattr(copy, "vocoder", None), "graphs", None), Part):
        holders.append((copy.vocoder, copy.vocoder.graphs.prefix))
    for stage in stages:
        holder, name = next(
            (
                (holder, stage.removeprefix(prefix))
                for holder, prefix in reversed(holders)
                if stage.startswith(prefix) and stage.removeprefix(prefix) in getattr(holder, "sessions", {})
            ),
            (None, ""),
        )
        if holder is None:
            raise ParameterError(
                f"{system.name} does not show what goes into its graph {stage}: it cannot be calibrated; take "
                "int8-dynamic, which needs no data"
            )
        holder.sessions = {**holder.sessions, name: _Noting(holder.sessions[name], seen[stage])}
        noting.append(holder.sessions[name])
    for number, text in enumerate(texts(sentences)):
        for session in noting:
            session.begin()
        if system.kind == "vocoder":
            copy.vocode(mel(system, text, seed + number))
        else:
            copy.synthesize(text, seed + number)
    return seen


def ranges(graph: bytes, seen: Feeds, method: str, *, percentile: float = 99.99) -> Path:
    """The file (of the cache) with the range of every tensor of a serialized graph, as `quantize_static` takes it."""
    if method not in METHODS:
        raise unknown("method of calibration", method, METHODS)
    if not 50 < percentile <= 100:
        raise ParameterError(f"a percentile of {percentile} keeps too little: give more than 50, at most 100")
    if not seen:
        raise ParameterError("calibration needs data: this graph was not run once on the sentences given")
    calibrate = require("onnxruntime.quantization.calibrate", "onnxruntime==1.31.1")
    data = [value.tobytes() for feed in seen for _, value in sorted(feed.items())]
    version = versions(("onnxruntime",))
    key = content_key(
        graph, *data, method, percentile if method == "percentile" else 0, version, Path(__file__).read_bytes()
    )
    path = cache_folder("calibration", f"{key}.json")
    if path.is_file():
        return path
    with tempfile.TemporaryDirectory() as folder, quietly():
        before, result = Path(folder, "fp32.onnx"), Path(folder, "ranges.json")
        before.write_bytes(graph)
        calibrator = calibrate.create_calibrator(
            before,
            None,
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=getattr(calibrate.CalibrationMethod, METHODS[method]),
            extra_options={"percentile": percentile} if method == "percentile" else {},
        )
        for feed in seen:  # one at a time: it keeps every tensor of a batch in memory
            calibrator.collect_data(_Reader([feed]))
        calibrate.save_tensors_data(calibrator.compute_data(), result)
        write_atomic(path, result.read_bytes())
    return path


def told(ranges: Mapping[str, tuple[float, float]]) -> Path:
    """As `ranges`, the file of ranges that are known: of each tensor the least and the largest value."""
    calibrate = require("onnxruntime.quantization.calibrate", "onnxruntime==1.31.1")
    path = cache_folder("calibration", f"{content_key('told', sorted(ranges.items()))}.json")
    ends = {name: tuple(map(np.float32, own)) for name, own in ranges.items()}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "ranges.json")
        calibrate.save_tensors_data(calibrate.TensorsData(calibrate.CalibrationMethod.MinMax, ends), result)
        return write_atomic(path, result.read_bytes())


@contextmanager
def quietly() -> Iterator[None]:
    """ONNX Runtime's quantizer talks on the root logger (it advises to preprocess, which these graphs do not need), and
    the first word there gives it a handler, which would print every later line of everybody twice. What it finds out
    about histograms it prints.
    """
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    root.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


class _Noting:
    """A session that notes what it is given: in each sentence the first time, and every `EVERY` times."""

    def __init__(self, session: Any, seen: Feeds):
        self._session, self._seen = session, seen
        self.begin()

    def begin(self) -> None:
        """A sentence begins."""
        self._runs = 0

    def run(self, outputs, inputs):
        if self._runs % EVERY == 0:
            self._seen.append({name: np.array(value) for name, value in inputs.items()})
        self._runs += 1
        return self._session.run(outputs, inputs)

    def __getattr__(self, name: str):
        return getattr(self._session, name)


class _Reader:
    """What ONNX Runtime's calibrator reads from."""

    def __init__(self, seen: Feeds):
        self._left = iter(seen)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def mel(vocoder: "Vocoder", text: str, seed: int) -> np.ndarray:
    """The log-mel (F, n_bands) of the teacher's reading of a text."""
    teacher = _teacher(systems.teachers().get(vocoder.name) or "vits-joe", vocoder.threads)
    speech = teacher.synthesize(text, seed)
    waveform = audio.resample(speech.waveform, speech.sample_rate, vocoder.mel.sample_rate)
    return features.log_mel(waveform, vocoder.mel)


@functools.cache
def _teacher(name: str, threads: int) -> "System":
    return systems.load(name, threads=threads)
