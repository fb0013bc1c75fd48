"""How does a finished `hibari-vocoder` speak on torch?"""

from __future__ import annotations

import numpy as np
import torch

from lib.systems.hibari_vocoder import network, published, signal
from lib.systems.hibari_vocoder.following import Following
from lib.systems.hibari_vocoder.parts import PARTS
from lib.systems.istft.vocoder import product
from lib.systems.trained_vocoder import TrainedVocoder


class HibariVocoder(Following, TrainedVocoder):
    """A trained vocoder, loaded from the folder that `save` made; it says every mel in the voice of `hibari`."""

    name, parts = "hibari-vocoder", PARTS
    packages = (*TrainedVocoder.packages, "hibari-tts", "scipy")  # its decoder, and its signal processing
    published = ("decoder",)  # of its networks, what nobody trained here

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.modules["decoder"] = network.decoder().to(self.device)
        self.files = (*self.files, published.graph_file())

    @torch.inference_mode()
    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        log_mel = self.checked(log_mel)
        frames = signal.at_decoder(log_mel, signal.n_frames(len(log_mel)))
        found, voiced, logits = self.modules["front"](torch.from_numpy(frames)[None].to(self.device))
        pitch = signal.hz(voiced[0].cpu().numpy(), logits[0].cpu().numpy(), self.config)
        inputs = torch.from_numpy(signal.fed(found[0].cpu().numpy(), pitch)).to(self.device)
        spectra = self.modules["decoder"](inputs)[0].float().cpu().numpy()
        said = signal.spoken(np.split(spectra, 5), pitch, len(log_mel), seed)
        return self._held(said, log_mel, product)

    def decoded(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(1, F, n_bands) -> (1, F * hop)."""
        return torch.from_numpy(self.vocode(log_mel[0].cpu().numpy()))[None].to(self.device)
