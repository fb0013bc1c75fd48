"""Graphs rewritten for ONNX Runtime's blocked kernels compute what the 1-D graphs do."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lib.graphs.convolutions import blocked
from lib.graphs.session import open as open_session
from lib.systems.vits_joe import stages


def test_the_decoder_of_the_voice_says_the_same_samples():
    graph = stages.stage_graphs()["decoder"]
    sessions = [open_session(g, 1) for g in (graph, blocked(graph))]
    for frames in (1, 7, 40):
        latents = np.random.default_rng(frames).standard_normal((1, 192, frames)).astype(np.float32)
        before, after = (s.run(None, {stages.LATENTS: latents})[0] for s in sessions)
        assert after.shape == before.shape
        assert np.abs(after - before).max() < 1e-6


@pytest.mark.parametrize(
    ("stride", "length", "before", "after"),
    [(8, 16, 4, 4), (2, 4, 1, 1), (4, 8, 2, 2), (3, 7, 2, 2), (5, 5, 0, 0), (2, 11, 4, 5)],
)
def test_transposed_convolutions_in_polyphase_form(stride, length, before, after):
    rng = np.random.default_rng(stride)
    weight, bias = (
        rng.standard_normal((16, 24, length)).astype(np.float32),
        rng.standard_normal(24).astype(np.float32),
    )
    node = helper.make_node(
        "ConvTranspose",
        ["x", "w", "b"],
        ["y"],
        strides=[stride],
        kernel_shape=[length],
        pads=[before, after],
        dilations=[1],
        group=1,
    )
    graph = _graph([node], {"w": weight, "b": bias})
    x = rng.standard_normal((2, 16, 9)).astype(np.float32)
    expected, found = (open_session(g, 1).run(None, {"x": x})[0] for g in (graph, blocked(graph)))
    assert found.shape == expected.shape == (2, 24, 9 * stride)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_division_moves_into_the_next_convolution():
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((16, 16, 3)).astype(np.float32),
        "b": np.ones(16, np.float32),
        "three": np.array(3, np.float32),
    }
    nodes = [
        helper.make_node("Add", ["x", "x"], ["sum"]),
        helper.make_node("Div", ["sum", "three"], ["mean"]),
        helper.make_node("LeakyRelu", ["mean"], ["bent"], alpha=0.1),
        helper.make_node(
            "Conv",
            ["bent", "w", "b"],
            ["y"],
            kernel_shape=[3],
            pads=[2, 2],
            strides=[1],
            dilations=[2],
            group=1,
        ),
    ]
    graph = _graph(nodes, weights)
    assert "Div" not in {n.op_type for n in onnx.load_from_string(blocked(graph)).graph.node}
    x = rng.standard_normal((1, 16, 20)).astype(np.float32)
    expected, found = (open_session(g, 1).run(None, {"x": x})[0] for g in (graph, blocked(graph)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_it_cannot_rewrite_it_names():
    with pytest.raises(ValueError, match="operator Softmax"):
        blocked(_graph([helper.make_node("Softmax", ["x"], ["y"])], {}))
    weights = {"three": np.array(3, np.float32)}
    with pytest.raises(ValueError, match="operator Tanh"):  # is not linear: the division cannot move on
        blocked(
            _graph(
                [helper.make_node("Div", ["x", "three"], ["z"]), helper.make_node("Tanh", ["z"], ["y"])],
                weights,
            )
        )


def _graph(nodes: list, weights: dict[str, np.ndarray]) -> bytes:
    shaped = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, None]) for name in ("x", "y")
    }
    graph = helper.make_graph(
        nodes, "test", [shaped["x"]], [shaped["y"]], [numpy_helper.from_array(v, k) for k, v in weights.items()]
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8
    ).SerializeToString()
