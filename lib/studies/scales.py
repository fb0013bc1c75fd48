"""Which way of setting fixed scales suits a decoder? Whoever says that learning to round is worth it lays it beside the
best that can be had without learning: cutting off rare peaks (percentile, entropy) costs nothing.

Each way is tried on sentences that nobody is judged on: what the whole decoder was fed there the quantized one is fed,
too, and the nearest to what the whole one made of it wins.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lib import optimize
from lib.optimize import calibration

if TYPE_CHECKING:
    from lib.optimize.recover import Lesson
    from lib.systems.model import Model

log = logging.getLogger(__name__)

USUAL = "minmax"  # where the arguments of `int8-static` name no method
Steps = Sequence[tuple[str, Mapping[str, Any]]]


def best(
    base: Model, before: Steps, arguments: Mapping[str, Any], lessons: Sequence[Lesson], stage: str = "decoder"
) -> str:
    """The method of `calibration.METHODS` by which a stage in 8 bit lies nearest to what it should say.

    base: the system on ONNX Runtime; before: what is done to it first; arguments: of `int8-static` beside the method;
    lessons: what the whole stage was fed and made of that (`lib.optimize.recover`), validation sentences of them.
    """
    distances = {}
    for method in calibration.METHODS:
        steps = [*before, ("int8-static", {**arguments, "method": method})]
        made = [[name, dict(given)] for name, given in steps]
        technique, given = ("combined", {"steps": made}) if before else made[0]
        variant = optimize.make(base, technique, variant=f"int8-static-{method}", **given)
        distances[method] = distance(variant, lessons, stage)
    told = ", ".join(f"{method} {value:.4f}" for method, value in distances.items())
    log.info("%s: mean difference of log-mels by the way of setting scales: %s", base.name, told)
    return min(distances, key=distances.get)


def distance(system: Model, lessons: Sequence[Lesson], stage: str = "decoder") -> float:
    """The mean absolute difference of log-mels between what a stage on ONNX Runtime makes of lessons and their answers:
    what the stages are chosen by that learn again.
    """
    import torch

    from lib.optimize import recover

    session = system.sessions[stage]
    (name,) = (one.name for one in session.get_inputs())
    parts = []
    for lesson in lessons:
        made = session.run(None, {name: lesson.inputs[None]})[0].reshape(1, -1)
        answer = lesson.waveform[None]
        parts.append(float(recover.distances(torch.from_numpy(made), torch.from_numpy(answer))["mel"]))
    return sum(parts) / len(parts)
