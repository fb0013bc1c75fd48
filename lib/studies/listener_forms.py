"""How fast is the published recogniser, and what is it worth to change its runtime or its bits? All forms in one bench.

What somebody has who takes transformers as it comes, beside CTranslate2 and ONNX Runtime in single precision and in 8
bits, and beside the package faster-whisper in 8 bits. They hear the same clips that `vits-joe` reads.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib import systems
from lib.errors import SpeechError, unknown
from lib.measure import evaluate
from lib.results import newest_run
from lib.studies import confirmed, listened, menu, origins, recogniser_speed
from lib.studies.recogniser_speed import PACKAGE, REFERENCE, Form

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Sentence
    from lib.measure.benched import Benched
    from lib.measure.evaluate import Clip
    from lib.results import Run
    from lib.systems.base import Recogniser

log = logging.getLogger(__name__)

SYSTEM, WHOLE = "whisper-tiny.en", "baseline"
# Target -> variants of its own; PACKAGE makes its own 8 bits.
FORMS = {
    REFERENCE: (),
    "ctranslate2/cpu": (("int8-dynamic", (("int8-dynamic", {}),)),),
    "onnxruntime/cpu": (("int8-dynamic", (("int8-dynamic", {}),)), menu.SMALL),
    PACKAGE: (),
}


def compared(
    run: Run,
    sentences: Sequence[Sentence],
    n_timed: int,
    folder: str | Path,
    *,
    targets: Collection[str] = tuple(FORMS),
    rounds: int = 3,
    threads: int = 2,
    resume: bool = False,
) -> dict[str, Benched]:
    """Every form on these targets hears the sentences, the first n_timed of them against the clock; nothing with 0.
    Rows are those of `recogniser_speed.timed`, and word errors with their change against the baseline on the same
    target. ParameterError for a target that has no form.
    """
    for target in targets:
        if target not in FORMS:
            raise unknown("target of a recogniser", target, FORMS)
    if not n_timed:
        return {}
    clips = listened.clips(sentences, seed=run.seed, threads=threads)
    forms = []
    for target in (one for one in FORMS if one in targets):
        try:
            forms += _on(run, target, clips, folder, threads, resume)
        except (SpeechError, ImportError) as error:
            log.warning("%s on %s: not run: %s", SYSTEM, target, error)
            run.not_run(SYSTEM, WHOLE, target, "rtf", str(error))
    said = [clip.text for clip in clips]
    kept_in = Path(folder) if resume else None
    return recogniser_speed.timed(
        run, forms, said, clips[:n_timed], rounds=rounds, threads=threads, resume=kept_in
    )


def newest(table: pd.DataFrame) -> pd.DataFrame:
    """Of recorded rows the recogniser's own of the newest run that timed its forms; none where there is none."""
    mine = _whole(table)
    timed = newest_run(mine[(mine.metric == "speedup") & mine.value.notna()])
    if timed.empty:
        return table[:0]
    one = timed.iloc[0]
    return mine[(mine.notebook == one.notebook) & (mine.host == one.host) & (mine.commit == one.commit)]


def finding(rows: pd.DataFrame) -> str | None:
    """The fastest form of a run, in a sentence, of an earlier run behind where that comes from; None where none was
    timed.
    """
    mine = _whole(rows)
    return origins.told(mine, recogniser_speed.finding(mine, SYSTEM))


def table(rows: pd.DataFrame) -> pd.DataFrame | None:
    """A line for each form (`recogniser_speed.deployed`); None without any."""
    forms = recogniser_speed.deployed(rows, SYSTEM)
    return forms if len(forms) else None


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of forms that turn audio into text: neither of its encoder alone, a stage, nor of taught weights."""
    names = {WHOLE, "int8-dynamic", *(name for variants in FORMS.values() for name, _ in variants)}
    return table[(table.system == SYSTEM) & table.variant.isin(names)]


def _on(
    run: Run, target: str, clips: Sequence[Clip], folder: str | Path, threads: int, resume: bool
) -> list[Form]:
    """The forms on one target, heard, with the rows of their errors."""
    base = systems.load(SYSTEM, target=target, threads=threads)
    before = evaluate.heard(base, clips, seed=run.seed)
    for metric, heard in before.summary.items():
        run.add(*_names(base), metric, heard.value, n=heard.n, ci=heard.ci, source=listened.SOURCE)
    forms = [Form(base, base.variant, _said(before))]
    for name, steps in FORMS[target]:
        made = confirmed.make(base, steps, name, folder, resume=resume)
        judged = evaluate.heard(made, clips, seed=run.seed)
        listened.compared(run, _names(made), judged, before, base.variant)
        forms.append(Form(made, name, _said(judged), made_of=base.variant))
    return forms


def _names(listener: Recogniser) -> tuple[str, str, str]:
    return SYSTEM, listener.variant, listener.target


def _said(judged: evaluate.Judged) -> tuple[str, ...]:
    return tuple(one.recognition.transcript for one in judged.scores)
