"""How good is each voice on each test set, and where does a pupil keep up with its teacher? A table and a sentence,
from rows of this run or of an earlier one.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lib import results
from lib.corpora.sentences import TEST_SETS
from lib.measure.evaluate import TEACHERS
from lib.metrics import METRICS
from lib.report import vocabulary
from lib.studies.by_text import METRICS as SHOWN
from lib.studies.by_text import variant

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from lib.report.collect import Row

CLOSE = 0.02  # of WER: two points


def rows(now: pd.DataFrame, earlier: pd.DataFrame) -> pd.DataFrame:
    """The rows of voices on the test sets from one run: this one, or the newest of the earlier runs that judged most,
    where they judged more. A column "test_set" says which set. Arguments: tables of `lib.results.read`.
    """
    best = _of_voices(now)
    for _, one in (
        _of_voices(earlier).sort_values("time", kind="stable", ascending=False).groupby(results.RUN, sort=False)
    ):
        if _cells(one) > _cells(best):
            best = one.sort_index()
    return best


def table(found: pd.DataFrame) -> pd.DataFrame:
    """A line per voice and test set: number of sentences, WER, recogniser's loss and predicted MOS with intervals, and
    whether an earlier run recorded it. found: of `rows`.
    """
    import pandas as pd

    lines = {}
    order = [(system, name) for system in dict.fromkeys(found.system) for name in TEST_SETS]
    parts = dict(list(found.groupby(["system", "test_set"])))
    for system, name in (key for key in order if key in parts):
        part = parts[system, name]
        cells = {row.metric: row for row in part.itertuples()}
        lines[system, name] = {
            "sentences": int(max(row.n for row in cells.values())),
            **{
                f"{METRICS[m].label}, {vocabulary.unit(m)}": _number(cells[m]) if m in cells else ""
                for m in SHOWN
            },
        } | ({"from": f"{part.notebook.iloc[0]}, recorded"} if part.recorded.all() else {})
    made = pd.DataFrame.from_dict(lines, orient="index")
    if len(made):
        made.index = pd.MultiIndex.from_tuples(made.index, names=["system", "test set"])
    return made


def finding(found: pd.DataFrame) -> str | None:
    """On which test sets each pupil's WER is within two points of its teacher's, in a sentence; None without a pupil
    and its teacher on two sets. found: of `rows`. A set counts where both read as many of its sentences, which then are
    the same: its first ones.
    """
    wer, n = {}, {}
    for row in found[found.metric == "wer"].itertuples():
        wer[row.system, row.test_set], n[row.system, row.test_set] = row.value, row.n
    said, compared = [], set()
    for pupil in dict.fromkeys(found.system):
        master = TEACHERS.get(pupil)
        both = [s for s in TEST_SETS if (pupil, s) in n and n[pupil, s] == n.get((master, s))]
        if len(both) < 2:
            continue
        compared |= set(both)
        gaps = {name: wer[pupil, name] - wer[master, name] for name in both}
        close = [name for name in both if gaps[name] <= CLOSE]
        worst = max(both, key=gaps.get)
        where = "on every set" if close == both else f"on {_listed(close)}" if close else "on none"
        said.append(f"{pupil} {where} ({100 * gaps[worst]:+.1f} points on {worst}, the largest gap)")
    if not said:
        return None
    sets = _listed([name for name in TEST_SETS if name in compared])
    return (
        f"Of {sets}, the WER is at most {100 * CLOSE:.0f} points above the teacher's (by value; few "
        f"sentences have wide intervals): {'; '.join(said)}."
    )


def section(every: Iterable[Row]) -> dict | None:
    """The table with its finding for the page; None where no voice was judged on more than one set.

    Returns {"finding", "columns": names, "lines": (system, test set, cells)}.
    """
    import pandas as pd

    frame = pd.DataFrame([dataclasses.asdict(row) for row in every])
    if frame.empty:
        return None
    chosen = rows(frame[~frame.recorded], frame[frame.recorded])
    if chosen.test_set.nunique() < 2:
        return None
    made = table(chosen).fillna("")
    lines = [(*names, list(map(str, cells))) for names, cells in zip(made.index, made.to_numpy(object))]
    return {"finding": (finding(chosen) or "").replace("**", ""), "columns": list(made.columns), "lines": lines}


def _of_voices(every: pd.DataFrame) -> pd.DataFrame:
    """The measured rows of voices on test sets, of each voice on the target that has most of them."""
    import pandas as pd

    names = {variant(name): name for name in TEST_SETS}
    voices = [system for system in every.system.unique() if vocabulary.role(system) == "voice"]
    chosen = every[
        every.variant.isin(names) & every.metric.isin(SHOWN) & every.value.notna() & every.system.isin(voices)
    ]
    chosen = chosen.assign(test_set=chosen.variant.map(names))
    counts = chosen.groupby([*results.RUN, "system", "target"], sort=False).test_set.nunique()
    best = list(counts.groupby([*results.RUN, "system"], sort=False).idxmax()) if len(counts) else []
    return chosen[pd.MultiIndex.from_frame(chosen[[*results.RUN, "system", "target"]]).isin(best)]


def _cells(found: pd.DataFrame) -> int:
    return len(found[["system", "test_set"]].drop_duplicates())


def _number(row) -> str:
    text = vocabulary.number(row.metric, row.value)
    if row.ci_low != row.ci_low:  # NaN: no interval
        return text
    return f"{text} [{vocabulary.number(row.metric, row.ci_low)}, {vocabulary.number(row.metric, row.ci_high)}]"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
