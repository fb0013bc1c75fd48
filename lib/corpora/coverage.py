"""Which sentences cover the sounds of a language best? Greedy choice by phone pairs, and how much a text covers.

A voice learns how a phone moves into the next, so pairs of neighbours are counted. The choice is greedy, as in van
Santen and Buchsbaum (1997), "Methods for optimal text selection": the worth of a pair falls with every time it was
chosen before (1, 1/2, 1/3, ...), and a sentence's worth is divided by its length. It never rises, so only the sentence
on top of the queue has to be weighed anew (Minoux 1978, "Accelerated greedy algorithms").
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lib import progress, prosody

PAUSE = "|"
OFTEN = 10  # times from which on a pair counts as well covered
OVERHEAD = 10  # phones that a sentence costs beside its own, so that the shortest are not always the best

Pairs = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Coverage:
    """What a set of sentences covers. phones: in all, without pauses; pairs: different ones; often: of these, seen at
    least `OFTEN` times.
    """

    sentences: int
    phones: int
    pairs: int
    often: int


def phones(symbols: Sequence[str]) -> tuple[str, ...]:
    """A symbol string without stress, between pauses: neighbouring words touch, punctuation and both ends are a pause.

    >>> phones(("^", "h", "ˈ", "a", "ɪ", " ", "d", "ɪ", "r", ".", "$"))
    ('|', 'h', 'aɪ', 'd', 'ɪ', 'r', '|')
    """
    return tuple(
        s.name.lstrip("ˈˌ") if s.kind == "phone" else PAUSE
        for s in prosody.segments(symbols)
        if s.kind == "phone" or s.name.strip()
    )


def pairs(said: Sequence[str]) -> Pairs:
    """How often each phone is followed by which."""
    return Counter(zip(said, said[1:]))


def of(sentences: Iterable[Pairs]) -> Coverage:
    """What sentences cover together."""
    total: Pairs = Counter()
    n = 0
    for n, found in enumerate(sentences, 1):
        total.update(found)
    ends = sum(count for (_, behind), count in total.items() if behind != PAUSE)
    return Coverage(n, ends, len(total), sum(count >= OFTEN for count in total.values()))


def greedy(
    sentences: Mapping[str, Pairs], n: int, covered: Pairs | None = None, *, label: str = "choosing sentences"
) -> list[str]:
    """The names of the n sentences that cover most, best first; of equals, the first by name.

    covered: what is there already; it is added to.
    """
    covered = Counter() if covered is None else covered
    queue = [(-_worth(found, covered), name) for name, found in sentences.items()]
    heapq.heapify(queue)
    chosen: list[str] = []
    for _ in progress.track(range(min(n, len(queue))), label, unit="sentence"):
        while True:
            _, name = queue[0]
            now = -_worth(sentences[name], covered)
            if len(queue) == 1 or (now, name) <= min(queue[1:3]):
                break
            heapq.heapreplace(queue, (now, name))
        heapq.heappop(queue)
        covered.update(sentences[name])
        chosen.append(name)
    return chosen


def _worth(found: Pairs, covered: Pairs) -> float:
    """What a sentence adds, for what it costs."""
    gain = sum(1 / (covered[pair] + k) for pair, count in found.items() for k in range(1, count + 1))
    return gain / (sum(found.values()) + OVERHEAD)
