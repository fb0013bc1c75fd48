"""How good is a training run, and what has to be said about it? From a run to a zoo folder with its measured card.

Every checkpoint is judged as the report judges systems: held-out sentences that no training sees, in both embedded voices,
against the teacher's own clips of the same sentences.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from lib import environment, features, systems, zoo
from lib.corpora import gutenberg
from lib.errors import ParameterError
from lib.files import write_atomic
from lib.measure import evaluate, held_out_voices
from lib.measure.scorer import ALIGNED, Scorer
from lib.measure.stats import Estimate
from lib.training import checkpoint as checkpoints
from lib.training import recipe as recipes

FAILURES = "attention_failures_pct"
VOCODERS = ("hifigan", "istft")
POINTS = 400  # of the learning curve that are kept: enough for a figure
LICENCE = ("MIT, as the code. The weights learnt from speech of {voices} reading *Botchan* (Project Gutenberg); the data that these "
           "voices were trained on have their own licences, see the README.")


@dataclass(frozen=True)
class Row:
    """One line of a card's table: who, in which voice, and the scores over n sentences."""

    who: str
    voice: str
    scores: dict[str, Estimate]


def publish(recipe_file: str | Path, run: str | Path, *, name: str = "", checkpoint: str | Path | None = None, sentences: int = 100,
            threads: int = 2, note: str = "") -> Path:
    """Write lib/zoo/<name> (by default the recipe's task) from a run's newest or given checkpoint; returns the folder.

    Raises ParameterError for a run without checkpoints or with those of another recipe.
    """
    recipe = recipes.load(recipe_file)
    path = Path(checkpoint) if checkpoint else checkpoints.latest(Path(run) / "checkpoints")
    if path is None:
        raise ParameterError(f"{run} holds no checkpoint to publish")
    if json.loads((path / "recipe.json").read_text(encoding="utf-8"))["key"] != recipe.key():
        raise ParameterError(f"{path} was not trained by {recipe_file}: give the recipe of that run")
    curve = [json.loads(line) for line in (Path(run) / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    curve = [record for record in curve if record["step"] <= checkpoints.step_of(path)]
    target = zoo.HERE / (name or recipe.task)
    with tempfile.TemporaryDirectory() as draft:
        export(recipe, run, draft, "", path)
        measured = list(measure(recipe.task, draft, recipe.data["voices"], gutenberg.split("test", sentences), threads=threads))
        own = sum(p.numel() for module in load(recipe.task, draft, threads).modules.values() for p in module.parameters()) / 1e6
    export(recipe, run, target, card(recipe, curve, measured, sentences, own, note), path)
    write_atomic(target / "recipe.yaml", Path(recipe_file).read_bytes())
    write_atomic(target / "curve.jsonl", "".join(json.dumps(r) + "\n" for r in thinned(curve)).encode())
    return target


def export(recipe: recipes.Recipe, run: str | Path, folder: str | Path, text: str, checkpoint: Path) -> None:
    """The weights and their config, through the task's own `publish`."""
    module = importlib.import_module(f"lib.training.{recipe.task}")
    voices = tuple(sorted(recipe.data["voices"]))
    if recipe.task == "hifigan":
        module.publish(run, recipes.parse(module.VocoderConfig, recipe.model, "model"), folder, text, checkpoint)
    elif recipe.task == "istft":
        module.publish(run, recipes.parse(module.Learning, recipe.model, "model"), folder, text, checkpoint)
    else:
        module.publish(run, recipes.parse(module.AcousticConfig, recipe.model, "model"), voices, folder, text, checkpoint)


def load(task: str, folder: str | Path, threads: int):
    """The vocoder, or the acoustic model before the zoo's vocoder."""
    from lib.systems import hifigan, istft

    if task in VOCODERS:
        return {"hifigan": hifigan.HifiGan, "istft": istft.Istft}[task](folder, threads=threads)
    module = importlib.import_module(f"lib.systems.{task}")
    cls = next(c for c in vars(module).values() if getattr(c, "name", "") == task)
    return cls(folder, vocoder=hifigan.pretrained(threads=threads).vocode, threads=threads)


def measure(task: str, folder: str | Path, voices: Sequence[str], sentences: Sequence[gutenberg.Sentence], *, threads: int = 2
            ) -> Iterator[Row]:
    """The teacher's clips, then, for a vocoder, copies of them by Griffin-Lim and by it, or the acoustic model's own reading.

    A voice that the zoo's vocoder has not learnt is spoken by Griffin-Lim. `istft` copies every voice of `held_out_voices`.
    """
    scorer = Scorer(threads=threads)
    model = load(task, folder, threads)
    if task == "istft":
        yield from _copies(model, scorer, len(sentences), threads)
        return
    heard = recipes.load(zoo.folder("hifigan") / "recipe.yaml").data["voices"] if task != "hifigan" else voices
    for voice in voices:
        teacher = evaluate.speak(systems.load(voice, target="onnxruntime/cpu", threads=threads), sentences)
        yield Row("teacher", voice, evaluate.judge(teacher, scorer).summary)
        if task == "hifigan":
            for who, vocode in (("Griffin-Lim", features.griffin_lim), ("hifigan", model.vocode)):
                originals, copied = evaluate.copies(teacher, vocode, f"{who} copies {voice}")
                yield Row(f"{who}, copy", voice, evaluate.judge(copied, scorer, originals=originals).summary)
        else:
            speaker, who = model.adjusted(speaker=voice), "hifigan"
            if voice not in heard:
                speaker.vocoder, speaker.variant, who = None, "griffin-lim", "Griffin-Lim"
            clips = evaluate.speak(speaker, sentences)
            failed = evaluate.attention_failures(clips)
            yield Row(f"{task} + {who}", voice, evaluate.judge(clips, scorer).summary | ({FAILURES: failed} if failed else {}))


def _copies(model, scorer: Scorer, limit: int, threads: int) -> Iterator[Row]:
    """Held-out clips of voices learnt and unheard, and copies of them by Griffin-Lim, the zoo's `hifigan` and `model`."""
    from lib.systems import hifigan

    vocoders = {"Griffin-Lim": features.griffin_lim, "hifigan": hifigan.pretrained(threads=threads).vocode, model.name: model.vocode}
    for voice in (*held_out_voices.LEARNT, *held_out_voices.UNSEEN):
        label = voice if voice in held_out_voices.LEARNT else f"{voice} (unheard)"
        clips = held_out_voices.clips(voice, limit, threads)
        copied = {who: evaluate.copies(clips, vocode, f"{who} copies {voice}") for who, vocode in vocoders.items()}
        originals = copied[model.name][0]
        yield Row("original", label, evaluate.judge(originals, scorer).summary)
        for who, (_, made) in copied.items():
            yield Row(f"{who}, copy", label, evaluate.judge(made, scorer, originals=originals).summary)


def card(recipe: recipes.Recipe, curve: Sequence[dict], rows: Sequence[Row], sentences: int, params_m: float,
         note: str = "") -> str:
    """The card in Markdown; every number in it was measured by `measure` or by the training loop."""
    last = [r for r in curve if "seconds" in r][-1]
    validations = [r for r in curve if "validation" in r]
    names = [n for n in ("mos_predicted", "wer", "cer", *ALIGNED, FAILURES) if any(n in row.scores for row in rows)]
    titles = {"mos_predicted": "predicted MOS", "wer": "WER, %", "cer": "CER, %", "pesq_wb": "PESQ", "stoi": "STOI",
              "f0_error_cents": "pitch error, cents", FAILURES: "attention failures, %"}
    lines = [f"| {row.who} | {row.voice} | " + " | ".join(_cell(row.scores.get(n), n) for n in names) + " |" for row in rows]
    voices = " and ".join(recipe.data["voices"])
    watched = ", ".join(f"{k} {v:.3f}" for k, v in validations[-1]["validation"].items()) if validations else "none"
    recorded = "prompts" in recipe.data["voices"]
    heard = ("; `prompts` are recordings of a person, CC-BY-SA-3.0" if recorded else "; no recording of a person")
    return "\n".join([
        f"# {recipe.task}",
        "",
        f"{params_m:.2f} M parameters, trained on {voices} reading the train sentences of the Gutenberg "
        f"corpus (synthetic speech{heard}). Weights in half precision, the moving average of the training's.",
        "",
        f"- steps: {last['step']:,} of batch {recipe.training.batch_size}, {last['seconds'] / 60:.0f} minutes of training, "
        f"{last['steps_per_s']:.2f} steps/s at the end, {last['peak_rss_mb']:.0f} MB",
        f"- published {date.today().isoformat()} from commit {environment.commit()} on {environment.processor()}"
        f"{f'; {note}' if note else ''}",
        f"- last validation: {watched}",
        f"- licence: {LICENCE.format(voices=voices)}",
        f"- trained again by: `python -m lib.training lib/zoo/{recipe.task}/recipe.yaml --out RUN`, then "
        f"`python -m lib.zoo publish lib/zoo/{recipe.task}/recipe.yaml RUN`",
        *(["- goes on by the first of these: its recipe starts from `resume.safetensors`, the networks and their jury as they were at the last "
           "step, in half precision; the optimizers begin anew"] if recipe.task == "istft" else []),
        "",
        f"Measured on the {sentences} held-out sentences, which no training sees, judged by whisper-tiny.en and DistillMOS "
        "(95 % intervals over sentences):",
        "",
        "| who | voice | " + " | ".join(titles[n] for n in names) + " |",
        "|---|---|" + "---|" * len(names),
        *lines,
        "",
    ])


def thinned(curve: Sequence[dict], points: int = POINTS) -> list[dict]:
    """At most about `points` training records, evenly spread, and every validation; four significant digits."""
    steps = [r for r in curve if "validation" not in r]
    keep = {id(r) for r in steps[::max(1, -(-len(steps) // points))]} | {id(r) for r in steps[-1:]}
    return [_rounded(r) for r in curve if "validation" in r or id(r) in keep]


def _cell(estimate: Estimate | None, metric: str) -> str:
    if estimate is None:
        return ""
    scale, digits = {"wer": (100, 1), "cer": (100, 1), "f0_error_cents": (1, 0), FAILURES: (1, 0)}.get(metric, (1, 2))
    interval = f" [{scale * estimate.low:.{digits}f}, {scale * estimate.high:.{digits}f}]" if estimate.ci else ""
    return f"{scale * estimate.value:.{digits}f}{interval}"


def _rounded(record: dict) -> dict:
    def short(value):
        return float(f"{value:.4g}") if isinstance(value, float) else value

    return {k: {n: short(v) for n, v in value.items()} if isinstance(value, dict) else short(value) for k, value in record.items()}
