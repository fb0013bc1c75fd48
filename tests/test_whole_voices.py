"""Whole voices on other targets: the code that runs them on a GPU, on the processor as far as it goes; and what a
machine without one says.
"""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from lib import REPOSITORY, params, results, systems, targets
from lib.errors import ParameterError
from lib.graphs import session
from lib.measure import nested
from lib.measure.benched import Benched, Candidate
from lib.studies import first_sound, floors_deployed, needs, whole_voices
from lib.systems import quicker
from lib.target import Target

SENTENCE = "The birch canoe slid on the smooth planks."
GPU = ("torch/cuda", "torch-compile/cuda", "cuda-graphs/cuda", "onnxruntime/cuda")


def test_without_a_gpu_every_target_of_a_voice_is_one_row_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    assert whole_voices.compare(run, ["vits-joe", "hibari"], GPU, [SENTENCE]) == {}
    rows = results.read(run.path)
    assert len(rows) == 8 and set(rows.kind) == {"not_run"} and set(rows.metric) == {"rtf"}
    ours = rows[(rows.system == "vits-joe")]
    assert list(ours.target) == list(GPU) and ours.detail.str.contains("NVIDIA GPU").all()
    torch_of_hibari = rows[(rows.system == "hibari") & (rows.target == "torch/cuda")].detail.iloc[0]
    assert "unknown target of hibari 'torch/cuda'" in torch_of_hibari
    said = whole_voices.absent(rows, GPU)
    assert said.count("vits-joe on torch/cuda (") + said.count("vits-joe on torch/cuda,") == 1
    assert whole_voices.absent(rows, ["torch/cpu"]) is None and whole_voices.table(rows, GPU).empty
    assert list(whole_voices.table(rows, GPU).columns) == ["voice", "target"], "an empty table has a head"


def test_a_voice_is_benched_on_its_targets_beside_pytorch_on_the_processor(tmp_path, monkeypatch):
    """The bench itself is tested elsewhere: here, what it is given and what becomes of its answer."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = {}

    def bench(candidates, inputs, **how):
        asked.update(candidates=dict(candidates), inputs=inputs, how=how)
        seconds = {"torch/cpu": 0.4, "onnxruntime/cpu": 0.1}
        return {
            label: Benched(
                one, seconds=np.full((3, 1, 8), seconds[one.target]), audio_s=np.full(8, 2.0), footprint={}
            )
            for label, one in candidates.items()
        }

    monkeypatch.setattr(whole_voices.bench, "bench", bench)
    monkeypatch.setattr(whole_voices.bench, "write", lambda run, benched: None)
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick", seed=3)
    wanted = ["onnxruntime/cpu", "torch/cuda"]
    made = whole_voices.compare(run, ["vits-joe"], wanted, [SENTENCE] * 8, rounds=3, energy=True, timeout_s=9)
    assert list(made) == ["vits-joe on torch/cpu", "vits-joe on onnxruntime/cpu"]
    assert all(isinstance(one, Candidate) and one.fingerprint for one in asked["candidates"].values())
    assert asked["how"] == {"rounds": 3, "passes": 1, "threads": 2, "seed": 3, "energy": True, "timeout_s": 9}
    rows = results.read(run.path)
    gain = rows[rows.metric == "speedup"].iloc[0]
    assert (gain.target, gain.value) == ("onnxruntime/cpu", pytest.approx(4.0)) and gain.ci_low == gain.ci_low
    assert "vits-joe on onnxruntime/cpu at 4.00" in whole_voices.finding(made)
    made = whole_voices.compare(run, ["istft"], wanted[:1], [SENTENCE] * 8)
    assert list(made) == ["istft on torch/cpu", "istft on onnxruntime/cpu"]
    assert [mel.shape[1] for mel in asked["inputs"]] == [80] * 8, "a vocoder speaks from mels"
    assert whole_voices.finding({}) is None


def test_a_voice_that_streams_takes_turns_with_itself_as_it_comes(tmp_path, monkeypatch):
    def bench(candidates, inputs, **how):
        seconds = {"baseline": 0.4, "baseline-by-istft@vits-joe": 0.1}
        return {
            label: Benched(
                one,
                seconds=np.full((3, 1, 8), seconds[one.variant]),
                audio_s=np.full(8, 2.0),
                first_audio_s=np.full((3, 1, 8), 0.03) if "by" in one.variant else None,
                stalled_s=np.full((3, 1, 8), 0.002),
                **{name: np.ones(3) for name in ("cold_start_s", "load_s", "first_sentence_s", "peak_rss_mb")},
            )
            for label, one in candidates.items()
        }

    monkeypatch.setattr(whole_voices.bench, "bench", bench)
    run, here = results.Run("06_gpu_vs_npu", tmp_path / "quick"), ["onnxruntime/cpu"]
    how = {"streamed": ["fastspeech2-by-istft"], "streamed_on": here, "threads": 1}
    made = whole_voices.compare(run, ["fastspeech2"], here, [SENTENCE] * 8, **how)
    streams = "fastspeech2-by-istft on onnxruntime/cpu"
    assert list(made) == ["fastspeech2 on torch/cpu", "fastspeech2 on onnxruntime/cpu", streams]
    assert systems.rebuild(made[streams].candidate.origin).streams
    assert first_sound.finding(made) == (
        "Streamed: fastspeech2-by-istft on onnxruntime/cpu is heard after 30 [30, 30] ms, its sentence done after "
        "100 [100, 100] ms; as it comes it is heard when its sentence is done, after 400 [400, 400] ms; behind the "
        "first sound up to 2 ms of silence."
    )
    assert first_sound.finding({}) is None and "istft" not in whole_voices.finding(made)
    rows = results.read(run.path)
    first = rows[rows.metric == "first_audio_ms"].iloc[0]
    assert first.variant == "baseline-by-istft@vits-joe"
    assert (first.value, first.ci_low, first.ci_high) == pytest.approx((30.0, 30.0, 30.0))
    assert needs.done_to(first.variant) == needs.AS_IT_COMES
    assert set(rows[rows.metric == "speedup"].variant) == {"baseline"}, "of the whole voice on each target alone"
    shown = whole_voices.table(rows.assign(notebook=run.notebook), here)
    assert list(shown.voice) == ["fastspeech2", "fastspeech2-by-istft"]
    assert list(shown["First audio, ms"]) == ["", "30 [30, 30]"]
    with pytest.raises(ParameterError, match="no voice by a vocoder"):
        first_sound.candidates(run, "fastspeech2", ["fastspeech2-by-nobody"], here)


@pytest.mark.parametrize("profile", ["study", "full"])
def test_every_voice_with_a_floor_of_deployment_takes_turns_with_pytorch(profile):
    """A quotient of two benches decides nothing."""
    asked = params.load(profile, REPOSITORY / "notebooks" / "06_gpu_vs_npu.ipynb")
    assert set(asked["voices"]) == {*floors_deployed.VOICES, *floors_deployed.VOCODERS}
    assert "onnxruntime/cpu" in asked["voiced_on"]
    assert asked["rounds"] >= nested.MIN_ROUNDS and asked["n_voiced"] >= nested.MIN_SENTENCES


def test_recorded_voices_of_a_gpu_are_shown_with_where_they_were_measured():
    common = {"variant": "baseline", "unit": "", "kind": "measured", "notebook": "06_gpu_vs_npu@full@a"}
    rows = [
        common | {"system": "vits-joe", "target": target, "metric": metric, "value": value, "time": time}
        for target, metric, value, time in (
            ("torch/cuda-h100", "rtf", 0.004, "2026-11-20"),
            ("torch/cuda-h100", "rtf", 0.005, "2026-11-21"),
            ("torch/cuda-h100", "speedup", 16.0, "2026-11-21"),
            ("torch/cpu", "rtf", 0.08, "2026-11-21"),
            ("recording/prompts", "rtf", 1.0, "2026-11-21"),
        )
    ]
    rows.append(rows[0] | {"notebook": "04_pruning_quantization", "time": "2026-11-22"})
    rows.append(rows[1] | {"system": "whisper-tiny.en"})  # a recogniser, which speaks nothing
    shown = whole_voices.table(results.frame(rows), GPU)
    assert list(shown.target) == ["torch/cuda-h100"] and shown["RTF, s/s"][0] == "0.005"
    assert shown["run"][0] == "06_gpu_vs_npu@full@a"


def test_a_line_of_a_voice_is_of_one_run():
    common = {"system": "vits-joe", "variant": "baseline", "target": "onnxruntime/cpu", "kind": "measured"}
    common |= {"unit": "", "host": "a", "commit": "b"}
    older = common | {"notebook": "06_gpu_vs_npu@study@b", "time": "2026-11-20"}
    newer = common | {"notebook": "06_gpu_vs_npu", "time": "2026-11-21"}
    rows = [older | {"metric": "rtf", "value": 0.2}, older | {"metric": "speedup", "value": 1.1}]
    shown = whole_voices.table(results.frame([*rows, newer | {"metric": "rtf", "value": 0.1}]), ["onnxruntime/cpu"])
    assert list(shown["RTF, s/s"]) == ["0.1"] and list(shown["run"]) == ["06_gpu_vs_npu"]
    assert not any("peed" in name for name in shown), "that is the older run's"


@pytest.mark.parametrize("name", ["vits-joe", "fastspeech2"])
def test_a_compiled_voice_says_the_same_and_is_known_by_the_same_weights(name, monkeypatch):
    """Captured as for any compiler, and run by PyTorch itself: compiling takes minutes."""
    monkeypatch.setattr(quicker, "COMPILED", {"backend": "eager", "dynamic": True})
    torch._dynamo.reset()
    whole = systems.load(name, target="torch/cpu")
    compiled = systems.load(name, target="torch-compile/cpu")
    parts = [part for net in compiled.modules.values() for part in net.modules()]
    assert [part for part in parts if part._compiled_call_impl is not None], "something of it is compiled"
    if name == "vits-joe":
        assert compiled.modules["decoder"]._compiled_call_impl is not None
        assert not any(part._compiled_call_impl for part in compiled.modules["decoder"].resblocks)
    for text in (SENTENCE, "Glue the sheet to the dark blue background."):
        one, other = (voice.synthesize(text, 1).waveform for voice in (whole, compiled))
        np.testing.assert_allclose(other, one, atol=2e-4)
    assert compiled.target == "torch-compile/cpu" and compiled.weights_key() == whole.weights_key()
    again = systems.rebuild(compiled.origin)
    assert again.target == compiled.target and again.fingerprint() == compiled.fingerprint()
    with pytest.raises(ParameterError, match=f"{name} on torch-compile/cpu cannot be changed"):
        compiled.derive("other")


def fake_graph(made):
    """A recording as CUDA makes it: what is replayed reads and writes tensors that stay where they are."""

    def recorded(call):
        made.append(call)
        answer = call()
        return types.SimpleNamespace(replay=lambda: answer.copy_(call())), answer

    return recorded


def test_a_recording_answers_others_of_its_shapes_and_keeps_no_answer(monkeypatch):
    made, calls = [], []

    def function(x, t, scale=None):
        calls.append(x.shape)
        return x * t if scale is None else x * t * scale

    monkeypatch.setattr(quicker, "recorded", fake_graph(made))
    quick = quicker.Recorded(function, quicker.record)
    xs = [torch.full((2, 3), float(i)) for i in range(4)]
    answers = [quick(x, torch.tensor(2.0)) for x in xs]
    assert [float(a[0, 0]) for a in answers] == [0, 2, 4, 6] and len(made) == 1, "the second is recorded"
    with_scale = [quick(x, torch.tensor(2.0), scale=torch.tensor(10.0)) for x in xs]
    assert [float(a[0, 0]) for a in with_scale] == [0, 20, 40, 60] and len(made) == 2
    assert [float(quick(x, torch.tensor(2.0))[0, 0]) for x in xs] == [0, 2, 4, 6] and len(made) == 2
    for length in range(quicker.RECORDINGS):
        quick(torch.zeros(2, 10 + length), torch.tensor(1.0))
    assert len(quick.recordings) == quicker.RECORDINGS and len(made) == 2, "the oldest are given up"
    assert float(quick(xs[1], torch.tensor(2.0))[0, 0]) == 2 and len(made) == 2, "seen for the first time again"


def test_cuda_graphs_fit_what_repeats_and_are_refused_elsewhere(monkeypatch):
    made = []
    monkeypatch.setattr(quicker, "recorded", fake_graph(made))
    whole, quick = systems.load("tortoise"), systems.load("tortoise")
    key = quick.weights_key()
    quicker.ready(quick, "cuda-graphs/cuda")
    assert quick.target == quick.vocoder.target == "cuda-graphs/cuda" and quick.weights_key() == key
    one, other = (voice.synthesize(SENTENCE, 1).waveform for voice in (whole, quick))
    np.testing.assert_allclose(other, one, atol=1e-4)
    assert len(made) == 1, "eight steps of one sentence are one recording"
    with pytest.raises(ParameterError, match="vits-joe does not fit cuda-graphs/cuda"):
        quicker.ready(systems.load("vits-joe"), "cuda-graphs/cuda")


def test_every_system_on_onnx_runtime_opens_all_its_graphs_where_its_target_is(monkeypatch):
    opened = []

    def on_gpu(source, options, **provider):
        opened.append(provider)
        return sys.modules["onnxruntime"].InferenceSession(source, options, providers=["CPUExecutionProvider"])

    here = Target("onnxruntime/cuda")
    monkeypatch.setitem(targets.TARGETS, "onnxruntime/cuda", here)
    monkeypatch.setattr(session, "on_gpu", on_gpu)
    for name in (
        "vits-joe",
        "fastspeech2",
        "tacotron2",
        "speecht5",
        "hibari",
        "hifigan",
        "istft",
        "whisper-tiny.en",
    ):
        opened.clear()
        system = systems.load(name, target="onnxruntime/cuda", threads=1)
        assert len(opened) == len(system.graphs) > 0, name
        assert all(one == {"cudnn_conv_algo_search": "HEURISTIC"} for one in opened)
    voice = systems.load("vits-joe", target="onnxruntime/cuda")
    assert voice.synthesize(SENTENCE, 0).audio_s > 1
    opened.clear()
    voice.derive("other", lambda copy: None)
    assert len(opened) == len(voice.graphs), "what is made of it runs there, too"


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.single = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 2)

    def forward(self, x):
        return self.inner(x)

    def apart(self, x):
        return self.single(self.inner(x))


def test_what_is_compiled_is_what_a_sentence_calls_from_outside():
    whole, by_method = Nested(), Nested()

    def synthesize(text, seed):
        whole(torch.ones(1, 2))
        by_method.apart(torch.ones(1, 2))

    system = types.SimpleNamespace(kind="speech", modules={"a": whole, "b": by_method}, synthesize=synthesize)
    assert quicker.called(system) == [whole, by_method.inner]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in whole.modules())
