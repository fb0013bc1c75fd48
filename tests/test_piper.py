"""Beside piper-tts: what is said of it, its rows, and that it computes on as many threads as ours or is not timed."""

import json
import subprocess
import sys

import numpy as np
import pytest
from test_compression import Voice

from lib import results
from lib.errors import ParameterError, SpeechError
from lib.measure import bench
from lib.studies import piper
from lib.target import Target


def test_piper_is_compared_with_where_it_is_and_not_run_elsewhere(tmp_path, monkeypatch, caplog):
    run = results.Run("04_pruning_quantization", tmp_path)
    monkeypatch.setattr(Target, "why_not", lambda self: "piper/cpu needs a Python of its own")
    assert piper.compared(run, [], ["A text."], mode="off") is None
    assert "needs a Python of its own" in piper.compared(run, [], ["A text."])
    (row,) = results.read(run.path).itertuples()
    assert (row.kind, row.target, row.detail) == ("not_run", "piper/cpu", "piper/cpu needs a Python of its own")
    with pytest.raises(ParameterError, match="unknown mode of the comparison with piper-tts 'yes'"):
        piper.compared(run, [], ["A text."], mode="yes")
    monkeypatch.setattr(Target, "why_not", lambda self: None)
    went, busy = [], [80.0]

    def ask(texts, threads, turn):
        went.append(("theirs", turn))
        return {"seconds": [0.05] * 8, "audio_s": [1.0] * 8}

    def benched(candidates, *_, first_turn, **__):
        went.append(("ours", first_turn))
        one = bench.Candidate("vits-joe", "int8", "onnxruntime/cpu", {})
        seconds = np.full((1, 1, 8), 0.02)
        return {
            "int8": bench.Benched(
                one, seconds=seconds, audio_s=np.ones(8), circumstances={"others_pct": list(busy)}
            )
        }

    monkeypatch.setattr(piper, "_ask", ask)
    monkeypatch.setattr(piper.bench, "bench", benched)
    monkeypatch.setattr(piper.Candidate, "of", staticmethod(lambda one: one))
    ours = Voice([0.0], 1.0)
    ours.variant = "int8"
    monkeypatch.setattr(piper.bench.Others, "percent", lambda self: busy[0])
    said = piper.compared(run, [ours], ["A text."] * 8, rounds=3)
    warned = "piper-tts on piper/cpu: in the worst of 3 rounds others took 80 % of a core while it was timed"
    assert warned in caplog.text
    assert "at RTF 0.050" in said and "int8 2.50 times as fast" in said
    (row,) = results.read(run.path).itertuples()
    assert row.value == pytest.approx(0.05) and row.target == "piper/cpu" and '"times": 2.5' in row.detail
    about = json.loads(row.detail)
    assert about["others_pct"] == [80.0] * 3 and about["others_pct beside ours"] == {"int8": [80.0] * 3}
    again = bench.REPEATS + 1
    assert [who for who, _ in went] == (
        ["theirs"] * again + ["ours"] * again + ["ours"] * again + ["theirs"] * again
    ) + (["theirs"] * again + ["ours"] * again)
    assert {turn for who, turn in went if who == "ours"} == {0, 1, 2}
    busy[0] = 3.0
    went.clear()
    piper.compared(run, [ours], ["A text."] * 8, rounds=3)
    assert [who for who, _ in went] == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]


PACKAGE = """
import numpy
import onnxruntime
class Chunk:
    audio_int16_bytes, sample_width, sample_channels, sample_rate = b"ab" * 11025, 2, 1, 22050
class PiperVoice:
    def __init__(self, model):
        self.session = onnxruntime.InferenceSession(model)  # which knows no threads
    load = classmethod(lambda cls, model, config_path: cls(model))
    def synthesize(self, text):
        ids = numpy.array([[1, 0, 20, 0, 2]])
        scales = numpy.array([0.667, 1.0, 0.8], numpy.float32)
        self.session.run(None, {"input": ids, "input_lengths": numpy.array([5]), "scales": scales})
        yield Chunk()
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Sets what the package piper-tts is: its process is real here, the package is not."""
    (tmp_path / "python").write_text(
        f'#!/bin/sh\nshift\nPYTHONPATH={tmp_path} exec {sys.executable} -P "$@"\n'
    )  # without -I, which would hide it; -P: nor with the folder of the script, whose piper.py is ours
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(Target, "python", property(lambda self: tmp_path / "python"))
    return (tmp_path / "piper.py").write_text


def test_piper_computes_on_as_many_threads_as_ours(package, monkeypatch):
    """The package itself takes as many as there are cores."""
    package(PACKAGE)
    for threads in (1, 2):
        answer = piper._ask(["A text.", "Another."], threads, 0)
        assert answer["threads"] == threads and answer["audio_s"] == [0.5, 0.5] and min(answer["seconds"]) > 0
    real = subprocess.run

    def lying(*given, **more):
        done = real(*given, **more)
        done.stdout = done.stdout.replace('"threads": 1', '"threads": 2')
        return done

    monkeypatch.setattr(piper.subprocess, "run", lying)
    with pytest.raises(SpeechError, match="computed on 2 threads instead of 1"):
        piper._ask(["A text."], 1, 0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("self.session", "self._session"), "voice.session is a NoneType, not an InferenceSession"),
        (("(model)  #", "(model); self.own = self.session  #"), "it spoke without voice.session"),
    ],
)
def test_a_piper_whose_threads_cannot_be_set_is_not_timed(package, change, why):
    """Another version that keeps its session elsewhere would be timed on as many threads as there are cores."""
    changed = PACKAGE.replace(*change)
    package(changed.replace("self.session.run", "self.own.run") if "self.own" in changed else changed)
    with pytest.raises(SpeechError, match=why) as refused:
        piper._ask(["A text."], 1, 0)
    assert "is not timed with others" in str(refused.value)
