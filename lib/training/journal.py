"""What happened during training? A learning curve in JSON lines, written as it goes, and the same in TensorBoard.

<run>/curve.jsonl      {"step": 10, "seconds": 8.1, "loss": 0.71, ...} and, at validations, {"step": 500,
"validation": {...}} <run>/tensorboard/     scalars, figures and audio
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.errors import MissingDataError, OutputError, require
from lib.files import write_atomic
from lib.training.task import Validation

log = logging.getLogger(__name__)


class Journal:
    """The records of one run; on resume, what lies behind the checkpoint is cut off, for it will be written again."""

    def __init__(self, folder: Path, step: int):
        require("tensorboard", "tensorboard==2.21.0")
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "curve.jsonl"
        if self.path.exists():
            kept = [record for record in curve(folder) if record["step"] <= step]
            write_atomic(self.path, "".join(json.dumps(record) + "\n" for record in kept).encode())
        else:
            write_atomic(self.path, b"")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)

    def train(self, step: int, record: dict[str, float]) -> None:
        """Scalars of training (losses, learning rates, rates, memory, watts) up to `step`."""
        with self._writing():
            self._append({"step": step, "time": round(time.time()), **_rounded(record)})
            for name, value in record.items():
                self._board.add_scalar(f"train/{name}", value, step)

    def validation(self, step: int, validation: Validation) -> None:
        """Scalars, figures and audio of a validation."""
        with self._writing():
            self._append({"step": step, "time": round(time.time()), "validation": _rounded(validation.scalars)})
            for name, value in validation.scalars.items():
                self._board.add_scalar(f"validation/{name}", value, step)
            for name, figure in validation.figures.items():
                self._board.add_figure(name, figure, step)
            for name, (waveform, rate) in validation.audio.items():
                self._board.add_audio(name, waveform[None], step, rate)
            self._board.flush()

    def close(self) -> None:
        """Write what is buffered; it comes last, so it must not hide the error that ended the run."""
        try:
            self._board.close()
        except OSError as error:
            log.warning("TensorBoard's last events could not be written: %s", error)

    def _append(self, record: dict) -> None:
        with open(self.path, "a", encoding="utf-8") as file:  # one write: a kill leaves at most a cut last line
            file.write(json.dumps(record) + "\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """TensorBoard writes in a thread of its own, whose errors come up at a later call."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"cannot write the learning curve in {self.path.parent}: {error.strerror or error}; "
                "free some space and start again: training goes on from its last checkpoint"
            ) from error


def curve(folder: str | Path) -> list[dict]:
    """The learning curve of a run, in the order of its steps; a last line that a kill cut short is left out."""
    path = Path(folder) / "curve.jsonl"
    if not path.is_file():
        raise MissingDataError(f"no learning curve at {path}; is this the folder of a training run?")
    *lines, _ = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines]


def _rounded(record: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in record.items()}
