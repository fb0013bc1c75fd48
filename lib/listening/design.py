"""Who hears what, in which order? Balanced sessions for a group of listeners.

A **condition** is what is judged (a system's variant), a **sentence** what it says; both are numbers here. A
**session** is what one listener hears: a list of pages, each with one clip (`acr`), two (`paired`) or all
conditions of a sentence (`mushra`).

What holds exactly, and tests count (listeners: a multiple of `cycle`):

- every clip is heard by exactly one group, and every group hears every condition equally often;
- a session is made of blocks in which every condition (or pair) comes once;
- in each block each condition stands at each place equally often, and follows each other one equally often
  (Williams 1949, https://doi.org/10.1071/CH9490149);
- each pair is heard equally often either way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lib.errors import ParameterError

_TRIES = 200  # orders drawn before one sentence twice in a row is put up with


@dataclass(frozen=True)
class Page:
    """One page of a session. shown: conditions in the order in which they stand on it."""

    sentence: int
    shown: tuple[int, ...]


Session = tuple[Page, ...]


def acr(conditions: int, sentences: int, groups: int, listeners: int, seed: int = 0) -> list[list[Session]]:
    """[group][listener] sessions of single clips; each group hears conditions / groups of each sentence's clips.

    With as many groups as conditions each listener hears every sentence once (a Latin square), with one group
    all of it.
    """
    _positive(conditions=conditions, sentences=sentences, groups=groups, listeners=listeners)
    if conditions % groups:
        raise ParameterError(
            f"{groups} groups do not share {conditions} conditions: give a divisor of {conditions}"
        )
    if groups > 1 and sentences % conditions:
        raise ParameterError(
            f"{sentences} sentences are no multiple of {conditions} conditions, so {groups} groups would hear some "
            f"more often than others: take {max(1, sentences // conditions) * conditions} sentences, or one group"
        )
    share = conditions // groups
    made = []
    for group in range(groups):
        heard = [
            [s for s in range(sentences) if (c + s) % conditions // share == group] for c in range(conditions)
        ]
        made.append([_session(heard, listener, (seed, group, listener)) for listener in range(listeners)])
    return made


def paired(
    pairs: Sequence[tuple[int, int]], sentences: int, groups: int, listeners: int, seed: int = 0
) -> list[list[Session]]:
    """[group][listener] sessions of pairs of one sentence; each group hears each pair on its share of the
    sentences.
    """
    _positive(pairs=len(pairs), sentences=sentences, groups=groups, listeners=listeners)
    if sentences % groups:
        raise ParameterError(
            f"{groups} groups do not share {sentences} sentences: give a divisor of {sentences}"
        )
    made = []
    for group in range(groups):
        heard = [[s for s in range(sentences) if (s + p) % groups == group] for p in range(len(pairs))]
        sessions = []
        for listener in range(listeners):
            turned = {  # every other sentence, and the other ones for the next listener
                (p, s): (listener + place) % 2 for p, mine in enumerate(heard) for place, s in enumerate(mine)
            }
            pages = _session(heard, listener, (seed, group, listener))
            sessions.append(
                tuple(
                    Page(page.sentence, _order(pairs[page.shown[0]], turned[page.shown[0], page.sentence]))
                    for page in pages
                )
            )
        made.append(sessions)
    return made


def mushra(conditions: int, sentences: int, groups: int, listeners: int, seed: int = 0) -> list[list[Session]]:
    """[group][listener] sessions of pages with all conditions of a sentence; each group hears its share of
    sentences.
    """
    _positive(conditions=conditions, sentences=sentences, groups=groups, listeners=listeners)
    if sentences % groups:
        raise ParameterError(
            f"{groups} groups do not share {sentences} sentences: give a divisor of {sentences}"
        )
    rows = williams(conditions)
    made = []
    for group in range(groups):
        mine = [s for s in range(sentences) if s % groups == group]
        sessions = []
        for listener in range(listeners):
            pages = [Page(s, rows[(listener + place) % len(rows)]) for place, s in enumerate(mine)]
            order = np.random.default_rng((seed, group, listener)).permutation(len(pages))
            sessions.append(tuple(pages[i] for i in order))
        made.append(sessions)
    return made


def cycle(conditions: int) -> int:
    """After how many listeners the order of `conditions` is balanced."""
    return len(williams(conditions))


def williams(n: int) -> tuple[tuple[int, ...], ...]:
    """Orders of 0 ... n-1 in which each stands at each place, and follows each other one, equally often.

    n of them where n is even, 2 n where it is odd: the same ones backwards, too.

    >>> williams(4)
    ((0, 3, 1, 2), (1, 0, 2, 3), (2, 1, 3, 0), (3, 2, 0, 1))
    """
    first = [0]
    for step in range(1, n):  # 0, n-1, 1, n-2, 2: all steps between neighbours differ
        first.append((first[-1] + (-step if step % 2 else step)) % n)
    rows = [tuple((x + shift) % n for x in first) for shift in range(n)]
    return tuple(rows if n % 2 == 0 else rows + [row[::-1] for row in rows]) if n > 1 else ((0,),)


def _session(heard: Sequence[Sequence[int]], listener: int, seed: tuple[int, ...]) -> Session:
    """Pages of one condition each, in blocks with every condition once. heard: its sentences, for each
    condition.
    """
    rows, rng, best = williams(len(heard)), np.random.default_rng(seed), None
    for _ in range(_TRIES):
        drawn = [rng.permutation(mine) for mine in heard]
        pages = tuple(
            Page(int(drawn[c][block]), (c,))
            for block in range(len(heard[0]))
            for c in rows[(listener + block) % len(rows)]
        )
        repeats = sum(a.sentence == b.sentence for a, b in zip(pages, pages[1:]))
        if best is None or repeats < best[0]:
            best = repeats, pages
        if not repeats:
            break
    return best[1]


def _order(pair: tuple[int, int], turned: int) -> tuple[int, int]:
    return pair[::-1] if turned else tuple(pair)


def _positive(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ParameterError(f"{count} {name}: a test needs at least one")
