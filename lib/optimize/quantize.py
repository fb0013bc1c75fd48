"""Weights in fewer bits. `int8-dynamic`: Linear layers whose weights are int8 and whose inputs are quantized as
they come.

torch's own quantization for x86 (`torch.ao.quantization.quantize_dynamic`): one scale per output channel, int8
products added up in int32, everything else in float. It is deprecated in favour of torchao, whose int8 is
slower than float on CPUs unless compiled; so it stays as long as torch has it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from lib.errors import unknown
from lib.optimize.variant import Technique
from lib.systems.model import Model


def int8_dynamic(system: Model, *, stages: Sequence[str] = ()) -> None:
    """Quantize every Linear of the given networks of a torch system (by default of all) in place."""
    import torch

    for stage in stages:
        if stage not in system.modules:
            raise unknown(f"network of {system.name} on {system.target}", stage, system.modules)
    for stage in stages or list(system.modules):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its deprecation: see above
            quantized = torch.ao.quantization.quantize_dynamic(
                system.modules[stage], {torch.nn.Linear}, torch.qint8
            )
        system.modules[stage] = quantized


INT8_DYNAMIC = Technique("int8-dynamic", int8_dynamic, int8_dynamic)
