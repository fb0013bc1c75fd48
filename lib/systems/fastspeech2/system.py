"""How does `fastspeech2` speak on torch?"""

from __future__ import annotations

import torch

from lib.systems.acoustic import AcousticSystem
from lib.systems.base import Speech
from lib.systems.fastspeech2.config import Controls
from lib.systems.fastspeech2.stored import checkpoints


class FastSpeech2(AcousticSystem):
    """A trained acoustic model, loaded from the folder that `save` made, before a vocoder (see `AcousticSystem`)."""

    name = "fastspeech2"
    draws = False
    checkpoints, manner = checkpoints, "controls"
    controls = Controls()

    @torch.inference_mode()
    def speak(self, sentence: str, seed: int) -> Speech:
        """One sentence. The network is deterministic; the seed draws Griffin-Lim's first phases."""
        watch = self._watch()
        with watch.stage("phonemes"):
            phones, batch, speaker = self._symbols(sentence)
        with watch.stage("acoustic_model"):
            log_mel, frames = self.modules["acoustic_model"].speak(batch, speaker, self.controls)
            log_mel = log_mel[0].float().cpu().numpy()  # (F, n_bands)
        with watch.stage("vocoder"):
            waveform = self._voiced(log_mel, seed)
        return Speech(waveform, self.sample_rate, watch.seconds, phones, tuple(frames[0].tolist()))
