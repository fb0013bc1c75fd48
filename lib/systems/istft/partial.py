"""Which parts of `istft` can be taken away, to hear what each is worth? Names, and a folder of its own kind.

A vocoder that lacks a part was trained without it and speaks without it. It lies on disk as another system, so
that nothing takes it for a whole one: no ONNX graph, no recipe, no runtime but torch knows what is missing.
Readable without torch; `denial.py` takes the parts away.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib.errors import ParameterError, TrainingError, unknown
from lib.systems import checkpoint
from lib.systems.istft.config import IstftConfig

if TYPE_CHECKING:
    from torch import nn

SYSTEM = "partial-istft"
# Name -> what is missing where it is taken away.
REMOVABLE = {
    "pulses": "H S: noise alone speaks",
    "noise": "G N: pulses alone speak",
    "learnt-phase": "what the trunk adds to the phase of H: it is the prior's minimum phase",
    "minimum-phase": "the phase of H in the prior: it is zero, but for what the trunk adds",
    "magnitude": "the magnitudes of H and G in the prior: the trunk learns them from nothing",
}


@dataclass(frozen=True)
class PartialConfig(IstftConfig):
    """The sizes of a vocoder, and what it lacks."""

    without: tuple[str, ...] = ()  # names of REMOVABLE

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "without", tuple(self.without))  # JSON has lists
        for name in self.without:
            if name not in REMOVABLE:
                raise unknown("model.without", name, REMOVABLE)
        if {"pulses", "noise"} <= set(self.without):
            raise ParameterError("model.without names pulses and noise: nothing would be left that speaks")


def _build(config: PartialConfig) -> dict[str, nn.Module]:
    from lib.systems.istft import denial, network

    networks = network.build(config)
    denial.deny(networks["trunk"], config.without)
    return networks


PARTS = checkpoint.Parts(SYSTEM, PartialConfig, _build)


def refuse(folder: str | Path) -> None:
    """TrainingError where a folder holds a vocoder that lacks parts; nothing where it holds anything else."""
    if checkpoint.system_of(folder) == SYSTEM:
        lacks = ", ".join(PARTS.sizes(folder).without) or "nothing"
        raise TrainingError(
            f"{folder} holds an istft of the ablation, trained without {lacks}: no ONNX graph leaves that out; "
            "it speaks on torch/cpu alone, as lib.systems.istft.PartialIstft"
        )
