"""What does a decoder's self-attention remember of the steps so far? Keys and values, kept where no step copies them.

They lie in arrays with room for more steps than there were, which a graph is handed as they are. `kept` says which of
them count: it is added to the scores, 0 where there is something, a large negative number elsewhere. Graphs that took
exactly what there was, and gave it back one step longer, would copy all of it twice at every step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROOM = 64  # steps by which it grows
NOTHING = np.float32(-1e9)  # added to the scores of steps that were not yet


class Memory:
    """Keys (heads, width, S) and values (heads, S, width) of each layer, S at least the steps so far."""

    def __init__(self, layers: int, heads: int, width: int):
        self.layers, self.count = layers, 0
        self.kept = np.full(0, NOTHING)
        self.keys = [np.zeros((heads, width, 0), np.float32) for _ in range(layers)]
        self.values = [np.zeros((heads, 0, width), np.float32) for _ in range(layers)]
        self._grow()

    def inputs(self) -> dict[str, np.ndarray]:
        """What the next step is given: kept (S,), keys.<layer>, values.<layer>."""
        named = {"kept": self.kept}
        for layer in range(self.layers):
            named[f"keys.{layer}"], named[f"values.{layer}"] = self.keys[layer], self.values[layer]
        return named

    def add(self, new: Sequence[np.ndarray]) -> None:
        """Remember a step. new: keys and values (heads, width) of each layer in turn."""
        if self.count == len(self.kept):
            self._grow()
        for layer in range(self.layers):
            self.keys[layer][:, :, self.count], self.values[layer][:, self.count] = new[
                2 * layer : 2 * layer + 2
            ]
        self.kept[self.count] = 0
        self.count += 1

    def _grow(self) -> None:
        self.kept = np.pad(self.kept, (0, ROOM), constant_values=NOTHING)
        self.keys = [np.pad(keys, ((0, 0), (0, 0), (0, ROOM))) for keys in self.keys]
        self.values = [np.pad(values, ((0, 0), (0, ROOM), (0, 0))) for values in self.values]
