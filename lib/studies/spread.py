"""What do a second thread and a second sentence bring? The same stages with other numbers of a processor's threads, and
with several sentences side by side in one run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lib import results, targets
from lib.deploy.stages import THREADS, Stage
from lib.studies.floor_rows import detail
from lib.studies.floors import Number
from lib.studies.placed import Placed

if TYPE_CHECKING:
    import pandas as pd

NOTEBOOK = "06_gpu_vs_npu"


def beside(
    chosen: Sequence[str], threads: Sequence[int] = (1,), batches: Sequence[int] = (4,)
) -> Callable[[Placed], list[Placed]]:
    """What `deployment.compare` times in the same rounds: of chosen stages ("vits-joe/decoder") on a processor the same
    with each other number of threads, then with its own and each number of sentences a run.
    """
    wide: dict[tuple[Stage, int], Stage] = {}

    def others(one: Placed) -> list[Placed]:
        if one.stage.label not in chosen or targets.find(one.target).device != "cpu":
            return []
        several = [n for n in batches if n != 1]
        for n in several:
            wide.setdefault((one.stage, n), one.stage.batched(n))
        # Its own number of threads again would be a second candidate of the same name.
        counted = [replace(one, threads=n) for n in threads if n != one.threads]
        return counted + [replace(one, stage=wide[one.stage, n]) for n in several]

    return others


def table(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Milliseconds for a second of audio, a line each stage and target, a column each number of threads and sentences;
    of the newest run that timed more than one.
    """
    wide = _wide(rows).round(2)
    wide.columns = [_named(*column) for column in wide.columns]
    return wide


def finding(rows: "pd.DataFrame") -> str | None:
    """How many times as fast more threads and more sentences are, from the least to the most of what was timed in the
    same rounds, and of how many that is sure, in sentences; None without any.
    """
    timed = rows[(rows.metric == "latency_ms_p50") & (rows.kind == "measured")]
    timed = timed[timed.notebook.str.startswith(NOTEBOOK)].sort_values("time")
    gains: dict[tuple[tuple[int, int], int], list[Number]] = {}
    for row in timed.drop_duplicates(["system", "variant", "target"], keep="last").itertuples():
        told = detail(row)
        if gain := told.get("beside_usual"):
            one = Number(gain["value"], gain["ci_low"], gain["ci_high"])
            column = told["threads"], told.get("batch", 1)
            gains.setdefault((column, gain.get("threads", THREADS)), []).append(one)
    said = [_gained(*columns, found) for columns, found in sorted(gains.items())]
    return f"{'; '.join(said)}." if said else None


def _gained(column: tuple[int, int], threads: int, found: Sequence[Number]) -> str:
    """Of one number of threads and sentences beside the usual, which had so many threads."""
    usual, fewer = (threads, 1), column[0] < threads
    second, first = (usual, column) if fewer else (column, usual)
    times = [1 / one.value if fewer else one.value for one in found]
    surely = sum(one.ends is not None and not one.ends[0] <= 1 <= one.ends[1] for one in found)
    return (
        f"{_named(*second)} instead of {_named(*first)}: {min(times):.2f} to {max(times):.2f} times as much audio in "
        f"the same time ({len(found)} stages on their targets, {surely} of them with an interval that leaves out 1)"
    )


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
