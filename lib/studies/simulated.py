"""What do the rows of neural processors say? Each stage on each device as one line: time, what of a chunk is useful,
whether it fits, how far its numbers are from PyTorch's.

A chunk is cut out of a sentence, so what it costs is laid on the frames that come out as in the whole
(`stages.useful_frames`). An emulator answers for several devices of its toolchain (`Target.emulator`), so its numbers
hold for each of them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import targets
from lib.deploy import stages, vela

if TYPE_CHECKING:
    import pandas as pd

NOISE_DB = 10.0  # below it the difference to PyTorch is a tenth of the signal's power or more
RUN = ("notebook", "host", "commit", "recorded")


@dataclass(frozen=True)
class Line:
    """A stage on a device, of one run. run: its RUN; ms: of a chunk, None where nothing said; placed_pct: of the
    operators; snr_db: of the answer in this length, by a device of the same emulator; other_snr_db: (frames,
    dB) of the longest other length that was answered; detail: of the row of its latency.
    """

    run: tuple
    time: str
    system: str
    variant: str
    target: str
    kind: str
    ms: float | None = None
    placed_pct: float | None = None
    snr_db: float | None = None
    other_snr_db: tuple[int, float] | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    why_not: str = ""

    @property
    def stage(self) -> str:
        """Of "decoder-a8w8-f25" the "decoder-a8w8"."""
        return _parted(self.variant)[0]

    @property
    def label(self) -> str:
        """As `stages` calls it."""
        return f"{self.system}/{self.variant.split('-')[0]}"

    @property
    def name(self) -> str:
        """In sentences."""
        return f"{self.system} {self.variant} on {self.target}"

    @property
    def frames(self) -> int | None:
        """Of its chunk; of one that was refused, by its name, which tells other lengths than the usual alone."""
        if self.why_not:
            return _parted(self.variant)[1] or stages.FRAMES
        return self.detail.get("frames")

    @property
    def ms_a_second(self) -> float | None:
        """Milliseconds for a second of audio that comes out as in the whole; infinite where none does."""
        if self.ms is None or not self.frames or "audio_s" not in self.detail:
            return None
        useful_s = self.detail["audio_s"] * stages.useful_frames(self.label, self.frames) / self.frames
        return self.ms / useful_s if useful_s else math.inf

    @property
    def spilled_bytes(self) -> float | None:
        """What travels to the main memory between two layers; None where the compiler does not count it."""
        return self.detail.get("estimate", {}).get("spilled_bytes")

    @property
    def does_not_fit(self) -> str:
        """Why no device can run it; "" where it fits, or nothing is known."""
        if self.why_not:
            return self.why_not[self.why_not.find(vela.NO_ROOM) :] if vela.NO_ROOM in self.why_not else ""
        limit = targets.find(self.target).settings.get("sram_kib")
        return vela.does_not_fit(self.detail.get("model", {}).get("sram_memory_used"), limit)

    @property
    def outgrows(self) -> bool | None:
        """Whether it is too large for the memory beside the arithmetic; None where nothing says so: a compiler that has
        a main memory to go to keeps to its SRAM, and does not tell what it would have taken.
        """
        if self.why_not:
            return bool(self.does_not_fit) or None
        used = self.detail.get("model", {})
        if used and not used.get("dram_memory_used"):
            return bool(self.does_not_fit)
        return None if self.spilled_bytes is None else self.spilled_bytes > 0

    @property
    def memory(self) -> str:
        """What it needs of the memory beside the arithmetic, in words; "" where nothing is known."""
        used = self.detail.get("model", {})
        if self.does_not_fit or "sram_memory_used" not in used:
            spills = "" if self.spilled_bytes is None else f"spills {self.spilled_bytes / 1e6:.0f} MB"
            return self.does_not_fit or spills
        main = used.get("dram_memory_used")
        return f"{used['sram_memory_used']:,.0f} KiB of SRAM" + (
            f", {main:,.0f} of main memory" if main else ""
        )

    @property
    def bandwidth(self) -> str:
        """What each memory may move at most and what a run moves, in words; "" where the compiler does not say."""
        used = self.detail.get("model", {})
        return ", ".join(
            f"{words} {used[f'{name}_bandwidth']:.3g} GiB/s ({used[f'{name}_total_bytes'] / 1e6:,.3g} MB a run)"
            for name, words in _MEMORIES.items()
            if used.get(f"{name}_total_bytes") and f"{name}_bandwidth" in used
        )

    @property
    def collapsed(self) -> bool:
        """Whether it is known to compute something else."""
        return self.snr_db is not None and self.snr_db < NOISE_DB

    @property
    def left_out(self) -> str:
        """What its time does not count, in words: operators that stayed with the processor; "" where all are on it."""
        if self.placed_pct is None or self.placed_pct >= 100:
            return ""
        return f"without the {100 - self.placed_pct:.2g} % of its operators that stay with the processor"

    @property
    def checked(self) -> str:
        """How far its numbers are from PyTorch's, in words, or that nobody compared them."""
        if self.snr_db is not None:
            return f"{self.snr_db:.0f} dB"
        if self.other_snr_db is None:
            return "its numbers unchecked"
        frames, snr = self.other_snr_db
        return f"its numbers checked in chunks of {frames} frames alone, {snr:.0f} dB"


def read(rows: "pd.DataFrame") -> list[Line]:
    """The lines of every run in a results table, in its order; not of sentences that were judged (`spoken`)."""
    on_npu = [
        is_npu(row.target) and row.kind != "published" and "@" not in row.variant for row in rows.itertuples()
    ]
    ours = rows[np.array(on_npu, bool)]
    keys = [name for name in RUN if name in ours]
    answered = {}
    for row in ours[(ours.metric == "snr_db") & ours.value.notna()].itertuples():
        answered[_of_emulator(row, keys)] = row.value
    lines = []
    for _, own in ours.groupby([*keys, "system", "variant", "target"], sort=False, dropna=False):
        last = own.drop_duplicates("metric", keep="last").set_index("metric")
        row = next(own.iloc[-1:].itertuples())
        if last.value.notna().sum() == 0:
            lines.append(_line(row, keys, why_not=str(row.detail)))
            continue
        detail = last.detail.get("latency_ms_p50", "")
        found = json.loads(detail) if str(detail).startswith("{") else {}
        values = {name: last.value.get(metric) for name, metric in _VALUES.items()}
        snr = answered.get(_of_emulator(row, keys))
        lines.append(
            _line(row, keys, snr_db=snr, other_snr_db=_elsewhere(row, keys, answered), detail=found, **values)
        )
    return lines


def newest(lines: Sequence[Line]) -> list[Line]:
    """Of each stage on each device one line: a number before the reason why there is none, then the newest."""
    chosen: dict[str, Line] = {}
    for line in sorted(lines, key=lambda one: (not one.why_not, one.time)):
        chosen[line.name] = line
    return [line for line in lines if chosen[line.name] is line]


def is_npu(target: str) -> bool:
    """Whether a target of the table is a neural processor."""
    return target in targets.TARGETS and targets.find(target).neural


_MEMORIES = {  # as Vela names them -> in words
    "sram": "SRAM",
    "dram": "main memory",
    "on_chip_flash": "flash on the chip",
    "off_chip_flash": "flash beside it",
}
_VALUES = {"ms": "latency_ms_p50", "placed_pct": "npu_ops_pct"}


def _line(row: Any, keys: Sequence[str], **found: Any) -> Line:
    run = tuple(getattr(row, name) for name in keys)
    return Line(run, str(row.time), row.system, row.variant, row.target, row.kind, **found)


def _of_emulator(row: Any, keys: Sequence[str]) -> tuple:
    emulator = targets.find(row.target).emulator
    return (*(getattr(row, name) for name in keys), row.system, emulator, row.variant)


def _elsewhere(row: Any, keys: Sequence[str], answered: dict[tuple, float]) -> tuple[int, float] | None:
    """(frames, dB) of the longest other chunk of the same stage that the emulator answered."""
    *same, variant = _of_emulator(row, keys)
    others = [(*_parted(name), snr) for (*of, name), snr in answered.items() if of == same and name != variant]
    return max(((n, snr) for stage, n, snr in others if n and stage == _parted(variant)[0]), default=None)


def _parted(variant: str) -> tuple[str, int | None]:
    """A stage in its precision, and how many frames its name tells, None of the usual length.

    >>> _parted("decoder-fp16-f25"), _parted("decoder-fp16")
    (('decoder-fp16', 25), ('decoder-fp16', None))
    """
    stage, chunk, frames = re.fullmatch(r"(.*?)(-f(\d+).*)?", variant).groups()
    return stage, int(frames) if chunk else None
