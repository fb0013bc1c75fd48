"""How closely does what comes out follow its mel? A setting of `hibari-vocoder`, on whatever it runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from lib.errors import ParameterError
from lib.systems.hibari_vocoder import signal
from lib.systems.istft.held import Product, held
from lib.systems.stored_vocoder import StoredVocoder


class Following(StoredVocoder):
    """A vocoder whose waveforms are held to their mel, `following` of the way."""

    following: float = signal.FOLLOWING

    def settings(self) -> dict[str, Any]:
        return {"following": self.following}

    def configure(self, *, following: float | None = None, **others: Any) -> None:
        """following: 0, as the decoder says it, to 1, as the mel has it."""
        if following is not None:
            if isinstance(following, bool) or not isinstance(following, (int, float)) or not 0 <= following <= 1:
                raise ParameterError(f"following is {following!r}: give a number from 0 to 1")
            self.following = float(following)
        super().configure(**others)

    def _held(self, said: np.ndarray, log_mel: np.ndarray, product: Product = np.matmul) -> np.ndarray:
        passes = signal.PASSES if self.following else 0
        return held(said, log_mel, passes, product, share=self.following)
