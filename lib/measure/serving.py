"""How many can be served at once, and how long does one wait? The scenarios of MLPerf Inference (Reddi et al. 2020,
arXiv:1911.02549), with our own sentences.

    offline         all requests are there at the start: audio seconds per second
    single stream   the next request comes when the last one is done: the 90th percentile of the latency
    server          requests come when they like (a Poisson process): the highest rate at which the 99th percentile of
                    the latency, waiting included, stays below a limit

Workers are threads of one process or processes, each with a system of its own; a request goes to whoever is free. The
highest rate is searched in real runs, beginning where a queue with the measured service times predicts it and never
above what the workers can do at all: a rate beyond that fills a queue without end, but so slowly that a short run does
not show it. So a run must keep the limit in its second half, too, and the rate that was found is confirmed by arrivals
that nobody chose it by.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from dataclasses import dataclass

import numpy as np

from lib.errors import ParameterError, unknown

WORKERS = ("threads", "processes")
QUANTILE = 0.99  # of the latencies of a server, as MLPerf has it
CONFIRMATIONS = 4  # of the rate that was found, each a step lower than the last
STEP = 0.95
_mine = (
    threading.local()
)  # of a worker: its speaker. Not by the thread's number, which the next pool's thread may have


@dataclass(frozen=True)
class Served:
    """latencies_s: of each request, from its arrival to its end; rate: requests per second offered, 0 where they
    waited for each other; seconds: of the whole; audio_s: made.
    """

    latencies_s: np.ndarray
    rate: float
    seconds: float
    audio_s: float

    @property
    def p99_s(self) -> float:
        """The latency that one in a hundred exceeds."""
        return self.percentile_s(QUANTILE)

    def keeps(self, limit_s: float) -> bool:
        """Whether 99 of 100 were answered within the limit, also of those that came in the second half: where the
        queue grows, they wait longer.
        """
        late = self.latencies_s[len(self.latencies_s) // 2 :]
        return max(self.p99_s, float(np.quantile(late, QUANTILE))) <= limit_s

    def percentile_s(self, q: float) -> float:
        """A quantile of the latencies."""
        return float(np.quantile(self.latencies_s, q))

    @property
    def rtfx(self) -> float:
        """Audio seconds made per second."""
        return self.audio_s / self.seconds


class Pool:
    """n workers that each hold a speaker: ("module:function", its arguments), which gives a callable text -> seconds of
    audio, for example ("lib.measure.serving:system", {"origin": ..., "threads": 1}).
    """

    def __init__(self, speaker: tuple[str, dict], texts: Sequence[str], *, n: int, kind: str):
        if kind not in WORKERS:
            raise unknown("kind of workers", kind, WORKERS)
        if n < 1 or not texts:
            raise ParameterError(f"{n} workers and {len(texts)} texts serve nobody: give at least one of each")
        self.speaker, self.texts, self.n = speaker, list(texts), n
        if kind == "threads":
            self._pool = futures.ThreadPoolExecutor(n)
        else:
            import multiprocessing

            self._pool = futures.ProcessPoolExecutor(n, multiprocessing.get_context("spawn"))
        for _ in range(3):  # until every worker has loaded its system and met every text
            list(self._pool.map(_warm, [(speaker, self.texts)] * n))

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *exception) -> None:
        self._pool.shutdown()

    def single_stream(self, n_requests: int) -> Served:
        """One after the other."""
        begin = time.monotonic()
        spent = [self._pool.submit(_speak, self.speaker, self._text(i)).result() for i in range(n_requests)]
        return self._served(spent, [s[0] for s in spent], 0.0, begin)

    def offline(self, n_requests: int) -> Served:
        """All at once."""
        begin = time.monotonic()
        spent = list(self._pool.map(_speak, *zip(*[(self.speaker, self._text(i)) for i in range(n_requests)])))
        return self._served(spent, [s[0] for s in spent], 0.0, begin)

    def server(self, rate: float, n_requests: int, *, seed: int = 0) -> Served:
        """Requests of a Poisson process."""
        if not rate > 0:
            raise ParameterError(f"a rate of {rate} requests per second serves nobody: give more than 0")
        arrivals = np.random.default_rng(seed).exponential(1 / rate, n_requests).cumsum()
        begin, waiting, ended = time.monotonic(), [], {}
        for number, arrival in enumerate(arrivals):
            time.sleep(max(0.0, begin + arrival - time.monotonic()))
            future = self._pool.submit(_speak, self.speaker, self._text(number))
            future.add_done_callback(
                lambda _, number=number: ended.setdefault(number, time.monotonic() - begin)
            )
            waiting.append(future)
        spent = [future.result() for future in waiting]
        while len(ended) < n_requests:  # a callback may come a moment after its result
            time.sleep(0.001)
        return self._served(spent, [ended[i] - arrivals[i] for i in range(n_requests)], rate, begin)

    def _text(self, number: int) -> str:
        return self.texts[number % len(self.texts)]

    def _served(self, spent, latencies: list[float], rate: float, begin: float) -> Served:
        return Served(np.array(latencies), rate, time.monotonic() - begin, sum(audio for _, audio in spent))


def highest_rate(
    serve: Callable[[float, int], Served],
    service_s: Sequence[float],
    limit_s: float,
    *,
    workers: int,
    capacity: float = np.inf,
    tries: int = 4,
) -> tuple[Served | None, list[Served]]:
    """The run of the highest rate that kept the limit and was confirmed, None where none was; and all runs.

    serve: (rate, which arrivals) -> its run; service_s: of single requests, from which the first rate is predicted;
    capacity: the most requests per second that the workers may do, as they did when all were there at the start; where
    nobody has tried, what the single requests allow.
    """
    alone = workers / float(np.mean(service_s))
    low, high, runs = 0.0, capacity if np.isfinite(capacity) else alone, []
    rate = min(predicted_rate(service_s, limit_s, workers), 0.99 * high)
    for _ in range(tries if rate else 0):
        runs.append(serve(rate, 0))
        if runs[-1].keeps(limit_s):
            low = rate
        else:
            high = rate
        rate = (low + high) / 2 if low else rate / 1.6
    for number in range(CONFIRMATIONS if low else 0):
        runs.append(serve(low * STEP**number, 1 + number))
        if runs[-1].keeps(limit_s):
            return runs[-1], runs
    return None, runs


def predicted_rate(service_s: Sequence[float], limit_s: float, workers: int, *, n: int = 4_000) -> float:
    """The highest rate at which a queue with these service times and so many workers keeps the limit; 0 for none."""
    rng = np.random.default_rng(0)
    drawn, gaps = rng.choice(np.asarray(service_s, float), n), rng.exponential(1.0, n)
    if np.quantile(drawn, QUANTILE) > limit_s:
        return 0.0
    low, high = 0.0, workers / float(drawn.mean())
    for _ in range(20):
        rate = (low + high) / 2
        good = np.quantile(queued(gaps.cumsum() / rate, drawn, workers), QUANTILE) <= limit_s
        low, high = (rate, high) if good else (low, rate)
    return low


def queued(arrivals: np.ndarray, service_s: np.ndarray, workers: int) -> np.ndarray:
    """Latency of each request, waiting included, where the first that is free takes the next (Kiefer and Wolfowitz
    1955).

    >>> queued(np.array([0.0, 0.0, 5.0]), np.array([2.0, 2.0, 2.0]), 1).tolist()
    [2.0, 4.0, 2.0]
    """
    free, latencies = np.zeros(workers), np.empty(len(arrivals))
    for number, (arrival, needed) in enumerate(zip(arrivals, service_s)):
        first = int(free.argmin())
        free[first] = max(free[first], arrival) + needed
        latencies[number] = free[first] - arrival
    return latencies


def system(origin: dict, threads: int) -> Callable[[str], float]:
    """text -> audio seconds, of a text-to-speech system that `lib.systems.rebuild` knows."""
    from lib import environment, systems

    voice = systems.rebuild(origin, threads=threads)
    environment.pin_threads(threads)
    return lambda text: voice.synthesize(text, 0).audio_s


def _speaker(speaker: tuple[str, dict]) -> Callable[[str], float]:
    """That of this thread, built when it is first asked; a thread serves one pool."""
    import importlib

    if not hasattr(_mine, "speak"):
        module, name = speaker[0].split(":")
        _mine.speak = getattr(importlib.import_module(module), name)(**speaker[1])
    return _mine.speak


def _warm(given: tuple[tuple[str, dict], list[str]]) -> None:
    speaker, texts = given
    for text in texts:
        _speaker(speaker)(text)


def _speak(speaker: tuple[str, dict], text: str) -> tuple[float, float]:
    begin = time.monotonic()
    audio_s = _speaker(speaker)(text)
    return time.monotonic() - begin, audio_s
