"""How large is a step of training? What tasks share of their learning rates."""

from __future__ import annotations

import math

LEAST = 0.03  # of a rate, in the end


def cosine(step: int, rate: float, ramp: int, last_step: int) -> float:
    """It rises to `rate` over so many steps and falls, as half a cosine, to LEAST of it until `last_step`.

    >>> [round(cosine(step, 1.0, 10, 1_000), 3) for step in (0, 500, 1_000, 2_000)]
    [0.1, 0.515, 0.03, 0.03]
    """
    done = min(step / last_step, 1.0)
    fallen = LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * done))
    return rate * min(1.0, (step + 1) / ramp) * fallen
