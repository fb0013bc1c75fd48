"""`whisper-tiny.en` on ONNX Runtime: two graphs, the greedy search between them in NumPy, without torch.

The encoder was trained on windows of 30 s and is given such, silence behind the clip, unless it is told to hear less
of it (`silence_s`). It takes two thirds of the time. Of 24 clips of 4 s by `vits-joe` 15 s and 8 s of silence kept the
word error rate (12.1 % and 11.8 % beside 12.7 %) and took 0.6 and 0.4 of the time, but changed 6 and 9 transcripts;
with 4 s and 2 s it repeated itself without end (270 % and 838 %). So less silence makes another recogniser, which has
to be judged as one, not a faster form of this one.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from lib import audio
from lib.errors import ParameterError, require
from lib.files import content_key
from lib.graphs import session
from lib.graphs.export import kept
from lib.systems.base import Recogniser, Stopwatch, Transcript
from lib.systems.memory import Memory
from lib.systems.whisper.package import (
    EOT,
    LONGEST,
    NO_TIMESTAMPS,
    SAMPLE_RATE,
    SOT,
    WINDOW_S,
    folder,
    front_end,
    windows,
)

HOP = 160  # samples from one frame of the log-mel to the next
FRAMES_PER_STEP = 2  # of the encoder
_LAYERS, _HEADS, _WIDTH = 4, 6, 64  # of the decoder


class WhisperOnnx(Recogniser):
    """The recogniser on ONNX Runtime's CPU provider. silence_s: seconds of silence that are heard behind a clip, at
    most as many as fill 30 s; None: those.
    """

    name = "whisper-tiny.en"
    sample_rate = SAMPLE_RATE
    packages = ("faster-whisper",)  # its log-mels
    silence_s: float | None = None

    def __init__(self, target: str = "onnxruntime/cpu", threads: int = 2):
        tokenizers = require("tokenizers", "tokenizers")
        features = require("faster_whisper.feature_extractor", "faster-whisper==1.2.1")
        self.target, self.threads = target, threads
        self.front_end = front_end()
        self.files = (folder() / "model.bin", *self.front_end)
        sources = (self.files[0], *(Path(__file__).with_name(n) for n in ("export.py", "network.py")))
        self.graphs = kept(self.name, ("encoder", "decoder"), sources, _exported)
        self._log_mel = features.FeatureExtractor(sampling_rate=SAMPLE_RATE)
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder() / "tokenizer.json"))
        self._open()

    def settings(self) -> dict[str, float | None]:
        """How much silence it hears behind a clip."""
        return {"silence_s": self.silence_s} if self.silence_s is not None else {}

    def fingerprint(self) -> str:
        """As of every model, with for how long it may say something."""
        return content_key(super().fingerprint(), LONGEST)

    def configure(self, *, silence_s: float | None = None, **others: object) -> None:
        """silence_s: 0 to 30."""
        if silence_s is not None and not 0 <= silence_s <= WINDOW_S:
            raise ParameterError(f"silence_s is {silence_s}, it must lie between 0 and {WINDOW_S}")
        self.silence_s = self.silence_s if silence_s is None else silence_s
        super().configure(**others)

    def transcribe(self, waveform: np.ndarray, sample_rate: int) -> Transcript:
        """Greedy transcript of a clip of any length, in windows of 30 s."""
        watch, parts = Stopwatch(), []
        for window in windows(waveform, sample_rate):
            with watch.stage("features"):
                features = self.features(window, sample_rate)
            with watch.stage("encoder"):
                names = [end.name for end in self.sessions["encoder"].get_outputs()]
                text = dict(zip(names, self.sessions["encoder"].run(None, {"mel": features})))
            with watch.stage("decoder"):
                tokens = self._search(text)
            parts.append(self._tokenizer.decode(tokens, skip_special_tokens=True).strip())
        return Transcript(" ".join(parts), watch.seconds, len(waveform) / sample_rate)

    def features(self, waveform: np.ndarray, sample_rate: int) -> np.ndarray:
        """Log-mel input (80, frames) of a clip of at most 30 s, with silence behind it."""
        clip = audio.resample(waveform, sample_rate, SAMPLE_RATE)
        silence = WINDOW_S if self.silence_s is None else self.silence_s
        step = FRAMES_PER_STEP * HOP
        length = min(WINDOW_S * SAMPLE_RATE, len(clip) + round(silence * SAMPLE_RATE))
        length = max(step, -(-length // step) * step)
        padded = np.pad(clip, (0, max(0, length - len(clip))))
        frames = self._log_mel(padded, padding=0)[:, : length // HOP]
        return np.ascontiguousarray(frames, np.float32)

    def _search(self, text: dict[str, np.ndarray]) -> list[int]:
        """The most probable token, again and again, until the end is."""
        memory, (never, never_first) = Memory(_LAYERS, _HEADS, _WIDTH), _suppressed()
        said: list[int] = []
        prompt = (SOT, NO_TIMESTAMPS)
        for place in range(len(prompt) - 1 + LONGEST):
            token = prompt[place] if place < len(prompt) else said[-1]
            inputs = {"token": np.array([token]), "place": np.array([place]), **memory.inputs(), **text}
            scores, *new = self.sessions["decoder"].run(None, inputs)
            memory.add(new)
            if place + 1 < len(prompt):
                continue
            scores[never] = -np.inf
            if not said:
                scores[never_first] = -np.inf
            if (token := int(scores.argmax())) == EOT:
                break
            said.append(token)
        return said

    def _open(self) -> None:
        self.sessions = session.open_all(self.graphs, self.threads, self.target)

    _changed = _open


@functools.cache
def _suppressed() -> tuple[np.ndarray, np.ndarray]:
    """Tokens that are never said, and those that are never said first."""
    config = json.loads((folder() / "config.json").read_text(encoding="utf-8"))
    return np.array(config["suppress_ids"]), np.array(config["suppress_ids_begin"])


def _exported() -> dict[str, bytes]:
    from lib.systems.whisper import export
    from lib.systems.whisper.network import load_model

    return export.graphs(load_model())
