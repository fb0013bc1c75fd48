"""What somebody promises of a quantized and pruned SpeechT5, beside what came out here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib import systems
from lib.measure import bench
from lib.metrics import METRICS
from lib.studies import compression, confirmed, sensitivity

if TYPE_CHECKING:
    import pandas as pd

    from lib.results import Run
    from lib.systems.base import System


@dataclass(frozen=True)
class Claim:
    """What somebody promises: the value before and after, each from low to high, in the unit of `scale`."""

    metric: str
    before: tuple[float, float]
    after: tuple[float, float]
    unit: str
    scale: float = 1.0  # of the results' unit


CLAIMED_ON = "torch/cpu"  # of the rows that claims are compared with
CLAIMS = (
    Claim("size_mb", (1000, 1500), (300, 400), "MB"),
    Claim("latency_ms_p50", (3500, 5000), (2000, 2500), "ms"),
    Claim("mos_predicted", (4.2, 4.5), (4.0, 4.3), "MOS"),
    Claim("pesq_wb", (4.1, 4.1), (3.9, 3.9), "MOS-LQO"),
    Claim("wer", (5, 6), (7, 8), "%", 100.0),
)


def published_size(run: Run, texts: Sequence[str], folder: str | Path, *, threads: int = 2) -> None:
    """Size and speed of the published SpeechT5 as it is, in 8 bit, pruned, and both; its weights are random."""
    base = systems.load("speecht5-base", threads=threads)
    made = [
        confirmed.make(base, one.steps, one.variant, folder)
        for one in compression.trials("quick")
        if (one.system, one.target) == ("speecht5", "torch/cpu")
    ]
    _costs(run, base, made, texts)


def published_graphs(run: Run, texts: Sequence[str], folder: str | Path, *, threads: int = 2) -> None:
    """The same on ONNX Runtime: as it is, with products in 8 bit and the rest stored in half precision, and with the
    vocoder in 8 bit, too. The vocoder is most of what the products leave; whether one hears it in 8 bit nobody can say
    of random weights.
    """
    base = systems.load("speecht5-base", target="onnxruntime/cpu", threads=threads)
    sentences = sensitivity.arguments_of("int8-static")["sentences"][:2]  # every tensor of the vocoder is noted
    static = ("int8-static", {"stages": ["vocoder"], "sentences": sentences})
    name, steps = compression.GRAPHS_SMALL
    made = [
        confirmed.make(base, steps, name, folder),
        confirmed.make(base, (steps[0], static), "int8-dynamic+int8-static", folder),
    ]
    _costs(run, base, made, texts)


def _costs(
    run: Run, base: System, variants: Sequence[System], texts: Sequence[str], *, rounds: int = 1
) -> None:
    """Speed, memory and size alone, of a system whose weights are random: rows as of any bench."""
    candidates = {one.variant: bench.Candidate.of(one) for one in (base, *variants)}
    bench.write(run, bench.bench(candidates, texts, rounds=rounds, threads=base.threads, seed=run.seed))


def claims(
    rows: pd.DataFrame,
    variant: str = compression.CLAIMED,
    *,
    base: str = "speecht5-base",
    small: str = "speecht5",
) -> pd.DataFrame:
    """Theirs, ours, and whether ours agrees: sizes and times of the published size (random weights), quality of the
    trained small one. rows: of `lib.results.read`; variant: the one that was promised.

    A change agrees where ours, after over before, lies between the least and the most that theirs can mean.
    """
    import pandas as pd

    rows, lines = rows[rows.target == CLAIMED_ON], []
    for claim in CLAIMS:
        system = base if claim.metric in ("size_mb", "latency_ms_p50") else small
        values = [
            rows[
                (rows.system == system) & (rows.variant == name) & (rows.metric == claim.metric)
            ].value.dropna()
            for name in ("baseline", variant)
        ]
        ours = [claim.scale * float(column.iloc[-1]) if len(column) else None for column in values]
        lines.append(
            {
                "measure": f"{METRICS[claim.metric].label}, {claim.unit}",
                "theirs before": _range(claim.before),
                "theirs after": _range(claim.after),
                "of": system,
                "ours before": "not measured" if ours[0] is None else f"{ours[0]:.4g}",
                "ours after": "not measured" if ours[1] is None else f"{ours[1]:.4g}",
                "verdict": _agreement(claim, *ours),
            }
        )
    return pd.DataFrame(lines)


def _agreement(claim: Claim, before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "not comparable: not measured"
    least, most = claim.after[0] / claim.before[1], claim.after[1] / claim.before[0]
    change = after / before
    there = claim.before[0] <= before <= claim.before[1]
    where = "the start agrees" if there else "the start does not"
    if least <= change <= most:
        return f"the change agrees ({change:.2f} times, theirs {least:.2f} to {most:.2f}), {where}"
    word = "better" if (METRICS[claim.metric].better > 0) == (change > most) else "worse"
    return f"{word} than promised ({change:.2f} times, theirs {least:.2f} to {most:.2f}), {where}"


def _range(ends: tuple[float, float]) -> str:
    return f"{ends[0]:g}" if ends[0] == ends[1] else f"{ends[0]:g} to {ends[1]:g}"


def saved(rows: pd.DataFrame) -> str | None:
    """What zeros save, in a sentence: bytes and time of the pruned variant over those of its baseline. rows: of
    `lib.results.read`.
    """
    rows, ratios = rows[rows.target == CLAIMED_ON], {}
    for metric in ("size_mb", "rtf"):
        values = [
            rows[
                (rows.variant == name)
                & (rows.metric == metric)
                & rows.system.isin(("speecht5", "speecht5-base"))
            ]
            .dropna(subset=["value"])
            .groupby("system")
            .value.last()
            for name in ("baseline", "pruned-30")
        ]
        ratio = (values[1] / values[0]).dropna()
        if len(ratio):
            ratios[metric] = ratio.iloc[-1]
    if len(ratios) < 2:
        return None
    little = "neither" if min(ratios.values()) > 0.97 else "little"
    return (
        f"With 30 % of its Linear weights zero SpeechT5 has {ratios['size_mb']:.2f} times the bytes and takes "
        f"{ratios['rtf']:.2f} times the time: zeros in dense storage save {little}."
    )
