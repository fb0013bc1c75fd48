"""Which numbers does torch draw from a seed? The same ones, drawn by NumPy, for who speaks without torch.

torch's generator on a CPU is the Mersenne Twister, seeded as in its first publication (Matsumoto and Nishimura 1998),
which NumPy's RandomState is, too. `torch.rand` makes a number of the low 24 bits of each draw, `bernoulli_` compares
one of the low 53 bits of each two, `torch.randn` turns eight pairs of the former into sixteen numbers by their radius
and angle (Box and Muller 1958).
"""

from __future__ import annotations

import math

import numpy as np

from lib.errors import ParameterError

_BLOCK = 16  # normal numbers that are made together


def uniform(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """`torch.rand(shape)` of a generator with this seed: float32 in [0, 1)."""
    return _fractions(_raw(math.prod(shape), seed)).reshape(shape)


def bernoulli(shape: tuple[int, ...], share: float, seed: int) -> np.ndarray:
    """`torch.empty(shape).bernoulli_(share)` of a generator with this seed: float32, 1 or 0."""
    high, low = _raw(2 * math.prod(shape), seed).reshape(-1, 2).T
    drawn = ((high << np.uint64(32)) | low) & np.uint64((1 << 53) - 1)
    return (drawn / float(1 << 53) < share).astype(np.float32).reshape(shape)


class Normal:
    """`torch.randn(shape)` of one generator with this seed, call after call: float32, equal but for the last bits of
    logarithm, sine and cosine. Of fewer than 16 numbers torch makes each in another way: ParameterError.
    """

    def __init__(self, seed: int):
        self._bits = _generator(seed)

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        count = math.prod(shape)
        if count < _BLOCK:
            raise ParameterError(f"{count} normal numbers: draw at least {_BLOCK} at once")
        drawn = _fractions(self._bits.random_raw(count))
        whole = count - count % _BLOCK
        drawn[:whole] = _turned(drawn[:whole])
        if whole < count:  # the last sixteen are drawn anew
            drawn[-_BLOCK:] = _turned(_fractions(self._bits.random_raw(_BLOCK)))
        return drawn.reshape(shape)


def _turned(drawn: np.ndarray) -> np.ndarray:
    """Of each sixteen fractions the first eight become radii, the others angles."""
    radius, angle = drawn.reshape(-1, 2, _BLOCK // 2).swapaxes(0, 1)
    radius = np.sqrt(np.float32(-2) * np.log(1 - radius))
    angle = np.float32(2 * math.pi) * angle
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)


def _fractions(raw: np.ndarray) -> np.ndarray:
    """float32 in [0, 1) of the low 24 bits."""
    return (raw & 0xFFFFFF).astype(np.float32) / np.float32(1 << 24)


def _raw(n: int, seed: int) -> np.ndarray:
    """(n,) uint64, 32 bits drawn for each."""
    return _generator(seed).random_raw(n)


def _generator(seed: int) -> np.random.BitGenerator:
    return np.random.RandomState(seed & 0xFFFFFFFF)._bit_generator
