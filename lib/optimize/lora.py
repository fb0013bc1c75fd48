"""How does a network learn something new with few weights of its own, and how do these lie beside it? As an adapter.

    full      no adapter: every weight learns
    lora      beside a layer's weight a product of two thin matrices (Hu et al. 2021, arXiv:2106.09685)
    dora      that, and the length of each column apart from its direction (Liu et al. 2024, arXiv:2402.09353)
    ia3       a factor for each key, value and unit of the feed-forward layers (Liu et al. 2022, arXiv:2205.05638)
    qlora     lora beside weights of 4 bits (Dettmers et al. 2023, arXiv:2305.14314), of bitsandbytes
    speaker   the table of speakers alone, the cheap baseline

The layers are peft's, put into the network itself, so that it is called as before: no wrapper passes `input_ids` on to
a network of speech. What learns is the adapter's `own`, and that alone is saved, with a hash of its base.

Prefix tuning (Li and Liang 2021, arXiv:2101.00190), the other cheap baseline, is not among them. It is the one of
peft's that is no layer: keys and values that a whole language model of transformers takes as `past_key_values`.
FastSpeech 2's conformer takes none, for its attention counts distances and has no cache; `speecht5` learns without a
cache and speaks with one of its own (`lib.systems.speecht5.decoding`). A prefix there would be our own network.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import MissingDataError, ParameterError, TrainingError, unknown
from lib.files import write_atomic
from lib.optimize import adapter_layers
from lib.optimize.adapter_layers import GROUPS, METHODS

if TYPE_CHECKING:
    import torch
    from torch import nn

FORMAT = 1
FILE = "adapter.safetensors"  # the usual name of the one file that an adapter is
RANKED = ("lora", "dora", "qlora")
_PLACE = "_adaptation"  # where a network keeps what was done to it


@dataclass(frozen=True)
class Adapter:
    """What is put beside a network."""

    method: str = "lora"  # of `METHODS`
    rank: int = 8  # of the two thin matrices' product; nothing to ia3, speaker and full
    alpha: float = 16.0  # the product counts alpha / rank
    modules: tuple[str, ...] = ("attention", "feed-forward")  # of `GROUPS`: which layers get one
    dropout: float = 0.0  # of what the thin matrices see, in training
    seed: int = 0  # of their first weights

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("method of fine-tuning", self.method, METHODS)
        if isinstance(self.modules, str) or not self.modules:
            raise ParameterError(f"modules are {self.modules!r}: give a list of {', '.join(GROUPS)}")
        for group in self.modules:
            if group not in GROUPS:
                raise unknown("group of modules", group, GROUPS)
        object.__setattr__(self, "modules", tuple(self.modules))
        if self.rank < 1 or not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise ParameterError(
                f"{self}: a rank is at least 1, alpha is above 0, and a dropout lies in [0, 1)"
            )

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Adapter:
        """The adapter that a description of one (`describe`) means."""
        return cls(**{field.name: header[field.name] for field in dataclasses.fields(cls)})

    @property
    def label(self) -> str:
        """The name of a variant: the rank belongs to it where there is one.

        >>> Adapter("lora", rank=4).label, Adapter("ia3").label
        ('lora-r4', 'ia3')
        """
        return f"{self.method}-r{self.rank}" if self.method in RANKED else self.method


@dataclass(frozen=True)
class Adaptation:
    """What a network was given. own: names in its state of what learns and is saved; beside: those of them that are no
    layers of the adapter; base: the hash of all else before; total: parameters of the network without the adapter.
    """

    adapter: Adapter
    own: tuple[str, ...]
    beside: tuple[str, ...]
    base: str
    total: int


def adapted(
    network: nn.Module,
    method: str = "lora",
    rank: int = 8,
    alpha: float = 16.0,
    modules: Sequence[str] = ("attention", "feed-forward"),
    dropout: float = 0.0,
    seed: int = 0,
) -> nn.Module:
    """A copy of a network with an adapter; only what is the adapter's own learns. Errors as of `adapt`."""
    return adapt(copy.deepcopy(network), Adapter(method, rank, alpha, tuple(modules), dropout, seed))


def adapt(network: nn.Module, adapter: Adapter, own: Sequence[str] = ()) -> nn.Module:
    """The network itself, with an adapter. own: names of parameters and buffers that belong to the adapter, too.

    Raises ParameterError where it has one already, where no layer is of the groups wanted, or for a rank larger than a
    layer; MissingPackageError for qlora without bitsandbytes.
    """
    if getattr(network, _PLACE, None) is not None:
        raise ParameterError("this network has an adapter already: give the base, or merge the adapter first")
    state = network.state_dict()
    for name in own:
        if name not in state:
            raise unknown("tensor of the network", name, state)
    base = base_key(network, without=own)
    total = sum(p.numel() for name, p in network.named_parameters() if name not in own)
    if adapter.method == "full":
        network.requires_grad_(True)
        names = tuple(state)
    else:
        added = adapter_layers.put(network, adapter, own)
        for layer in adapter_layers.of(network):
            layer.train(network.training)  # peft leaves its own in training
        names = (*own, *(name for name in added if name not in own))
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in names)
    setattr(network, _PLACE, Adaptation(adapter, names, tuple(own), base, total))
    return network


def adaptation(network: nn.Module) -> Adaptation:
    """What a network was given; ParameterError where it has no adapter."""
    given = getattr(network, _PLACE, None)
    if given is None:
        raise ParameterError("this network has no adapter: make one with `lora.adapt`, or load one")
    return given


def base_key(network: nn.Module, without: Sequence[str] = ()) -> str:
    """A hash of a network's weights, by which an adapter knows its base."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(network.state_dict().items()):
        if name in without:
            continue
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(memoryview(value.flatten().view(torch.uint8).numpy()) if value.numel() else b"")
    return digest.hexdigest()


def own_state(network: nn.Module) -> dict[str, torch.Tensor]:
    """The adapter's own weights, by their names in the network's state."""
    state = network.state_dict()
    return {name: state[name] for name in adaptation(network).own}


def trainable(network: nn.Module) -> dict[str, float]:
    """How much learns: {"trainable_params", "trainable_params_pct": of the network without the adapter,
    "adapter_bytes": of its weights}.
    """
    state, parameters = own_state(network), dict(network.named_parameters())
    count = sum(value.numel() for name, value in state.items() if name in parameters)
    return {
        "trainable_params": count,
        "trainable_params_pct": 100 * count / adaptation(network).total,
        "adapter_bytes": sum(value.numel() * value.element_size() for value in state.values()),
    }


@contextmanager
def off(network: nn.Module) -> Iterator[nn.Module]:
    """Inside, the adapter's layers answer as the base's do, bit for bit (qlora's: as the base in 4 bits).

    ParameterError for full, whose base is gone.
    """
    if adaptation(network).adapter.method == "full":
        raise ParameterError(
            "full fine-tuning changed the base's own weights: nothing can be switched off; load the base"
        )
    learns = {name: p.requires_grad for name, p in network.named_parameters()}
    for layer in adapter_layers.of(network):
        layer.enable_adapters(False)
    try:
        yield network
    finally:
        for layer in adapter_layers.of(network):
            layer.enable_adapters(True)
        for name, parameter in network.named_parameters():  # peft changes it with the switch
            parameter.requires_grad_(learns[name])


def merge(network: nn.Module) -> nn.Module:
    """Add the adapter to the weights beside which it lies, in place; `unmerge` takes it out again.

    ParameterError for qlora: the sum would be rounded to 4 bits, which is another network than the one that learnt.
    """
    if adaptation(network).adapter.method == "qlora":
        raise ParameterError(
            "a merge into weights of 4 bits rounds what was learnt: keep the adapter beside them, or train lora"
        )
    for layer in adapter_layers.of(network):
        layer.merge(safe_merge=True)
    return network


def unmerge(network: nn.Module) -> nn.Module:
    """Take a merged adapter out of the weights, in place; they are the base's but for the rounding of a sum."""
    for layer in adapter_layers.of(network):
        layer.unmerge()
    return network


def merged(network: nn.Module) -> nn.Module:
    """A copy whose layers are plain ones again, the adapter within their weights; errors as of `merge`."""
    plain = merge(copy.deepcopy(network))
    adapter_layers.take_out(plain)
    setattr(plain, _PLACE, None)
    return plain


def save(network: nn.Module, file: str | Path, about: Mapping[str, Any] | None = None) -> Path:
    """Store the adapter alone. about: what its reader should know beside it, as JSON."""
    import safetensors.torch

    given = adaptation(network)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in own_state(network).items()}
    header = {
        "format": FORMAT,
        **dataclasses.asdict(given.adapter),
        "own": list(given.own),
        "beside": list(given.beside),
        "base": given.base,
        "total": given.total,
        "about": dict(about or {}),
    }
    return write_atomic(Path(file), safetensors.torch.save(tensors, {"adapter": json.dumps(header)}))


def describe(file: str | Path) -> dict[str, Any]:
    """What a file of `save` says: the adapter's fields, "own", "base", "total", "about".

    Raises MissingDataError where there is none, TrainingError where it is no adapter, or cut short.
    """
    return _read(Path(file))[0]


def load(network: nn.Module, file: str | Path) -> nn.Module:
    """The network itself, with a saved adapter. TrainingError for an adapter of another base, or a damaged one."""
    header, tensors = _read(Path(file))
    beside = header["beside"]
    if not set(beside) <= set(network.state_dict()) or base_key(network, without=beside) != header["base"]:
        raise TrainingError(
            f"{file} is an adapter of another base than this network: load the base that it was trained on"
        )
    adapt(network, Adapter.of(header), beside)
    put_state(network, tensors, str(file))
    return network


def put_state(network: nn.Module, tensors: Mapping[str, torch.Tensor], whose: str) -> None:
    """Give a network's adapter its weights; TrainingError where they are not those that it has."""
    own = adaptation(network).own
    if set(tensors) != set(own):
        differing = sorted(set(tensors) ^ set(own))
        raise TrainingError(
            f"{whose} does not hold the weights of this adapter ({', '.join(differing[:3])}): it is damaged, or of "
            "another network"
        )
    try:
        network.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        raise TrainingError(
            f"{whose} does not fit this network ({' '.join(str(error).split())[:200]}): it is of another one"
        ) from error


def _read(file: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    import safetensors

    if not file.is_file():
        raise MissingDataError(f"no adapter at {file}: train one, or name another file")
    try:
        with safetensors.safe_open(file, "pt") as stored:
            header = json.loads((stored.metadata() or {})["adapter"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}
        if header["format"] != FORMAT or set(header["own"]) != set(tensors) or header["beside"] is None:
            raise ValueError("its header and its weights do not belong together")
        Adapter.of(header)
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise TrainingError(
            f"{file} is no whole adapter ({error!r}): train it anew, or copy it again"
        ) from error
    return header, tensors
