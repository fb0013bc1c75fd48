"""Which items form the next batch, and is it ready when the network wants it?

A batch is a pure function of (seed, epoch, index, process): nothing random is kept between batches, so a run
resumes at the very batch where it stopped, whatever was being prepared when it was killed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from lib.errors import MissingDataError
from lib.training.task import Batch, Task

AHEAD = 3  # batches prepared before they are asked for, per loader thread
POOL = 50  # batches' worth of items that are sorted by length together: like lengths, yet other neighbours every epoch


@dataclass(frozen=True)
class Place:
    """Where in the data a run is."""

    epoch: int = 0
    index: int = 0  # of the next batch in that epoch


@dataclass(frozen=True)
class Sampler:
    """Batches of items of like length."""

    lengths: Sequence[int]  # frames per item
    batch_size: int  # items
    seed: int = 0  # of the order
    max_frames: int = 0  # bound of the padded batch (0: none)
    rank: int = 0  # which of the processes this is
    processes: int = 1

    def __post_init__(self) -> None:
        if not len(self.lengths):
            raise MissingDataError("there is nothing to train on: the training split is empty")

    def epoch(self, number: int) -> list[list[int]]:
        """This process's batches of item indices in one epoch; every process gets as many."""
        rng = np.random.default_rng((self.seed, number))
        order = rng.permutation(len(self.lengths))
        lengths = np.asarray(self.lengths)
        pool = self.batch_size * POOL
        batches = []
        for begin in range(0, len(order), pool):
            part = order[begin : begin + pool]
            batches += self._cut(part[np.argsort(lengths[part], kind="stable")], lengths)
        batches = [batches[i] for i in rng.permutation(len(batches))]
        while len(batches) % self.processes:  # no process may wait for a batch that another one has not got
            batches.append(batches[len(batches) % self.processes - 1])
        return batches[self.rank :: self.processes]

    def _cut(self, items: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
        batches, batch = [], []
        for item in items:  # lengths ascend, so the newest item is the longest
            too_long = self.max_frames and batch and (len(batch) + 1) * lengths[item] > self.max_frames
            if too_long or len(batch) == self.batch_size:
                batches.append(batch)
                batch = []
            batch.append(int(item))
        return [*batches, batch] if batch else batches

    def after(self, place: Place) -> Iterator[tuple[Place, list[int]]]:
        """Endless (place of the batch, its items), from `place` on."""
        number, index = place.epoch, place.index
        while True:
            batches = self.epoch(number)
            for at in range(index, len(batches)):
                yield Place(number, at), batches[at]
            number, index = number + 1, 0


def stream(
    task: Task, sampler: Sampler, place: Place, threads: int = 1, *, pin: bool = False
) -> Iterator[tuple[Place, Batch]]:
    """Endless (place of the next batch, batch), prepared ahead in `threads` threads while the network computes.

    pin: in memory that a GPU copies from without the processor.
    """

    def prepare(at: Place, indices: list[int]) -> Batch:
        batch = task.collate(
            [task.item(i, np.random.default_rng((sampler.seed, at.epoch, i))) for i in indices]
        )
        return batch.pinned() if pin else batch

    waiting: deque = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
    try:
        for at, indices in sampler.after(place):
            waiting.append((Place(at.epoch, at.index + 1), pool.submit(prepare, at, indices)))
            if len(waiting) > AHEAD * threads:
                then, future = waiting.popleft()
                yield then, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
