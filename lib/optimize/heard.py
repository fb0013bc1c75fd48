"""What does a network of a system see while the system speaks? Its inputs, noted call by call, without touching it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lib import features, progress, systems
from lib.errors import ParameterError
from lib.optimize import calibration
from lib.systems.model import Model

if TYPE_CHECKING:
    import numpy as np

    from lib.systems.base import System


class Call(NamedTuple):
    """One call of a network: its arguments by place and by name, and what it made of them."""

    arguments: tuple
    named: dict[str, Any]
    output: Any


def calls(
    system: Model, stages: Sequence[str], sentences: Sequence[str], *, seed: int = 0
) -> dict[str, list[Call]]:
    """What each of some networks of a torch system is called with while it reads sentences (`calibration.texts`),
    sentence i with seed + i; a vocoder copies its teacher's reading of them, a recogniser hears it.
    """
    import torch

    values = (torch.Tensor, type(None), bool, int, float, str, tuple, list)
    copy = system.adjusted()
    seen: dict[str, list[Call]] = {stage: [] for stage in stages}
    for stage in stages:

        def note(_, arguments, named, output, noted=seen[stage], stage=stage):
            if others := [type(v).__name__ for v in (*arguments, *named.values()) if not isinstance(v, values)]:
                raise ParameterError(
                    f"{system.name} gives its network {stage} a {others[0]}, which changes from call to call: rank its "
                    "units by l1 or l2, which need no sentences"
                )
            noted.append(Call(arguments, named, output))

        copy.modules[stage].register_forward_hook(note, with_kwargs=True)
    texts = calibration.texts(sentences)
    for number, text in enumerate(progress.track(texts, f"{system.name} shows its networks", unit="sentence")):
        run(copy, text, seed + number)
    for stage, noted in seen.items():
        if not noted:
            raise ParameterError(
                f"{system.name} does not run its network {stage} as a whole, so nobody sees its inputs: rank its "
                "units by l1 or l2, which need none"
            )
    return {stage: [Call(*map(_own, call)) for call in noted] for stage, noted in seen.items()}


def run(system: Model, text: str, seed: int) -> "np.ndarray | None":
    """Let a system do what it does, with a text: speak it, copy it, hear it. The waveform, where it makes one."""
    if system.kind == "speech":
        return system.synthesize(text, seed).waveform
    spoken = _reader(system.threads).synthesize(text, seed)
    if system.kind == "vocoder":
        return system.vocode(features.log_mel(spoken.waveform, system.mel), seed)
    system.transcribe(spoken.waveform, spoken.sample_rate)
    return None


@functools.cache
def _reader(threads: int) -> "System":
    return systems.load("vits-joe", target="onnxruntime/cpu", threads=threads)


def _own(value: Any) -> Any:
    """A copy of what was noted that gradients may pass: tensors of inference mode do not let them."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return type(value)({name: _own(part) for name, part in value.items()})
    if isinstance(value, (tuple, list)):
        return type(value)(map(_own, value))
    return value
