"""What is a loaded model, which bytes decide what it does, and how does one become another without being touched?

Every system, recogniser and vocoder is a `Model`. Its networks lie in one live mapping, `modules`: what is
replaced there is what runs afterwards. `derive` copies them all, so that a variant never shares a network with
its baseline; `fingerprint` hashes them as they are now, so that nothing made by other weights is ever taken for theirs.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
from abc import ABC
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from lib import targets
from lib.errors import ParameterError, unknown
from lib.files import content_key
from lib.graphs import cut
from lib.target import versions

if TYPE_CHECKING:
    import torch

Self = TypeVar("Self", bound="Model")


class Model(ABC):
    """A loaded network or voice. Subclasses set what is declared here and say what `settings` they have."""

    name: str  # "vits-joe"
    variant: str = "baseline"
    target: str  # a row of `lib.targets`
    threads: int = 2
    sample_rate: int  # Hz
    # Every torch network that runs, by stage, and every ONNX graph, serialized; empty where there are none.
    modules: Mapping[str, "torch.nn.Module"] = MappingProxyType({})
    graphs: Mapping[str, bytes] = MappingProxyType({})
    files: tuple[Path, ...] = ()  # all that somebody has to download to run it
    size_kind: str = "measured"  # of `size_mb`: "estimated" where no file of these weights exists
    front_end: tuple[Path, ...] = ()  # those of them that hold no weights: every variant needs them, too
    packages: tuple[str, ...] = ()  # distributions beside its target's whose versions decide what it does
    origin: dict[str, Any] | None = None  # what any process can rebuild it from, as JSON; None: save it first
    _base_files: tuple[Path, ...] = ()  # of a variant: what its base is downloaded from
    made: dict[str, Any] | None = None  # of a variant: technique, arguments, base, what changed
    packed: Mapping[str, Any] = MappingProxyType({})  # weight -> format of few bits in which it is saved
    added: tuple[
        str, ...
    ] = ()  # of a variant beside its base's weights: what it adds, "<stage>/<name in its state>"
    graph_suffix: str = ".onnx"  # of files with its graphs
    # (stage, method) of networks: what a sentence asks many times on the same shapes, and which keeps nothing between.
    repeats: tuple[tuple[str, str], ...] = ()
    quickened: bool = False  # whether its networks were compiled or recorded (`lib.systems.quicker`)

    def settings(self) -> dict[str, Any]:
        """What else decides what it does beside weights (speaker, controls, sampler...), as JSON."""
        return {}

    def configure(self, **settings: Any) -> None:
        """Change `settings` in place, for a model that nobody else holds; raises ParameterError for an unknown one."""
        for name in settings:
            raise unknown(f"setting of {self.name}", name, self.settings())

    def adjusted(self: Self, *, variant: str | None = None, **settings: Any) -> Self:
        """A copy that does the same otherwise: with other `settings`, or under another name."""
        other = self._copy()
        if settings:
            other.configure(**settings)
        other.variant = variant or self.variant
        if self.origin is not None:
            kept = {**self.origin.get("settings", {}), **settings}
            other.origin = {**self.origin, "settings": kept, "variant": other.variant}
        return other

    def derive(self: Self, variant: str, change: Callable[[Self], None] | None = None, **settings: Any) -> Self:
        """A variant: a copy under another name, its networks, graphs and settings changed by `change(copy)`.

        The baseline is not touched and shares no tensor with it. Raises ParameterError for the baseline's own name.
        """
        if variant == self.variant:
            raise ParameterError(
                f"a variant of {self.name} needs a name of its own, not its baseline's, {variant!r}"
            )
        other = self.adjusted(variant=variant, **settings)
        if change is not None:
            change(other)
            other.origin, other.files, other.made = None, (), None
            other._base_files = self.files or self._base_files
            other._changed()
        return other

    def fingerprint(self) -> str:
        """A hash of all bytes that decide what it does, as they are in memory now. Reads every weight: once per
        corpus.
        """
        stages = self.modules.items()
        training = [
            f"{stage}/{n}" for stage, net in stages for n, layer in net.named_modules() if layer.training
        ]
        return content_key(self.name, self.weights_key(), self.settings(), sorted(training))

    def weights_key(self) -> str:
        """A hash of networks and graphs alone; where there are neither, of the files (of a variant, its base's),
        and without those of the code, so that no other code's clips are taken for its own.
        """
        digest = hashlib.blake2b(digest_size=16)
        for stage, module in sorted(self.modules.items()):
            digest.update(f"{stage}\n{module!r}\n".encode())
            state = module.state_dict()
            for name, value in (state | _unsaved(module, state)).items():
                digest.update(name.encode())
                _update(digest, value)
            digest.update(json.dumps(_attributes(module), sort_keys=True).encode())
        for stage, graph in sorted(self.graphs.items()):
            digest.update(stage.encode())
            digest.update(graph)
        if not self.modules and not self.graphs:
            for path in self.files or self._base_files or (self._code_file(),):
                digest.update(path.read_bytes())
        return digest.hexdigest()

    def _code_file(self) -> Path:
        try:
            return Path(inspect.getfile(type(self)))
        except (TypeError, OSError) as error:
            raise ParameterError(
                f"{self.name} has no networks, graphs or files, nor a module of its own: nothing tells it apart; "
                "write its class into a file, or set its `files`"
            ) from error

    def cache_key(self, fingerprint: str = "") -> str:
        """What results of it may be kept under: its fingerprint (where none is given: of now), what computes, and on
        how many threads.
        """
        computes = targets.find(self.target).versions() | versions(self.packages)
        return content_key(fingerprint or self.fingerprint(), self.target, computes, self.threads)

    @property
    def size_mb(self) -> float | None:
        """10^6 bytes that somebody downloads to run it; None for a variant that is not saved yet."""
        return sum(path.stat().st_size for path in self.files) / 1e6 if self.files else None

    @property
    def loaded_mb(self) -> float:
        """10^6 bytes of weights in memory; packed int8 weights count as they are, shared ones once."""
        stored = sum(stored_bytes(module) for module in self.modules.values())
        return (stored + sum(map(len, self.graphs.values()))) / 1e6

    @property
    def params_m(self) -> float:
        """10^6 parameters of networks, shared ones once, and of graphs; those of packed int8 layers, which torch calls
        no parameters, too.
        """
        layers = [layer for module in self.modules.values() for layer in module.modules()]
        own = {id(p): p.numel() for layer in layers for p in layer.parameters(recurse=False)}
        packed = {
            (id(layer), kind): value().numel()
            for layer in layers
            for kind in ("weight", "bias")
            if callable(value := getattr(layer, kind, None)) and value() is not None
        }
        in_graphs = sum(map(cut.parameters, self.graphs.values()))
        return (sum(own.values()) + sum(packed.values()) + in_graphs) / 1e6

    def __repr__(self) -> str:
        return f"<{self.name} {self.variant} on {self.target}, {self.params_m:.2f} M parameters>"

    def _copy(self: Self) -> Self:
        if self.quickened:  # what was compiled or recorded stays with the networks that it was made of
            raise ParameterError(
                f"{self.name} on {self.target} cannot be changed: change it on torch, where its networks are as they "
                "are"
            )
        other = copy.copy(self)
        other.graphs = dict(self.graphs)
        other._copy_networks()
        return other

    def _copy_networks(self) -> None:
        """Give this copy networks of its own; at first it holds those of its original."""
        self.modules = copy.deepcopy(dict(self.modules))  # one call: what two stages share, they go on sharing

    def _changed(self) -> None:
        """Called after networks or graphs were replaced: whatever is built from them is built anew. Who has graphs
        says how: a variant that went on with its baseline's sessions would be found to lose nothing.
        """
        if self.graphs:
            raise ParameterError(
                f"{type(self).__name__} has graphs and no `_changed`, so a variant of {self.name} would go on with the "
                "sessions of its baseline: open them in a method of their own, and let `_changed` call that, too"
            )


class Part(MutableMapping):
    """The entries of a mapping whose names begin with a prefix, under the rest of their names; it holds nothing
    itself.
    """

    def __init__(self, whole: MutableMapping[str, Any], prefix: str):
        self.whole, self.prefix = whole, prefix

    def __getitem__(self, name: str) -> Any:
        return self.whole[self.prefix + name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.whole[self.prefix + name] = value

    def __delitem__(self, name: str) -> None:
        del self.whole[self.prefix + name]

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self.prefix) for name in self.whole if name.startswith(self.prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Attributes(MutableMapping):
    """Networks that lie in attributes of a larger one, under names of their own; replacing one here replaces it
    there.
    """

    def __init__(self, places: Mapping[str, tuple[Any, str]]):
        self.places = dict(places)  # name -> (owner, attribute)

    def __getitem__(self, name: str) -> Any:
        return getattr(*self.places[name])

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self.places:
            raise unknown("network", name, self.places)
        setattr(*self.places[name], value)

    def __delitem__(self, name: str) -> None:
        raise ParameterError(f"{name} is part of a larger network and cannot be taken out of it")

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def _unsaved(module: "torch.nn.Module", state: Mapping[str, Any]) -> dict[str, Any]:
    """Buffers that torch leaves out of what it saves (tables of positions), which are heard all the same."""
    return {name: buffer for name, buffer in module.named_buffers() if name not in state}


def _attributes(module: "torch.nn.Module") -> dict[str, str]:
    """What layers know beside tensors and may not show in their `repr`: numbers (heads, slopes, epsilons), functions
    (an activation, a `forward` put in place of the class's own).
    """
    attributes = {}
    for path, layer in module.named_modules():
        for name, value in vars(layer).items():
            # "cached_...": what a layer of transformers keeps of its last call, which decides nothing.
            if name.startswith(("_", "cached_")) or name == "training":
                continue
            if value is None or isinstance(value, (bool, int, float, str, tuple, list)):
                shown = repr(value)
                attributes[f"{path}.{name}"] = (
                    shown if " at 0x" not in shown else ""
                )  # an address tells nothing
            elif code := getattr(getattr(value, "__func__", value), "__qualname__", ""):
                attributes[f"{path}.{name}"] = code
    return attributes


def _update(digest: "hashlib._Hash", value: Any) -> None:
    """Add a value of a state dict: a tensor by type, shape and bytes, anything else (packed weights) as torch
    stores it.
    """
    import io

    import torch

    plain = isinstance(value, torch.Tensor) and type(value) in (torch.Tensor, torch.nn.Parameter)
    if plain and not value.is_quantized and value.layout == torch.strided:
        tensor = value.detach().cpu().contiguous()
        digest.update(json.dumps([str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(memoryview(tensor.flatten().view(torch.uint8).numpy()))
        return
    buffer = io.BytesIO()
    torch.save(value, buffer)
    digest.update(buffer.getbuffer())


def stored_bytes(module: "torch.nn.Module") -> int:
    """Bytes of a network's state as torch would store it, counted without a second copy."""
    import torch

    counter = _ByteCounter()
    torch.save(module.state_dict(), counter)
    return counter.size


class _ByteCounter:
    """A file that only counts."""

    size = 0

    def write(self, data) -> int:
        length = len(data) if isinstance(data, bytes) else memoryview(data).nbytes
        self.size += length
        return length

    def flush(self) -> None:
        pass
