"""Rockchip, Sophgo and Google's Edge TPU without their devices: what is read of what their compilers say, or list."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from test_deploy import small_stage

from lib import REPOSITORY, deploy, results, targets
from lib.deploy import edgetpu, edgetpu_list, export, job, rknn, tflite, tpu_mlir, tpu_mlir_tools
from lib.deploy.tflite import Operator
from lib.studies import deployment, devices
from lib.target import Target

TABLE = """
D RKNN: [02:21:04.760] ID   OpType           DataType Target InputShape        OutputShape   Cycles(DDR/NPU/Total)
D RKNN: [02:21:04.760] 0    InputOperator    INT8     CPU    \\                 (1,192,25)    0/0/0              0     I
D RKNN: [02:21:04.760] 1    Reshape          INT8     CPU    (1,192,25),(4)    (1,192,1,25)  0/0/0              4     R
D RKNN: [02:21:04.760] 2    Conv             INT8     NPU    (1,192,1,25),...  (1,256,1,25)  15106/10752/15106  342   C
D RKNN: [02:21:04.760] 3    ConvAdd          INT8     NPU    (1,256,1,25),...  (1,256,1,25)  100/400/400        34    C
D RKNN: [02:21:04.760] 4    Transpose        INT8     CPU    (1,1,200,128)     (1,128,1,200) 0/0/0              400   T
D RKNN: [02:21:04.760] 5    OutputOperator   INT8     CPU    (1,1,6400)        \\            0/0/0              6     O
D RKNN: [02:21:04.761] 52  Mul      val_1                   FLOAT     (1,1,1,1)      | 0x00356d80 0x00356dc0 0x00000040
"""


def a_job(tmp_path: Path, target: str, precision: str) -> job.Job:
    folder = export.write(small_stage(2), tmp_path / "stage", ["npu.onnx"])
    return job.Job(str(folder), target, precision, 1, {}, True, "made")


def test_rockchip_s_table_tells_where_layers_go_and_what_convolutions_cost():
    assert rknn.layers(TABLE) == (2, {"Reshape": 1, "Transpose": 1}, 15_506)
    assert rknn.layers("no table") == (0, {}, 0)


class Rknn:
    """The toolkit: prints below Python, answers 0 for what went well."""

    fails = ""

    def __init__(self, verbose):
        assert verbose, "else there is no table"
        self.asked = {}

    def __getattr__(self, step):
        def call(*values, **named):
            self.asked[step] = values or named
            if step == "build":
                os.write(1, TABLE.encode())
            if step == self.fails:
                os.write(2, b"E RKNN: Unsupported operator Frobnicate\n")
                return -1
            return 0

        return call

    def inference(self, inputs, data_format):
        return [2 * inputs[0]]


def test_rockchip_s_simulator_answers_and_its_compiler_is_heard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rknn", types.ModuleType("rknn"))
    monkeypatch.setitem(sys.modules, "rknn.api", types.SimpleNamespace(RKNN=Rknn))
    given = a_job(tmp_path, "rknn/rk3588", "int8")
    loaded = rknn.load(given)
    assert loaded.figures == {"npu_ops_pct": 50.0}, "convolutions' cycles are no latency"
    assert loaded.detail == {
        "left": {"Reshape": 1, "Transpose": 1},
        "operators": 4,
        "cycles_of_convolutions": 15_506,
    }
    listed = (given.work() / "calibration" / "list.txt").read_text().splitlines()
    assert [np.load(line).tolist() for line in listed] == [a[0].tolist() for a in given.calibration()]
    assert np.array_equal(loaded.run(given.inputs())[0], 2 * given.inputs()[0])
    monkeypatch.setattr(Rknn, "fails", "build")
    with pytest.raises(RuntimeError, match="build failed: E RKNN: Unsupported operator Frobnicate"):
        rknn.load(given)


PROFILE = (
    "TCYC : 432371\nDDR BW USAGE : 33.8%\n\nflops: 1208416000, runtime: 0.432371ms, ComputationAbility: 2T\n"
)
FINAL = """
    func.func @subfunc_0(%arg0: tensor<1xf32>) -> tensor<1xf32> attributes {mode = #tpu<run_mode TPU_STATIC>} {
      %2 = "top.Weight"() : () -> tensor<1x256x1x1xf32>
      %6 = "tpu.Group"(%1) ({
        %70 = "tpu.Load"(%1) {do_bcast = false}
        %71 = "tpu.Conv2D"(%70, %3) {dilations = [1, 1]}
        %72 = "tpu.Max"(%71, %71)
        "tpu.Yield"(%72)
    func.func @subfunc_1(%arg0: tensor<1xf32>) -> tensor<1xf32> attributes {mode = #tpu<run_mode CPU>} {
      %1 = "tpu.Frobnicate"(%arg0)
"""


def test_sophgo_s_timeline_and_graph_are_read():
    assert tpu_mlir.timeline(PROFILE) == (432_371, pytest.approx(0.000432371))
    assert tpu_mlir.layers(FINAL) == (2, {"Frobnicate": 1})
    with pytest.raises(RuntimeError, match="no timeline"):
        tpu_mlir.timeline("")


@pytest.mark.parametrize("precision, wider", [("fp16", ""), ("int8", ""), ("int8", "maximum_Max F16\n")])
def test_sophgo_s_tools_are_asked_in_turn(precision, wider, tmp_path, monkeypatch):
    given, asked = a_job(tmp_path, "tpu-mlir/bm1684x", precision), []

    def tool(of, name, *arguments):
        asked.append((name, arguments))
        (given.work() / "wider.txt").write_text(wider)
        (given.work() / "stage_bm1684x_f16_final.mlir").write_text(FINAL)
        (given.work() / "compiler_profile_0.txt").write_text(PROFILE)
        if name == "model_runner":
            with np.load(given.work() / "inputs.npz") as inputs:
                np.savez(given.work() / "made.npz", out=3 * inputs["input_0"])

    monkeypatch.setattr(tpu_mlir, "_tool", tool)
    loaded = tpu_mlir.load(given)
    assert loaded.figures["latency_ms_p50"] == pytest.approx(0.432371) and loaded.figures["cycles"] == 432_371
    assert loaded.figures["npu_ops_pct"] == pytest.approx(200 / 3) and loaded.detail["left"] == {
        "Frobnicate": 1
    }
    assert np.array_equal(loaded.run(given.inputs())[0], 3 * given.inputs()[0])
    names, last = [name for name, _ in asked], asked[-2][1]
    steps = ["calibrate"] if precision == "int8" else []
    assert names == ["model_transform", *steps, "model_deploy", "model_runner"]
    assert ("--calibration_table" in last) == (precision == "int8") and ("--quantize_table" in last) == bool(
        wider
    )
    assert len(list(given.work().glob("calibration-*.npz"))) == (2 if precision == "int8" else 0)


def test_a_tool_that_fails_says_why_and_this_system_s_c_library_goes_first(tmp_path, monkeypatch):
    given = a_job(tmp_path, "tpu-mlir/bm1684x", "fp16")
    package = tmp_path / "tpu_mlir"
    found = types.SimpleNamespace(submodule_search_locations=[str(package)])
    monkeypatch.setattr(tpu_mlir.importlib.util, "find_spec", lambda name: found)
    first, second, *_ = tpu_mlir._environment(given)["LD_LIBRARY_PATH"].split(os.pathsep)
    assert second == str(package / "lib")
    assert all(Path(first, name).resolve().exists() for name in tpu_mlir.GLIBC)

    def run(command, **others):
        return subprocess.CompletedProcess(
            command, 1, "[Running]: tpuc-opt\nRuntimeError: no kernel for Frobnicate\n", ""
        )

    monkeypatch.setattr(tpu_mlir.subprocess, "run", run)
    with pytest.raises(
        RuntimeError, match="model_deploy ended with code 1: RuntimeError: no kernel for Frobnicate"
    ):
        tpu_mlir._tool(given, "model_deploy")


TRACEBACK = """Traceback (most recent call last):
  File "/tpu_mlir/python/utils/mlir_shell.py", line 409, in _os_system
    raise RuntimeError("[!Error]: {}".format(cmd_str))
RuntimeError: [!Error]: tpuc-opt stage.mlir --processor-assign="chip=bm1684x mode=INT8" -o stage_tpu.mlir
"""
# As in sophgo/tpu-mlir's issue 264 and Seeed-Studio/reCamera-OS's 37.
UNREACHABLE = """[Running]: tpuc-opt stage.mlir --processor-assign="chip=bm1684x mode=INT8" -o stage_tpu.mlir
2026/03/27 17:05:04 - INFO : TPU-MLIR v1.30.2-20260301
Entering FusePreprocessPass.
WARNING: qscale > 1,  = 9.999990e-01
Not support now.
UNREACHABLE executed at /w/tpu-mlir/lib/Conversion/TopToTpu/CV18xx/CompareConst.cpp:32!
PLEASE submit a bug report to https://github.com/llvm/llvm-project/issues/ and include the crash backtrace.
Stack dump:
0.\tProgram arguments: tpuc-opt stage.mlir --init "--processor-assign=chip=bm1684x mode=INT8"
 #0 0x000055a72915f2f7 (/tpu_mlir/bin/tpuc-opt+0x8802f7)
Aborted (core dumped)
"""
THROWN = "terminate called after throwing an instance of 'std::runtime_error'\n  what():  Op not supported\n"


@pytest.mark.parametrize(
    "said, why",
    [
        (
            UNREACHABLE + TRACEBACK,
            "Not support now. UNREACHABLE executed at /w/tpu-mlir/lib/Conversion/TopToTpu/CV18xx/CompareConst.cpp:32!",
        ),
        (THROWN + TRACEBACK, "what():  Op not supported"),
        ("loc('a'): error: top.Erf has no kernel\n" + TRACEBACK, "loc('a'): error: top.Erf has no kernel"),
        ("[Running]: a\ncan't open calibration table file!\n" + TRACEBACK, "can't open calibration table file!"),
        (TRACEBACK, TRACEBACK.splitlines()[-1]),
        ("", "it said nothing"),
    ],
)
def test_of_sophgo_s_log_the_compiler_s_own_words_are_kept(said, why):
    assert tpu_mlir.words(said) == why


def test_scales_are_the_largest_values_seen_and_maxima_stay_wider(tmp_path, monkeypatch):
    for number, value in enumerate((1.0, -3.0)):
        job.save_arrays(tmp_path / f"calibration-{number:02d}.npz", [np.full(2, value, np.float32)])

    class Module:
        input_names, all_tensor_names = ["input_0"], ["input_0", "doubled", "max"]

        def load(self, path):
            assert path == "stage.mlir"

        def set_tensor(self, name, array, shape):
            self.given = array

        def invoke(self):
            pass

        def get_tensor(self, name):
            return 2 * self.given

    ops = [
        types.SimpleNamespace(name=name, type=kind)
        for name, kind in (("doubled", "top.Add"), ("max", "top.Max"))
    ]
    asked = []
    made = types.SimpleNamespace(module=Module, set_mem_mode=asked.append)
    parser = types.SimpleNamespace(MlirParser=lambda path: types.SimpleNamespace(ops=ops))
    monkeypatch.setitem(sys.modules, "pymlir", made)
    monkeypatch.setitem(sys.modules, "utils", types.ModuleType("utils"))
    monkeypatch.setitem(sys.modules, "utils.mlir_parser", parser)
    monkeypatch.chdir(tmp_path)
    tpu_mlir_tools.calibrate()
    lines = Path("scales.txt").read_text().splitlines()
    assert lines[1:] == ["input_0 3 -3 1", "doubled 6 -6 2", "max 6 -6 2"]
    assert Path("wider.txt").read_text() == "max F16\n" and asked == ["force_value_mem"]


INT8 = ("INT8", (1, 1, 200, 128))


def conv(across=1, down=1) -> Operator:
    inputs = (INT8, ("INT8", (256, 1, 7, 128)), ("INT32", (256,)))
    return Operator("CONV_2D", inputs, (INT8,), {"dilationWFactor": across, "dilationHFactor": down})


@pytest.mark.parametrize(
    "operator, why",
    [
        (conv(2, 2), ""),
        (conv(2, 1), "dilations that differ in x and y"),
        (Operator("GELU", (INT8,), (INT8,)), "not listed"),
        (Operator("ADD", (("FLOAT32", (1, 2)), INT8), (INT8,)), "computed in FLOAT32"),
        (Operator("ADD", (("INT8", (2, 1, 2, 2)),), (INT8,)), "more than three dimensions"),
        (Operator("FULLY_CONNECTED", (INT8,), (("INT8", (1, 5, 8)),)), "more than one row"),
        (Operator("FULLY_CONNECTED", (INT8,), (("INT8", (1, 8)),)), ""),
        (Operator("SOFTMAX", (("INT8", (1, 16_001)),), (("INT8", (1, 16_001)),)), "more than 16,000 elements"),
        (
            Operator("CONCATENATION", (INT8, INT8), (INT8,), {"fusedActivationFunction": 1}),
            "a fused activation",
        ),
        (Operator("MAXIMUM", (INT8, INT8), (INT8,)), ""),
    ],
)
def test_google_s_list_is_held_against_each_operator(operator, why):
    assert edgetpu_list.refused(operator) == why


def test_what_falls_takes_all_that_follows_with_it():
    gelu = Operator("GELU", (INT8,), (INT8,))
    said = edgetpu_list.told([conv(), gelu, conv(), gelu])
    assert "of 4 operators of its int8 model 2 are not on Google's list (coral.ai/docs/" in said
    assert said.endswith(
        "2 GELU (not listed); the compiler parts a graph once, so the 3 from the first of them on do"
    )
    assert edgetpu_list.told([conv(), conv()]).startswith(
        "all 2 operators of its int8 model are on Google's list"
    )


class Code:
    builtinCode, deprecatedBuiltinCode = 3, 3


def test_a_tflite_model_is_read_by_its_schema(tmp_path, monkeypatch):
    tensors = [
        types.SimpleNamespace(type=9, shape=np.array(shape)) for shape in ((1, 1, 200, 128), (256, 1, 7, 128))
    ]
    options = types.SimpleNamespace(dilationWFactor=3, dilationHFactor=3)
    one = types.SimpleNamespace(opcodeIndex=0, inputs=[0, 1, -1], outputs=[0], builtinOptions=options)
    graph = types.SimpleNamespace(tensors=tensors, operators=[one])
    model = types.SimpleNamespace(operatorCodes=[Code], subgraphs=[graph])
    schema = types.SimpleNamespace(
        BuiltinOperator=types.SimpleNamespace(CONV_2D=3, ADD=0),
        TensorType=types.SimpleNamespace(FLOAT32=0, INT8=9),
        ModelT=types.SimpleNamespace(InitFromPackedBuf=lambda data, at: model),
    )
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.SimpleNamespace(schema_py_generated=schema))
    (tmp_path / "m.tflite").write_bytes(b"TFL3")
    (found,) = tflite.operators(tmp_path / "m.tflite")
    assert found.kind == "CONV_2D" and found.settings["dilationWFactor"] == 3
    assert found.inputs == (INT8, ("INT8", (256, 1, 7, 128))) and found.outputs == (INT8,)


@pytest.fixture
def no_edge_tpu(tmp_path, monkeypatch):
    """Its toolchain is this Python, and makes no model: two operators are handed in, one of them not listed."""
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "sitecustomize.py").write_text(
        "from lib.deploy import tflite\n"
        "tflite.quantized = lambda job: job.made('tflite-int8.tflite')\n"
        "one = ('INT8', (1, 8))\n"
        "tflite.operators = lambda path: [tflite.Operator(kind, (one,), (one,)) for kind in ('ADD', 'GELU')]\n"
    )
    path = [str(tmp_path), str(REPOSITORY), str(REPOSITORY / "tests")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    plain = Target("edgetpu/usb", missing=lambda: "no libedgetpu")
    monkeypatch.setitem(targets.TARGETS, "edgetpu/usb", plain)
    return results.Run("06_gpu_vs_npu", tmp_path / "quick")


def test_without_an_edge_tpu_its_row_says_which_operators_it_would_take(no_edge_tpu):
    deployment.compare(no_edge_tpu, [small_stage()], ["edgetpu/usb"])
    (said,) = results.read(no_edge_tpu.path).detail
    assert said.startswith("no libedgetpu; of 2 operators of its int8 model 1 are not on Google's list")
    assert "1 GELU (not listed)" in said


def test_without_its_toolchain_nothing_is_compiled_for_a_device_that_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    assert not deploy.builds("edgetpu/usb")
    given = job.Job(str(tmp_path), "edgetpu/usb", "int8")
    monkeypatch.setattr(tflite, "quantized", lambda of: of.made("tflite-int8.tflite"))
    monkeypatch.setattr(tflite, "operators", lambda path: [conv()])
    assert edgetpu.build(given) == {"said": edgetpu_list.told([conv()])}
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", types.SimpleNamespace(load_delegate=None))
    with pytest.raises(RuntimeError, match="edgetpu_compiler into .* first: all 1 operators"):
        edgetpu.load(given)


def test_they_are_targets_like_the_others(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    names = ["rknn/rk3588", "tpu-mlir/bm1684x"]
    assert set(names) <= set(deploy.known())
    assert all(deploy.precisions(name) == ("fp16", "int8") for name in names)
    assert "rknn-toolkit2==2.5.0 in a Python 3.12 or 3.11 of its own" in targets.find(names[0]).why_not()
    assert "in a Python 3.10 of its own (2000 MB)" in targets.find(names[1]).why_not()
    assert set(devices.present(names)["kind of its numbers"]) == {"simulated"}
