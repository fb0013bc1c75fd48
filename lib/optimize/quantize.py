"""Weights and products in fewer bits: which techniques are there, and on what does each of them work?

    int8-dynamic   weights int8, inputs quantized as they come: torch's Linear and recurrent layers, products of ONNX
                   graphs, all of a CTranslate2 model
    int8-static    ONNX graphs: scales set beforehand, on sentences that the system reads
    int8-weights, int4-weights, nf4, fp16-weights
                   stored in fewer bits, computed in single precision: a smaller download, as fast as before
    bf16           torch: products in bfloat16

Learning to bear 8 bits, before a graph gets them, is a technique of its own: `aware`.

All of them take a selection (`lib.optimize.selection`): stages, types, layers, skip. torch's own dynamic quantization
for x86 is deprecated in favour of torchao, whose int8 is slower than float on CPUs unless compiled; so it stays as long
as torch has it. Weights alone in 4 bit are our own `formats`: bitsandbytes computes with them, which costs a CPU more
time than single precision does (0.5-0.85 of the speed), and torchao's do not run on one.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lib import targets
from lib.errors import ParameterError, unknown
from lib.graphs import packing
from lib.optimize import calibration, formats, quantize_graphs, selection
from lib.optimize.formats import GROUP, Format
from lib.optimize.quantize_graphs import POINTWISE
from lib.optimize.variant import Technique
from lib.systems.model import Model

if TYPE_CHECKING:
    import torch

Strings = Sequence[str]

RECURRENT = ("LSTM", "GRU", "LSTMCell", "GRUCell")
# Technique -> (torch layers and operators of graphs that it can treat, which of both it does unless told otherwise).
TREATS = {
    "int8-dynamic": (("Linear", *RECURRENT), quantize_graphs.DYNAMIC, ("Linear", "MatMul", "Gemm", POINTWISE)),
    "int8-static": ((), quantize_graphs.STATIC, ("Conv", "MatMul", "Gemm")),
}
# Whose weights are stored in few bits.
STORED = ("Linear", "Conv1d", "Conv2d", "ConvTranspose1d", "Embedding", *RECURRENT)
STORED_GRAPH = ("Conv", "ConvTranspose", "MatMul", "Gemm", "Gather", "LSTM", "GRU")
# What bf16 leaves alone. A phase is an integral of the pitch: with that in bf16 copies by `hifigan` were seen at -1 to
# 5 dB. A duration is rounded to whole frames: with the encoder in bf16, `vits-joe` held every phone for another time.
FRAGILE = (
    "pitch/*",
    "vocoder.pitch/*",
    "duration_predictor/*",
    "text_encoder/*",
    "*duration_predictor*",
    "*pitch_pre*",
)


def int8_dynamic(
    system: Model,
    *,
    stages: Strings = (),
    types: Strings = (),
    layers: Strings = (),
    skip: Strings = (),
    per_channel: bool = True,
) -> None:
    """Quantize layers in place, by default every Linear, of graphs every product (convolutions of kernel 1 are some).

    per_channel: one scale per output channel of a Linear, not one for all.
    """
    if targets.find(system.target).runtime == "ctranslate2":
        from lib.systems.whisper import ctranslate2_weights

        _refuse_selection(system, stages, types, layers, skip)
        system.graphs["model"] = ctranslate2_weights.int8(system.graphs["model"])
        return
    chosen, graphs = _treated("int8-dynamic", system, stages=stages, types=types, layers=layers, skip=skip)
    _pack_int8(system, chosen, per_channel)
    for stage, names in graphs.items():
        system.graphs[stage] = quantize_graphs.dynamic(system.graphs[stage], names)


def _int8_dynamic_structure(system: Model, per_channel: bool = True, **chosen: Strings) -> None:
    names, _ = _treated("int8-dynamic", system, **chosen)
    _pack_int8(system, names, per_channel)


def int8_static(
    system: Model,
    *,
    sentences: Strings = (),
    stages: Strings = (),
    types: Strings = (),
    layers: Strings = (),
    skip: Strings = (),
    method: str = "minmax",
    percentile: float = 99.99,
    activations: str = "uint8",
    symmetric: bool = False,
    equalise: float = 0.0,
    reduce_range: bool = False,
    seed: int = 0,
) -> None:
    """Quantize the operators of a system's graphs with scales set beforehand, by default its convolutions and products.

    sentences: what it reads for that, texts or ids of `lib.corpora.gutenberg`; the others: of
    `quantize_graphs.static`. Quantized durations change the timing of all that follows: of `vits-joe`, take
    stages=["decoder"].
    """
    texts = calibration.texts(sentences)
    _, graphs = _treated("int8-static", system, stages=stages, types=types, layers=layers, skip=skip)
    seen = calibration.feeds(system, list(graphs), texts, seed=seed)
    for stage, names in graphs.items():
        system.graphs[stage] = quantize_graphs.static(
            system.graphs[stage],
            names,
            seen[stage],
            method=method,
            percentile=percentile,
            activations=activations,
            symmetric=symmetric,
            equalise=equalise,
            reduce_range=reduce_range,
        )


def weights(
    form: str,
    system: Model,
    *,
    stages: Strings = (),
    types: Strings = (),
    layers: Strings = (),
    skip: Strings = (),
    group: int = GROUP,
) -> None:
    """Round weights to what a format of few bits holds, and have them saved in it. group: weights that share a scale,
    0 for all of a row (graphs: always).
    """
    kept = formats.check(Format(form, group))
    chosen, graphs = _chosen(
        system,
        STORED,
        STORED_GRAPH if form == "int8" else (),
        stages=stages,
        types=types,
        layers=layers,
        skip=skip,
    )
    for name, weight in _weights(system, chosen):
        weight.data.copy_(formats.rounded(weight.data.cpu(), kept))
        system.packed = {**system.packed, name: kept}
    for stage, names in graphs.items():
        system.graphs[stage] = packing.int8(system.graphs[stage], names)


def fp16_weights(
    system: Model, *, stages: Strings = (), types: Strings = (), layers: Strings = (), skip: Strings = ()
) -> None:
    """Round weights to half precision, in which they are saved; they compute in single precision."""
    chosen, graphs = _chosen(system, STORED, STORED_GRAPH, stages=stages, types=types, layers=layers, skip=skip)
    for _, weight in _weights(system, chosen):
        weight.data.copy_(weight.data.half().float())
    for stage, names in graphs.items():
        system.graphs[stage] = packing.half(system.graphs[stage], names)


def bf16(
    system: Model, *, stages: Strings = (), types: Strings = (), layers: Strings = (), skip: Strings = ()
) -> None:
    """Let layers multiply in bfloat16, by default all but those that durations and pitch depend on."""
    from lib.optimize import bf16 as layers_of

    chosen = selection.layers(system, layers_of.KINDS, stages=stages, types=types, layers=layers, skip=skip)
    safe = [name for name in chosen if not selection.matches(name, FRAGILE)]
    if not safe:
        raise ParameterError(
            f"{', '.join(chosen[:3])}{'...' if len(chosen) > 3 else ''} of {system.name} stay in single precision: a "
            "phase is an integral of the pitch, and a duration is rounded, so bf16 there is heard; select other layers"
        )
    for name in safe:
        layers_of.turn(selection.layer(system, name))


def treated(technique: str, system: Model) -> dict[str, str]:
    """Name -> type of the layers and operators that a technique of this module takes by default; its arguments `layers`
    may name some of them. ParameterError for a technique that has no such choice.
    """
    if technique not in TREATS:
        raise unknown("technique with a choice of layers", technique, TREATS)
    _, graph_kinds, _ = TREATS[technique]
    chosen, graphs = _treated(technique, system)
    types = {name: type(layer).__name__ for name, layer in selection.weighted(system).items()}
    for stage, names in graphs.items():
        known = quantize_graphs.known(system.graphs[stage], graph_kinds)
        types |= {f"{stage}/{name}": known[name] for name in names}
        chosen += [f"{stage}/{name}" for name in names]
    return {name: types[name] for name in chosen}


def _treated(technique: str, system: Model, **wanted: Strings) -> tuple[list[str], dict[str, list[str]]]:
    """What a technique of `TREATS` takes of a selection, as `_chosen` has it."""
    kinds, graph_kinds, default = TREATS[technique]
    return _chosen(system, kinds, graph_kinds, default=default, **wanted)


def _chosen(
    system: Model,
    kinds: Strings,
    graph_kinds: Strings,
    *,
    types: Strings = (),
    default: Strings = (),
    **wanted: Strings,
) -> tuple[list[str], dict[str, list[str]]]:
    """(torch layers by their whole names, graph -> operators by their short ones) of a selection."""
    known = {name: type(layer).__name__ for name, layer in selection.weighted(system).items()} if kinds else {}
    for stage, graph in system.graphs.items() if graph_kinds and system.graph_suffix == ".onnx" else ():
        operators_of = quantize_graphs.known(graph, graph_kinds)
        known |= {f"{stage}/{name}": kind for name, kind in operators_of.items()}
    names = selection.select(
        known,
        (*kinds, *graph_kinds),
        [*system.modules, *system.graphs],
        f"{system.name} on {system.target}",
        types=types or default,
        **wanted,
    )
    graphs: dict[str, list[str]] = {}
    for name in names:
        stage, _, short = name.partition("/")
        if stage in system.graphs:
            graphs.setdefault(stage, []).append(short)
    return [name for name in names if name.partition("/")[0] in system.modules], graphs


def _weights(system: Model, names: Sequence[str]) -> "list[tuple[str, torch.nn.Parameter]]":
    """The weights, not the biases, of layers: (name in what is saved, parameter)."""
    return [
        (f"{name}{'' if name.endswith('/') else '.'}{own}", parameter)
        for name in names
        for own, parameter in selection.layer(system, name).named_parameters(recurse=False)
        if own.startswith("weight")
    ]


def _pack_int8(system: Model, names: Sequence[str], per_channel: bool) -> None:
    """Put torch's dynamically quantized layers in the place of others."""
    import torch

    of, quantization = torch.ao.nn.quantized.dynamic, torch.ao.quantization
    for name in names:
        layer = selection.layer(system, name)
        linear = per_channel and isinstance(layer, torch.nn.Linear)
        layer.qconfig = (
            quantization.per_channel_dynamic_qconfig if linear else quantization.default_dynamic_qconfig
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its deprecation: see above
            selection.replace(system, name, getattr(of, type(layer).__name__).from_float(layer).eval())


def _nothing(system: Model, **arguments: object) -> None:
    """The saved weights fit the base as it is."""


def _bf16_structure(system: Model, **chosen: Strings) -> None:
    bf16(system, **chosen)


def _refuse_selection(system: Model, *selections: Strings) -> None:
    if any(selections):
        raise ParameterError(f"a model of {system.target} is quantized as a whole: select nothing of it")


INT8_DYNAMIC = Technique("int8-dynamic", int8_dynamic, _int8_dynamic_structure)
INT8_STATIC = Technique("int8-static", int8_static, _nothing)
INT8_WEIGHTS = Technique("int8-weights", functools.partial(weights, "int8"), _nothing)
INT4_WEIGHTS = Technique("int4-weights", functools.partial(weights, "int4"), _nothing)
NF4 = Technique("nf4", functools.partial(weights, "nf4"), _nothing)
FP16_WEIGHTS = Technique("fp16-weights", fp16_weights, _nothing)
BF16 = Technique("bf16", bf16, _bf16_structure)
