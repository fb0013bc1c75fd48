"""How does a run end early without losing what it learnt? It finishes its step, writes a checkpoint, and stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def asked_by_sigterm() -> Iterator[threading.Event]:
    """An event that SIGTERM sets, so that a run asked to end finishes its step and saves."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ctrl_c_asks() -> Iterator[None]:
    """Inside, Ctrl-C is to a run what SIGTERM is; where none is on, and the second time, a KeyboardInterrupt as ever.

    For commands: in a notebook an interrupt is to end the cell.
    """

    def ask(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        run = signal.getsignal(signal.SIGTERM)
        if not callable(run):
            raise KeyboardInterrupt
        run(number, frame)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
