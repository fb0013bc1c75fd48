"""How does a toolchain come into a Python of its own, and when is it whole? By pip, within a time limit.

Beside the folder of an environment lies a note, "....unfinished", from before its first file is written until all of
its packages are there; in the end it says why they are not. So what was cut off, or never ended, is not taken for
whole, its reason stands in the rows, and the next install begins anew.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from lib import targets
from lib.errors import SpeechError
from lib.targets import Target

LIMIT_S = 1_800  # for one toolchain; the largest are 2 GB
CUT_OFF = "it was cut off"


def install(names: Iterable[str], limit_s: float = LIMIT_S) -> list[str]:
    """Make the Pythons of the toolchains of these targets that are not there; returns what was done, or why it could
    not be. limit_s: what one of them may take.
    """
    said, tried = [], set()
    for name in names:
        target = targets.find(name)
        if not target.toolchain or target.installed or target.python in tried:
            continue
        tried.add(target.python)  # several targets have one Python: what failed for one is not waited for again
        packages = " ".join((*target.toolchain, *target.alone))
        try:
            _make(target, limit_s)
        except SpeechError as error:
            said.append(f"{name}: {packages} could not be installed: {error}")
        else:
            said.append(f"{name}: {packages} installed")
    return said


def _make(target: Target, limit_s: float) -> None:
    """The environment, whole; SpeechError why it is not, which its note keeps."""
    folder, note = target.python.parents[1], target.unfinished
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(CUT_OFF)
    try:
        _run(_commands(target, folder), folder.with_suffix(".log"), limit_s)
    except SpeechError as error:
        shutil.rmtree(folder, ignore_errors=True)
        note.write_text(str(error))
        raise
    note.unlink()


def _commands(target: Target, folder: Path) -> list[list[str]]:
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
    made = [[interpreter(target), "-m", "venv", str(folder)], [*pip, *target.toolchain]]
    return [*made, [*pip, "--no-deps", *target.alone]] if target.alone else made


def interpreter(target: Target) -> str:
    """A Python of a version that its toolchain is made for: this one, or another of this machine; SpeechError else."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not target.pythons or running in target.pythons:
        return sys.executable
    for version in target.pythons:
        found = shutil.which(f"python{version}")
        if found and _version(found) == version:
            return found
    wanted = " or ".join(target.pythons)
    raise SpeechError(
        f"it is made for Python {wanted} alone, this is {running}, and there is no python{wanted} beside"
    )


def _version(python: str) -> str:
    """What it says itself; "" where it is a name without a Python behind it."""
    asks = "import sys; print('%d.%d' % sys.version_info[:2])"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run([python, "-c", asks], capture_output=True, text=True, timeout=60).stdout.strip()
    return ""


def _run(commands: Sequence[Sequence[str]], log: Path, limit_s: float) -> None:
    """One after the other, what they print into a file; SpeechError with the last words of one that fails, or that all
    of them took longer than they may: then it is ended with its children.
    """
    left = limit_s
    for command in commands:
        with log.open("w") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
            begin = time.monotonic()
            try:
                code = process.wait(timeout=max(left, 0))
            except subprocess.TimeoutExpired:
                raise SpeechError(f"pip did not end within {limit_s:g} s") from None
            finally:
                _end(process)
        left -= time.monotonic() - begin
        if code:
            last = log.read_text(errors="replace").strip().splitlines() or ["no message"]
            raise SpeechError(last[-1][:300])


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
