"""`fastspeech2`: how does text become a mel spectrogram in one pass, with rate, pitch and loudness under control?

FastSpeech 2 (Ren et al. 2021, arXiv:2006.04558) with Conformer blocks and pitch and energy averaged per phone,
as transformers has it. It reads the symbols of the Piper voices, knows its own voices by a speaker embedding,
and leaves the waveform to a vocoder (`hifigan`, else Griffin-Lim). The network is in `network.py`;
how it learns in `lib.training.tasks.fastspeech2`.
"""

from __future__ import annotations

import torch

from lib.systems import checkpoint
from lib.systems.acoustic import AcousticSystem
from lib.systems.base import Speech
from lib.systems.fastspeech2.config import Controls, NetworkConfig
from lib.systems.fastspeech2.network import build

checkpoints = checkpoint.Kind("fastspeech2", NetworkConfig, build)


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
