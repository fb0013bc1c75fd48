"""How good is a training run? From a run to a zoo folder with its measured card (`zoo_card`).

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
from pathlib import Path
from typing import TYPE_CHECKING

from lib import features, sharpen, systems, zoo
from lib.corpora import gutenberg
from lib.errors import MissingDataError, ParameterError, SpeechError
from lib.files import write_atomic
from lib.measure import evaluate, held_out_voices
from lib.measure.scorer import Scorer
from lib.systems import postfilter
from lib.systems.before_vocoder import BeforeVocoder
from lib.training import checkpoint as checkpoints
from lib.training import recipe as recipes
from lib.training import sources, tasks
from lib.zoo_card import FAILURES, Row, card, notes

if TYPE_CHECKING:
    from lib.systems.base import Vocoder

log = logging.getLogger(__name__)

POINTS = 400  # of the learning curve that are kept: enough for a figure


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
        table = _counted(draft, threads)
        measured = list(
            measure(
                recipe.task, draft, recipe.data["voices"], gutenberg.split("test", sentences), threads=threads
            )
        )
        model = systems.load(recipe.task, target="torch/cpu", threads=threads, checkpoint=draft)
        networks, published = model.modules, getattr(model, "published", ())
        own = sum(
            p.numel()
            for network, module in networks.items()
            if not network.startswith("vocoder.")  # that has a card of its own
            and network not in published
            for p in module.parameters()
        )
        goes_on = (Path(draft) / sources.RESUME).is_file()
    text = card(recipe, curve, measured, sentences, own / 1e6, note, goes_on=goes_on) + notes(target)
    tasks.export(recipe, path, target, text)
    if table is None:
        (target / postfilter.FILE).unlink(missing_ok=True)
    else:
        write_atomic(target / postfilter.FILE, table)
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
    """The teacher's clips, then the model's own reading of the same sentences; for a vocoder see `copies`.

    A voice that has a vocoder of its own (`systems.OWN_VOCODERS`) is spoken by that, another by `istft`. Where the
    folder says how its mels are sharpened, they are heard so, too.
    """
    scorer = Scorer(threads=threads)
    model = systems.load(task, threads=threads, checkpoint=folder)
    if model.kind == "vocoder":
        yield from copies(model, voices, scorer, len(sentences), threads=threads)
        return
    for voice in voices:
        teacher = evaluate.speak(systems.load(voice, target="onnxruntime/cpu", threads=threads), sentences)
        yield Row("teacher", voice, evaluate.judge(teacher, scorer).summary)
        if not isinstance(model, BeforeVocoder):
            yield Row(task, voice, evaluate.judge(evaluate.speak(model, sentences), scorer).summary)
            continue
        who = systems.OWN_VOCODERS.get(voice, "istft")
        speaker = model.adjusted(speaker=voice, vocoder=who)
        ways = {f"{task} + {who}": speaker}
        if (Path(folder) / postfilter.FILE).is_file():
            ways[f"{task}, sharpened, + {who}"] = speaker.adjusted(sharpness=1.0)
        for label, way in ways.items():
            clips = evaluate.speak(way, sentences)
            failed = evaluate.attention_failures(clips)
            scores = evaluate.judge(clips, scorer).summary | ({FAILURES: failed} if failed else {})
            yield Row(label, voice, scores)


def copies(
    model: Vocoder, learnt: Sequence[str], scorer: Scorer, limit: int, *, threads: int = 2
) -> Iterator[Row]:
    """The first `limit` held-out clips of each voice, and copies by Griffin-Lim, another of the zoo's, and `model`.

    learnt: the voices that it was trained on; where that is one, it is judged on no other. Of strange ones those that
    this machine cannot get are left out. The other one is `hifigan`; where its voice is not among them `istft`.
    """
    vocoders, other = {"Griffin-Lim": features.griffin_lim}, "hifigan" if "vits-joe" in learnt else "istft"
    vocoders |= {other: systems.load(other, threads=threads).vocode} | {model.name: model.vocode}
    if model.settings().get("passes"):  # what streams is held to no mel
        vocoders[f"{model.name} as it streams"] = model.adjusted(passes=0).vocode
    for voice in learnt if len(learnt) == 1 else held_out_voices.NAMES:
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


def _counted(draft: str, threads: int) -> bytes | None:
    """By how much the mels of an acoustic model in a folder are to be sharpened, which lies there afterwards; None
    where it makes none in a voice that is here.
    """
    try:
        return sharpen.count(draft, threads=threads).read_bytes()
    except ParameterError as error:
        log.info("not sharpened: %s", error)
        return None


def thinned(curve: Sequence[dict], points: int = POINTS) -> list[dict]:
    """At most about `points` training records, evenly spread, and every validation; four significant digits."""
    steps = [r for r in curve if "validation" not in r]
    keep = {id(r) for r in steps[:: max(1, -(-len(steps) // points))]} | {id(r) for r in steps[-1:]}
    return [_rounded(r) for r in curve if "validation" in r or id(r) in keep]


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
