"""How does a system on PyTorch run quicker and stay what it is? Its networks compiled, or a part that one sentence asks
again and again recorded as a CUDA graph.

    systems.load("vits-joe", target="torch-compile/cuda")

Weights, settings and noise are those of the plain system. torch.compile is given what a sentence calls from outside,
found by speaking one, and lengths that may change, as no two sentences are of one length. A CUDA graph holds for one
length alone: it pays where a sentence runs the same shapes many times (the steps of a diffusion), which a system says
itself (`Model.repeats`); of the others it is told that they do not fit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import targets
from lib.errors import ParameterError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from lib.systems.model import Model

RUNTIMES = ("torch-compile", "cuda-graphs")
PROBE = "She said so, and nobody believed her."
COMPILED = {"dynamic": True}  # of torch.compile
RECORDINGS = 4  # kept at once: with guidance two shapes take turns; another sentence has others


def plain(target: str) -> str:
    """Where a system is loaded that is made quicker for a target.

    >>> plain("torch-compile/cuda"), plain("onnxruntime/cpu")
    ('torch/cuda', 'onnxruntime/cpu')
    """
    one = targets.find(target)
    return f"torch/{one.device}" if one.runtime in RUNTIMES else target


def ready(system: "Model", target: str) -> None:
    """Make a loaded system quicker, in place. ParameterError where the target does not fit it."""
    if targets.find(target).runtime == "cuda-graphs":
        if not system.repeats:
            raise ParameterError(
                f"{system.name} does not fit {target}: a CUDA graph holds for one length, and no part of it runs many "
                "times on the same in one sentence"
            )
        for stage, method in system.repeats:
            network = system.modules[stage]
            setattr(network, method, Recorded(getattr(network, method), record))
    else:
        for network in called(system):
            network.compile(**COMPILED)
    system.quickened, system.target = True, target
    if hasattr(system, "vocoder"):
        system.vocoder.target = target


def called(system: "Model") -> list["nn.Module"]:
    """What a sentence calls that no other network calls: whole networks, or parts of those that are used by their
    methods. Single layers are left out: there is nothing to fuse.
    """
    seen: dict["nn.Module", None] = {}
    depth = 0

    def before(module: "nn.Module", given: Any) -> None:
        nonlocal depth
        if depth == 0 and next(module.children(), None) is not None:
            seen[module] = None
        depth += 1

    def after(module: "nn.Module", given: Any, made: Any) -> None:
        nonlocal depth
        depth -= 1

    parts = dict.fromkeys(part for network in system.modules.values() for part in network.modules())
    hooks = [part.register_forward_pre_hook(before) for part in parts]
    hooks += [part.register_forward_hook(after, always_call=True) for part in parts]
    try:
        if system.kind == "vocoder":
            system.vocode(np.full((60, system.mel.n_bands), -4, np.float32))
        else:
            system.synthesize(PROBE, 0)
    finally:
        for hook in hooks:
            hook.remove()
    return list(seen)


class Recorded:
    """A function of tensors whose second call of the same shapes is recorded; those after it are replayed. What it
    answers is the caller's own. record: (function, arguments, named ones) -> what replays it on others of these shapes.
    """

    def __init__(self, function: Callable, record: Callable):
        self.function, self.record = function, record
        self.recordings: OrderedDict[tuple, Callable | None] = OrderedDict()

    def __call__(self, *given: Any, **named: Any) -> Any:
        key = signature(given, named)
        if key not in self.recordings:
            self.recordings[key] = None
            if len(self.recordings) > RECORDINGS:
                self.recordings.popitem(last=False)
            return self.function(*given, **named)
        self.recordings.move_to_end(key)
        if self.recordings[key] is None:
            self.recordings[key] = self.record(self.function, given, named)
        return self.recordings[key](*given, **named)


def signature(given: tuple, named: Mapping[str, Any]) -> tuple:
    """What a recording holds for: shapes and types of tensors, and everything else as it is."""
    return tuple((name, _kind(value)) for name, value in (*enumerate(given), *sorted(named.items())))


def _kind(value: Any) -> tuple:
    import torch

    if isinstance(value, torch.Tensor):
        return tuple(value.shape), str(value.dtype), str(value.device)
    return type(value).__name__, repr(value)


def record(function: Callable, given: tuple, named: Mapping[str, Any]) -> Callable:
    """A CUDA graph of a call, on tensors of its own: given ones are copied into them, its answers out of them."""
    import torch
    from torch.utils import _pytree as trees

    (own, own_named) = trees.tree_map_only(torch.Tensor, torch.clone, (given, dict(named)))
    graph, made = recorded(lambda: function(*own, **own_named))
    inside = [t for t in trees.tree_leaves((own, own_named)) if isinstance(t, torch.Tensor)]

    def replay(*others: Any, **other_named: Any) -> Any:
        fresh = [
            t for t in trees.tree_leaves((others, _like(own_named, other_named))) if isinstance(t, torch.Tensor)
        ]
        for buffer, tensor in zip(inside, fresh, strict=True):
            buffer.copy_(tensor)
        graph.replay()
        return trees.tree_map_only(torch.Tensor, torch.clone, made)

    return replay


def recorded(call: Callable[[], Any]) -> tuple["torch.cuda.CUDAGraph", Any]:
    """(graph, what it writes its answers to) of a call on tensors that stay where they are."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # warm-up: libraries choose their kernels before anything is recorded
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = call()
    return graph, made


def _like(own: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Named arguments in the order in which they were recorded."""
    return {name: others[name] for name in own}
