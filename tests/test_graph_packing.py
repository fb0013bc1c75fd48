"""Graphs with weights of fewer bytes, and products in another form, say what they said before."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lib.errors import ParameterError
from lib.graphs import channels, cut, operators, packing, products
from lib.optimize import quantize_graphs

RNG = np.random.default_rng(0)
WEIGHTS = {
    "pre.weight": RNG.normal(size=(24, 8, 3)),
    "pre.bias": RNG.normal(size=24),
    "point.weight": RNG.normal(size=(16, 24, 1)),
    "point.bias": RNG.normal(size=16),
    "up.weight": RNG.normal(size=(16, 8, 4)),
    "gemm.weight": RNG.normal(size=(12, 8)),
    "gemm.bias": RNG.normal(size=12),
    "last.weight": RNG.normal(size=(12, 4)),
}
CONVS = ["pre", "stage/point", "up"]


@pytest.fixture(scope="module")
def graph():
    """Conv, pointwise Conv, LeakyRelu, ConvTranspose, Gemm with a turned weight, MatMul; some operators unnamed."""
    nodes = [
        helper.make_node("Conv", ["x", "pre.weight", "pre.bias"], ["a"], kernel_shape=[3], pads=[1, 1]),
        helper.make_node("LeakyRelu", ["a"], ["b"], alpha=0.1),
        helper.make_node("Conv", ["b", "point.weight", "point.bias"], ["c"], "/stage/point", kernel_shape=[1]),
        helper.make_node(
            "ConvTranspose", ["c", "up.weight"], ["d"], kernel_shape=[4], strides=[2], pads=[1, 1]
        ),
        helper.make_node("ReduceMean", ["d", "axes"], ["e"], keepdims=0),
        helper.make_node("Gemm", ["e", "gemm.weight", "gemm.bias"], ["f"], transB=1),
        helper.make_node("MatMul", ["f", "last.weight"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 8, "n"]), ("y", [1, 4]))
    ]
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in WEIGHTS.items()]
    constants.append(numpy_helper.from_array(np.array([2]), "axes"))
    made = helper.make_graph(nodes, "small", ends[:1], ends[1:], constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return model.SerializeToString()


def answer(graph, feed):
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def said(graph):
    return answer(graph, {"x": np.random.default_rng(0).normal(size=(1, 8, 40)).astype(np.float32)})


def snr(reference, other):
    return 10 * np.log10(np.sum(reference**2) / np.sum((reference - other) ** 2))


def test_operators_are_known_by_their_weights(graph):
    known = operators.weighted(graph)
    assert {name: o.type for name, o in known.items()} == {
        "pre": "Conv",
        "stage/point": "Conv",
        "up": "ConvTranspose",
        "gemm": "Gemm",
        "last": "MatMul",
    }
    assert {o.stored for o in known.values()} == {"float32"} and known["pre"].n_bytes == 24 * 8 * 3 * 4


def test_half_precision_is_half_the_bytes_and_runs_as_before(graph):
    small = packing.half(graph, ["pre", "gemm"])
    stored = {name: (o.stored, o.n_bytes) for name, o in operators.weighted(small).items()}
    assert stored["pre"] == ("float16", 24 * 8 * 3 * 2) and stored["gemm"] == ("float16", 12 * 8 * 2)
    assert stored["up"][0] == "float32"
    assert snr(said(graph), said(small)) > 55
    assert operators.runs_as(small) == operators.runs_as(graph)  # unpacked when it is opened
    assert np.array_equal(said(packing.unpacked(small)), said(small))


def test_eight_bit_weights_have_a_scale_for_each_output_channel(graph):
    small = packing.int8(graph, ["pre", "up", "gemm", "last"])
    tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(small).graph.initializer}
    for name, axis in (("pre", 0), ("up", 1), ("gemm", 0), ("last", 1)):
        codes, scales = tensors[f"{name}.weight{packing.PACKED}"], tensors[f"{name}.weight{packing.SCALES}"]
        weight = WEIGHTS[f"{name}.weight"].astype(np.float32)
        others = tuple(i for i in range(weight.ndim) if i != axis)
        assert codes.dtype == np.int8 and (np.abs(codes).max(axis=others) == 127).all()
        assert np.array_equal(scales.squeeze(), np.abs(weight).max(axis=others) / np.float32(127))
        assert np.abs(codes * scales - weight).max() <= scales.max() / 2 * 1.001
    assert snr(said(graph), said(small)) > 35
    assert np.array_equal(said(packing.unpacked(small)), said(small))
    assert packing.unpacked(graph) == graph


def test_products_are_the_same_in_another_form(graph):
    assert products.pointwise(graph) == ["stage/point"]
    turned = products.of_pointwise(products.of_gemm(graph, ["gemm"]), ["stage/point", "pre"])
    kinds = {name: o.type for name, o in operators.weighted(turned).items()}
    assert kinds == {
        "pre": "Conv",
        "stage/point": "MatMul",
        "up": "ConvTranspose",
        "gemm": "MatMul",
        "last": "MatMul",
    }
    assert np.abs(said(turned) - said(graph)).max() < 1e-4


def test_dynamic_quantization_treats_what_was_chosen_and_nothing_else(graph):
    small = quantize_graphs.dynamic(graph, ["stage/point", "gemm"])
    stored = {name: (o.type, o.stored) for name, o in operators.weighted(small).items()}
    assert stored["stage/point"] == ("MatMulInteger", "int8") and stored["gemm"] == ("MatMulInteger", "int8")
    assert {stored[name][1] for name in ("pre", "up", "last")} == {"float32"}
    assert snr(said(graph), said(small)) > 25


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_static_quantization_runs_in_integers(graph, method, activations, tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    rng = np.random.default_rng(1)
    seen = [{"x": rng.normal(size=(1, 8, 40)).astype(np.float32)} for _ in range(4)]
    small = quantize_graphs.static(graph, ["pre", "stage/point"], seen, method=method, activations=activations)
    stored = {name: o.stored for name, o in operators.weighted(small).items()}
    assert stored == {
        "pre": "int8",
        "stage/point": "int8",
        "up": "float32",
        "gemm": "float32",
        "last": "float32",
    }
    assert snr(said(graph), said(small)) > 12
    if activations == "uint8":
        assert operators.runs_as(small)["QLinearConv"] == 2
    assert len(list((tmp_path / "calibration").iterdir())) == 1  # ranges are kept
    again = quantize_graphs.static(graph, ["pre"], seen, method=method, activations=activations)
    assert len(list((tmp_path / "calibration").iterdir())) == 1 and again != small


def test_channels_in_one_range_change_nothing_until_they_are_quantized(graph, tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    rng, loud = np.random.default_rng(1), np.ones((1, 8, 1), np.float32)
    loud[:, :2] = 30  # two channels are 30 times as loud as the others
    seen = [{"x": loud * rng.normal(size=(1, 8, 40)).astype(np.float32)} for _ in range(4)]
    largest = channels.largest(graph, ["pre"], seen)
    assert largest.keys() == {"x"} and largest["x"] == pytest.approx(
        np.max([np.abs(feed["x"]).max(axis=(0, 2)) for feed in seen], axis=0)
    )
    equal = channels.equalised(graph, ["pre"], largest, 1.0)
    reference = answer(graph, seen[0])
    assert np.abs(answer(equal, seen[0]) - reference).max() < 1e-3 * np.abs(reference).max()
    equal_range = channels.largest(equal, ["pre"], seen)[f"pre{channels.MARK}"]
    assert equal_range == pytest.approx(equal_range.mean())
    # Quiet channels alone are heard here; with one scale for all of them they drown.
    quiet = {"x": np.where(loud > 1, 0, seen[0]["x"])}
    small = {s: quantize_graphs.static(graph, ["pre"], seen, equalise=s) for s in (0.0, 0.5)}
    plain, better = (snr(answer(graph, quiet), answer(small[s], quiet)) for s in (0.0, 0.5))
    assert better > plain + 2
    kinds = [node.op_type for node in onnx.load_from_string(small[0.5]).graph.node]
    assert "Mul" not in kinds  # the divisions are part of the quantizers
    with pytest.raises(ParameterError, match="equalise is 2"):
        quantize_graphs.static(graph, ["pre"], seen, equalise=2)


def test_parameters_are_those_of_layers_however_few_their_bits():
    """Neither scales nor constants of a rewriting ("/filters") are any; matrices of a graph published in 8 bits are."""

    def held(**tensors):
        values = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
        return helper.make_model(helper.make_graph([], "held", [], [], values)).SerializeToString()

    weight, level = np.ones((4, 8), np.float32), np.ones(9, np.float32)
    assert cut.parameters(held(**{"a.weight": weight, "/level": level, "/a/Shape_output_0": level})) == 32
    eight = {
        "a.weight_quantized": weight.astype(np.int8),
        "a.weight_scale": level,
        "a.weight_zero_point": level,
    }
    assert cut.parameters(held(**eight, **{"/filters_quantized": weight.astype(np.int8)})) == 32
    packed = {"a.weight#int8": weight.astype(np.int8), "a.weight#scales": level}
    assert cut.parameters(held(**packed, **{"/filters#half": weight.astype(np.float16)})) == 32
    assert cut.parameters(held(**{"/Transpose_2_output_0_quantized": weight.astype(np.int8)})) == 32
