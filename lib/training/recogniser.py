"""How does the recogniser learn from clips? Through the Seq2SeqTrainer of transformers; what of it learns is chosen.

    <run>/checkpoint-N/model.safetensors    what learns, and nothing else: an adapter's checkpoint is small
                      whole.json            written last: size of every file, so that one cut mid-write is known
                      ...                   optimizer, schedule, random states, as the Trainer has them
    <run>/tensorboard                       losses, learning rate, gradient norms

A run that was stopped goes on from its newest whole checkpoint. Training ends when the loss on validation clips has not
fallen for `patience` validations; the weights of the best one are kept.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lib import environment, targets
from lib.corpora.domains import Clip
from lib.errors import DivergedError, ParameterError, TrainingError
from lib.files import content_key, write_atomic
from lib.training import recogniser_data
from lib.training.recogniser_checkpoints import (
    learnt_state,
    load_learnt,
    mark_whole,
    newest_whole,
    step_of,
    write_learnt,
)

if TYPE_CHECKING:
    import transformers

PARTS = ("all", "encoder", "decoder")
RUN = "run.json"  # whose run a folder holds
FEWEST_CLIPS = 2


@dataclass(frozen=True)
class Settings:
    """How one run learns."""

    steps: int = 120  # at most
    batch: int = 4  # clips of a step
    learning_rate: float = 2e-5  # its highest; falls linearly to 0. Adapters take 30-100 times as much
    warmup: int = 10  # steps until it is reached
    window_s: float = 8.0  # seconds that the encoder sees
    evaluate_every: int = 20  # steps; a checkpoint each time
    patience: int = 3  # validations without a fall of the loss
    masked: bool = True  # SpecAugment on training clips
    gradient_checkpointing: bool = False  # less memory, more time
    seed: int = 0

    def __post_init__(self) -> None:
        counts = ("steps", "batch", "evaluate_every", "patience")
        if any(getattr(self, name) < 1 for name in counts) or not self.learning_rate > 0 or self.warmup < 0:
            raise ParameterError(f"{self}: {', '.join(counts)} are at least 1, the learning rate is above 0")


@dataclass(frozen=True)
class Learnt:
    """curve: the Trainer's records, {"step", "loss" or "eval_loss", ...}; seconds: of this call's steps alone,
    without validation and checkpoints, which are large or small by the method; target: where it learnt; peak_gpu_mb:
    None without a GPU.
    """

    curve: tuple[dict[str, float], ...]
    steps: int
    best_step: int
    best_loss: float
    seconds: float
    resumed_from: int
    parameters: tuple[int, int] = field(default=(0, 0))  # those that learn, all
    target: str = "torch/cpu"
    peak_gpu_mb: float | None = None

    @property
    def steps_per_s(self) -> float:
        """Training steps a second; 0 where nothing was left to do."""
        done = self.steps - self.resumed_from
        return done / self.seconds if done and self.seconds else 0.0


def learn_part(model: "transformers.WhisperForConditionalGeneration", part: str) -> None:
    """Let a part of the network learn: of `PARTS`. Positions of the encoder never do: they are a fixed table."""
    if part not in PARTS:
        raise ParameterError(
            f"part {part!r} of the recogniser cannot be trained: take one of {', '.join(PARTS)}"
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part == "all" or name.startswith(f"model.{part}."))
    model.model.encoder.embed_positions.requires_grad_(False)


def train(
    model: "transformers.WhisperForConditionalGeneration",
    training: Sequence[Clip],
    validation: Sequence[Clip],
    settings: Settings,
    run: str | Path,
    *,
    extractor: "transformers.WhisperFeatureExtractor",
    tokenizer: "transformers.PreTrainedTokenizerFast",
) -> Learnt:
    """Teach the network, in place, whatever of it asks for gradients. run: the folder of this run, continued where it
    holds one of the same settings and clips.

    Raises ParameterError for too few clips, DivergedError where the loss is not a number, TrainingError where nothing
    learns or the folder is another run's.
    """
    import transformers

    _enough(training, validation, settings)
    learning = [p for p in model.parameters() if p.requires_grad]
    if not learning:
        raise TrainingError(
            "no weight of this network learns: choose a part (`learn_part`) or put an adapter into it"
        )
    folder = Path(run)
    _claim(folder, training, validation, settings, model)
    data = {"extractor": extractor, "tokenizer": tokenizer, "window_s": settings.window_s}
    start, stopwatch = newest_whole(folder), _stopwatch()
    with recogniser_data.window(model, settings.window_s), _tensorboard(folder), _as_before(model):
        trainer = _trainer_class()(
            model=model,
            args=_arguments(folder, settings),
            train_dataset=recogniser_data.Clips(training, **data, masked=settings.masked, seed=settings.seed),
            eval_dataset=recogniser_data.Clips(validation, **data),
            data_collator=recogniser_data.collate,
            callbacks=[transformers.EarlyStoppingCallback(settings.patience), stopwatch],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train(resume_from_checkpoint=str(start) if start else None)
    model.eval()
    state = trainer.state
    if state.best_metric is None:
        raise TrainingError(f"{folder} ended without a validation: {settings.steps} steps are too few for one")
    return Learnt(
        tuple(state.log_history),
        state.global_step,
        step_of(Path(state.best_model_checkpoint)),
        float(state.best_metric),
        stopwatch.seconds,
        step_of(start) if start else 0,
        (sum(p.numel() for p in learning), sum(p.numel() for p in model.parameters())),
        targets.label(f"torch/{trainer.args.device.type}"),
        environment.peak_gpu_mb(),
    )


def _stopwatch() -> "transformers.TrainerCallback":
    import transformers

    class Stopwatch(transformers.TrainerCallback):
        seconds = began = 0.0

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.seconds += time.perf_counter() - self.began

    return Stopwatch()


def _trainer_class() -> type:
    import transformers

    class Trainer(transformers.Seq2SeqTrainer):
        """Checkpoints hold what learns, and say when they are whole; a loss that is no number ends the run."""

        def _save(self, output_dir=None, state_dict=None):
            write_learnt(self.model, Path(output_dir or self.args.output_dir))

        def _save_checkpoint(self, model, trial):
            super()._save_checkpoint(model, trial)
            mark_whole(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")

        def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
            load_learnt(self.model, resume_from_checkpoint)

        def _load_best_model(self):
            load_learnt(self.model, self.state.best_model_checkpoint)

        def training_step(self, model, inputs, num_items_in_batch=None):
            loss = super().training_step(model, inputs, num_items_in_batch)
            if not torch.isfinite(loss):
                raise DivergedError(
                    f"the loss is {float(loss)} at step {self.state.global_step + 1}: lower the learning rate, or look "
                    f"at the clips; the checkpoints in {self.args.output_dir} are intact"
                )
            return loss

    return Trainer


def _arguments(folder: Path, settings: Settings) -> "transformers.Seq2SeqTrainingArguments":
    import transformers

    return transformers.Seq2SeqTrainingArguments(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=settings.batch,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        weight_decay=0.0,
        max_grad_norm=1.0,
        eval_strategy="steps",
        eval_steps=settings.evaluate_every,
        eval_on_start=True,  # where the curve begins
        save_strategy="steps",
        save_steps=settings.evaluate_every,
        save_total_limit=2,  # the newest and the best
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=5,
        report_to=["tensorboard"],
        activation_checkpointing=settings.gradient_checkpointing,
        # The reentrant kind computes gradients only where its input has one, and behind frozen convolutions it has
        # none: nothing in the encoder would learn, without a word.
        activation_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=not torch.cuda.is_available(),
        seed=settings.seed,
        data_seed=settings.seed,
        disable_tqdm=True,
    )


def _enough(training: Sequence[Clip], validation: Sequence[Clip], settings: Settings) -> None:
    for name, clips in (("train", training), ("validate", validation)):
        if len(clips) < FEWEST_CLIPS:
            raise ParameterError(
                f"{len(clips)} clip{'s' * (len(clips) != 1)} to {name} on cannot be learnt from: give at least "
                f"{FEWEST_CLIPS}"
            )
    if overlap := {c.utterance.id for c in training} & {c.utterance.id for c in validation}:
        raise ParameterError(
            f"{len(overlap)} utterances are on both sides ({min(overlap)}): hold them apart first"
        )
    if settings.evaluate_every > settings.steps:
        raise ParameterError(
            f"{settings.steps} steps end before the first validation, at {settings.evaluate_every}"
        )


def _claim(folder: Path, training, validation, settings: Settings, model) -> None:
    """Write down whose run a folder holds; TrainingError where it is another's."""
    identity = {
        **asdict(settings),
        "training": content_key([clip.id for clip in training]),
        "validation": content_key([clip.id for clip in validation]),
        "learns": content_key({name: list(value.shape) for name, value in learnt_state(model).items()}),
    }
    path = folder / RUN
    if not path.exists():
        if any(folder.glob("checkpoint-*")):
            raise TrainingError(f"{folder} holds checkpoints but no {RUN}: nobody knows of what; take another")
        write_atomic(path, json.dumps(identity, indent=1).encode())
        return
    try:
        theirs: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TrainingError(f"{path} cannot be read ({error}): delete the folder, or take another") from error
    if differing := sorted(key for key in {*theirs, *identity} if theirs.get(key) != identity.get(key)):
        raise TrainingError(
            f"{folder} holds a run that differs in {', '.join(differing)}: train in another folder, or as that one"
        )


@contextmanager
def _tensorboard(folder: Path):
    """transformers takes the place of its curves from the environment alone."""
    name = "TENSORBOARD_LOGGING_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(folder / "tensorboard")
    try:
        yield
    finally:
        os.environ.pop(name, None) if before is None else os.environ.__setitem__(name, before)


@contextmanager
def _as_before(model: "transformers.WhisperForConditionalGeneration"):
    """Caches of the decoder off while it learns: checkpointed layers compute twice, and would fill them twice."""
    before = model.config.use_cache
    model.config.use_cache = False
    try:
        yield
    finally:
        model.config.use_cache = before
        if model.is_gradient_checkpointing:
            model.activation_checkpointing_disable()
