"""Progress that suits where it is shown: a bar for people, one line every few seconds in a log."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")
LOG_EVERY_S = 20.0


def headless() -> bool:
    """True when nobody watches: the runner sets SPEECH_HEADLESS for notebooks it executes."""
    return os.environ.get("SPEECH_HEADLESS") == "1"


def log_steps() -> None:
    """In a headless run, let this package's log lines reach the terminal; a notebook that people read stays quiet."""
    logger = logging.getLogger("lib")
    if headless() and not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s   %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def track(items: Iterable[Item], label: str, *, total: int | None = None, unit: str = "it") -> Iterator[Item]:
    """Yield the items with a tqdm bar, or with a log line now and then and one at the end."""
    if not headless():
        from tqdm.auto import tqdm

        yield from tqdm(items, desc=label, total=total, unit=unit, file=sys.stdout)
        return
    start = last = time.monotonic()
    total = total if total is not None else len(items) if hasattr(items, "__len__") else None
    count = 0
    for count, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= LOG_EVERY_S and total:
            last = now
            log.info("%s: %d of %d, %.0f s left", label, count, total, (now - start) / count * (total - count))
    log.info("%s: %d done in %.1f s", label, count, time.monotonic() - start)
