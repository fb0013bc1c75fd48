"""Joules from counter files, exactly; the estimate, labelled; and the memory and size of things of known size."""

import sys
import threading
import types

import numpy as np
import pytest

from lib import environment
from lib.errors import MissingPackageError, ParameterError, SpeechError
from lib.measure import energy, memory
from lib.measure.power_table import DEFAULT_WATTS_PER_CORE, RATED, watts_per_core


def zone(folder, number, name, energy_uj, span=1_000_000):
    path = folder / f"intel-rapl:{number}"
    path.mkdir()
    (path / "name").write_text(name + "\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{span}\n")
    return path / "energy_uj"


def test_rapl_counts_joules_and_wraps(tmp_path):
    counter = zone(tmp_path, "0", "package-0", 900_000)
    sensor = energy.RaplSensor(tmp_path)
    assert sensor.total_j() == 0
    counter.write_text("950000\n")
    assert sensor.total_j() == pytest.approx(0.05)
    counter.write_text("100000\n")  # past the range of 1,000,000 uJ
    assert sensor.total_j() == pytest.approx(0.2)
    counter.write_text("600000\n")
    assert sensor.total_j() == pytest.approx(0.7)
    counter.write_text("200000\n")  # wrapped again
    assert sensor.total_j() == pytest.approx(1.3)


def test_rapl_adds_packages_and_dram_but_nothing_twice(tmp_path):
    counters = [
        zone(tmp_path, "0", "package-0", 0),
        zone(tmp_path, "1", "package-1", 0),
        zone(tmp_path, "0:1", "dram", 0),
    ]
    counters += [zone(tmp_path, "0:0", "core", 0), zone(tmp_path, "2", "psys", 0)]
    sensor = energy.RaplSensor(tmp_path)
    for counter in counters:
        counter.write_text("500000")
    assert sensor.total_j() == pytest.approx(1.5)
    assert sensor.source == "RAPL dram+package-0+package-1, package"


def test_meter_on_rapl_subtracts_idle_and_says_measured(tmp_path):
    counter = zone(tmp_path, "0", "package-0", 0, span=10**9)
    with energy.EnergyMeter("cpu", idle_watts=0.0, powercap=tmp_path) as meter:
        counter.write_text("3000000")
    assert meter.energy.joules == pytest.approx(3) and meter.energy.kind == "measured"
    assert meter.energy.watts == pytest.approx(3 / meter.energy.seconds)
    assert meter.energy.source == "RAPL package-0, package, idle 0.0 W subtracted"
    with energy.EnergyMeter("cpu", idle_watts=1e9, powercap=tmp_path) as meter:
        counter.write_text("6000000")
    assert meter.energy.joules == 0


def test_meter_watches_the_idle_machine_first(tmp_path):
    counter = zone(tmp_path, "0", "package-0", 0, span=10**9)
    timer = threading.Timer(
        0.05, lambda: counter.write_text("400000")
    )  # 0.4 J while nothing is asked of the machine
    timer.start()
    with energy.EnergyMeter("cpu", idle_s=0.2, powercap=tmp_path) as meter:
        timer.join()
    assert meter.energy.idle_watts == pytest.approx(2, rel=0.2)


def test_above_idle():
    assert energy.above_idle(100, 20, 3) == 40
    assert energy.above_idle(50, 20, 3) == 0


def test_unreadable_counters_are_no_sensor(tmp_path):
    zone(tmp_path, "0", "package-0", 0).write_text("")  # what a refused read looks like to a parser
    assert energy.rapl_zones(tmp_path) == []
    with pytest.raises(SpeechError, match="chmod"):
        energy.RaplSensor(tmp_path)


def test_without_a_sensor_the_estimate_says_so(tmp_path):
    with energy.EnergyMeter("cpu", powercap=tmp_path) as meter:
        sum(i * i for i in range(300_000))
    found = meter.energy
    assert found.kind == "estimated" and found.idle_watts is None and "W per core" in found.source
    assert found.joules > 0 and found.watts == pytest.approx(found.joules / found.seconds)


def test_estimate_is_cpu_seconds_times_watts_per_core(monkeypatch):
    monkeypatch.setattr(environment, "cores", lambda: 4)
    found = energy.estimate(6.0, 3.0, "AMD EPYC 9654 96-Core Processor")
    assert found.joules == pytest.approx(6 * 360 / 96) and found.watts == pytest.approx(7.5)
    assert found.utilization_pct == pytest.approx(50)
    assert "rated 360 W over 96 cores" in found.source


def test_unknown_processors_take_the_median():
    watts, words = watts_per_core("Imaginary CPU @ 2.20GHz")
    assert (
        watts
        == DEFAULT_WATTS_PER_CORE
        == pytest.approx(np.median([w / c for w, c in RATED.values()]), abs=0.005)
    )
    assert "not in the table" in words
    assert watts_per_core("AMD EPYC 96540")[0] == DEFAULT_WATTS_PER_CORE  # not the 9654


class _Nvml(types.ModuleType):
    """NVML as a machine with a GPU would answer: 300 W, and an energy counter only where `counter` is given."""

    class NVMLError(Exception):
        pass

    def __init__(self, counter):
        super().__init__("pynvml")
        self.counter = counter
        self.nvmlInit = lambda: None
        self.nvmlDeviceGetHandleByIndex = lambda index: index
        self.nvmlDeviceGetName = lambda gpu: "Test GPU"
        self.nvmlDeviceGetPowerUsage = lambda gpu: 300_000
        self.nvmlDeviceGetUtilizationRates = lambda gpu: types.SimpleNamespace(gpu=80)

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu):
        if self.counter is None:
            raise self.NVMLError("Not Supported")
        return self.counter


def test_nvml_energy_counter(monkeypatch):
    nvml = _Nvml(1_000_000)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with energy.EnergyMeter("cuda", idle_watts=0.0) as meter:
        nvml.counter += 7_500  # mJ
    assert meter.energy.joules == pytest.approx(7.5) and meter.energy.kind == "measured"
    assert meter.energy.utilization_pct == 80
    assert meter.energy.source.startswith("NVML energy counter, Test GPU, board only")


def test_nvml_without_a_counter_adds_up_power(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", _Nvml(None))
    with energy.EnergyMeter("cuda", idle_watts=100.0) as meter:
        threading.Event().wait(0.2)
    assert meter.energy.watts == pytest.approx(200, rel=0.1)
    assert "power readings" in meter.energy.source


def test_energy_of_an_absent_gpu_is_a_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(MissingPackageError, match="pip install nvidia-ml-py"):
        energy.EnergyMeter("cuda").__enter__()
    with pytest.raises(ParameterError, match="'cpu' or 'cuda'"):
        energy.EnergyMeter("tpu")


def test_peak_is_at_least_what_is_held_now():
    assert memory.peak_rss_mb() > 0.95 * memory.rss_mb() > 10


def test_a_stretch_knows_nothing_of_a_peak_before_it():
    """Loading a network may take more than a step of it does: that is no memory of the step."""
    import numpy as np

    large = np.ones(300_000_000, np.uint8)
    del large
    stretch = memory.Stretch()
    stretch.begin()
    if stretch.begin_mb == stretch.before_mb:
        pytest.skip("this kernel's high-water mark cannot begin anew")
    small = np.ones(100_000_000, np.uint8)
    stretch.end()
    assert 95 < stretch.added_mb < 160 and small[-1] == 1
    assert stretch.peak_mb > stretch.begin_mb + 190  # of the whole process, the large array included


def test_where_the_mark_cannot_begin_anew_the_peak_before_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_MARK", tmp_path / "nowhere" / "mark")
    peaks = iter([500.0, 620.0])
    monkeypatch.setattr(memory, "peak_rss_mb", lambda: next(peaks))
    stretch = memory.Stretch()
    stretch.begin()
    stretch.end()
    assert (stretch.added_mb, stretch.peak_mb) == (120.0, 620.0)
