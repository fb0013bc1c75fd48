"""How does `tortoise` speak on torch?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from lib.systems.acoustic import AcousticSystem
from lib.systems.base import Stopwatch
from lib.systems.before_vocoder import Spectrogram
from lib.systems.tortoise.config import SPOKEN
from lib.systems.tortoise.joint import denoised, latents
from lib.systems.tortoise.limits import cut, guarded
from lib.systems.tortoise.stored import checkpoints

log = logging.getLogger(__name__)


class Tortoise(AcousticSystem):
    """A trained front end and decoder, loaded from the folder that `save` made, before a vocoder (see
    `AcousticSystem`).

    sampler, steps, guidance, temperature: how noise becomes a mel (`diffusion.Sampling`); `adjusted` takes the
    rest of it, too. The defaults are `config.SPOKEN`.
    """

    name = "tortoise"
    checkpoints, manner = checkpoints, "sampling"
    sampling = SPOKEN
    repeats = (("decoder", "denoise"),)

    def __init__(self, folder: str | Path, **settings: Any):
        super().__init__(folder, **settings)
        network = self.modules.pop("acoustic_model")
        self.modules |= {"front": network.front, "decoder": network.decoder}

    @torch.inference_mode()
    def said(self, sentence: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(latents (1, F, hidden), speaker (1,)): what the decoder is given for a sentence, see `denoised`."""
        _, batch, speaker = self._symbols(sentence)
        encoded, frames, pitch, energy = self.modules["front"].plan(batch, speaker)
        return latents(self.modules["front"], encoded, guarded(frames)[0], pitch, energy), speaker

    @torch.inference_mode()
    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """The seed draws the noise that the mel is made of."""
        front, decoder = self.modules["front"], self.modules["decoder"]
        with watch.stage("phonemes"):
            phones, batch, speaker = self._symbols(sentence)
        with watch.stage("acoustic_model"):
            encoded, frames, pitch, energy = front.plan(batch, speaker)
            frames, over = guarded(frames)
            said = latents(front, encoded, frames, pitch, energy)
        notes = cut(over, int(frames.sum()))
        for note in notes:
            log.warning("%s: %r: %s", self.name, sentence[:40], note)
        with watch.stage("decoder"):
            drawn = denoised(decoder, self.config, said, speaker, self.sampling, seed)
            mel = drawn.x0[0].T  # (F, n_bands)
            log_mel = front.as_log_mel(mel).float().cpu().numpy()  # (F, n_bands)
        return Spectrogram(log_mel, phones, tuple(frames[0].tolist()), notes, drawn.nfe)
