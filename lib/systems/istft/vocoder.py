"""How does a finished `istft` speak on torch, a whole mel at once or while it still comes?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from lib.systems.istft import network, partial, signal, stream
from lib.systems.istft.held import Held, held
from lib.systems.istft.parts import PARTS
from lib.systems.trained_vocoder import TrainedVocoder


class Istft(Held, TrainedVocoder):
    """A trained vocoder, loaded from the folder that `save` made. Its noise always is the same: it takes no seed."""

    name, parts = "istft", PARTS

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.modules["noise"] = network.Noise().eval().to(self.device)

    def decoded(self, log_mel: torch.Tensor) -> torch.Tensor:
        return network.decode(self.modules, log_mel)

    def vocode(self, log_mel: np.ndarray, seed: int = 0) -> np.ndarray:
        return held(super().vocode(log_mel, seed), self.checked(log_mel), self.passes, product)

    def stream(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Log-mels (n, n_bands) as they come -> the waveform as far as it is known, held to no mel; see
        `stream.speak`."""
        return stream.speak(_Stages(self), map(self.checked, chunks))


pretrained = Istft.pretrained


class PartialIstft(Istft):
    """One that lacks parts, for the ablation: from a folder that `partial.PARTS.save` made."""

    parts = partial.PARTS


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """By torch's threads, which spin for a while after the networks and would be in the way of NumPy's."""
    return (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()


class _Stages:
    """The networks of a vocoder, with what their convolutions saw last."""

    def __init__(self, vocoder: Istft):
        self.modules, self.device = vocoder.modules, vocoder.device
        self.pitch_lookahead, self.lookahead = vocoder.config.pitch_lookahead, vocoder.config.lookahead
        self.memory: network.Memory = {}

    @torch.inference_mode()
    def hz(self, log_mel: np.ndarray, n_frames: int) -> np.ndarray:
        pitch = self.modules["pitch"]
        return pitch.hz(pitch(self._batch(log_mel), self.memory, n_frames))[0].cpu().numpy()

    @torch.inference_mode()
    def filters(self, log_mel: np.ndarray, source: np.ndarray, hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mel, of_source = self._batch(log_mel), signal.source_mel(self._batch(source))
        correction = self.modules["trunk"](mel, of_source, self._batch(hz), self.memory)
        gain, noise_gain = network.filters(mel[:, : len(hz)], of_source, correction)
        return gain[0].cpu().numpy(), noise_gain[0].cpu().numpy()

    @torch.inference_mode()
    def noise(self, first: int, n_frames: int) -> np.ndarray:
        offset = torch.tensor([first], device=self.device)
        return self.modules["noise"](offset, n_frames)[0].cpu().numpy()

    def _batch(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values)[None].to(self.device)
