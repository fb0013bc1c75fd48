"""Which vectors tell a Transformer where it is? Sines and cosines (Vaswani et al. 2017, arXiv:1706.03762), for who
hands them to a graph instead of keeping a table of thousands of them in it.
"""

from __future__ import annotations

import functools
import math

import numpy as np


@functools.lru_cache(maxsize=8)
def sines(width: int, length: int) -> np.ndarray:
    """(length, width) float32 of the places from 0: sines in the even columns, cosines in the odd ones."""
    return _of(np.arange(length), width)


def distances(width: int, n: int) -> np.ndarray:
    """(2 * n - 1, width) float32 of the distances n - 1, n - 2 ... -(n - 1), as a Conformer of ESPnet takes them."""
    return _of(np.arange(n - 1, -n, -1), width)


def _of(places: np.ndarray, width: int) -> np.ndarray:
    step = np.float32(-math.log(10_000.0) / width)
    angles = places.astype(np.float32)[:, None] * np.exp(np.arange(0, width, 2, dtype=np.float32) * step)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(len(places), width)
