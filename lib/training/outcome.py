"""How did a training run end, how fast was it, and what did it need?"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from lib import environment
from lib.errors import StoppedError
from lib.files import write_atomic

# What `Outcome.metrics` holds -> where the number comes from, for the rows of results.
SOURCES = {
    "train_loss": "mean of the training loss over the last record's steps",
    "train_steps_per_s": "the training loop's own clock",
    "train_frames_per_s": "the training loop's own clock",
    "peak_rss_mb": "the kernel's high-water mark of the process (VmHWM)",
    "peak_gpu_mb": "torch.cuda.max_memory_reserved: without the CUDA context",
    "power_w": "mean of the monitor's readings at each record",
    "utilization_pct": "mean of the monitor's readings at each record",
}


@dataclass(frozen=True)
class Outcome:
    """What one call of `loop.train` leaves behind."""

    step: int  # the last one made
    reason: str  # "steps", or what ended it before: one of `loop.STOPS`
    checkpoint: Path  # the newest
    best: Path  # that of the lowest `watch`, or the newest where nothing was validated
    seconds: float  # of training, over all calls
    losses: dict[str, float]  # means over the steps of the last record
    validation: dict[str, float]  # the last one's scalars
    rates: dict[str, float]  # see `speed.Speed.rates`; frames are those of all processes
    peak_rss_mb: float
    peak_gpu_mb: float | None  # None without a GPU
    processes: int
    threads: int  # of each process, on the CPU
    monitored: dict[str, float] = field(default_factory=dict)  # means of what the monitor said
    target: str = "torch/cpu"  # where the networks learnt, as rows of results name it
    settings: dict[str, object] = field(
        default_factory=dict
    )  # what decides the arithmetic there: precision, tf32

    def check_whole(self, steps: int) -> None:
        """Raise StoppedError where a signal ended the training, or its minutes did before the last of `steps`: what
        lies in its checkpoint is no result yet.
        """
        if self.step < steps and self.reason in ("signal", "minutes"):
            raise StoppedError(
                f"stopped at step {self.step} of {steps}: asked for again, the training goes on there"
            )

    def save(self, folder: Path) -> None:
        """Write the outcome to <folder>/outcome.json, for whoever started the run in another process."""
        record = {**dataclasses.asdict(self), "metrics": self.metrics}
        write_atomic(folder / "outcome.json", json.dumps(record, indent=1, default=str).encode())

    def remembered(self, folder: Path) -> "Outcome":
        """For a call that found the training finished and made no step: what <folder>/outcome.json holds of the
        call that made the last.
        """
        path = folder / "outcome.json"
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if before.get("step") != self.step:
            return self
        names = (
            "losses",
            "validation",
            "rates",
            "peak_rss_mb",
            "peak_gpu_mb",
            "processes",
            "threads",
            "monitored",
            "target",
            "settings",
        )
        return dataclasses.replace(self, **{name: before[name] for name in names if name in before})

    @property
    def metrics(self) -> dict[str, float]:
        """The outcome under the names of the results contract; the loss is that of the update computed last."""
        losses = [value for name, value in self.losses.items() if name.startswith("loss/")]
        values = {
            "train_loss": losses[-1] if losses else None,
            "train_steps_per_s": self.rates.get("steps_per_s"),
            "train_frames_per_s": self.rates.get("frames_per_s"),
            "peak_rss_mb": self.peak_rss_mb,
            "peak_gpu_mb": self.peak_gpu_mb,
            "power_w": self.monitored.get("power_w"),
            "utilization_pct": self.monitored.get("utilization_pct"),
        }
        return {name: value for name, value in values.items() if value is not None}


def peak_memory() -> dict[str, float]:
    """Peak memory of this process (and of its GPU, where it uses one) so far, in 10^6 bytes."""
    gpu = environment.peak_gpu_mb()
    return {"peak_rss_mb": environment.peak_rss_mb(), **({} if gpu is None else {"peak_gpu_mb": gpu})}
