"""Is our `vits-joe` faster than the program its voice was made for? The package piper-tts reads the same graph.

piper-tts is under the GPL and only compared with: it has a Python of its own (`lib.targets`), made when somebody asks
for it, and nothing here imports it. Its processes and ours take turns on as many threads, otherwise each with its own
best settings; who goes first changes from round to round, and what others disturbed is timed again, as in every bench.
It draws its noise itself, so it says other samples of as much audio.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from lib import targets
from lib.deploy import toolchains
from lib.errors import SpeechError, unknown
from lib.measure import bench, process
from lib.measure.bench_rows import CLOCK
from lib.measure.benched import Benched, Candidate
from lib.studies import failed

if TYPE_CHECKING:
    from lib.results import Run
    from lib.systems.base import System

SYSTEM, TARGET = "vits-joe", "piper/cpu"
MODES = ("off", "here", "install")  # not at all; if it is there; after it was fetched
TIMEOUT_S = 300.0

Timed = TypeVar("Timed")


def compared(
    run: Run,
    ours: Sequence[System],
    texts: Sequence[str],
    *,
    mode: str = "here",
    rounds: int = 3,
    threads: int = 2,
) -> str | None:
    """How many times as fast as piper-tts each of our systems reads the texts, in a sentence; its rows have the target
    piper/cpu. Why it could not run, where it could not; None where nobody wants to know.
    """
    if mode not in MODES:
        raise unknown("mode of the comparison with piper-tts", mode, MODES)
    if mode == "off":
        return None
    said = toolchains.install([TARGET]) if mode == "install" else []
    try:
        if why := targets.find(TARGET).why_not():
            raise SpeechError(said[0] if said else why)
        theirs, mine = _in_turns(run, ours, list(texts), rounds, threads)
    except Exception as error:
        why = failed.told(run, (SYSTEM, "baseline", TARGET), error)
        return f"piper-tts was not compared with: {why}."
    times = {one.candidate.variant: bench.speedup(one, theirs) for one in mine if not one.why_not}
    detail = {name: {"times": t.value, "ci_low": t.low, "ci_high": t.high} for name, t in times.items()}
    run.add(
        SYSTEM,
        "baseline",
        TARGET,
        "rtf",
        theirs.rtf.value,
        n=theirs.rtf.n,
        ci=theirs.rtf.ci,
        source=CLOCK,
        detail={
            "ours over theirs": detail,
            "session": "the package's, on as many threads as ours",
            "threads": threads,
            "rounds": rounds,
            "others_pct": theirs.circumstances["others_pct"],
            "others_pct beside ours": {one.candidate.variant: one.circumstances["others_pct"] for one in mine},
        },
    )
    parts = [
        f"{name} {t.value:.2f} times as fast" + (f" [{t.low:.2f}, {t.high:.2f}]" if t.ci else "")
        for name, t in times.items()
    ]
    return (
        f"Beside piper-tts, which reads the same voice at RTF {theirs.rtf.value:.3f}, ours on ONNX Runtime is: "
        f"{', '.join(parts)}."
    )


def _in_turns(
    run: Run, ours: Sequence[System], texts: list[str], rounds: int, threads: int
) -> tuple[Benched, list[Benched]]:
    """piper-tts and ours, round by round one after the other."""
    candidates = {one.variant: Candidate.of(one) for one in ours}

    def asked(turn: int) -> dict[str, Any]:
        watch = bench.Others()
        answer = _ask(texts, threads, run.seed + turn)
        return answer | {"others_pct": watch.percent()}

    def benched(turn: int) -> dict[str, Benched]:
        given = {"rounds": 1, "threads": threads, "seed": run.seed, "first_turn": turn}
        return bench.bench(candidates, texts, **given)

    answers: list[dict[str, Any]] = []
    mine: list[dict[str, Benched]] = []
    for turn in range(rounds):
        sides = [
            lambda: answers.append(_quietest(lambda: asked(turn), lambda one: one["others_pct"])),
            lambda: mine.append(_quietest(lambda: benched(turn), _disturbed)),
        ]
        for side in sides if turn % 2 == 0 else reversed(sides):
            side()
    others = [one["others_pct"] for one in answers]
    bench.warn_of_others(f"piper-tts on {TARGET}", others)
    theirs = Benched(
        Candidate(SYSTEM, "baseline", TARGET, {}),
        seconds=np.array([one["seconds"] for one in answers])[:, None],  # (rounds, 1 pass, texts)
        audio_s=np.mean([one["audio_s"] for one in answers], axis=0),
        circumstances={"others_pct": others},
        seed=run.seed,
    )
    return theirs, [_joined([one[label] for one in mine]) for label in candidates]


def _quietest(once: Callable[[], Timed], others_pct: Callable[[Timed], float]) -> Timed:
    """What it gives; if others disturbed it, the quietest of it and of what it gives when it is asked again."""
    best = once()
    for _ in range(bench.REPEATS):
        if others_pct(best) <= bench.BUSY_PCT:
            break
        best = min(best, once(), key=others_pct)
    return best


def _disturbed(benched: Mapping[str, Benched]) -> float:
    """What others took at most while any of a bench was timed, percent of a core."""
    return max((max(one.circumstances["others_pct"]) for one in benched.values() if not one.why_not), default=0.0)


def _joined(rounds: list[Benched]) -> Benched:
    """Benches of one round each as one of all."""
    if why := next((one.why_not for one in rounds if one.why_not), ""):
        return dataclasses.replace(rounds[0], why_not=why)
    others = [percent for one in rounds for percent in one.circumstances["others_pct"]]
    return dataclasses.replace(
        rounds[0],
        seconds=np.concatenate([one.seconds for one in rounds]),
        circumstances=dict(rounds[0].circumstances) | {"others_pct": others},
    )


def _ask(texts: list[str], threads: int, turn: int) -> dict[str, Any]:
    """One process of piper-tts; SpeechError with its last words where it fails."""
    from lib.systems.symbols import voice_config_path
    from lib.systems.vits_joe import piper

    asked = {"model": str(piper.model_path()), "config": str(voice_config_path()), "texts": texts, "turn": turn}
    asked["threads"] = threads
    environment = process.environment_of_child(threads, alone=True)
    try:
        done = subprocess.run(  # isolated: its Python must not take this module for the package
            [str(targets.find(TARGET).python), "-I", str(Path(__file__).with_name("piper_child.py"))],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env=environment,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SpeechError(f"piper-tts gave no answer: {error}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SpeechError(f"piper-tts ended with code {done.returncode}: {last}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if answer["threads"] != threads:
        raise SpeechError(
            f"piper-tts computed on {answer['threads']} threads instead of {threads}: that is no comparison"
        )
    return answer
