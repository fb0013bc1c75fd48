"""When is a sentence over, where does a step look, and how much is read at once? The same on every runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lib.errors import ParameterError
from lib.systems import symbols
from lib.systems.speecht5.config import POSITIONS, PUBLISHED, NetworkConfig

# symbols read at once: the longest trained on have 197, and attention does not follow what it never learned
LONGEST = 240
CHARACTERS_PER_S = 15.0  # of English read aloud


@dataclass(frozen=True)
class Limits:
    """When to stop. The embedded voices have 3.2 to 7.9 frames a symbol in a sentence, and 52 at most."""

    threshold: float = 0.5  # of the end's probability, added up over the frames of a step
    shortest: float = 1.5  # frames that a symbol has at least on average
    longest: float = 12.0  # and at most
    slack: int = 40  # frames added to the longest
    linger: int = 60  # frames at one symbol after which a window goes on

    def __post_init__(self) -> None:
        if not (
            0 < self.threshold
            and 0 <= self.shortest <= self.longest < math.inf
            and self.slack >= 0
            and self.linger > 0
        ):
            raise ParameterError(
                f"{self}: threshold and linger must be above 0, and shortest must lie between 0 and longest"
            )

    def steps(self, n_symbols: int, reduction: int) -> tuple[int, int]:
        """The least and the most decoder steps for so many symbols."""
        most = min(POSITIONS, math.ceil((self.longest * n_symbols + self.slack) / reduction))
        return min(most, max(1, math.floor(self.shortest * n_symbols / reduction))), max(1, most)


@dataclass
class Window:
    """Which symbols a step sees: those around the one that is `reached`, or all where the network has no window."""

    config: NetworkConfig
    n_symbols: int
    linger: int  # `Limits.linger`
    reached: int = 0
    stays: int = 0  # steps for which it has

    def bounds(self) -> tuple[int, int]:
        """The first symbol, and the last + 1."""
        if not self.config.ahead:
            return 0, self.n_symbols
        first = max(0, self.reached - self.config.behind)
        return first, min(self.n_symbols, self.reached + self.config.ahead + 1)

    def nearness(self) -> slice:
        """Which entries of the network's `nearness` belong to them."""
        first, end = self.bounds()
        before = self.reached - self.config.behind
        return slice(first - before, end - before)

    def move(self, looked: int) -> None:
        """Go on after a step that looked at this symbol most."""
        if self.config.ahead:
            self.stays = 0 if looked > self.reached else self.stays + 1
            waits = self.stays * self.config.reduction < self.linger
            self.reached = looked if waits else min(self.reached + 1, self.n_symbols - 1)


def portions(phones: Sequence[str], longest: int = LONGEST) -> list[tuple[str, ...]]:
    """Cut symbols, with their marks of beginning and end, into such with marks of their own, of at most
    `longest` symbols.

    Cut at the last space that leaves no longer portion, or, in a word without end, anywhere.
    """
    inner, found = list(phones[1:-1]), []
    while len(inner) > longest - 2:
        window = inner[: longest - 1]  # one more than fits: a space there is a place to cut as well
        cut = max((i for i, phone in enumerate(window) if phone == " " and i), default=longest - 2)
        found.append(inner[:cut])
        inner = inner[cut + (inner[cut] == " ") :]
    return [(symbols.BOS, *part, symbols.EOS) for part in (*found, inner) if part]


def characters(sentence: str) -> list[int]:
    """Ids for the published sizes. The published tokenizer has one token per character and one for the end; which token
    stands for which character makes no difference to random weights.
    """
    return [*(4 + ord(c) % (PUBLISHED.vocabulary - 4) for c in sentence), 2]


def spoken_length() -> Limits:
    """As many steps as a person would take to read the text aloud, for weights that know no end."""
    frames = PUBLISHED.features.sample_rate / PUBLISHED.features.hop / CHARACTERS_PER_S  # per character
    return Limits(shortest=frames, longest=frames, slack=0)
