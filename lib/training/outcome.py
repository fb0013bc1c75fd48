"""How did a training run end, how fast was it, and what did it need?"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from lib.files import write_atomic


@dataclass(frozen=True)
class Outcome:
    """reason: "steps", "patience", "minutes" or "signal"; checkpoint: the last one; best: the one with the
    lowest `watch`, or the last one where nothing was validated; losses: means of the last `log_every` steps;
    seconds: of training, over all calls; validation: the last scalars; rates: steps_per_s, frames_per_s (all
    processes), wait_pct (share of time spent waiting for data); peak_rss_mb, peak_gpu_mb (None without one);
    monitored: means of the monitor; threads: of each process on the CPU.
    """

    step: int
    reason: str
    checkpoint: Path
    best: Path
    seconds: float
    losses: dict[str, float]
    validation: dict[str, float]
    rates: dict[str, float]
    peak_rss_mb: float
    peak_gpu_mb: float | None
    processes: int
    threads: int
    monitored: dict[str, float] = field(default_factory=dict)

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
        )
        return dataclasses.replace(self, **{name: before[name] for name in names if name in before})

    @property
    def metrics(self) -> dict[str, float]:
        """The outcome under the names of the results contract; the loss is that of the update computed last."""
        losses = [value for name, value in self.losses.items() if name.startswith("loss/")]
        found = {
            "train_loss": losses[-1] if losses else None,
            "train_steps_per_s": self.rates.get("steps_per_s"),
            "train_frames_per_s": self.rates.get("frames_per_s"),
            "peak_rss_mb": self.peak_rss_mb,
            "peak_gpu_mb": self.peak_gpu_mb,
            "power_w": self.monitored.get("power_w"),
            "utilization_pct": self.monitored.get("utilization_pct"),
        }
        return {name: value for name, value in found.items() if value is not None}


def peak_memory() -> dict[str, float]:
    """Peak memory of this process (and of its GPU) so far, in 10^6 bytes."""
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    except ImportError:  # Windows
        peak = psutil.Process().memory_info().peak_wset
    gpu = {"peak_gpu_mb": torch.cuda.max_memory_allocated() / 1e6} if torch.cuda.is_available() else {}
    return {"peak_rss_mb": peak / 1e6, **gpu}
