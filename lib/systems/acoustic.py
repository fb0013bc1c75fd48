"""What do all systems share that make a mel spectrogram with a network of torch?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lib import targets
from lib.features import HIFIGAN
from lib.systems import symbols
from lib.systems.base import Stopwatch, Vocoder
from lib.systems.before_vocoder import USUAL, VOCODER, BeforeVocoder

__all__ = ["USUAL", "VOCODER", "AcousticSystem"]


class AcousticSystem(BeforeVocoder):
    """An acoustic model in `modules["acoustic_model"]` before a vocoder (see `BeforeVocoder`). Subclasses say how they
    read.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        vocoder: Vocoder | None = None,
        speaker: str | None = None,
        variant: str | None = None,
        target: str = "torch/cpu",
        threads: int = 2,
        **manner: Any,
    ):
        config, speakers, network = self.checkpoints.load(folder)
        self.folder, self.target, self.threads = Path(folder), target, threads
        self.device = torch.device(targets.find(target).device)
        torch.set_num_threads(threads)
        self.config, self.speakers = config, speakers
        self.mel = getattr(config, "features", HIFIGAN)
        self.modules, self.graphs = {"acoustic_model": network.eval().to(self.device)}, {}
        self._begin(vocoder, speaker, variant, manner)

    def _watch(self) -> Stopwatch:
        return Stopwatch(torch.cuda.synchronize if self.device.type == "cuda" else lambda: None)

    def _symbols(self, sentence: str) -> tuple[tuple[str, ...], torch.Tensor, torch.Tensor]:
        """The symbols of a sentence that the network knows, their ids (1, T) and the speaker (1,) on the device."""
        phones = self._known(sentence)
        speaker = torch.tensor([self.speakers.index(self.speaker)], device=self.device)
        return phones, torch.from_numpy(symbols.ids(phones))[None].to(self.device), speaker
