"""How fast is a stage on each target, does it still compute the same, and what fell off the NPU? Every target beside
PyTorch, every number with its kind.

    placed = deployment.compare(run, stages, ["torch/cpu", "onnxruntime/cpu", "qnn/sa8255"], rounds=3)

What a clock can measure is timed in turns, in rounds over all targets of a stage; what a compiler or simulator says is
`simulated`; what is missing, crashes or hangs is one `not run` row with the reason.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import deploy, environment, progress, targets
from lib.deploy import apart, export
from lib.deploy.job import Job
from lib.deploy.stages import Stage
from lib.errors import SpeechError
from lib.files import cache_folder, content_key
from lib.measure import nested
from lib.measure.stats import Estimate
from lib.optimize import quantize_graphs

if TYPE_CHECKING:
    from lib.measure.scorer import Scorer
    from lib.results import Run

log = logging.getLogger(__name__)

BASE = ("torch/cpu", "fp32")  # what the others are compared with
CLOCK = "time.perf_counter, processes in turns"


@dataclass(frozen=True, eq=False)
class Placed:
    """A stage on a target in a precision. seconds: (rounds, passes), empty where nothing was timed; snr_db: of its
    answer to PyTorch's, None where there is none; figures, detail: of `job.Loaded`.
    """

    stage: Stage
    target: str
    precision: str
    why_not: str = ""
    seconds: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    snr_db: float | None = None
    max_error: float | None = None  # of the largest value
    load_s: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)
    mos: float | None = None

    @property
    def variant(self) -> str:
        """As its rows have it: "decoder-int8", of another bucket than the usual "decoder-int8-f25"."""
        bucket = "" if self.stage.usual else f"-f{self.stage.frames}"
        return f"{self.stage.name}-{self.precision}{bucket}"

    @property
    def kind(self) -> str:
        """Of its numbers."""
        return targets.find(self.target).kind

    @property
    def latency_ms(self) -> Estimate | None:
        """The median of each round, their geometric mean; or what was simulated."""
        if self.seconds.size:
            return nested.over_rounds(1000 * np.median(self.seconds, axis=1))
        simulated = self.figures.get("latency_ms_p50")
        return None if simulated is None else Estimate(simulated, None, None, 1)


def compare(
    run: "Run",
    stages: Sequence[Stage],
    names: Sequence[str],
    *,
    precisions: Sequence[str] = (),
    rounds: int = 3,
    passes: int = 5,
    threads: int = 2,
    timeout_s: float = 300,
    scorer: "Scorer | None" = None,
    emulated_frames: int = 25,
) -> list[Placed]:
    """Each stage on each target in each of its precisions, written as rows.

    names: targets of `deploy.known()`; precisions: those alone, of targets that have them; timeout_s: of one request
    to a toolchain, loading included; scorer: of what can be heard, None for none; emulated_frames: stages of so many
    at most are run through emulators, which take minutes for a second of speech.
    """
    placed = []
    for stage in progress.track(stages, "deployment", unit="stage"):
        jobs = [
            (name, precision)
            for name in names
            for precision in deploy.runtime(name).PRECISIONS
            if not precisions or precision in precisions or (name, precision) == BASE
        ]
        ran = _of_stage(stage, jobs, rounds, passes, threads, timeout_s, scorer, emulated_frames)
        write(run, ran, threads)
        placed += ran
    return placed


def exported(stage: Stage, names: Sequence[str], *, timeout_s: float = 0) -> Path:
    """The stage's folder in the cache, with the forms that these targets read; keyed by weights and inputs."""
    weights = [tensor.detach().numpy().tobytes() for tensor in stage.network.state_dict().values()]
    code = [path.read_bytes() for path in sorted(Path(deploy.__file__).parent.glob("*.py"))]
    code += [Path(inspect.getfile(of)).read_bytes() for of in (quantize_graphs, type(stage.network))]
    data = [array.tobytes() for arrays in (stage.inputs, *stage.calibration) for array in arrays]
    versions = targets.versions(("torch", "onnx", "onnxscript", "onnxruntime"))
    folder = cache_folder("deploy", content_key(stage.label, *weights, *code, *data, versions))
    forms = {form for name in names for form in deploy.runtime(name).READS}
    return export.write(stage, folder, sorted(forms))


def _of_stage(
    stage, jobs, rounds: int, passes: int, threads: int, timeout_s: float, scorer, emulated: int
) -> list[Placed]:
    here = [name for name, _ in jobs if not targets.find(name).why_not()]
    folder = exported(stage, [BASE[0], *here])
    wanted = export.expected(folder)
    with contextlib.ExitStack() as stack:
        ran: dict[tuple[str, str], Placed] = {}
        workers: dict[tuple[str, str], apart.Worker] = {}
        answered: set[tuple[str, str]] = set()
        for name, precision in jobs:
            target = targets.find(name)
            same = (target.runtime, precision)  # one emulator for all devices of a toolchain: it is asked once
            slow = getattr(deploy.runtime(name), "EMULATES", False) and stage.frames > emulated
            answers = target.kind == "measured" or not (slow or same in answered)
            job = Job(str(folder), name, precision, threads, dict(target.settings), answers)
            try:
                worker = apart.Worker(job, timeout_s=timeout_s)
            except SpeechError as error:
                log.warning("%s %s on %s: not run: %s", stage.label, precision, name, error)
                ran[name, precision] = Placed(stage, name, precision, str(error))
                continue
            stack.callback(worker.close)
            snr, off = _agreement(wanted, worker.outputs) if answers else (None, None)
            answered |= {same} if answers else set()
            mos = _heard(stage, worker.outputs, scorer) if answers else None
            ran[name, precision] = Placed(
                stage,
                name,
                precision,
                "",
                np.zeros((0, 0)),
                snr,
                off,
                worker.load_s,
                worker.figures,
                worker.detail,
                mos,
            )
            if target.kind == "measured":
                workers[name, precision] = worker
            else:
                worker.close()
        _in_turns(ran, workers, rounds, passes)
    return list(ran.values())


def _in_turns(ran: dict, workers: dict, rounds: int, passes: int) -> None:
    """Time all that are open, a round after the other, each round in an order of its own."""
    rng, seconds = np.random.default_rng(0), {key: [] for key in workers}
    keys = list(workers)
    for _ in range(rounds):
        for key in (keys[i] for i in rng.permutation(len(keys))):
            if key not in seconds:
                continue
            try:
                spent, _ = workers[key].timed(passes)
                seconds[key].append(spent)
            except SpeechError as error:
                seconds.pop(key)
                ran[key] = Placed(ran[key].stage, *key, str(error))
    for key, spent in seconds.items():
        one = ran[key]
        ran[key] = Placed(
            one.stage,
            *key,
            "",
            np.array(spent),
            one.snr_db,
            one.max_error,
            one.load_s,
            one.figures,
            one.detail,
            one.mos,
        )


def _agreement(wanted: Sequence[np.ndarray], made: Sequence[np.ndarray]) -> tuple[float, float]:
    """(SNR in dB, largest difference as a share of the largest value) over all outputs."""
    if [w.size for w in wanted] != [m.size for m in made]:
        raise SpeechError(
            f"outputs of shapes {[m.shape for m in made]}, PyTorch's are {[w.shape for w in wanted]}"
        )
    flat = [
        np.concatenate([np.asarray(a, np.float64).reshape(-1) for a in arrays]) for arrays in (wanted, made)
    ]
    largest = float(np.abs(flat[1] - flat[0]).max() / max(np.abs(flat[0]).max(), 1e-9))
    return min(export.snr_db(*flat), 200.0), largest


def _heard(stage: Stage, outputs: Sequence[np.ndarray], scorer) -> float | None:
    if scorer is None or stage.waveform is None:
        return None
    waveform = np.clip(stage.waveform(outputs), -1, 1).astype(np.float32)
    return scorer.rate(waveform, stage.sample_rate, metrics=("mos_predicted",)).values["mos_predicted"]


def speedup(one: Placed, base: Placed) -> Estimate | None:
    """How many times as fast as the base, paired by round; None where either was not timed."""
    if not one.seconds.size or one.seconds.shape != base.seconds.shape:
        return None
    return nested.over_rounds(np.median(base.seconds, axis=1) / np.median(one.seconds, axis=1))


def write(run: "Run", placed: Sequence[Placed], threads: int) -> None:
    """Rows of one stage: latency, speed-up, SNR, placement, cycles; one not_run row for what could not run."""
    base = next((p for p in placed if (p.target, p.precision) == BASE and not p.why_not), None)
    for one in placed:
        names = (one.stage.system, one.variant, one.target)
        if one.why_not:
            run.not_run(*names, "latency_ms_p50", one.why_not)
            continue
        source = (
            CLOCK if one.kind == "measured" else f"{targets.find(one.target).runtime}'s own model of the device"
        )
        detail = {
            "frames": one.stage.frames,
            "audio_s": round(one.stage.audio_s, 3),
            "threads": threads,
            "load_s": round(one.load_s, 2),
            "cpu_flags": list(environment.cpu_flags()),
            **one.detail,
        }
        if (latency := one.latency_ms) is not None:
            run.add(
                *names,
                "latency_ms_p50",
                latency.value,
                kind=one.kind,
                n=latency.n,
                ci=latency.ci,
                source=source,
                detail=detail,
            )
        for metric in ("npu_ops_pct", "cycles"):
            if metric in one.figures:
                run.add(*names, metric, one.figures[metric], kind=one.kind, source=source, detail=one.detail)
        if one.snr_db is not None:
            # One clip's MOS stands here: a row of its own would pass for a whole voice's.
            said = {
                "largest_difference": one.max_error,
                **({} if one.mos is None else {"mos_predicted": one.mos}),
            }
            run.add(
                *names, "snr_db", one.snr_db, kind=one.kind, n=1, source="against PyTorch in fp32", detail=said
            )
        if base not in (None, one) and (gain := speedup(one, base)):
            run.add(
                *names,
                "speedup",
                gain.value,
                n=gain.n,
                ci=gain.ci,
                source=CLOCK,
                detail=f"over {BASE[1]} on {BASE[0]}",
            )
