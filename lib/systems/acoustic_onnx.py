"""What do all systems share that make a mel spectrogram with graphs on ONNX Runtime?

The graphs are exported from a checkpoint when it is first loaded and kept in the cache; then torch is not needed, as
long as the vocoder does without it, too.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from lib.features import HIFIGAN
from lib.graphs import session
from lib.graphs.export import kept
from lib.systems import checkpoint as checkpoint_folder
from lib.systems import symbols
from lib.systems.base import Vocoder
from lib.systems.before_vocoder import VOCODER, BeforeVocoder


class AcousticOnnx(BeforeVocoder):
    """Stages of an acoustic model in `graphs`, before a vocoder (see `BeforeVocoder`). Subclasses say which stages
    there are, how they are exported and how they read.
    """

    stages: tuple[str, ...]
    writers: tuple[str, ...]  # the modules beside the subclass's own that decide what a graph is

    def __init__(
        self,
        folder: str | Path,
        *,
        vocoder: Vocoder | None = None,
        speaker: str | None = None,
        variant: str | None = None,
        target: str = "onnxruntime/cpu",
        threads: int = 2,
        **manner: Any,
    ):
        self.config, self.speakers = self.checkpoints.sizes(folder)
        self.folder, self.target, self.threads = Path(folder), target, threads
        self.mel = getattr(self.config, "features", HIFIGAN)
        here = Path(inspect.getfile(type(self)))
        sources = (*checkpoint_folder.files(folder), *(here.parent / name for name in self.writers))
        self.modules, self.graphs = {}, kept(self.name, self.stages, sources, self._exported)
        self._open()
        self._begin(vocoder, speaker, variant, manner)

    @abstractmethod
    def _exported(self) -> dict[str, bytes]:
        """The graphs of the checkpoint in `folder`, by stage."""

    def _open(self) -> None:
        own = {stage: graph for stage, graph in self.graphs.items() if not stage.startswith(VOCODER)}
        self.sessions = session.open_all(own, self.threads, self.target)

    def _changed(self) -> None:
        super()._changed()
        self._open()

    def _inputs(self, phones: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Ids (T,) of symbols, and the speaker (1,) where the encoder asks for one."""
        given = {"ids": symbols.ids(phones)}
        if any(end.name == "speaker" for end in self.sessions["encoder"].get_inputs()):
            given["speaker"] = np.array([self.speakers.index(self.speaker)], np.int64)
        return given
