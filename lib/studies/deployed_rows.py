"""Which rows tell how a stage ran on a target, and what do they say of threads and batches?

`variant` is stage and precision, and what is unusual of the rest: "decoder-int8", "-f25" a bucket of 25 frames, "-b4"
four sentences a run, "-1t" one thread of the processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lib import environment, targets
from lib.measure.energy import utilization_source
from lib.measure.metered import Metered
from lib.studies import spoken
from lib.studies.placed import BASE, Placed, speedup
from lib.target import Target

if TYPE_CHECKING:
    from lib.results import Run

CLOCK = "time.perf_counter, processes in turns"


def write(run: "Run", placed: Sequence[Placed], *, speedups: bool = True) -> None:
    """Rows of one stage: latency, speed-up, SNR, what is heard, placement, cycles, energy; one not_run row for what
    could not run.
    """
    bases = [p for p in placed if speedups and (p.target, p.precision) == BASE and not p.why_not]
    for one in placed:
        if one.why_not:
            run.not_run(one.stage.system, one.variant, one.target, "latency_ms_p50", one.why_not)
        else:
            _write(run, one, bases[0] if bases else None)


def _write(run: "Run", one: Placed, base: Placed | None) -> None:
    names = (one.stage.system, one.variant, one.target)
    source = (
        CLOCK if one.kind == "measured" else f"{targets.find(one.target).runtime}'s own model of the device"
    )
    if (latency := one.latency_ms) is not None:
        run.add(
            *names,
            "latency_ms_p50",
            latency.value,
            kind=one.kind,
            n=latency.n,
            ci=latency.ci,
            source=source,
            detail=_circumstances(one),
        )
    for metric in ("npu_ops_pct", "cycles"):
        if metric in one.figures:
            run.add(*names, metric, one.figures[metric], kind=one.kind, source=source, detail=one.detail)
    if one.snr_db is not None:
        # One clip's MOS stands here: a row of its own would pass for a whole voice's.
        said = {"largest_difference": one.max_error, **({} if one.mos is None else {"mos_predicted": one.mos})}
        run.add(*names, "snr_db", one.snr_db, kind=one.kind, n=1, source="against PyTorch in fp32", detail=said)
    spoken.write(run, one)
    if base not in (None, one) and (gain := speedup(one, base)):
        run.add(
            *names,
            "speedup",
            gain.value,
            n=gain.n,
            ci=gain.ci,
            source=CLOCK,
            detail=f"over {BASE[1]} on {BASE[0]}, {base.threads} threads",
        )
    if isinstance(one.metered, str):
        run.not_run(*names, "energy_j_per_audio_s", one.metered)
    elif one.metered is not None:
        _write_metered(run, one, one.metered)


def _circumstances(one: Placed) -> dict[str, Any]:
    stage = one.stage
    return {
        "frames": stage.frames,
        "audio_s": round(stage.audio_s, 3),
        **({} if stage.window_s is None else {"window_s": stage.window_s}),
        **({} if stage.batch == 1 else {"batch": stage.batch}),
        "threads": one.threads,
        "rounds": len(one.seconds),
        "load_s": round(one.load_s, 2),
        "cpu_flags": list(environment.cpu_flags()),
        "versions": _versions(targets.find(one.target)),
        **_disturbed(one),
        **_beside_usual(one),
        **one.detail,
    }


def _versions(target: Target) -> dict[str, str]:
    """Of what computes; of a toolchain those that it was installed with."""
    if target.toolchain:
        return dict(package.split("==", 1) for package in (*target.toolchain, *target.alone))
    return target.versions()


def _disturbed(one: Placed) -> dict[str, Any]:
    """What the rest of the machine did, a number a round; nothing of what no clock timed."""
    if not one.others_pct:
        return {}
    return {"others_pct": list(one.others_pct), "repeated": list(one.repeated), "load": list(one.load)}


def _beside_usual(one: Placed) -> dict[str, Any]:
    """How many times as much audio in the same time as itself with the usual threads and one sentence, in the same
    rounds.
    """
    gain = None if one.usual is None or one.usual.why_not else speedup(one, one.usual)
    if gain is None:
        return {}
    low, high = gain.ci or (None, None)
    usual = {"of": one.usual.variant, "threads": one.usual.threads}
    return {"beside_usual": usual | {"value": gain.value, "ci_low": low, "ci_high": high}}


def _write_metered(run: "Run", one: Placed, metered: Metered) -> None:
    names, energy = (one.stage.system, one.variant, one.target), metered.energy
    detail = {"window_s": round(energy.seconds, 1), "runs": metered.runs, "threads": one.threads}
    joules = metered.joules_a_run / one.stage.audio_s
    given = {"source": energy.source, "detail": detail}
    run.add(*names, "energy_j_per_audio_s", joules, kind=energy.kind, n=metered.runs, **given)
    run.add(*names, "power_w", energy.watts, kind=energy.kind, n=metered.runs, **given)
    # A share of time is counted, whatever the joules are.
    given |= {"source": utilization_source(energy.kind, energy.source)}
    run.add(*names, "utilization_pct", energy.utilization_pct, n=metered.runs, **given)
    if metered.gpu_mb is not None:
        run.add(
            *names,
            "peak_gpu_mb",
            metered.gpu_mb,
            source="NVML, what the board held more than before the process, CUDA's own context included",
            detail=detail,
        )
