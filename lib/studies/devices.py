"""What do the rows of a deployment say? Tables, the chunk sweep, the comparison by need, and sentences computed from
the numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib import systems, targets
from lib.deploy import stages

FRAMES_A_CHARACTER = 5
NOISE_DB = 10.0  # below it the difference to PyTorch is a tenth of the signal's power or more

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.scorer import Scorer

NOTEBOOK = "06_gpu_vs_npu"
LEAST_MOS = 3.5  # predicted, of a voice that is offered
NEEDS = {  # whom it serves -> what decides
    "A real-time assistant wants the first sound soon": "first_audio_ms",
    "A batch audiobook wants many seconds a second": "throughput_rtfx",
    "A battery wants few joules": "energy_j_per_audio_s",
}


def present(names: Sequence[str]) -> "pd.DataFrame":
    """Which targets are here, and why not the others, a line each."""
    import pandas as pd

    rows = [(name, targets.find(name).kind, targets.find(name).why_not() or "here") for name in names]
    return pd.DataFrame(rows, columns=["target", "kind of its numbers", "here, or why not"])


def install(names: Sequence[str]) -> list[str]:
    """Make the Pythons of the toolchains of these targets; returns what was done, or why it could not be."""
    import subprocess
    import sys

    said = []
    for name in names:
        target = targets.find(name)
        if not target.toolchain or target.python.exists():
            continue
        folder = target.python.parent.parent
        commands = (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "pip"), "install", "--quiet", *target.toolchain],
        )
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                import shutil

                shutil.rmtree(folder, ignore_errors=True)  # half a toolchain would be taken for a whole one
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                said.append(f"{name}: {' '.join(target.toolchain)} could not be installed: {last}")
                break
        else:
            said.append(f"{name}: {' '.join(target.toolchain)} installed")
    return said


def build(
    names: Sequence[str], frames: int, texts: Sequence["Sentence"], calibration: Sequence["Sentence"]
) -> list[stages.Stage]:
    """The stages on what these sentences make them see."""
    read, others = [s.text for s in texts], [s.text for s in calibration]
    return [stages.build(name, frames, texts=read, calibration=others) for name in names]


def _simulated(rows: "pd.DataFrame") -> str | None:
    """The lowest simulated cost of a second of audio of each system, in a sentence."""
    best: dict[str, tuple[float, str]] = {}
    for row in rows[
        (rows.metric == "latency_ms_p50") & (rows.kind == "simulated") & rows.value.notna()
    ].itertuples():
        detail = json.loads(row.detail) if str(row.detail).startswith("{") else {}
        if "audio_s" in detail:
            cost = (row.value / detail["audio_s"], f"{row.variant} on {row.target}")
            best[row.system] = min(cost, best.get(row.system, cost))
    listed = ", ".join(f"{system} {ms:.2g} ({name})" for system, (ms, name) in best.items())
    return (
        f"Simulated milliseconds for a second of audio, no device has confirmed them: {listed}."
        if best
        else None
    )


def _collapsed(rows: "pd.DataFrame") -> str | None:
    """What no longer says the same in 8 bit, in a sentence."""
    noisy = rows[(rows.metric == "snr_db") & (rows.value < NOISE_DB)]
    listed = ", ".join(f"{r.system} {r.variant} on {r.target} ({r.value:.0f} dB)" for r in noisy.itertuples())
    return f"Placed, but no longer the same, below {NOISE_DB:g} dB: {listed}." if len(noisy) else None


def padding(texts: Sequence["Sentence"], frames: int) -> str:
    """What buckets cost for sentences of these lengths, in a sentence. A character is taken as 5 frames."""
    lengths = [round(FRAMES_A_CHARACTER * len(s.text)) for s in texts]
    one, two = (stages.padding_waste(lengths, b) for b in ([frames], [frames // 4, frames]))
    return (
        f"Of {len(lengths)} sentences in buckets of {frames} frames {100 * one:.0f} % of what is computed is padding, "
        f"with a second bucket of {frames // 4} frames {100 * two:.0f} % (counted with {FRAMES_A_CHARACTER} frames a "
        "character)."
    )


def judge(threads: int) -> "Scorer":
    """Who rates what comes out."""
    from lib.measure.scorer import Scorer

    return Scorer(threads=threads)


def heard(rows: "pd.DataFrame") -> str | None:
    """What a MOS predictor says of what came out, one clip each, in a sentence; None where it was not asked."""
    said = []
    for row in rows[(rows.metric == "snr_db") & rows.value.notna()].itertuples():
        detail = json.loads(row.detail) if str(row.detail).startswith("{") else {}
        if "mos_predicted" in detail:
            said.append(
                f"{row.system} {row.variant} on {row.target} {detail['mos_predicted']:.2f} ({row.value:.0f} dB)"
            )
    return f"Predicted MOS of one clip each: {', '.join(said)}." if said else None


def all_rows(now: "pd.DataFrame", recorded: "pd.DataFrame") -> "pd.DataFrame":
    """This run's rows and the recorded ones of deployments and whole voices, without what could not run."""
    import pandas as pd

    kept = [table[table.value.notna()] for table in (recorded, now) if not table.empty]
    return pd.concat(kept, ignore_index=True) if kept else now


def together(now: "pd.DataFrame", recorded: "pd.DataFrame") -> "pd.DataFrame":
    """Simulated rows of this run and recorded ones, a line each: latency, ms for a second of audio, cycles, operators
    placed, SNR; and what was not run, with the reason.
    """
    import pandas as pd

    lines = []
    for origin, table in (("now", now), ("recorded", recorded[recorded.notebook.str.startswith(NOTEBOOK)])):
        ours = [_is_npu(row.target) and row.kind != "published" for row in table.itertuples()]
        table = table[np.array(ours, bool)]
        for names, own in table.groupby(["system", "variant", "target"], sort=False):
            value = own.drop_duplicates("metric", keep="last").set_index("metric")
            first = own.iloc[0]
            line = dict(zip(("system", "stage", "target"), names)) | {"when": origin, "kind": first.kind}
            if first.kind == "not_run":
                lines.append(line | {"why not": first.detail})
                continue
            latency = value.value.get("latency_ms_p50")
            if latency is not None:
                audio_s = json.loads(value.detail["latency_ms_p50"]).get("audio_s")
                line |= {
                    "ms": round(latency, 2),
                    "ms/s of audio": round(latency / audio_s, 2) if audio_s else None,
                }
            line |= {"operators on it, %": value.value.get("npu_ops_pct"), "SNR, dB": value.value.get("snr_db")}
            lines.append(line)
    return pd.DataFrame(lines).fillna("")


def _is_npu(target: str) -> bool:
    return target in targets.TARGETS and targets.find(target).device not in ("cpu", "cuda")


def operators_left(rows: "pd.DataFrame") -> "pd.DataFrame":
    """What did not go to the NPU, by operator: system, stage, target, operator, how many."""
    import pandas as pd

    found = []
    for row in rows[rows.metric == "npu_ops_pct"].drop_duplicates(["system", "variant", "target"]).itertuples():
        detail = json.loads(row.detail) if str(row.detail).startswith("{") else {}
        found += [(row.system, row.variant, row.target, kind, n) for kind, n in detail.get("left", {}).items()]
    return pd.DataFrame(found, columns=["system", "stage", "target", "operator", "on the processor"])


def sweep(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Milliseconds for a second of audio by the length of the chunk: where it rises, the chunk has outgrown the memory.

    rows: of several bucket lengths ("decoder-a8w8-f25"); one line a stage and target, one column a length.
    """
    table = rows[(rows.metric == "latency_ms_p50") & rows.value.notna() & (rows.kind == "simulated")].copy()
    details = [json.loads(d) if str(d).startswith("{") else {} for d in table.detail]
    table["frames"] = [d.get("frames") for d in details]
    table["ms"] = [value / d["audio_s"] if "audio_s" in d else None for value, d in zip(table.value, details)]
    table["stage"] = [variant.split("-f")[0] for variant in table.variant]
    table = table[table.ms.notna()].drop_duplicates(["system", "stage", "target", "frames"], keep="last")
    several = table.groupby(["system", "stage", "target"]).frames.transform("nunique") > 1
    wide = table[several].pivot(index=["system", "stage", "target"], columns="frames", values="ms")
    return wide.rename_axis(columns="frames of a chunk; ms for a second of audio").round(2)


def by_need(rows: "pd.DataFrame", needs: Mapping[str, str]) -> str:
    """Which whole voice wins for an assistant (first sound), an audiobook (throughput), a battery (energy), in
    sentences; rows: of any notebook, measured or estimated. Voices as they come, of the newest row's machine, that are
    natural enough for somebody to want them.
    """
    said = []
    whole = rows[rows.value.notna() & rows.kind.isin(("measured", "estimated")) & (rows.variant == "baseline")]
    natural = whole[(whole.metric == "mos_predicted") & (whole.value >= LEAST_MOS)].system
    whole = whole[whole.system.isin([name for name in set(natural) if systems.kind(name) == "speech"])]
    if len(whole):
        whole = whole[whole.host == whole.sort_values("time").host.iloc[-1]]
    for need, metric in needs.items():
        shown = whole[whole.metric == metric].sort_values("value", ascending=metric != "throughput_rtfx")
        if (shown.kind == "measured").any():
            shown = shown[shown.kind == "measured"]
        if shown.empty:
            said.append(f"{need}: nothing has measured {metric} yet.")
            continue
        best = shown.iloc[0]
        named = f"{best.system} {best.variant} on {best.target}"
        kind = "" if best.kind == "measured" else f", {best.kind}"
        said.append(f"{need}: {named} ({best.value:.3g} {best.unit}{kind}).")
    return " ".join(said)


def finding(rows: "pd.DataFrame") -> str | None:
    """The fastest measured target of each stage against PyTorch, and what the NPUs' models say, in sentences."""
    said = []
    gains = rows[(rows.metric == "speedup") & rows.value.notna() & rows.notebook.str.startswith(NOTEBOOK)]
    snr = rows[rows.metric == "snr_db"].set_index(["system", "variant", "target"]).value.to_dict()
    for system, own in gains.groupby("system", sort=False):
        best = own.loc[own.value.idxmax()]
        noise = snr.get((best.system, best.variant, best.target))
        heard = "" if noise is None else f", its answer {noise:.0f} dB above the difference to PyTorch's"
        said.append(
            f"Of the targets timed for {system}, {best.variant} on {best.target} is fastest: {best.value:.2f} times "
            f"the speed of PyTorch{heard}."
        )
    said += filter(None, [_simulated(rows), _collapsed(rows)])
    return " ".join(said) or None
