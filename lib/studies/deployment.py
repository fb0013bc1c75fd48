"""How fast is a stage on each target, does it still compute the same, and what fell off the NPU? Every target beside
PyTorch, every number with its kind.

    placed = deployment.compare(run, stages, ["torch/cpu", "onnxruntime/cpu", "qnn/sa8255"], rounds=3)

What a clock can measure is timed in turns: in each round every target has a process of its own that loads the stage, is
timed on all its inputs and ends. What a compiler or simulator says is `simulated`; what is missing, crashes, hangs or
answers nonsense is one `not run` row with the reason. Rows are written by `deployed_rows`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import deploy, progress, targets
from lib.deploy import apart, export
from lib.deploy.stages import THREADS, Stage
from lib.errors import SpeechError
from lib.measure import bench, metered, nested
from lib.measure.metered import Metered
from lib.studies import deployed_rows, handed, spoken
from lib.studies.handed import Key
from lib.studies.placed import BASE, Placed

if TYPE_CHECKING:
    from lib.measure.scorer import Scorer
    from lib.results import Run

log = logging.getLogger(__name__)

METERED = ("cpu", "cuda")  # devices with a sensor, or a formula


@dataclass(frozen=True)
class How:
    """What `compare` is told."""

    rounds: int
    passes: int
    timeout_s: float
    scorer: "Scorer | None"
    emulated_frames: int
    meter_s: float


@dataclass
class _Patience:
    """Whether what others disturbed is timed again: not once that found no quiet, nor where there is no interval."""

    left: bool


def compare(
    run: "Run",
    stages: Sequence[Stage],
    names: Sequence[str],
    *,
    precisions: Sequence[str] = (),
    rounds: int = 3,
    passes: int = 1,
    threads: int = THREADS,
    timeout_s: float = 300,
    scorer: "Scorer | None" = None,
    emulated_frames: int = 25,
    meter_s: float = 0,
    speedups: bool = True,
    beside: Callable[[Placed], Sequence[Placed]] = lambda one: (),
) -> list[Placed]:
    """Each stage on each target in each of its precisions, written as rows.

    names: of targets; one that takes no stages, not being one of `deploy.known()`, or whose file cannot be read is one
    row that was not run a stage; precisions: those alone, of targets that have them; passes: timings of each
    input in a round; timeout_s: of one request to a toolchain, loading included; scorer: of what can be heard, None for
    none, and of the sentences that a neural processor says (`Stage.spoken`, `lib.studies.spoken`); emulated_frames:
    stages of so many at most are run through emulators, which take a minute for a few seconds of speech, longer ones
    where they are to be judged; meter_s: for how long power is looked at in the last round, 0 for not at all; speedups:
    whether rows say how much faster than BASE each is; beside: of each what is timed in the same rounds, too, such as
    itself with other threads (`spread`), and written with how much faster that is.

    What others disturbed is timed again, as in the bench (`bench.bench`).
    """
    placed, how = [], How(rounds, passes, timeout_s, scorer, emulated_frames, meter_s)
    patience = _Patience(rounds >= nested.MIN_ROUNDS)
    for stage in progress.track(stages, "deployment", unit="stage"):
        jobs = _jobs(names, precisions)
        wanted = [Placed(stage, *key, deploy.why_not(*key) or "", threads=threads) for key in jobs]
        there = [(n, one) for n, one in enumerate(wanted) if not deploy.no_runtime(one.target)]
        others = [(n, other) for n, one in there for other in beside(one)]
        ran = _in_turns([*wanted, *(other for _, other in others)], len(wanted), how, patience)
        usual, others = ran[: len(wanted)], list(zip(others, ran[len(wanted) :]))
        deployed_rows.write(run, usual, speedups=speedups)
        rest = [replace(one, usual=usual[n]) for (n, _), one in others]
        deployed_rows.write(run, rest, speedups=False)  # those of other threads are no rivals of the usual ones
        placed += usual + rest
    return placed


def _jobs(names: Sequence[str], precisions: Sequence[str]) -> list[Key]:
    """Each target in its precisions, or in those asked for; one that cannot be asked which it has is there once, for
    the row that says why.
    """
    jobs: list[Key] = []
    for name in names:
        if deploy.no_runtime(name):
            jobs.append((name, BASE[1]))
            continue
        has = deploy.precisions(name)
        jobs += [(name, one) for one in has if not precisions or one in precisions or (name, one) == BASE]
    return jobs


def _in_turns(asked: Sequence[Placed], usual: int, how: How, patience: _Patience) -> list[Placed]:
    """All of them in the same rounds. usual: so many, the first, are judged and metered; the rest is timed alone."""
    ran, folders = list(asked), handed.written(asked)
    names = [f"{one.stage.system} {one.variant} on {one.target}" for one in asked]
    answered: set[Key] = set()
    for n, one in enumerate(ran):
        ran[n] = handed.able(one, folders[one.stage], how.timeout_s)
    rng = np.random.default_rng(0)
    bare = replace(how, scorer=None, meter_s=0)
    for number in range(how.rounds):
        # First in the table's order: what one target makes of the stage (a graph in 8 bit) another may read.
        turns = range(len(ran)) if number == 0 else map(int, rng.permutation(len(ran)))
        timed: dict[str, dict[str, Any]] = {}
        for n in turns:
            one = ran[n]
            if one.why_not or (number and one.kind != "measured"):
                continue
            folder = folders[one.stage][0]
            try:
                ran[n] = _turn(one, folder, number, how if n < usual else bare, answered)
            except SpeechError as error:
                log.warning("%s %s on %s: not run: %s", one.stage.label, one.precision, one.target, error)
                ran[n] = Placed(one.stage, one.target, one.precision, str(error), threads=one.threads)
            else:
                if ran[n].kind == "measured":
                    timed[names[n]] = _latest(ran[n])
        by_name = dict(zip(names, ran))
        if patience.left and timed:
            patience.left = bench.calmed(
                timed, lambda name, own=by_name: _again(own[name], folders[own[name].stage][0], how)
            )
        ran = [_with_round(one, number, timed[name]) if name in timed else one for name, one in by_name.items()]
    return ran


def _latest(one: Placed) -> dict[str, Any]:
    """The last round as `bench.calmed` reads it."""
    names = ("others_pct", "load", "repeated")
    return {"seconds": one.seconds[-1]} | {name: getattr(one, name)[-1] for name in names}


def _again(one: Placed, folder: Path, how: How) -> dict[str, Any]:
    """A round timed once more."""
    load, watch = bench.load_average(), bench.Others()
    with apart.Worker(handed.job(one, folder, False), timeout_s=how.timeout_s) as worker:
        spent, _ = worker.timed(how.passes)
    return {"seconds": np.array(spent), "others_pct": watch.percent(), "load": load, "repeated": 0}


def _with_round(one: Placed, number: int, latest: dict[str, Any]) -> Placed:
    kept = {name: (*getattr(one, name)[:number], latest[name]) for name in ("others_pct", "load", "repeated")}
    return replace(one, seconds=np.array([*one.seconds[:number], latest["seconds"]]), **kept)


def _turn(one: Placed, folder: Path, number: int, how: How, answered: set[Key]) -> Placed:
    """With one round more; in the first one its answers are compared, in the last one its power is metered."""
    target = targets.find(one.target)
    same = (target.emulator, one.precision)  # one emulator for several devices of a toolchain: it is asked once
    slow = getattr(deploy.runtime(one.target), "EMULATES", False) and one.stage.frames > how.emulated_frames
    judged = bool(one.stage.spoken and how.scorer and target.neural)
    slow = slow and not judged
    answers = number == 0 and (target.kind == "measured" or not (slow or same in answered))
    watched = (
        how.meter_s and target.kind == "measured" and number == how.rounds - 1 and target.device in METERED
    )
    before_mb = _held_mb() if watched and target.cuda else 0.0
    load, watch = bench.load_average(), bench.Others()
    with apart.Worker(handed.job(one, folder, answers), timeout_s=how.timeout_s + how.meter_s) as worker:
        if number == 0:
            one = replace(one, load_s=worker.load_s, figures=worker.figures, detail=worker.detail)
        if answers:
            snr, off = handed.agreement(export.expected(folder), worker.outputs)
            one = replace(one, snr_db=snr, max_error=off, mos=_heard(one.stage, worker.outputs, how.scorer))
            answered.add(same)
        if answers and judged:
            one = replace(one, judged=_judged(one.stage, worker, how.scorer))
        if target.kind != "measured":
            return one
        spent, _ = worker.timed(how.passes)
        if watched:
            one = replace(one, metered=_metered(worker, target.device, how, before_mb))
    # Only of a child that has ended does the system say what it took: until then it would pass for somebody else.
    latest = {"seconds": spent, "others_pct": watch.percent(), "load": load, "repeated": 0}
    return _with_round(one, number, latest)


def _judged(stage: Stage, worker: apart.Worker, scorer: "Scorer") -> spoken.Judged | str:
    """Not to be judged costs the target no other row."""
    try:
        return spoken.judge(stage, worker.answer, scorer)
    except (SpeechError, ImportError) as error:
        log.warning("%s on %s: not judged: %s", stage.label, worker.job.target, error)
        return str(error)


def _metered(worker: apart.Worker, device: str, how: How, before_mb: float) -> Metered | str:
    try:
        return metered.meter(worker.busy, device, how.meter_s, before_mb=before_mb)
    except SpeechError as error:
        return str(error)


def _held_mb() -> float:
    """Of the GPU before there is a process; 0 where nobody can say, and then the meter cannot either."""
    try:
        return metered.board_mb()
    except SpeechError:
        return 0.0


def _heard(stage: Stage, outputs: Sequence[np.ndarray], scorer) -> float | None:
    """The predicted MOS; None where nobody is asked, nothing can be heard or what is heard cannot be rated."""
    if scorer is None or stage.waveform is None:
        return None
    try:
        waveform = np.clip(stage.waveform(outputs), -1, 1).astype(np.float32)
        return scorer.rate(waveform, stage.sample_rate, metrics=("mos_predicted",)).values["mos_predicted"]
    except SpeechError as error:
        log.warning("%s: what came out was not rated: %s", stage.label, error)
        return None
