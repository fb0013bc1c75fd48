"""What neural processors refuse: the probes compute what our networks do, and each answer of a compiler is a row."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import types

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from lib import REPOSITORY, deploy, results, targets
from lib.deploy import export, job, probes, qnn, rknn, tflite
from lib.deploy.probes import Probe, Recurrent
from lib.deploy.stages import Stage
from lib.files import cache_folder
from lib.graphs import session
from lib.studies import devices, refused, simulated
from lib.target import Target
from test_deploy import small_stage

_CACHE = str(cache_folder())  # of whoever runs the tests: toolchains lie there

PICKY = """
import os
import onnx
from lib.deploy.job import Loaded, ended

READS, PRECISIONS, REFUSES = ("npu.onnx",), ("fp16", "int8"), ("a16w8",)

def load(job):
    assert not job.answers, "nobody wants its numbers"
    graph = onnx.load(job.form("npu.onnx")).graph
    if job.precision == "a16w8":
        raise ValueError("no activations of 16 bits\\nsee the manual")
    if graph.input[0].type.tensor_type.shape.dim[2].dim_param:
        raise ValueError("Traceback (most recent call last):\\n  File x\\nShapeError: not fixed\\n")
    if "LSTM" in {node.op_type for node in graph.node}:
        return Loaded(None, {"npu_ops_pct": 75.0}, {"left": {"LSTM": 1}, "operators": 4})
    if "killed" in job.folder:
        raise ended(-9)("the compiler ended with code -9")
    if "crash" in job.folder:
        os._exit(3)
    return Loaded(None, {"npu_ops_pct": 100.0}, {"left": {}, "operators": 4})
"""


@pytest.fixture
def picky(tmp_path, monkeypatch):
    """The simulated target picky/npu, which has no 16 bits, no open lengths and no LSTM, and the measured picky/usb."""
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "runtimes"
    folder.mkdir()
    (folder / "picky.py").write_text(PICKY)
    (folder / "sitecustomize.py").write_text(
        f"import lib.deploy\nlib.deploy.__path__.append({str(folder)!r})\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(REPOSITORY), str(REPOSITORY / "tests")]))
    monkeypatch.setattr(deploy, "__path__", [*deploy.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "lib.deploy.picky", raising=False)
    monkeypatch.setitem(targets.TARGETS, "picky/npu", Target("picky/npu", kind="simulated"))
    monkeypatch.setitem(targets.TARGETS, "picky/usb", Target("picky/usb"))
    return results.Run("06_gpu_vs_npu", tmp_path / "quick")


def small_probes() -> list[Probe]:
    torch.manual_seed(0)
    given = (np.ones((1, 5, 6), np.float32),)
    lstm = Recurrent(nn.LSTM(6, 3, batch_first=True, bidirectional=True)).eval()
    return [
        Probe("an open length", dataclasses.replace(small_stage(), name="open"), open_axis=2),
        Probe("a recurrent layer", Stage("tacotron2", "lstm", lstm, given, (given,), 0.0, 1)),
        Probe("16 bits", small_stage(), wide=True),
        Probe("nothing special", small_stage()),
    ]


def test_each_answer_of_a_compiler_is_a_row(picky, monkeypatch):
    monkeypatch.setattr(probes, "build", lambda text: small_probes())
    refused.ask(picky, ["picky/npu", "picky/usb", "native/cpu", "qnn/sa8255"], timeout_s=200)
    rows = results.read(picky.path)
    assert set(rows.target) == {"picky/npu"}, "of compilers that are here for devices that are not"
    assert set(rows.kind) == {"simulated"} and set(rows.metric) == {"npu_ops_pct"}
    assert list(zip(rows.variant, rows.value)) == [
        ("open-int8@probe", 0.0),
        ("lstm-int8@probe", 75.0),
        ("upsampler-a16w8@probe", 0.0),
        ("upsampler-int8@probe", 100.0),
    ]
    reasons = [json.loads(detail).get("refused") for detail in rows.detail]
    assert reasons == ["ShapeError: not fixed", None, "ValueError: no activations of 16 bits", None]
    shown = refused.table(rows[:3]).set_index("asked for")
    assert shown.answer["an open length"] == "refused: ShapeError: not fixed"
    assert shown.answer["a recurrent layer"] == "left to the processor: LSTM 1"
    assert shown.stage["16 bits"] == "vits-joe upsampler-a16w8"
    said = refused.finding(rows[:3])
    assert "A recurrent layer: in part by picky/npu." in said and "16 bits: refused by picky/npu" in said
    assert refused.wanting(rows) is None
    assert devices.operators_left(rows).empty and simulated.read(rows) == [], (
        "what is only asked for is no stage"
    )


@pytest.mark.parametrize("how, why", [("crash", "ended with code 3"), ("killed", "ended with code -9")])
def test_a_compiler_that_crashes_has_given_no_answer(how, why, picky, monkeypatch, tmp_path):
    folder = export.write(small_stage(), tmp_path / "stage" / how, ["npu.onnx"])
    monkeypatch.setattr(refused, "_folder", lambda *asked: folder)
    monkeypatch.setattr(probes, "build", lambda text: small_probes()[3:])
    refused.ask(picky, ["picky/npu"])
    rows = results.read(picky.path)
    assert list(rows.kind) == ["not_run"] and why in rows.detail[0]
    assert (
        refused.table(rows).empty and refused.finding(rows) is None and "npu=install" in refused.wanting(rows)
    )


def test_nothing_is_built_where_no_compiler_is_here(picky, monkeypatch):
    monkeypatch.setattr(probes, "build", lambda text: pytest.fail("it takes half a minute"))
    refused.ask(picky, ["qnn/sa8255", "picky/usb", "torch/cpu"])
    assert not picky.path.exists() or results.read(picky.path).empty


def test_a_graph_whose_length_is_open_answers_in_every_length(tmp_path):
    stage = small_stage()
    folder = export.write(stage, tmp_path / "stage", [])
    probes.leave_open(stage, 2, folder)
    opened = session.open(folder / "npu.onnx", 1)
    for length in (9, 16, 31):
        given = np.random.default_rng(length).standard_normal((1, 6, length)).astype(np.float32)
        (wanted,) = export.run(stage.network, (given,))
        (made,) = opened.run(None, {"input_0": given})
        np.testing.assert_allclose(made, wanted, atol=1e-5 * np.abs(wanted).max())
    assert tflite._left_open(torch.export.load(folder / "npu.pt2")) == ({2: torch.export.Dim.AUTO},)
    fixed = export.write(stage, tmp_path / "fixed", ["npu.pt2"])
    assert tflite._left_open(torch.export.load(fixed / "npu.pt2")) is None


def test_rockchip_s_toolkit_gets_an_lstm_that_its_operator_sets_know(tmp_path):
    stage = small_probes()[1].stage
    given = job.Job(str(export.write(stage, tmp_path / "stage", ["npu.onnx"])), "rknn/rk3588", "int8")
    before, after = (onnx.load(path).graph for path in (given.form("npu.onnx"), rknn._graph(given)))
    layouts = [[a.name for n in g.node if n.op_type == "LSTM" for a in n.attribute] for g in (before, after)]
    assert "layout" in layouts[0] and sorted(layouts[1]) == sorted(set(layouts[0]) - {"layout"})
    (made,) = session.open(tmp_path / "stage" / "work" / "rknn_rk3588-int8" / "stage.onnx", 1).run(
        None, {"input_0": stage.inputs[0]}
    )
    np.testing.assert_allclose(made, export.run(stage.network, stage.inputs)[0], atol=1e-6)


def test_qualcomm_s_provider_tells_what_it_leaves(tmp_path):
    """A graph that is not placed whole does not run, and says which operators stay."""

    def part(name, *kinds):
        nodes = [types.SimpleNamespace(op_type=kind) for kind in kinds]
        return types.SimpleNamespace(ep_name=name, get_nodes=lambda: nodes)

    parts = [
        part(qnn.NAME, "Conv", "QuantizeLinear"),
        part("CPUExecutionProvider", "LSTM"),
        part(qnn.NAME, "Add"),
    ]
    options = types.SimpleNamespace(
        add_session_config_entry=lambda *entry: None, add_provider_for_devices=lambda *given: None
    )
    opened = types.SimpleNamespace(get_provider_graph_assignment_info=lambda: parts)
    runtime = types.SimpleNamespace(SessionOptions=lambda: options, InferenceSession=lambda *given: opened)
    loaded = qnn._in_part(runtime, tmp_path / "a.onnx", "device", {}, RuntimeError("no fallback"))
    assert loaded.figures == {"npu_ops_pct": pytest.approx(200 / 3)}
    assert loaded.detail == {"left": {"LSTM": 1}, "operators": 3}
    with pytest.raises(RuntimeError, match="not whole on the NPU: LSTM 1"):
        loaded.run([])
    del parts[1]
    with pytest.raises(RuntimeError, match="no fallback"):  # all is placed: it fails for another reason
        qnn._in_part(runtime, tmp_path / "a.onnx", "device", {}, RuntimeError("no fallback"))


@pytest.mark.slow
def test_the_probes_are_our_networks_and_a_loop_says_what_its_steps_say(tmp_path):
    by = {probe.stage.name: probe for probe in probes.build("The birch canoe.")}
    assert [p.open_axis for p in by.values()] == [2, None, None, None, None] and by["decoder"].wide
    step, loop = by["decoder-step"].stage, by["decoder-loop"].stage
    said, _, memory, projected, *state = map(torch.from_numpy, step.inputs)
    turns, stop = 0, 0.0
    with torch.no_grad():
        while stop < 0.5:
            said, stop, *state = step.network(said, torch.ones(2, 1), memory, projected, *state)
            turns += 1
    assert 5 < turns < loop.network.allowed, "the gate opens, not the guard"
    (made,) = export.run(loop.network, loop.inputs)
    np.testing.assert_allclose(made, said.numpy(), atol=1e-5)
    for probe in (by["encoder-lstm"], by["decoder-step"], by["decoder-loop"]):  # each checked against PyTorch
        export.write(probe.stage, tmp_path / probe.stage.name, ["npu.onnx", "npu.pt2"])
    assert {n.op_type for n in onnx.load(tmp_path / "decoder-loop" / "npu.onnx").graph.node} >= {"Loop"}


@pytest.mark.slow
def test_rockchip_s_compiler_refuses_what_the_rk3588_has_not(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", _CACHE)
    if why := targets.find("rknn/rk3588").why_not():
        pytest.skip(why)
    chosen = [probe for probe in probes.build("The birch canoe.") if probe.wide or probe.open_axis]
    monkeypatch.setattr(probes, "build", lambda text: chosen)
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    refused.ask(run, ["rknn/rk3588"])
    rows = results.read(run.path)
    assert list(rows.value) == [0.0, 0.0]
    assert "is not support" in rows.detail[0] and "'w8a16' not support in 'rk3588'" in rows.detail[1]
