"""How do several techniques become one variant? One after the other on the same copy, counted against the base that it
was made of, stored once.

A variant of a variant is loaded by making both anew; this one is loaded from its base alone. "int8-dynamic" with
"fp16-weights" makes the smallest download that computes in 8 bit: what the first leaves in single precision (a sixth
of what is left of the published SpeechT5) the second stores in half precision, at no time of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from lib.errors import ParameterError
from lib.optimize import variant
from lib.optimize.variant import Technique
from lib.systems.model import Model

NAME = "combined"
Steps = Sequence[Sequence[Any]]  # of (technique, arguments)


def combined(system: Model, *, steps: Steps) -> dict[str, Any]:
    """Apply techniques in turn, in place. steps: [technique, arguments] each, at least two of them.

    Returns what each has to say of it. ParameterError where one of them changes nothing.
    """
    chosen = _checked(steps)
    said: list[Mapping[str, Any]] = []
    before = system.weights_key()
    for technique, arguments in chosen:
        if said:
            system._changed()  # the next one may have to hear it speak
        said.append(dict(technique.apply(system, **arguments) or {}))
        if (after := system.weights_key()) == before:
            raise ParameterError(
                f"{technique.name} changed nothing of {system.name} on {system.target} as step {len(said)} of "
                f"{len(chosen)}: leave it out"
            )
        before = after
    return {"steps": said}


def _structure(system: Model, *, steps: Steps, changed: Mapping[str, Any]) -> None:
    for (technique, arguments), said in zip(_checked(steps), changed["steps"]):
        told = {"changed": said} if "changed" in inspect.signature(technique.structure).parameters else {}
        technique.structure(system, **arguments, **told)


def _label(steps: Steps = (), **_: Any) -> str:
    return "+".join(
        technique.label(**arguments) if technique.label else technique.name
        for technique, arguments in _checked(steps)
    )


def _checked(steps: Steps) -> list[tuple[Technique, Mapping[str, Any]]]:
    """The techniques with their arguments, or ParameterError."""
    if len(steps) < 2:
        raise ParameterError(f"{len(steps)} steps are nothing to combine: give two, or the technique itself")
    chosen = [(variant.checked(name, arguments), arguments) for name, arguments in steps]
    for technique, _ in chosen:
        if technique.adds or technique.name == NAME:
            raise ParameterError(
                f"{technique.name} cannot be one step among several: make a variant of the variant"
            )
    return chosen


COMBINED = Technique(NAME, combined, _structure, label=_label)
