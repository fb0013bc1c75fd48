"""The bench takes turns in fresh processes, divides right, gives intervals only where it can, and says who failed."""

import json
import sys
import types

import numpy as np
import pytest

from lib import environment, results
from lib.errors import ParameterError, SpeechError, StoppedError
from lib.measure import bench, bench_child, judgement, process
from lib.measure import benched as of_one
from lib.measure.bench import Benched, Candidate

SENTENCES = ["Rice is often served in round bowls.", "The hogs were fed chopped corn and garbage."]
HIBARI = Candidate("hibari", "baseline", "onnxruntime/cpu", {"system": "hibari", "target": "onnxruntime/cpu"})
ESPEAK = Candidate("espeak-ng", "baseline", "native/cpu", {"system": "espeak-ng", "target": "native/cpu"})


def made(seconds, audio_s, candidate=HIBARI, **others):
    """seconds: (rounds, passes, inputs)."""
    return Benched(candidate, seconds=np.asarray(seconds, float), audio_s=np.asarray(audio_s, float), **others)


def noisy(factor=1.0, rounds=3, inputs=10, seed=0, candidate=HIBARI):
    """Rounds that differ by some percent, sentences by a tenth; the same seed: the same sentences and rounds."""
    rng = np.random.default_rng(seed)
    audio_s = rng.uniform(2, 8, inputs)
    seconds = (
        0.05 * audio_s * np.exp(0.1 * rng.standard_normal(inputs) + 0.05 * rng.standard_normal((rounds, 1, 1)))
    )
    return made(factor * seconds, audio_s, candidate)


# --- arithmetic


def test_derived_speeds_are_exact():
    # One round of three passes over four inputs: medians 1, 2, 3, 4 s for 10, 10, 10, 20 s of audio.
    one = made([[[1, 2, 3, 4], [9, 2, 3, 4], [1, 1, 9, 4]]], [10, 10, 10, 20])
    assert one.medians_s.tolist() == [[1, 2, 3, 4]]
    assert one.rtf.value == pytest.approx(10 / 50)
    assert one.throughput_rtfx.value == pytest.approx(5)
    assert one.latency_ms_p50.value == pytest.approx(2500)
    assert one.rtf.ci is None and one.latency_ms_p50.ci is None  # one round
    assert one.latency_ms_p90 is None  # 12 timings


def test_rounds_are_averaged_after_the_passes():
    one = made([[[1], [3], [1]], [[2], [2], [9]]], [10])  # medians 1 and 2
    assert one.rtf.value == pytest.approx(0.15)


def test_intervals_need_three_rounds_and_eight_sentences():
    assert noisy(rounds=3, inputs=8).rtf.ci and noisy(rounds=3, inputs=8).latency_ms_p50.ci
    assert noisy(rounds=2, inputs=40).rtf.ci is None
    assert noisy(rounds=5, inputs=7).rtf.ci is None
    one = noisy()
    assert one.rtf.low < one.rtf.value < one.rtf.high
    assert one.throughput_rtfx.ci == pytest.approx((1 / one.rtf.high, 1 / one.rtf.low))


def test_the_90th_percentile_needs_thirty_timings():
    assert noisy(rounds=3, inputs=10).latency_ms_p90.value > noisy(rounds=3, inputs=10).latency_ms_p50.value
    assert noisy(rounds=2, inputs=14).latency_ms_p90 is None


def test_a_speed_up_is_paired_and_per_second_of_audio():
    base, fast = noisy(), noisy(0.5)
    gain = bench.speedup(fast, base)
    assert gain.value == pytest.approx(2) and gain.significant
    assert (
        gain.high - gain.low < 0.01 < base.rtf.high - base.rtf.low
    )  # what rounds and sentences do to both cancels
    drawl = made(noisy().seconds, 2 * noisy().audio_s)
    assert bench.speedup(drawl, base).value == pytest.approx(2)
    assert bench.speedup(base, noisy(seed=0)).p_value == 1.0
    other = made(
        noisy(seed=0).seconds * np.exp(0.2 * np.random.default_rng(1).standard_normal((3, 1, 10))), base.audio_s
    )
    assert not bench.speedup(other, base).significant
    with pytest.raises(ParameterError, match="same rounds and inputs"):
        bench.speedup(fast, noisy(rounds=4))


def test_a_variant_says_in_its_row_how_much_faster_it_is(tmp_path):
    import dataclasses

    half = dataclasses.replace(HIBARI, variant="half")
    elsewhere = dataclasses.replace(half, target="torch/cpu")
    run = results.start("01_demo", "smoke", outputs=tmp_path)
    plain, fast = noisy(), noisy(0.5)
    rest = dict(cold_start_s=np.ones(3), load_s=np.ones(3), first_sentence_s=np.ones(3), peak_rss_mb=np.ones(3))
    timed = {
        "base": made(plain.seconds, plain.audio_s, **rest),
        "half": made(fast.seconds, fast.audio_s, half, **rest | {"peak_rss_mb": np.array([1.2, 1.25, 1.3])}),
        "far": made(fast.seconds, fast.audio_s, elsewhere, **rest),
    }
    bench.write(run, timed)
    table = results.read(run.path).query("metric == 'rtf'").set_index(["variant", "target"])
    row = table.loc[("half", "onnxruntime/cpu")]
    gain = json.loads(row.detail)["speedup"]
    assert row.baseline == "baseline" and gain["value"] == pytest.approx(2)
    assert 1.9 < gain["ci_low"] <= gain["value"] <= gain["ci_high"] < 2.1
    for key in (("baseline", "onnxruntime/cpu"), ("half", "torch/cpu")):
        assert "speedup" not in json.loads(table.loc[key].detail) and table.loc[key].baseline == ""
    waits = results.read(run.path).query("metric == 'latency_ms_p50'").set_index(["variant", "target"])
    row = waits.loc[("half", "onnxruntime/cpu")]
    ratio = json.loads(row.detail)["latency_ratio"]
    assert row.baseline == "baseline" and ratio["value"] == pytest.approx(0.5)
    assert 0.49 < ratio["ci_low"] <= ratio["ci_high"] < 0.51 and row.ci_high / row.ci_low > 1.5
    for key in (("baseline", "onnxruntime/cpu"), ("half", "torch/cpu")):
        assert "latency_ratio" not in json.loads(waits.loc[key].detail) and waits.loc[key].baseline == ""
    memory = results.read(run.path).query("metric == 'peak_rss_mb'").set_index(["variant", "target"])
    row = memory.loc[("half", "onnxruntime/cpu")]
    ratio = json.loads(row.detail)["memory_ratio"]
    assert row.baseline == "baseline" and ratio["value"] == pytest.approx(1.25, rel=0.01) and ratio["ci_low"] > 1.1
    assert memory.baseline[("half", "torch/cpu")] == "" == memory.baseline[("baseline", "onnxruntime/cpu")]
    gains = judgement.from_rows(results.read(run.path), *half.names).gains
    (gain,) = (gain for gain in gains if gain.metric == "peak_rss_mb")
    assert gain.times == pytest.approx(0.8, rel=0.01) and gain.low < gain.times < gain.high and gain.costs_more


def test_a_latency_is_paired_by_sentence_whatever_is_said():
    """What sentences differ in length cancels; how long a variant speaks counts, as it does for who waits."""
    base = made([[[1.0, 4.0]], [[2.0, 8.0]]], [2, 8])
    slow = made([[[2.0, 2.0]], [[4.0, 4.0]]], [4, 8])  # twice as long for one sentence, half as long for the other
    assert of_one.latency_ratio(slow, base).value == pytest.approx(1)
    assert of_one.latency_ratio(noisy(0.5), noisy()).high < 0.51
    assert of_one.latency_ratio(noisy(0.5, rounds=2), noisy(rounds=2)).ci is None
    drawl = made(2 * noisy().seconds, 2 * noisy().audio_s)  # as fast per second of audio
    assert of_one.latency_ratio(drawl, noisy()).value == pytest.approx(2)
    with pytest.raises(ParameterError, match="same rounds and inputs"):
        of_one.latency_ratio(noisy(), noisy(rounds=4))


def test_stage_shares_add_up():
    stages = {"encoder": np.array([[[1.0, 1.0]]]), "decoder": np.array([[[3.0, 5.0]]])}
    one = made([[[4, 6]]], [10, 10], stages=stages)
    assert one.stage_rtf == pytest.approx({"encoder": 0.1, "decoder": 0.4})
    assert one.detail()["rounds"] == 1 and one.detail()["stages"]["decoder"] == 0.4
    assert "decoder takes 80 %" in bench.largest_stage(one, "x")


def test_sentences_say_what_the_numbers_say():
    base = noisy()
    assert "2.00 times the speed of B [2.00, 2.00]: faster" in bench.faster(noisy(0.5), base, "A", "B")
    assert "not recommended" in bench.faster(noisy(1.5), base, "A", "B")
    assert "no difference" in bench.faster(noisy(), base, "A", "B")
    assert "too few rounds" in bench.faster(noisy(rounds=1), noisy(2, rounds=1), "A", "B")
    failed = Benched(HIBARI, "killed")
    assert bench.faster(failed, base, "A", "B") == "A was not benched: killed"
    with pytest.raises(SpeechError, match="hibari baseline on onnxruntime/cpu was not benched: killed"):
        failed.rtf


# --- rows


def test_rows_of_every_kind(tmp_path):
    one = noisy()
    energy = {
        "joules": 6.0,
        "seconds": 2.0,
        "audio_s": 12.0,
        "utilization_pct": 70.0,
        "kind": "estimated",
        "source": "x",
    }
    full = made(
        one.seconds,
        one.audio_s,
        cold_start_s=np.array([1.0, 1.1, 1.2]),
        load_s=np.array([0.8, 0.9, 1.0]),
        first_sentence_s=np.array([0.1, 0.1, 0.1]),
        peak_rss_mb=np.array([300.0, 301.0, 302.0]),
        peak_gpu_mb=np.array([900.0, 900.0, 900.0]),
        footprint={"size_mb": 7.9, "size_kind": "estimated", "loaded_mb": 30.0, "params_m": 6.1},
        first_audio_s=0.2 * one.seconds,
        stalled_s=np.full_like(one.seconds, 0.02),
        nfe=5.0,
        energy=(energy,) * 3,
        circumstances={"threads": 2, "load_before": 0.1},
    )
    run = results.Run("01_x", tmp_path / "quick")
    bench.write(run, {"a": full, "b": Benched(ESPEAK, "no such library")})
    table = results.read(run.path).set_index(["system", "metric"])
    rows = table.loc["hibari"]
    assert set(rows.index) == {
        "rtf", "latency_ms_p50", "latency_ms_p90", "throughput_rtfx", "first_audio_ms", "cold_start_s", "peak_rss_mb",
        "peak_gpu_mb", "size_mb", "loaded_mb", "params_m", "nfe", "energy_j_per_audio_s", "power_w", "utilization_pct",
    }  # fmt: skip
    assert json.loads(rows.detail["energy_j_per_audio_s"])["rounds"] == json.loads(rows.detail["rtf"])["rounds"]
    assert rows.value["energy_j_per_audio_s"] == pytest.approx(0.5) and rows.value["power_w"] == pytest.approx(
        3
    )
    assert rows.kind["size_mb"] == "estimated" and rows.kind["loaded_mb"] == "measured"
    assert "CPU seconds" in rows.source["utilization_pct"]
    assert rows.kind["power_w"] == "estimated" and rows.kind["utilization_pct"] == "measured"
    assert rows.n["cold_start_s"] == 3 and rows.ci_low["cold_start_s"] < 1.1 < rows.ci_high["cold_start_s"]
    assert rows.value["first_audio_ms"] == pytest.approx(0.2 * rows.value["latency_ms_p50"])
    assert json.loads(rows.detail["first_audio_ms"])["stalled_ms"] == 20.0
    assert "stalled_ms" not in rows.detail["latency_ms_p50"]
    assert (
        json.loads(rows.detail["rtf"])["load_before"] == 0.1
        and json.loads(rows.detail["cold_start_s"])["load_s"] == 0.9
    )
    failed = table.loc["espeak-ng"]
    assert failed.index.tolist() == ["rtf"] and failed.detail["rtf"] == "no such library"


# --- fresh processes


def test_fresh_process_has_its_own_memory_and_clock():
    block = np.ones(40_000_000)  # 320 MB here must not be counted there
    done = process.call("json:dumps", {"obj": [1, 2]})
    assert done.value == "[1, 2]"
    assert 5 < done.rss_before_mb <= done.peak_rss_mb < 150
    assert 0.01 < done.seconds < 60
    assert block[0] == 1


def test_failure_in_a_fresh_process_is_told_in_words():
    with pytest.raises(SpeechError, match="no attribute 'absent'"):
        process.call("json:absent")
    with pytest.raises(SpeechError, match="code 3"):
        process.call("os:_exit", {"status": 3})
    with pytest.raises(StoppedError, match="did not return within 0.001 s"):
        process.call("json:dumps", {"obj": 1}, timeout_s=0.001)
    with pytest.raises(StoppedError, match="os:abort was ended by signal 6, Aborted, in a fresh"):
        process.call("os:abort")
    with pytest.raises(ParameterError, match="unknown voice to learn 'nobody'"):
        process.call("lib.corpora.unheard:load", {"name": "nobody"})
    with pytest.raises(ParameterError, match="module:function"):
        process.call("json.dumps")


def test_a_child_is_told_its_threads_and_whether_it_is_alone(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    beside = process.environment_of_child(1, alone=False)
    alone = process.environment_of_child(2, alone=True)
    assert {alone[name] for name in process.THREAD_VARIABLES} == {"2"}
    assert alone["SPEECH_ALONE"] == "1" and "OMP_WAIT_POLICY" not in alone
    assert beside["OMP_WAIT_POLICY"] == "passive" and "SPEECH_ALONE" not in beside


def test_inputs_come_out_of_their_file_as_they_went_in(tmp_path):
    path = str(tmp_path / "inputs.npz")
    bench_child.save_inputs(path, "text", ["a", "naïve “b”"])
    assert bench_child.load_inputs(path, "text") == ["a", "naïve “b”"]
    clip = types.SimpleNamespace(waveform=np.linspace(-1, 1, 9, dtype=np.float32), sample_rate=16_000)
    bench_child.save_inputs(path, "clip", [clip, clip])
    (waveform, rate), _ = bench_child.load_inputs(path, "clip")
    assert rate == 16_000 and np.array_equal(waveform, clip.waveform)
    bench_child.save_inputs(path, "log_mel", [np.ones((3, 80))])
    assert bench_child.load_inputs(path, "log_mel")[0].shape == (3, 80)


@pytest.fixture
def child(monkeypatch):
    """A bench whose processes are a function here: what they were asked, and what they answer."""
    asked = []
    monkeypatch.setattr(bench, "Others", lambda: types.SimpleNamespace(percent=lambda: 2.0))

    def call(function, arguments, *, threads, timeout_s, alone):
        origin = arguments["origin"]
        asked.append((origin["system"], arguments["turn"], threads, alone))
        if arguments["origin"].get("breaks"):
            raise SpeechError(f"{function} ended with code -9 in a fresh process: Killed")
        answer = {
            "load_s": 1.0, "first_sentence_s": 0.1, "cold_start_s": 1.2, "peak_rss_mb": 100.0, "peak_gpu_mb": None,
            "seconds": [[0.1, 0.2]], "audio_s": [2.0, 4.0], "stages": {}, "first_audio_s": None, "nfe": None,
            "stalled_s": None,
            "cpu_s": 0.3, "peak_of_whole_life": False, "energy": None, "footprint": {},
            "names": [origin["system"], "baseline", origin.get("target", "torch/cpu")],
            "fingerprint": "abc", "versions": {}, "threads": {},
        }  # fmt: skip
        return process.Finished(answer, 2.0, 100.0, 20.0)

    monkeypatch.setattr(process, "call", call)
    monkeypatch.setattr(bench, "busy_processes", lambda: {"compiler": 90.0})
    return asked


def test_each_round_takes_every_candidate_once_in_an_order_drawn_anew(child):
    three = {name: Candidate(name, "baseline", "torch/cpu", {"system": name}) for name in "abc"}
    benched = bench.bench(three, SENTENCES, rounds=6, threads=2)
    turns = ["".join(name for name, *_ in child[i : i + 3]) for i in range(0, 18, 3)]
    assert all(sorted(turn) == list("abc") for turn in turns) and len(set(turns)) > 1
    assert {(threads, alone) for *_, threads, alone in child} == {(2, True)}
    assert benched["a"].seconds.shape == (6, 1, 2) and benched["a"].rtf.value == pytest.approx(0.05)
    assert benched["a"].circumstances["busy_before"] == {"compiler": 90.0}
    assert len(benched["a"].circumstances["others_pct"]) == 6


@pytest.fixture
def disturbed(monkeypatch, child):
    """A dict: whose processes find which percents of others, one after the other; 2 % once they are through."""
    told = {}

    def percent():
        left = told.get(child[-1][0], [])
        return left.pop(0) if left else 2.0

    monkeypatch.setattr(bench, "Others", lambda: types.SimpleNamespace(percent=percent))
    return told


def called(*names):
    return {name: Candidate(name, "baseline", "torch/cpu", {"system": name}) for name in names}


def test_what_others_disturbed_is_timed_again_when_its_round_is_through(child, disturbed, caplog):
    disturbed |= {"a": [48.0, 45.0, 3.0], "b": [2.0, 2.0, 30.0, 4.0]}
    timed = bench.bench(called("a", "b"), SENTENCES, rounds=3)
    order = [name for name, *_ in child]
    assert sorted(order[:2]) == ["a", "b"] and order[2:4] == ["a", "a"]
    assert sorted(order[4:6]) == sorted(order[6:8]) == ["a", "b"] and order[8:] == ["b"]
    assert {turn for name, turn, *_ in child[2:4]} == {turn for name, turn, *_ in child[:2] if name == "a"}
    assert timed["a"].circumstances["others_pct"] == [3.0, 2.0, 2.0]
    assert timed["a"].circumstances["repeated"] == [2, 0, 0] == timed["a"].detail()["repeated"]
    assert timed["b"].circumstances["others_pct"] == [2.0, 2.0, 4.0]
    assert timed["b"].circumstances["repeated"] == [0, 0, 1]
    assert timed["a"].seconds.shape == timed["b"].seconds.shape == (3, 1, 2)
    assert "while it was timed" not in caplog.text  # none of those is kept


def test_beside_a_job_of_hours_only_one_round_is_repeated(child, disturbed, caplog):
    disturbed |= {"a": [90.0, 80.0, 85.0] + [70.0] * 9, "b": [2.0] * 9}
    timed = bench.bench(called("a", "b"), SENTENCES, rounds=4)
    assert [name for name, *_ in child].count("a") == 4 + bench.REPEATS
    assert [name for name, *_ in child].count("b") == 4
    assert timed["a"].circumstances["others_pct"] == [80.0, 70.0, 70.0, 70.0]  # the least disturbed is kept
    assert timed["a"].circumstances["repeated"] == [2, 0, 0, 0]
    assert "a baseline on torch/cpu: in the worst of 4 rounds others took 80 % of a core" in caplog.text


def test_one_bad_round_of_three_is_said(caplog):
    bench.warn_of_others("it", [48.0, 2.0, 2.0])
    assert "it: in the worst of 3 rounds others took 48 % of a core while it was timed" in caplog.text
    caplog.clear()
    bench.warn_of_others("it", [19.0, 2.0, 2.0])
    assert not caplog.text


def test_too_few_rounds_for_an_interval_are_not_repeated(child, disturbed):
    disturbed["a"] = [90.0] * 9
    timed = bench.bench(called("a"), SENTENCES, rounds=2)
    assert len(child) == 2 and timed["a"].circumstances["repeated"] == [0, 0]


def test_who_breaks_when_it_is_timed_again_keeps_what_it_has(child, disturbed, monkeypatch, caplog):
    disturbed["a"] = [90.0]
    real = process.call

    def call(*arguments, **more):
        if len(child) == 1:
            child.append(("none", 0, 0, True))
            raise StoppedError("did not return within 600 s")
        return real(*arguments, **more)

    monkeypatch.setattr(process, "call", call)
    timed = bench.bench(called("a"), SENTENCES, rounds=3)
    assert not timed["a"].why_not and timed["a"].seconds.shape == (3, 1, 2)
    assert timed["a"].circumstances["repeated"] == [2, 0, 0] and "not timed again: did not return" in caplog.text


def test_who_fails_costs_one_reason_and_the_others_go_on(child, caplog):
    broken = Candidate("b", "baseline", "torch/cpu", {"system": "b", "breaks": True})
    benched = bench.bench(
        {"a": Candidate("a", "baseline", "torch/cpu", {"system": "a"}), "b": broken}, SENTENCES
    )
    assert benched["b"].why_not == "ended with code -9 in a fresh process: Killed"
    assert benched["a"].seconds.shape == (3, 1, 2)
    assert [name for name, *_ in child].count("b") == 1  # not started again
    assert "timing beside others: compiler (90 % of a core)" in caplog.text


def test_what_is_not_rebuilt_as_named_is_not_benched(child):
    renamed = Candidate("a", "int8", "torch/cpu", {"system": "a"})
    changed = Candidate("a", "baseline", "torch/cpu", {"system": "a"}, fingerprint="another")
    same = Candidate("a", "baseline", "torch/cpu", {"system": "a"}, fingerprint="abc")
    moved = Candidate("a", "baseline", "onnxruntime/cpu", {"system": "a", "target": "torch/cpu"})
    wanted = {"renamed": renamed, "changed": changed, "same": same, "moved": moved}
    benched = bench.bench(wanted, SENTENCES, rounds=1)
    assert "rebuilds a baseline on torch/cpu, not a int8 on torch/cpu" in benched["renamed"].why_not
    assert "rebuilds a baseline on torch/cpu, not a baseline on onnxruntime/cpu" in benched["moved"].why_not
    assert "other weights or settings" in benched["changed"].why_not
    assert not benched["same"].why_not


def test_what_cannot_be_benched_is_refused():
    clip = Candidate("w", "baseline", "torch/cpu", {}, "clip")
    for candidates, inputs, settings, message in (
        ({}, SENTENCES, {}, "at least one candidate"),
        ({"a": ESPEAK}, [], {}, "at least one"),
        ({"a": ESPEAK}, "Rice.", {}, "list of inputs"),
        ({"a": ESPEAK, "w": clip}, SENTENCES, {}, "each kind"),
        ({"a": ESPEAK, "w": clip}, {"text": SENTENCES}, {}, "kind 'clip'"),
        ({"a": ESPEAK}, SENTENCES, {"rounds": 0}, "at least one of each"),
    ):
        with pytest.raises(ParameterError, match=message):
            bench.bench(candidates, inputs, **settings)
    with pytest.raises(ParameterError, match="unknown kind of input 'texts': did you mean 'text'"):
        Candidate("a", "b", "c", {}, "texts")
    unsaved = types.SimpleNamespace(name="a", variant="pruned", target="torch/cpu", origin=None)
    with pytest.raises(ParameterError, match="a pruned has not been saved"):
        Candidate.of(unsaved)


def test_energy_is_estimated_from_the_cpu_seconds_wherever_no_sensor_was_asked_for(tmp_path, monkeypatch):
    from lib.measure import energy

    monkeypatch.setattr(energy, "rapl_zones", lambda: pytest.fail("nobody asked for a sensor"))
    path = str(tmp_path / "texts.npz")
    bench_child.save_inputs(path, "text", SENTENCES)
    how = {"threads": 1, "passes": 2, "seed": 0, "turn": 0, "energy": bench._meter("native/cpu", False)}
    answer = bench_child.one_round(ESPEAK.origin, "text", path, **how)
    told, spent = answer["energy"], float(np.sum(answer["seconds"]))
    assert told["kind"] == "estimated" and energy.boundary(told["source"]) == energy.SHARE
    assert told["seconds"] == pytest.approx(spent) and told["audio_s"] == pytest.approx(2 * sum(answer["audio_s"]))
    expected = energy.estimate(answer["cpu_s"], spent, environment.processor())
    assert told["joules"] == expected.joules > 0 and told["utilization_pct"] == expected.utilization_pct
    assert bench._meter("torch/cuda", False) is None and bench._meter("torch/cuda", True) == "cuda"
    assert bench._meter("torch/cpu", True) == "cpu"


@pytest.mark.alone
def test_real_voices_in_real_processes(tmp_path):
    benched = bench.bench({"hibari": HIBARI, "espeak": ESPEAK}, SENTENCES, rounds=1, threads=1, energy=True)
    hibari, espeak = benched["hibari"], benched["espeak"]
    assert not hibari.why_not and not espeak.why_not
    assert hibari.cold_start_s[0] > hibari.load_s[0] + hibari.first_sentence_s[0] > 0
    assert (
        hibari.peak_rss_mb[0] > espeak.peak_rss_mb[0] > 10
    )  # a network and its runtime against a table of formants
    assert 0 < espeak.rtf.value < hibari.rtf.value < 5
    assert set(espeak.stages) == {"synthesis"}  # the library is loaded anew outside of the clock
    assert {"acoustic_model", "signal_processing"} < set(hibari.stages)
    assert sum(hibari.stage_rtf.values()) == pytest.approx(hibari.rtf.value, rel=0.3)
    assert set(hibari.circumstances["threads_found"].values()) == {1}
    run = results.Run("01_x", tmp_path / "quick")
    bench.write(run, benched)
    rows = results.read(run.path)
    assert {"rtf", "cold_start_s", "peak_rss_mb", "size_mb", "energy_j_per_audio_s"} <= set(rows.metric)
    assert rows.ci_low.isna().all()  # one round


def test_a_saved_variant_holds_nothing_of_its_base(tmp_path):
    """Peaks of fresh processes: zeros in dense storage take what the baseline takes, graphs of 8 bits no more."""
    from lib import optimize, systems

    voice = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    vocoder = systems.load("istft", target="torch/cpu", threads=1)
    pruned = {"share": 0.1, "stages": ["trunk"]}
    made = [
        optimize.make(voice, "int8-weights", stages=["decoder", "flow"]),
        optimize.make(vocoder, "pruned", **pruned),
    ]
    saved = [optimize.load(optimize.save(one, tmp_path / one.variant), threads=1) for one in made]
    candidates = {one.variant + one.name: Candidate.of(one) for one in (voice, vocoder, *saved)}
    mel = np.full((40, 80), -4, np.float32)
    benched = bench.bench(candidates, {"text": ["Rice."], "log_mel": [mel]}, rounds=1, threads=1)
    assert [one.why_not for one in benched.values()] == [""] * 4
    whole, dense, smaller, zeros = (float(one.peak_rss_mb[0]) for one in benched.values())
    assert smaller < 1.03 * whole and zeros == pytest.approx(dense, rel=0.05)
    changed = [one.footprint["changed"] for one in benched.values()]
    assert changed[:2] == [None, None] and changed[2]["layers"] == sum(changed[2]["kinds"].values()) > 0
    run = results.Run("01_x", tmp_path / "quick")
    bench.write(run, benched)
    sizes = results.read(run.path).query("metric == 'size_mb'").set_index(["system", "variant"])
    told = json.loads(sizes.detail["vits-joe", saved[0].variant])["changed"]
    assert told["layers"] < told["of"] and told["bytes_after"] < told["bytes_before"]
    assert sizes.detail["vits-joe", "baseline"] == ""


def test_the_mark_begins_anew_where_the_kernel_lets_it(monkeypatch, tmp_path):
    from lib.measure import memory

    monkeypatch.setattr(memory, "_MARK", tmp_path / "mark")
    assert memory.restart() and (tmp_path / "mark").read_text() == "5"
    monkeypatch.setattr(memory, "_MARK", tmp_path / "nowhere" / "mark")
    assert not memory.restart()
    whole = noisy()
    rest = dict(cold_start_s=np.ones(3), load_s=np.ones(3), first_sentence_s=np.ones(3), peak_rss_mb=np.ones(3))
    run = results.Run("01_x", tmp_path / "quick")
    for name, life in (("a", False), ("b", True)):
        one = made(whole.seconds, whole.audio_s, **rest, peak_of_whole_life=life)
        bench.write(run, {name: one})
        source = results.read(run.path).set_index("metric").source["peak_rss_mb"]
        assert ("from the process's begin" if life else "from when it was loaded") in source


# --- threads and the machine


@pytest.mark.alone
def test_pinning_threads_reaches_torch_and_blas():
    import torch
    from threadpoolctl import threadpool_info

    np.ones((4, 4)) @ np.ones((4, 4))
    before = torch.get_num_threads()
    try:
        assert environment.pin_threads(1) == before
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
        assert environment.pin_threads(2) == 1 and torch.get_num_threads() == 2
        with pytest.raises(ParameterError):
            environment.pin_threads(0)
    finally:
        environment.pin_threads(before)


def test_the_processor_tells_the_flags_that_matter(monkeypatch, tmp_path):
    assert set(environment.cpu_flags()) <= set(environment.CPU_FLAGS)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name : X\nflags : fpu avx2 sse amx_int8 avx512f\n")
    monkeypatch.setattr(
        "builtins.open",
        lambda path, *rest, real=open: real(cpuinfo if path == "/proc/cpuinfo" else path, *rest),
    )
    assert environment.cpu_flags.__wrapped__() == ("avx2", "avx512f", "amx_int8")


def test_the_host_names_its_gpus(monkeypatch):
    plain = environment.host()
    monkeypatch.setattr(environment, "accelerators", lambda: ["NVIDIA H100 80GB HBM3"] * 2)
    assert environment.host() == f"{plain}, 2 x NVIDIA H100 80GB HBM3"
    assert "GiB" in plain and "NVIDIA" not in plain


def test_a_session_spins_only_alone(monkeypatch):
    from lib.graphs import session
    from lib.systems.vits_joe.stages import stage_graphs

    graph = stage_graphs()["flow"]

    def spins(**settings):
        return (
            session.open(graph, 1, **settings)
            .get_session_options()
            .get_session_config_entry("session.intra_op.allow_spinning")
        )

    monkeypatch.delenv("SPEECH_ALONE", raising=False)
    assert spins() == "0" and spins(spinning=True) == "1"
    monkeypatch.setenv("SPEECH_ALONE", "1")
    assert spins() == "1" and spins(spinning=False) == "0"
    with pytest.raises(ParameterError, match="0 threads"):
        session.open(graph, 0)


@pytest.mark.alone
def test_the_judge_leaves_torch_its_threads():
    """CTranslate2 sets OpenMP's thread count for the whole process: torch was once timed on one thread after it."""
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


# --- the study


@pytest.mark.slow
@pytest.mark.alone
def test_two_benches_of_the_same_thing_agree():
    """The difference of the two is within what both intervals allow (twice that, since two systems are asked)."""
    from lib.corpora import gutenberg

    texts = [s.text for s in gutenberg.split("test", 8)]
    here = {"system": "hibari", "target": "onnxruntime/cpu"}
    candidates = {"hibari": Candidate("hibari", "baseline", here["target"], here)}
    first, second = (bench.bench(candidates, texts, seed=seed) for seed in (0, 1))
    for name in candidates:
        one, other = first[name].rtf, second[name].rtf
        print(name, one, other, file=sys.stderr)
        apart = abs(np.log(one.value / other.value))
        allowed = np.hypot(*(np.log(estimate.high / estimate.low) / 2 for estimate in (one, other)))
        assert apart <= 2 * allowed, name
