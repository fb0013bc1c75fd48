"""Which voice for what: as it comes, fine-tuned, smaller or distilled, for an assistant, an audiobook, a battery?

Only rows of one run are laid beside each other, and a winner is one of its run. A change is told by how its bench
paired it with the voice that it was made of; of two that no bench tells apart neither wins. Energy is told once for
each boundary and kind: joules of a board, a package and a process are three different things, and an estimate is no
measurement. Cost is `lib.studies.prices`' estimate, of rows that it was laid beside. What no row says of a kind of
voice is told, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lib import systems
from lib.errors import ParameterError
from lib.measure import energy, judgement
from lib.measure.verdict import WITHOUT_LOSS
from lib.metrics import METRICS, deliberate
from lib.studies.cells import marked
from lib.studies.floor_rows import detail, number, same_bench
from lib.studies.floors import Number
from lib.studies.prices import POWER, RENT
from lib.studies.simulated import RUN

if TYPE_CHECKING:
    import pandas as pd

LEAST_MOS = 3.5  # predicted, of a voice that is offered
AS_IT_COMES, TUNED, SMALLER, DISTILLED, OTHER = "as it comes", "fine-tuned", "smaller", "distilled", "other"
KINDS = (AS_IT_COMES, TUNED, SMALLER, DISTILLED)
_BEGINS = {  # how the names of variants begin
    TUNED: ("full", "lora", "qlora", "dora", "ia3", "speaker"),
    SMALLER: ("int8", "int4", "nf4", "fp16", "bf16", "pruned", "structured", "auto"),
    DISTILLED: ("distilled", "student"),
}
COSTS = ("first_audio_ms", "latency_ms_p50", "throughput_rtfx", "energy_j_per_audio_s")


@dataclass(frozen=True)
class Need:
    """metrics: what decides, the first that a voice has."""

    said: str
    metrics: tuple[str, ...]


NEEDS = (
    # A voice that does not stream is heard when its sentence is done.
    Need("A real-time assistant wants the first sound soon", ("first_audio_ms", "latency_ms_p50")),
    Need("A batch audiobook wants many seconds a second", ("throughput_rtfx",)),
    Need("A battery wants few joules", ("energy_j_per_audio_s",)),
    Need("A bill wants few cents for an hour of audio", (RENT,)),
)
PAIRED = {  # metric -> what the bench calls it beside a base, and the row that says so
    "latency_ms_p50": ("latency_ratio", "latency_ms_p50"),
    "throughput_rtfx": ("speedup", "rtf"),
    RENT: ("speedup", "rtf"),
}
COMPARED = {  # what the comparison promises of every kind of voice -> the metrics of which one says it
    "latency": ("latency_ms_p50", "first_audio_ms"),
    "throughput": ("throughput_rtfx",),
    "utilisation": ("utilization_pct",),
    "energy": ("energy_j_per_audio_s",),
    "quality": ("mos_predicted", "wer"),
    "memory": ("peak_rss_mb",),
    "cost": (RENT,),
}


@dataclass(frozen=True, eq=False)
class Voice:
    """A whole voice as one run measured it. rows: metric -> its row; base: the name of what it was made of; heard: its
    verdict beside that, "" without one.
    """

    run: tuple
    system: str
    variant: str
    target: str
    rows: dict[str, Any] = field(repr=False)
    base: str = ""
    heard: str = ""

    @property
    def kind(self) -> str:
        """What was done to it: one of KINDS, or OTHER."""
        return done_to(self.variant)

    @property
    def name(self) -> str:
        """In sentences."""
        return f"{self.system} {self.variant} on {self.target}"

    @property
    def natural(self) -> bool:
        """Whether somebody would want it: rated well enough, and without audible loss beside what it was made of."""
        rated = self.value("mos_predicted")
        return rated is not None and rated >= LEAST_MOS and self._kept

    @property
    def _kept(self) -> bool:
        """Whether nothing was lost; what nothing was done to has nothing to lose."""
        unchanged = not self.base or self.kind == AS_IT_COMES
        return self.heard == WITHOUT_LOSS or (unchanged and not self.heard)

    @property
    def why_not(self) -> str:
        """Why it is not offered, in words."""
        rated = self.value("mos_predicted")
        low = "nobody rated it" if rated is None else f"predicted MOS {rated:.2f}"
        return low if self._kept else self.heard or f"nobody judged it beside {self.base}"

    def value(self, metric: str) -> float | None:
        """Of a metric; None where nothing measured it."""
        return self.rows[metric].value if metric in self.rows else None


def done_to(variant: str) -> str:
    """What was done to a variant of this name.

    >>> done_to("baseline"), done_to("pruned-30+int8-dynamic"), done_to("lora-r8@prompts"), done_to("distilled-1")
    ('as it comes', 'smaller', 'fine-tuned', 'distilled')
    """
    if variant == "baseline" or variant.startswith("baseline-by-"):  # another vocoder changes nothing that was learnt
        return AS_IT_COMES
    return next((kind for kind, begins in _BEGINS.items() if variant.startswith(begins)), OTHER)


def voices(rows: "pd.DataFrame") -> list[Voice]:
    """The whole voices of every run, the newest run first, each with at least one cost, and what is known beside."""
    known, found = _of_speech(rows), []
    keys = [name for name in RUN if name in known]
    for run, part in known.groupby(keys, sort=False, dropna=False):
        for (system, variant, target), own in part.groupby(["system", "variant", "target"], sort=False):
            cells = {row.metric: row for row in own.itertuples()}
            if any(metric in cells for metric in COSTS):
                found.append((part.time.max(), _voice(part, run, system, variant, target, cells)))
    found.sort(key=lambda one: str(one[0]), reverse=True)
    return [voice for _, voice in found]


def _of_speech(rows: "pd.DataFrame") -> "pd.DataFrame":
    """What whole voices came to; nothing that was damaged on purpose."""
    known = rows[rows.value.notna() & rows.kind.isin(("measured", "estimated"))]
    speech = {name: systems.kind(name) == "speech" for name in known.system.unique() if name in systems.names()}
    known = known[known.system.map(speech).fillna(False).astype(bool)]
    return known[np.array([not deliberate(name) for name in known.variant], bool)]


def gaps(rows: "pd.DataFrame") -> str | None:
    """Of which kinds of voices no row says something that `COMPARED` promises, in a sentence; None without a gap."""
    known = _of_speech(rows)
    held: dict[str, set[str]] = {kind: set() for kind in KINDS}
    for variant, metric in set(zip(known.variant, known.metric)):
        held.get(done_to(variant), set()).add(metric)
    said = []
    for kind, metrics in held.items():
        lacking = [name for name, any_of in COMPARED.items() if not metrics & set(any_of)]
        if lacking:
            said.append(f"{kind}: {', '.join(lacking) if metrics else 'anything'}")
    return f"No row, of this run or a recorded one, says of voices {'; '.join(said)}." if said else None


def _voice(part: "pd.DataFrame", run: tuple, system: str, variant: str, target: str, cells: dict) -> Voice:
    base = next((row.baseline for row in cells.values() if row.baseline), "")
    heard = ""
    if base and "wer" in cells:
        try:
            heard = judgement.from_rows(part, system, variant, target, base).quality.word
        except ParameterError:
            heard = ""
    return Voice(run, system, variant, target, cells, base, heard)


def table(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Every voice of KINDS and what it was made of, a line each: what was done to it, its costs, its quality, where it
    was measured. Utilisation is of the cores it was given; money where `prices.priced` laid it beside.
    """
    import pandas as pd

    columns = (*COSTS, "utilization_pct", "mos_predicted", "wer", "peak_rss_mb", "size_mb", RENT, POWER)
    every, lines = voices(rows), []
    bases = {(one.run, one.system, one.base) for one in every if one.kind in KINDS}
    for voice in every:
        if voice.kind not in KINDS and (voice.run, voice.system, voice.variant) not in bases:
            continue
        line = {
            "done to it": voice.kind,
            "voice": voice.system,
            "variant": voice.variant,
            "target": voice.target,
        }
        line |= {_column(metric): _cell(voice, metric) for metric in columns}
        heard = voice.heard and f"{voice.heard}, beside {voice.base}"
        lines.append(line | {"heard": heard, "run": voice.run[0]})
    return pd.DataFrame(lines)


def _column(metric: str) -> str:
    """Its label, with the unit that the label does not name already: "Predicted MOS", "WER, normalised, %"."""
    label, unit = METRICS[metric].label, "%" if METRICS[metric].unit == "fraction" else METRICS[metric].unit
    return label if label.endswith(unit) else f"{label}, {unit}"


def told(rows: "pd.DataFrame", needs: Sequence[Need] = NEEDS) -> list[str]:
    """For each need the best voice as it comes, and what fine-tuning, shrinking and distilling did for it, each in a
    sentence, with quality and memory beside.
    """
    every = voices(rows)
    return [f"{need.said}. {' '.join(_sentences(every, need))}" for need in needs]


def _sentences(every: Sequence[Voice], need: Need) -> Iterator[str]:
    for kind in KINDS:
        of_kind = [
            voice for voice in every if voice.kind == kind and any(m in voice.rows for m in need.metrics)
        ]
        natural = [voice for voice in of_kind if voice.natural]
        if not natural:
            yield f"{kind.capitalize()}: {_nobody(of_kind, need)}."
            continue
        run = natural[0].run  # of the newest that has any
        pools: dict[tuple, list[Voice]] = {}
        for voice in (one for one in natural if one.run == run):
            pools.setdefault(_measure(voice, need), []).append(voice)
        for (metric, *_), pool in pools.items():
            yield f"{kind.capitalize()}: {_best(pool, metric)}."


def _nobody(of_kind: Sequence[Voice], need: Need) -> str:
    if not of_kind:
        return "nothing was measured of any"
    why = {f"{one.system} {one.variant}": one.why_not for one in reversed(of_kind)}
    return f"none is offered ({', '.join(f'{name}: {said}' for name, said in why.items())})"


def _measure(voice: Voice, need: Need) -> tuple[str, str, str]:
    """(metric, kind of the number, boundary): voices with the same may be ranked with each other."""
    # Sound that streams and a whole sentence are both waited for: they are one thing.
    metric = next(m for m in need.metrics if m in voice.rows)
    row = voice.rows[metric]
    return need.metrics[0], row.kind, energy.boundary(row.source) if metric == "energy_j_per_audio_s" else ""


def _best(pool: Sequence[Voice], metric: str) -> str:
    """The best of voices of one run, with those that no bench tells from it."""
    own = {voice: _row(voice, metric) for voice in pool}
    ranked = sorted(pool, key=lambda one: -METRICS[own[one].metric].better * own[one].value)
    first = ranked[0]
    tied = [one for one in ranked[1:] if not _apart(first, one, metric)]
    said = f"{first.name} ({_number(own[first])}{_beside(first, metric)}{_over_base(first, own[first])})"
    if tied:
        names = ", ".join(f"{one.name} ({_number(own[one])})" for one in tied)
        said += f", not to be told from {names}"
    return said


def _row(voice: Voice, metric: str) -> Any:
    """Its row of a metric; of the first sound, where it does not stream, that of its whole sentence."""
    return voice.rows[metric] if metric in voice.rows else voice.rows["latency_ms_p50"]


def _apart(one: Voice, other: Voice, metric: str) -> bool:
    """Whether two differ for sure. Of two benches nothing is; of what was paired with one base in one bench the ratios
    are compared, for lengths of sentences are in both numbers and in neither ratio; else the numbers themselves.
    """
    mine, theirs = _row(one, metric), _row(other, metric)
    if not same_bench(_timed(one, mine), _timed(other, theirs)):
        return False
    ends = number(mine).ends, number(theirs).ends
    if one.base and (one.system, one.base, one.target) == (other.system, other.base, other.target):
        ratios = _over(one, mine.metric), _over(other, theirs.metric)
        if mine.metric == theirs.metric and None not in ratios:
            ends = tuple(ratio.ends for ratio in ratios)
    if None in ends:
        return False
    (low, high), (least, most) = ends
    return high < least or most < low


def _timed(voice: Voice, row: Any) -> Any:
    """The row that says in which bench another of its voice was timed: money is computed of the RTF, and recorded
    joules are of the same bench but do not tell its rounds.
    """
    return voice.rows.get("rtf", row) if "rounds" not in detail(row) else row


def _over(voice: Voice, metric: str) -> Number | None:
    """How many times as much of a metric it has as its base, paired within one bench; None where nobody paired it."""
    name, of = PAIRED.get(metric, ("", metric))
    if of not in voice.rows or not (told := detail(voice.rows[of]).get(name)):
        return None
    return Number(told["value"], told["ci_low"], told["ci_high"])


def _number(row: Any) -> str:
    """ "0.0367 J/s [0.0145, 0.0926], estimated, process share": an estimate's interval holds what it may be off by. All
    of one machine are off by the same, so that does not change which is less.
    """
    low, high = row.ci_low, row.ci_high
    words = [] if row.kind == "measured" else [row.kind]
    if row.metric == "energy_j_per_audio_s":
        words += filter(None, [energy.boundary(row.source)])
        if row.kind == "estimated":
            low, high = (low if low == low else row.value), (high if high == high else row.value)
            low, high = low / energy.OFF_BY, high * energy.OFF_BY
    if row.metric == "latency_ms_p50":
        words.append("the whole sentence")
    interval = "" if low != low else f" [{low:.3g}, {high:.3g}]"
    return ", ".join([f"{row.value:.3g} {row.unit}{interval}", *words])


def _beside(voice: Voice, metric: str) -> str:
    """Quality, memory and cost, unless that was told already."""
    said = [f"predicted MOS {voice.value('mos_predicted'):.2f}"]
    if (memory := voice.value("peak_rss_mb")) is not None:
        said.append(f"{memory:.0f} MB in use")
    if metric != RENT and (cost := voice.value(RENT)) is not None:
        said.append(f"{cost:.2g} USD an hour of audio, estimated")
    return "; " + ", ".join(said)


def _over_base(voice: Voice, row: Any) -> str:
    """How much better it is than its base, paired within one bench, and what the verdict on it is."""
    if not voice.base:
        return ""
    paired = _over(voice, row.metric)
    if paired is None:
        said = f"not paired with {voice.base}"
    else:
        interval = " (no interval)" if paired.ends is None else f" [{paired.low:.3g}, {paired.high:.3g}]"
        how = "the time" if row.metric == "latency_ms_p50" else "the speed"
        said = f"{paired.value:.3g}{interval} times {how} of {voice.base}"
    return f"; {said}; {voice.heard or 'nobody judged it'}"


def _cell(voice: Voice, metric: str) -> str:
    row = voice.rows.get(metric)
    if row is None:
        return ""
    value = 100 * row.value if METRICS[metric].unit == "fraction" else row.value
    return marked(row, f"{value:,.0f}" if value >= 1_000 else f"{value:.3g}")
