"""Does what a taught recogniser hears hang on the seed? Rows of the same methods, taught again with others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from lib.corpora.domains import HARD_SET
from lib.studies.misheard import SYSTEM, judged_on

if TYPE_CHECKING:
    import pandas as pd

MARK = "-s"  # before a further seed, behind the test set's name: "full@hard-s1"


def told(table: pd.DataFrame, system: str = SYSTEM) -> str | None:
    """Word errors on hard clips of each method with every seed, and their difference to full fine-tuning with the same
    one; None where there is one seed. table: of one run.
    """
    mine = table[(table.system == system) & (table.metric == "wer") & table.value.notna()]
    mine = mine[mine.target == judged_on(system)].drop_duplicates("variant", keep="last")
    errors: dict[str, dict[int, float]] = {}
    apart: dict[str, dict[int, float]] = {}
    for row in mine.itertuples():
        method, _, tests = row.variant.partition("@")
        name, _, seed = tests.partition(MARK)
        if name != HARD_SET:
            continue
        errors.setdefault(method, {})[int(seed or 0)] = row.value
        about = json.loads(row.detail) if row.detail.startswith("{") else {}
        if (full := about.get("to_full")) is not None:
            apart.setdefault(method, {})[int(seed or 0)] = full["difference"]
    several = {method: by_seed for method, by_seed in errors.items() if len(by_seed) > 1}
    if not several:
        return None
    heard = "; ".join(
        f"{method} {', '.join(f'{100 * value:.1f}' for value in by_seed.values())} %"
        for method, by_seed in several.items()
    )
    points = "; ".join(
        f"{method} {', '.join(f'{100 * value:+.1f}' for value in by_seed.values())} (seeds "
        f"{', '.join(map(str, by_seed))}; {100 * np.ptp(list(by_seed.values())):.1f} apart)"
        for method, by_seed in apart.items()
        if method in several
    )
    behind = f" Points more than full fine-tuning with the same seed: {points}." if points else ""
    return (
        f"Word errors on hard clips with several seeds: {heard}.{behind} Intervals are over texts: what moves with the "
        "seed by more than their width they do not know."
    )
