"""How many listeners can a voice serve on this machine, and with which workers? MLPerf's scenarios (`measure.serving`)
for some ways of sharing out the cores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lib.errors import SpeechError

if TYPE_CHECKING:
    from lib.measure.serving import Served
    from lib.results import Run


LEAST_REQUESTS = (
    300  # of a run of the server: of fewer the slowest may all lie below the 99th percentile: 0.99^300 is 5 %
)


def served(best: Mapping[str, "Served"], limit_ms: float) -> str | None:
    """Which setup serves most within the limit, in a sentence."""
    if not best:
        return None
    name = max(best, key=lambda setup: best[setup].rate)
    said = ", ".join(f"{setup.removeprefix('serving-')} {run.rate:.2f}" for setup, run in best.items())
    return (
        f"Requests a second with 99 of 100 under {limit_ms:g} ms: {said}; most by {name.removeprefix('serving-')} "
        f"(workers, their kind, threads of each)."
    )


def serve(
    run: "Run",
    system: str,
    target: str,
    texts: Sequence[str],
    *,
    setups: Sequence[tuple[str, int, int]] = (("threads", 1, 2), ("threads", 2, 1), ("processes", 2, 1)),
    limit_ms: float = 1_000,
    n_requests: int = 20,
    arrivals_s: float = 60,
    seed: int = 0,
) -> dict[str, "Served"]:
    """Offline, single stream and server of a voice for each setup (kind of workers, how many, threads of each); writes
    the rows, and returns the server run of each setup at the highest rate that kept the limit.

    arrivals_s: for how long requests come in each run of the server; 0 for no server. A queue that is just too full
    grows by a second in a minute and a half at 1 % above what the workers can do.
    """
    from lib.measure import serving, stats

    best = {}
    for kind, n, threads in setups:
        variant = f"serving-{n}-{kind}-{threads}t"
        names = (system, variant, target)
        speaker = (
            "lib.measure.serving:system",
            {"origin": {"system": system, "target": target}, "threads": threads},
        )
        try:
            with serving.Pool(speaker, texts, n=n, kind=kind) as pool:
                single = pool.single_stream(n_requests)
                offline = pool.offline(n_requests)
                found, runs = None, []
                if arrivals_s:
                    found, runs = serving.highest_rate(
                        lambda rate, number: pool.server(
                            rate, max(LEAST_REQUESTS, math.ceil(rate * arrivals_s)), seed=seed + number
                        ),
                        single.latencies_s,
                        limit_ms / 1000,
                        workers=n,
                        capacity=n_requests / offline.seconds,
                    )
        except (SpeechError, OSError, RuntimeError) as error:
            run.not_run(*names, "throughput_rtfx", str(error))
            continue
        said = {"workers": n, "kind": kind, "threads": threads, "requests": n_requests}
        source = "MLPerf Inference's scenarios on our own sentences"
        run.add(
            *names,
            "throughput_rtfx",
            offline.rtfx,
            n=n_requests,
            source=source,
            detail=said | {"scenario": "offline"},
        )
        if len(single.latencies_s) >= 30:
            p90 = 1000 * single.percentile_s(0.9)
            run.add(
                *names,
                "latency_ms_p90",
                p90,
                n=n_requests,
                source=source,
                detail=said | {"scenario": "single stream"},
            )
        tried = [
            {"rate": round(r.rate, 3), "p99_ms": round(1000 * r.p99_s), "requests": len(r.latencies_s)}
            for r in runs
        ]
        server = said | {"scenario": "server", "limit_ms": limit_ms, "tried": tried}
        if found is None:
            why = (
                f"no rate kept the 99th percentile under {limit_ms:g} ms: {tried}"
                if runs
                else "a server was not asked for (arrivals_s is 0): a full queue shows within a minute, not a second"
            )
            run.not_run(*names, "requests_per_s", why)
            continue
        best[variant] = found
        requests = len(found.latencies_s)
        server |= {"arrivals_s": arrivals_s, "requests": requests}
        run.add(*names, "requests_per_s", found.rate, n=requests, source=source, detail=server)
        # As if requests were independent: neighbours wait for each other, so the truth lies a little wider.
        p99 = stats.quantile_ci(1000 * found.latencies_s, serving.QUANTILE)
        run.add(*names, "latency_ms_p99", p99.value, n=requests, ci=p99.ci, source=source, detail=server)
    return best
