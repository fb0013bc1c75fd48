"""What should deployment reach at least? The floors of `06_gpu_vs_npu`, and by which rows.

A target of a processor is a way to run a voice, so the voice as it is counts there beside what was done to it. What a
compiler says of a device that has no room for the graph is no row. A time counts where the answer is known to be the
network's own: what computes noise misses, and what nobody compared in this length decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from lib import targets
from lib.studies import simulated
from lib.studies.floor_rows import WHOLE, answer, judged, speed_up, variants
from lib.studies.floors import MET, MISSED, NOT_RUN, UNDECIDED, Answer, Floor, Part, at_least

if TYPE_CHECKING:
    import pandas as pd

STUDY, TORCH = "Deployment", "torch/cpu"
VOICES = ("vits-joe", "hibari-small", "fastspeech2", "tacotron2", "speecht5", "tortoise")  # those that PyTorch speaks
VOCODERS = ("hifigan", "istft", "hibari-vocoder")
NPUS = {"qnn": "Hexagon", "vela": "Ethos-U"}  # runtime -> whose
STAGES = (
    ("hifigan", "generator"),
    ("istft", "trunk"),
    ("vits-joe", "decoder"),
    ("fastspeech2", "decoder"),
    ("whisper-tiny.en", "encoder"),
)
_INSTALLS = "`./run_all.sh quick --only 06 --set npu=install` installs the toolchains and runs them"


def floors() -> list[Floor]:
    """All of them, in the order in which they are told."""
    clean = "times as fast as PyTorch on its best target of a processor, without audible loss"
    return [
        *(_faster(f"voice {name}", name, 1.5, f"1.5 {clean}") for name in VOICES),
        *(_faster(f"vocoder {name}", name, 3.0, f"3 {clean}") for name in VOCODERS),
        *(
            Floor(
                STUDY,
                f"{system} {stage} on NPUs",
                f"rows for {' and '.join(NPUS.values())}, {simulated.NOISE_DB:g} dB from PyTorch's numbers or more",
                partial(on_npus, system=system, stage=stage),
                _INSTALLS,
                (system, "qnn/sa8255"),
            )
            for system, stage in STAGES
        ),
    ]


def faster_than_torch(run: pd.DataFrame, system: str, limit: float) -> Iterator[Answer]:
    """A system on every target of a processor, as it is or changed, beside what PyTorch makes of it as it is."""
    for row in variants(run, system, "rtf"):
        known = row.target in targets.TARGETS and targets.find(row.target).device == "cpu"
        if not known or (row.variant, row.target) == (WHOLE, TORCH):
            continue
        if faster := speed_up(run, row, WHOLE, TORCH):
            heard = judged(run, system, row.variant, row.target)
            who = f"{row.variant} on {row.target}"
            yield answer(row, at_least(faster, limit, "{} times as fast"), heard, who=who)


def on_npus(run: pd.DataFrame, system: str, stage: str) -> Iterator[Answer]:
    """What a run has of a stage in its usual length: of each vendor the fastest device that has room for it, of those
    that compute the same, else of those whose numbers nobody checked, else of those that compute something else.
    """
    lines = [one for one in simulated.read(run) if (one.system, one.variant.split("-")[0]) == (system, stage)]
    lines = [one for one in lines if one.ms is not None and one.variant == one.stage]
    if not lines:
        return
    parts, rows = [], []
    for runtime, vendor in NPUS.items():
        own = [one for one in lines if targets.find(one.target).runtime == runtime and not one.does_not_fit]
        if not own:
            parts.append(Part(f"no row for {vendor}", NOT_RUN))
            continue
        best = min(own, key=lambda one: (_STANDS.index(_stands(one)), one.ms))
        about = filter(None, (f"{best.ms:.3g} ms", best.kind, best.left_out, best.checked))
        parts.append(Part(f"{best.stage} on {best.target} {', '.join(about)}", _stands(best)))
        rows.append(f"{system} {best.variant} {best.target} latency_ms_p50")
    yield Answer(stage, tuple(parts), tuple(rows))


_STANDS = (MET, UNDECIDED, MISSED)  # the better first


def _stands(line: simulated.Line) -> str:
    """By its answer in this length; that of another length is no word for this one."""
    if line.snr_db is None:
        return UNDECIDED
    return MISSED if line.collapsed else MET


def _faster(name: str, system: str, limit: float, wanted: str) -> Floor:
    answers = partial(faster_than_torch, system=system, limit=limit)
    return Floor(
        STUDY, name, wanted, answers, f"no run has timed {system} on PyTorch and elsewhere and judged it"
    )
