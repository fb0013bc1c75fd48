"""How good is a training run, and what has to be said about it? From a run to a zoo folder with its measured card.

Every checkpoint is judged as the report judges systems: held-out sentences that no training sees, in both
embedded voices, against the teacher's own clips of the same sentences; a vocoder on clips of voices that it learnt and
of voices that it never met.

    python -m lib.publish RECIPE RUN [--name NAME] [--sentences 100]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from lib import environment, features, systems, zoo
from lib.corpora import gutenberg
from lib.errors import MissingDataError, ParameterError, SpeechError
from lib.files import write_atomic
from lib.measure import evaluate, held_out_voices
from lib.measure.scorer import ALIGNED, Scorer
from lib.measure.stats import Estimate
from lib.training import checkpoint as checkpoints
from lib.training import recipe as recipes
from lib.training import sources, tasks

if TYPE_CHECKING:
    from lib.systems.base import Vocoder

log = logging.getLogger(__name__)

FAILURES = "attention_failures_pct"
POINTS = 400  # of the learning curve that are kept: enough for a figure
LICENCE = (
    "MIT, as the code. The weights learnt from speech of {voices} reading *Botchan* (Project Gutenberg); the data that "
    "these voices were trained on have their own licences, see the README."
)
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


def publish(
    recipe_file: str | Path,
    run: str | Path,
    *,
    name: str = "",
    checkpoint: str | Path | None = None,
    sentences: int = 100,
    threads: int = 2,
    note: str = "",
) -> Path:
    """Write lib/zoo/<name> (by default the recipe's task) from a run's newest or given checkpoint; returns the folder.

    Raises ParameterError for a run without checkpoints or with those of another recipe.
    """
    recipe = recipes.load(recipe_file)
    path = Path(checkpoint) if checkpoint else checkpoints.newest(run)
    if json.loads((path / "recipe.json").read_text(encoding="utf-8"))["key"] != recipe.key():
        raise ParameterError(f"{path} was not trained by {recipe_file}: give the recipe of that run")
    curve = [json.loads(line) for line in (Path(run) / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    curve = [record for record in curve if record["step"] <= checkpoints.step_of(path)]
    target = zoo.HERE / (name or recipe.task)
    with tempfile.TemporaryDirectory() as draft:
        tasks.export(recipe, path, draft, "")
        measured = list(
            measure(
                recipe.task, draft, recipe.data["voices"], gutenberg.split("test", sentences), threads=threads
            )
        )
        networks = systems.load(recipe.task, threads=threads, checkpoint=draft).modules
        own = sum(
            p.numel()
            for network, module in networks.items()
            if not network.startswith("vocoder.")  # that has a card of its own
            for p in module.parameters()
        )
        goes_on = (Path(draft) / sources.RESUME).is_file()
    text = card(recipe, curve, measured, sentences, own / 1e6, note, goes_on=goes_on) + notes(target)
    tasks.export(recipe, path, target, text)
    write_atomic(target / "recipe.yaml", Path(recipe_file).read_bytes())
    write_atomic(target / "curve.jsonl", "".join(json.dumps(r) + "\n" for r in thinned(curve)).encode())
    return target


def measure(
    task: str,
    folder: str | Path,
    voices: Sequence[str],
    sentences: Sequence[gutenberg.Sentence],
    *,
    threads: int = 2,
) -> Iterator[Row]:
    """The teacher's clips, then the acoustic model's own reading of the same sentences; for a vocoder see `copies`.

    A voice that the zoo's vocoder has not learnt is spoken by Griffin-Lim.
    """
    scorer = Scorer(threads=threads)
    model = systems.load(task, threads=threads, checkpoint=folder)
    if model.kind == "vocoder":
        yield from copies(model, voices, scorer, len(sentences), threads=threads)
        return
    heard = recipes.load(zoo.folder("hifigan") / "recipe.yaml").data["voices"]
    for voice in voices:
        teacher = evaluate.speak(systems.load(voice, target="onnxruntime/cpu", threads=threads), sentences)
        yield Row("teacher", voice, evaluate.judge(teacher, scorer).summary)
        speaker, who = model.adjusted(speaker=voice), "hifigan"
        if voice not in heard:
            speaker = speaker.derive("griffin-lim", vocoder="griffin-lim")
            who = "Griffin-Lim"
        clips = evaluate.speak(speaker, sentences)
        failed = evaluate.attention_failures(clips)
        yield Row(
            f"{task} + {who}",
            voice,
            evaluate.judge(clips, scorer).summary | ({FAILURES: failed} if failed else {}),
        )


def copies(
    model: Vocoder, learnt: Sequence[str], scorer: Scorer, limit: int, *, threads: int = 2
) -> Iterator[Row]:
    """The first `limit` held-out clips of each voice, and copies by Griffin-Lim, the zoo's `hifigan` and `model`.

    learnt: the voices that it was trained on; of strange ones those that this machine cannot get are left out.
    """
    vocoders = {"Griffin-Lim": features.griffin_lim}
    vocoders |= {"hifigan": systems.load("hifigan", threads=threads).vocode} | {model.name: model.vocode}
    for voice in held_out_voices.NAMES:
        try:
            clips = held_out_voices.clips(voice, limit, threads)
        except MissingDataError as error:
            if voice in learnt:
                raise
            log.warning("%s is not judged: %s", voice, error)
            continue
        label = voice if voice in learnt else f"{voice} (unheard)"
        copied = {
            who: evaluate.copies(clips, vocode, f"{who} copies {voice}") for who, vocode in vocoders.items()
        }
        originals = copied[model.name][0]
        yield Row("original", label, evaluate.judge(originals, scorer).summary)
        for who, (_, made) in copied.items():
            yield Row(f"{who}, copy", label, evaluate.judge(made, scorer, originals=originals).summary)


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
            f"{params_m:.2f} M parameters, trained on {voices} reading the train sentences of the Gutenberg "
            f"corpus {kind}. Weights in half precision, the moving average of the training's.",
            "",
            f"- steps: {last['step']:,} of batch {recipe.training.batch_size}, {last['seconds'] / 60:.0f} minutes of "
            f"training, {last['steps_per_s']:.2f} steps/s at the end, {last['peak_rss_mb']:.0f} MB",
            f"- published {date.today().isoformat()} from commit {environment.commit()} on {environment.processor()}"
            f"{f'; {note}' if note else ''}",
            f"- last validation: {watched}",
            f"- licence: {LICENCE.format(voices=voices)}",
            f"- trained again by: `python -m lib.training lib/zoo/{recipe.task}/recipe.yaml --out RUN`, then "
            f"`python -m lib.publish lib/zoo/{recipe.task}/recipe.yaml RUN`",
            *([GOES_ON] if goes_on else []),
            "",
            f"Measured on the {sentences} held-out sentences, which no training sees, judged by whisper-tiny.en and "
            "DistillMOS (95 % intervals over sentences):",
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


def thinned(curve: Sequence[dict], points: int = POINTS) -> list[dict]:
    """At most about `points` training records, evenly spread, and every validation; four significant digits."""
    steps = [r for r in curve if "validation" not in r]
    keep = {id(r) for r in steps[:: max(1, -(-len(steps) // points))]} | {id(r) for r in steps[-1:]}
    return [_rounded(r) for r in curve if "validation" in r or id(r) in keep]


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


def _rounded(record: dict) -> dict:
    def short(value):
        return float(f"{value:.4g}") if isinstance(value, float) else value

    return {
        k: {n: short(v) for n, v in value.items()} if isinstance(value, dict) else short(value)
        for k, value in record.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m lib.publish", description=__doc__)
    parser.add_argument("recipe", help="the recipe file of the run")
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--name", default="", help="of the zoo folder, by default the recipe's task")
    parser.add_argument("--checkpoint", help="by default the newest")
    parser.add_argument("--sentences", type=int, default=100, help="held-out sentences to judge it on")
    parser.add_argument(
        "--note", default="", help="for the card: how the training was run, such as its hardware"
    )
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        folder = publish(
            options.recipe,
            options.run,
            name=options.name,
            checkpoint=options.checkpoint,
            sentences=options.sentences,
            threads=options.threads,
            note=options.note,
        )
    except SpeechError as error:
        print(f"not published: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
