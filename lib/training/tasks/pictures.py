"""What does a validation show of a mel? The original and what was made of it, one above the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lib.features import HIFIGAN, MelConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mels(
    real: np.ndarray,
    fake: np.ndarray,
    title: str,
    alignment: np.ndarray | None = None,
    *,
    features: MelConfig = HIFIGAN,
) -> Figure:
    """The original and the made mel (F, bands), one above the other, and below them the attention (S, T)
    if there is any.
    """
    from matplotlib.figure import Figure

    made = Figure(figsize=(8, 4 if alignment is None else 6), layout="constrained")
    axes = made.subplots(2 if alignment is None else 3)
    for ax, mel, name in zip(axes, (real, fake), ("original", title)):
        ax.imshow(mel.T, origin="lower", aspect="auto", vmin=real.min(), vmax=real.max())
        ax.set(
            title=name, ylabel="mel band", xlabel=f"frame ({1000 * features.hop / features.sample_rate:.1f} ms)"
        )
    if alignment is not None:
        axes[2].imshow(alignment.T, origin="lower", aspect="auto", vmin=0, vmax=1)
        axes[2].set(title="attention", ylabel="symbol", xlabel="decoder step")
    return made
