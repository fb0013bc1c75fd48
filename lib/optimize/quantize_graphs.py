"""How does an ONNX graph compute in 8 bit? With scales that were set before (static) or that are found on the way
(dynamic).

Both are ONNX Runtime's own quantizer; what is chosen here is which operators it treats, and a form in which it can:

- static: QuantizeLinear and DequantizeLinear around the operators chosen, one scale per output channel of weights,
  one per tensor of activations; ONNX Runtime fuses them into integer convolutions when it opens the graph;
- dynamic: products alone, because its integer convolutions of that kind are slower than those in single precision. A
  convolution that sees one sample at a time is a product, and becomes one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lib.errors import ParameterError, require, unknown
from lib.graphs import channels, lookups, operators, products
from lib.optimize import calibration
from lib.optimize.calibration import Feeds

POINTWISE = "PointwiseConv"  # in selections: a Conv of kernel 1, which dynamic quantization treats as a product
DYNAMIC = ("MatMul", "Gemm", POINTWISE, "Conv", "LSTM")
STATIC = ("Conv", "MatMul", "Gemm", "ConvTranspose", "LeakyRelu", "Relu", "Sigmoid", "Add", "Mul", "Concat")
ACTIVATIONS = {"uint8": "QUInt8", "int8": "QInt8"}
Range = tuple[float, float]  # the least and the largest value of a tensor


def known(graph: bytes, kinds: Collection[str]) -> dict[str, str]:
    """The operators that quantization may choose from, by `operators.short` name: those with float weights, those of
    `kinds` that have none; pointwise convolutions as such where `kinds` tells them apart.
    """
    import onnx

    model = onnx.load_from_string(graph)
    operators.named(model)
    weighted = {name: o for name, o in operators.weighted(graph).items() if o.stored == "float32"}
    types = {operators.short(node.name): node.op_type for node in model.graph.node}
    pointwise = set(products.pointwise(graph)) if POINTWISE in kinds else set()
    return {
        name: POINTWISE if name in pointwise else kind
        for name, kind in types.items()
        if name in weighted or (kind in kinds and kind not in operators.WEIGHTS)
    }


def dynamic(graph: bytes, chosen: Collection[str]) -> bytes:
    """A serialized graph in which the operators of these (`operators.short`) names are products in 8 bit, weights now
    (one scale per output channel), activations as they come.
    """
    quantization = require("onnxruntime.quantization", "onnxruntime==1.31.1")
    graph = products.of_pointwise(products.of_gemm(graph, chosen), chosen)
    convolutions = [n for n, o in operators.weighted(graph).items() if o.type == "Conv" and n in chosen]
    for names, options in (
        (set(chosen) - set(convolutions), {"per_channel": True, "weight_type": quantization.QuantType.QInt8}),
        (
            set(convolutions),
            {"weight_type": quantization.QuantType.QUInt8},
        ),  # ConvInteger has no kernel for int8
    ):
        if names:
            with _files(graph) as (before, after, full):
                quantization.quantize_dynamic(before, after, nodes_to_quantize=full(names), **options)
                graph = after.read_bytes()
    return lookups.in_whole_numbers(graph)


def static(
    graph: bytes,
    chosen: Collection[str],
    seen: Feeds,
    *,
    method: str = "minmax",
    percentile: float = 99.99,
    activations: str = "uint8",
    symmetric: bool = False,
    equalise: float = 0.0,
    reduce_range: bool = False,
    biases: bool = True,
) -> bytes:
    """A serialized graph in which the operators of these names compute in 8 bit with fixed scales.

    seen: what went into it (`calibration.feeds`); method, percentile: of `calibration.ranges`; activations: "uint8" or
    "int8"; symmetric: whether their zero is 0; equalise: how far the channels that a convolution reads are brought
    into one range first (SmoothQuant's scaling: `lib.graphs.channels`), 0 for not at all; reduce_range: weights in
    7 bit, for processors without VNNI, whose sums of two products may overflow; biases: whether they become whole
    numbers of 32 bit, which not every runtime reads.
    """
    if activations not in ACTIVATIONS:
        raise unknown("type of activations", activations, ACTIVATIONS)
    if not 0 <= equalise <= 1:
        raise ParameterError(f"equalise is {equalise}: give a number from 0 (not at all) to 1")
    graph = _named(graph)
    if equalise:
        graph = channels.equalised(graph, chosen, channels.largest(graph, chosen, seen), equalise)
    ranges = calibration.ranges(graph, seen, method, percentile=percentile)
    quantized = _statically(graph, chosen, ranges, method, activations, symmetric, reduce_range, biases)
    return channels.folded(quantized) if equalise else quantized


def with_ranges(graph: bytes, ranges: Mapping[str, tuple[Range, Range]]) -> bytes:
    """A serialized graph whose convolutions of these weights compute in 8 bit with ranges that are known.

    ranges: name of the weights -> of what the convolution reads, and of what it makes. Those that read one tensor must
    give it one range.
    """
    import onnx

    graph = _named(graph)
    tensors: dict[str, Range] = {}
    chosen = []
    for node in onnx.load_from_string(graph).graph.node:
        if node.op_type == "Conv" and node.input[1] in ranges:
            chosen.append(operators.short(node.name))
            for tensor, own in zip((node.input[0], node.output[0]), ranges[node.input[1]]):
                if tensors.setdefault(tensor, own) != own:
                    raise ParameterError(
                        f"{tensor} would have two ranges, {tensors[tensor]} and {own}: let those that read it share one"
                    )
    if len(chosen) != len(ranges):
        raise ParameterError(
            f"of {len(ranges)} weights with known ranges the graph has {len(chosen)} convolutions"
        )
    return _statically(graph, chosen, calibration.told(tensors))


def _statically(
    graph: bytes,
    chosen: Collection[str],
    ranges: Path,
    method: str = "minmax",
    activations: str = "uint8",
    symmetric: bool = False,
    reduce_range: bool = False,
    biases: bool = True,
) -> bytes:
    """ONNX Runtime's quantizer on a named graph. ranges: file with the range of every tensor that it asks for."""
    quantization = require("onnxruntime.quantization", "onnxruntime==1.31.1")
    with _files(graph) as (before, after, full):
        quantization.quantize_static(
            before,
            after,
            None,
            calibration_cache_path=ranges,
            quant_format=quantization.QuantFormat.QDQ,
            calibrate_method=getattr(quantization.CalibrationMethod, calibration.METHODS[method]),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=getattr(quantization.QuantType, ACTIVATIONS[activations]),
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=full(chosen),
            extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": biases},
        )
        return after.read_bytes()


def _named(graph: bytes) -> bytes:
    """The graph with a name for every operator."""
    import onnx

    model = onnx.load_from_string(graph)
    operators.named(model)
    return model.SerializeToString()


@contextmanager
def _files(graph: bytes) -> Iterator[tuple]:
    """(file with the graph, all of it named; file for the result; short names -> names in it), quietly."""
    import onnx

    model = onnx.load_from_string(_named(graph))
    names: dict[str, list[str]] = {}
    for node in model.graph.node:
        names.setdefault(operators.short(node.name), []).append(node.name)
    with tempfile.TemporaryDirectory() as folder, calibration.quietly():
        before, after = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        before.write_bytes(model.SerializeToString())
        yield before, after, lambda chosen: [full for name in chosen for full in names.get(name, ())]
