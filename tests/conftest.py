"""What all tests share: no hub, and, where two processes share the tests, an order and a lock."""

import contextlib
import ctypes
import gc
import os
import sys
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"  # before anybody reads it: huggingface_hub does so once, when it is imported

pytest.register_assert_rewrite(
    "acoustic_checks", "fresh_process"
)  # so that what failed there is shown as in a test

FIRST = ("test_notebooks.py",)  # the longest, which nothing should wait for at the end


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch):
    """A test that reaches for a model hub fails at once instead of waiting for the network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module", autouse=True)
def _forget(request):
    """What the functions of a file remember, such as loaded systems, goes with the file: together it was 8 GB."""
    yield
    for value in vars(request.module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()
    gc.collect()
    if sys.platform == "linux":  # what was freed goes back to the system, not only to this process
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium; the module that asks is marked with `browser.NEEDED`."""
    from browser import started

    with started() as chromium:
        yield chromium


def pytest_collection_modifyitems(items):
    """Files in the order in which they are handed out: the longest first, those whose tests must run alone last."""
    last = {item.path for item in items if item.get_closest_marker("alone")}
    items.sort(key=lambda item: 0 if item.path.name in FIRST else 2 if item.path in last else 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """A test marked `alone` measures time: no other test runs beside it."""
    folder = item.session.config._tmp_path_factory.getbasetemp().parent  # shared by the processes of one run
    with _turn(folder, alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextlib.contextmanager
def _turn(folder: Path, *, alone: bool):
    """A lock that many tests may hold at once, or one alone; they queue up for it, so that the one gets its turn."""
    if "PYTEST_XDIST_WORKER" not in os.environ:  # there is but one process
        yield
        return
    import fcntl

    with open(folder / "queue", "w") as queue, open(folder / "lock", "w") as lock:
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield
