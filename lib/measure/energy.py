"""How much energy does it take? A counter in the hardware where one can be read, and otherwise an estimate that
says so.

| device | sensor | kind | counts |
|---|---|---|---|
| cuda | NVML's energy counter, or its power readings added up | measured | the GPU board, above idle |
| cpu | RAPL, /sys/class/powercap | measured | processor packages (and DRAM where it has a counter), above idle |
| cpu | CPU seconds of this process x watts per core | estimated | the cores' share of rated power; no memory or mains |

What each counts is its boundary, and stands in its source: joules of two boundaries are not laid beside each other, nor
measured ones beside estimates. Whoever shows such a number shows its `words` with it, and ranks by `sort`.

Virtual machines have no powercap folder, and since 2020 the counters are root's on most Linux systems (CVE-2020-8694):
`sudo chmod -R a+r /sys/class/powercap/intel-rapl*` opens them until the next boot.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lib import environment
from lib.errors import MissingPackageError, ParameterError, SpeechError, require
from lib.measure.power_table import watts_per_core

POWERCAP = Path("/sys/class/powercap")
BOARD, PACKAGE, SHARE = "board", "package", "process share"  # boundaries: what is counted
OFF_BY = 2.0  # an estimate from rated power, either way: what a core draws varies that much with what it does
FORMULA = "CPU seconds times the rated watts of a core"
METRICS = ("energy_j_per_audio_s", "power_w", "energy_usd_per_audio_h")  # whose numbers count something


@dataclass(frozen=True)
class Energy:
    """joules above idle (an estimate has no idle part); watts: joules over seconds; kind, source: as in lib.results."""

    joules: float
    seconds: float
    watts: float
    utilization_pct: float  # of the GPU, or of the cores this process may use
    kind: str
    source: str
    idle_watts: float | None


class Sensor(Protocol):
    """A running total. total_j: joules since it was opened; utilization_pct: since then, None where it cannot say."""

    source: str
    period_s: float  # how often it must be read to miss nothing

    def total_j(self) -> float: ...
    def utilization_pct(self) -> float | None: ...


class EnergyMeter:
    """`with EnergyMeter("cpu") as meter: work()`, then meter.energy.

    device: "cpu" or "cuda"; it is the device that does the work, for a GPU's counter says nothing of work on
    the processor. idle_s: how long to watch the idle machine first; idle_watts: what an earlier meter found, to
    spare that time. Only this process should be busy: a counter counts everybody.
    """

    energy: Energy

    def __init__(
        self,
        device: str = "cpu",
        *,
        idle_s: float = 2.0,
        idle_watts: float | None = None,
        powercap: str | Path = POWERCAP,
        gpu: int = 0,
    ):
        if device not in ("cpu", "cuda"):
            raise ParameterError(f"energy is metered on 'cpu' or 'cuda', not on {device!r}")
        self._open: Callable[[], Sensor] | None = None
        if device == "cuda":
            self._open = lambda: NvmlSensor(gpu)
        elif rapl_zones(powercap):
            self._open = lambda: RaplSensor(powercap)
        self._idle_s, self._idle_watts = idle_s, idle_watts

    def __enter__(self) -> "EnergyMeter":
        self._watch = None
        if self._open is not None:
            if self._idle_watts is None:
                with _Watch(self._open()) as idle:
                    time.sleep(self._idle_s)
                self._idle_watts = idle.joules / idle.seconds
            self._watch = _Watch(self._open()).__enter__()
        self._cpu_s, self._begin = _cpu_seconds(), time.perf_counter()
        return self

    def __exit__(self, *exception) -> None:
        seconds, cpu_s = time.perf_counter() - self._begin, _cpu_seconds() - self._cpu_s
        busy_pct = 100 * cpu_s / (seconds * environment.cores())
        if self._watch is None:
            self.energy = estimate(cpu_s, seconds, environment.processor())
            return
        self._watch.__exit__()
        sensor, seconds = self._watch.sensor, self._watch.seconds
        joules = above_idle(self._watch.joules, self._idle_watts, seconds)
        utilization = sensor.utilization_pct()
        self.energy = Energy(
            joules,
            seconds,
            joules / seconds,
            busy_pct if utilization is None else utilization,
            "measured",
            f"{sensor.source}, idle {self._idle_watts:.1f} W subtracted",
            self._idle_watts,
        )


def above_idle(joules: float, idle_watts: float, seconds: float) -> float:
    """What the work took beyond what the idle machine would have taken in that time; never negative (idle power
    wavers).
    """
    return max(0.0, joules - idle_watts * seconds)


def estimate(cpu_s: float, seconds: float, processor: str) -> Energy:
    """Energy of `cpu_s` core seconds spent within `seconds`, from the rated power of the processor. Labelled estimated.

    A core is taken to draw its share of the rated power when busy and nothing when not; of two hardware threads
    of one core each is counted as a core, so where threads are shared the truth is lower.
    """
    watts, known = watts_per_core(processor)
    joules = cpu_s * watts
    return Energy(
        joules,
        seconds,
        joules / seconds,
        100 * cpu_s / (seconds * environment.cores()),
        "estimated",
        f"CPU seconds x {watts:.2f} W per core ({known}), {SHARE}, off by a factor of {OFF_BY:g} either way",
        None,
    )


def boundary(source: str) -> str:
    """What the joules of a row count, going by its source, also of rows that are older than the name; "" where that
    says nothing.

    >>> boundary("RAPL package-0, idle 9.1 W subtracted"), boundary("CPU seconds x 5.62 W per core (median)")
    ('package', 'process share')
    """
    for begins, name in (("NVML", BOARD), ("RAPL", PACKAGE), ("CPU seconds", SHARE)):
        if source.startswith(begins):
            return name
    return ""


def words(row: Any) -> tuple[str, ...]:
    """What stands beside a number of energy or power, behind its kind: what it counts, and of an estimate how far off
    it may be, which its interval over rounds does not know; nothing beside other metrics. row: with metric, kind,
    source.
    """
    if row.metric not in METRICS:
        return ()
    counted = boundary(row.source)
    doubt = f"off by a factor of {OFF_BY:g} either way" if row.kind == "estimated" and counted == SHARE else ""
    return tuple(filter(None, (counted, doubt)))


def sort(row: Any) -> tuple[str, str]:
    """(kind, boundary): numbers of energy or power with the same may be ranked with each other."""
    return row.kind, boundary(row.source)


def utilization_source(kind: str, source: str) -> str:
    """Where the share of busy time beside joules of that kind and source comes from: it is counted in any case."""
    return "CPU seconds over seconds x cores" if kind == "estimated" else source


class RaplSensor:
    """The energy counters of Linux's powercap folder: every package, and DRAM where it is counted apart."""

    period_s = 30.0  # a counter of 2^32 x 61 uJ wraps after 4 minutes at 1 kW

    def __init__(self, powercap: str | Path = POWERCAP):
        self._zones = rapl_zones(powercap)
        if not self._zones:
            raise SpeechError(
                f"no readable energy counter under {powercap}: on a real machine try "
                "`sudo chmod -R a+r /sys/class/powercap/intel-rapl*`"
            )
        zones = sorted((zone / "name").read_text().strip() for zone in self._zones)
        self.source = f"RAPL {'+'.join(zones)}, {PACKAGE}"
        self._range = [int((zone / "max_energy_range_uj").read_text()) for zone in self._zones]
        self._last = self._read()
        self._total_uj = 0

    def _read(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self._zones]

    def total_j(self) -> float:
        now = self._read()
        for value, last, span in zip(now, self._last, self._range):
            self._total_uj += (
                value - last + (span if value < last else 0)
            )  # past its range it starts again at 0
        self._last = now
        return self._total_uj / 1e6

    def utilization_pct(self) -> float | None:
        return None


def rapl_zones(powercap: str | Path = POWERCAP) -> list[Path]:
    """Folders of the readable counters that do not overlap: package-*, and their dram; not psys, core, uncore
    (parts or sums).
    """
    zones = []
    for zone in sorted(Path(powercap).glob("intel-rapl:*")):
        try:
            name = (zone / "name").read_text().strip()
            int((zone / "energy_uj").read_text()), int((zone / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            continue
        if name.startswith("package") or name == "dram":
            zones.append(zone)
    return zones


class NvmlSensor:
    """An NVIDIA GPU's energy counter (since Volta), or its power readings added up, and its mean utilisation."""

    period_s = 0.05  # the driver itself averages power and utilisation over some tens of milliseconds

    def __init__(self, gpu: int = 0):
        self._nvml = nvml = require("pynvml", "nvidia-ml-py")
        try:
            nvml.nvmlInit()
            self._gpu = nvml.nvmlDeviceGetHandleByIndex(gpu)
            name = nvml.nvmlDeviceGetName(self._gpu)
        except nvml.NVMLError as error:
            raise MissingPackageError(
                f"NVML finds no GPU {gpu} ({error}): meter the device 'cpu', or install the NVIDIA driver"
            ) from error
        try:
            self._first_mj = nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu)
            how = "energy counter"
        except nvml.NVMLError:
            self._first_mj, how = None, "power readings added up"
        self.source = f"NVML {how}, {name if isinstance(name, str) else name.decode()}, board only"
        self._summed_j, self._loads = 0.0, []
        self._last = (time.perf_counter(), self._watts())

    def _watts(self) -> float:
        return self._nvml.nvmlDeviceGetPowerUsage(self._gpu) / 1000

    def total_j(self) -> float:
        self._loads.append(self._nvml.nvmlDeviceGetUtilizationRates(self._gpu).gpu)
        if self._first_mj is not None:
            return (self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu) - self._first_mj) / 1000
        now = (time.perf_counter(), self._watts())
        self._summed_j += (now[0] - self._last[0]) * (now[1] + self._last[1]) / 2
        self._last = now
        return self._summed_j

    def utilization_pct(self) -> float | None:
        return sum(self._loads) / len(self._loads) if self._loads else None


class _Watch:
    """Reads a sensor on entry, on exit, and every `period_s` between, so that no wrap and no power reading is
    missed.
    """

    def __init__(self, sensor: Sensor):
        self.sensor, self.joules, self.seconds = sensor, 0.0, 0.0
        self._stop = threading.Event()

    def __enter__(self) -> "_Watch":
        self._first_j, self._begin = self.sensor.total_j(), time.perf_counter()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._stop.set()
        self._thread.join()
        self.joules, self.seconds = (self.sensor.total_j() - self._first_j, time.perf_counter() - self._begin)

    def _poll(self) -> None:
        while not self._stop.wait(self.sensor.period_s):
            self.sensor.total_j()


def _cpu_seconds() -> float:
    """CPU seconds of this process, all threads, and of its children that have ended. Its own by the scheduler's clock:
    that of `os.times` moves by ticks, and may stand still over work of some ten milliseconds.
    """
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system
