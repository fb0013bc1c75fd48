"""Serving: queues as theory has them, real arrivals, and a search that keeps the limit."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lib.errors import ParameterError
from lib.measure import serving

BUSY_S = 0.02


def sleeper(audio_s: float):
    """A speaker that takes BUSY_S for every text."""

    def speak(text: str) -> float:
        time.sleep(BUSY_S)
        return audio_s

    return speak


SPEAKER = ("test_serving:sleeper", {"audio_s": 1.0})


def test_a_queue_is_as_theory_has_it():
    """M/M/1: the sojourn time is exponential with mean 1 / (mu - lambda) (Kleinrock 1975, section 3.2)."""
    rng = np.random.default_rng(0)
    arrivals, service = rng.exponential(1 / 0.7, 200_000).cumsum(), rng.exponential(1.0, 200_000)
    latencies = serving.queued(arrivals, service, 1)
    assert latencies.mean() == pytest.approx(1 / 0.3, rel=0.1)
    assert np.quantile(latencies, 0.99) == pytest.approx(np.log(100) / 0.3, rel=0.12)
    assert serving.queued(arrivals, service, 2).mean() < 0.6 * latencies.mean()


def test_the_predicted_rate_keeps_the_limit_and_rises_with_workers():
    service = [0.1] * 10
    one, two = (serving.predicted_rate(service, 0.3, workers) for workers in (1, 2))
    assert 0 < one < 10 and two > 1.8 * one
    assert serving.predicted_rate(service, 0.05, 1) == 0, "no rate makes a request faster than it is alone"


def test_the_search_returns_the_highest_rate_that_kept_the_limit():
    def serve(rate: float) -> serving.Served:
        return serving.Served(np.full(100, 0.05 if rate <= 7 else 2.0), rate, 1.0, 1.0)

    best, runs = serving.highest_rate(serve, [0.1] * 10, 0.3, workers=1, tries=6)
    assert best.rate == max(run.rate for run in runs if run.rate <= 7) and 5 < best.rate <= 7
    assert serving.highest_rate(serve, [0.5], 0.3, workers=1) == (None, [])


def test_workers_share_requests():
    with serving.Pool(SPEAKER, ["a", "b"], n=2, kind="threads") as pool:
        single, offline = pool.single_stream(4), pool.offline(8)
        busy = pool.server(20, 6, seed=1)
    assert (single.latencies_s >= BUSY_S).all() and single.audio_s == 4 and offline.audio_s == 8
    assert offline.seconds < 8 * BUSY_S + 1 and (busy.latencies_s >= BUSY_S).all() and busy.rate == 20
    again = np.random.default_rng(1).exponential(1 / 20, 6).cumsum()
    assert busy.seconds >= again[-1], "requests come when the Poisson process says"


def test_what_serves_nobody_is_refused():
    with pytest.raises(ParameterError, match="0 workers"):
        serving.Pool(SPEAKER, ["a"], n=0, kind="threads")
    with pytest.raises(ParameterError, match="did you mean 'processes'"):
        serving.Pool(SPEAKER, ["a"], n=1, kind="process")
