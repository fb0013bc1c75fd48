"""What does somebody promise of a quantized and pruned SpeechT5, and how much faster and smaller is ours?

`lib.report.claims` lays the two beside each other.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import systems
from lib.measure import bench
from lib.studies import confirmed, failed, menu, sensitivity
from lib.studies.floor_rows import cell, speed_up
from lib.studies.resumed import kept

if TYPE_CHECKING:
    import pandas as pd

    from lib.measure.benched import Benched, Candidate
    from lib.results import Run

log = logging.getLogger(__name__)

BASE, SMALL, WHOLE = "speecht5-base", "speecht5", "baseline"  # the published size, the one trained here


@dataclass(frozen=True)
class Claim:
    """What somebody promises: the value before and after, each from low to high, in the unit of `scale`."""

    metric: str
    before: tuple[float, float]
    after: tuple[float, float]
    unit: str
    scale: float = 1.0  # of the results' unit


Steps = Sequence[tuple[str, Mapping[str, Any]]]

CLAIMED_ON = "torch/cpu"  # of the rows that claims are compared with
CLAIMS = (
    Claim("size_mb", (1000, 1500), (300, 400), "MB"),
    Claim("latency_ms_p50", (3500, 5000), (2000, 2500), "ms"),
    Claim("mos_predicted", (4.2, 4.5), (4.0, 4.3), "MOS"),
    Claim("pesq_wb", (4.1, 4.1), (3.9, 3.9), "MOS-LQO"),
    Claim("wer", (5, 6), (7, 8), "%", 100.0),
)


def published(
    run: Run,
    texts: Sequence[str],
    folder: str | Path,
    *,
    extent: str,
    rounds: int = 1,
    threads: int = 2,
    resume: bool = False,
    only: Collection[str] = (),
) -> dict[str, Benched]:
    """Size and speed of the published SpeechT5 as it is and made smaller, on both runtimes, in one bench; its weights
    are random, so nobody judges it.

    extent: "quick" what is claimed, on torch; "study" what else can be had. Of every variant a row says how many times
    as fast and as small it is as the whole network on torch; what cannot be made has one that says why. only: systems
    that a run is about (`menu.trials`): nothing is done where SpeechT5 is not among them.
    """
    if only and not {BASE, SMALL} & {label.partition("/")[0] for label in only}:
        return {}
    candidates: dict[str, Candidate] = {}
    for target, variants in _variants(extent).items():
        base = failed.tried(
            run, (BASE, WHOLE, target), lambda: systems.load(BASE, target=target, threads=threads)
        )
        if base is None:
            continue
        candidates[f"{WHOLE} on {target}"] = bench.Candidate.of(base)
        for name, steps in variants:
            try:
                made = confirmed.make(base, steps, name, folder, resume=resume)
                candidates[f"{name} on {target}"] = bench.Candidate.of(made)
            except Exception as error:
                failed.told(run, (BASE, name, target), error)
                continue
            log.info("%s %s on %s: %.0f MB", BASE, name, target, made.size_mb)
    kept_in = Path(folder) if resume else None
    names = (BASE, WHOLE, CLAIMED_ON)
    return (
        failed.tried(run, names, lambda: _timed(run, candidates, list(texts), kept_in, rounds, threads)) or {}
    )


def _timed(run, candidates, texts, folder, rounds, threads) -> dict[str, Benched]:
    """The bench, with its rows."""
    whose = [(*one.names, one.fingerprint) for one in candidates.values()]
    benched = kept(
        folder,
        lambda: ["bench", whose, texts, rounds, threads, run.seed],
        lambda: bench.bench(candidates, texts, rounds=rounds, threads=threads, seed=run.seed),
        label=f"bench of {BASE}",
        whole=lambda all_of_them: not any(one.why_not for one in all_of_them.values()),
    )
    bench.write(run, benched)
    if (whole := f"{WHOLE} on {CLAIMED_ON}") in benched:
        confirmed.lay_beside(run, benched, whole)
    return benched


def _variants(extent: str) -> dict[str, list[tuple[str, Steps]]]:
    """Target -> (variant, its steps) of the published size."""
    on_torch = {
        one.variant: one.steps
        for one in menu.trials("quick")
        if (one.system, one.target) == (SMALL, CLAIMED_ON)
    }
    if extent != "study":
        return {CLAIMED_ON: [(menu.CLAIMED, on_torch[menu.CLAIMED])]}
    small, steps = menu.SMALL
    sentences = sensitivity.arguments_of("int8-static")["sentences"][:2]  # every tensor of the vocoder is noted
    static = ("int8-static", {"stages": ["vocoder"], "skip": [menu.LAST], "sentences": sentences})
    return {
        CLAIMED_ON: [*on_torch.items(), ("int8-dynamic", steps[:1]), (small, steps)],
        "onnxruntime/cpu": [(small, steps), ("int8-dynamic+int8-static", (steps[0], static))],
    }


def smallest(benched: Mapping[str, Benched]) -> str | None:
    """How much faster and smaller the variants of the published size are than the whole on torch, in sentences."""
    whole = benched.get(f"{WHOLE} on {CLAIMED_ON}")
    if whole is None or whole.why_not:
        return None
    said = []
    for name, one in benched.items():
        if not one.why_not and not name.startswith(WHOLE):
            gain, size = bench.speedup(one, whole), whole.footprint["size_mb"] / one.footprint["size_mb"]
            ends = f" [{gain.low:.2f}, {gain.high:.2f}]" if gain.ci else ""
            said.append(f"{name} is {gain.value:.2f}{ends} times as fast and {size:.2f} times as small")
    return f"Against the published SpeechT5 in fp32 on PyTorch: {'; '.join(said)}." if said else None


def saved(rows: pd.DataFrame) -> str | None:
    """What zeros save, in a sentence: bytes and time of the pruned variant over those of its baseline, of the published
    size where that was measured. rows: of `lib.results.read`.
    """
    for system in (BASE, SMALL):
        cells = {
            (name, metric): cell(rows, system, name, CLAIMED_ON, metric)
            for name in ("baseline", "pruned-30")
            for metric in ("size_mb", "rtf")
        }
        if None not in cells.values():
            break
    else:
        return None
    bytes_ratio = cells["pruned-30", "size_mb"].value / cells["baseline", "size_mb"].value
    faster = speed_up(rows, cells["pruned-30", "rtf"], "baseline", CLAIMED_ON)
    ends = f" [{1 / faster.ends[1]:.2f}, {1 / faster.ends[0]:.2f}]" if faster.ends else " (no interval)"
    surely = faster.ends is not None and faster.ends[0] > 1
    little = "little" if bytes_ratio <= 0.97 or surely else "neither"
    return (
        f"With 30 % of its Linear weights zero {system} has {bytes_ratio:.2f} times the bytes and takes "
        f"{1 / faster.value:.2f}{ends} times the time: zeros in dense storage save {little}."
    )
