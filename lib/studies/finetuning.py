"""What does it take to learn a new voice? The same base, data, steps and seeds by every method, each training in a
fresh process.

A training is a `Trial`; its rows have a variant such as `lora-r8@prompts-3min`. How it sounds is judged by `new_voices`
on the sentences of the voice's test split, which no training sees nor comes near to (`lib.corpora.portion`).
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.errors import ParameterError, SpeechError
from lib.files import content_key, write_atomic
from lib.measure import process

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.portion import Portion
    from lib.optimize.lora import Adapter
    from lib.results import Run
    from lib.training.outcome import Outcome

log = logging.getLogger(__name__)

SYSTEM = "fastspeech2"
USUAL = ("attention", "feed-forward")  # groups of layers, see `lib.optimize.adapter_layers`
# The highest learning rate of each method: of those tried (`TRIED`), the one of the lowest validation loss.
RATES = {"full": 1e-3, "lora": 5e-3, "dora": 5e-3, "ia3": 2e-2, "qlora": 5e-3, "speaker": 2e-2}
TRIED = {"full": (5e-4, 1e-3), "lora": (2e-3, 5e-3), "ia3": (1e-2, 2e-2), "speaker": (1e-2, 2e-2)}
RESULT = "trained.json"  # in a trial's folder: what its training came to
_REVISION = 1


@dataclass(frozen=True)
class Trial:
    """One training."""

    method: str
    rank: int = 8
    minutes: float = 0.0  # of speech; 0: all there is
    seed: int = 0  # of the adapter's first weights, and of the order of the data
    modules: tuple[str, ...] = USUAL
    voice: str = "prompts"  # of `lib.corpora.unheard`
    system: str = SYSTEM
    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 0.0  # 0: the method's usual one
    threads: int = 2

    @property
    def adapter(self) -> Adapter:
        from lib.optimize.lora import Adapter

        return Adapter(self.method, self.rank, 2.0 * self.rank, tuple(self.modules), 0.0, self.seed)

    @property
    def data(self) -> str:
        """What it learnt from, as variants name it: "prompts", "prompts-3min", and with another seed "prompts-s1"."""
        length = f"-{self.minutes:g}min" if self.minutes else ""
        return f"{self.voice}{length}" + (f"-s{self.seed}" if self.seed else "")

    @property
    def variant(self) -> str:
        """Its name: "lora-r8@prompts-3min"; other groups of layers than the usual ones are named.

        >>> Trial("lora", minutes=3.0).variant, Trial("full", modules=("attention",)).variant
        ('lora-r8@prompts-3min', 'full@prompts')
        """
        where = (
            "" if self.modules == USUAL or self.method in ("full", "speaker") else "+".join(("", *self.modules))
        )
        return f"{self.adapter.label}{where}@{self.data}"

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.learning_rate or RATES[self.method]


@dataclass(frozen=True)
class Trained:
    """What a training came to. file: its adapter; numbers: by the names of the results contract; added_mb: what the
    steps took beside the process that was ready for them; clips, seconds: what was learnt from; losses: of validation.
    """

    file: Path
    numbers: dict[str, float]
    added_mb: float
    clips: int
    seconds: float
    losses: dict[str, float]


def trials(
    methods: Sequence[str], ranks: Sequence[int], minutes: Sequence[float], seeds: Sequence[int], **fixed: Any
) -> list[Trial]:
    """The main effects, not every combination: each method at the usual rank on the most data, then each other rank of
    lora, then less data and other seeds for lora and full. Full comes first wherever it is compared with.
    """
    from lib.optimize.lora import RANKED

    usual = Trial("full").rank if Trial("full").rank in ranks else ranks[0]
    most = 0.0 if 0.0 in minutes else max(minutes)
    ordered = sorted(methods, key=lambda method: method != "full")
    made = [Trial(method, usual, most, seeds[0], **fixed) for method in ordered]
    if "lora" in methods:
        made += [Trial("lora", rank, most, seeds[0], **fixed) for rank in ranks]
    compared = [method for method in ordered if method in ("full", "lora", "speaker")]
    made += [Trial(m, usual, length, seeds[0], **fixed) for length in minutes for m in compared]
    made += [Trial(m, usual, most, seed, **fixed) for seed in seeds for m in compared if m != "speaker"]
    named = {trial.variant: trial for trial in made if trial.method in RANKED or trial.rank == usual}
    return list(named.values())


def shares(system: str, methods: Sequence[str], ranks: Sequence[int]) -> pd.DataFrame:
    """What of the system would learn by each method and rank, counted without training: a line each."""
    import pandas as pd

    from lib.optimize import lora, new_voice
    from lib.systems.checkpoint import system_of
    from lib.training import sources, tasks

    found = {}
    for method in methods:
        for rank in ranks if method in lora.RANKED else ranks[:1]:
            trial = Trial(method, rank, system=system)
            folder = sources.start(system)
            _, _, network = tasks.find(system_of(folder)).system.checkpoints.load(folder)
            share = lora.trainable(lora.adapt(network, trial.adapter, new_voice.grow(network)))
            found[trial.adapter.label] = {
                "parameters that learn": f"{share['trainable_params']:,.0f}",
                "of the base's, %": f"{share['trainable_params_pct']:.2f}",
                "adapter, kB": f"{share['adapter_bytes'] / 1e3:,.0f}",
            }
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("method")


def trained(trial: Trial, folder: str | Path) -> Trained:
    """The trial's training in a fresh process, under <folder>/<variant>; a finished one is read back, a stopped one
    goes on. Raises SpeechError with the process's own message where it fails.
    """
    own = Path(folder) / trial.variant
    key = content_key(_REVISION, dataclasses.asdict(trial), trial.rate)
    kept = own / RESULT
    if kept.is_file() and (stored := json.loads(kept.read_text(encoding="utf-8")))["key"] == key:
        return _trained(own, stored)
    log.info("training %s of %s", trial.variant, trial.system)
    prepare(trial)
    arguments = {"trial": dataclasses.asdict(trial), "folder": str(own)}
    done = process.call("lib.studies.finetuning:train_here", arguments, threads=trial.threads, timeout_s=36_000)
    stored = {"key": key, "trial": dataclasses.asdict(trial), "peak_rss_mb": done.peak_rss_mb, **done.value}
    write_atomic(kept, json.dumps(stored, indent=1).encode())
    return _trained(own, stored)


def prepare(trial: Trial) -> Portion:
    """Clips, alignments and targets of a trial's data in the cache, so that no training's memory and time hold them."""
    from lib.training.tasks import acoustic_data

    chosen = portion_of(trial)
    for split in ("train", "validation"):
        acoustic_data.examples(chosen.corpus, split)
    return chosen


def portion_of(trial: Trial) -> Portion:
    """What a trial learns from."""
    from lib.corpora import unheard
    from lib.corpora.portion import portion

    return portion(unheard.load(trial.voice), trial.minutes)


def train_here(trial: dict, folder: str) -> dict:
    """The fresh process's part, as JSON."""
    import torch

    from lib.measure import memory

    chosen = Trial(**{**trial, "modules": tuple(trial["modules"])})
    torch.set_num_threads(chosen.threads)
    portion, before = portion_of(chosen), {}

    def ready() -> None:
        before["mb"] = memory.peak_rss_mb()

    outcome, file, share = train(chosen, portion, folder, ready=ready)
    return {
        "file": file.name,
        "steps_per_s": outcome.metrics["train_steps_per_s"],
        "before_mb": before["mb"],
        "losses": outcome.validation,
        "train_loss": outcome.metrics["train_loss"],
        "clips": len(portion.corpus.split("train")),
        "seconds": portion.seconds,
        **share,
    }


def train(
    trial: Trial, portion: Portion, folder: str | Path, *, base: str = "", ready: Any = None
) -> tuple[Outcome, Path, dict[str, float]]:
    """Train here: (how the loop ended, the adapter's file, how much learnt). ready: called before the first step."""
    from lib.optimize import lora, new_voice
    from lib.training import loop, recipe
    from lib.training.tasks.acoustic import MODULE

    steps = trial.steps
    learning = {"learning_rate": trial.rate, "warm_up": max(1, steps // 10), "half_life": max(1, steps // 2)}
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
    said = [u.id for u in portion.corpus.utterances]
    model = {**learning, **dataclasses.asdict(trial.adapter), "base": base or trial.system}
    described = recipe.Recipe(f"new-voice-{trial.system}", settings, model, {"clips": content_key(said)})
    if ready:
        ready()
    outcome = loop.train(task, described, folder)
    about = {"data": trial.data, "system": trial.system, "steps": steps, "seconds": round(portion.seconds, 1)}
    file = new_voice.save(task, Path(folder) / lora.FILE, about)
    return outcome, file, lora.trainable(task.plain[MODULE])


def write(run: Run, trial: Trial, made: Trained) -> None:
    """The rows of what a training took; its quality is written by `new_voices.judge`."""
    names = (trial.system, trial.variant, "torch/cpu")
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
        "threads": trial.threads,
        "added_mb": round(made.added_mb, 1),
        **{f"validation_{name}": round(value, 4) for name, value in made.losses.items()},
    }
    sources = {
        "trainable_params_pct": "counted: of the base's parameters",
        "adapter_mb": "bytes of the adapter's weights",
        "peak_rss_mb": "the kernel's high-water mark of the training's own process (VmHWM)",
        "train_steps_per_s": "the training loop's own clock",
        "train_loss": "mean of the training loss over the last record's steps",
    }
    for metric, source in sources.items():
        run.add(*names, metric, made.numbers[metric], source=source, detail=detail)


def try_all(run: Run, chosen: Sequence[Trial], folder: str | Path) -> dict[str, tuple[Trial, Trained]]:
    """Every trial trained and its rows written; one that cannot be is a `not_run` row that says why."""
    done = {}
    for trial in chosen:
        try:
            done[trial.variant] = trial, trained(trial, folder)
        except SpeechError as error:
            log.warning("%s: not run: %s", trial.variant, error)
            run.not_run(trial.system, trial.variant, "torch/cpu", "speaker_similarity", str(error))
            continue
        write(run, *done[trial.variant])
    return done


def _trained(folder: Path, stored: dict) -> Trained:
    numbers = {
        "trainable_params_pct": stored["trainable_params_pct"],
        "adapter_mb": stored["adapter_bytes"] / 1e6,
        "peak_rss_mb": stored["peak_rss_mb"],
        "train_steps_per_s": stored["steps_per_s"],
        "train_loss": stored["train_loss"],
    }
    file = folder / stored["file"]
    if not file.is_file():
        raise ParameterError(f"{folder} has lost its adapter {file.name}: delete {folder} and train again")
    added = stored["peak_rss_mb"] - stored["before_mb"]
    return Trained(file, numbers, added, stored["clips"], stored["seconds"], stored["losses"])
