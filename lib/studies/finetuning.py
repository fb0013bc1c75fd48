"""What does it take to learn a new voice? The same base, data, steps and seeds by every method, each training in a
fresh process.

How the voices sound is judged by `new_voices`, on sentences that no training sees nor comes near to
(`lib.corpora.portion`); learning rates are chosen by `rates`, on the validation split.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import environment
from lib.errors import DivergedError, SpeechError, TrainingError
from lib.files import content_key, write_atomic
from lib.measure import process
from lib.studies.trials import Trial
from lib.training.outcome import SOURCES

if TYPE_CHECKING:
    from lib.corpora.base import Utterance
    from lib.corpora.portion import Portion
    from lib.measure import memory
    from lib.results import Run
    from lib.training.outcome import Outcome
    from lib.training.tasks.acoustic import AcousticTask

log = logging.getLogger(__name__)

RESULT = "trained.json"  # in a trial's folder: what its training came to
DIVERGED = "diverged"  # there: why there is no adapter, and would be none again
_COSTS = ("train_peak_rss_mb", "peak_gpu_mb", "train_steps_per_s")  # what a training takes of a device
REVISION = 3  # of what a training is: raised when the same trial would learn something else


@dataclass(frozen=True)
class Trained:
    """What a training came to. file: its adapter; numbers: by the names of the results contract; added_mb: what the
    steps took beside the process that was ready for them; clips, seconds: what was learnt from; losses: of validation;
    by: commit, host and day of the training, which may be an earlier run's; merge_error: how far mels are apart with
    the adapter within the weights and beside them, None where there is none that could be merged; target: where it
    learnt; curve: [step, loss] of its records.
    """

    file: Path
    numbers: dict[str, float]
    added_mb: float
    clips: int
    seconds: float
    losses: dict[str, float]
    by: str = ""
    merge_error: float | None = None
    target: str = "torch/cpu"
    curve: Sequence[Sequence[float]] = ()


def trained(trial: Trial, folder: str | Path) -> Trained:
    """The trial's training in a fresh process, under <folder>/<variant>; a finished one is read back, a stopped one
    goes on. Raises SpeechError with the process's own message where it fails: DivergedError, now and whenever it is
    asked for again, where its loss is no longer a number, StoppedError where it was ended from outside.
    """
    key = content_key(REVISION, dataclasses.asdict(trial), trial.rate, learnt_from(trial))
    own = Path(folder) / trial.variant / key[:8]  # another rate, other clips, another base: another training
    kept = own / RESULT
    if kept.is_file() and (finished := _finished(kept, key)):
        return finished
    log.info("training %s of %s", trial.variant, trial.system)
    prepare(trial)
    arguments = {"trial": dataclasses.asdict(trial), "folder": str(own)}
    by = f"{environment.commit()} on {environment.host()}, {date.today().isoformat()}"
    stored = {"key": key, "trial": dataclasses.asdict(trial), "by": by}
    try:
        done = process.call(
            "lib.studies.finetuning:train_here", arguments, threads=trial.threads, timeout_s=36_000
        )
        stored |= done.value
    except DivergedError as error:
        stored[DIVERGED] = str(error)
    write_atomic(kept, json.dumps(stored, indent=1).encode())
    shutil.rmtree(own / "checkpoints", ignore_errors=True)  # which nobody goes on from
    return _trained(own, stored)


def prepare(trial: Trial) -> Portion:
    """Clips, alignments and targets of a trial's data in the cache, so that no training's memory and time hold them."""
    from lib.training.tasks import acoustic_data

    chosen = portion_of(trial)
    for split in ("train", "validation"):
        acoustic_data.examples(chosen.corpus, split)
    return chosen


def learnt_from(trial: Trial) -> str:
    """What a trial begins with and learns from, by content: of another base or other clips it is another training."""
    return content_key(base_key(trial.system), _clips_key(trial.voice, trial.minutes))


def base_key(system: str) -> str:
    """The checkpoint that a system's trainings begin with, by its bytes."""
    from lib.systems import checkpoint
    from lib.training import sources

    return content_key(*(file.read_bytes() for file in checkpoint.files(sources.start(system))))


@functools.cache
def _clips_key(voice: str, minutes: float) -> str:
    return clips_key(_portion(voice, minutes).corpus.utterances)


def portion_of(trial: Trial) -> Portion:
    """What a trial learns from."""
    return _portion(trial.voice, trial.minutes)


@functools.cache
def _portion(voice: str, minutes: float) -> Portion:
    from lib.corpora import unheard
    from lib.corpora.portion import portion

    return portion(unheard.load(voice), minutes)


def train_here(trial: dict, folder: str) -> dict:
    """The fresh process's part, as JSON."""
    import torch

    from lib.measure import memory
    from lib.optimize import new_voice

    chosen = Trial(**{**trial, "modules": tuple(trial["modules"])})
    torch.set_num_threads(chosen.threads)
    portion, steps = portion_of(chosen), memory.Stretch()
    outcome, file, share, task = train(chosen, portion, folder, watch=steps)
    return {
        "file": file.name,
        "steps_per_s": outcome.metrics["train_steps_per_s"],
        "added_mb": steps.added_mb,
        "peak_rss_mb": steps.peak_mb,
        "peak_gpu_mb": outcome.peak_gpu_mb,
        "target": outcome.target,
        "losses": outcome.validation,
        "train_loss": outcome.metrics["train_loss"],
        "clips": len(portion.corpus.split("train")),
        "seconds": portion.seconds,
        "merge_error": new_voice.merge_error(task),
        "curve": _curve(folder),
        **share,
    }


def train(
    trial: Trial, portion: Portion, folder: str | Path, *, base: str = "", watch: memory.Stretch | None = None
) -> tuple[Outcome, Path, dict[str, float], AcousticTask]:
    """Train here: (how the loop ended, the adapter's file, how much learnt, the task). watch: of the memory that the
    steps take, without the loading before them and what comes behind.

    Raises StoppedError where it was asked to stop before the last step: nobody is to take that for the whole.
    """
    from lib.optimize import lora, new_voice
    from lib.training import loop, recipe
    from lib.training.tasks.acoustic import MODULE

    steps = trial.steps
    learning = {
        "learning_rate": trial.rate,
        "warm_up": max(1, steps // 10),
        "half_life": max(1, steps // 2),
        # AdamW's would draw by the rate, which differs with the method, and full fine-tuning and the row to 0, lora to
        # the base, ia3's factors away from it.
        "weight_decay": 0.0,
    }
    task = new_voice.task(trial.system, portion.corpus, trial.adapter, learning, base)
    settings = recipe.Settings(
        steps,
        batch_size=trial.batch_size,
        seed=trial.seed,
        clip_norm=1.0,
        validate_every=steps,
        checkpoint_every=max(50, steps // 4),
        log_every=min(10, steps),
        keep=1,
    )
    model = {**learning, **dataclasses.asdict(trial.adapter), "base": base or trial.system}
    described = recipe.Recipe(
        f"new-voice-{trial.system}", settings, model, {"clips": clips_key(portion.corpus.utterances)}
    )
    if watch:
        watch.begin()
    outcome = loop.train(task, described, folder)
    if watch:
        watch.end()
    outcome.check_whole(steps)
    about = {"data": trial.data, "system": trial.system, "steps": steps, "seconds": round(portion.seconds, 1)}
    file = new_voice.save(task, Path(folder) / lora.FILE, about)
    return outcome, file, lora.trainable(task.plain[MODULE]), task


def clips_key(utterances: Iterable[Utterance]) -> str:
    """What is learnt from, by sound and text: somebody who records a clip again leaves its name as it was."""
    return content_key(*(content_key(u.id, u.split, u.normalized, _samples(u)) for u in utterances))


def _samples(utterance: Utterance) -> bytes:
    try:
        return utterance.load().tobytes()
    except SpeechError as error:  # the task leaves it out
        return str(error).encode()


def elsewhere(by: str) -> str:
    """For the source of what a training took: whose clock and memory that is, where it was not this code's on this
    machine; else "". by: commit, host and day of the training.
    """
    here = f"{environment.commit()} on {environment.host()},"
    return "" if not by or by.startswith(here) else f"; of an earlier run, {by}"


def write(run: Run, trial: Trial, made: Trained, rate: Mapping[str, Any] | None = None) -> None:
    """The rows of what a training took; its quality is written by `new_voices.judge`. rate: what is known of who chose
    its learning rate.
    """
    where = {metric: made.target for metric in ("train_loss", *_COSTS)}  # what else is counted is of the voice
    detail = {
        "method": trial.method,
        "voice": trial.voice,
        "rank": trial.rank,
        "modules": list(trial.modules),
        "asked_minutes": trial.minutes,
        "minutes": round(made.seconds / 60, 2),
        "clips": made.clips,
        "seed": trial.seed,
        "steps": trial.steps,
        "batch_size": trial.batch_size,
        "learning_rate": trial.rate,
        **(rate or {}),
        "threads": trial.threads,
        "added_mb": round(made.added_mb, 1),
        "trained_by": made.by,
        **{f"validation_{name}": round(value, 4) for name, value in made.losses.items()},
    }
    sources = {
        "trainable_params_pct": "counted: of the base's parameters",
        "adapter_mb": "bytes of the adapter's weights",
        "train_peak_rss_mb": "the kernel's high-water mark of the training's own process (VmHWM)"
        + elsewhere(made.by),
        "train_steps_per_s": "the training loop's own clock" + elsewhere(made.by),
        "peak_gpu_mb": SOURCES["peak_gpu_mb"] + elsewhere(made.by),
        "train_loss": SOURCES["train_loss"],
        "merge_error": "standardised mel of a validation clip",
    }
    numbers = dict(made.numbers)
    if made.merge_error is not None:
        numbers["merge_error"] = made.merge_error
    for metric, source in sources.items():
        if metric in numbers:
            at = where.get(metric, "torch/cpu")
            more = {"curve": made.curve} if metric == "train_loss" else {}
            said = {"source": source, "detail": {**detail, **more}}
            run.add(trial.system, trial.variant, at, metric, numbers[metric], **said)


def try_all(
    run: Run,
    chosen: Sequence[Trial],
    folder: str | Path,
    rates: Mapping[tuple[str, str], Mapping[str, Any]] | None = None,
) -> dict[str, tuple[Trial, Trained]]:
    """Every trial trained and its rows written; one that cannot be is a `not_run` row that says why. rates:
    `Trial.learner` -> what is known of who chose its learning rate.
    """
    done = {}
    for trial in chosen:
        try:
            done[trial.variant] = trial, trained(trial, folder)
        except SpeechError as error:
            log.warning("%s: not run: %s", trial.variant, error)
            run.not_run(trial.system, trial.variant, "torch/cpu", "speaker_similarity", str(error))
            continue
        write(run, *done[trial.variant], (rates or {}).get(trial.learner))
    return done


def _finished(file: Path, key: str) -> Trained | None:
    """What a training kept; None of another one. TrainingError where its file is no whole one, or as `_trained`."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        return _trained(file.parent, stored) if stored["key"] == key else None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{file} cannot be read ({error!r}): delete {file.parent}, and train anew"
        ) from error


def _trained(folder: Path, stored: dict) -> Trained:
    """What a training came to; DivergedError where that is no adapter."""
    if DIVERGED in stored:
        raise DivergedError(f"{stored[DIVERGED]} ({stored['by']}; delete {folder} to train anew)")
    numbers = {
        **({"peak_gpu_mb": gpu} if (gpu := stored.get("peak_gpu_mb")) is not None else {}),
        "trainable_params_pct": stored["trainable_params_pct"],
        "adapter_mb": stored["adapter_bytes"] / 1e6,
        "train_peak_rss_mb": stored["peak_rss_mb"],
        "train_steps_per_s": stored["steps_per_s"],
        "train_loss": stored["train_loss"],
    }
    file = folder / stored["file"]
    if not file.is_file():
        raise TrainingError(f"{folder} has lost its adapter {file.name}: delete {folder}, and train anew")
    took = stored["added_mb"], stored["clips"], stored["seconds"], stored["losses"]
    return Trained(file, numbers, *took, stored["by"], stored["merge_error"], stored["target"], stored["curve"])


def _curve(folder: str | Path) -> list[list[float]]:
    """[step, training loss] of every record of a run."""
    from lib.training import journal

    return [
        [record["step"], next(value for name, value in record.items() if name.startswith("loss/"))]
        for record in journal.curve(folder)
        if "validation" not in record
    ]
