"""What has to be said about a training run? The card beside its weights, every number of it measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from lib import environment
from lib.measure import held_out_voices
from lib.measure.intelligibility import judge_source
from lib.measure.scorer import ALIGNED, source
from lib.measure.stats import Estimate
from lib.training import recipe as recipes
from lib.training import sources

FAILURES = "attention_failures_pct"
LICENCE = (
    "MIT, as the code. The weights learnt from speech of {voices} reading {texts}; the data that these voices were "
    "trained on have their own licences, see the README."
)
READ = {  # text -> what was read of it, and what it is
    "botchan": ("the train sentences of the Gutenberg corpus", "*Botchan* (Project Gutenberg)"),
    "wordnet": ("the sentences chosen from WordNet", "the examples of WordNet 3.0 (Princeton University)"),
}
GOES_ON = (
    f"- goes on by the first of these: its recipe starts from `{sources.RESUME}`, the networks and their jury as they "
    "were at the last step, in half precision; the optimizers begin anew"
)


@dataclass(frozen=True)
class Row:
    """One line of a card's table: who, in which voice, and the scores over n sentences."""

    who: str
    voice: str
    scores: dict[str, Estimate]


def card(
    recipe: recipes.Recipe,
    curve: Sequence[dict],
    rows: Sequence[Row],
    sentences: int,
    params_m: float,
    note: str = "",
    *,
    goes_on: bool = False,
) -> str:
    """The card in Markdown; every number in it was measured by `measure` or by the training loop.

    goes_on: whether `sources.RESUME` lies beside the weights.
    """
    last = [r for r in curve if "seconds" in r][-1]
    validations = [r for r in curve if "validation" in r]
    names = [
        n
        for n in ("mos_predicted", "wer", "cer", "asr_nll", *ALIGNED, FAILURES)
        if any(n in row.scores for row in rows)
    ]
    titles = {
        "mos_predicted": "predicted MOS",
        "wer": "WER, %",
        "cer": "CER, %",
        "pesq_wb": "PESQ",
        "stoi": "STOI",
        "f0_error_cents": "pitch error, cents",
        "voicing_error_pct": "voicing error, %",
        "asr_nll": "recogniser's loss, nats/word",
        FAILURES: "attention failures, %",
    }
    lines = [
        f"| {row.who} | {row.voice} | " + " | ".join(_cell(row.scores.get(n), n) for n in names) + " |"
        for row in rows
    ]
    voices = " and ".join(v for v in recipe.data["voices"] if v != held_out_voices.RECORDINGS)
    read, works = zip(*(READ[name] for name in recipe.data.get("texts", ("botchan",))))
    watched = (
        ", ".join(f"{k} {v:.3f}" for k, v in validations[-1]["validation"].items()) if validations else "none"
    )
    recorded = held_out_voices.RECORDINGS in recipe.data["voices"]
    kind = "(synthetic speech; no recording of a person)"
    if recorded:
        kind = "(synthetic speech) and, real speech, on the train split of `prompts` (one person, CC-BY-SA-3.0)"
    return "\n".join(
        [
            f"# {recipe.task}",
            "",
            f"{params_m:.2f} M parameters, trained on {voices} reading {' and '.join(read)} "
            f"{kind}. Weights in half precision, the moving average of the training's.",
            "",
            f"- steps: {last['step']:,} of batch {recipe.training.batch_size}, {last['seconds'] / 60:.0f} minutes of "
            f"training, {last['steps_per_s']:.2f} steps/s at the end, {last['peak_rss_mb']:.0f} MB",
            f"- published {date.today().isoformat()} from commit {environment.commit()} on {environment.processor()}"
            f"{f'; {note}' if note else ''}",
            f"- last validation: {watched}",
            f"- licence: {LICENCE.format(voices=voices, texts=' and '.join(works))}",
            f"- trained again by: `python -m lib.training lib/zoo/{recipe.task}/recipe.yaml --out RUN`, then "
            f"`python -m lib.publish lib/zoo/{recipe.task}/recipe.yaml RUN`",
            *([GOES_ON] if goes_on else []),
            "",
            f"Measured on the {sentences} held-out sentences, which no training sees, judged by {judge_source()} and "
            f"{source('mos_predicted')} (95 % intervals over sentences):",
            "",
            "| who | voice | " + " | ".join(titles[n] for n in names) + " |",
            "|---|---|" + "---|" * len(names),
            *lines,
            "",
        ]
    )


def notes(folder: Path) -> str:
    """What somebody wrote about how the network works (`notes.md` beside the card), which no training changes."""
    path = folder / "notes.md"
    return "\n" + path.read_text(encoding="utf-8") if path.is_file() else ""


def _cell(estimate: Estimate | None, metric: str) -> str:
    if estimate is None:
        return ""
    scale, digits = {
        "wer": (100, 1),
        "cer": (100, 1),
        "f0_error_cents": (1, 0),
        "voicing_error_pct": (1, 1),
        FAILURES: (1, 0),
    }.get(metric, (1, 2))
    interval = (
        f" [{scale * estimate.low:.{digits}f}, {scale * estimate.high:.{digits}f}]" if estimate.ci else ""
    )
    return f"{scale * estimate.value:.{digits}f}{interval}"
