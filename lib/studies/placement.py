"""Where should the few steps of a walk begin? A search that moves one of them at a time for as long as it helps.

No derivative is needed, and no walk of many steps: what is minimised is told by the caller for a whole placement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

Placement = tuple[int, ...]  # timesteps, noisiest first


def search(
    cost: Callable[[Placement], float], start: Placement, reaches: Sequence[int] = (400, 150, 50)
) -> tuple[Placement, float]:
    """The best placement found and its cost. The first timestep stays: every walk begins in pure noise.

    Each timestep but the first is tried `reach` nearer to noise and nearer to data, and stays where the cost is lowest;
    when no move of a reach helps, or all were tried, the next shorter reach follows. Timesteps never pass each other.
    """
    best, lowest = tuple(start), cost(tuple(start))
    for reach in reaches:
        for _ in range(len(start)):  # rounds: each may open the way for the next
            before = lowest
            for index in range(1, len(start)):
                for move in (-reach, reach):
                    moved = _moved(best, index, move)
                    if moved and (found := cost(moved)) < lowest:
                        best, lowest = moved, found
                        break
            if lowest == before:
                break
    return best, lowest


def _moved(placement: Placement, index: int, move: int) -> Placement | None:
    """The placement with one timestep moved; None where it would pass a neighbour or leave the schedule."""
    place = placement[index] + move
    last = index == len(placement) - 1
    if place >= placement[index - 1] or place < 0 or (not last and place <= placement[index + 1]):
        return None
    return (*placement[:index], place, *placement[index + 1 :])
