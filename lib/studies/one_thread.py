"""Is what is faster on two threads faster on one, too? Kernels share out their work in different ways, so a variant may
gain on one and lose on the other.

Rows of one thread stand behind names that end with SUFFIX, as those of other test sets do: nothing that is said of the
usual rows mixes with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import optimize, results
from lib.measure import bench, verdict
from lib.optimize import calibration
from lib.studies import confirmed, listened
from lib.studies.floor_rows import judged
from lib.studies.resumed import kept

if TYPE_CHECKING:
    from lib.measure.benched import Benched
    from lib.results import Run
    from lib.studies.compression import Tried
    from lib.systems.model import Model

THREADS, SUFFIX = 1, "@1t"


def fastest(tried: Sequence[Tried], folder: str | Path) -> list[Model]:
    """Of every system and target the variant that is recommended, the fastest of several; where none is, the fastest
    without audible loss, else the fastest of all; loaded from where `compression.study` saved it.
    """
    best: dict[tuple[str, str], Tried] = {}
    for one in tried:
        place = (one.trial.system, one.trial.target)
        if one.answer is not None and one.answer.times > 0 and (place not in best or _better(one, best[place])):
            best[place] = one
    homes = [confirmed.home(folder, *place, one.trial.variant) for place, one in best.items()]
    return [optimize.load(home, threads=THREADS) for home in homes if home.is_dir()]


def compared(
    run: Run, variants: Sequence[Model], texts: Sequence[str], *, rounds: int = 3, resume: Path | None = None
) -> list[str]:
    """A bench of saved variants beside their baselines on one thread, in rows and a sentence for each; with the run's
    own answer on more threads where it has one. resume: where benches are kept (`resumed`).
    """
    bases = {label(one): _base(one) for one in variants}
    candidates = {label(one): bench.Candidate.of(one) for one in variants} | {
        str(base): base for base in bases.values()
    }
    if not candidates:
        return []
    whose = [(*one.names, one.origin, one.fingerprint) for one in candidates.values()]
    benched = kept(
        resume,
        lambda: ["bench", whose, list(texts), rounds, THREADS, run.seed],
        lambda: bench.bench(
            candidates, _inputs(variants, texts, run.seed), rounds=rounds, threads=THREADS, seed=run.seed
        ),
        label="bench on one thread",
        whole=lambda all_of_them: not any(one.why_not for one in all_of_them.values()),
    )
    table = results.read(run.path) if run.path.is_file() else results.frame([])
    return [_told(run, benched[name], benched[str(base)], table) for name, base in bases.items()]


def label(model: Model) -> str:
    """What a candidate calls itself."""
    return f"{model.name} {model.variant} on {model.target}"


def _better(one: Tried, other: Tried) -> bool:
    def worth(tried: Tried) -> tuple:
        return tried.answer.recommended, tried.answer.word == verdict.WITHOUT_LOSS, tried.answer.times

    return worth(one) > worth(other)


def _base(variant: Model) -> bench.Candidate:
    """The system that a variant was made from, on the target where it runs."""
    base = variant.made["base"]
    origin = base["origin"] | {"target": variant.target}
    return bench.Candidate(variant.name, base["variant"], variant.target, origin, bench.INPUTS[variant.kind])


def _inputs(variants: Sequence[Model], texts: Sequence[str], seed: int) -> dict[str, Sequence[Any]]:
    """What each kind of the variants is given: texts, or what the teacher says of them."""
    first = {one.kind: one for one in reversed(variants)}
    given: dict[str, Sequence[Any]] = {"text": texts}
    if "vocoder" in first:
        mels = [calibration.mel(first["vocoder"], text, seed + i) for i, text in enumerate(texts)]
        given["log_mel"] = mels
    if "recogniser" in first:
        given["clip"] = listened.read(texts, seed=seed, threads=THREADS)
    return given


def _told(run: Run, one: Benched, base: Benched, table: Any) -> str:
    """The rows of a variant on one thread, and the sentence."""
    system, variant, target = one.candidate.names
    if why := one.why_not or base.why_not:
        run.not_run(system, f"{variant}{SUFFIX}", target, "speedup", why)
        return f"{one.candidate} was not timed on one thread: {why}"
    for timed in (base, one):
        named = replace(timed.candidate, variant=f"{timed.candidate.variant}{SUFFIX}")
        run.add(
            *named.names, "rtf", timed.rtf.value, n=timed.rtf.n, ci=timed.rtf.ci, source="one bench of both",
            detail=timed.detail(),
        )  # fmt: skip
    gain = bench.speedup(one, base)
    run.add(
        system,
        f"{variant}{SUFFIX}",
        target,
        "speedup",
        gain.value,
        n=gain.n,
        ci=gain.ci,
        source="one bench of both",
        baseline=f"{base.candidate.variant}{SUFFIX}",
        detail={"of": f"{system} {base.candidate.variant}{SUFFIX} on {target}", **one.circumstances},
    )
    heard = judged(table, system, variant, target).said  # the fastest may be one that nobody understands
    said = (
        f"{one.candidate} ({heard}) runs at {_times(gain.value, gain.ci)} times the speed of its baseline on one "
        "thread"
    )
    mine = table[(table.system == system) & (table.variant == variant) & (table.target == target)]
    usual = [json.loads(row.detail) for row in mine[(mine.metric == "rtf") & mine.value.notna()].itertuples()]
    if usual and "speedup" in usual[-1]:
        other = usual[-1]["speedup"]
        ends = None if other["ci_low"] is None else (other["ci_low"], other["ci_high"])
        said += f", at {_times(other['value'], ends)} on {usual[-1]['threads']}"
    return f"{said}."


def _times(value: float, ends: tuple[float, float] | None) -> str:
    return f"{value:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")
