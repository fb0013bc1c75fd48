"""What do zeros save, and where? Of a share of every Linear's weights set to zero: the file as it is, the same file
compressed, the other weights alone, and what a product takes then; beside rows taken out whole.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib import environment, optimize, systems
from lib.optimize import selection, stored
from lib.optimize.prune import compressed_mb

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from lib.results import Run
    from lib.systems.model import Model

TARGET, SUFFIX = "torch/cpu", "@linear"  # behind the names of variants: every Linear, nothing else
WHOLE = "baseline"
SHARES = (0.3, 0.7)
AT_ONCE = (64, 1)  # symbols or frames that a layer is given at once: an encoder's, a decoder's
_CLOCK = "time.perf_counter, the products of all Linear layers in turns, the fastest of each"


def measure(
    run: Run,
    folder: str | Path,
    *,
    system: str = "speecht5",
    shares: Sequence[float] = SHARES,
    passes: int = 5,
    threads: int = 2,
) -> None:
    """Rows of sizes and times of a system whose Linears are pruned. system: "speecht5", or "speecht5-base" of the
    published size, whose weights are random: its bytes compress like noise, those of a trained one hardly better.

    Sizes are of saved files: dense, as one zip archive (`...-zip`), and with the other weights alone (`...-csr`). Times
    are of the Linears' products alone, against dense ones: by sparse kernels (`...-csr`), and of layers that have so
    many outputs fewer (`structured-...`), whose sound is another question.
    """
    environment.pin_threads(threads)
    base = systems.load(system, target=TARGET, threads=threads)
    written(run, base, folder, shares=shares, passes=passes)


def written(
    run: Run, base: Model, folder: str | Path, *, shares: Sequence[float] = SHARES, passes: int = 5
) -> None:
    """The rows of `measure` of a loaded system."""
    names = selection.layers(base, ("Linear",), types=("Linear",))
    whole = Path(folder) / base.name / WHOLE
    stored.write(base, whole)
    _size(run, base, WHOLE, _megabytes(whole), "bytes of all weights, half precision where that is exact")
    _size(run, base, f"{WHOLE}-zip", compressed_mb(whole), "the same, one zip archive")
    for share in shares:
        made = {
            storage: optimize.make(base, "pruned", share=share, types=["Linear"], storage=storage)
            for storage in ("dense", "csr")
        }
        for storage, variant in made.items():
            home = optimize.save(variant, Path(folder) / base.name / f"{variant.variant}{SUFFIX}")
            weights = [path for path in home.iterdir() if path.name.startswith("weights")]
            source = (
                "bytes of all weights, zeros among them" if storage == "dense" else "weights that are not zero"
            )
            _size(run, base, variant.variant, _megabytes(*weights), source)
            if storage == "dense":
                _size(run, base, f"{variant.variant}-zip", compressed_mb(*weights), "the same, one zip archive")
        _times(run, base, names, made["dense"], made["csr"], share, passes)


def finding(rows: pd.DataFrame) -> list[str]:
    """What zeros save, a sentence for each system and share. rows: of `lib.results.read`."""
    mine = rows[rows.variant.str.endswith(SUFFIX) & (rows.target == TARGET) & rows.value.notna()]
    said = []
    for system, found in mine.groupby("system", sort=False):
        values = {
            (row.variant.removesuffix(SUFFIX), row.metric): row.value for row in found.itertuples()
        }  # the last of a name
        for pruned, metric in list(values):
            if metric != "size_mb" or not pruned.startswith("pruned-") or pruned.endswith(("-zip", "-csr")):
                continue
            share = pruned.partition("-")[2]
            names = {"dense": pruned, "zip": f"{pruned}-zip", "csr": f"{pruned}-csr"}
            names |= {"whole": WHOLE, "whole zip": f"{WHOLE}-zip"}
            size = {kind: values.get((name, "size_mb")) for kind, name in names.items()}
            times = [values.get((name, "speedup")) for name in (f"{pruned}-csr", f"structured-{share}")]
            if None in (*size.values(), *times):
                continue
            sparse, structured = (1 / gain for gain in times)
            passes = int(found[found.metric == "speedup"].n.iloc[-1])
            said.append(
                f"With {share} % of its Linear weights zero {system} has {size['dense']:.1f} MB beside "
                f"{size['whole']:.1f}, zipped {size['zip']:.1f} beside {size['whole zip']:.1f}, "
                f"and {size['csr']:.1f} without the zeros. Its products take {sparse:.2f} times as long by sparse "
                f"kernels, {structured:.2f} times where whole rows are gone instead (one process, the fastest of "
                f"{passes} passes of each layer: no interval)."
            )
    return said


def _size(run: Run, base: Model, variant: str, megabytes: float, source: str) -> None:
    run.add(base.name, f"{variant}{SUFFIX}", TARGET, "size_mb", megabytes, source=source)


def _megabytes(*paths: Path) -> float:
    files: Iterable[Path] = (f for path in paths for f in (path.rglob("*") if path.is_dir() else [path]))
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def _times(
    run: Run, base: Model, names: Sequence[str], dense: Model, csr: Model, share: float, passes: int
) -> None:
    """Rows of what products by sparse kernels and by smaller layers are against dense ones, over all Linears."""
    import torch

    pairs = [(selection.layer(dense, name), selection.layer(csr, name)) for name in names]
    kinds = {"dense": [one for one, _ in pairs], "csr": [other for _, other in pairs]}
    kinds["structured"] = [
        torch.nn.Linear(one.in_features, max(1, round(one.out_features * (1 - share)))) for one, _ in pairs
    ]
    spent = {n: in_turns(kinds, n, passes) for n in AT_ONCE}
    for kind, variant in (("csr", csr.variant), ("structured", f"structured-{round(100 * share)}")):
        ratios = {n: seconds["dense"] / seconds[kind] for n, seconds in spent.items()}
        run.add(
            base.name,
            f"{variant}{SUFFIX}",
            TARGET,
            "speedup",
            ratios[AT_ONCE[0]],
            n=passes,
            source=_CLOCK,
            baseline=f"{dense.variant}{SUFFIX}",
            detail={
                "of": f"{base.name} {dense.variant}{SUFFIX} on {TARGET}",
                "layers": len(names),
                "at_once": AT_ONCE[0],
                "at_once_1": round(ratios[1], 3),
                "threads": torch.get_num_threads(),
            },
        )


def in_turns(kinds: dict[str, Sequence[torch.nn.Module]], n: int, passes: int) -> dict[str, float]:
    """Seconds that the products of some layers take with n inputs each, by kind; the kinds take turns layer by layer,
    and of each layer the fastest of all passes counts.
    """
    import torch

    count = len(next(iter(kinds.values())))
    fastest = {kind: np.full(count, np.inf) for kind in kinds}
    with torch.inference_mode():
        for turn in range(passes + 1):  # the first is not counted
            for index in range(count):
                some = next(iter(kinds.values()))[index]
                given = torch.zeros(n, some.in_features) + 1 / 3
                order = list(kinds) if turn % 2 else list(reversed(kinds))
                for kind in order:
                    begin = time.perf_counter()
                    kinds[kind][index](given)
                    spent = time.perf_counter() - begin
                    if turn:
                        fastest[kind][index] = min(fastest[kind][index], spent)
    return {kind: float(seconds.sum()) for kind, seconds in fastest.items()}
