"""A system with a trained adapter, or with weights that were all trained: one technique for each method of `lora`.

    make(systems.load("fastspeech2", vocoder="istft"), "lora", file="RUN/adapter.safetensors")

Where the adapter brings a voice, the system speaks as that voice; the old ones are still there, and with the adapter
off (`lora.off`) bit for bit what they were. What is saved is the adapter alone: base and adapter are downloaded.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import ParameterError, TrainingError
from lib.optimize import lora
from lib.optimize.lora import Adapter
from lib.optimize.variant import Technique

if TYPE_CHECKING:
    from torch import nn

    from lib.systems.model import Model

log = logging.getLogger(__name__)

STAGES = ("acoustic_model", "encoder", "decoder")  # networks that adapters are trained for


def apply(method: str, system: Model, *, file: str) -> dict[str, Any]:
    """Put the adapter of a file beside a system's network. Raises what `lora.load` does, and ParameterError for an
    adapter of another method or a system whose network is no torch one.
    """
    header = lora.describe(file)
    if header["method"] != method:
        raise ParameterError(
            f"{file} was trained by {header['method']}, not by {method}: make that variant of it"
        )
    network = _network(system)
    _prepare(network, header)
    lora.load(network, file)
    _finish(system, network, header)
    _doubt(system, header["about"].get("voice", ""))
    share = lora.trainable(network)
    return {"adapter": {key: value for key, value in header.items() if key not in ("own", "beside")}, **share}


def _structure(system: Model, *, file: str, changed: Mapping[str, Any]) -> None:
    """The same network with an adapter that has not learnt; the saved weights are then loaded into it."""
    header, network = changed["adapter"], _network(system)
    own = _prepare(network, header)
    if lora.base_key(network, without=own) != header["base"]:
        raise TrainingError(
            f"the variant's adapter is of another base than this {system.name}: load the base it was trained on"
        )
    lora.adapt(network, Adapter.of(header), own)
    _finish(system, network, header)


def _network(system: Model) -> nn.Module:
    """What of a system adapters are for: its one network, or encoder and decoder together."""
    from torch import nn

    stages = {stage: network for stage, network in system.modules.items() if stage in STAGES}
    if not stages:
        raise ParameterError(
            f"{system.name} on {system.target} has no network that an adapter could lie beside: load it on torch/cpu"
        )
    if len(stages) == 1:
        return next(iter(stages.values()))
    return nn.ModuleDict(stages)


def _prepare(network: nn.Module, header: Mapping[str, Any]) -> list[str]:
    if not header["about"].get("voice"):
        return []
    from lib.optimize import new_voice

    return new_voice.grow(network)


def _finish(system: Model, network: nn.Module, header: Mapping[str, Any]) -> None:
    """The system as it is with the adapter: its voices, and what of its state the adapter brings."""
    from torch import nn

    network.eval()
    together = isinstance(network, nn.ModuleDict)
    stage = "" if together else next(name for name, module in system.modules.items() if module is network)
    names = lora.adaptation(network).own
    if header["method"] != "full":
        system.added = tuple(name.replace(".", "/", 1) if together else f"{stage}/{name}" for name in names)
    if voice := header["about"].get("voice"):
        system.speakers = (*system.speakers, voice)
        system.configure(speaker=voice)


def _doubt(system: Model, voice: str) -> None:
    """Say it where a new voice is to speak through a vocoder that learnt from another one alone, which it will sound
    like, however well it learnt: no error, for it speaks.
    """
    from lib.training import recipe

    vocoder = getattr(system, "vocoder", None)
    file = Path(getattr(vocoder, "folder", "")) / "recipe.yaml"
    if not voice or not file.is_file():
        return
    heard = recipe.load(file).data.get("voices", [])
    if len(heard) == 1 and voice not in heard:
        log.warning(
            "%s speaks as %s through %s, which has heard %s alone and takes the voice away: load the base before a "
            'vocoder of many voices, systems.load("%s", vocoder="istft")',
            system.name,
            voice,
            vocoder.name,
            heard[0],
            system.name,
        )


def label(method: str, *, file: str) -> str:
    """lora-r8@prompts: as the adapter's own description has it."""
    header = lora.describe(file)
    data = header["about"].get("data", "")
    return Adapter.of(header).label + (f"@{data}" if data else "")


def _technique(method: str) -> Technique:
    return Technique(
        method,
        functools.partial(apply, method),
        _structure,
        adds=method != "full",
        label=functools.partial(label, method),
    )


FULL, LORA, DORA = _technique("full"), _technique("lora"), _technique("dora")
IA3, QLORA, SPEAKER = _technique("ia3"), _technique("qlora"), _technique("speaker")
