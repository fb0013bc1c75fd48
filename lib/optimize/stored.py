"""How do the weights of a variant lie on disk, and how many bytes does each of its layers take there?

weights.safetensors    the networks' weights, what two share once; in half precision what that holds exactly, and
                       in the 4 or 8 bits of `formats` what a technique put there (`Model.packed`)
weights.pt             where torch packs some itself, as those of int8 layers
graphs/<stage>         a system's graphs, as they are
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.files import write_atomic
from lib.graphs import operators
from lib.optimize import formats
from lib.systems.model import Model

if TYPE_CHECKING:
    import torch

PLAIN, PACKED, GRAPHS = "weights.safetensors", "weights.pt", "graphs"
# Metadata of the weights. Name of a tensor -> name of the stored one that it is; -> [format, group, shape].
SHARED, FORMATS = "shared", "packed"
CODES, SCALES = "#codes", "#scales"  # behind the name of a weight that lies there in fewer bits


def write(system: Model, folder: Path, only: Collection[str] | None = None) -> list[Path]:
    """Networks and graphs into a folder; the files. only: names, "<stage>/<name in its state>", of what is stored."""
    graphs = [
        write_atomic(folder / GRAPHS / f"{stage}{system.graph_suffix}", graph)
        for stage, graph in sorted(system.graphs.items())
    ]
    return [*_write_weights(system, folder, only), *graphs]


def read_graphs(system: Model, folder: Path, files: Iterable[str]) -> None:
    """Give a system the graphs among the files of a folder, where there are any, in place of its own."""
    graphs = [name for name in files if name.startswith(GRAPHS)]
    if graphs:
        system.graphs.clear()  # a stage of the base may have given way to others
    for name in graphs:
        system.graphs[Path(name).name.removesuffix(system.graph_suffix)] = (folder / name).read_bytes()


def read_weights(
    system: Model, folder: Path, files: Iterable[str], only: Collection[str] | None = None
) -> None:
    """Give the networks of a system, which have the stored structure already, the weights of a folder.

    only: of `write`, where not all is stored; the rest stays as it is.
    Raises ValueError and what torch raises for files that are damaged or do not fit.
    """
    import safetensors
    import safetensors.torch
    import torch

    if PACKED in files:
        states = torch.load(folder / PACKED, weights_only=True)
    else:
        try:
            with safetensors.safe_open(folder / PLAIN, "pt") as file:
                flat = {name: file.get_tensor(name) for name in file.keys()}
                about = file.metadata() or {}
        except safetensors.SafetensorError as error:
            raise ValueError(error) from error
        shared, packed = (json.loads(about.get(key, "{}")) for key in (SHARED, FORMATS))
        for name, (form, group, shape) in packed.items():
            parts = formats.Packed(flat.pop(f"{name}{CODES}"), flat.pop(f"{name}{SCALES}"))
            flat[name] = formats.unpack(parts, formats.Format(form, group), shape)
        system.packed = {name: formats.Format(form, group) for name, (form, group, _) in packed.items()}
        states = {}
        for name, value in (flat | {name: flat[other] for name, other in shared.items()}).items():
            stage, _, key = name.partition("/")
            states.setdefault(stage, {})[key] = value
    if only is not None and {f"{stage}/{name}" for stage, state in states.items() for name in state} != set(
        only
    ):
        raise ValueError(f"it does not hold the {len(only)} tensors that lie beside the base's")
    for stage, module in system.modules.items():
        module.load_state_dict(states.get(stage, {}), strict=only is None)


def layers(system: Model, names: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Layer -> (bytes that it takes on disk, digest of what it holds); "" is what belongs to none of the layers.

    names: of the layers, "<stage>/<path>", as `selection` has them.
    """
    known, sizes, digests = set(names), {}, {}
    tensors, shared, _ = _tensors(system)
    parts: dict[str, list] = {}
    for stored, value in tensors.items():
        parts.setdefault(stored.partition("#")[0], []).append(_blob(value))
    for name in (*parts, *shared):
        owner = _owner(name, known)
        for blob in parts[shared.get(name, name)]:
            sizes[owner] = sizes.get(owner, 0) + (0 if name in shared else len(blob))
            digests.setdefault(owner, hashlib.blake2b(digest_size=8)).update(blob)
    return {owner: (sizes[owner], digests[owner].hexdigest()) for owner in sizes}


def graph_operators(system: Model) -> dict[str, operators.Weighted]:
    """Every operator with weights of a system's graphs, by "<stage>/<name>"."""
    weighted = operators.weighted
    if system.graph_suffix != ".onnx":
        from lib.systems.whisper.ctranslate2_weights import weighted
    return {
        f"{stage}/{name}": operator
        for stage, graph in system.graphs.items()
        for name, operator in weighted(graph).items()
    }


def _write_weights(system: Model, folder: Path, only: Collection[str] | None = None) -> list[Path]:
    import safetensors.torch
    import torch

    if not system.modules:
        return []
    if only is not None:
        flat = {
            f"{stage}/{name}": value
            for stage, state in _states(system).items()
            for name, value in state.items()
        }
        tensors, shared, packed = {name: flat[name] for name in only}, {}, {}
    else:
        tensors, shared, packed = _tensors(system)
    if all(map(_plain, tensors.values())):
        own = {name: value.contiguous().clone() for name, value in tensors.items()}
        about = {SHARED: json.dumps(shared), FORMATS: json.dumps(packed)}
        return [write_atomic(folder / PLAIN, safetensors.torch.save(own, about))]
    buffer = io.BytesIO()
    torch.save(_states(system), buffer)  # with the versions that packed layers note in their state
    return [write_atomic(folder / PACKED, buffer.getvalue())]


def _tensors(system: Model) -> tuple[dict[str, Any], dict[str, str], dict[str, list]]:
    """(what is stored by name, name -> the stored one that it is, [format, group, shape] of packed ones)."""
    states = _states(system)
    flat = {f"{stage}/{name}": value for stage, state in states.items() for name, value in state.items()}
    whole = all(map(_plain, flat.values()))  # else torch's own format takes them as they are
    first, form = {}, {}
    for name, value in flat.items():
        first.setdefault(id(value), name)
        if name in system.packed:
            form.setdefault(id(value), system.packed[name])
    kept, packed = {}, {}
    for name in first.values():
        value = flat[name]
        if whole and id(value) in form and (parts := _exact(value, form[id(value)])):
            kept[f"{name}{CODES}"], kept[f"{name}{SCALES}"] = parts
            packed[name] = [*form[id(value)], list(value.shape)]
        else:
            kept[name] = value
    return kept, {name: first[id(value)] for name, value in flat.items() if first[id(value)] != name}, packed


def _states(system: Model) -> dict[str, dict[str, Any]]:
    """The state of each network; what two share is one tensor, and what half precision holds exactly is in half
    precision, as baselines are published: else a variant would be larger for how it is stored, not for what it is.
    """
    states = {stage: module.state_dict() for stage, module in system.modules.items()}
    kept: dict[tuple, Any] = {}  # (place in memory, shape, strides) -> the tensor as it is stored
    for state in states.values():
        for name, value in state.items():
            if _plain(value):
                place = (value.data_ptr(), value.shape, value.stride()) if value.numel() else (id(value),)
                state[name] = kept.setdefault(place, _halved(value.detach().cpu().contiguous()))
    return states


def _exact(value: "torch.Tensor", form: formats.Format) -> formats.Packed | None:
    """A weight in few bits, where it is one that they hold exactly; not where it was changed since."""
    import torch

    whole = value.float()
    packed = formats.pack(whole, form)
    return packed if torch.equal(formats.unpack(packed, form, whole.shape), whole) else None


def _plain(value: Any) -> bool:
    """Whether a value of a state dict is a tensor of numbers, not packed weights."""
    import torch

    return type(value) in (torch.Tensor, torch.nn.Parameter) and not value.is_quantized


def _halved(value: "torch.Tensor") -> "torch.Tensor":
    """A tensor in half precision where that changes no number; loading brings it back to its own."""
    import torch

    if value.dtype != torch.float32 or not value.ndim:
        return value
    half = value.half()
    return half if torch.equal(half.float(), value) else value


def _owner(name: str, known: set[str]) -> str:
    """The layer that a tensor belongs to: the longest known name before it."""
    stage, _, path = name.partition("/")
    parts = path.split(".")
    candidates = (f"{stage}/{'.'.join(parts[:n])}" for n in range(len(parts) - 1, -1, -1))
    return next((candidate for candidate in candidates if candidate in known), "")


def _blob(value: Any) -> bytes | memoryview:
    """A value of a state dict as bytes."""
    import torch

    if _plain(value):
        return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()
