"""Deployment: the rewriting is exact, and a toolchain that is missing, crashes or hangs costs one row."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lib import REPOSITORY, deploy, results, targets
from lib.deploy import export, rewrite, stages
from lib.errors import ParameterError, SpeechError
from lib.studies import chunk_lengths, deployed_rows, deployment, devices, published_devices
from lib.studies.placed import Placed
from lib.target import Target


class Upsampler(nn.Module):
    """All that a vocoder is made of: 1-D convolutions (dilated, strided, grouped, "same"), an upsampling, LeakyReLU."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv1d(6, 8, 7, padding=3)
        self.up = nn.ConvTranspose1d(8, 4, 16, stride=8, padding=4)
        self.dilated = nn.Conv1d(4, 4, 5, dilation=6, padding=12)
        self.grouped = nn.Conv1d(4, 4, 4, groups=4, padding="same")
        self.last = nn.Conv1d(4, 1, 3, stride=2)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:  # (1, 6, F) -> (1, 1, about 4 F)
        hidden = self.up(F.leaky_relu(self.first(frames), 0.1))
        hidden = hidden + self.dilated(F.leaky_relu(hidden, 0.2)) / 3
        hidden += self.grouped(hidden)
        return torch.tanh(self.last(F.leaky_relu(hidden)))


def small_stage(n: int = 1) -> stages.Stage:
    network, rng = Upsampler().eval(), np.random.default_rng(0)
    inputs = [(rng.standard_normal((1, 6, 16)).astype(np.float32),) for _ in range(1 + n)]
    return stages.Stage("vits-joe", "upsampler", network, inputs[0], tuple(inputs[1:]), 0.1, 16)


def test_the_rewriting_for_npus_is_exact_and_leaves_no_operator_in_one_dimension():
    network, frames = Upsampler().eval(), torch.randn(1, 6, 16)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rewritten = rewrite.for_npu(network, (frames,))
    with torch.no_grad():
        torch.testing.assert_close(rewritten(frames), network(frames), atol=1e-6, rtol=1e-5)
        other = torch.randn(1, 6, 16)
        torch.testing.assert_close(rewritten(other), network(other), atol=1e-6, rtol=1e-5)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    left = rewrite.operators(rewritten, (frames,))
    assert left["conv2d"] == 5 and left["maximum"] == 3
    assert not {"conv1d", "conv_transpose1d", "leaky_relu", "add_"} & left.keys()
    assert (left["unsqueeze"], left["squeeze"]) == (1, 1), "turned to images once, and back once"
    layers = [layer for layer in rewritten.modules() if isinstance(layer, nn.Conv2d)]
    assert {layer.dilation for layer in layers} == {(1, 1), (6, 6)}, "the Edge TPU takes no two that differ"


@pytest.mark.parametrize("stride, kernel", [(2, 4), (8, 16), (4, 8), (3, 5), (2, 2), (3, 3)])
def test_the_polyphase_form_is_the_transposed_convolution(stride, kernel):
    torch.manual_seed(stride)
    padding = (kernel - stride) // 2
    plain, signal = nn.ConvTranspose1d(3, 2, kernel, stride, padding), torch.randn(2, 3, 9)
    made = rewrite.Polyphase(plain.weight, plain.bias, stride, padding)(signal[:, :, None])
    torch.testing.assert_close(made[:, :, 0], plain(signal), atol=1e-6, rtol=1e-5)


def test_a_transposed_convolution_of_another_length_stays_as_it_is():
    network, signal = nn.Sequential(nn.ConvTranspose1d(3, 2, 5, 2, 1)), torch.randn(1, 3, 9)
    rewritten = rewrite.for_npu(network.eval(), (signal,))
    torch.testing.assert_close(rewritten(signal), network(signal), atol=1e-6, rtol=1e-5)


def test_exports_agree_with_pytorch_and_an_export_that_does_not_is_refused(tmp_path, monkeypatch):
    stage = small_stage()
    folder = export.write(stage, tmp_path / "stage")
    assert {path.name for path in folder.iterdir()} >= set(export.FORMS)
    program = torch.export.load(folder / "npu.pt2").module()
    wanted = export.expected(folder)[0]
    np.testing.assert_allclose(program(torch.from_numpy(stage.inputs[0])).detach(), wanted, atol=1e-5)
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(SpeechError, match="vits-joe/upsampler as plain.onnx differs from PyTorch"):
        export.write(stage, tmp_path / "refused", ["plain.onnx"])
    assert not (tmp_path / "refused" / "plain.onnx").exists()
    with pytest.raises(ParameterError, match="did you mean 'npu.onnx'"):
        export.write(stage, tmp_path / "unknown", ["npu.onx"])


def test_a_wrong_rewriting_is_refused_in_each_form_that_is_written_of_it(tmp_path, monkeypatch):
    stage = small_stage()
    right = export.write(stage, tmp_path / "right", ["npu.pt2"]) / "npu.pt2"

    class Wrong(nn.Module):
        def __init__(self, network: nn.Module):
            super().__init__()
            self.network = network

        def forward(self, frames):
            return self.network(frames) * 1.01  # as where one scale of a rewriting were wrong

    rewritten = rewrite.for_npu
    monkeypatch.setattr(rewrite, "for_npu", lambda network, inputs: rewritten(Wrong(network), inputs))
    for form in ("npu.onnx", "npu.pt2"):
        failed: dict[str, str] = {}
        folder = export.write(stage, tmp_path / "wrong", [form], failed)
        assert f"vits-joe/upsampler as {form} differs from PyTorch by 1.0e-02" in failed[form]
        assert not (folder / form).exists()
    other = Upsampler().eval()
    other.last.bias.data += 1
    old = right.read_bytes()
    with pytest.raises(SpeechError, match="npu.pt2 differs"):  # what lies there is of other weights: made anew
        export.write(dataclasses.replace(stage, network=other), right.parent, ["npu.pt2"])
    monkeypatch.undo()
    right.write_bytes(old)
    export.write(stage, right.parent, ["npu.pt2"])
    assert right.read_bytes() == old, "one that agrees stays"


def test_what_is_exported_of_a_view_has_ordinary_strides(tmp_path):
    stage = small_stage()
    view = np.lib.stride_tricks.as_strided(stage.inputs[0], strides=(0, *stage.inputs[0].strides[1:]))
    assert view.flags.c_contiguous and view.strides[0] == 0
    folder = export.write(dataclasses.replace(stage, inputs=(view,)), tmp_path, ["npu.pt2"])
    (example,), _ = torch.export.load(folder / "npu.pt2").example_inputs
    assert example.stride() == (96, 16, 1)


def test_snr_and_padding():
    signal = np.ones(100)
    assert export.snr_db(signal, signal * 1.1) == pytest.approx(20) and export.snr_db(signal, signal) == np.inf
    assert stages.padding_waste([100, 50], [100]) == pytest.approx(0.25)
    assert stages.padding_waste([100, 50], [50, 100]) == 0
    with pytest.raises(
        ParameterError, match="unknown stage 'hifigan/generater': did you mean 'hifigan/generator'"
    ):
        stages.build("hifigan/generater", texts=["a"])


def test_every_runtime_says_what_it_reads_and_which_precisions_it_has():
    assert {"torch/cpu", "qnn/sa8255", "vela/ethos-u85-1024", "neuron/inferentia2"} <= set(deploy.known())
    for name in deploy.known():
        module = deploy.runtime(name)
        assert module.PRECISIONS and set(module.READS) <= set(export.FORMS) and callable(module.load), name
    assert "hibari" not in deploy.known() and "native/cpu" not in deploy.known()


def test_a_device_that_is_not_here_comes_before_the_packages_that_nothing_could_use(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    lacks = {"missing": lambda: "no such device", "modules": ("not_installed",), "install": "pip install it"}
    packages = "made/cuda needs not_installed: pip install it"
    assert Target("made/cuda", **lacks).why_not() == f"no such device; {packages}"
    of_use = Target("made/cuda", builds=True, **lacks)
    assert of_use.why_not() == f"{packages}; no such device", "engines are built without it"
    lacks["modules"] = ()
    assert Target("made/cuda", **lacks).why_not() == "no such device"
    assert targets.find("tensorrt-rtx/cuda").builds
    monkeypatch.setattr(sys, "platform", "linux")
    assert targets.find("coreml/ane").why_not().startswith("runs on darwin alone, this is linux")
    if not Path("/dev/accel").exists():
        said = targets.find("openvino/npu").why_not()
        assert said.startswith("no /dev/accel") and said.endswith("--set npu=install")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "take a machine with an NVIDIA GPU" in targets.find("tensorrt/cuda").why_not().split("; ")[0]


def test_an_npu_of_openvino_has_no_single_precision_to_be_asked_for():
    """Two rows of the same half precision would stand there as fp32 and bf16."""
    assert deploy.precisions("openvino/npu") == ("fp16", "int8")
    assert deploy.precisions("openvino/cpu") == ("fp32", "bf16", "int8")


def test_targets_that_are_not_here_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    assert "--set npu=install" in targets.find("qnn/sa8255").why_not()
    assert "onnxruntime-qnn==2.7.0" in targets.find("qnn/sa8255").why_not()
    table = devices.present(["torch/cpu", "qnn/sa8255"])
    assert table["here, or why not"][0] == "here" and list(table["kind of its numbers"]) == [
        "measured",
        "simulated",
    ]


def test_a_stage_is_timed_in_turns_and_compared(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY / "tests"))  # a pickled network is known by its module
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    stage = small_stage(8)
    stage = dataclasses.replace(stage, others=stage.calibration[1:])  # eight inputs: fewer have no interval
    names = ["torch/cpu", "onnxruntime/cpu", "qnn/sa8255"]
    ran = deployment.compare(run, [stage], names, rounds=3, passes=2, threads=1, timeout_s=400)
    by = {(p.target, p.precision): p for p in ran}
    assert by["torch/cpu", "fp32"].snr_db > 100 and by["onnxruntime/cpu", "fp32"].snr_db > 80
    assert 5 < by["onnxruntime/cpu", "int8"].snr_db < 60, "eight bits are heard in the numbers"
    assert by["onnxruntime/cpu", "fp32"].seconds.shape == (3, 8, 2)
    table = results.read(run.path)
    gain = table[(table.metric == "speedup") & (table.variant == "upsampler-fp32-f16-1t")]
    assert list(gain.target) == ["onnxruntime/cpu"] and gain.ci_low.notna().all()
    absent = table[table.target == "qnn/sa8255"]
    assert set(absent.kind) == {"not_run"} and absent.detail.str.contains("npu=install").all()
    assert "onnxruntime/cpu" in devices.finding(table)


FAULTS = {
    "crashes": "import os, signal\ndef load(job):\n    os.kill(os.getpid(), signal.SIGSEGV)",
    "hangs": "import time\ndef load(job):\n    time.sleep(600)",
    "fails": "def load(job):\n    raise ValueError('operator Frobnicate is not supported')",
    "imports": "import a_vendor_of_nobody\ndef load(job):\n    return None",
    "lacks": "def loads(job):\n    return None",
}


@pytest.mark.parametrize(
    "fault, why",
    [
        ("crashes", "code -11"),
        ("hangs", "did not answer"),
        ("fails", "Frobnicate"),
        ("imports", "lib/deploy/faulty.py cannot be read: ModuleNotFoundError: No module named 'a_vendor_of_nobody'"),
        ("lacks", "lib/deploy/faulty.py has no load"),
    ],
)
def test_a_toolchain_that_fails_is_one_row(fault, why, tmp_path, monkeypatch):
    """The worker's module search is given a runtime that fails; the others of the stage still run."""
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    plugin = tmp_path / "sitecustomize.py"
    source = f"READS = ('network.pt',)\nPRECISIONS = ('fp32',)\n{FAULTS[fault]}\n"
    (tmp_path / "faulty.py").write_text(source)
    plugin.write_text(f"import lib.deploy\nlib.deploy.__path__.append({str(tmp_path)!r})\n")
    paths = [str(tmp_path), str(REPOSITORY), str(REPOSITORY / "tests")]  # a pickled network is known by its module
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setattr(deploy, "__path__", [*deploy.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "lib.deploy.faulty", raising=False)
    monkeypatch.setitem(targets.TARGETS, "faulty/cpu", Target("faulty/cpu"))
    run, names = results.Run("06_gpu_vs_npu", tmp_path / "quick"), ["faulty/cpu", "onnxruntime/cpu"]
    timeout_s = 15 if fault == "hangs" else 200
    deployment.compare(run, [small_stage()], names, precisions=["fp32"], rounds=1, threads=1, timeout_s=timeout_s)
    table = results.read(run.path)
    (row,) = table[table.target == "faulty/cpu"].itertuples()
    assert row.kind == "not_run" and why in row.detail
    assert {"latency_ms_p50", "snr_db"} <= set(table[table.target == "onnxruntime/cpu"].metric)


def test_a_target_that_takes_no_stages_says_so_and_which_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    said = "native/cpu runs whole systems, not stages: targets that take stages are torch/cpu, "
    assert devices.present(["torch/cpu", "native/cpu"])["here, or why not"][1].startswith(said)
    with pytest.raises(SpeechError, match=said):
        deploy.precisions("native/cpu")
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    others = {"beside": lambda one: [dataclasses.replace(one, threads=1)]}  # it has no row of other threads either
    (one,) = deployment.compare(run, [small_stage()], ["native/cpu"], rounds=1, **others)
    assert one.why_not == deploy.no_runtime("native/cpu") and not deploy.builds("native/cpu")
    (row,) = results.read(run.path).itertuples()
    assert row.kind == "not_run" and row.target == "native/cpu" and row.detail == one.why_not


def test_what_a_compiler_says_is_simulated_and_the_sweep_finds_its_lengths(tmp_path):
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    for frames, ms in ((25, 3.0), (200, 80.0)):
        stage = stages.Stage("vits-joe", "decoder", nn.Identity(), (), (), frames / 86, frames)
        figures = {"latency_ms_p50": ms, "cycles": 1e6 * ms, "npu_ops_pct": 90.0}
        one = Placed(
            stage, "qnn/sa8255", "a8w8", snr_db=21.0, figures=figures, detail={"left": {"Erf": 2}}, mos=3.5
        )
        deployed_rows.write(run, [one])
    table = results.read(run.path)
    assert set(table.kind) == {"simulated"} and set(table.variant) == {"decoder-a8w8-f25", "decoder-a8w8"}
    assert "mos_predicted" not in set(table.metric), "one clip's is no voice's"
    assert "on qnn/sa8255 3.50 (21 dB)" in devices.heard(table)
    assert "vits-joe 39 (decoder-a8w8 on qnn/sa8255, 21 dB, without the 10 % of its op" in devices.finding(table)
    assert "no longer the same" not in devices.finding(table)
    worse = table.assign(value=table.value.where(table.metric != "snr_db", 9.0))
    assert "below 10 dB: vits-joe decoder-a8w8-f25 by qnn v73 (9 dB)" in devices.finding(worse)
    wide = chunk_lengths.table(table)
    assert list(wide.columns) == [25, 200]
    left = devices.operators_left(table)
    assert set(left.operator) == {"Erf"} and list(left["on the processor"]) == [2, 2]
    shown = devices.together(table, table.iloc[:0])
    assert list(shown["operators on it, %"]) == [90.0, 90.0] and set(shown.kind) == {"simulated"}


def test_published_figures_name_their_source_and_year(tmp_path):
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    published_devices.add(run)
    table = results.read(run.path)
    assert set(table.kind) == {"published"} and table.source.str.contains(r"https://.*, 20\d\d$").all()
    assert len(table) == len(published_devices.FIGURES), "no figure hides another"
    assert devices.finding(table) is None, "what others measured is not ranked with ours"


def test_mlperf_figures_say_their_machine_and_what_was_not_confirmed_is_no_figure():
    shown = published_devices.table()
    tokens = shown[shown.metric == "Tokens of text heard"].set_index("device")
    assert set(tokens.index) == {
        "tensorrt/h200-x8",
        "tensorrt/h100-x3",
        "tensorrt/l4-x4",
        "torch/xeon-6980p-x2",
    }
    assert (tokens.unit == "1/s").all() and tokens.what.str.startswith("offline scenario, ").all()
    assert tokens.source.str.contains("MLPerf Inference v5.1.*mlperf_log_summary.txt, 9 September, 2025$").all()
    assert "than the 9.3, 18.1 and 59.8 ms shown here (Qualcomm AI Hub Models" in published_devices.other_table()
    assert "0.175 J" in published_devices.UNCONFIRMED and not (shown.published == 0.175).any()
