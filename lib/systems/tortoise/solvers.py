"""How does a walk from noise to data remember where it came from? Solvers of second order, each a step with a memory.

All move on half the logarithm of the SNR, along which the linear part of the equation is solved exactly, so that only
x0, which hardly changes, has to be extrapolated (Lu et al. 2022, arXiv:2211.01095). A solver is made for one walk and
asked once per step: x, the x0 that is believed in there, and alpha^2 before and after. They take tensors of torch and
arrays of NumPy.

diffusers' schedulers judge these, too (`tests/test_diffusion.py`); theirs take no placement of the steps but their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch

Array = TypeVar("Array", "torch.Tensor", "np.ndarray")  # what a walk moves
Fresh = Callable[[Any], Any]  # x -> noise like it, drawn anew at every call


def half_log_snr(squared: float) -> float:
    """Half the logarithm of the SNR, for alpha^2; infinite for data without noise."""
    return math.inf if squared == 1.0 else 0.5 * math.log(squared / (1 - squared))


class DpmSolver:
    """DPM-Solver++(2M): x0 is extrapolated from the two last ones. Deterministic."""

    def __init__(self, fresh: Fresh):
        self._fresh = fresh
        self._before: tuple[Array, float] | None = None  # x0 and the change of the step before

    def step(self, x: Array, x0: Array, now: float, then: float) -> Array:
        """x at the next place; now, then: alpha^2 before and after."""
        change = half_log_snr(then) - half_log_snr(now)
        guess, self._before = self._extrapolated(x0, change), (x0, change)
        if then == 1.0:  # infinite SNR: the walk ends in x0 itself
            return x0
        return math.sqrt((1 - then) / (1 - now)) * x - math.sqrt(then) * math.expm1(-change) * guess

    def _extrapolated(self, x0: Array, change: float) -> Array:
        """x0 in the middle of this step, along the line through the last one."""
        if self._before is None:
            return x0
        return x0 + 0.5 * change / self._before[1] * (x0 - self._before[0])


class SdeDpmSolver(DpmSolver):
    """SDE-DPM-Solver++(2M): the same for the equation that draws noise anew at every step."""

    def step(self, x: Array, x0: Array, now: float, then: float) -> Array:
        """x at the next place; now, then: alpha^2 before and after."""
        change = half_log_snr(then) - half_log_snr(now)
        guess, self._before = self._extrapolated(x0, change), (x0, change)
        if then == 1.0:
            return x0
        anew = -math.expm1(-2 * change)  # of the variance
        kept = math.sqrt((1 - then) / (1 - now)) * math.exp(-change)
        return kept * x + math.sqrt(then) * anew * guess + math.sqrt((1 - then) * anew) * self._fresh(x)


class UniPC:
    """UniPC of second order (Zhao et al. 2023, arXiv:2302.04867), B(h) = exp(h) - 1: each step is first predicted,
    then, when x0 is known at its end, corrected with it, at no evaluation more. Deterministic.
    """

    def __init__(self, fresh: Fresh):
        self._x: Array | None = None  # where the step before began, and its alpha^2
        self._now = 0.0
        self._x0: list[
            tuple[Array, float]
        ] = []  # those believed in, with half their log SNR, newest last
        self._order = 1  # of the step before

    def step(self, x: Array, x0: Array, now: float, then: float) -> Array:
        """x at the next place; now, then: alpha^2 before and after."""
        if self._x is not None:
            x = self._moved(self._x, self._now, now, self._order, x0)
        self._x0 = [*self._x0[-1:], (x0, half_log_snr(now))]
        self._order = 1 if then == 1.0 else min(2, len(self._x0))
        self._x, self._now = x, now
        return x0 if then == 1.0 else self._moved(x, now, then, self._order, None)

    def _moved(
        self, x: Array, now: float, then: float, order: int, arrived: Array | None
    ) -> Array:
        """A step of the predictor, or of the corrector where the x0 at its end is known: `arrived`."""
        x0, at = self._x0[-1]
        change = half_log_snr(then) - at
        factor = -math.sqrt(then) * math.expm1(-change)
        moved = math.sqrt((1 - then) / (1 - now)) * x + factor * x0
        if order == 1:
            return moved if arrived is None else moved + factor * 0.5 * (arrived - x0)
        older, before = self._x0[-2]
        ratio = (before - at) / change  # negative: it lies behind
        slope = (older - x0) / ratio
        if arrived is None:
            return moved + factor * 0.5 * slope
        first, last = _weights(ratio, -change)
        return moved + factor * (first * slope + last * (arrived - x0))


def _weights(ratio: float, change: float) -> tuple[float, float]:
    """Of the older and of the newest difference in UniPC's corrector: the solution of its two conditions of order."""
    grown = math.expm1(change)
    once = grown / change - 1
    twice = once / change - 0.5
    wanted = once / grown, 2 * twice / grown
    last = (wanted[1] - ratio * wanted[0]) / (1 - ratio)
    return wanted[0] - last, last


SOLVERS = {"dpm++": DpmSolver, "sde-dpm++": SdeDpmSolver, "unipc": UniPC}
