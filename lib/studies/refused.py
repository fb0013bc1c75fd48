"""What can a neural processor not do? Small networks of our own (`lib.deploy.probes`) are given to the compilers that
are here, and what each answers is a row: taken, left to the processor in part, or refused, in the compiler's own words.

A row is the share of the operators that the chip takes. A graph that was refused has none on it, and its detail says
why; one that hung or crashed a toolchain is `not run`, as that is no answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import deploy, progress, targets
from lib.deploy import apart, probes
from lib.deploy.probes import Probe
from lib.deploy.stages import Stage
from lib.errors import SpeechError
from lib.results import newest_run
from lib.studies import handed
from lib.studies.placed import Placed

if TYPE_CHECKING:
    import pandas as pd

    from lib.results import Run

log = logging.getLogger(__name__)

METRIC = "npu_ops_pct"
TEXT = "The birch canoe."  # what they see: short, as some compilers write a recurrent layer out, step by step
ASIDE = "@probe"  # of the variants of these rows: no stage that anybody would deploy


def ask(run: "Run", npus: Sequence[str], *, timeout_s: float = 300) -> None:
    """A row for each probe and each of these targets whose compiler is here."""
    here = [name for name in npus if _here(name)]
    asked = probes.build(TEXT) if here else []
    for probe in progress.track(asked, "what is refused", unit="probe"):
        for name in here:
            if precision := _precision(name, probe.wide):
                _answer(run, probe, name, precision, timeout_s)


def table(rows: "pd.DataFrame") -> "pd.DataFrame":
    """A line each probe and target, of the newest run that asked: what was asked for, the share of its operators on the
    chip, and the answer in words.
    """
    import pandas as pd

    columns = ["asked for", "stage", "target", "operators on it, %", "answer"]
    lines = [
        (about["asks"], f"{row.system} {row.variant.removesuffix(ASIDE)}", row.target, row.value, _words(about))
        for row, about in _newest(rows)
    ]
    return pd.DataFrame(lines, columns=columns).sort_values("asked for", kind="stable", ignore_index=True)


def finding(rows: "pd.DataFrame") -> str | None:
    """Who takes what, in a sentence for each thing that was asked for; None where nobody was asked."""
    answers: dict[str, dict[str, list[str]]] = {}
    for row, about in _newest(rows):
        answers.setdefault(about["asks"], {}).setdefault(_word(row.value, about), []).append(row.target)
    said = [
        f"{asks[0].upper()}{asks[1:]}: "
        + "; ".join(f"{word} {', '.join(names)}" for word, names in sorted(by_word.items()))
        for asks, by_word in sorted(answers.items())
    ]
    return f"{'. '.join(said)}." if said else None


def wanting(rows: "pd.DataFrame") -> str | None:
    """What asks for the first time, in a sentence; None where somebody was asked."""
    return (
        None
        if _newest(rows)
        else "No compiler was asked yet: `./run_all.sh quick --only 06 --set npu=install` asks them."
    )


def _here(name: str) -> bool:
    """Whether a compiler that answers for a device that is not there can be asked."""
    if deploy.no_runtime(name):
        return False
    target = targets.find(name)
    return target.neural and target.kind == "simulated" and not target.why_not()


def _precision(name: str, wide: bool) -> str | None:
    """With activations of 16 bits, or the first with 8; None where its toolchain has no word for that."""
    if wide:
        known = (*deploy.precisions(name), *getattr(deploy.runtime(name), "REFUSES", ()))
        return next((one for one in known if one.startswith("a16")), None)
    return next((one for one in deploy.precisions(name) if one in ("int8", "a8w8")), None)


def _answer(run: "Run", probe: Probe, name: str, precision: str, timeout_s: float) -> None:
    names = (probe.stage.system, f"{probe.stage.name}-{precision}{ASIDE}", name)
    about: dict[str, Any] = {"asks": probe.asks}
    try:
        folder = _folder(probe, name, precision)
        job = handed.job(Placed(probe.stage, name, precision), folder, False)
        with apart.Worker(job, timeout_s=timeout_s) as worker:
            share = worker.figures.get(METRIC)
            about |= {key: worker.detail[key] for key in ("operators", "left") if key in worker.detail}
    except apart.Refused as error:
        share = 0.0
        about["refused"] = str(error).removeprefix(f"{name} failed: ")
    except SpeechError as error:
        log.warning("%s on %s: no answer: %s", probe.asks, name, error)
        run.not_run(*names, METRIC, str(error))
        return
    if share is None:
        run.not_run(*names, METRIC, f"{name} does not say which operators it takes")
        return
    source = f"{targets.find(name).runtime}'s compiler"
    run.add(*names, METRIC, share, kind=targets.find(name).kind, n=1, source=source, detail=about)


def _folder(probe: Probe, name: str, precision: str) -> Path:
    """With what the target reads; SpeechError where PyTorch cannot write it."""
    stage: Stage = probe.stage
    if probe.open_axis is None:
        folder, failed = handed.stage_folder(stage, [(name, precision)])
        if failed:
            raise SpeechError("; ".join(failed.values()))
        return folder
    folder, _ = handed.stage_folder(stage, [])  # its arrays alone
    if not all((folder / form).exists() for form in probes.FORMS):
        probes.leave_open(stage, probe.open_axis, folder)
    return folder


def _newest(rows: "pd.DataFrame") -> list[tuple[Any, dict[str, Any]]]:
    """(row, its detail) of each probe on each target, of the newest run that has an answer."""
    mine = rows[(rows.metric == METRIC) & rows.variant.str.endswith(ASIDE) & rows.value.notna()]
    chosen = [newest_run(own) for _, own in mine.groupby(["system", "variant", "target"], sort=False)]
    return [(row, json.loads(row.detail)) for own in chosen for row in own.tail(1).itertuples()]


def _words(about: dict[str, Any]) -> str:
    if "refused" in about:
        return f"refused: {about['refused']}"
    left = ", ".join(f"{kind} {n}" for kind, n in about.get("left", {}).items())
    return f"left to the processor: {left}" if left else "taken whole"


def _word(share: float, about: dict[str, Any]) -> str:
    if "refused" in about:
        return "refused by"
    return "taken whole by" if share == 100 else "in part by" if share else "left to the processor by"
