"""What do a second thread and a second sentence bring? The same stages with other numbers of a processor's threads, and
with several sentences side by side in one run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import results
from lib.deploy.stages import THREADS, Stage
from lib.studies import deployment
from lib.studies.placed import Placed

if TYPE_CHECKING:
    import pandas as pd

NOTEBOOK = "06_gpu_vs_npu"


def compare(
    run: "results.Run",
    stages: Sequence[Stage],
    names: Sequence[str],
    *,
    threads: Sequence[int] = (1,),
    batches: Sequence[int] = (4,),
    **how: Any,
) -> list[Placed]:
    """Stages on targets as `deployment.compare` has them, which see: with each number of threads, then with THREADS and
    each number of sentences a run.
    """
    placed, how = [], how | {"speedups": False}  # those of other threads are no rivals of the usual ones
    for n in threads:
        placed += deployment.compare(run, stages, names, threads=n, **how)
    for n in batches:
        placed += deployment.compare(run, [stage.batched(n) for stage in stages], names, **how)
    return placed


def table(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Milliseconds for a second of audio, a line each stage and target, a column each number of threads and sentences;
    of the newest run that timed more than one.
    """
    wide = _wide(rows).round(2)
    wide.columns = [_named(*column) for column in wide.columns]
    return wide


def finding(rows: "pd.DataFrame") -> str | None:
    """How many times as fast more threads and more sentences are, from the least to the most, in sentences."""
    wide, said = _wide(rows), []
    usual = (THREADS, 1)
    for column in wide.columns:
        if column == usual or usual not in wide:
            continue
        first, second = (column, usual) if column[0] < usual[0] else (usual, column)
        gains = (wide[first] / wide[second]).dropna()
        if len(gains):
            said.append(
                f"{_named(*second)} instead of {_named(*first)}: {gains.min():.2f} to {gains.max():.2f} times as much "
                f"audio in the same time ({len(gains)} stages on their targets)"
            )
    return f"{'; '.join(said)}." if said else None


def _named(threads: int, batch: int) -> str:
    """
    >>> _named(1, 1), _named(2, 4)
    ('1 thread', '2 threads, 4 sentences')
    """
    sentences = "" if batch == 1 else f", {batch} sentences"
    return f"{threads} thread{'' if threads == 1 else 's'}{sentences}"


def _wide(rows: "pd.DataFrame") -> "pd.DataFrame":
    """ms for a second of audio of each stage, columns (threads, batch)."""
    import pandas as pd

    names, found = ["system", "stage", "target"], {}
    timed = rows[(rows.metric == "latency_ms_p50") & (rows.kind == "measured")]
    timed = timed[timed.notebook.str.startswith(NOTEBOOK) & timed.target.str.endswith("/cpu")]
    for _, own in timed.sort_values("time").groupby(results.RUN, sort=False):
        lines: dict[tuple, dict] = {}
        for row in own.itertuples():
            told = json.loads(row.detail)
            if "audio_s" not in told:  # of a whole voice: the bench divides by the audio itself, in rtf
                continue
            column = (told["threads"], told.get("batch", 1))
            stage = row.variant.removesuffix(f"-{told['threads']}t").removesuffix(f"-b{column[1]}")
            lines.setdefault((row.system, stage, row.target), {})[column] = row.value / told["audio_s"]
        found |= {line: values for line, values in lines.items() if len(values) > 1}
    columns = sorted({column for values in found.values() for column in values})
    values = [[found[line].get(column, np.nan) for column in columns] for line in found]
    index = (
        pd.MultiIndex.from_tuples(list(found), names=names)
        if found
        else pd.MultiIndex.from_arrays([[]] * 3, names=names)
    )
    wide = pd.DataFrame(values, index=index)
    wide.columns = pd.Index(columns, tupleize_cols=False) if columns else wide.columns
    return wide
