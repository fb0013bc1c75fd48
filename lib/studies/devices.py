"""What do the rows of a deployment say? Tables, and sentences computed from the numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import deploy, results, targets
from lib.deploy import stages
from lib.metrics import deliberate
from lib.studies import simulated
from lib.studies.simulated import NOISE_DB

FRAMES_A_CHARACTER = 5
ROUNDING_DB = 60.0  # above it the difference to PyTorch is rounding

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.scorer import Scorer

NOTEBOOK = "06_gpu_vs_npu"


def present(names: Sequence[str]) -> "pd.DataFrame":
    """Which targets are here for stages, and why not the others, a line each."""
    import pandas as pd

    rows = []
    for name in names:
        target = targets.find(name)
        rows.append((name, target.kind, deploy.no_runtime(name) or target.why_not() or "here"))
    return pd.DataFrame(rows, columns=["target", "kind of its numbers", "here, or why not"])


def build(
    names: Sequence[str],
    frames: int,
    texts: Sequence["Sentence"],
    calibration: Sequence["Sentence"],
    spoken: Sequence["Sentence"] = (),
) -> list[stages.Stage]:
    """The stages on what these sentences make them see. spoken: those by which they are judged."""
    read, others, judged = ([s.text for s in side] for side in (texts, calibration, spoken))
    return [stages.build(name, frames, texts=read, calibration=others, spoken=judged) for name in names]


def for_npus(
    names: Sequence[str], built: Sequence[stages.Stage], npus: Sequence[str], how: Callable[[Sequence[str]], list]
) -> list[stages.Stage]:
    """The stages of these names for neural processors: those that are built, and the others by `how` (names -> stages)
    where any target can run or compile them, as their inputs take a minute each.
    """
    there = {stage.label: stage for stage in built}
    able = any(deploy.builds(npu) or not (deploy.no_runtime(npu) or targets.find(npu).why_not()) for npu in npus)
    missing = [name for name in names if name not in there] if able else []
    there |= {stage.label: stage for stage in how(missing)}
    return [there[name] for name in names if name in there]


def short(texts: Sequence["Sentence"], n: int, frames: int) -> list["Sentence"]:
    """The first n sentences that a bucket of so many frames should hold whole, counted by their characters."""
    return [s for s in texts if FRAMES_A_CHARACTER * len(s.text) <= frames][:n]


def padding(built: Sequence[stages.Stage], texts: Sequence["Sentence"], frames: int) -> str | None:
    """What buckets cost for sentences of these lengths, in a sentence: for each stage that is cut, as each sees another
    length around a cut. A character is taken as 5 frames. None where no stage is cut.
    """
    lengths = [round(FRAMES_A_CHARACTER * len(s.text)) for s in texts]
    said = []
    for label, context in {stage.label: stage.context for stage in built if stage.context}.items():
        one, two = (stages.padding_waste(lengths, b, context) for b in ([frames], [frames // 4, frames]))
        needs = f"needs {context[0]} frames before and {context[1]} after those it is for"
        said.append(f"{label}, which {needs}, {100 * one:.0f} % ({100 * two:.0f} %)")
    return (
        f"When {len(lengths)} sentences are cut into buckets of {frames} frames, this share of all that is computed is "
        f"padding or computed twice (in brackets: with a second, shorter bucket of {frames // 4} frames): "
        f"{'; '.join(said)}. The sentences' lengths are guessed, at {FRAMES_A_CHARACTER} frames a character."
        if said
        else None
    )


def absent(rows: "pd.DataFrame") -> str | None:
    """What was not run although its target is here, and why, in a sentence: a precision that this processor lacks, a
    stage that could not be written or loaded; None without any. What is wrong with a target `present` says.
    """
    why: dict[str, list[str]] = {}
    for row in rows[(rows.kind == "not_run") & (rows.metric == "latency_ms_p50")].itertuples():
        known = row.target in targets.TARGETS and not deploy.no_runtime(row.target)
        if known and not targets.find(row.target).why_not():
            why.setdefault(str(row.detail), []).append(f"{row.system} {row.variant} on {row.target}")
    said = "; ".join(f"{', '.join(dict.fromkeys(names))} ({reason})" for reason, names in why.items())
    return f"Not run, though its target is here: {said}." if said else None


def judge(threads: int) -> "Scorer":
    """Who rates what comes out."""
    from lib.measure.scorer import Scorer

    return Scorer(threads=threads)


def heard(rows: "pd.DataFrame") -> str | None:
    """What a MOS predictor says of what came out, one clip each, in a sentence; None where it was not asked."""
    said = []
    for row in rows[(rows.metric == "snr_db") & rows.value.notna()].itertuples():
        mos = _detail(row.detail).get("mos_predicted")
        if mos is not None:
            said.append(f"{row.system} {row.variant} on {row.target} {mos:.2f} ({row.value:.0f} dB)")
    return f"Predicted MOS of one clip each: {', '.join(said)}." if said else None


def all_rows(now: "pd.DataFrame", recorded: "pd.DataFrame") -> "pd.DataFrame":
    """This run's rows and the recorded ones of deployments and whole voices, without what could not run."""
    import pandas as pd

    kept = [table[table.value.notna()] for table in (recorded, now) if not table.empty]
    return pd.concat(kept, ignore_index=True) if kept else now


def together(now: "pd.DataFrame", recorded: "pd.DataFrame") -> "pd.DataFrame":
    """Simulated rows of this run and recorded ones, a line each: latency, ms for a second of audio that comes out as in
    the whole, operators placed, SNR, memory and its bandwidth; below them what was not run where no recorded run has
    it, a line for each system and target with the reason.
    """
    import pandas as pd

    of = {"now": simulated.read(now), "recorded": simulated.read(_of_notebook(recorded))}
    known = {line.name for read in of.values() for line in read if not line.why_not}
    lines, refused, seen = [], {}, set()
    for origin, read in of.items():
        for line in simulated.newest(read):
            names = {"system": line.system, "stage": line.variant, "target": line.target}
            told = names | {"when": origin, "kind": line.kind}
            if line.why_not and line.name in known | seen:
                continue
            seen.add(line.name)
            if line.why_not:
                refused.setdefault((line.system, line.target, origin, line.why_not), []).append(line.variant)
                continue
            seconds = line.ms_a_second
            told |= {
                "ms": None if line.ms is None else round(line.ms, 2),
                "ms/s of audio": None if seconds is None else round(seconds, 2),
                "operators on it, %": None if line.placed_pct is None else round(line.placed_pct, 1),
                "SNR, dB": None if line.snr_db is None else round(line.snr_db, 1),
                "memory": line.memory,
                "bandwidth": line.bandwidth,
            }
            lines.append(told)
    for (system, target, origin, why), variants in refused.items():
        names = {"system": system, "stage": ", ".join(variants), "target": target}
        lines.append(names | {"when": origin, "kind": "not run", "why not": why})
    return pd.DataFrame(lines).fillna("")


def _of_notebook(rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows[rows.notebook.str.startswith(NOTEBOOK)]


def operators_left(rows: "pd.DataFrame") -> "pd.DataFrame":
    """What did not go to the NPU, by operator: system, stage, target, operator, how many; of each the newest run, and
    nothing of what is only asked for to be refused.
    """
    import pandas as pd

    mine = rows[(rows.metric == "npu_ops_pct") & ~rows.variant.map(deliberate).astype(bool)]
    found, placed = [], mine.sort_values("time", kind="stable")
    for row in placed.drop_duplicates(["system", "variant", "target"], keep="last").itertuples():
        left = _detail(row.detail).get("left", {})
        found += [(row.system, row.variant, row.target, kind, n) for kind, n in left.items()]
    return pd.DataFrame(found, columns=["system", "stage", "target", "operator", "on the processor"])


def finding(rows: "pd.DataFrame") -> str | None:
    """What `findings` says, in one paragraph; None where that is nothing."""
    return " ".join(findings(rows)) or None


def findings(rows: "pd.DataFrame") -> list[str]:
    """The fastest measured targets of each stage against PyTorch, and what the NPUs' models say, in sentences."""
    lines = [line for line in simulated.newest(simulated.read(rows)) if not line.why_not]
    said = [*_fastest(rows), _cheapest(lines), *_collapsed(lines)]
    return [sentence for sentence in said if sentence]


def _fastest(rows: "pd.DataFrame") -> list[str]:
    """For each stage, of the newest run, on processors and on GPUs apart: the fastest target that computes the same,
    and one that is faster and does not, with what is known of it.
    """
    rows = rows[rows.notebook.str.startswith(NOTEBOOK) & rows.value.notna()]
    # The bench's whole voices have speed-ups, too, but no length of their audio beside their milliseconds.
    timed = rows[rows.metric == "latency_ms_p50"].itertuples()
    staged = {_names(row) for row in timed if "audio_s" in _detail(row.detail)}
    rows = rows[np.array([_names(row) in staged for row in rows.itertuples()], bool)]
    gains = results.newest_run(rows[rows.metric == "speedup"])
    if gains.empty:
        return []
    run = results.run_of(rows, gains.iloc[-1])
    checked = {_names(row): row for row in run[run.metric == "snr_db"].itertuples()}
    said = []
    for (system, on), own in gains.groupby(["system", gains.target.map(_where)], sort=False):
        ranked = list(own.sort_values("value", ascending=False).itertuples())
        same = next((row for row in ranked if _snr_db(checked.get(_names(row))) >= ROUNDING_DB), None)
        told = []
        if same is not None:
            told.append(f"of what computes the same {_timed(same)} is {_fast(same)}")
        if ranked[0] is not same:
            known = _known(checked.get(_names(ranked[0])))
            told.append(f"{_timed(ranked[0])} is {_fast(ranked[0], 'faster still' if told else 'fastest')}{known}")
        said.append(f"{system} on {on}, beside {_base(run, system)}: {'; '.join(told)}.")
    return said


def _fast(row: Any, said: str = "fastest") -> str:
    """How fast the first of the others is: below 1 it is PyTorch itself that is fastest."""
    return said if row.value >= 1 else "nearest to PyTorch, which is faster"


def _names(row: Any) -> tuple[str, str, str]:
    return row.system, row.variant, row.target


def _snr_db(checked: Any | None) -> float:
    """0 where nothing was compared."""
    return 0.0 if checked is None else checked.value


def _known(checked: Any | None) -> str:
    """What is known of the sound of a target that does not compute the same, by the row of its SNR."""
    if checked is None:
        return ", and nobody compared or judged it"
    mos = _detail(checked.detail).get("mos_predicted")
    heard = "and nobody judged it" if mos is None else f"one clip of it is rated {mos:.2f} by a MOS predictor"
    return f" (its difference to PyTorch lies {checked.value:.0f} dB below the signal), {heard}"


def _where(target: str) -> str:
    return "a GPU" if targets.find(target).cuda else "the processor"


def _timed(row: Any) -> str:
    interval = "" if row.ci_low != row.ci_low else f" [{row.ci_low:.2f}, {row.ci_high:.2f}]"
    return f"{row.variant} on {row.target} at {row.value:.2f}{interval} times the speed"


def _base(run: "pd.DataFrame", system: str) -> str:
    """What speed-ups are over, with the processor's threads: beside a GPU it is still that processor."""
    timed = run[(run.system == system) & (run.metric == "latency_ms_p50") & (run.kind == "measured")]
    timed = timed.iloc[(timed.target != "torch/cpu").argsort(kind="stable")]  # its own row, where it has one
    threads = next((d["threads"] for d in map(_detail, timed.detail) if "threads" in d), None)
    on = "PyTorch in single precision on"
    return f"{on} the processor" if threads is None else f"{on} {threads} threads of the processor"


def _detail(detail: object) -> dict[str, Any]:
    return json.loads(detail) if str(detail).startswith("{") else {}


def _cheapest(lines: Sequence[simulated.Line]) -> str | None:
    """The lowest simulated cost of a second of audio of each system, in a sentence: of what fits its device, gives
    frames as they are in the whole and is not known to compute something else.
    """
    best: dict[str, simulated.Line] = {}
    for line in lines:
        cost = line.ms_a_second if line.kind == "simulated" else None
        if cost is None or cost == float("inf") or line.does_not_fit or line.collapsed:
            continue
        if line.system not in best or cost < best[line.system].ms_a_second:
            best[line.system] = line
    listed = ", ".join(
        f"{system} {one.ms_a_second:.2g} ({one.variant} on {one.target}, "
        f"{', '.join(filter(None, (one.checked, one.left_out)))}{_window(one)})"
        for system, one in best.items()
    )
    return (
        "Simulated milliseconds for a second of audio that comes out as in the whole, no device has confirmed them: "
        f"{listed}."
        if best
        else None
    )


def _window(line: simulated.Line) -> str:
    """That of a window of fixed length all was counted as sound, however little of it is: so older rows have it."""
    whole = line.label == "whisper-tiny.en/encoder" and "window_s" not in line.detail
    return f", of a window of {line.detail['audio_s']:g} s, filled or not" if whole else ""


def _collapsed(lines: Sequence[simulated.Line]) -> list[str]:
    """What no longer says the same in 8 bits, and what does not fit, in sentences."""
    noisy = {(one.system, one.variant, targets.find(one.target).emulator): one for one in lines if one.collapsed}
    listed = ", ".join(
        f"{system} {variant} by {emulator} ({one.snr_db:.0f} dB)"
        for (system, variant, emulator), one in noisy.items()
    )
    large = "; ".join(f"{one.name} {one.does_not_fit}" for one in lines if one.does_not_fit)
    said = [f"Placed, but no longer the same, with an SNR below {NOISE_DB:g} dB: {listed}."] if noisy else []
    return said + ([f"Timed by its compiler, but the device has no room for it: {large}."] if large else [])
