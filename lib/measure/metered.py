"""What power and memory does another process of ours take while it does nothing but compute? Of a GPU by NVML, which
counts the board whoever uses it; of a processor by RAPL, or estimated from the CPU seconds the process says it took.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from lib import environment
from lib.errors import SpeechError, require
from lib.measure import energy
from lib.measure.energy import Energy


@dataclass(frozen=True)
class Metered:
    """energy: above idle, over all runs; gpu_mb: what the board held more than before the process, None for a
    processor.
    """

    energy: Energy
    runs: int
    gpu_mb: float | None = None

    @property
    def joules_a_run(self) -> float:
        """Of one run."""
        return self.energy.joules / self.runs


def meter(busy: Callable[[float], dict], device: str, window_s: float, *, before_mb: float = 0.0) -> Metered:
    """Let a process compute for window_s beside the sensor of its device ("cpu", "cuda").

    busy: seconds -> {"runs", "seconds", "cpu_s"}, when they are over; before_mb: `board_mb` before there was the
    process. SpeechError where the sensor cannot be read.
    """
    if device == "cpu" and not energy.rapl_zones():
        did = busy(window_s)
        return Metered(energy.estimate(did["cpu_s"], did["seconds"], environment.processor()), did["runs"])
    with energy.EnergyMeter(device) as metered:
        did = busy(window_s)
    spent = metered.energy
    if device == "cuda":
        return Metered(spent, did["runs"], board_mb() - before_mb)
    share = 100 * did["cpu_s"] / (did["seconds"] * environment.cores())  # the meter knows this process alone
    return Metered(dataclasses.replace(spent, utilization_pct=share), did["runs"])


def board_mb(gpu: int = 0) -> float:
    """Memory of a GPU that is taken, by whomever, in 10^6 bytes."""
    nvml = require("pynvml", "nvidia-ml-py")
    try:
        nvml.nvmlInit()
        return nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(gpu)).used / 1e6
    except nvml.NVMLError as error:
        raise SpeechError(f"NVML cannot say how much memory GPU {gpu} holds: {error}") from error
