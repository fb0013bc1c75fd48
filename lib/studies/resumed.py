"""How does a study of hours go on where it stopped? Clips, transcripts and scores are found in the cache by what made
them; variants lie where they were saved; what a clock said is kept here, beside the variants, until the code changes.

The code is known by its bytes (`environment.code`), not by its commit: two trees with changes of their own share one.
It is that of the run's begin: what came out after somebody changed it is of both, and is not kept.
A time that was measured yesterday stands beside one of today only within one bench: so a bench is kept whole, with all
its candidates, or not at all.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lib import REPOSITORY, environment
from lib.files import content_key, write_atomic

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
        except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, ImportError) as error:
            log.warning("%s cannot be read (%s): made anew", path, error)
        else:
            log.info("%s: as an earlier run left it", label or path.name)
            return value
    value = make()
    if environment.code_changed():
        log.warning(
            "%s is not kept for resuming: the code under %s has changed since this run began, so it is of neither",
            label or path.name,
            REPOSITORY / "lib",
        )
    elif whole(value):
        write_atomic(path, pickle.dumps(value))
    return value
