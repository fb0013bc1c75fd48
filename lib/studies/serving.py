"""How many listeners can a voice serve on this machine, and with which workers? MLPerf's scenarios (`measure.serving`)
for some ways of sharing out the cores.

One after the other and all at once are taken in rounds, in each of which every setup has its turn: what slows the
machine slows them all, and how far a setup's own rounds lie apart is its interval. The server's search is too long for
that. So a setup is called the best where its interval of the rounds lies above all others', and for the server only
where, too, it kept the limit at a rate that no other setup kept.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.errors import SpeechError
from lib.measure import nested, serving, stats

if TYPE_CHECKING:
    from lib.results import Run

# Of a run of the server: of fewer the slowest may all lie below the 99th percentile: 0.99^300 is 5 %.
LEAST_REQUESTS = 300
SOURCE = "MLPerf Inference's scenarios on our own sentences"


@dataclass(frozen=True)
class Load:
    """What a setup of workers can do, in requests a second. offline: all there at once, over the rounds; server: its
    run at the highest rate that kept the limit, None where there is none; refused: the lowest rate above that which did
    not keep it, or the limit of the search.
    """

    offline: stats.Estimate
    server: serving.Served | None = None
    refused: float = math.inf


@dataclass(eq=False)
class _Setup:
    """Workers at work. singles, offlines: a run each round."""

    variant: str
    said: dict[str, Any]
    pool: serving.Pool
    singles: list[serving.Served] = field(default_factory=list)
    offlines: list[serving.Served] = field(default_factory=list)

    @property
    def alone_s(self) -> np.ndarray:
        """Latencies of single requests, (rounds * requests,)."""
        return np.concatenate([single.latencies_s for single in self.singles])

    def turn(self, n_requests: int, offline_s: float) -> None:
        """A round of it. offline_s: for how long there is work at least."""
        # Each text as often as the others: a round is not of longer sentences than another setup's.
        texts = len(self.pool.texts)
        self.singles.append(self.pool.single_stream(texts * math.ceil(n_requests / texts)))
        needed = offline_s * self.pool.n / float(self.singles[0].latencies_s.mean())  # as many in each round
        self.offlines.append(self.pool.offline(texts * math.ceil(max(n_requests, needed) / texts)))

    @property
    def p90_ms(self) -> stats.Estimate:
        """Of single requests, over the rounds and the texts: how often a text was said again adds no text to them."""
        spent = 1000 * np.array([single.latencies_s for single in self.singles])  # (rounds, requests)
        by_text = spent.reshape(len(spent), -1, len(self.pool.texts)).swapaxes(1, 2)  # (rounds, texts, times)
        return nested.estimate(lambda drawn: np.quantile(drawn.reshape(len(drawn), -1), 0.9, axis=1), by_text)

    @property
    def rtfx(self) -> stats.Estimate:
        """Audio seconds a second of all at once, over the rounds."""
        return nested.over_rounds([run.rtfx for run in self.offlines])

    @property
    def requests_per_s(self) -> stats.Estimate:
        """Of all at once, over the rounds."""
        return nested.over_rounds([len(run.latencies_s) / run.seconds for run in self.offlines])


def served(loads: Mapping[str, Load], limit_ms: float) -> str | None:
    """How much each setup serves, and which serves most where their intervals part, in sentences; None of none."""
    if not loads:
        return None
    at_once = {_short(name): load.offline for name, load in loads.items()}
    ends = {name: f"{one.value:.1f}" + _interval(one.low, one.high) for name, one in at_once.items()}
    said = f"Requests a second that are all there at once (workers, their kind, threads of each): {_list(ends)}"
    most = _most({name: (one.value, one.low, one.high) for name, one in at_once.items()})
    said += f"{_named(most, len(loads))}."
    in_time = {
        _short(name): (load.server.rate, load.server.rate, load.refused)
        for name, load in loads.items()
        if load.server is not None
    }
    if in_time:
        kept = {name: f"{low:.2f} (at {high:.2f} no more)" for name, (_, low, high) in in_time.items()}
        parted = _most(in_time) if _most(in_time) == most else None
        said += f" With 99 of 100 under {limit_ms:g} ms: {_list(kept)}{_named(parted, len(in_time))}."
    return said


def serve(
    run: "Run",
    system: str,
    target: str,
    texts: Sequence[str],
    *,
    setups: Sequence[tuple[str, int, int]] = (("threads", 1, 2), ("threads", 2, 1), ("processes", 2, 1)),
    limit_ms: float = 1_000,
    n_requests: int = 20,
    rounds: int = 3,
    offline_s: float = 60,
    arrivals_s: float = 60,
    seed: int = 0,
) -> dict[str, Load]:
    """Offline, single stream and server of a voice for each setup (kind of workers, how many, threads of each); writes
    the rows, and returns what each setup can do.

    n_requests: one after the other in each round, and at least so many at once; rounds: an interval needs 3; offline_s:
    for how long those that are all there at once last in each round; arrivals_s: for how long requests come in each run
    of the server; 0 for no server. A queue that is just too full grows by a second in a minute and a half at 1 % above
    what the workers can do.
    """
    loads: dict[str, Load] = {}
    with contextlib.ExitStack() as opened:
        working = []
        for kind, n, threads in setups:
            origin = {"system": system, "target": target}
            speaker = ("lib.measure.serving:system", {"origin": origin, "threads": threads})
            variant = f"serving-{n}-{kind}-{threads}t"
            with _or_not_run(run, (system, variant, target)):
                pool = opened.enter_context(serving.Pool(speaker, texts, n=n, kind=kind))
                working.append(_Setup(variant, {"workers": n, "kind": kind, "threads": threads}, pool))
        rng = np.random.default_rng(seed)
        for number in range(rounds):
            for setup in [working[i] for i in rng.permutation(len(working))]:
                if len(setup.offlines) == number:  # else it broke in a round before
                    with _or_not_run(run, (system, setup.variant, target)):
                        setup.turn(n_requests, offline_s)
        for setup in working:
            if len(setup.offlines) == rounds:
                names, asked = (system, setup.variant, target), {"limit_ms": limit_ms, "arrivals_s": arrivals_s}
                _write_rounds(run, names, setup)
                loads[setup.variant] = Load(setup.requests_per_s)
                with _or_not_run(run, names, "requests_per_s"):
                    loads[setup.variant] = _server(run, names, setup, **asked, seed=seed)
    return loads


@contextlib.contextmanager
def _or_not_run(run: "Run", names: tuple[str, str, str], metric: str = "throughput_rtfx"):
    """What breaks here costs the others nothing: a row says why."""
    try:
        yield
    except (SpeechError, OSError, RuntimeError) as error:
        run.not_run(*names, metric, str(error))


def _write_rounds(run: "Run", names: tuple[str, str, str], setup: _Setup) -> None:
    rtfx, offline = setup.rtfx, setup.offlines[0]
    said = setup.said | {"rounds": len(setup.offlines)}
    seconds = [round(one.seconds, 3) for one in setup.offlines]
    detail = said | {"requests": len(offline.latencies_s), "scenario": "offline", "seconds": seconds}
    n = len(offline.latencies_s)
    run.add(*names, "throughput_rtfx", rtfx.value, n=n, ci=rtfx.ci, source=SOURCE, detail=detail)
    if len(setup.alone_s) >= 30:
        p90 = setup.p90_ms
        detail = said | {"requests": len(setup.alone_s), "scenario": "single stream"}
        run.add(*names, "latency_ms_p90", p90.value, n=p90.n, ci=p90.ci, source=SOURCE, detail=detail)


def _server(
    run: "Run", names: tuple[str, str, str], setup: _Setup, *, limit_ms: float, arrivals_s: float, seed: int
) -> Load:
    """The search for the highest rate, as rows."""
    offline = setup.requests_per_s
    if not arrivals_s:
        why = "a server was not asked for (arrivals_s is 0): a full queue shows within a minute, not a second"
        run.not_run(*names, "requests_per_s", why)
        return Load(offline)
    # The upper end: a value that is low by chance would forbid rates that the workers can do.
    capacity = offline.value if offline.high is None else offline.high
    found, runs = serving.highest_rate(
        lambda rate, number: setup.pool.server(
            rate, max(LEAST_REQUESTS, math.ceil(rate * arrivals_s)), seed=seed + number
        ),
        setup.alone_s,
        limit_ms / 1000,
        workers=setup.pool.n,
        capacity=capacity,
    )
    tried = [
        {"rate": round(r.rate, 3), "p99_ms": round(1000 * r.p99_s), "requests": len(r.latencies_s)}
        for r in runs
    ]
    if found is None:
        alone_ms = 1000 * float(np.quantile(setup.alone_s, serving.QUANTILE))
        too_slow = f"single requests alone exceed {limit_ms:g} ms: their 99th percentile is {alone_ms:.0f} ms"
        too_many = f"no rate kept the 99th percentile under {limit_ms:g} ms: {tried}"
        run.not_run(*names, "requests_per_s", too_many if runs else too_slow)
        return Load(offline)
    n = len(found.latencies_s)
    refused = [one.rate for one in runs if one.rate > found.rate and not one.keeps(limit_ms / 1000)]
    refused_at = min(refused, default=capacity)
    detail = setup.said | {"scenario": "server", "limit_ms": limit_ms, "arrivals_s": arrivals_s, "requests": n}
    detail |= {"tried": tried, "not_at": round(refused_at, 3)}
    run.add(*names, "requests_per_s", found.rate, n=n, source=SOURCE, detail=detail)
    # As if requests were independent: neighbours wait for each other, so the truth lies a little wider.
    p99 = stats.quantile_ci(1000 * found.latencies_s, serving.QUANTILE)
    run.add(*names, "latency_ms_p99", p99.value, n=n, ci=p99.ci, source=SOURCE, detail=detail)
    return Load(offline, found, refused_at)


def _most(ends: Mapping[str, tuple[float, float | None, float | None]]) -> str | None:
    """Whose interval lies above all others'; None where none does. ends: (value, low, high) of each."""
    first = max(ends, key=lambda name: ends[name][0])
    low, others = ends[first][1], [high for name, (_, _, high) in ends.items() if name != first]
    return first if low is not None and all(high is not None and low > high for high in others) else None


def _named(most: str | None, of: int) -> str:
    if most:
        return f"; most by {most}" if of > 1 else ""
    return "; no interval lies above all others, so they are not said to differ" if of > 1 else ""


def _short(variant: str) -> str:
    return variant.removeprefix("serving-")


def _interval(low: float | None, high: float | None) -> str:
    return " (no interval)" if low is None else f" [{low:.1f}, {high:.1f}]"


def _list(said: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {what}" for name, what in said.items())
