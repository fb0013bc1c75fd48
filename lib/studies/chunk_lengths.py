"""How long may a chunk for a neural processor be? Its cost by its length, where it outgrows the memory, and which of
the lengths tried costs least: no rule says that, as what lies beyond the spill point may still be cheaper than the
context that short chunks compute again and again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lib.deploy import vela
from lib.studies import simulated

if TYPE_CHECKING:
    import pandas as pd


def table(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Milliseconds for a second of audio that comes out as in the whole, by the length of the chunk: short ones are
    mostly context, long ones may outgrow the memory (`spill`). Infinite: no frame comes out so; "": not tried.

    rows: of several bucket lengths ("decoder-a8w8-f25"), with those that were not run; one line a stage and target, one
    column a length, each of the run that tried most lengths.
    """
    import pandas as pd

    long = pd.DataFrame(
        [
            (one.system, one.stage, one.target, one.frames, _cost(one))
            for chunks in _tried(rows)
            for one in chunks
        ],
        columns=["system", "stage", "target", "frames", "ms"],
    )
    wide = long.pivot(index=["system", "stage", "target"], columns="frames", values="ms")
    told = "frames of a chunk; ms for a second of audio that comes out right"
    return wide.astype(object).fillna("").rename_axis(columns=told)


def spill(rows: "pd.DataFrame") -> str | None:
    """From which length of a chunk on a stage outgrows a device, in a sentence; None without a sweep."""
    said = []
    for chunks in _tried(rows):
        over, fits = ([one for one in chunks if one.outgrows is word] for word in (True, False))
        name = f"{chunks[0].system} {chunks[0].stage} on {chunks[0].target}"
        if over and fits:
            said.append(f"{name} between {fits[-1].frames} and {over[0].frames} frames")
        elif over:
            said.append(f"{name} from {over[0].frames} frames, the shortest tried")
        elif fits:
            said.append(f"{name} not up to {fits[-1].frames}")
    return f"The spill point, by what the compilers say of the memory: {'; '.join(said)}." if said else None


def cheapest(rows: "pd.DataFrame") -> str | None:
    """Which of the lengths of a chunk costs least for a second of audio that comes out as in the whole, in a sentence,
    and on which side of the spill point it lies; None without a sweep.
    """
    said = []
    for chunks in _tried(rows):
        able = [one for one in chunks if not (one.does_not_fit or one.collapsed or math.isinf(one.ms_a_second))]
        if not able:
            said.append(f"{chunks[0].system} {chunks[0].stage} on {chunks[0].target} none of those tried")
            continue
        best = min(able, key=lambda one: one.ms_a_second)
        about = [f"{best.ms_a_second:.3g} ms", *(["beyond its spill point"] if best.outgrows else [])]
        if best is able[-1]:
            about.append("the longest that fits" if chunks[-1].does_not_fit else "the longest tried")
        said.append(f"{best.system} {best.stage} on {best.target} {best.frames} frames ({', '.join(about)})")
    told = "Of the lengths tried a second of audio that comes out right costs least at"
    return f"{told}: {'; '.join(said)}." if said else None


def wanting(rows: "pd.DataFrame") -> str | None:
    """What tries a first sweep, in a sentence; None where there is one."""
    return (
        None
        if _tried(rows)
        else "Nobody has tried other lengths yet: `./run_all.sh quick --only 06 --set npu=install --set "
        "'chunks=[25, 50, 100]' --set 'swept=[vits-joe/decoder]'` does."
    )


def _cost(chunk: simulated.Line) -> float | str:
    return vela.NO_ROOM if chunk.does_not_fit else round(chunk.ms_a_second, 2)


def _tried(rows: "pd.DataFrame") -> list[list[simulated.Line]]:
    """The chunks of each stage on each device, short before long, of the run that tried most lengths: with a time, or
    refused as too large, which is an answer, too.
    """
    tried: dict[tuple, dict[tuple, dict[int, simulated.Line]]] = {}
    for line in simulated.read(rows):
        timed = line.kind == "simulated" and line.ms_a_second is not None
        if timed or (line.why_not and line.does_not_fit):
            of_run = tried.setdefault((line.system, line.stage, line.target), {}).setdefault(line.run, {})
            of_run[line.frames] = line
    most = [
        max(runs.values(), key=lambda by: (len(by), max(one.time for one in by.values())))
        for runs in tried.values()
    ]
    return [[by[frames] for frames in sorted(by)] for by in most if len(by) > 1]
