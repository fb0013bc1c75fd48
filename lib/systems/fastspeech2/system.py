"""How does `fastspeech2` speak on torch?"""

from __future__ import annotations

import torch

from lib.systems.acoustic import AcousticSystem
from lib.systems.base import Stopwatch
from lib.systems.before_vocoder import Spectrogram
from lib.systems.fastspeech2.config import Controls
from lib.systems.fastspeech2.stored import checkpoints


class FastSpeech2(AcousticSystem):
    """A trained acoustic model, loaded from the folder that `save` made, before a vocoder (see `AcousticSystem`)."""

    name = "fastspeech2"
    draws = False
    checkpoints, manner = checkpoints, "controls"
    controls = Controls()

    @torch.inference_mode()
    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """The network is deterministic: it takes no seed."""
        with watch.stage("phonemes"):
            phones, batch, speaker = self._symbols(sentence)
        with watch.stage("acoustic_model"):
            log_mel, frames = self.modules["acoustic_model"].speak(batch, speaker, self.controls)
            log_mel = log_mel[0].float().cpu().numpy()  # (F, n_bands)
        return Spectrogram(log_mel, phones, tuple(frames[0].tolist()))
