"""The timing loop counts, orders and divides right, and a fresh process tells its own memory and start."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

from lib.errors import AudioError, ParameterError, SpeechError
from lib.measure import fresh, memory, speed

pytestmark = pytest.mark.alone


def busy(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def timing(seconds, audio_s, name="x"):
    return speed.Timing(name, np.asarray(seconds, float), np.asarray(audio_s, float))


def test_derived_speeds_are_exact():
    # Three repeats of four inputs; medians 1, 2, 3, 4 s for 10, 10, 10, 20 s of audio.
    found = timing([[1, 2, 3, 4], [9, 2, 3, 4], [1, 1, 9, 4]], [10, 10, 10, 20])
    assert found.medians_s.tolist() == [1, 2, 3, 4]
    assert found.rtf.value == pytest.approx(10 / 50)
    assert found.throughput_rtfx.value == pytest.approx(5)
    assert found.latency_ms_p50.value == pytest.approx(2500)
    assert found.latency_ms_p90.value == pytest.approx(3700)
    assert set(found.metrics()) == {"rtf", "latency_ms_p50", "latency_ms_p90", "throughput_rtfx"}
    assert all(e.low <= e.value <= e.high and e.n == 4 for e in found.metrics().values())


def test_speed_up_is_per_second_of_audio():
    baseline, faster = timing([[2, 4, 6]], [10, 20, 30]), timing([[1, 2, 3]], [10, 20, 30])
    assert faster.speedup_over(baseline).value == pytest.approx(2)
    talks_slowly = timing([[2, 4, 6]], [20, 40, 60])
    assert talks_slowly.speedup_over(baseline).value == pytest.approx(2)
    with pytest.raises(ParameterError, match="same inputs"):
        faster.speedup_over(timing([[1, 2]], [10, 20]))


def test_stage_shares_add_up():
    stages = {"encoder": np.array([[1.0, 1.0]]), "decoder": np.array([[3.0, 5.0]])}
    found = speed.Timing("x", np.array([[4.0, 6.0]]), np.array([10.0, 10.0]), stages)
    assert found.stage_rtf == pytest.approx({"encoder": 0.1, "decoder": 0.4})
    assert found.detail()["repeats"] == 1


def test_loop_warms_up_apart_and_takes_turns():
    calls = []

    def candidate(name):
        return lambda value: calls.append((name, value)) or 2.0

    found = speed.interleaved({n: candidate(n) for n in "abc"}, [1, 2], repeats=5, warmup=1, seed=0)
    assert len(calls) == 3 * 2 * (1 + 5)
    timed = calls[6:]
    turns = [timed[i : i + 3] for i in range(0, len(timed), 3)]
    assert all(
        {name for name, _ in turn} == set("abc") and len({value for _, value in turn}) == 1 for turn in turns
    )
    assert len({turn[0][0] for turn in turns}) == 3  # each goes first at times
    assert found["a"].seconds.shape == (5, 2) and found["a"].audio_s.tolist() == [2, 2]
    again = []
    speed.interleaved({n: (lambda v, n=n: again.append((n, v)) or 2.0) for n in "abc"}, [1, 2], seed=0)
    assert again == calls


def test_loop_measures_time_audio_and_stages():
    def speak(value):
        busy(0.002 * value)
        return SimpleNamespace(audio_s=float(value), seconds={"only": 0.002 * value})

    found = speed.interleaved(
        {"quick": speak, "slow": lambda v: busy(0.006 * v) or float(v)}, [1, 2, 3], repeats=5
    )
    assert found["quick"].rtf.value == pytest.approx(0.002, rel=0.5)
    assert found["quick"].stage_rtf["only"] == pytest.approx(0.002)
    assert 1.5 < found["quick"].speedup_over(found["slow"]).value < 6  # 3 on an idle machine
    assert found["quick"].load_before >= 0


def test_loop_refuses_what_cannot_be_timed():
    with pytest.raises(AudioError, match="mute returned 0"):
        speed.interleaved({"mute": lambda v: 0.0}, [1])
    for candidates, inputs, repeats in (
        ({}, [1], 5),
        ({"a": lambda v: 1.0}, [], 5),
        ({"a": lambda v: 1.0}, [1], 0),
    ):
        with pytest.raises(ParameterError, match="at least one"):
            speed.interleaved(candidates, inputs, repeats=repeats)


def test_pinning_threads_returns_what_was_before():
    import torch

    before = torch.get_num_threads()
    assert speed.pin_threads(1) == before
    assert speed.pin_threads(before) == 1
    with pytest.raises(ParameterError):
        speed.pin_threads(0)


def test_fresh_process_has_its_own_memory_and_clock():
    block = np.ones(40_000_000)  # 320 MB here must not be counted there
    run = fresh.run("json:dumps", {"obj": [1, 2]})
    assert run.value == "[1, 2]"
    assert 5 < run.rss_before_mb <= run.peak_rss_mb < 150 < memory.rss_mb()
    assert 0.01 < run.seconds < 60
    assert block[0] == 1


def test_failure_in_a_fresh_process_is_told_in_words():
    with pytest.raises(SpeechError, match="no attribute 'absent'"):
        fresh.run("json:absent")
    with pytest.raises(SpeechError, match="code 3"):
        fresh.run("os:_exit", {"status": 3})
    with pytest.raises(ParameterError, match="module:function"):
        fresh.run("json.dumps")


def test_cold_start_of_a_real_voice():
    found = speed.cold_start("hibari", None, ["Rice is often served in round bowls."], threads=1, runs=1)
    assert found.cold_start_s > found.load_s + found.first_sentence_s > 0
    assert found.peak_rss_mb > found.rss_before_mb + 20  # ONNX Runtime and a network
    with pytest.raises(ParameterError, match="did you mean 'hibari'"):
        speed.cold_start("hibary", None, ["Rice."])
    with pytest.raises(ParameterError, match="list"):
        speed.cold_start("hibari", None, "Rice.")


def test_the_judge_leaves_torch_its_threads():
    """CTranslate2 sets OpenMP's thread count for the whole process: torch was once timed on one thread after it."""
    import numpy as np
    import torch

    from lib.measure.scorer import Scorer

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        noise = np.random.default_rng(0).normal(0, 0.05, 16_000).astype(np.float32)
        scorer = Scorer(threads=2, cache=False)
        scorer.transcript(noise, 16_000)
        assert torch.get_num_threads() == 2
        scorer.rate_all([(noise, 16_000, "a"), (0.9 * noise, 16_000, "b")], metrics=["wer", "dnsmos_ovrl"])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
