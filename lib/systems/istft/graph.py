"""Which ONNX graphs are the networks of `istft`? Written node by node from a checkpoint's arrays, without torch.

    pitch   mel (F, 80)                                                       -> logits (F, bins)
    trunk   mel (F, 80), ahead (F, 80), magnitude (F, 513), octaves (F, 1)    -> real (F, 513), imaginary, gain

`trunk` holds the prior and the mel of the source, too, and ends in H and G themselves. Beside these each has an input
`<convolution>/past` for the frames that the convolution saw last, (kernel - 1, width), and gives them back as they are
after this chunk in `<convolution>/next`: zeros begin an utterance. Any number of frames goes through.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lib.features import HIFIGAN
from lib.files import content_key
from lib.systems.istft import tables
from lib.systems.istft.config import IstftConfig
from lib.systems.istft.tables import BINS, MEL_MEAN, MEL_SCALE, SOURCE_MEAN, SOURCE_SCALE

OPSET, IR = 20, 10
Weights = Mapping[str, np.ndarray]  # "<network>.<key>" -> array


def graphs(config: IstftConfig, weights: Weights) -> dict[str, bytes]:
    """Both, serialized, by name."""
    return {"pitch": pitch(config, weights), "trunk": trunk(config, weights)}


def pitch(config: IstftConfig, weights: Weights) -> bytes:
    """Which F0 does a mel show?"""
    graph = _Graph("pitch", weights)
    mel = graph.scaled(graph.input("mel", HIFIGAN.n_bands), MEL_MEAN, MEL_SCALE)
    hidden = _read(graph, mel, config.pitch_blocks)
    graph.output("logits", graph.linear(hidden, "output"), config.pitch_bins)
    return graph.serialized()


def reader(n_inputs: int, n_blocks: int, weights: Weights, properties: Mapping[str, str]) -> bytes:
    """Which mel do other features stand for? features (F, n_inputs) -> mel (F, 80), with the pasts of its convolutions.

    properties: kept in the graph's metadata.
    """
    graph = _Graph("reader", weights)
    hidden = _read(graph, graph.input("features", n_inputs), n_blocks)
    made = graph.linear(hidden, "output", MEL_SCALE, MEL_MEAN)
    graph.output("mel", made, HIFIGAN.n_bands)
    return graph.serialized(properties)


def trunk(config: IstftConfig, weights: Weights) -> bytes:
    """Which filters make this mel of the source?"""
    graph = _Graph("trunk", weights)
    mel, ahead = (graph.input(name, HIFIGAN.n_bands) for name in ("mel", "ahead"))
    magnitude, octaves = graph.input("magnitude", BINS), graph.input("octaves", 1)
    of_source = graph.node("MatMul", magnitude, graph.constant("filters", _filters()))
    floor = graph.constant("floor", np.float32(math.exp(tables.LOWEST_LOG)))
    of_source = graph.node("Log", graph.node("Max", of_source, floor))
    scaled = [graph.scaled(ahead, MEL_MEAN, MEL_SCALE), graph.scaled(of_source, SOURCE_MEAN, SOURCE_SCALE)]
    hidden = _read(graph, graph.node("Concat", *scaled, octaves, axis=1), config.blocks)
    # The prior is linear in (mel - mel of the source) and in the mel: one matrix.
    envelope, phase = tables.matrices()
    nothing = np.zeros_like(envelope)
    rows = np.vstack([np.hstack([envelope, phase, nothing]), np.hstack([nothing, nothing, envelope])])
    level = np.concatenate([np.zeros(2 * BINS), -tables.noise_level() * envelope.sum(0)])
    known = graph.node("Concat", graph.node("Sub", mel, of_source), mel, axis=1)
    prior = graph.node(
        "Gemm", known, graph.constant("prior", rows), graph.constant("level", level.astype(np.float32))
    )
    made = graph.node("Add", prior, graph.linear(hidden, "output"))  # (F, 3 * 513)
    log_h, angle, log_g = graph.split(made, 3, BINS)
    highest = graph.constant("highest", np.float32(tables.HIGHEST_LOG))
    gain, noise_gain = (graph.node("Exp", graph.node("Min", log, highest)) for log in (log_h, log_g))
    graph.output("real", graph.node("Mul", gain, graph.node("Cos", angle)), BINS)
    graph.output("imaginary", graph.node("Mul", gain, graph.node("Sin", angle)), BINS)
    graph.output("gain", noise_gain, BINS)
    return graph.serialized()


def _filters() -> np.ndarray:
    """(513, 80): the mel's own."""
    import torch

    from lib import features

    return features._filters(HIFIGAN, torch.device("cpu"), torch.float32).numpy()


def _read(graph: "_Graph", frames: str, n_blocks: int) -> str:
    """`network.Reader` up to its last norm: (F, n_inputs) -> (F, width)."""
    hidden = graph.convolution(frames, "input")
    for number in range(n_blocks):
        block = f"blocks.{number}"
        mixed = graph.norm(graph.convolution(hidden, f"{block}.depthwise"), f"{block}.norm")
        wide = graph.node("Gelu", graph.linear(mixed, f"{block}.expand"))
        scale = graph.weights[f"{graph.name}.{block}.scale"]
        hidden = graph.node("Add", hidden, graph.linear(wide, f"{block}.project", scale))
    return graph.norm(hidden, "norm")


class _Graph:
    """A graph while it grows; tensors are known by their names."""

    def __init__(self, name: str, weights: Weights):
        self.name, self.weights = name, weights
        self.nodes, self.inputs, self.outputs, self.constants = [], [], [], {}

    def constant(self, name: str, values: np.ndarray) -> str:
        """A table, which is no parameter of the network: its name begins with a slash."""
        self.constants[f"/{name}"] = values
        return f"/{name}"

    def weight(self, name: str, values: np.ndarray) -> str:
        self.constants[name] = np.ascontiguousarray(values, np.float32)
        return name

    def node(self, operator: str, *inputs: str, **attributes) -> str:
        """Append an operator of one output, and name it."""
        return self._append(operator, inputs, 1, attributes)[0]

    def split(self, tensor: str, n: int, width: int) -> list[str]:
        sizes = self.constant("sizes", np.full(n, width, np.int64))
        return self._append("Split", (tensor, sizes), n, {"axis": 1})

    def _append(self, operator: str, inputs: tuple[str, ...], n_outputs: int, attributes: dict) -> list[str]:
        from onnx import helper

        outputs = [f"/{operator}_{len(self.nodes)}_{k}" for k in range(n_outputs)]
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attributes))
        return outputs

    def input(self, name: str, width: int, rows: int | str = "frames") -> str:
        self.inputs.append((name, rows, width))
        return name

    def output(self, name: str, tensor: str, width: int, rows: int | str = "frames") -> None:
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        self.outputs.append((name, rows, width))

    def scaled(self, tensor: str, mean: float, scale: float) -> str:
        offset = self.constant(f"mean{mean}", np.float32(mean))
        return self.node(
            "Div", self.node("Sub", tensor, offset), self.constant(f"scale{scale}", np.float32(scale))
        )

    def norm(self, tensor: str, layer: str) -> str:
        weight, bias = (
            self.weight(f"{layer}.{kind}", self.weights[f"{self.name}.{layer}.{kind}"])
            for kind in ("weight", "bias")
        )
        return self.node("LayerNormalization", tensor, weight, bias, axis=-1, epsilon=1e-5)

    def linear(
        self, tensor: str, layer: str, scale: np.ndarray | float = 1.0, offset: np.ndarray | float = 0.0
    ) -> str:
        """A Linear; scale, offset: of its outputs."""
        weight, bias = (self.weights[f"{self.name}.{layer}.{kind}"] for kind in ("weight", "bias"))
        names = (
            self.weight(f"{layer}.weight", weight.T * scale),
            self.weight(f"{layer}.bias", bias * scale + offset),
        )
        return self.node("Gemm", tensor, *names)

    def convolution(self, frames: str, layer: str) -> str:
        """Over the past, (F, n_inputs) -> (F, width), and what is to be remembered of it."""
        kernel = self.weights[f"{self.name}.{layer}.weight"]  # (width, n_inputs / groups, k)
        width, n_inputs, k = kernel.shape
        depthwise = n_inputs == 1
        past = self.input(f"{layer}/past", width if depthwise else n_inputs, k - 1)
        joined = self.node("Concat", past, frames, axis=0)  # (k - 1 + F, n_inputs)
        begin = self.constant(f"from{k - 1}", np.array([-(k - 1)], np.int64))
        end, axis = (
            self.constant("end", np.array([2**62], np.int64)),
            self.constant("axis0", np.array([0], np.int64)),
        )
        following = self.node("Slice", joined, begin, end, axis)
        self.output(f"{layer}/next", following, width if depthwise else n_inputs, k - 1)
        around = self.constant("around", np.array([0, 2], np.int64))
        turned = self.node(
            "Unsqueeze", self.node("Transpose", joined, perm=[1, 0]), around
        )  # (1, n_inputs, 1, k-1+F)
        made = self.node(
            "Conv",
            turned,
            self.weight(f"{layer}.weight", kernel[:, :, None]),
            self.weight(f"{layer}.bias", self.weights[f"{self.name}.{layer}.bias"]),
            kernel_shape=[1, k],
            group=width if depthwise else 1,
        )
        return self.node("Transpose", self.node("Squeeze", made, around), perm=[1, 0])

    def serialized(self, properties: Mapping[str, str] | None = None) -> bytes:
        from onnx import TensorProto, helper, numpy_helper

        inputs, outputs = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, *shape in ends]
            for ends in (self.inputs, self.outputs)
        )
        constants = [numpy_helper.from_array(values, name) for name, values in self.constants.items()]
        graph = helper.make_graph(self.nodes, self.name, inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        heard = {"noise": content_key(tables.noise().tobytes())}  # beside it
        helper.set_model_props(model, heard | dict(properties or {}))
        return model.SerializeToString()
