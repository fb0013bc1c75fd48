"""How does `tacotron2` speak on torch?"""

from __future__ import annotations

import logging

import torch

from lib.systems.acoustic import AcousticSystem
from lib.systems.attention import Reading
from lib.systems.base import Stopwatch
from lib.systems.before_vocoder import Spectrogram
from lib.systems.tacotron2.config import Gate
from lib.systems.tacotron2.stored import checkpoints

log = logging.getLogger(__name__)


class Tacotron2(AcousticSystem):
    """A trained acoustic model, loaded from the folder that `save` made, before a vocoder (see `AcousticSystem`)."""

    name, attends = "tacotron2", True
    checkpoints, manner = checkpoints, "gate"
    gate = Gate()

    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """The seed draws the prenet's dropout, which the network needs in use too."""
        with watch.stage("phonemes"):
            prepared = self._symbols(sentence)
        with watch.stage("acoustic_model"):
            reading = self._read(*prepared, seed)
        notes = reading.failures.notes(reading.phones)
        for note in notes:
            log.warning("%s: %r: %s", self.name, sentence[:40], note)
        return Spectrogram(reading.log_mel, reading.phones, notes=notes)

    def read(self, sentence: str, seed: int = 0) -> tuple[Reading, ...]:
        """The sentence, in one piece, up to its mel and alignment, to be looked at or judged."""
        return (self._read(*self._symbols(sentence), seed),)

    @torch.inference_mode()
    def _read(self, phones: tuple[str, ...], batch: torch.Tensor, speaker: torch.Tensor, seed: int) -> Reading:
        found = self.modules["acoustic_model"].read(batch, speaker, seed, self.gate.threshold)
        log_mel, alignment = (values.float().cpu().numpy() for values in (found.log_mel, found.alignment))
        return Reading(phones, log_mel, alignment, found.stopped)
