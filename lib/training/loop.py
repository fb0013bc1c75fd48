"""The training loop, on Hugging Face Accelerate: one process or many, fp32, bf16 or fp16, killed and resumed at will.

    outcome = train(task, recipe, folder)                                       in a notebook
    python -m lib.training params/study/recipes/hifigan.yaml --out runs/hifigan in a shell, or under `torchrun`

Called again on the same folder it goes on from the newest checkpoint, bit for bit as if it had never stopped.

On a GPU a step waits for nothing: losses, norms and times are asked for every `log_every` steps, at validations and
at checkpoints. A NaN is therefore noticed up to `log_every` steps late there, but before anything of it is saved.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import torch

from lib import targets
from lib.training import checkpoint as checkpoints
from lib.training import data, hardware, state, stopping
from lib.training.ema import Ema
from lib.training.journal import Journal
from lib.training.outcome import Outcome, peak_memory
from lib.training.recipe import Recipe
from lib.training.scalars import Guard, Scalars, Suspect
from lib.training.speed import CudaTimer, HostTimer, Speed
from lib.training.task import Batch, Task, Update

STOPS = ("signal", "minutes", "target", "patience")  # reasons to stop before the last step
Monitor = Callable[[], dict[str, float]]  # power_w, utilization_pct and the like, now; see `measure/energy.py`


def train(task: Task, recipe: Recipe, folder: str | Path, *, monitor: Monitor | None = None) -> Outcome:
    """Train until the recipe's steps, its patience or its minutes are used up, its target is reached, or SIGTERM
    comes; always ends with a checkpoint.

    Raises TrainingError when a loss is no longer a number or the folder's checkpoint belongs to another recipe,
    OutputError when a checkpoint cannot be written. The last good checkpoint survives each of them.
    """
    run = Run(task, recipe, Path(folder), monitor)
    with run.prepared(), stopping.asked_by_sigterm() as asked:
        return run.go(asked)


class Run:
    """The state of one call: what Accelerate prepared, where in the data it is, what it has counted."""

    def __init__(self, task: Task, recipe: Recipe, folder: Path, monitor: Monitor | None):
        self.task, self.recipe, self.settings = task, recipe, recipe.training
        self.folder, self.saved, self.monitor = folder, folder / "checkpoints", monitor
        self.step, self.place = 0, data.Place()
        # The best validation, its step, and how many came since.
        self.best, self.best_step, self.stale = float("inf"), -1, 0
        self.scalars = Scalars()  # losses and norms since the last record
        self.losses: dict[str, float] = {}  # their means at the last record
        self.validation: dict[str, float] = {}
        self.monitored: dict[str, list[float]] = {}

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Seed, wrap the task's modules and optimizers, resume; unwrap at the end."""
        task, self.accelerator = self.task, hardware.accelerator(self.settings.precision, self.settings.seed)
        device = self.device = self.accelerator.device
        self.main = self.accelerator.is_main_process
        self.speed = Speed(timer=CudaTimer() if device.type == "cuda" else HostTimer())
        self.guard = Guard(self._kept, at_once=device.type != "cuda")
        task.plain, bare = dict(task.modules), dict(task.optimizers)
        self.parameters = {
            name: [p for group in o.param_groups for p in group["params"]]
            for name, o in task.optimizers.items()
        }
        for module in task.plain.values():
            module.to(device)
        for optimizer in bare.values():
            hardware.fuse(optimizer.param_groups, device)
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
            with hardware.tensor_cores(device, self.settings.tf32):
                state.resume(self)
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
        batches = data.stream(
            self.task, sampler, self.place, settings.loader_threads, pin=self.device.type == "cuda"
        )
        journal = Journal(self.folder, self.step) if self.main else None
        started, first = time.monotonic(), self.step
        reason = self._stop(
            False, False, True
        )  # a run that had reached its target, or lost its patience, stays
        for module in self.task.plain.values():
            module.train()
        self.speed.begin()
        try:
            while self.step < settings.steps and not reason:
                self._one_step(batches)
                last = self.step == settings.steps
                recorded = last or self.step % settings.log_every == 0
                validated = settings.validate_every and (last or self.step % settings.validate_every == 0)
                if recorded:
                    record = self._record()
                    if journal:
                        journal.train(self.step, record)
                    self.speed.lap("bookkeeping")  # of the next step
                if validated:
                    self._validate(journal)
                    self.speed.begin()
                late = settings.minutes and time.monotonic() - started > 60 * settings.minutes
                reason = self._stop(asked.is_set(), late, recorded or validated)
                if reason or last or self.step % settings.checkpoint_every == 0 or self.step == self.best_step:
                    self.guard.look()
                    state.save(self)
                    self.speed.begin()
        finally:
            batches.close()
            if journal:
                journal.close()
        outcome = self._outcome(reason or "steps")
        outcome = outcome if self.step > first else outcome.remembered(self.folder)
        if self.main:
            outcome.save(self.folder)
        return outcome

    def _one_step(self, batches: Iterator[tuple[data.Place, Batch]]) -> None:
        """One optimizer step of `accumulate` forward passes, each part of it timed."""
        task, settings, frames = self.task, self.settings, 0
        for part in range(settings.accumulate):
            place, batch = next(batches)
            frames += batch.frames
            there = batch.to(self.device)
            self.speed.lap("wait")
            for update in task.updates(there, self.step):
                self.speed.lap("forward")
                self._follow(update, batch.ids, part == settings.accumulate - 1)
            self.speed.lap("forward")  # what a task computes behind its last update
            self.place = place
        with warnings.catch_warnings():
            # An optimizer may set in later than its schedule.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            for scheduler in task.schedulers.values():
                scheduler.step()
        if self.ema:
            self.ema.update()
        self.step += 1
        self.speed.lap("optimizer")
        self.speed.step(frames * self.accelerator.num_processes)

    def _follow(self, update: Update, ids: tuple[str, ...], last: bool) -> None:
        """Backward for the update's own parameters; at the last part of a step, clip and step their optimizers."""
        loss = update.loss
        self.guard.add(Suspect("loss", loss.detach(), update.optimizers, self.step + 1, ids))
        for name, value in {"loss/" + "+".join(update.optimizers): loss, **update.scalars}.items():
            self.scalars.add(name, value)
        parameters = [p for name in update.optimizers for p in self.parameters[name]]
        self.speed.lap("bookkeeping")
        with ExitStack() as stack:
            for module in (
                [] if last else self.task.modules.values()
            ):  # processes exchange gradients once per step
                stack.enter_context(self.accelerator.no_sync(module))
            self.accelerator.backward(loss / self.settings.accumulate, inputs=parameters)
        self.speed.lap("backward")
        if not last:
            return
        for name in update.optimizers:
            optimizer = self.task.optimizers[name]
            self.accelerator.unscale_gradients(optimizer)
            gradients = [p.grad for p in self.parameters[name] if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            # With fp16 the scaler expects overflows, skips the step and lowers its scale.
            if not self.accelerator.scaler:
                self.guard.add(Suspect("gradient", norm, update.optimizers, self.step + 1, ids))
            if self.settings.clip_norm:
                torch.nn.utils.clip_grads_with_norm_(self.parameters[name], self.settings.clip_norm, norm)
            self.scalars.add(f"norm/{name}", norm)
            optimizer.step()
            optimizer.zero_grad()
        self.speed.lap("optimizer")

    def _kept(self) -> str:
        newest = checkpoints.latest(self.saved)
        return f"{newest.name} is intact" if newest else "there is no checkpoint yet"

    def _validate(self, journal: Journal | None) -> None:
        """Judge in the main process without touching the random states; every process learns whether it got better."""
        self.guard.look()
        score = torch.zeros((), device=self.device, dtype=torch.float64)
        if self.main:
            randoms = checkpoints.random_states()
            for module in self.task.plain.values():
                module.eval()
            with torch.no_grad(), self.ema.applied(self.task.plain) if self.ema else nullcontext():
                validation = self.task.validate(self.step)
            for module in self.task.plain.values():
                module.train()
            checkpoints.set_random_states(randoms)
            self.validation = dict(validation.scalars)
            journal.validation(self.step, validation)
            score += validation.scalars[self.task.watch]
        score = self.accelerator.reduce(score).item()
        self.stale = 0 if score < self.best else self.stale + 1
        if score < self.best:
            self.best, self.best_step = score, self.step

    def _stop(self, signalled: bool, late: bool, looked: bool) -> str:
        """The first reason to stop that any process has, "" for none: they must all stop after the same step.

        looked: this step was recorded or validated. Several processes agree only then, for to agree is to wait.
        """
        settings = self.settings
        reached = settings.target and self.best <= settings.target
        flat = settings.patience and self.stale >= settings.patience
        reasons = dict(zip(STOPS, map(bool, (signalled, late, reached, flat))))
        if self.accelerator.num_processes > 1:
            if not looked:
                return ""
            flags = torch.tensor([float(reason) for reason in reasons.values()], device=self.device)
            reasons = dict(zip(STOPS, self.accelerator.reduce(flags).tolist()))
        return next((name for name, reason in reasons.items() if reason), "")

    def _record(self) -> dict[str, float]:
        self.guard.look()
        self.losses = self.scalars.means()
        learning_rates = {f"lr/{name}": o.param_groups[0]["lr"] for name, o in self.task.optimizers.items()}
        now = self.monitor() if self.monitor else {}
        for name, value in now.items():
            self.monitored.setdefault(name, []).append(value)
        return {
            **self.losses,
            **learning_rates,
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
            target=targets.label(f"torch/{self.device.type}"),
            settings={
                "precision": self.settings.precision,
                **({"tf32": self.settings.tf32} if self.device.type == "cuda" else {}),
            },
        )
