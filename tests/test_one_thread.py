"""What is faster on two threads is told beside what it is on one."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from test_compression import answer
from test_confirmed import benched

from lib import optimize, results, systems
from lib.measure import bench
from lib.studies import one_thread
from lib.studies.compression import Tried
from lib.studies.menu import trial


class Small(SimpleNamespace):
    """A saved variant of a voice."""

    kind = "speech"
    name, variant, target = "voice", "int8", "torch/cpu"
    origin = {"folder": "somewhere", "target": "torch/cpu"}
    made = {"base": {"origin": {"system": "voice", "target": "torch/cpu"}, "variant": "baseline"}}

    def fingerprint(self):
        return "abc"


@pytest.fixture
def timed(monkeypatch):
    """A bench in which the variant takes 0.5 s on one thread; what it was asked."""
    asked = {}

    def fake(candidates, inputs, **settings):
        asked.update(settings, inputs=inputs, candidates=candidates)
        return {
            label: benched(one.variant, 0.5 if one.variant == "int8" else 1.0, 10.0)
            for label, one in candidates.items()
        }

    monkeypatch.setattr(one_thread.bench, "bench", fake)
    return asked


def test_both_answers_stand_in_the_sentence_and_apart_in_the_rows(tmp_path, timed):
    run = results.Run("04_pruning_quantization", tmp_path)
    gain = {"value": 1.2, "ci_low": 1.1, "ci_high": 1.3}
    run.add("voice", "int8", "torch/cpu", "rtf", 0.4, detail={"threads": 2, "speedup": gain})
    (said,) = one_thread.compared(run, [Small()], ["A text."])
    assert timed["threads"] == 1 and timed["inputs"] == {"text": ["A text."]}
    assert [str(one) for one in timed["candidates"].values()] == [
        "voice int8 on torch/cpu",
        "voice baseline on torch/cpu",
    ]
    assert (
        said.startswith("voice int8 on torch/cpu (nobody judged it) runs at 2.0")
        and "on one thread, at 1.20 [1.10, 1.30] on 2." in said
    )
    rows = results.read(run.path).set_index(["variant", "metric"])
    assert rows.value["int8", "rtf"] == 0.4  # as it was
    assert rows.value["int8@1t", "speedup"] == pytest.approx(2, rel=0.02)
    assert rows.value["int8@1t", "rtf"] == pytest.approx(rows.value["baseline@1t", "rtf"] / 2, rel=0.02)
    assert json.loads(rows.detail["int8@1t", "speedup"])["of"] == "voice baseline@1t on torch/cpu"
    assert one_thread.compared(run, [], ["A text."]) == []


def test_what_cannot_be_timed_says_why(tmp_path, monkeypatch):
    def killed(candidates, *_, **__):
        return {label: bench.Benched(one, "killed") for label, one in candidates.items()}

    monkeypatch.setattr(one_thread.bench, "bench", killed)
    run = results.Run("04_pruning_quantization", tmp_path)
    assert one_thread.compared(run, [Small()], ["A text."]) == [
        "voice int8 on torch/cpu was not timed on one thread: killed"
    ]
    assert results.read(run.path).kind.tolist() == ["not_run"]


def test_the_recommended_one_is_taken_before_a_faster_one(tmp_path, monkeypatch):
    tried = [
        Tried(trial("voice", "torch/cpu", "fast"), answer("worse", False, 3.0)),
        Tried(trial("voice", "torch/cpu", "good"), answer("without audible loss", True, 1.5)),
        Tried(trial("voice", "torch/cpu", "better"), answer("without audible loss", True, 1.7)),
        Tried(trial("other", "torch/cpu", "slow"), answer("without audible loss", False, 0.9)),
        Tried(trial("other", "torch/cpu", "fast"), answer("worse", False, 2.0)),
        Tried(trial("other", "torch/cpu", "failed"), None, "it could not be made"),
    ]
    for name in ("voice", "other"):
        for variant in ("fast", "good", "better", "slow"):
            one_thread.confirmed.home(tmp_path, name, "torch/cpu", variant).mkdir(parents=True)
    monkeypatch.setattr(
        one_thread.optimize, "load", lambda home, threads: (home.parent.parent.name, home.name, threads)
    )
    assert one_thread.fastest(tried, tmp_path) == [("voice", "better", 1), ("other", "slow", 1)]


def test_real_processes_compute_on_one_thread(tmp_path):
    base = systems.load("istft", target="onnxruntime/cpu", threads=1)
    home = optimize.save(optimize.make(base, "int8-weights", stages=["trunk"]), tmp_path / "small")
    mel = np.full((20, 80), -4, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_thread.calibration, "mel", lambda *_: mel)
        run = results.Run("04_pruning_quantization", tmp_path)
        (said,) = one_thread.compared(run, [optimize.load(home, threads=1)], ["A text."], rounds=1)
    rows = results.read(run.path)
    assert set(rows.variant) == {"baseline@1t", "int8-weights@1t"} and "on one thread" in said
    assert all(json.loads(row.detail)["threads"] == 1 for row in rows.itertuples())
