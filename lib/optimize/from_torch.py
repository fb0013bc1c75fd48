"""How does a decoder that was pruned and taught on torch come to speak on ONNX Runtime? Its graph takes the place of
the one there, under the names that the other stages know.

Channels are taken out and networks are taught on torch alone; 8 bit with fixed scales, and what users run, is ONNX
Runtime's. A decoder that learnt to round (`aware`) comes in 8 bit, with the scales that it learnt.
"""

from __future__ import annotations

from typing import Any

from lib.errors import ParameterError, TrainingError
from lib.optimize import variant
from lib.optimize.variant import Technique
from lib.systems.model import Model

DECODER = "VitsHifiGan"  # the class of networks that can be taken over


def from_torch(system: Model, *, folder: str, weights: str, stage: str = "decoder") -> dict[str, Any]:
    """Let a stage of a system on ONNX Runtime be the network of a saved torch variant of the same system, in place.

    folder: of the variant; weights: its key (`Model.weights_key`), so that a folder made anew is not taken for it.
    """
    from lib.optimize import aware
    from lib.systems.hifigan import export

    if stage not in system.graphs or system.graph_suffix != ".onnx":
        raise ParameterError(
            f"{system.name} on {system.target} has no graph {stage} (it has {', '.join(system.graphs) or 'none'})"
        )
    taught = variant.load(folder, threads=system.threads)
    if taught.weights_key() != weights:
        raise TrainingError(f"{folder} holds another variant than the one that was meant: it was made anew")
    network = taught.modules.get(stage)
    if taught.name != system.name or type(network).__name__ != DECODER:
        raise ParameterError(
            f"{folder} holds no {stage} for {system.name}: it is {taught.name} on {taught.target}; save a torch "
            "variant of the same system there"
        )
    rounded = aware.rounded(network)
    graph = aware.exported(network) if rounded else export.decoder(network)
    system.graphs[stage] = _called(graph, system.graphs[stage])
    return {"from": taught.variant, "stage": stage, "rounded": len(rounded)}


def _called(graph: bytes, like: bytes) -> bytes:
    """A graph of one input and one output whose ends are called as those of another."""
    import onnx

    model, other = onnx.load_from_string(graph), onnx.load_from_string(like)
    names = {}
    for own, theirs in ((model.graph.input, other.graph.input), (model.graph.output, other.graph.output)):
        names[own[0].name] = theirs[0].name
        own[0].name = theirs[0].name
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    return model.SerializeToString(deterministic=True)


def _nothing(system: Model, **arguments: Any) -> None:
    """A graph is stored whole."""


FROM_TORCH = Technique("from-torch", from_torch, _nothing)
