"""How does a stage become a TFLite model of whole numbers? By litert-torch and ai-edge-quantizer, for every NPU that
reads TFLite.

Runs in the Python of a toolchain that has both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lib.deploy.job import Arrays, Job


RECIPES = {"int8": "static_wi8_ai8", "a16w8": "static_wi8_ai16"}  # precision -> recipe of ai-edge-quantizer


def quantized(job: Job) -> Path:
    """The model with 8-bit weights and 8- or 16-bit activations, scales set on the job's calibration; made once for all
    devices.
    """
    path = job.made(f"tflite-{job.precision}.tflite")
    if path.exists():
        return path
    from ai_edge_quantizer import quantizer, recipe

    plain = _plain(job)
    made = quantizer.Quantizer(str(plain), getattr(recipe, RECIPES[job.precision])())
    name, ends = _signature(plain)
    data = {name: [dict(zip(ends, arrays)) for arrays in job.calibration()]}
    result = made.quantize(made.calibrate(data))
    temporary = job.work() / "quantized.tflite"
    result.export_model(str(temporary), overwrite=True)
    temporary.replace(path)
    return path


@dataclass(frozen=True)
class Operator:
    """Of a TFLite model. inputs, outputs: (type, shape) of each of its tensors, "INT8", (1, 1, 200, 128); settings: of
    its kind, as TFLite's schema calls them ("dilationWFactor").
    """

    kind: str  # "CONV_2D"
    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


def operators(path: Path) -> list[Operator]:
    """Those of a model, in the order in which they are computed."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    kinds, types = (_names(of) for of in (schema.BuiltinOperator, schema.TensorType))
    (graph,) = model.subgraphs

    def tensors(numbers) -> tuple:
        used = [
            graph.tensors[number] for number in numbers if number >= 0
        ]  # -1: one that may be left out, and is
        return tuple((types[t.type], tuple(map(int, t.shape if t.shape is not None else ()))) for t in used)

    return [
        Operator(
            kinds[max(code.builtinCode, code.deprecatedBuiltinCode)],
            tensors(one.inputs),
            tensors(one.outputs),
            dict(vars(one.builtinOptions)) if one.builtinOptions else {},
        )
        for one in graph.operators
        for code in (model.operatorCodes[one.opcodeIndex],)
    ]


def _names(of: type) -> dict[int, str]:
    """number -> name of an enumeration of the schema."""
    return {number: name for name, number in vars(of).items() if name.isupper()}


def in_order(names: Iterable[str]) -> list[str]:
    """The ends of a model as its network has them.

    >>> in_order(["args_10", "args_2", "args_0"])
    ['args_0', 'args_2', 'args_10']
    """
    return sorted(names, key=lambda name: (len(name), name))


def runner(path: Path, threads: int = 1, delegates: tuple = ()):
    """inputs -> outputs, on TFLite's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    opened = Interpreter(str(path), num_threads=threads, experimental_delegates=list(delegates) or None)
    signature = opened.get_signature_runner()
    given, made = signature.get_input_details(), signature.get_output_details()

    def run(inputs) -> Arrays:
        answer = signature(**{name: _whole(value, given[name]) for name, value in zip(in_order(given), inputs)})
        return [_real(answer[name], made[name]) for name in in_order(made)]

    return run


def _whole(values: np.ndarray, end: dict) -> np.ndarray:
    """As a quantized input wants it; what wants floats gets them."""
    scale, zero = end["quantization"]
    if not scale:
        return values
    limits = np.iinfo(end["dtype"])
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(end["dtype"])


def _real(values: np.ndarray, end: dict) -> np.ndarray:
    scale, zero = end["quantization"]
    return ((values.astype(np.float32) - zero) * scale).astype(np.float32) if scale else values


def _plain(job: Job) -> Path:
    import litert_torch
    import torch

    path = job.made("tflite-fp32.tflite")
    if not path.exists():
        program = torch.export.load(job.form("npu.pt2"))
        network, inputs = program.module(), tuple(map(torch.from_numpy, job.inputs()))
        temporary = job.work() / "fp32.tflite"
        made = litert_torch.convert(network, inputs, strict_export=False, dynamic_shapes=_left_open(program))
        made.export(str(temporary))
        temporary.replace(path)
    return path


def _left_open(program) -> tuple[dict, ...] | None:
    """Axes of no fixed length, for each input; None where every length is fixed, as it is for whatever shall run."""
    import torch

    ends = [n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs]
    axes = [[a for a, size in enumerate(n.meta["val"].shape) if not isinstance(size, int)] for n in ends]
    return tuple(dict.fromkeys(one, torch.export.Dim.AUTO) for one in axes) if any(axes) else None


def _signature(path: Path) -> tuple[str, list[str]]:
    from ai_edge_litert.interpreter import Interpreter

    opened = Interpreter(str(path))
    ((name, ends),) = opened.get_signature_list().items()
    return name, in_order(ends["inputs"])
