"""Which layers of a system does a technique treat? Those of the stages and types named, whose names match, less
those to be left alone.

A layer of a torch system is called "<stage>/<path>" ("decoder/resblocks.0.convs.1"), an operator of a graph
"<stage>/<its name>" ("decoder/dec/ups.0/ConvTranspose"). A pattern is one of `fnmatch`, against the whole name or the
part behind the stage: "decoder/*", "*.convs.1", "dec/conv_p*". Whatever is named and is not there is an error: a typo
in a selection would otherwise be a variant that differs from what its row says.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from lib.errors import ParameterError, unknown
from lib.systems.model import Model

if TYPE_CHECKING:
    import torch

Strings = Sequence[str]


def layers(
    system: Model,
    kinds: Strings,
    *,
    stages: Strings = (),
    types: Strings = (),
    layers: Strings = (),
    skip: Strings = (),
) -> list[str]:
    """The torch layers of a system to be treated, in their order.

    kinds: the classes a technique can treat ("Linear", "Conv1d"); stages, types, layers: the networks, classes and
    names wanted, each by default all; skip: names to be left out. ParameterError where nothing is left, or where one of
    these matches nothing.
    """
    known = {name: type(layer).__name__ for name, layer in weighted(system).items()}
    return select(
        known,
        kinds,
        system.modules,
        f"{system.name} on {system.target}",
        stages=stages,
        types=types,
        layers=layers,
        skip=skip,
    )


def select(
    known: Mapping[str, str],
    kinds: Strings,
    all_stages: Strings | Mapping[str, object],
    whose: str,
    *,
    stages: Strings = (),
    types: Strings = (),
    layers: Strings = (),
    skip: Strings = (),
) -> list[str]:
    """As `layers`, of layers or operators that are known by name and type alone. whose: for errors.

    >>> known = {"decoder/pre": "Conv1d", "decoder/up": "ConvTranspose1d", "flow/in": "Conv1d"}
    >>> select(known, ["Conv1d"], ["decoder", "flow"], "a voice", skip=["flow/*"])
    ['decoder/pre']
    """
    for argument in (stages, types, layers, skip):
        if isinstance(argument, str):
            raise ParameterError(f"{argument!r} is one name: give a list of them, [{argument!r}]")
    for stage in stages:
        if stage not in all_stages:
            raise unknown(f"network of {whose}", stage, all_stages)
    for kind in types:
        if kind not in kinds:
            raise unknown("type of layer for this technique", kind, kinds)
    there = {name: kind for name, kind in known.items() if not stages or name.partition("/")[0] in stages}
    for pattern in (*layers, *skip):
        if not any(_matches(name, pattern) for name in there):
            near = difflib.get_close_matches(pattern, there, n=1, cutoff=0.5) or list(there)[:1]
            hint = f"; one is called {near[0]}" if near else ""
            raise ParameterError(f"{pattern!r} matches none of the {len(there)} layers of {whose}{hint}")
    chosen = [
        name
        for name, kind in there.items()
        if kind in (types or kinds) and (not layers or matches(name, layers)) and not matches(name, skip)
    ]
    if not chosen:
        has = ", ".join(sorted(set(there.values()))) or "no layers"
        raise ParameterError(
            f"nothing is selected in {whose}: of {', '.join(types or kinds)} there is none "
            f"{'left' if layers or skip else 'there'} (it has {has}): select more, or another technique"
        )
    return chosen


def weighted(system: Model) -> dict[str, "torch.nn.Module"]:
    """Every torch layer with a weight of its own, by "<stage>/<path>"; of a stage that is one layer, "<stage>/"."""
    import torch

    return {
        f"{stage}/{path}": layer
        for stage, network in system.modules.items()
        for path, layer in network.named_modules()
        if any(
            isinstance(value, torch.nn.Parameter) and name.startswith("weight")
            for name, value in layer._parameters.items()
        )
    }


def layer(system: Model, name: str) -> "torch.nn.Module":
    """The layer of a name."""
    stage, _, path = name.partition("/")
    return system.modules[stage].get_submodule(path)


def replace(system: Model, name: str, other: "torch.nn.Module") -> None:
    """Put another layer in the place of one."""
    stage, _, path = name.partition("/")
    if path:
        put(system.modules[stage], path, other)
    else:
        system.modules[stage] = other


def put(network: "torch.nn.Module", path: str, other: "torch.nn.Module") -> None:
    """Put another layer in the place of one of a network."""
    parent, _, own = path.rpartition(".")
    setattr(network.get_submodule(parent), own, other)


def matches(name: str, patterns: Strings) -> bool:
    """Whether a layer's name is one of those that some patterns mean."""
    return any(_matches(name, pattern) for pattern in patterns)


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.partition("/")[2], pattern)
