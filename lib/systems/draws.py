"""Which numbers does torch draw from a seed? The same ones, drawn by NumPy, for who speaks without torch.

torch's generator on a CPU is the Mersenne Twister, seeded as in its first publication (Matsumoto and Nishimura 1998),
which NumPy's RandomState is, too. `torch.rand` makes a number of the low 24 bits of each draw, `bernoulli_` compares
one of the low 53 bits of each two.
"""

from __future__ import annotations

import math

import numpy as np


def uniform(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """`torch.rand(shape)` of a generator with this seed: float32 in [0, 1)."""
    drawn = _raw(math.prod(shape), seed) & 0xFFFFFF
    return (drawn.astype(np.float32) / np.float32(1 << 24)).reshape(shape)


def bernoulli(shape: tuple[int, ...], share: float, seed: int) -> np.ndarray:
    """`torch.empty(shape).bernoulli_(share)` of a generator with this seed: float32, 1 or 0."""
    high, low = _raw(2 * math.prod(shape), seed).reshape(-1, 2).T
    drawn = ((high << np.uint64(32)) | low) & np.uint64((1 << 53) - 1)
    return (drawn / float(1 << 53) < share).astype(np.float32).reshape(shape)


def _raw(n: int, seed: int) -> np.ndarray:
    """(n,) uint64, 32 bits drawn for each."""
    return np.random.RandomState(seed & 0xFFFFFFFF)._bit_generator.random_raw(n)
