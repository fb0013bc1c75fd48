"""What is a changed system, and how does any process get it back? A folder that holds all it needs beside its base.

    variant.json           base and its fingerprint, technique, arguments, data, settings, what changed, what was
                           measured
    and its weights or graphs as `stored` lays them down

A technique is one file in this folder and one line in `_TECHNIQUES`: a function that changes a system in place,
and one that gives a fresh base the changed structure, into which the saved weights fit.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from lib import environment, systems, targets
from lib.errors import MissingDataError, ParameterError, TrainingError, unknown
from lib.files import write_atomic
from lib.graphs import session
from lib.optimize import changes, stored
from lib.systems.model import Model

FORMAT = 2
DESCRIPTION = "variant.json"
_TECHNIQUES = {
    "combined": "lib.optimize.combined:COMBINED",
    "distilled": "lib.optimize.distill:DISTILLED",
    "finetuned": "lib.optimize.finetuned:FINETUNED",
    "dora": "lib.optimize.tuned:DORA",
    "full": "lib.optimize.tuned:FULL",
    "ia3": "lib.optimize.tuned:IA3",
    "int8-aware": "lib.optimize.aware:INT8_AWARE",
    "int8-dynamic": "lib.optimize.quantize:INT8_DYNAMIC",
    "int8-static": "lib.optimize.quantize:INT8_STATIC",
    "int8-weights": "lib.optimize.quantize:INT8_WEIGHTS",
    "int4-weights": "lib.optimize.quantize:INT4_WEIGHTS",
    "from-torch": "lib.optimize.from_torch:FROM_TORCH",
    "istft-head": "lib.optimize.head:ISTFT_HEAD",
    "lora": "lib.optimize.tuned:LORA",
    "nf4": "lib.optimize.quantize:NF4",
    "fp16-weights": "lib.optimize.quantize:FP16_WEIGHTS",
    "bf16": "lib.optimize.quantize:BF16",
    "qlora": "lib.optimize.tuned:QLORA",
    "speaker": "lib.optimize.tuned:SPEAKER",
    "pruned": "lib.optimize.prune:PRUNED",
    "structured": "lib.optimize.prune_channels:STRUCTURED",
}


@dataclass(frozen=True)
class Technique:
    """apply(system, **arguments): change it in place, with data where it needs any, and return what it has to say of
    that as JSON, or None; structure(system, **arguments): only give it the changed networks, whose weights are loaded
    afterwards; where it has a parameter `changed`, it is told what `apply` said. adds: the change is beside the base's
    weights (an adapter): `system.added` alone is stored, and the base is downloaded, too. label(**arguments): names a
    variant; else the technique does.
    """

    name: str
    apply: Callable[..., Mapping[str, Any] | None]
    structure: Callable[..., None]
    adds: bool = False
    label: Callable[..., str] | None = None


def techniques() -> list[str]:
    """What `make` can do to a system."""
    return sorted(_TECHNIQUES)


def technique(name: str) -> Technique:
    """A technique by its name; ParameterError for an unknown one."""
    if name not in _TECHNIQUES:
        raise unknown("technique", name, _TECHNIQUES)
    module, attribute = _TECHNIQUES[name].split(":")
    return getattr(importlib.import_module(module), attribute)


def checked(name: str, arguments: Mapping[str, Any]) -> Technique:
    """A technique that takes these arguments; ParameterError for an unknown one, or for one that it lacks."""
    chosen = technique(name)
    known = inspect.signature(chosen.apply).parameters
    for argument in arguments:
        if argument not in known:
            raise unknown(f"argument of {name}", argument, list(known)[1:])
    needed = [a for a, spec in known.items() if spec.kind is spec.KEYWORD_ONLY and spec.default is spec.empty]
    if missing := [argument for argument in needed if argument not in arguments]:
        raise ParameterError(
            f"{name} takes {', '.join(list(known)[1:])} and was given no {', '.join(missing)}: name it"
        )
    return chosen


def make(base: Model, name: str, *, variant: str = "", **arguments: Any) -> Model:
    """A variant of `base`, which stays as it is. variant: its name, else the technique gives one; arguments: JSON.

    Its `made["changed"]` counts what was changed (`changes.between`), and holds what the technique says of it.
    """
    chosen = checked(name, arguments)
    said: dict[str, Any] = {}

    def change(system: Model) -> None:
        said.update(chosen.apply(system, **arguments) or {})

    derived = base.derive(variant or (chosen.label(**arguments) if chosen.label else name), change)
    key = base.weights_key()
    if derived.weights_key() == key:
        raise ParameterError(
            f"{name} changed nothing in {base.name} on {base.target} with {arguments}: there is no variant to measure"
        )
    changed = changes.between(base, derived)
    if not changed["layers"]:
        raise ParameterError(
            f"{name} left every weight of {base.name} on {base.target} as it was, with {arguments}: there is no "
            "variant to measure"
        )
    derived.made = {
        "technique": name,
        "arguments": arguments,
        "base": {"origin": base.origin, "weights": key, "variant": base.variant},
        "changed": {**changed, **said},
    }
    return derived


def save(
    system: Model, folder: str | Path, *, data: str = "", measured: Mapping[str, Any] | None = None
) -> Path:
    """Store a variant that `make` made. data: what it was made with; measured: how it did, for whoever reads
    the folder.

    From then on it has a size and an origin: other processes can load it, and it can be benched.
    """
    if system.made and not system.made["base"]["origin"]:
        raise ParameterError(
            f"{system.name} {system.variant} was made from {system.name} {system.made['base']['variant']}, "
            "which is not saved: save that first, and make this one of it"
        )
    if system.made is None:
        raise ParameterError(
            f"{system.name} {system.variant} was not made by a technique from a system that can be loaded: "
            "use optimize.make"
        )
    folder = Path(folder)
    added = system.added if technique(system.made["technique"]).adds else None
    files = stored.write(system, folder, added)
    description = {
        "format": FORMAT,
        "system": system.name,
        "variant": system.variant,
        "target": system.target,
        **system.made,
        "data": data,
        "settings": system.settings(),
        "weights": system.weights_key(),
        "files": [str(path.relative_to(folder)) for path in files],
        "measured": dict(measured or {}),
        "commit": environment.commit(),
        "code": ""
        if environment.code_changed()
        else environment.code(),  # of none: nobody finds it again as his own
        "host": environment.host(),
        "date": date.today().isoformat(),
    }
    write_atomic(folder / DESCRIPTION, json.dumps(description, indent=1).encode())
    _settle(system, folder, description)
    return folder


def load(folder: str | Path, *, target: str | None = None, threads: int = 2, checked: bool = True) -> Model:
    """A saved variant, in any process. Of its base no session is opened, and nothing stays that it replaces.

    target: another one that its base runs on, where the technique works there, too; checked: whether the weights of
    its base and its own are compared with those that were saved, all of which are read for that (who deploys a variant
    has done so once: the bench asks for its fingerprint when it has timed it). Raises MissingDataError where there is
    none, TrainingError where it is damaged, cut short or of another base, ParameterError for an unknown technique.
    """
    folder = Path(folder)
    description = _describe(folder)
    chosen = technique(description["technique"])
    base = description["base"]
    origin = base["origin"] | ({"target": target} if target else {})
    with session.unopened():
        system = rebuild(origin, threads=threads, checked=checked)
    system._base_files = system.files
    saved_on = targets.find(description["target"])
    if targets.find(system.target).runtime != saved_on.runtime:
        raise ParameterError(
            f"{folder} was saved on {saved_on.name}: its weights do not fit {system.target}; make it there"
        )
    if checked and system.weights_key() != base["weights"]:
        raise TrainingError(
            f"{folder} was made from another {description['system']} than the one that is here: "
            "its base has other weights"
        )
    try:
        system.variant = description["variant"]
        files = description["files"]
        stored.read_graphs(system, folder, files)
        if any(not name.startswith(stored.GRAPHS) for name in files):
            told = "changed" in inspect.signature(chosen.structure).parameters
            about = {"changed": description["changed"]} if told else {}
            chosen.structure(system, **description["arguments"], **about)
            stored.read_weights(system, folder, files, system.added if chosen.adds else None)
        if checked and system.weights_key() != description["weights"]:
            raise TrainingError(f"{folder} is damaged: its weights are not those that were saved; make it anew")
        system._changed()
        wanted, now = description["settings"], system.settings()
        changed = {name: value for name, value in wanted.items() if value != now.get(name)}
        if "speaker" in changed and "vocoder" in wanted:  # said, lest another speaker bring another vocoder along
            changed["vocoder"] = wanted["vocoder"]
        system.configure(**changed)
    except MissingDataError:  # of its settings: the variant is whole, and making it anew would not help
        raise
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"the variant in {folder} cannot be read ({error}): make it anew") from error
    told = ("technique", "arguments", "base", "changed", "recovery")
    system.made = {key: description[key] for key in told if key in description}
    _settle(system, folder, description)
    return system


def rebuild(origin: Mapping[str, Any], *, threads: int = 2, checked: bool = True) -> Model:
    """What `Model.origin` describes: a system of the registry, or a saved variant; checked: of `load`."""
    if "folder" not in origin:
        return systems.rebuild(origin, threads=threads)
    system = load(origin["folder"], target=origin.get("target"), threads=threads, checked=checked)
    if settings := origin.get("settings"):
        system.configure(**settings)
    system.variant = origin.get("variant", system.variant)
    system.origin = dict(origin)
    return system


def _settle(system: Model, folder: Path, description: Mapping[str, Any]) -> None:
    """Say where the variant lies, and what somebody downloads to run it."""
    own = (folder / DESCRIPTION, *(folder / name for name in description["files"]))
    base = system._base_files if technique(description["technique"]).adds else system.front_end
    system.files = (*own, *base)
    system.origin = {"folder": str(folder.resolve()), "target": system.target}


def _describe(folder: Path) -> dict[str, Any]:
    path = folder / DESCRIPTION
    if not path.is_file():
        raise MissingDataError(
            f"{folder} holds no variant: {DESCRIPTION} is missing; save one there, or name another folder"
        )
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        wanted = {
            "format",
            "system",
            "variant",
            "target",
            "technique",
            "arguments",
            "base",
            "changed",
            "settings",
            "weights",
            "files",
        }
        if not wanted <= description.keys():
            raise ValueError(f"it lacks {', '.join(sorted(wanted - description.keys()))}")
    except (OSError, ValueError, AttributeError) as error:
        raise TrainingError(f"{path} cannot be read ({error}): make the variant anew") from error
    if description["format"] != FORMAT:
        raise TrainingError(
            f"{path} has format {description['format']}, this version reads {FORMAT}: make it anew"
        )
    for name in description["files"]:
        if not (folder / name).is_file():
            raise TrainingError(f"{folder} is incomplete: {name} is missing; make the variant anew")
    return description
