"""How fast is it, how soon does it start, what memory and energy does it take? One harness for every such
number.

    benched = bench.bench({"VITS": Candidate.of(voice), "int8": Candidate.of(variant)}, texts, rounds=3)
    bench.write(run, benched)
    print(bench.faster(benched["int8"], benched["VITS"], "int8", "fp32"))

Each round starts one fresh process for every candidate, in an order drawn anew: load, first sentence, warm-up
over all inputs, each input timed, memory, energy, end (`bench_child`). So no candidate meets what another has
left behind (threads that spin, a heap in pieces, a thread count set for all), and every runtime may use its own
best settings, for nothing else of ours runs meanwhile. What others do on the machine is measured beside it, and
said; a process that they disturbed runs again at the end of its round, and the one with most quiet is kept.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lib import environment, progress, targets
from lib.errors import ParameterError, SpeechError
from lib.measure import bench_child, nested, process
from lib.measure.bench_rows import write
from lib.measure.benched import INPUTS, Benched, Candidate, faster, largest_stage, speedup

__all__ = [
    "INPUTS",
    "Benched",
    "Candidate",
    "bench",
    "busy_processes",
    "faster",
    "largest_stage",
    "speedup",
    "write",
]

log = logging.getLogger(__name__)

_CHILD = "lib.measure.bench_child:one_round"
BUSY_PCT = (
    20.0  # of one core: what others may take before they are named, and before a round counts as disturbed
)
REPEATS = 2  # times that a process which others disturbed is run again in its round, at most


def bench(
    candidates: Mapping[str, Candidate],
    inputs: Sequence | Mapping[str, Sequence],
    *,
    rounds: int = 3,
    passes: int = 1,
    threads: int = 2,
    seed: int = 0,
    energy: bool = False,
    timeout_s: float = 600,
    first_turn: int = 0,
) -> dict[str, Benched]:
    """Bench every candidate on its inputs; the answer has the same labels.

    inputs: what all candidates are given, or a dict from a candidate's `kind` to what those of that kind are
    given: texts, clips (`waveform`, `sample_rate`), log-mels (n_frames, n_bands). seed: input i is spoken with
    seed + i in every process. energy: joules of a sensor over at least 10 s a round where there is one; without, what
    computes on the processor has its energy estimated from the CPU seconds of its timings all the same. timeout_s: of
    one process. first_turn: of the first process, where another bench went before: the turn decides in which order a
    process is given the inputs. A candidate whose process crashes, hangs or is not what it says it is has `why_not`
    set; the others go on.

    What others disturbed (`BUSY_PCT`) runs again when its round is through, up to `REPEATS` times, and the quietest
    is kept (`circumstances`: others_pct and repeated, a number a round). Once that has found no quiet, as beside a job
    of hours, later rounds are not repeated; nor are those of a bench with too few of them for an interval, which
    decides nothing.
    """
    by_kind = {kind: list(values) for kind, values in _by_kind(candidates, inputs).items()}
    if rounds < 1 or passes < 1 or threads < 1:
        raise ParameterError(f"{rounds} rounds, {passes} passes, {threads} threads: give at least one of each")
    labels, rng = list(candidates), np.random.default_rng(seed)
    schedule = [labels[i] for _ in range(rounds) for i in rng.permutation(len(labels))]
    circumstances = _circumstances(threads)
    answers: dict[str, list[dict]] = {label: [] for label in labels}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = {kind: str(Path(folder) / f"{kind}.npz") for kind in by_kind}
        for kind, values in by_kind.items():
            bench_child.save_inputs(files[kind], kind, values)
        log.info("bench: %d candidates, %d rounds of one process each", len(labels), rounds)

        def once(label: str, turn: int) -> dict[str, Any]:
            """What a process of a candidate answers, and what others took meanwhile; or SpeechError."""
            candidate = candidates[label]
            arguments = {
                "origin": candidate.origin,
                "kind": candidate.kind,
                "inputs": files[candidate.kind],
                "threads": threads,
                "passes": passes,
                "seed": seed,
                "turn": seed + first_turn + turn,
                "energy": _meter(candidate.target, energy),
                "fingerprint": bool(candidate.fingerprint),
                "started": None,
            }
            watch = Others()
            done = process.call(_CHILD, arguments, threads=threads, timeout_s=timeout_s, alone=True)
            _check(candidate, done.value)
            return done.value | {"others_pct": watch.percent(), "repeated": 0}

        patient = rounds >= nested.MIN_ROUNDS
        turns: dict[str, int] = {}  # label -> its turn in this round
        for turn, label in enumerate(progress.track(schedule, "bench", unit="process")):
            if label not in failed:
                try:
                    answers[label].append(once(label, turn))
                    turns[label] = turn
                except SpeechError as error:
                    failed[label] = str(error).removeprefix(f"{_CHILD} ")
                    turns.pop(label, None)
                    log.warning("%s: not run: %s", candidates[label], error)
            if patient and (turn + 1) % len(labels) == 0:
                latest = {one: answers[one][-1] for one in turns}
                patient = calmed(latest, lambda one: once(one, turns[one]))
                for one, answer in latest.items():
                    answers[one][-1] = answer
    circumstances["load_after"] = load_average()
    return {
        label: Benched(candidate, failed[label], seed=seed)
        if label in failed
        else _gather(candidate, answers[label], circumstances, seed)
        for label, candidate in candidates.items()
    }


def _meter(target: str, sensors: bool) -> str | None:
    """What `bench_child` meters a target's energy by. The CPU seconds of what computes on a GPU say little of it."""
    if targets.find(target).cuda:
        return "cuda" if sensors else None
    return "cpu" if sensors else bench_child.ESTIMATED


def calmed(latest: dict[str, dict], once: Callable[[str], dict]) -> bool:
    """Put a quieter answer in the place of each that others disturbed, where running it again finds one; whether none
    is disturbed any more. latest: a round's answers by label; once: a label's process run again.
    """
    for _ in range(REPEATS):
        for label in [label for label, answer in latest.items() if answer["others_pct"] > BUSY_PCT]:
            before = latest[label]
            log.info("%s: others took %.0f %% of a core: timed again", label, before["others_pct"])
            try:
                kept = min(before, once(label), key=lambda answer: answer["others_pct"])
            except SpeechError as error:  # it has an answer already, and this machine is not at its best
                log.warning("%s: not timed again: %s", label, error)
                kept = before
            latest[label] = kept | {"repeated": before["repeated"] + 1}
    return all(answer["others_pct"] <= BUSY_PCT for answer in latest.values())


def busy_processes(seconds: float = 0.5) -> dict[str, float]:
    """Other processes that take more than BUSY_PCT of a core, watched for `seconds`: name -> percent of a core."""
    import psutil

    own = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    watched = [one for one in psutil.process_iter(["name"]) if one.pid not in own]
    for one in watched:
        _cpu_percent(one)
    time.sleep(seconds)
    busy: dict[str, float] = {}
    for one in watched:
        if (percent := _cpu_percent(one)) > BUSY_PCT:
            name = one.info["name"] or "unnamed"
            busy[name] = round(busy.get(name, 0.0) + percent)
    return busy


def _cpu_percent(one) -> float:
    import psutil

    try:
        return one.cpu_percent()  # since the last call for this process
    except psutil.Error:
        return 0.0


class Others:
    """What the rest of the machine computes while a child of this process does: percent of one core."""

    def __init__(self):
        self._begin, self._all, self._own = time.monotonic(), _machine_cpu_s(), _own_cpu_s()

    def percent(self) -> float:
        others = (_machine_cpu_s() - self._all) - (_own_cpu_s() - self._own)
        return round(100 * max(0.0, others) / (time.monotonic() - self._begin), 1)


def _machine_cpu_s() -> float:
    import psutil

    times = psutil.cpu_times()
    return sum(getattr(times, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))


def _own_cpu_s() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def load_average() -> float | None:
    """Of the machine, over the last minute; None where the system tells none."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _circumstances(threads: int) -> dict[str, Any]:
    """Of the machine, before the first process: who else is busy, and what the processor is. Warns where
    somebody is.
    """
    busy = busy_processes()
    if busy:
        names = ", ".join(f"{name} ({percent:.0f} % of a core)" for name, percent in busy.items())
        log.warning("timing beside others: %s; what is measured now is slower than this machine is", names)
    return {
        "threads": threads,
        "load_before": load_average(),
        "busy_before": busy,
        "processor": environment.processor(),
        "cpu_flags": list(environment.cpu_flags()),
    }


def _by_kind(
    candidates: Mapping[str, Candidate], inputs: Sequence | Mapping[str, Sequence]
) -> dict[str, Sequence]:
    """Inputs of each kind that the candidates take, or ParameterError."""
    kinds = {candidate.kind for candidate in candidates.values()}
    if not kinds:
        raise ParameterError("a bench of nothing: give at least one candidate")
    if isinstance(inputs, str) or (not isinstance(inputs, Mapping) and len(kinds) > 1):
        raise ParameterError(
            f"give a list of inputs, or one for each kind the candidates take: {', '.join(sorted(kinds))}"
        )
    by_kind = dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(kinds, inputs)
    for kind in sorted(kinds):
        if kind not in by_kind or not len(by_kind[kind]):
            raise ParameterError(f"a candidate takes inputs of kind {kind!r}: give at least one")
    return {kind: by_kind[kind] for kind in kinds}


def _check(candidate: Candidate, answer: dict) -> None:
    """Raise SpeechError where the process rebuilt something else than what its numbers would be stamped with."""
    names = tuple(answer["names"])
    if names != (candidate.system, candidate.variant, candidate.target):
        raise SpeechError(f"{candidate.origin} rebuilds {names[0]} {names[1]} on {names[2]}, not {candidate}")
    if candidate.fingerprint and answer["fingerprint"] != candidate.fingerprint:
        raise SpeechError(
            f"{candidate.origin} rebuilds {candidate} with other weights or settings than it has here: "
            "save the variant again"
        )


def warn_of_others(who: object, others_pct: Sequence[float]) -> None:
    """Say so where the rest of the machine was busy in any round, for one is enough to widen an interval: percents of
    a core, one a round.
    """
    if (taken := max(others_pct)) > BUSY_PCT:
        rounds = f"the worst of {len(others_pct)} rounds" if len(others_pct) > 1 else "its only round"
        log.warning("%s: in %s others took %.0f %% of a core while it was timed", who, rounds, taken)


def _gather(candidate: Candidate, rounds: list[dict], circumstances: dict[str, Any], seed: int) -> Benched:
    """A candidate's answers, one a round, side by side."""

    def column(name: str) -> np.ndarray:
        return np.array([one[name] for one in rounds], np.float64)

    others = [one["others_pct"] for one in rounds]
    warn_of_others(candidate, others)
    return Benched(
        candidate,
        seconds=column("seconds"),
        audio_s=column("audio_s").mean(0),
        stages={stage: np.array([one["stages"][stage] for one in rounds]) for stage in rounds[0]["stages"]},
        **{
            name: None if rounds[0][name] is None else column(name)
            for name in ("first_audio_s", "stalled_s", "peak_gpu_mb")
        },
        **{
            name: column(name)
            for name in ("cold_start_s", "load_s", "first_sentence_s", "peak_rss_mb", "cpu_s")
        },
        peak_of_whole_life=any(one["peak_of_whole_life"] for one in rounds),
        nfe=rounds[0]["nfe"],
        energy=tuple(one["energy"] for one in rounds if one["energy"]),
        footprint=rounds[0]["footprint"],
        circumstances=circumstances
        | {
            "others_pct": others,
            "repeated": [one["repeated"] for one in rounds],
            "versions": rounds[0]["versions"],
            "threads_found": rounds[0]["threads"],
        },
        seed=seed,
    )
