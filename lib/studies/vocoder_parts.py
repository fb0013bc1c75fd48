"""What is each part of `istft` worth? It is trained again and again from nothing, each time with one thing
taken away or changed, and its copies are judged beside those of the whole.

All cases have the same recipe, steps, seeds and data; they copy the same held-out clips of voices that they
learnt from and of one that they never met. Rows are of system `istft`: variant "no-noise@parts" of all clips
together, "no-noise@hibari@parts" of those of one voice, each paired with the same of "whole".

    python -m lib.studies.vocoder_parts --out DIR --cases whole,no-noise --steps 1500 --threads 1    only trains
    python -m lib.studies.vocoder_parts --out DIR --steps 1500 --judge study --clips 12              judges, too

What is trained already is not trained again: cases may come one by one, from several processes, and be judged
together.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import environment, results
from lib.errors import SpeechError, unknown
from lib.measure import evaluate, held_out_voices, paired
from lib.measure.evaluate import Clip, Judged
from lib.measure.scorer import Scorer, source
from lib.measure.scores import compare, summarise
from lib.studies import retrained
from lib.training import recipe as recipes

if TYPE_CHECKING:
    from lib.results import Run
    from lib.systems.istft import PartialIstft
    from lib.training.recipe import Recipe

log = logging.getLogger(__name__)

SYSTEM, NOTEBOOK = "istft", "02_training"
SUFFIX = "@parts"  # of all variants
WHOLE = "whole"
VOICES = ("vits-joe", "hibari", "prompts", "flite-awb")  # whose clips are copied; the last is in no recipe
JURY_FROM = 0.6  # the share of the steps after which the jury's verdict counts
_NEVER = 1_000_000_000


@dataclass(frozen=True)
class Case:
    """words: what it is, for a sentence; change: of the recipe's `model` part; settings: with which it speaks,
    where they are not the usual ones.
    """

    words: str
    change: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def _lacking(words: str, *parts: str) -> Case:
    return Case(f"without {words}", {"without": list(parts)})


CASES = {
    WHOLE: Case("whole"),
    "no-pulses": _lacking("pulses", "pulses"),
    "no-noise": _lacking("noise", "noise"),
    "no-minimum-phase": _lacking("the prior's minimum phase", "minimum-phase"),
    "no-learnt-phase": _lacking("the learnt phase", "learnt-phase"),
    "no-magnitude": _lacking("the prior's magnitude", "magnitude"),
    "no-prior": _lacking("any prior", "magnitude", "minimum-phase"),
    "no-complex-loss": Case("without the complex loss", {"complex_weight": 0.0}),
    "no-median-loss": Case("without the median loss", {"median_weight": 0.0}),
    "no-spectrogram-jury": Case("without spectrogram discriminators", {"windows": []}),
    "no-period-jury": Case("without period discriminators", {"periods": []}),
    "no-jury": Case("without any discriminator", {"adversarial_from": _NEVER}),
    "look-ahead-0": Case("with no frame of look-ahead", {"lookahead": 0}),
    "look-ahead-6": Case("with 6 frames of look-ahead", {"lookahead": 6}),
    "width-128": Case("with a trunk of width 128", {"width": 128}),
    "not-held": Case("held to no mel", settings={"passes": 0}),
    "no-augmentation": Case("without augmentation", {"as_is": 1.0, "levelled": 0.0, "limited": 0.0}),
}
VARIANTS = tuple(f"{name}{SUFFIX}" for name in CASES)


@dataclass(frozen=True)
class Trained:
    """A case as it speaks, and what its rows say of how it came about: steps, minutes, seeds, threads."""

    vocoder: PartialIstft
    detail: Mapping[str, Any]
    steps_per_s: float


def study(
    run: Run,
    base: Recipe,
    scorer: Scorer,
    *,
    steps: int,
    n_clips: int,
    folder: str | Path,
    cases: Sequence[str] = tuple(CASES),
    voices: Sequence[str] = VOICES,
    threads: int = 2,
    keep: int = 0,
) -> None:
    """Train each case in <folder>/<case>, judge it and write its rows. A stopped study goes on, finished cases
    are kept.

    base: a recipe of the task `istft`, from nothing; n_clips: of each voice; keep: how many of these go into
    the report. A voice that this machine cannot get becomes a row that says so; without WHOLE nothing is
    compared.
    """
    environment.pin_threads(threads)
    order = sorted(map(_known, cases), key=lambda name: name != WHOLE)
    ready = {name: trained(base, name, steps=steps, folder=folder, threads=threads) for name in order}
    names = {voice: (SYSTEM, variant(WHOLE, voice), "torch/cpu") for voice in voices}
    clips = originals(run, names, n_clips, threads)
    whole: dict[str, Judged] = {}
    for name, case in ready.items():
        judged = _judged(run, name, case, clips, scorer, whole, keep)
        whole = judged if name == WHOLE else whole


def originals(
    run: Run, names: Mapping[str, tuple[str, str, str]], n_clips: int, threads: int
) -> dict[str, tuple[Clip, ...]]:
    """Voice -> its first n_clips held-out clips. names: voice -> (system, variant, target) of the row that says why,
    where this machine cannot get it.
    """
    clips = {}
    for voice, absent in names.items():
        heard = evaluate.try_or_not_run(
            run,
            absent,
            ["mos_predicted"],
            lambda voice=voice: held_out_voices.clips(voice, n_clips, threads),
        )
        clips |= {voice: heard} if heard else {}
    return clips


def trained(base: Recipe, name: str, *, steps: int, folder: str | Path, threads: int = 2) -> Trained:
    """A case after `steps` steps; one that differs in how it speaks alone is trained as WHOLE. Raises
    StoppedError where its training is ended from outside.
    """
    from lib.systems.istft import PartialIstft
    from lib.training import checkpoint, loop
    from lib.training.tasks.istft_partial import PartialTask

    chosen, case = plan(base, name, steps), CASES[name]
    place = Path(folder) / (name if case.change else WHOLE)
    if not _finished(place, chosen):
        log.info("training %s for %d steps", name, steps)
        loop.train(PartialTask.build(chosen), chosen, place).check_whole(steps)
    outcome = json.loads((place / "outcome.json").read_text(encoding="utf-8"))
    ready = PartialTask.export(chosen, checkpoint.newest(place), place / "published", "")
    detail = {
        "steps": outcome["step"],
        "minutes": round(outcome["seconds"] / 60, 1),
        "threads": outcome["threads"],
        "precision": chosen.training.precision,
        "batch_size": chosen.training.batch_size,
        "seeds": {"weights": chosen.model.get("seed", 0), "order": chosen.training.seed},
        "change": dict(case.change),
    }
    vocoder = PartialIstft(ready, threads=threads).adjusted(variant=variant(name), **case.settings)
    detail |= vocoder.settings()
    return Trained(vocoder, detail, outcome["metrics"].get("train_steps_per_s", 0.0))


def plan(base: Recipe, name: str, steps: int) -> Recipe:
    """The recipe of a case."""
    model = {**base.model, "adversarial_from": round(JURY_FROM * steps), **CASES[_known(name)].change}
    return retrained.changed(base, model, steps)


def variant(name: str, voice: str = "") -> str:
    """What a case is called in rows: of all clips, or of one voice's."""
    return f"{name}@{voice}{SUFFIX}" if voice else f"{name}{SUFFIX}"


def _known(name: str) -> str:
    if name not in CASES:
        raise unknown("case of the ablation", name, CASES)
    return name


def _finished(place: Path, chosen: Recipe) -> bool:
    """Whether the training of a recipe lies there to its last step: then its data need not be read again."""
    from lib.training import checkpoint

    newest = checkpoint.latest(place / "checkpoints")
    if newest is None or not (place / "outcome.json").is_file():
        return False
    trained_by = json.loads((newest / "recipe.json").read_text(encoding="utf-8"))["key"]
    outcome = json.loads((place / "outcome.json").read_text(encoding="utf-8"))
    return outcome["step"] == checkpoint.step_of(newest) == chosen.training.steps and trained_by == chosen.key()


def _judged(
    run: Run,
    name: str,
    case: Trained,
    clips: Mapping[str, Sequence[Clip]],
    scorer: Scorer,
    whole: Mapping[str, Judged],
    keep: int,
) -> dict[str, Judged]:
    """Voice -> the case's copies of its clips with their scores; "" -> all of them. whole: those of WHOLE."""
    vocoder, judged = case.vocoder, {}
    for voice, heard in clips.items():
        originals, made = evaluate.copies(heard, vocoder.vocode, f"istft {CASES[name].words} copies {voice}")
        judged[voice] = evaluate.judge(made, scorer, originals=originals, seed=run.seed)
        for clip in made[:keep]:
            names = (SYSTEM, variant(name, voice), vocoder.target)
            evaluate.keep_clip(run, names, clip, f"Parts of istft: {voice}")
    if judged:
        scores = tuple(score for j in judged.values() for score in j.scores)
        made = tuple(clip for j in judged.values() for clip in j.clips)
        judged[""] = Judged(made, scores, summarise(scores, seed=run.seed))
    for voice, found in judged.items():
        usual = whole.get(voice)
        differences = compare(found.scores, usual.scores, seed=run.seed) if usual else {}
        for metric, estimate in found.summary.items():
            paired.write(
                run,
                (SYSTEM, variant(name, voice), vocoder.target),
                metric,
                estimate,
                source(metric, scorer.compute_type),
                baseline=variant(WHOLE, voice) if usual else "",
                difference=differences.get(metric),
                **case.detail,
            )
    numbers = {"params_m": (vocoder.params_m, "all networks of the vocoder")}
    if case.steps_per_s:
        numbers["train_steps_per_s"] = (case.steps_per_s, "the training loop's own clock")
    for metric, (value, told) in numbers.items():
        run.add(SYSTEM, variant(name), vocoder.target, metric, value, source=told, detail=dict(case.detail))
    return judged


def main(arguments: list[str] | None = None) -> int:
    """0, or 1 with one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m lib.studies.vocoder_parts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", required=True, help="folder of the trainings, one folder in it for each case")
    parser.add_argument("--cases", default=",".join(CASES), help="by default all")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recipe", default=str(recipes.path("study", "istft-parts")))
    parser.add_argument("--judge", default="", help=f"write rows, too: those of {NOTEBOOK} in this profile")
    parser.add_argument("--clips", type=int, default=12, help="of each voice, that are judged")
    parser.add_argument("--keep", type=int, default=1, help="of them, for the report")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        base, cases = recipes.load(options.recipe), [_known(name) for name in options.cases.split(",")]
        how = {"steps": options.steps, "folder": options.out, "threads": options.threads}
        if options.judge:
            run, scorer = results.start(NOTEBOOK, options.judge), Scorer(threads=options.threads)
            study(run, base, scorer, n_clips=options.clips, cases=cases, keep=options.keep, **how)
            print(run.path)
            return 0
        environment.pin_threads(options.threads)
        for name in cases:
            trained(base, name, **how)
            print(Path(options.out) / name)
    except SpeechError as error:
        print(f"not finished: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
