"""Deployment: what one target answers, makes or breaks is its own; rounds, inputs, threads and batches in the rows."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from lib import REPOSITORY, deploy, environment, results, targets
from lib.deploy import (
    apart,
    cuda_graphs,
    executorch,
    export,
    job,
    networks,
    onnxruntime,
    qnn,
    stages,
    tensorrt,
    tflite,
    torch_modules,
    vela,
)
from lib.files import cache_folder
from lib.graphs import session
from lib.measure import energy, metered
from lib.studies import deployed_rows, deployment, handed, spread
from lib.studies.placed import Placed
from lib.target import Target
from test_deploy import Upsampler, small_stage

_CACHE = str(cache_folder())  # of whoever runs the tests: toolchains lie there

RUNTIME = """
import os
import numpy as np
from lib.deploy.job import Loaded, read_arrays

READS, PRECISIONS = ("network.pt",), ("fp32",)

def load(job):
    with open(os.path.join(job.folder, "pids"), "a") as file:
        file.write(f"{os.getpid()} ")
    right = read_arrays(job.form("expected.npz"))
"""
ANSWERS = {
    "right": "    return Loaded(lambda inputs: right)",
    "nan": "    return Loaded(lambda inputs: [np.full_like(a, np.nan) for a in right])",
    "short": "    return Loaded(lambda inputs: [a[..., :3] for a in right])",
    "absent": "    return Loaded(lambda inputs: right)\n\ndef build(job):\n    return dict(engine_mb=3.2, build_s=1.5)",
}


@pytest.fixture
def runtimes(tmp_path, monkeypatch):
    """Targets right/cpu, nan/cpu, short/cpu and absent/cuda, the last one without its device."""
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "runtimes"
    folder.mkdir()
    for name, answer in ANSWERS.items():
        (folder / f"{name}.py").write_text(RUNTIME + answer + "\n")
        monkeypatch.delitem(sys.modules, f"lib.deploy.{name}", raising=False)
        there = {"missing": lambda: "no such device"} if name == "absent" else {}
        full = f"{name}/{'cuda' if there else 'cpu'}"
        monkeypatch.setitem(targets.TARGETS, full, Target(full, **there))
    (folder / "sitecustomize.py").write_text(
        f"import lib.deploy\nlib.deploy.__path__.append({str(folder)!r})\n"
    )
    path = [str(folder), str(REPOSITORY), str(REPOSITORY / "tests")]  # a pickled network is known by its module
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    monkeypatch.setattr(deploy, "__path__", [*deploy.__path__, str(folder)])
    monkeypatch.setattr(deployment.bench.Others, "percent", lambda self: 0.0)  # whoever else runs here now
    return results.Run("06_gpu_vs_npu", tmp_path / "quick")


class Undecided(nn.Module):
    """What it does depends on what it sees, so it has no graph; PyTorch runs it."""

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return frames if frames.sum().item() > 0 else -frames


def test_what_one_target_answers_or_cannot_read_costs_that_target_alone(runtimes):
    names = ["nan/cpu", "short/cpu", "right/cpu"]
    by = {p.target: p for p in deployment.compare(runtimes, [small_stage()], names, rounds=1)}
    assert "100 % of the values are infinite or NaN" in by["nan/cpu"].why_not
    assert "outputs of shapes" in by["short/cpu"].why_not
    assert not by["right/cpu"].why_not and by["right/cpu"].seconds.shape == (1, 1, 1)
    table = results.read(runtimes.path)
    assert list(table[table.kind == "not_run"].target) == ["nan/cpu", "short/cpu"], "one row each"


def test_a_form_that_cannot_be_written_costs_those_that_read_it(runtimes):
    frames = np.ones((1, 6, 16), np.float32)
    stage = stages.Stage("vits-joe", "undecided", Undecided(), (frames,), ((frames,),), 0.1, 16)
    ran = deployment.compare(runtimes, [stage], ["onnxruntime/cpu", "right/cpu"], precisions=["fp32"], rounds=1)
    assert "vits-joe/undecided could not be written as plain.onnx" in ran[0].why_not
    assert not ran[1].why_not and ran[1].snr_db == 200
    broken = stages.Stage("vits-joe", "broken", nn.Linear(3, 3), (frames,), ((frames,),), 0.1, 16)
    (one,) = deployment.compare(runtimes, [broken], ["right/cpu"], rounds=1)
    assert "does not run in PyTorch" in one.why_not


def test_every_round_is_a_process_of_its_own_and_fewer_than_eight_inputs_have_no_interval(runtimes):
    stage = small_stage(8)
    eight = dataclasses.replace(stage, others=stage.calibration[:7])
    for given, inputs in ((stage, 1), (eight, 8)):
        (one,) = deployment.compare(runtimes, [given], ["right/cpu"], rounds=3, passes=2)
        assert one.seconds.shape == (3, inputs, 2)
        folder, failed = handed.stage_folder(given, [("right/cpu", "fp32")])
        assert len(set((folder / "pids").read_text().split())) == 3 and not failed
        row = results.read(runtimes.path).query("metric == 'latency_ms_p50'").iloc[-1]
        assert row.n == inputs and np.isnan(row.ci_low) == (inputs == 1)


def test_a_runtime_that_builds_without_the_device_says_so(runtimes):
    assert deploy.builds("absent/cuda") and not deploy.builds("right/cpu")
    (one,) = deployment.compare(runtimes, [small_stage()], ["absent/cuda"], rounds=1)
    assert one.why_not == "no such device; an engine was built here without it (3.2 MB in 1.5 s)"


def test_an_emulator_is_asked_once_for_all_devices_that_it_answers_for(runtimes, monkeypatch):
    emulators = {"right/a": "one", "right/b": "one", "right/c": "other"}
    for name, emulator in emulators.items():
        given = {"kind": "simulated", "settings": {"emulator": emulator}}
        monkeypatch.setitem(targets.TARGETS, name, Target(name, **given))
    ran = deployment.compare(runtimes, [small_stage()], list(emulators), rounds=1)
    assert [one.snr_db for one in ran] == [200.0, None, 200.0] and not any(one.why_not for one in ran)
    names = ("qnn/sa8255", "qnn/sa8787", "qnn/aic100")
    assert [targets.find(name).emulator for name in names] == ["qnn v73", "qnn v73", "qnn v68"]
    assert targets.find("vela/ethos-u55-256").emulator == "vela"


def test_power_is_metered_where_it_is_asked_for(runtimes, monkeypatch):
    monkeypatch.setattr(energy, "rapl_zones", lambda *_: [])
    (one,) = deployment.compare(runtimes, [small_stage()], ["right/cpu"], rounds=1, meter_s=0.05)
    assert one.metered.runs > 0 and one.metered.gpu_mb is None
    rows = results.read(runtimes.path).set_index("metric")
    assert rows.kind["energy_j_per_audio_s"] == rows.kind["power_w"] == "estimated"
    per_run = rows.value["energy_j_per_audio_s"] * one.stage.audio_s
    assert per_run * one.metered.runs == pytest.approx(one.metered.energy.joules)
    assert "CPU seconds" in rows.source["energy_j_per_audio_s"] and rows.kind["utilization_pct"] == "measured"


class _Nvml(types.ModuleType):
    """A board whose counter moves by 30 J while something is busy, and which then holds 900 MB."""

    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self):
        super().__init__("pynvml")
        self.joules, self.used = 0.0, 400e6
        self.nvmlInit = lambda: None
        self.nvmlDeviceGetHandleByIndex = lambda index: index
        self.nvmlDeviceGetName = lambda gpu: "Test GPU"
        self.nvmlDeviceGetPowerUsage = lambda gpu: 300_000
        self.nvmlDeviceGetUtilizationRates = lambda gpu: types.SimpleNamespace(gpu=80)
        self.nvmlDeviceGetTotalEnergyConsumption = lambda gpu: 1000 * self.joules
        self.nvmlDeviceGetMemoryInfo = lambda gpu: types.SimpleNamespace(used=self.used)

    def busy(self, seconds: float) -> dict:
        self.joules += 30
        self.used = 900e6
        return {"runs": 10, "seconds": seconds, "cpu_s": 0.1}


def test_a_gpu_is_metered_from_outside_for_every_runtime_alike(monkeypatch):
    nvml = _Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(
        energy.EnergyMeter.__init__,
        "__kwdefaults__",
        {**energy.EnergyMeter.__init__.__kwdefaults__, "idle_s": 0.0},
    )
    before = metered.board_mb()
    found = metered.meter(nvml.busy, "cuda", 10.0, before_mb=before)
    assert found.joules_a_run == pytest.approx(3) and found.gpu_mb == pytest.approx(500)
    assert found.energy.kind == "measured" and "board only" in found.energy.source
    assert found.energy.utilization_pct == 80


def test_rows_tell_threads_batches_and_buckets():
    stage = small_stage(3)
    usual = dataclasses.replace(stage, frames=200)
    assert Placed(usual, "torch/cpu", "fp32").variant == "upsampler-fp32"
    assert Placed(usual, "torch/cpu", "fp32", threads=1).variant == "upsampler-fp32-1t"
    assert Placed(usual, "torch/cuda", "fp32", threads=1).variant == "upsampler-fp32", (
        "a GPU has no such threads"
    )
    assert Placed(stage.batched(4), "torch/cpu", "bf16").variant == "upsampler-bf16-f16-b4"
    wide = stage.batched(2)
    assert wide.inputs[0].shape == (2, 6, 16) and wide.audio_s == 2 * stage.audio_s and wide.waveform is None
    assert len(wide.calibration) == 3 and stage.batched(1) is stage
    np.testing.assert_array_equal(wide.calibration[0][0][1], stage.calibration[1][0][0])


def test_bf16_is_not_run_where_the_processor_has_none(monkeypatch):
    monkeypatch.setattr(environment, "cpu_flags", lambda: ("avx2", "avx512f"))
    assert "bf16 without amx_bf16 or avx512_bf16 or bf16" in deploy.why_not("torch/cpu", "bf16")
    assert deploy.why_not("torch/cpu", "fp32") is None
    assert "steps of fp32" not in (deploy.why_not("torch/cuda", "bf16") or "")
    for flags in (("avx2", "amx_bf16"), ()):  # () where the system tells none
        monkeypatch.setattr(environment, "cpu_flags", lambda flags=flags: flags)
        assert deploy.why_not("torch/cpu", "bf16") is None


def test_a_device_of_two_words_may_have_precisions_of_its_own(monkeypatch):
    vela = deploy.runtime("vela/ethos-u85-1024")
    monkeypatch.setattr(vela, "ETHOS_U85_1024_PRECISIONS", ("int8", "int4"), raising=False)
    assert deploy.precisions("vela/ethos-u85-1024") == ("int8", "int4")
    assert deploy.precisions("vela/ethos-u55-256") == vela.PRECISIONS


def test_a_stage_need_not_be_heard():
    """Of the networks in the middle of a voice nobody can listen to what comes out."""
    from lib.deploy import networks

    def seen(text):
        return (np.full((1, 6, 16), len(text), np.float32),), 12

    stage = networks._stage("vits-joe", "flow", Upsampler(), 16, ["a", "bc"], ["def"], ["g"], seen, None)
    assert stage.waveform is None and stage.spoken == () and len(stage.timed) == 2
    assert stage.calibration[0][0].max() == 3


def test_a_gpu_has_precisions_that_a_processor_has_not():
    assert deploy.precisions("torch/cpu") == ("fp32", "bf16")
    assert set(deploy.precisions("torch/cuda")) == {"fp32", "tf32", "fp16", "bf16", "fp8"}
    assert "fp16" in deploy.precisions("onnxruntime/cuda") and "fp16" not in deploy.precisions(
        "onnxruntime/cpu"
    )
    assert deploy.reads("tensorrt/cuda", "fp16") == ("fp16.onnx",)
    assert deploy.reads("tensorrt/cuda", "fp32") == ("plain.onnx",)


def test_a_session_that_fell_back_to_the_processor_is_refused(monkeypatch):
    """As where the CUDA provider is built in and cuDNN is missing."""

    class Session:
        def __init__(self, graph, options, providers):
            ((self.asked, self.options),) = providers

        def get_providers(self):
            return fell_back or [self.asked, "CPUExecutionProvider"]

    stub = types.ModuleType("onnxruntime")
    stub.InferenceSession, stub.get_available_providers = Session, lambda: [session.CUDA]
    monkeypatch.setitem(sys.modules, "onnxruntime", stub)
    fell_back = ["CPUExecutionProvider"]
    with pytest.raises(RuntimeError, match="opened the graph on CPUExecutionProvider: CUDA or cuDNN"):
        session.on_gpu(b"", tf32=False)
    fell_back = []
    assert session.on_gpu(b"", tf32=True).options == {"use_tf32": "1"}


def test_what_is_recorded_as_a_cuda_graph_keeps_no_weights_of_autocast(monkeypatch):
    asked = job.Job("", "torch/cpu", "bf16")
    for cached in (True, False):
        with torch_modules.precise(asked, cached=cached):
            assert torch.is_autocast_cache_enabled() is cached
    seen = []
    monkeypatch.setattr(torch_modules, "opened", lambda asked: (nn.Identity(), [], {}))
    monkeypatch.setattr(
        torch_modules, "precise", lambda asked, cached=True: seen.append(cached) or contextlib.nullcontext()
    )
    monkeypatch.setattr(torch.cuda, "Stream", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cuda_graphs.load(job.Job("", "cuda-graphs/cuda", "bf16"))
    assert seen == [False]


def test_executorch_computes_with_as_many_threads_as_it_is_told(tmp_path, monkeypatch):
    said = []
    portable = types.ModuleType("executorch.extension.pybindings.portable_lib")
    portable._unsafe_reset_threadpool = lambda n: said.append(n)
    portable._threadpool_get_thread_count = lambda: said[-1]
    runtime = types.ModuleType("executorch.runtime")
    method = types.SimpleNamespace(execute=lambda inputs: [torch.zeros(2)])

    class Runtime:
        @staticmethod
        def get():
            assert said, "the pool is set before anything is loaded"
            program = types.SimpleNamespace(load_method=lambda name: method)
            return types.SimpleNamespace(load_program=lambda path: program)

    runtime.Runtime = Runtime
    bindings = types.ModuleType("executorch.extension.pybindings")
    bindings.portable_lib = portable
    for module in (portable, runtime, bindings):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("executorch", "executorch.extension"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    asked = job.Job(str(tmp_path), "executorch/cpu", threads=1, toolchain="a")
    asked.made("stage-fp32.pte").write_bytes(b"")
    before = torch.get_num_threads()
    try:
        loaded = executorch.load(asked)
    finally:
        torch.set_num_threads(before)
    assert said == [1] and loaded.detail == {"threads_found": 1} and loaded.run([])[0].shape == (2,)


def test_a_graph_in_half_precision_computes_in_it_and_gives_single_precision(tmp_path):
    import onnx

    stage = small_stage()
    folder = export.write(stage, tmp_path, export.HALVES)
    made = session.open(folder / "fp16.onnx", 1).run(None, {"input_0": stage.inputs[0]})[0]
    assert made.dtype == np.float32 and 40 < export.snr_db(export.expected(folder)[0], made) < 90
    for form, kind in (("fp16.onnx", onnx.TensorProto.FLOAT16), ("bf16.onnx", onnx.TensorProto.BFLOAT16)):
        graph = onnx.load(folder / form).graph
        weights = {t.name: t.data_type for t in graph.initializer}
        used = [weights[node.input[1]] for node in graph.node if node.op_type in ("Conv", "ConvTranspose")]
        assert len(used) == 5 and set(used) == {kind}
    assert next(stage.network.parameters()).dtype == torch.float32, "the network itself stays"


class _TensorRT(types.ModuleType):
    """As newer versions are: strongly typed, and without a flag for half precision."""

    def __init__(self):
        super().__init__("tensorrt")
        self.read, self.flags, made = [], [], b"engine"
        self.Logger = type("Logger", (), {"ERROR": 0, "__init__": lambda own, level: None})
        self.NetworkDefinitionCreationFlag = types.SimpleNamespace(STRONGLY_TYPED=1)
        self.BuilderFlag = types.SimpleNamespace(TF32="tf32")
        self.OnnxParser = lambda network, logger: types.SimpleNamespace(parse=self.parse)
        config = types.SimpleNamespace(
            set_flag=lambda f: self.flags.append((f, True)), clear_flag=lambda f: self.flags.append((f, False))
        )
        self.Builder = lambda logger: types.SimpleNamespace(
            create_network=lambda flags: self.flags.append(flags),
            create_builder_config=lambda: config,
            build_serialized_network=lambda network, config: made,
        )

    def parse(self, graph: bytes) -> bool:
        self.read.append(graph)
        return True


@pytest.mark.parametrize("precision", tensorrt.PRECISIONS)
def test_tensorrt_finds_its_precision_in_the_graph(precision, tmp_path):
    for form in ("plain.onnx", "int8-symmetric.onnx", "fp8.onnx", *export.HALVES):
        (tmp_path / form).write_bytes(form.encode())
    stub = _TensorRT()
    said = tensorrt.built_alone(stub, job.Job(str(tmp_path), "tensorrt/cuda", precision))
    graphs = {"fp16": "fp16.onnx", "bf16": "bf16.onnx", "int8": "int8-symmetric.onnx", "fp8": "fp8.onnx"}
    wanted = graphs.get(precision, "plain.onnx")
    assert stub.read == [wanted.encode()] and stub.flags == [2, ("tf32", precision == "tf32")]
    assert said["engine_mb"] == pytest.approx(6e-6)


def test_a_gpus_graph_in_8_bit_has_its_zeros_at_0_and_float_biases(tmp_path):
    import onnx
    from onnx import numpy_helper

    stage = small_stage(2)
    folder = export.write(stage, tmp_path, ["plain.onnx"])
    asked = job.Job(str(folder), "tensorrt/cuda", "int8")
    graph = onnxruntime.quantized(asked, symmetric=True)
    assert graph != onnxruntime.quantized(asked), "a processor's is another one"
    model = onnx.load_from_string(graph).graph
    values = {t.name: numpy_helper.to_array(t) for t in model.initializer}
    rounded = [n for n in model.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    zeros = [values[n.input[2]] for n in rounded]
    assert (
        len(rounded) > 8 and {z.dtype for z in zeros} == {np.dtype(np.int8)} and not any(z.any() for z in zeros)
    )
    made = {output: node for node in model.node for output in node.output}
    convolutions = [n for n in model.node if n.op_type == "Conv"]
    assert len(convolutions) == 4
    for node in convolutions:
        assert [made[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        assert values[node.input[2]].dtype == np.float32
    weights = [made[node.input[1]] for node in convolutions]
    assert all(values[w.input[1]].shape == (values[w.input[0]].shape[0],) for w in weights), "a scale a channel"
    answered = session.open(graph, 1).run(None, {"input_0": stage.inputs[0]})[0]
    assert 10 < export.snr_db(export.expected(folder)[0], answered) < 60


def test_tensorrt_rtx_builds_engines_without_a_gpu(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="pip install tensorrt-rtx")
    folder = export.write(small_stage(2), tmp_path, ["plain.onnx", "fp16.onnx"])
    for precision in ("fp32", "fp16", "int8", "fp8"):
        said = apart.build(job.Job(str(folder), "tensorrt-rtx/cuda", precision), timeout_s=300)
        assert said["engine_mb"] > 0.01


def test_a_form_that_lies_there_is_checked_again(tmp_path):
    stage = small_stage()
    folder = export.write(stage, tmp_path / "stage", ["plain.onnx"])
    right = (folder / "plain.onnx").read_bytes()
    written = (folder / "plain.onnx").stat().st_mtime_ns
    export.write(stage, folder, ["plain.onnx"])
    assert (folder / "plain.onnx").stat().st_mtime_ns == written, "what is right stays"
    other = Upsampler().eval()
    with torch.no_grad():
        other.last.bias += 1
    others = export.write(dataclasses.replace(stage, network=other), tmp_path / "other", ["plain.onnx"])
    for wrong in ((others / "plain.onnx").read_bytes(), right[: len(right) // 2]):
        (folder / "plain.onnx").write_bytes(wrong)
        export.write(stage, folder, ["plain.onnx"])
        assert export._off(stage, folder / "plain.onnx") < export.TOLERANCE


def test_what_a_toolchain_made_is_not_taken_for_anothers(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    one, other = (job.Job(str(tmp_path), "qnn/sa8255", "a8w8", toolchain=key) for key in ("qnn-1", "qnn-2"))
    assert one.made("qnn-a8w8.onnx") != other.made("qnn-a8w8.onnx")
    placed = Placed(small_stage(), "qnn/sa8255", "a8w8")
    assert handed.job(placed, tmp_path, True).toolchain == targets.find("qnn/sa8255").python.parts[-3]
    jobs, stage = [("torch/cpu", "fp32")], small_stage()
    before, _ = handed.stage_folder(stage, jobs)
    assert handed.stage_folder(stage, jobs)[0] == before
    monkeypatch.setattr(handed, "versions", lambda packages: dict.fromkeys(packages, "another"))
    assert handed.stage_folder(stage, jobs)[0] != before
    monkeypatch.undo()


def test_a_process_begins_with_an_empty_work_folder(runtimes, tmp_path):
    folder = export.write(small_stage(), tmp_path / "stage", ["network.pt"])
    asked = job.Job(str(folder), "right/cpu")
    (asked.work() / "old_summary.csv").write_text("of an earlier version of the toolchain")
    with apart.Worker(asked, timeout_s=100):
        assert not (asked.work() / "old_summary.csv").exists()


@pytest.mark.parametrize("own", [False, True])
def test_no_runtime_s_threads_are_put_to_sleep_alone(own, monkeypatch):
    """As in the bench: ONNX Runtime's and OpenVINO's do not read what tests tell OpenMP."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    told = apart._environment(2, own=own)
    assert "OMP_WAIT_POLICY" not in told and told["OMP_NUM_THREADS"] == "2"


def test_whispers_window_is_no_second_of_speech():
    short, long = (
        "The birch canoe slid on the smooth planks.",
        "Glue the sheet to the dark blue background. " * 3,
    )
    stage = networks.whisper_encoder(200, [short, long], [short, long])
    spoken = stage.audio_s
    assert 3 < spoken < 12 and stage.window_s == 30 and len(stage.timed) == 2
    end = [arrays[0][..., -300:].std() for arrays in (stage.inputs, *stage.calibration)]
    assert end[0] < 1e-3 and min(end[1:]) > 0.1, "scales are set on full windows, times taken on sentences"


def test_threads_and_sentences_side_by_side_are_compared_within_the_same_rounds(runtimes):
    stage = dataclasses.replace(small_stage(3), frames=200)
    deployment.compare(runtimes, [stage], ["right/cpu"], rounds=1)
    assert spread.finding(results.read(runtimes.path)) is None, "one kind is no comparison"
    others = spread.beside([stage.label], [1], [4])
    ran = deployment.compare(runtimes, [stage], ["right/cpu"], rounds=2, beside=others)
    assert [one.seconds.shape[0] for one in ran] == [2, 2, 2]
    rows = results.read(runtimes.path)
    timed = rows[rows.metric == "latency_ms_p50"].set_index("variant")
    assert list(timed.index) == [f"upsampler-fp32{how}" for how in ("", "-1t", "-b4")]
    shown = spread.table(rows)
    assert list(shown.columns) == ["1 thread", "2 threads", "2 threads, 4 sentences"]
    assert list(shown.index) == [("vits-joe", "upsampler-fp32", "right/cpu")] and shown.notna().all().all()
    told = json.loads(timed.detail["upsampler-fp32-b4"])["beside_usual"]
    spent = [np.median(one.seconds, axis=2).sum() for one in (ran[0], ran[2])]
    assert told["of"] == "upsampler-fp32" and told["value"] == pytest.approx(4 * spent[0] / spent[1])
    said = spread.finding(rows)
    assert "2 threads instead of 1 thread" in said and "2 threads, 4 sentences instead of 2 threads" in said
    assert "1 stages on their targets, 0 of them with an interval" in said, "of one input there is none"
    assert spread.beside(["another/stage"])(ran[0]) == []
    alone = dataclasses.replace(ran[0], threads=1)
    names = [one.variant for one in (alone, *spread.beside([stage.label], [1, 2], [1, 4])(alone))]
    assert len(set(names)) == len(names) == 3, "nothing takes two turns under one name"
    several = rows.assign(commit=[str(i) for i in range(len(rows))])
    assert spread.table(several).empty, "two runs are no comparison"


def test_a_round_of_a_stage_that_others_disturbed_is_timed_again_and_says_so(runtimes, monkeypatch):
    quiet, taken = 0.0, iter([90.0, 50.0, 3.0])

    class Others:
        def percent(self):
            return next(taken, quiet)

    monkeypatch.setattr(deployment.bench, "Others", Others)
    (one,) = deployment.compare(runtimes, [small_stage()], ["right/cpu"], rounds=3)
    assert one.others_pct == (3.0, 0.0, 0.0) and one.repeated == (2, 0, 0) and one.seconds.shape == (3, 1, 1)
    told = json.loads(results.read(runtimes.path).query("metric == 'latency_ms_p50'").detail.iloc[0])
    assert told["others_pct"] == [3.0, 0.0, 0.0] and told["repeated"] == [2, 0, 0] and len(told["load"]) == 3
    assert "versions" in told
    taken = iter([90.0, 90.0])
    (one,) = deployment.compare(runtimes, [small_stage()], ["right/cpu"], rounds=2)
    assert one.repeated == (0, 0), "without an interval nothing is decided"
    pinned = targets.find("openvino/cpu")
    assert deployed_rows._versions(pinned)["openvino"] == pinned.toolchain[0].removeprefix("openvino==")


def test_speed_ups_of_other_threads_are_no_rivals_of_the_usual_ones(tmp_path):
    stage = small_stage()
    timed = [
        Placed(stage, name, "fp32", seconds=np.full((3, 1, 1), s))
        for name, s in (("torch/cpu", 2), ("onnxruntime/cpu", 1))
    ]
    for speedups in (True, False):
        run = results.Run("06_gpu_vs_npu", tmp_path / str(speedups))
        deployed_rows.write(run, timed, speedups=speedups)
        rows = results.read(run.path)
        assert list(rows[rows.metric == "speedup"].value) == ([2.0] if speedups else [])


@pytest.mark.parametrize(
    "label", ["hifigan/generator", "istft/trunk", "vits-joe/decoder", "fastspeech2/decoder"]
)
def test_sentences_side_by_side_come_out_as_alone(label):
    stage = stages.build(
        label, 16, texts=["The birch canoe slid.", "Glue the sheet."], calibration=["A rod is used."]
    )
    assert len(stage.timed) == 2 and len(stage.calibration) == 1
    assert not np.array_equal(stage.timed[0][0], stage.timed[1][0]), "another sentence is another input"
    alone = [export.run(stage.network, inputs) for inputs in stage.timed]
    both = export.run(stage.network, stage.batched(2).inputs)
    for number, outputs in enumerate(alone):
        np.testing.assert_allclose(both[0][number], outputs[0][0], atol=1e-4)
    if stage.waveform is not None:
        assert stage.waveform(alone[0]).shape[0] >= 15 * 256


@pytest.mark.parametrize("precision, recipe", [("int8", "static_wi8_ai8"), ("a16w8", "static_wi8_ai16")])
def test_a_tflite_model_is_made_with_the_activations_that_are_asked_for(
    precision, recipe, tmp_path, monkeypatch
):
    asked = []

    class Quantizer:
        def __init__(self, plain, given):
            asked.append(given)

        def calibrate(self, data):
            return {name: len(sets) for name, sets in data.items()}

        def quantize(self, calibrated):
            asked.append(calibrated)
            return types.SimpleNamespace(
                export_model=lambda path, overwrite: open(path, "wb").write(precision.encode())
            )

    package = types.ModuleType("ai_edge_quantizer")
    package.quantizer = types.SimpleNamespace(Quantizer=Quantizer)
    package.recipe = types.SimpleNamespace(
        static_wi8_ai8=lambda: "static_wi8_ai8", static_wi8_ai16=lambda: "static_wi8_ai16"
    )
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", package)
    monkeypatch.setattr(tflite, "_plain", lambda job: tmp_path / "plain.tflite")
    monkeypatch.setattr(tflite, "_signature", lambda path: ("serve", ["a"]))
    folder = export.write(small_stage(3), tmp_path / "stage", [])
    made = tflite.quantized(job.Job(str(folder), "vela/ethos-u65-512", precision, toolchain="t"))
    assert asked == [recipe, {"serve": 3}] and made.read_bytes() == precision.encode()
    assert made.name == f"tflite-{precision}.tflite", "neither is taken for the other"


def test_npus_that_have_16_bit_activations_name_them_alike():
    for name in ("qnn/sa8255", "vela/ethos-u65-512"):
        assert "a16w8" in deploy.precisions(name)
    assert set(vela.PRECISIONS) == set(tflite.RECIPES) and deploy.precisions("edgetpu/usb") == ("int8",)


def test_weights_of_convolutions_have_a_scale_a_channel_on_hexagon(tmp_path):
    import onnx

    folder = export.write(small_stage(), tmp_path, ["npu.onnx"])
    given = qnn._by_channel(folder / "npu.onnx", "s8")
    graph = onnx.load(folder / "npu.onnx").graph
    weights = {n.input[1] for n in graph.node if n.op_type == "Conv"}
    assert given.keys() == weights and len(weights) == 5
    assert all(said == [{"quant_type": "s8", "axis": 0, "symmetric": True}] for said in given.values())


@pytest.mark.slow
@pytest.mark.parametrize("target, coarse", [("qnn/sa8255", "a8w8"), ("vela/ethos-u65-512", "int8")])
def test_16_bit_activations_are_nearer_to_pytorch(target, coarse, runtimes, monkeypatch):
    """With the vendor's own toolchain, where it is installed."""
    monkeypatch.setenv("SPEECH_CACHE", _CACHE)
    if why := targets.find(target).why_not():
        pytest.skip(why)
    ran = deployment.compare(runtimes, [small_stage(3)], [target], rounds=1, timeout_s=900)
    by = {one.precision: one for one in ran}
    assert not any(one.why_not for one in ran), [one.why_not for one in ran]
    assert by["a16w8"].snr_db > by[coarse].snr_db and by["a16w8"].latency_ms.value > 0
