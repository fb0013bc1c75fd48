"""What does the bench write into the results? A row for each speed, start, memory, size and energy of a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.measure import nested
from lib.measure import paired as scored
from lib.measure.benched import Benched, latency_ratio, memory_ratio, speedup
from lib.measure.energy import utilization_source
from lib.measure.nested import Ratio

if TYPE_CHECKING:
    from lib.results import Run

CLOCK = "time.perf_counter, fresh processes in turns"
# metric -> how its detail names what was paired with the baseline of the same bench, and what computes that.
PAIRED = {
    "rtf": ("speedup", speedup),
    "latency_ms_p50": ("latency_ratio", latency_ratio),
    "peak_rss_mb": ("memory_ratio", memory_ratio),
}


def write(run: "Run", benched: dict[str, Benched], against: Mapping[str, str] | None = None) -> None:
    """Rows of every candidate: speeds, cold start, memory, size, energy where it was asked for; one not_run row
    for who failed. A variant benched beside its baseline on the same target says in `rtf` how much faster it is, and in
    `latency_ms_p50` how many times as long a sentence takes, in `peak_rss_mb` how many times as much memory.

    against: label -> whose label it is laid beside, where that is not the `baseline` of its system on its target.
    """
    bases = _bases(benched) if against is None else {one: benched.get(other) for one, other in against.items()}
    for label, one in benched.items():
        if one.why_not:
            run.not_run(*one.candidate.names, "rtf", one.why_not)
            continue
        names, detail = one.candidate.names, one.detail()
        benched_at = one.circumstances.get("benched")  # of an earlier run's
        for metric in ("rtf", "latency_ms_p50", "latency_ms_p90", "throughput_rtfx", "first_audio_ms"):
            if (timed := getattr(one, metric)) is not None:
                paired, baseline = _paired(metric, one, bases.get(label))
                if metric == "first_audio_ms" and one.stalled_s is not None:
                    paired |= {"stalled_ms": round(1000 * float(one.stalled_s.max()), 1)}
                scored.write(run, names, metric, timed, CLOCK, baseline=baseline, **detail | paired)
        start = {"load_s": one.load_s, "first_sentence_s": one.first_sentence_s}
        starts = {
            name: round(float(np.median(values)), 3) for name, values in start.items()
        } | one.circumstances
        _add_rounds(run, names, "cold_start_s", one.cold_start_s, "fresh processes", starts)
        for metric, peaks in (("peak_rss_mb", one.peak_rss_mb), ("peak_gpu_mb", one.peak_gpu_mb)):
            whole = one.peak_of_whole_life and metric == "peak_rss_mb"
            since = "the process's begin" if whole else "when it was loaded"
            source = f"fresh processes, high-water mark from {since} to the end of one pass over the inputs"
            if peaks is not None and (np.asarray(peaks) > 0).all():
                paired, baseline = _paired(metric, one, bases.get(label))
                told = {"inputs": len(one.audio_s)} | one.circumstances | paired
                _add_rounds(run, names, metric, peaks, source, told, baseline=baseline)
        for metric, source in (
            ("size_mb", "all files needed to speak"),
            ("loaded_mb", "weights in memory"),
            ("params_m", "weights in memory"),
        ):
            if one.footprint.get(metric):
                kind = one.footprint.get("size_kind", "measured") if metric == "size_mb" else "measured"
                source = (
                    source if kind == "measured" else "bytes of weights in memory, of which there is no file"
                )
                changed = one.footprint.get("changed") if metric == "size_mb" else None
                told = {name: value for name, value in (("changed", changed), ("benched", benched_at)) if value}
                run.add(*names, metric, one.footprint[metric], kind=kind, source=source, detail=told or "")
        if one.nfe is not None:
            run.add(*names, "nfe", one.nfe, n=len(one.audio_s), source="counted while speaking")
        _add_energy(run, one)


def _bases(benched: dict[str, Benched]) -> dict[str, Benched]:
    """Label -> the baseline of that system on that target, of all others."""
    found = {
        (one.candidate.system, one.candidate.target): one
        for one in benched.values()
        if one.candidate.variant == "baseline"
    }
    whose = {label: found.get((one.candidate.system, one.candidate.target)) for label, one in benched.items()}
    return {label: base for label, base in whose.items() if base not in (None, benched[label])}


def _paired(metric: str, one: Benched, base: Benched | None) -> tuple[dict[str, Any], str]:
    """(what a row's detail says of a metric beside the baseline of the same bench, that baseline's variant); ({}, "")
    where nothing is paired.
    """
    if metric not in PAIRED or base is None or base.why_not:
        return {}, ""
    name, compare = PAIRED[metric]
    ratio = compare(one, base)
    return ({}, "") if ratio is None else ({name: _told(ratio)}, base.candidate.variant)


def _told(paired: Ratio) -> dict[str, float | None]:
    """A paired ratio as a row's detail has it."""
    low, high = paired.ci or (None, None)
    return {"value": paired.value, "ci_low": low, "ci_high": high, "p_value": paired.p_value}


def _add_rounds(
    run: "Run",
    names,
    metric: str,
    values,
    source: str,
    detail: Mapping[str, Any],
    kind: str = "measured",
    baseline: str = "",
) -> None:
    over = nested.over_rounds(values)
    scored.write(run, names, metric, over, source, kind=kind, baseline=baseline, **detail)


def _add_energy(run: "Run", one: Benched) -> None:
    """Joules per second of audio, watts and utilisation, of every round; joules can be 0 above a wavering idle
    power.
    """
    metrics = ("energy_j_per_audio_s", "power_w", "utilization_pct")
    for why_not in {e["why_not"] for e in one.energy if "why_not" in e}:
        run.not_run(*one.candidate.names, metrics[0], why_not)
        return
    if not one.energy:
        return
    kind, source = one.energy[0]["kind"], one.energy[0]["source"]
    window = {
        "rounds": len(one.seconds),  # by which rows of one bench are known as such, as everywhere
        "seconds_a_round": round(float(np.mean([e["seconds"] for e in one.energy])), 2),
        **one.circumstances,
    }
    joules, seconds, audio_s = (
        np.array([e[name] for e in one.energy]) for name in ("joules", "seconds", "audio_s")
    )
    utilization = np.array([e["utilization_pct"] for e in one.energy])
    for metric, values in zip(metrics, (joules / audio_s, joules / seconds, utilization)):
        own_kind = "measured" if metric == "utilization_pct" else kind
        if metric == "utilization_pct":
            source = utilization_source(kind, source)
        if (values > 0).all():
            _add_rounds(run, one.candidate.names, metric, values, source, window, own_kind)
        else:
            run.add(
                *one.candidate.names,
                metric,
                float(values.mean()),
                kind=own_kind,
                n=len(values),
                source=source,
                detail=window,
            )
