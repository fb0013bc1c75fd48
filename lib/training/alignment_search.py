"""Which frames belong to which symbol? The most likely monotonic alignment, found by dynamic programming.

Kim et al. 2020, arXiv:2005.11129 (Glow-TTS), algorithm 1: the first frame belongs to the first symbol, the last
to the last, and from one frame to the next the symbol stays or moves on by one. Exact: no other such path is
more likely.
"""

from __future__ import annotations

import numpy as np

from lib.errors import TrainingError


def frames_of(likelihood: np.ndarray) -> np.ndarray:
    """(n_symbols, n_frames), the log-likelihood of each frame under each symbol -> (n_symbols,) int64, frames
    of each symbol, at least one.

    Raises TrainingError where there are fewer frames than symbols, or a likelihood is not a number.
    """
    n_symbols, n_frames = likelihood.shape
    if n_frames < n_symbols:
        raise TrainingError(f"{n_frames} frames cannot be shared among {n_symbols} symbols: leave the clip out")
    if not np.isfinite(likelihood).all():
        raise TrainingError("a likelihood is not finite: the networks have diverged; lower the learning rate")
    best = np.full(n_symbols, -np.inf)  # of a path that ends at the symbol in this frame
    best[0] = likelihood[0, 0]
    moved = np.zeros((n_frames, n_symbols), bool)  # whether it came from the symbol before
    before = np.empty(n_symbols)
    for frame in range(1, n_frames):
        before[0], before[1:] = -np.inf, best[:-1]
        moved[frame] = before > best
        best = np.maximum(best, before) + likelihood[:, frame]
    frames = np.zeros(n_symbols, np.int64)
    symbol = n_symbols - 1
    for frame in range(n_frames - 1, -1, -1):
        frames[symbol] += 1
        symbol -= moved[frame, symbol]
    return frames
