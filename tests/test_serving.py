"""Serving: queues as theory has them, real arrivals, and a search that keeps the limit."""

from __future__ import annotations

import time

import numpy as np
import pytest

from lib import results
from lib.errors import ParameterError
from lib.measure import serving
from lib.measure.stats import Estimate
from lib.studies import serving as study

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
    def serve(rate: float, arrivals: int) -> serving.Served:
        return serving.Served(np.full(100, 0.05 if rate <= 7 else 2.0), rate, 1.0, 1.0)

    best, runs = serving.highest_rate(serve, [0.1] * 10, 0.3, workers=1, tries=6)
    assert best.rate == max(run.rate for run in runs if run.rate <= 7) and 5 < best.rate <= 7
    assert serving.highest_rate(serve, [0.5], 0.3, workers=1) == (None, [])


@pytest.mark.parametrize("workers, capacity", [(1, np.inf), (2, np.inf), (2, 90.0)])
def test_the_highest_rate_is_never_beyond_what_the_workers_can_do(workers, capacity):
    """Of 300 requests an overfull queue has not grown past the limit yet: they take a few seconds."""
    service = np.random.default_rng(5).gamma(20, 0.017 / 20, 300)

    def serve(rate: float, arrivals: int) -> serving.Served:
        rng = np.random.default_rng(arrivals)
        came = rng.exponential(1 / rate, 300).cumsum()
        return serving.Served(serving.queued(came, rng.choice(service, 300), workers), rate, came[-1], 1.0)

    best, runs = serving.highest_rate(serve, service, 0.5, workers=workers, capacity=capacity)
    most = min(capacity, workers / service.mean())
    assert all(run.rate < most for run in runs) and 0.8 * most < best.rate < most


def test_a_queue_that_grows_does_not_keep_the_limit_and_a_lucky_run_is_not_confirmed():
    growing = np.r_[np.full(992, 0.1), np.full(8, 0.6)]
    assert np.quantile(growing, 0.99) < 0.5 and not serving.Served(growing, 1.0, 1.0, 1.0).keeps(0.5)

    def lucky(rate: float, arrivals: int) -> serving.Served:
        return serving.Served(np.full(100, 2.0 if arrivals else 0.05), rate, 1.0, 1.0)

    best, runs = serving.highest_rate(lucky, [0.1] * 10, 0.3, workers=1)
    assert best is None and len(runs) == 4 + serving.CONFIRMATIONS


def test_workers_share_requests():
    with serving.Pool(SPEAKER, ["a", "b"], n=2, kind="threads") as pool:
        single, offline = pool.single_stream(4), pool.offline(8)
        busy = pool.server(20, 6, seed=1)
    assert (single.latencies_s >= BUSY_S).all() and single.audio_s == 4 and offline.audio_s == 8
    assert offline.seconds < 8 * BUSY_S + 1 and (busy.latencies_s >= BUSY_S).all() and busy.rate == 20
    again = np.random.default_rng(1).exponential(1 / 20, 6).cumsum()
    assert busy.seconds >= again[-1], "requests come when the Poisson process says"


def test_the_workers_of_the_next_pool_have_their_own_system():
    """Python gives a thread the number of one that has ended."""
    for audio_s in (1.0, 2.0, 3.0):
        with serving.Pool(("test_serving:sleeper", {"audio_s": audio_s}), ["a"], n=2, kind="threads") as pool:
            assert pool.offline(4).audio_s == 4 * audio_s


class Theory:
    """A pool as `serving.queued` has it: every request takes BUSY_S."""

    def __init__(self, speaker, texts, *, n: int, kind: str):
        self.n, self.kind, self.texts = n, kind, texts

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def single_stream(self, n_requests: int) -> serving.Served:
        return serving.Served(np.full(n_requests, BUSY_S), 0.0, n_requests * BUSY_S, float(n_requests))

    def offline(self, n_requests: int) -> serving.Served:
        return serving.Served(np.full(n_requests, BUSY_S), 0.0, n_requests * BUSY_S / self.n, float(n_requests))

    def server(self, rate: float, n_requests: int, *, seed: int) -> serving.Served:
        came = np.random.default_rng(seed).exponential(1 / rate, n_requests).cumsum()
        latencies = serving.queued(came, np.full(n_requests, BUSY_S), self.n)
        return serving.Served(latencies, rate, came[-1], float(n_requests))


def test_a_servers_rows_say_for_how_long_requests_came_and_how_sure_the_percentile_is(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "Pool", Theory)
    run = results.Run("06_gpu_vs_npu", tmp_path / "study")
    given = {"setups": [("threads", 2, 1)], "limit_ms": 500, "n_requests": 40, "rounds": 1, "offline_s": 0}
    best = study.serve(run, "hibari", "onnxruntime/cpu", ["a"], arrivals_s=60, **given)
    rows = results.read(run.path).set_index("metric")
    rate, p99 = rows.loc["requests_per_s"], rows.loc["latency_ms_p99"]
    assert 80 < rate.value < 2 / BUSY_S and rate.n >= 60 * rate.value, "a minute of arrivals"
    assert p99.ci_low <= p99.value <= p99.ci_high <= 500 * 1.5 and list(best) == ["serving-2-threads-1t"]
    said = study.served(best, 500)
    assert "99 of 100 under 500 ms: 2-threads-1t" in said and "most" not in said, "one setup beats nobody"
    short = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    (load,) = study.serve(short, "hibari", "onnxruntime/cpu", ["a"], arrivals_s=0, **given).values()
    assert load.server is None and load.offline.value == pytest.approx(2 / BUSY_S)
    rows = results.read(short.path).set_index("metric")
    assert rows.kind["requests_per_s"] == "not_run" and "arrivals_s" in rows.detail["requests_per_s"]
    assert rows.kind["throughput_rtfx"] == "measured"


class Wavering(Theory):
    """All at once it does what `rates` say by the kind of its workers, a round each, and says whose turn it was."""

    rates: dict[str, list[float]] = {}
    turns: list[str] = []

    def offline(self, n_requests: int) -> serving.Served:
        seconds = n_requests / self.rates[self.kind][self.turns.count(self.kind)]
        self.turns.append(self.kind)
        return serving.Served(np.full(n_requests, BUSY_S), 0.0, seconds, float(n_requests))


BOTH = [("threads", 2, 1), ("processes", 2, 1)]


def in_turns(monkeypatch, tmp_path, threads, processes, **others):
    monkeypatch.setattr(serving, "Pool", Wavering)
    monkeypatch.setattr(Wavering, "rates", {"threads": threads, "processes": processes})
    monkeypatch.setattr(Wavering, "turns", [])
    run = results.Run("06_gpu_vs_npu", tmp_path / "study")
    given = {"setups": BOTH, "limit_ms": 500, "n_requests": 8, "offline_s": 3, "arrivals_s": 0} | others
    loads = study.serve(run, "hibari", "onnxruntime/cpu", ["a", "b", "c"], **given)
    return loads, results.read(run.path).set_index(["variant", "metric"])


def test_all_at_once_is_taken_in_turns_and_lasts(monkeypatch, tmp_path):
    loads, rows = in_turns(monkeypatch, tmp_path, [90.0, 91.0, 92.0], [94.0, 95.0, 96.0])
    assert [set(Wavering.turns[i : i + 2]) for i in (0, 2, 4)] == [{"threads", "processes"}] * 3
    row = rows.loc["serving-2-threads-1t", "throughput_rtfx"]
    assert row.n == 300, "three seconds of two workers at 0.02 s, each text as often as the others"
    assert row.ci_low < 90.5 < row.value < 91.5 < row.ci_high
    assert "2-threads-1t 91.0 [88.5, 93.5], 2-processes-1t 95.0 [92.5, 97.5]; no" in study.served(loads, 500)
    apart, _ = in_turns(monkeypatch, tmp_path, [90.0, 90.1, 90.2], [95.0, 96.0, 97.0])
    assert "; most by 2-processes-1t." in study.served(apart, 500)
    wide, _ = in_turns(monkeypatch, tmp_path, [60.0, 91.0, 92.0], [95.0, 96.0, 97.0])
    assert "not said to differ" in study.served(wide, 500)
    few, _ = in_turns(monkeypatch, tmp_path, [60.0], [95.0], rounds=1)
    assert "(no interval)" in study.served(few, 500) and "not said to differ" in study.served(few, 500)


class Two(Theory):
    """Of its texts the last takes four times as long as the others, in some rounds all take longer."""

    def single_stream(self, n_requests: int) -> serving.Served:
        self.rounds = getattr(self, "rounds", 0) + 1
        spent = np.array([BUSY_S * (4 if i % len(self.texts) == len(self.texts) - 1 else 1) for i in range(n_requests)])
        return serving.Served(spent * (1 + 0.01 * self.rounds), 0.0, spent.sum(), float(n_requests))


def test_the_percentile_of_single_requests_is_over_rounds_and_texts(monkeypatch, tmp_path):
    """Hundreds of requests for eight texts are eight texts: what was chosen decides how long the slow ones take."""
    monkeypatch.setattr(serving, "Pool", Two)
    run = results.Run("06_gpu_vs_npu", tmp_path / "study")
    given = {"setups": BOTH[:1], "limit_ms": 500, "n_requests": 100, "offline_s": 0, "arrivals_s": 0}
    study.serve(run, "hibari", "onnxruntime/cpu", [*"abcdefgh"], **given)
    row = results.read(run.path).set_index("metric").loc["latency_ms_p90"]
    assert '"requests": 312' in row.detail and row.n == 8, "13 times each text in each of three rounds"
    assert row.ci_low < 1000 * 2 * BUSY_S < row.value < row.ci_high, "without the slow text it would be a quarter"


def test_a_low_round_does_not_cap_the_search_and_a_server_is_the_best_by_both(monkeypatch, tmp_path):
    """The workers do 100 a second; a neighbour took half of one round."""
    loads, rows = in_turns(monkeypatch, tmp_path, [50.0, 99.0, 99.0], [99.0, 99.0, 99.0], arrivals_s=30)
    assert loads["serving-2-threads-1t"].server.rate > 85
    assert rows.loc["serving-2-threads-1t", "requests_per_s"].value > 85
    assert "most by" not in study.served(loads, 500), "they serve alike"

    def served(rate):
        return serving.Served(np.full(300, BUSY_S), rate, 1.0, 1.0)

    best = {
        "serving-a": study.Load(Estimate(90.0, 89.0, 91.0, 3), served(70.0), 75.0),
        "serving-b": study.Load(Estimate(99.0, 98.0, 99.5, 3), served(80.0), 85.0),
    }
    assert study.served(best, 500).count("most by b") == 2
    drifted = best | {"serving-a": study.Load(Estimate(99.0, 98.0, 99.9, 3), served(70.0), 75.0)}
    assert "most by" not in study.served(drifted, 500), "one after the other: in turns they do not differ"


def test_a_request_that_is_too_slow_alone_is_why_there_is_no_server(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "Pool", Theory)
    run = results.Run("06_gpu_vs_npu", tmp_path / "study")
    given = {"setups": [("threads", 2, 1)], "limit_ms": 10, "n_requests": 10, "offline_s": 0}
    study.serve(run, "hibari", "onnxruntime/cpu", ["a"], arrivals_s=60, **given)
    detail = results.read(run.path).set_index("metric").detail["requests_per_s"]
    assert detail == "single requests alone exceed 10 ms: their 99th percentile is 20 ms"


def test_a_setup_that_breaks_costs_the_others_nothing_and_is_one_row(tmp_path, monkeypatch):
    class Broken(Theory):
        def offline(self, n_requests: int) -> serving.Served:
            if self.kind == "processes":
                raise RuntimeError("a worker died")
            return super().offline(n_requests)

    monkeypatch.setattr(serving, "Pool", Broken)
    run = results.Run("06_gpu_vs_npu", tmp_path / "study")
    given = {"setups": BOTH, "n_requests": 10, "offline_s": 0, "arrivals_s": 0}
    assert list(study.serve(run, "hibari", "onnxruntime/cpu", ["a"], **given)) == ["serving-2-threads-1t"]
    rows = results.read(run.path)
    assert list(rows[rows.variant == "serving-2-processes-1t"].detail) == ["a worker died"]


def test_what_serves_nobody_is_refused():
    with pytest.raises(ParameterError, match="0 workers"):
        serving.Pool(SPEAKER, ["a"], n=0, kind="threads")
    with pytest.raises(ParameterError, match="did you mean 'processes'"):
        serving.Pool(SPEAKER, ["a"], n=1, kind="process")
