"""Products in 8 bit with a floating point: the graph that GPUs are given rounds as it says, and computes nearly the
same.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from test_deploy import small_stage
from torch import nn

from lib import deploy
from lib.deploy import export, fp8, fp8_layers, job, stages

IN_PYTORCH = ("torch/cuda", "torch-compile/cuda", "cuda-graphs/cuda")


def answered(graph: bytes, feed: dict[str, np.ndarray]) -> np.ndarray:
    """By ONNX Runtime as the graph stands: its optimizer moves such numbers into operators that take none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(graph, options).run(None, feed)[0]


def rounded(values: np.ndarray) -> np.ndarray:
    return values.astype(ml_dtypes.float8_e4m3fn).astype(np.float32)


def graph_of(*nodes: onnx.NodeProto, weights: dict[str, np.ndarray], features: int) -> bytes:
    """x (4, 8) -> y (4, features)."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4, f]) for n, f in (("x", 8), ("y", features))]
    tensors = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph(list(nodes), "made", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


@pytest.mark.parametrize("kind, transposed", [("MatMul", False), ("Gemm", False), ("Gemm", True)])
def test_a_product_is_of_numbers_rounded_by_the_largest_of_each_tensor_and_channel(kind, transposed):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((8, 3)).astype(np.float32) * np.float32([1, 100, 0.01])  # a scale each
    given = weights.T.copy() if transposed else weights
    node = helper.make_node(kind, ["x", "w"], ["y"], "product", **({"transB": 1} if transposed else {}))
    x = rng.standard_normal((4, 8)).astype(np.float32)
    made = fp8.quantized(graph_of(node, weights={"w": given}, features=3), [{"x": x}])
    scale, scales = np.abs(x).max() / 448, np.abs(weights).max(0) / 448
    wanted = (rounded(x / np.float32(scale)) * scale) @ (rounded(weights / scales) * scales)
    for got in (answered(made, {"x": x}), ReferenceEvaluator(onnx.load_from_string(made)).run(None, {"x": x})[0]):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max(0).min())
    kept = {t.name: t for t in onnx.load_from_string(made).graph.initializer}
    assert "w" not in kept and kept["w_0_fp8" if transposed else "w_1_fp8"].data_type == TensorProto.FLOAT8E4M3FN
    assert export.snr_db(x @ weights, wanted) > 25


def test_what_two_products_read_is_rounded_once_and_two_activations_are_left():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "one"),
        helper.make_node("MatMul", ["x", "w"], ["b"], "other"),
        helper.make_node("Transpose", ["b"], ["c"], perm=[1, 0]),
        helper.make_node("MatMul", ["a", "c"], ["y"], "attention"),
    ]
    x = np.eye(4, 8, dtype=np.float32)
    made = fp8.quantized(graph_of(*nodes, weights={"w": np.eye(8, dtype=np.float32)}, features=4), [{"x": x}])
    kinds = [node.op_type for node in onnx.load_from_string(made).graph.node]
    assert kinds == ["QuantizeLinear", *["DequantizeLinear"] * 2, "MatMul", "MatMul", "Transpose", "MatMul"]
    np.testing.assert_array_equal(answered(made, {"x": x}), np.eye(4))


def test_a_stage_computes_nearly_the_same(tmp_path):
    stage = small_stage(2)
    folder = export.write(stage, tmp_path, ["plain.onnx"])
    made = fp8.graph(job.Job(str(folder), "tensorrt/cuda", "fp8"))
    assert (folder / "fp8.onnx").read_bytes() == made
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    nodes = onnx.load_from_string(made).graph.node
    source = {output: node.op_type for node in nodes for output in node.output}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert len(convolutions) == 4
    assert all([source[name] for name in node.input[:2]] == ["DequantizeLinear"] * 2 for node in convolutions)
    snr = export.snr_db(export.expected(folder)[0], answered(made, {"input_0": stage.inputs[0]}))
    assert 15 < snr < 60


def test_a_gpu_before_ada_says_why_it_is_not_run(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for capability, there in (((8, 0), False), ((8, 6), False), ((8, 9), True), ((9, 0), True), ((12, 0), True)):
        monkeypatch.setattr("torch.cuda.get_device_capability", lambda own=capability: own)
        for target in ("tensorrt/cuda", *IN_PYTORCH):
            why = deploy.why_not(target, "fp8") or ""
            assert ("fp8 needs compute capability 8.9" in why) is not there
            assert "8.9" not in (deploy.why_not(target, "bf16") or "")


def test_tensorrt_proper_builds_nothing_without_a_gpu(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())  # as if both were installed
    assert not deploy.builds("tensorrt/cuda") and deploy.builds("tensorrt-rtx/cuda")
    assert {"int8", "fp8"} <= set(deploy.precisions("tensorrt/cuda")) & set(deploy.precisions("tensorrt-rtx/cuda"))


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_layer_is_the_product_of_what_is_rounded_by_the_largest_of_inputs_and_weights(bias):
    torch.manual_seed(0)
    plain, x = nn.Linear(32, 48, bias=bias), torch.randn(2, 7, 32)
    made = fp8_layers.Fp8Linear(plain, 2.0)(x)  # of inputs, some of which are larger
    assert made.dtype == torch.bfloat16 and made.shape == (2, 7, 48)
    weight = plain.weight.detach().numpy()
    scale = np.float32(np.abs(weight).max() / 448)
    given = rounded(x.clamp(-2, 2).numpy() / np.float32(2 / 448)) * np.float32(2 / 448)
    wanted = given @ (rounded(weight / scale) * scale).T + (plain.bias.detach().numpy() if bias else 0)
    assert x.abs().max() > 2
    np.testing.assert_allclose(made.float(), wanted, atol=0.01)  # outputs, up to 2.5, and biases have 8 bits
    assert 20 < export.snr_db(plain(x.clamp(-2, 2)).detach().numpy(), made.float().numpy()) < 40


def test_layers_of_other_sizes_convolutions_and_what_is_not_called_stay():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.first, self.odd = nn.Conv1d(16, 16, 1), nn.Linear(16, 32), nn.Linear(32, 17)
            self.unused = nn.Linear(16, 16)

        def forward(self, x):  # (1, F, 16) -> (1, F, 17)
            return self.odd(self.first(self.conv(x.mT).mT))

    network, x = Network(), torch.zeros(1, 5, 16)
    assert fp8_layers.replace(network, [[x], [x]]) == {"in_fp8": 1, "in_bf16": 1}
    kinds = [type(layer) for layer in network.children()]
    assert kinds == [nn.Conv1d, fp8_layers.Fp8Linear, nn.Linear, nn.Linear]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(x).isfinite().all(), "of inputs that are all 0"
    with pytest.raises(RuntimeError, match="sizes are multiples of 16, and this network has none"):
        fp8_layers.replace(nn.Linear(16, 17), [[x]])


# SNR in dB against single precision is between these; bf16 alone has from 33 to 51.
@pytest.mark.parametrize(
    "label, in_fp8, in_bf16, snr",
    [
        ("hifigan/generator", 12, 0, (15, 30)),
        ("istft/trunk", 12, 1, (32, 48)),  # its outputs are 1,539
        ("fastspeech2/decoder", 34, 0, (24, 40)),
        ("whisper-tiny.en/encoder", 24, 0, (18, 35)),
    ],
)
def test_a_stage_s_linear_layers_compute_nearly_the_same(label, in_fp8, in_bf16, snr, tmp_path):
    stage = stages.build(label, 64, texts=["How are you?"], calibration=["A quick brown fox.", "It is cold."])
    folder = export.write(stage, tmp_path, ["network.pt"])
    loaded = deploy.runtime("torch/cpu").load(job.Job(str(folder), "torch/cpu", "fp8", threads=1))
    assert loaded.detail == {"in_fp8": in_fp8, "in_bf16": in_bf16}
    (made,) = loaded.run(stage.inputs)
    assert snr[0] < export.snr_db(export.expected(folder)[0], made) < snr[1]


def test_a_stage_of_convolutions_alone_is_refused_in_pytorch(tmp_path):
    folder = export.write(small_stage(2), tmp_path, ["network.pt"])
    with pytest.raises(RuntimeError, match="fp8 in PyTorch is for linear layers"):
        deploy.runtime("torch/cpu").load(job.Job(str(folder), "torch/cpu", "fp8", threads=1))


@pytest.mark.parametrize("target", IN_PYTORCH)
def test_pytorch_s_gpus_have_it_processors_do_not(target, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "fp8" in deploy.precisions(target) and "take a machine with an NVIDIA GPU" in deploy.why_not(target, "fp8")
    assert "fp8" not in deploy.precisions("torch/cpu") + deploy.precisions("torch-compile/cpu")
