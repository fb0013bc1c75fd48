"""What becomes of a piece of a study of hours that breaks? A `not_run` row and a line of the log say why, the rest goes
on. Whatever the error is, it is for whoever catches `Exception`: an interrupt is none, and ends the study all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lib.errors import SpeechError

if TYPE_CHECKING:
    from lib.results import Run

log = logging.getLogger(__name__)

Value = TypeVar("Value")


def told(run: Run, names: tuple[str, str, str], error: Exception, metric: str = "rtf") -> str:
    """Why a piece broke, in the words of its row. names: system, variant, target; metric: of the row."""
    ours = isinstance(error, (ImportError, SpeechError)) and str(error)
    why = str(error) if ours else f"{type(error).__name__}: {error}"
    log.warning("%s %s on %s: not run: %s", *names, why, exc_info=None if ours else error)
    run.not_run(*names, metric, why)
    return why


def tried(run: Run, names: tuple[str, str, str], step: Callable[[], Value]) -> Value | None:
    """step(), or None and the row that says why."""
    try:
        return step()
    except Exception as error:
        told(run, names, error)
        return None
