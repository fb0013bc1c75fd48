"""Is a voice as good on other texts as on the novel's sentences? Each system once, on every test set that is asked for.

A pupil that learnt from one novel may fall behind its teacher on everyday sentences. The novel's rows are those of
`baselines.quality`, variant "baseline"; those of another set get its name, as in "baseline@wordnet".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lib import results
from lib.corpora import prompts, sentences
from lib.errors import unknown
from lib.measure import evaluate

if TYPE_CHECKING:
    from lib.corpora.base import Sentence
    from lib.measure.evaluate import Clip, Judged
    from lib.measure.scorer import Scorer
    from lib.results import Run
    from lib.systems.base import System

FIRST = "botchan"  # its rows have the plain variant
METRICS = ("wer", "asr_nll", "mos_predicted")


def check(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once; ParameterError for one that is no test set."""
    for name in names:
        if name not in sentences.TEST_SETS:
            raise unknown("test set", name, sentences.TEST_SETS)
    return tuple(dict.fromkeys(names))


def variant(name: str) -> str:
    """What the rows of a test set are called: "baseline" for the novel's, else "baseline@wordnet" and so on."""
    return "baseline" if name == FIRST else f"baseline@{name}"


def readers(voices: Mapping[str, System]) -> dict[str, System]:
    """Label -> one voice of each system: on ONNX Runtime, where the pupils' lessons were spoken, else its first."""
    chosen: dict[str, str] = {}
    for key, voice in sorted(voices.items(), key=lambda item: not item[1].target.startswith("onnxruntime")):
        chosen.setdefault(voice.name, key)
    return {key: voice for key, voice in voices.items() if key in chosen.values()}


def quality(
    run: Run, voices: Mapping[str, System], names: Sequence[str], n: int, scorer: Scorer, *, keep: int = 0
) -> dict[str, dict[str, Judged]]:
    """Judge one voice of each system on the first n sentences of the named sets but the novel's, and write the rows;
    `keep` clips of each go into the report. Returns set -> label -> judged.

    A set that this machine cannot get has a row that says why. Rows that the run holds already are left alone: the
    prompts that the teachers read beside the recorded person. Whoever reads that set, too, reads the same sentences.
    """
    found: dict[str, dict[str, Judged]] = {}
    held = results.read(run.path) if run.path.exists() else results.read()
    known = set(held[["system", "variant", "target"]].itertuples(index=False, name=None))
    chosen = readers(voices)
    for name in check(names):
        if name == FIRST:
            continue
        read = held[(held.variant == variant(name)) & (held.metric == "wer")].n.dropna()
        wanted = int(read.max()) if len(read) else n
        for key, voice in chosen.items():
            row = (voice.name, variant(name), voice.target)
            if row in known:
                continue
            texts = evaluate.try_or_not_run(
                run, row, METRICS, lambda name=name, wanted=wanted: _texts(name, wanted)
            )
            if texts:
                found.setdefault(name, {})[key] = _judged(run, voice, row, texts, scorer, keep)
    return found


def _texts(name: str, n: int) -> Sequence[Sentence | Clip]:
    """The first n sentences of a set; of the prompts those that the person is heard saying (`evaluate.recordings`)."""
    if name == "prompts":
        return evaluate.recordings(prompts.load(), limit=n)
    return sentences.test_set(name, n)


def _judged(
    run: Run,
    voice: System,
    row: tuple[str, str, str],
    texts: Sequence[Sentence | Clip],
    scorer: Scorer,
    keep: int,
) -> Judged:
    clips = evaluate.speak(voice, texts, seed=run.seed)
    group = f"Test set {row[1].partition('@')[2]}: {sentences.TEST_SETS[row[1].partition('@')[2]]}"
    return evaluate.quality(run, row, clips, scorer, second_opinion=0, keep=keep, group=group)
