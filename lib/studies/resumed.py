"""How does a study of hours go on where it stopped? Clips, transcripts and scores are found in the cache by what made
them; variants lie where they were saved; what a clock said is kept here, beside the variants, until the code changes.

The code is known by its bytes (`environment.code`), not by its commit: two trees with changes of their own share one.
It is that of the run's begin: what came out after somebody changed it is of both, and is not kept.
A time that was measured yesterday stands beside one of today only within one bench: so a bench is kept whole, with all
its candidates, or not at all. It keeps when, by which commit and where it was measured; its rows say so ("benched").
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from lib import REPOSITORY, environment
from lib.files import content_key, write_atomic
from lib.measure.benched import Benched

log = logging.getLogger(__name__)

Value = TypeVar("Value")


def kept(
    folder: str | Path | None,
    key: Callable[[], object],
    make: Callable[[], Value],
    *,
    label: str = "",
    whole: Callable[[Value], bool] = lambda value: True,
) -> Value:
    """What `make` returns; with a folder, what an earlier run of the same code on the same machine put there under the
    same key. Nothing is put there where the code has changed since the run began.

    whole: whether a value is worth keeping; label: of the log line that says that nothing was made anew.
    """
    if folder is None:
        return make()
    name = content_key(key(), environment.code(), environment.host())
    path = Path(folder) / "kept" / f"{name}.pickle"  # written and read by this module alone
    if path.is_file():
        try:
            value = pickle.loads(path.read_bytes())
            if not isinstance(value, _Kept):
                raise ValueError("it does not say when it was made")
        except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, ImportError) as error:
            log.warning("%s cannot be read (%s): made anew", path, error)
        else:
            log.info("%s: as an earlier run left it, on %s", label or path.name, value.when["time"])
            return _dated(value)
    value = make()
    if environment.code_changed():
        log.warning(
            "%s is not kept for resuming: the code under %s has changed since this run began, so it is of neither",
            label or path.name,
            REPOSITORY / "lib",
        )
    elif whole(value):
        when = {"time": now(), "commit": environment.commit(), "host": environment.host()}
        write_atomic(path, pickle.dumps(_Kept(value, when)))
    return value


def now() -> str:
    """The time as rows have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class _Kept:
    """A value, and the time, commit and host when it was made."""

    value: Any
    when: dict[str, str]


def _dated(kept: _Kept) -> Any:
    """A kept value. Its rows are written by the run that takes it: of a bench they say when they were measured."""
    if not isinstance(kept.value, dict):
        return kept.value
    return {
        label: replace(one, circumstances=one.circumstances | {"benched": kept.when})
        if isinstance(one, Benched)
        else one
        for label, one in kept.value.items()
    }
