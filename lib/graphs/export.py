"""How does a torch network become an ONNX graph that any process can run, and that is the same bytes each time it is
made?

By tracing. torch's other exporter (`dynamo=True`) gives graphs as good, but reasons about every shape in symbols: for
the encoder of the small `speecht5` it took 104 s where tracing took 3, on the same busy machine, and graphs are made
when a system is first loaded. What tracing cannot see, a length that it took for a constant, tests of other lengths
show.

Operators are called after the layers they come from ("layers.0/fc1/MatMul"), matrices likewise, and nothing of the
place where it was made is left.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib.files import cache_folder, content_key, write_atomic
from lib.graphs import operators
from lib.target import versions

if TYPE_CHECKING:
    import onnx
    import torch

OPSET = 20


def export(
    network: "torch.nn.Module",
    inputs: "Mapping[str, torch.Tensor]",
    outputs: Sequence[str],
    lengths: Mapping[str, Mapping[int, str]],
) -> bytes:
    """A network in evaluation, serialized.

    inputs: an example of each argument of its `forward`, by name; outputs: their names; lengths: input -> axis -> name
    of the dimension that may have any length.
    """
    import onnx
    import torch

    class Named(torch.nn.Module):
        """The network with its inputs in their order: tracing knows no names."""

        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, *values: torch.Tensor):
            return self.network(**dict(zip(inputs, values)))

    buffer, talking = io.BytesIO(), logging.getLogger("torch.onnx")
    level = talking.level
    talking.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of sizes that become constants
            torch.onnx.export(
                Named().eval(),
                tuple(inputs.values()),
                buffer,
                dynamo=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: dict(axes) for name, axes in lengths.items()},
            )
    finally:
        talking.setLevel(level)
    model = onnx.load_from_string(buffer.getvalue())
    for value, name in zip(model.graph.output, outputs):
        if value.name != name:  # a constant, whose name tracing forgets
            model.graph.node.append(onnx.helper.make_node("Identity", [value.name], [name], f"/network/{name}"))
            value.name = name
    _settle_constants(model)
    _name(model)
    return model.SerializeToString(deterministic=True)


def kept(
    name: str, stages: Sequence[str], sources: Iterable[Path], make: Callable[[], Mapping[str, bytes]]
) -> dict[str, bytes]:
    """The graphs of some stages, from the cache where they lie there, else made and put there.

    sources: the files that decide what they are, weights and code; versions of what writes them count, too.
    """
    written_by = versions(("torch", "transformers", "onnx"))
    own = (Path(__file__), Path(__file__).with_name("layers.py"))
    contents = (Path(path).read_bytes() for path in (*sources, *own))
    key = content_key(name, written_by, *contents)
    places = {stage: cache_folder("graphs", f"{name}-{key}-{stage}.onnx") for stage in stages}
    if not all(path.is_file() for path in places.values()):
        for stage, made in make().items():
            write_atomic(places[stage], made)
    return {stage: path.read_bytes() for stage, path in places.items()}


def _settle_constants(model: "onnx.ModelProto") -> None:
    """Constants among the weights, which quantizers and rewriters know, instead of among the operators."""
    ends = {value.name for value in model.graph.output}
    constants = [n for n in model.graph.node if n.op_type == "Constant" and n.output[0] not in ends]
    for node in constants:
        (value,) = (attribute.t for attribute in node.attribute if attribute.name == "value")
        value.name = node.output[0] if node.output[0].startswith("/") else f"/{node.output[0]}"
        model.graph.initializer.append(value)
        model.graph.node.remove(node)
        for other in model.graph.node:
            other.input[:] = [value.name if name == node.output[0] else name for name in other.input]


def _name(model: "onnx.ModelProto") -> None:
    """Names without what wrapped the network; matrices that were turned for a product are called after it."""
    ends = {value.name for value in (*model.graph.input, *model.graph.output)}
    renamed = {}
    for tensor in model.graph.initializer:
        plain = tensor.name.removeprefix("network.")
        renamed[tensor.name] = f"{plain}.weight" if plain in ends else plain
    for node in model.graph.node:
        node.name = node.name.replace("/network/", "/", 1)
        node.doc_string = ""
        for place in operators.WEIGHTS.get(node.op_type, ()):
            if place < len(node.input) and node.input[place].startswith("onnx::"):
                if node.input[place] in renamed:
                    renamed[node.input[place]] = f"{operators.short(node.name)}.weight"
    for tensor in model.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
