"""What should fine-tuning reach at least? The floors of `03_finetuning`, and by which rows.

What is read from a line of `heard_better` or of `finetuned` is judged there, so that the sentences of the notebook and
the table of the floors use one word. Of several runs the one that asked most answers (`by_size`): more steps of more
sentences, or more adapters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lib.corpora import unheard
from lib.corpora.domains import HARD_SET
from lib.studies import finetuned, heard_better, misheard
from lib.studies.floor_rows import answer, cell, detail, rows
from lib.studies.floors import MET, MISSED, Answer, Floor, Number, Part, at_most

if TYPE_CHECKING:
    import pandas as pd

STUDY, LISTENER = "Fine-tuning", misheard.SYSTEM
JUDGED_ON = misheard.judged_on(LISTENER)
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
    found = heard_better.lines(run)
    name = heard_better.chosen(found)
    if name is not None:
        line = found.loc[name]
        judged = cell(run, LISTENER, f"{name}@{HARD_SET}", JUDGED_ON, "wer")
        asked = (*heard_better.fewer_errors(line), *heard_better.clean_kept(line))
        yield answer(judged, *asked, who=name, place=LISTENER, size=heard_better.size(found))


def small_adapter(run: pd.DataFrame) -> Iterator[Answer]:
    """The adapter of the recogniser that `heard_better.small` names, beside full fine-tuning on the same clips."""
    found = heard_better.lines(run)
    name = heard_better.small(found)
    if name is not None:
        judged = cell(run, LISTENER, f"{name}@{HARD_SET}", JUDGED_ON, "wer")
        asked = heard_better.as_full(found.loc[name])
        yield answer(judged, *asked, who=name, place=LISTENER, size=heard_better.size(found))


def nearer(run: pd.DataFrame) -> Iterator[Answer]:
    """Of each system the voice that learnt a person from the most data, beside the unadapted base and beside full
    fine-tuning: of several the one of the lowest loss on validation (`finetuned.Case.small`), however they sound.
    """
    learnt = [
        row for row in rows(run, "", "trainable_params_pct") if detail(row).get("voice") == unheard.PERSON
    ]
    for system in dict.fromkeys(row.system for row in learnt):
        case = finetuned.case(run, system, unheard.PERSON)
        row = next((row for row in learnt if (row.system, row.variant) == (system, case.small)), None)
        if row is None:
            continue
        own = cell(run, system, row.variant, row.target, "speaker_similarity")
        yield answer(own, *finetuned.asked(case, row.variant), place=system, size=case.size)


def merged(run: pd.DataFrame) -> Iterator[Answer]:
    """All adapters within the weights, each beside the same one next to them: the worst of them counts."""
    known = list(rows(run, "", "merge_error"))
    if known:
        worst = max(known, key=lambda row: row.value)
        apart = Number(worst.value, exact=True)
        said = f"scores {{}} apart, the worst of {len(known)} adapters"
        yield answer(worst, at_most(apart, MERGED, said), place="all of them", size=len(known))


def adapter_memory(run: pd.DataFrame) -> Iterator[Answer]:
    """QLoRA beside LoRA of the same rank: memory peaks of the trainings' own processes."""
    for row in rows(run, "", "train_peak_rss_mb"):
        other = cell(run, row.system, str(row.variant).replace("qlora", "lora", 1), row.target, row.metric)
        if not str(row.variant).startswith("qlora") or other is None:
            continue
        measured = all(one.kind == "measured" and OWN_PROCESS in one.source for one in (row, other))
        said = f"{row.value / other.value:.2f} times the memory ({row.value:.0f} beside {other.value:.0f} MB)"
        yield answer(row, Part(said, MET if measured else MISSED))
