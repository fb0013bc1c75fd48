"""How fast does a whole voice speak on each target, from text to waveform? All of them in turns in one bench, beside
PyTorch on the processor; a vocoder, which has no text, from the mels of what its teacher says. What streams takes its
turns among them (`first_sound`).

A stage alone (`deployment`) says what a chip can do for a network. A listener waits for phonemes, durations, copies to
the device and back, and every kernel that is started for a short sentence, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib import results, systems
from lib.errors import ParameterError
from lib.measure import bench
from lib.measure.benched import Candidate
from lib.metrics import METRICS
from lib.optimize import calibration
from lib.studies import confirmed, failed, first_sound
from lib.studies.cells import marked, number
from lib.studies.first_sound import BY, WHOLE
from lib.targets import find

if TYPE_CHECKING:
    import pandas as pd

    from lib.measure.benched import Benched
    from lib.results import Run

NOTEBOOK = "06_gpu_vs_npu"
BASE = "torch/cpu"  # what the others are compared with
SHOWN = ("latency_ms_p50", "first_audio_ms", "rtf", "speedup", "energy_j_per_audio_s", "utilization_pct", "peak_gpu_mb")


def compare(
    run: "Run",
    voices: Sequence[str],
    targets: Sequence[str],
    texts: Sequence[str],
    *,
    streamed: Sequence[str] = (),
    streamed_on: Sequence[str] = (),
    rounds: int = 3,
    passes: int = 1,
    threads: int = 2,
    energy: bool = False,
    timeout_s: float = 600,
) -> dict[str, "Benched"]:
    """Each voice or vocoder on each target, a bench each, as its rows, and how many times as fast as on PyTorch on the
    processor, paired; label -> what was benched, nothing where no target is here. What a machine or a voice has not is
    one `not run` row.

    streamed: those of the voices that are spoken by a vocoder that streams, too ("fastspeech2-by-istft"), or that
    stream as they come ("hibari-small"), on these targets. energy: joules of a sensor, over 10 s a round; timeout_s: of
    one process, in which networks may be compiled.
    """
    benched: dict[str, Benched] = {}
    for name in voices:
        found = {target: _candidate(run, name, target, threads) for target in targets if target != BASE}
        there = {target: one for target, one in found.items() if one is not None}
        streams = first_sound.candidates(
            run, name, streamed, streamed_on, threads=threads, heard_on=(BASE, *targets)
        )
        if not there and not streams and BASE not in targets:
            continue
        candidates = {f"{name} on {BASE}": _candidate(run, name, BASE, threads)}
        candidates |= {f"{name} on {target}": one for target, one in there.items()}
        whole = {label: one for label, one in candidates.items() if one is not None}
        given = {"rounds": rounds, "passes": passes, "threads": threads, "seed": run.seed}
        own = bench.bench(
            whole | streams, _inputs(name, texts, run.seed), energy=energy, timeout_s=timeout_s, **given
        )
        bench.write(run, own)
        if f"{name} on {BASE}" in own:
            confirmed.lay_beside(run, {label: own[label] for label in whole}, f"{name} on {BASE}")
        benched |= own
    return benched


def finding(benched: Mapping[str, "Benched"]) -> str | None:
    """The fastest target of each voice beside PyTorch on the processor, in a sentence; None where nothing was timed."""
    said = []
    for label, base in benched.items():
        name = base.candidate.system
        if (base.candidate.target, base.candidate.variant) != (BASE, WHOLE) or base.why_not:
            continue
        others = {
            one.candidate.target: bench.speedup(one, base)
            for one in benched.values()
            if one is not base and one.candidate.system == name and one.candidate.variant == WHOLE and not one.why_not
        }
        if others:
            best = max(others, key=lambda target: others[target].value)
            gain = others[best]
            ends = f" [{gain.low:.2f}, {gain.high:.2f}]" if gain.ci else ""
            said.append(f"{name} on {best} at {gain.value:.2f}{ends} times the speed")
    return f"From text to waveform, beside {BASE}, fastest: {'; '.join(said)}." if said else None


def absent(rows: "pd.DataFrame", targets: Sequence[str]) -> str | None:
    """Why voices were not run on these targets, each reason once; None where all were."""
    mine = rows[(rows.metric == "rtf") & (rows.kind == "not_run") & rows.target.isin(targets)]
    why: dict[str, list[str]] = {}
    for row in mine.itertuples():
        reason = str(row.detail).split(" here: ", 1)[-1]
        why.setdefault(reason, []).append(f"{row.system} on {row.target}")
    listed = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in why.items())
    return f"Not run: {listed}." if why else None


def table(rows: "pd.DataFrame", targets: Sequence[str]) -> "pd.DataFrame":
    """A line each voice and target of these kinds, of the newest run that timed it: what a sentence waits for, when it
    is heard where it streams, speed, energy and memory. What an older run alone has does not stand beside it.
    """
    import pandas as pd

    whole = (rows.variant == WHOLE) | rows.variant.str.startswith(f"{WHOLE}{BY}")
    mine = rows[rows.metric.isin(SHOWN) & rows.value.notna() & whole]
    mine = mine[mine.notebook.str.startswith(NOTEBOOK)]  # others' benches have no PyTorch that took turns
    mine = mine[np.array([_plain(target) in targets for target in mine.target], bool)]
    mine = mine[np.array([systems.kind(name) != "recogniser" for name in mine.system], bool)]
    who, lines = ["system", "variant", "target"], []
    for (system, variant, target), own in mine.sort_values("time", kind="stable").groupby(who, sort=False):
        runs = [{row.metric: row for row in part.itertuples()} for part in results.by_run(own)]
        if of := next((run for run in runs if "rtf" in run), None):
            named = {
                f"{METRICS[m].label}, {METRICS[m].unit}": marked(of[m], number(of[m])) for m in SHOWN if m in of
            }
            voice = system + variant.removeprefix(WHOLE).partition("@")[0]  # "fastspeech2-by-istft"
            lines.append({"voice": voice, "target": target, **named, "run": of["rtf"].notebook})
    return pd.DataFrame(lines or {"voice": [], "target": []}).fillna("")


def _inputs(name: str, texts: Sequence[str], seed: int) -> list:
    """What a bench gives a system: texts, a vocoder (n_frames, n_bands) log-mels."""
    if systems.kind(name) != "vocoder":
        return list(texts)
    vocoder = systems.load(name, target=BASE)
    return [calibration.mel(vocoder, text, seed + i) for i, text in enumerate(texts)]


def _plain(target: str) -> str:
    """Of a GPU's "torch/cuda-h100" the target's own name, "torch/cuda"; of one that the table does not have "".

    >>> _plain("torch/cuda-h100"), _plain("recording/prompts")
    ('torch/cuda', '')
    """
    try:
        return find(target).name
    except ParameterError:
        return ""


def _candidate(run: "Run", name: str, target: str, threads: int) -> Candidate | None:
    """None, and a row that says why, where the voice is not on the target here."""
    voice = failed.tried(run, (name, WHOLE, target), lambda: systems.load(name, target=target, threads=threads))
    return None if voice is None else Candidate.of(voice)
