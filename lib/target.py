"""What is a target? A row of the table in `lib.targets`: what it needs, whether that is here, and why not, in words."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.files import cache_folder, content_key


@dataclass(frozen=True)
class Target:
    """A row of the table."""

    name: str  # "torch/cpu"
    kind: str = "measured"  # of the numbers it gives, as in the results contract
    modules: tuple[str, ...] = ()  # Python modules that must be importable
    packages: tuple[str, ...] = ()  # distributions whose versions decide what comes out
    install: str = ""  # how to get what it needs
    missing: Callable[[], str | None] = lambda: None  # which device is wanting on this machine, in words
    builds: bool = False  # whether its packages are of use without that device
    toolchain: tuple[str, ...] = ()  # what pip installs into a Python of its own: it does not stay beside ours
    alone: tuple[str, ...] = ()  # what it installs there afterwards, without the packages that it asks for
    lodges_with: str = ""  # the runtime whose Python it is, where the toolchain is another's
    pythons: tuple[str, ...] = ()  # versions of Python that there is a toolchain for; none: any
    megabytes: int = 0  # on disk, of that Python
    settings: Mapping[str, Any] = field(default_factory=dict)  # what its runtime is told of the device

    @property
    def runtime(self) -> str:
        """What computes: "torch", "onnxruntime"..."""
        return self.name.split("/", 1)[0]

    @property
    def device(self) -> str:
        """What it computes on: "cpu", "cuda"..."""
        return self.name.split("/", 1)[1]

    @property
    def cuda(self) -> bool:
        """Whether the work is done by an NVIDIA GPU."""
        return self.device == "cuda"

    @property
    def neural(self) -> bool:
        """Whether it is a neural processor, there or simulated: a device of any other name than "cpu" and "cuda"."""
        return self.device not in ("cpu", "cuda")

    @property
    def emulator(self) -> str:
        """Who answers for it where it is simulated: "vela", "qnn v73"; targets of one emulator get the same answers."""
        return " ".join(filter(None, (self.runtime, self.settings.get("emulator"))))

    @property
    def python(self) -> Path | None:
        """The Python of its toolchain, whether it is there or not; None for a target that computes in ours."""
        if not self.toolchain:
            return None
        key = content_key(*self.toolchain, *self.alone)[:8]
        return cache_folder("toolchains", f"{self.lodges_with or self.runtime}-{key}", "bin", "python")

    @property
    def unfinished(self) -> Path | None:
        """A note that lies there for as long as its toolchain is not whole (`lib.deploy.toolchains`)."""
        return self.python and self.python.parents[1].with_suffix(".unfinished")

    @property
    def installed(self) -> bool:
        """Whether its toolchain is there, and whole."""
        return bool(self.toolchain) and self.python.exists() and not self.unfinished.exists()

    def why_not(self) -> str | None:
        """Why it cannot run here, in words with the remedy; None where it can. A device that is not here comes before
        packages, which are of no use without it.
        """
        device, packages = self.missing(), self._lacking()
        wanting = [packages, device] if self.builds else [device, packages]
        return "; ".join(filter(None, wanting)) or None

    def _lacking(self) -> str | None:
        """Which packages are not here."""
        if self.toolchain and not self.installed:
            return self._not_installed()
        absent = [
            module
            for module in self.modules
            if module not in sys.modules and importlib.util.find_spec(module) is None
        ]
        return f"{self.name} needs {', '.join(absent)}: {self.install}" if absent else None

    def _not_installed(self) -> str:
        how = self.install or "./run_all.sh quick --only 06 --set npu=install"
        packages = " ".join((*self.toolchain, *self.alone))
        own = f"a Python{' ' + ' or '.join(self.pythons) if self.pythons else ''} of its own"
        before = f"; the last install: {self.unfinished.read_text()}" if self.unfinished.exists() else ""
        return f"{self.name} needs {packages} in {own} ({self.megabytes} MB): {how}{before}"

    def versions(self) -> dict[str, str]:
        """Versions of what computes; "" for what is not installed."""
        return versions(self.packages)


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Of installed distributions; "" for what is not installed."""
    return {package: _version(package) for package in packages}


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def no_cuda() -> str | None:
    """Why torch computes on no GPU here; without torch nobody knows of one, and it is torch that is asked for."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if torch.cuda.is_available():
        return None
    built = "this torch was built without CUDA" if torch.version.cuda is None else "no CUDA device"
    return f"{built}: take a machine with an NVIDIA GPU and torch's CUDA build"


def no_edge_tpu() -> str | None:
    """Why there is no Edge TPU here: its delegate is a library of the system, its compiler no package at all."""
    import ctypes.util

    if ctypes.util.find_library("edgetpu"):
        return None
    return "no libedgetpu: Google's compiler and delegate are in no package index; see coral.ai/software"


def no_neuron() -> str | None:
    """Why there is no Inferentia here."""
    if Path("/dev/neuron0").exists():
        return None
    return "no /dev/neuron0: take an inf2 instance of AWS with its Neuron image (the index holds stubs of its packages)"


def no_intel_npu() -> str | None:
    """Why OpenVINO finds no NPU here."""
    if any(Path("/dev/accel").glob("accel*")):
        return None
    return "no /dev/accel: take a processor with an Intel NPU (Core Ultra), its driver and its compiler"


def not_on(system: str) -> Callable[[], str | None]:
    """Why it runs on no other system than that."""
    return lambda: None if sys.platform == system else f"runs on {system} alone, this is {sys.platform}"
