"""What do zeros save? Single weights set to zero, wherever they stand: neither bytes nor time, as long as they are
stored and multiplied like other numbers.

`pruned` sets the smallest share of the weights to zero, or as a control a random one. What then saves something:
`storage="csr"` keeps the others alone (`sparse`), and a download may be compressed (`compressed_mb`).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import MissingDataError, ParameterError, unknown
from lib.optimize import selection
from lib.optimize.prune_channels import check_share
from lib.optimize.sparse import CsrLinear
from lib.optimize.variant import Technique
from lib.systems.model import Model

if TYPE_CHECKING:
    import torch

Strings = Sequence[str]
KINDS = ("Linear", "Conv1d", "Conv2d", "ConvTranspose1d", "LSTM", "GRU", "LSTMCell", "GRUCell")
SCOPES = ("layer", "all")
IMPORTANCES = ("l1", "random")
STORAGES = ("dense", "csr")


def pruned(
    system: Model,
    *,
    share: float,
    scope: str = "layer",
    importance: str = "l1",
    storage: str = "dense",
    seed: int = 0,
    stages: Strings = (),
    types: Strings = (),
    layers: Strings = (),
    skip: Strings = (),
) -> dict[str, Any]:
    """Set a share of the weights of a torch system to zero, in place.

    scope: the share of each layer ("layer"), or of all selected weights together, so that layers of small weights lose
    more ("all"); importance: the smallest go ("l1"), or any ("random"); storage: as before ("dense"), or of every
    selected Linear the other weights alone ("csr"); the rest: see `lib.optimize.selection`. Returns counts, and for
    "csr" how many weights each layer keeps.
    """
    import torch

    check_share(share)
    for name, value, known in (
        ("scope", scope, SCOPES),
        ("importance", importance, IMPORTANCES),
        ("storage", storage, STORAGES),
    ):
        if value not in known:
            raise unknown(name, value, known)
    names = selection.layers(system, KINDS, stages=stages, types=types, layers=layers, skip=skip)
    weights = _weights(system, names)
    parameters = round(1e6 * system.params_m)
    groups = [weights] if scope == "all" else [[weight] for weight in weights]
    zeros = _zeros(weights)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for group in groups:
            for weight, mask in zip(group, _masks(group, share, importance)):
                weight.mul_(mask)
    if _zeros(weights) == zeros:
        raise ParameterError(
            f"no weight of {system.name} became zero: of {sum(w.numel() for w in weights)} selected ones {zeros} were "
            f"zero before, and {share:g} of them is no more; take a larger share, or a base that is not pruned"
        )
    counts = {
        "weights": sum(weight.numel() for weight in weights),
        "zeros": _zeros(weights),
        "parameters_before": parameters,
    }
    if storage == "csr":
        counts["nonzeros"] = _sparsify(system, names)
    return {**counts, "parameters_after": round(1e6 * system.params_m)}


def compressed_mb(*paths: str | Path) -> float:
    """10^6 bytes of files, and of all files in folders, as one zip archive of the highest compression."""
    files = [f for path in map(Path, paths) for f in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    counter = _Counter()
    with zipfile.ZipFile(counter, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number, file in enumerate(files):
            if not file.exists():
                raise MissingDataError(f"{file} is not there: save the variant first")
            if file.is_file():
                archive.writestr(
                    zipfile.ZipInfo(f"{number}/{file.name}"), file.read_bytes(), zipfile.ZIP_DEFLATED, 9
                )
    if not counter.tell():
        raise MissingDataError("no files to compress: give a folder that holds some")
    return counter.tell() / 1e6


def _masks(weights: Sequence["torch.Tensor"], share: float, importance: str) -> list["torch.Tensor"]:
    """1 for what stays, 0 for what goes, a mask for each of some weights that are ranked together."""
    import torch
    from torch.nn.utils import prune

    method = {"l1": prune.L1Unstructured, "random": prune.RandomUnstructured}[importance](float(share))
    flat = torch.cat([weight.detach().reshape(-1) for weight in weights])
    mask = method.compute_mask(flat, torch.ones_like(flat))
    parts = mask.split([weight.numel() for weight in weights])
    return [part.view(weight.shape) for part, weight in zip(parts, weights)]


def _weights(system: Model, names: Strings) -> list["torch.Tensor"]:
    """The matrices and filters of some layers, shared ones once."""
    found = {}
    for name in names:
        for key, value in selection.layer(system, name).named_parameters(recurse=False):
            if key.startswith("weight") and value.ndim > 1:
                found.setdefault(id(value), value)
    return list(found.values())


def _zeros(weights: Sequence["torch.Tensor"]) -> int:
    return sum(int((weight == 0).sum()) for weight in weights)


def _sparsify(system: Model, names: Strings) -> dict[str, int]:
    linear = [name for name in names if type(selection.layer(system, name)).__name__ == "Linear"]
    if not linear:
        raise ParameterError(
            f"csr is a storage of Linear layers, and none is selected in {system.name}: select some"
        )
    kept = {}
    for name in linear:
        sparse = CsrLinear.of(selection.layer(system, name))
        selection.replace(system, name, sparse)
        kept[name] = sparse.values.numel()
    return kept


def _rebuild(system: Model, *, changed: Mapping[str, Any], **arguments: Any) -> None:
    for name, count in changed.get("nonzeros", {}).items():
        whole = selection.layer(system, name)
        empty = CsrLinear(whole.in_features, whole.out_features, count, bias=whole.bias is not None)
        selection.replace(system, name, empty.to(whole.weight.device).eval())


class _Counter:
    """A file that only counts."""

    size = 0

    def write(self, data) -> int:
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        pass


def _label(share: float = 0, importance: str = "l1", storage: str = "dense", **_: Any) -> str:
    check_share(share)
    random, csr = ("-random" if importance == "random" else ""), ("-csr" if storage == "csr" else "")
    return f"pruned-{round(100 * share)}{random}{csr}"


PRUNED = Technique("pruned", pruned, _rebuild, label=_label)
