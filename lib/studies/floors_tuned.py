"""What should fine-tuning reach at least? The floors of `03_finetuning`, and by which rows.

Relative changes and gains over the unadapted voice are divided and subtracted end by end, which is cautious.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lib.corpora import unheard
from lib.corpora.domains import CLEAN, HARD_SET
from lib.studies import finetuned, heard_better, misheard
from lib.studies.floor_rows import answer, cell, detail, difference, minus, number, rows
from lib.studies.floors import MET, MISSED, NOT_RUN, UNDECIDED, Answer, Floor, Number, Part, at_least, at_most

if TYPE_CHECKING:
    import pandas as pd

STUDY, LISTENER = "Fine-tuning", misheard.SYSTEM
JUDGED_ON = misheard.judged_on(LISTENER)
BELOW_ZERO = math.nextafter(0.0, -1.0)
OWN_PROCESS = "own process"  # in the source of a memory peak that was measured in one
MERGED = 1e-4  # how far outputs may be apart with the adapter within the weights
_MEASURES = "`./run_all.sh study --only 03` measures it"


def floors() -> list[Floor]:
    """All of them, in the order in which they are told."""
    return [
        Floor(
            STUDY,
            "hard speech",
            "a quarter fewer word errors, and at most half a point more on clean speech, by the method that validation "
            "chooses",
            hard_domain,
            _MEASURES,
        ),
        Floor(
            STUDY,
            "adapter of the recogniser",
            "a gain on hard speech, not to be told from that of full fine-tuning, with at most 1.1 % of the "
            "parameters, by the adapter that validation chooses",
            small_adapter,
            _MEASURES,
        ),
        Floor(
            STUDY,
            "a person's voice",
            "similarity 0.15 over the unadapted voice and within 0.02 of full fine-tuning, with at most 2 % of the "
            "parameters, by the adapter that validation chooses",
            nearer,
            _MEASURES,
        ),
        Floor(STUDY, "adapter within the weights", "scores at most 1e-4 apart", merged, _MEASURES),
        Floor(
            STUDY, "memory of QLoRA beside LoRA", "measured, each in a fresh process", adapter_memory, _MEASURES
        ),
    ]


def hard_domain(run: pd.DataFrame) -> Iterator[Answer]:
    """The method that validation chooses (`heard_better.chosen`), beside the recogniser as it comes."""
    name = heard_better.chosen(heard_better.lines(run))
    if name is not None:
        judged = [cell(run, LISTENER, f"{name}@{tests}", JUDGED_ON, "wer") for tests in (HARD_SET, CLEAN)]
        hard, clean = (None if one is None else difference(detail(one)) for one in judged)
        if hard and (before := judged[0].value - hard.value) > 0:
            hard = Number(*(None if end is None else end / before for end in (hard.value, hard.low, hard.high)))
        yield answer(
            judged[0],
            at_most(hard, heard_better.HARD_FLOOR, "hard word errors change by {} of those before"),
            at_most(clean, heard_better.CLEAN_FLOOR, "clean ones by {} of the words"),
            who=name,
        )


def small_adapter(run: pd.DataFrame) -> Iterator[Answer]:
    """Of the adapters of the recogniser that train few parameters the one that validation chooses, beside full
    fine-tuning on the same clips.
    """
    found = heard_better.lines(run)
    adapters = found[["lora" in str(name) for name in found.index]]
    name = heard_better.chosen(adapters, heard_better.SHARE_FLOOR) or heard_better.chosen(adapters)
    if name is not None:
        share = found.loc[name, "trainable_params_pct"]
        judged = cell(run, LISTENER, f"{name}@{HARD_SET}", JUDGED_ON, "wer")
        few = at_most(Number(share, exact=True), heard_better.SHARE_FLOOR, "{} % of the parameters")
        # An interval that reaches zero is no gain, and where nobody gained all are level.
        gained = at_most(difference(detail(judged)), BELOW_ZERO, "hard word errors by {} of the words")
        yield answer(judged, few, gained, _level(difference(detail(judged).get("to_full"))), who=name)


def nearer(run: pd.DataFrame) -> Iterator[Answer]:
    """Of each system the voice that learnt a person from the most data, beside the unadapted base and beside full
    fine-tuning: of several the one of the lowest loss on validation (`finetuned.Case.small`), however they sound.
    """
    shares = [
        row for row in rows(run, "", "trainable_params_pct") if detail(row).get("voice") == unheard.PERSON
    ]
    for system in dict.fromkeys(row.system for row in shares):
        taken = finetuned.case(run, system, unheard.PERSON).small
        row = next((row for row in shares if (row.system, row.variant) == (system, taken)), None)
        if row is None:
            continue
        own = cell(run, system, taken, row.target, "speaker_similarity")
        base = cell(run, system, f"unadapted@{unheard.PERSON}", row.target, "speaker_similarity")
        gain = None if base is None else minus(number(own), number(base))
        full = difference(detail(own)) if str(own.baseline).startswith("full@") else None
        yield answer(
            own,
            at_least(gain, finetuned.GAIN, "similarity {} over the unadapted voice"),
            at_least(full, -finetuned.MARGIN, "{} over full fine-tuning"),
            at_most(Number(row.value, exact=True), finetuned.SMALL, "{} % of the parameters"),
            place=system,  # what another run chose is no second try
        )


def merged(run: pd.DataFrame) -> Iterator[Answer]:
    """All adapters within the weights, each beside the same one next to them: the worst of them counts."""
    known = list(rows(run, "", "merge_error"))
    if known:
        worst = max(known, key=lambda row: row.value)
        apart = Number(worst.value, exact=True)
        said = f"scores {{}} apart, the worst of {len(known)} adapters"
        yield answer(worst, at_most(apart, MERGED, said), place="all of them")


def adapter_memory(run: pd.DataFrame) -> Iterator[Answer]:
    """QLoRA beside LoRA of the same rank: memory peaks of the trainings' own processes."""
    for row in rows(run, "", "train_peak_rss_mb"):
        other = cell(run, row.system, str(row.variant).replace("qlora", "lora", 1), row.target, row.metric)
        if not str(row.variant).startswith("qlora") or other is None:
            continue
        measured = all(one.kind == "measured" and OWN_PROCESS in one.source for one in (row, other))
        said = f"{row.value / other.value:.2f} times the memory ({row.value:.0f} beside {other.value:.0f} MB)"
        yield answer(row, Part(said, MET if measured else MISSED))


def _level(apart: Number | None) -> Part:
    """Whether a method cannot be told from full fine-tuning by its word errors, or is better."""
    if apart is None:
        return Part("not compared with full fine-tuning", NOT_RUN)
    said = f"{apart.value:+.3g}"
    if apart.ends is None:
        return Part(f"{said} (no interval) to full fine-tuning", UNDECIDED)
    low, high = apart.ends
    return Part(f"{said} [{low:+.3g}, {high:+.3g}] to full fine-tuning", MISSED if low > 0 else MET)
