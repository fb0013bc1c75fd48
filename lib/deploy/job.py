"""What is a runtime asked, and what does it answer? The contract between the study and every target.

Read in the Python of any toolchain, so nothing but NumPy is needed here.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Job:
    """Load the stage in `folder` for a target. precision: one of the runtime's; settings: of the target's line."""

    folder: str  # of `export.write`
    target: str  # "vela/ethos-u85-1024"
    precision: str = "fp32"
    threads: int = 2
    settings: Mapping[str, Any] = field(default_factory=dict)
    answers: bool = True  # whether its outputs are wanted; an emulator may take minutes for them
    toolchain: str = ""  # in short, of what runs it: what another one has made is not taken for its own

    @property
    def device(self) -> str:
        """What it computes on: "cpu", "sa8255"..."""
        return self.target.split("/", 1)[1]

    def form(self, name: str) -> Path:
        """The file of the stage in one of the forms of `export.FORMS`."""
        return Path(self.folder) / name

    def made(self, name: str) -> Path:
        """The file of something that a toolchain makes of the stage, for all targets and runs of that toolchain."""
        path = Path(self.folder, "made", self.toolchain or "here", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def work(self, *parts: str) -> Path:
        """A folder of its own for what it makes on the way."""
        own = f"{self.target}-{self.precision}".replace("/", "_")
        path = Path(self.folder, "work", own, *parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def inputs(self) -> Arrays:
        """What the stage is run on."""
        return read_arrays(Path(self.folder) / "inputs.npz")

    def timed(self) -> list[Arrays]:
        """All inputs that a clock sees, those of `inputs` first."""
        return [self.inputs(), *map(read_arrays, sorted(Path(self.folder).glob("inputs-*.npz")))]

    def calibration(self) -> list[Arrays]:
        """Other inputs of the same shapes, from which fixed scales may be found."""
        return [read_arrays(path) for path in sorted(Path(self.folder).glob("calibration-*.npz"))]

    def request(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Loaded:
    """A stage that is ready on a target.

    run: inputs -> outputs, on the host's arrays; figures: metric of `lib.metrics` -> value, what a compiler or
    simulator says itself; detail: what else is worth knowing, as JSON (operators that stay on the host by type, memory
    by kind, the model's own notes).
    """

    run: Callable[[Sequence[np.ndarray]], Arrays]
    figures: Mapping[str, float] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)


class CrashedError(RuntimeError):
    """A program of a toolchain fell over, or the system ended it: it has refused nothing."""


def ended(code: int) -> type[RuntimeError]:
    """What a program that ended with a code other than 0 has done: fallen, or said no. One that aborts itself says no,
    as compilers made of LLVM do of what they have no way for.

    >>> ended(-11).__name__, ended(-6).__name__, ended(1).__name__
    ('CrashedError', 'RuntimeError', 'RuntimeError')
    """
    fell = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL)
    return CrashedError if -code in fell else RuntimeError


def save_arrays(path: str | Path, arrays: Sequence[np.ndarray]) -> None:
    """In order, as `read_arrays` returns them."""
    with open(path, "wb") as file:
        np.savez(file, *arrays)


def read_arrays(path: str | Path) -> Arrays:
    """Of a file of `save_arrays`."""
    with np.load(path) as stored:
        return [stored[f"arr_{i}"] for i in range(len(stored.files))]
