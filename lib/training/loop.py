"""The training loop, on Hugging Face Accelerate: one process or many, fp32, bf16 or fp16, killed and resumed at will.

    outcome = train(task, recipe, folder)                                       in a notebook
    python -m lib.training params/study/recipes/hifigan.yaml --out runs/hifigan in a shell, or under `torchrun`

Called again on the same folder it goes on from the newest checkpoint, bit for bit as if it had never stopped.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import torch

from lib.errors import ParameterError, TrainingError, require
from lib.training import checkpoint as checkpoints
from lib.training import data
from lib.training.ema import Ema
from lib.training.journal import Journal, Speed
from lib.training.outcome import Outcome, peak_memory
from lib.training.recipe import Recipe
from lib.training.task import Batch, Task, Update

log = logging.getLogger(__name__)

STOPS = ("signal", "minutes", "patience")  # reasons to stop before the last step
Monitor = Callable[[], dict[str, float]]  # power_w, utilization_pct and the like, now; see `measure/energy.py`


def train(task: Task, recipe: Recipe, folder: str | Path, *, monitor: Monitor | None = None) -> Outcome:
    """Train until the recipe's steps, its patience or its minutes are used up, or SIGTERM comes; always ends
    with a checkpoint.

    Raises TrainingError when a loss is no longer a number or the folder's checkpoint belongs to another recipe,
    OutputError when a checkpoint cannot be written. The last good checkpoint survives each of them.
    """
    run = _Run(task, recipe, Path(folder), monitor)
    with run.prepared(), _sigterm() as asked:
        return run.go(asked)


class _Run:
    """The state of one call: what Accelerate prepared, where in the data it is, what it has counted."""

    def __init__(self, task: Task, recipe: Recipe, folder: Path, monitor: Monitor | None):
        self.task, self.recipe, self.settings, self.folder, self.monitor = (
            task,
            recipe,
            recipe.training,
            folder,
            monitor,
        )
        self.step, self.place = 0, data.Place()
        self.best, self.best_step, self.stale = (
            float("inf"),
            -1,
            0,
        )  # the best validation, its step, how many came since
        self.recent: dict[str, list[float]] = {}  # losses since the last record
        self.losses: dict[str, float] = {}  # their means at the last record
        self.validation: dict[str, float] = {}
        self.monitored: dict[str, list[float]] = {}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Seed, wrap the task's modules and optimizers, resume; unwrap at the end."""
        accelerate = require("accelerate", "accelerate==1.15.0")
        from accelerate.state import AcceleratorState

        # it remembers the precision of an earlier run in this process, and would refuse another
        AcceleratorState._reset_state()
        precision = {"fp32": "no"}.get(self.settings.precision, self.settings.precision)
        if precision == "fp16" and not torch.cuda.is_available():
            raise ParameterError("training.precision is fp16, which needs a GPU; use bf16 or fp32 on the CPU")
        # Unless it is told that there is no device, Accelerate takes each process of torchrun on a CPU for the
        # only one.
        self.accelerator = accelerate.Accelerator(
            mixed_precision=precision, cpu=not torch.accelerator.is_available()
        )
        accelerate.utils.set_seed(self.settings.seed, device_specific=True)  # each process has its own dropout
        self.main = self.accelerator.is_main_process
        task, self.saved = self.task, self.folder / "checkpoints"
        task.plain, bare = dict(task.modules), dict(task.optimizers)
        self.parameters = {
            name: [p for group in o.param_groups for p in group["params"]]
            for name, o in task.optimizers.items()
        }
        for module in task.plain.values():
            module.to(self.accelerator.device)
        averaged = {name: task.plain[name] for name in task.averaged}
        self.ema = Ema(averaged, self.settings.ema) if self.settings.ema and averaged else None
        task.modules = {
            name: self.accelerator.prepare(module)
            if any(p.requires_grad for p in module.parameters())
            else module
            for name, module in task.plain.items()
        }
        task.optimizers = {name: self.accelerator.prepare(optimizer) for name, optimizer in bare.items()}
        try:
            self._resume()
            yield
        finally:
            task.modules = {
                n: self.accelerator.unwrap_model(m, keep_fp32_wrapper=False) for n, m in task.modules.items()
            }
            task.plain, task.optimizers = dict(task.modules), bare
            self.accelerator.free_memory()

    def go(self, asked: threading.Event) -> Outcome:
        """The loop itself."""
        settings, accelerator = self.settings, self.accelerator
        sampler = data.Sampler(
            self.task.lengths,
            settings.batch_size,
            settings.seed,
            settings.max_frames,
            accelerator.process_index,
            accelerator.num_processes,
        )
        batches = data.stream(self.task, sampler, self.place, settings.loader_threads)
        journal = Journal(self.folder, self.step) if self.main else None
        begin, reason, first = time.monotonic(), "steps", self.step
        for module in self.task.plain.values():
            module.train()
        try:
            while self.step < settings.steps:
                self._one_step(batches)
                if self.step % settings.log_every == 0 or self.step == settings.steps:
                    record = self._record()
                    if journal:
                        journal.train(self.step, record)
                if settings.validate_every and (
                    self.step % settings.validate_every == 0 or self.step == settings.steps
                ):
                    self._validate(journal)
                late = settings.minutes and time.monotonic() - begin > 60 * settings.minutes
                flat = settings.patience and self.stale >= settings.patience
                stop = self._agreed(
                    "signal" if asked.is_set() else "minutes" if late else "patience" if flat else ""
                )
                if (
                    stop
                    or self.step % settings.checkpoint_every == 0
                    or self.step in (settings.steps, self.best_step)
                ):
                    self._save()
                if stop:
                    reason = stop
                    break
        finally:
            batches.close()
            if journal:
                journal.close()
        outcome = self._outcome(reason)
        outcome = outcome if self.step > first else outcome.remembered(self.folder)
        if self.main:
            outcome.save(self.folder)
        return outcome

    def _one_step(self, batches: Iterator[tuple[data.Place, Batch]]) -> None:
        """One optimizer step of `accumulate` forward passes, timed."""
        task, accelerator, settings = self.task, self.accelerator, self.settings
        start, waited, frames = time.perf_counter(), 0.0, 0
        for part in range(settings.accumulate):
            asking = time.perf_counter()
            place, batch = next(batches)
            waited += time.perf_counter() - asking
            last = part == settings.accumulate - 1
            frames += batch.frames
            for update in task.updates(batch.to(accelerator.device), self.step):
                self._follow(update, batch, last)
            self.place = place
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Detected call of `lr_scheduler.step", UserWarning
            )  # an optimizer may set in later
            for scheduler in task.schedulers.values():
                scheduler.step()
        if self.ema:
            self.ema.update()
        self.step += 1
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        self.speed.add(time.perf_counter() - start, waited, frames * accelerator.num_processes)

    def _follow(self, update: Update, batch: Batch, last: bool) -> None:
        """Backward for the update's own parameters; at the last part of a step, clip and step their optimizers."""
        loss = update.loss
        self._guard("loss", loss.detach(), update, batch)
        parameters = [p for name in update.optimizers for p in self.parameters[name]]
        with ExitStack() as stack:
            for module in (
                [] if last else self.task.modules.values()
            ):  # processes exchange gradients once per step
                stack.enter_context(self.accelerator.no_sync(module))
            self.accelerator.backward(loss / self.settings.accumulate, inputs=parameters)
        for name, value in {"loss/" + "+".join(update.optimizers): loss, **update.scalars}.items():
            self.recent.setdefault(name, []).append(float(value.detach()))
        if not last:
            return
        for name in update.optimizers:
            optimizer = self.task.optimizers[name]
            self.accelerator.unscale_gradients(optimizer)
            gradients = [p.grad for p in self.parameters[name] if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if (
                not self.accelerator.scaler
            ):  # with fp16 the scaler expects overflows, skips the step and lowers its scale
                self._guard("gradient", norm, update, batch)
            if self.settings.clip_norm:
                torch.nn.utils.clip_grads_with_norm_(self.parameters[name], self.settings.clip_norm, norm)
            self.recent.setdefault(f"norm/{name}", []).append(float(norm))
            optimizer.step()
            optimizer.zero_grad()

    def _guard(self, what: str, value: torch.Tensor, update: Update, batch: Batch) -> None:
        """Stop before a NaN or infinity reaches the weights, let alone a checkpoint."""
        if torch.isfinite(value).item():
            return
        kept = checkpoints.latest(self.saved)
        raise TrainingError(
            f"the {what} for {', '.join(update.optimizers)} is {value.item()} at step {self.step + 1}, on utterances "
            f"{', '.join(batch.ids)}: look at these clips, or lower the learning rate; "
            f"{f'{kept.name} is intact' if kept else 'there is no checkpoint yet'}"
        )

    def _validate(self, journal: Journal | None) -> None:
        """Judge in the main process without touching the random states; every process learns whether it got better."""
        score = torch.zeros((), device=self.accelerator.device, dtype=torch.float64)
        if self.main:
            states = checkpoints.random_states()
            for module in self.task.plain.values():
                module.eval()
            with torch.no_grad(), self.ema.applied() if self.ema else nullcontext():
                validation = self.task.validate(self.step)
            for module in self.task.plain.values():
                module.train()
            checkpoints.set_random_states(states)
            self.validation = dict(validation.scalars)
            journal.validation(self.step, validation)
            score += validation.scalars[self.task.watch]
        score = self.accelerator.reduce(score).item()
        self.stale = 0 if score < self.best else self.stale + 1
        if score < self.best:
            self.best, self.best_step = score, self.step

    def _agreed(self, reason: str) -> str:
        """The first reason to stop that any process has: they must all stop after the same step."""
        if self.accelerator.num_processes == 1:
            return reason
        flags = torch.tensor([float(reason == known) for known in STOPS], device=self.accelerator.device)
        return next((known for known, flag in zip(STOPS, self.accelerator.reduce(flags).tolist()) if flag), "")

    def _save(self) -> None:
        from accelerate.utils import gather_object

        randoms = [checkpoints.random_states()]
        if self.accelerator.num_processes > 1:
            randoms = gather_object(randoms)
        if self.main:
            task, scaler = self.task, self.accelerator.scaler
            weights = {name: module.state_dict() for name, module in task.plain.items()}
            if self.ema:
                weights |= {f"ema-{name}": state for name, state in self.ema.average.items()}
            state = {
                "optimizers": {name: optimizer.state_dict() for name, optimizer in task.optimizers.items()},
                "schedulers": {name: scheduler.state_dict() for name, scheduler in task.schedulers.items()},
                "scaler": scaler.state_dict() if scaler else None,
                "ema_updates": self.ema.updates if self.ema else 0,
                "place": (self.place.epoch, self.place.index),
                "random": randoms,
                "seconds": self.speed.seconds,
                "best": (self.best, self.best_step, self.stale),
            }
            checkpoints.save(
                self.saved,
                checkpoints.Checkpoint(self.step, weights, state),
                self.recipe,
                keep=self.settings.keep,
                also=frozenset({self.best_step}),
            )
        self.accelerator.wait_for_everyone()

    def _resume(self) -> None:
        """Take over the newest checkpoint of the folder, if there is one."""
        if self.main:
            checkpoints.clean(self.saved)
        newest, self.speed = checkpoints.latest(self.saved), Speed()
        if newest is None:
            return
        found, task = checkpoints.load(newest, self.recipe), self.task
        state = found.state
        try:
            for name, module in task.plain.items():
                module.load_state_dict(found.weights[name])
            for name, optimizer in task.optimizers.items():
                optimizer.load_state_dict(state["optimizers"][name])
        except (
            RuntimeError,
            KeyError,
            ValueError,
        ) as error:  # torch's own words for missing names and other shapes
            raise TrainingError(
                f"checkpoint {newest} does not fit the networks of {self.recipe.task} as they are now "
                f"({' '.join(str(error).split())}): train in another folder"
            ) from error
        for name, scheduler in task.schedulers.items():
            scheduler.load_state_dict(state["schedulers"][name])
        if state["scaler"] and self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.load({name: found.weights[f"ema-{name}"] for name in task.averaged}, state["ema_updates"])
        rank = self.accelerator.process_index
        if len(state["random"]) == self.accelerator.num_processes:
            checkpoints.set_random_states(state["random"][rank])
        else:
            log.warning(
                "%s was written by %d processes, now there are %d: training goes on, but not bit for bit",
                newest,
                len(state["random"]),
                self.accelerator.num_processes,
            )
        self.step, self.place, self.speed = (found.step, data.Place(*state["place"]), Speed(state["seconds"]))
        self.best, self.best_step, self.stale = state["best"]
        log.info("training goes on from %s", newest)

    def _record(self) -> dict[str, float]:
        self.losses, self.recent = (
            {name: sum(values) / len(values) for name, values in self.recent.items()},
            {},
        )
        rates = {f"lr/{name}": o.param_groups[0]["lr"] for name, o in self.task.optimizers.items()}
        now = self.monitor() if self.monitor else {}
        for name, value in now.items():
            self.monitored.setdefault(name, []).append(value)
        return {
            **self.losses,
            **rates,
            **now,
            **self.speed.rates(),
            "seconds": self.speed.seconds,
            **peak_memory(),
        }

    def _outcome(self, reason: str) -> Outcome:
        newest, memory = checkpoints.latest(self.saved), peak_memory()
        best = self.saved / f"step-{self.best_step:08d}"
        return Outcome(
            step=self.step,
            reason=reason,
            checkpoint=newest,
            best=best if best.exists() else newest,
            seconds=self.speed.seconds,
            losses=dict(self.losses),
            validation=dict(self.validation),
            rates=self.speed.rates(),
            peak_rss_mb=memory["peak_rss_mb"],
            peak_gpu_mb=memory.get("peak_gpu_mb"),
            processes=self.accelerator.num_processes,
            threads=torch.get_num_threads(),
            monitored={name: sum(values) / len(values) for name, values in self.monitored.items()},
        )


@contextmanager
def _sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, so that a run asked to end finishes its step and saves."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
