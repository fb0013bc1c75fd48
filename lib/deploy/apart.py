"""How does a toolchain that hangs, crashes or prints not take the study with it? It runs apart, in a process group of
its own and under a time limit, and is ended with all its children.

Several stay open at once, so that they can be timed in turns without starting anew; those whose turn it is not wait
for a line of input, asleep.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from lib import REPOSITORY, targets
from lib.deploy.job import Arrays, Job, read_arrays, save_arrays
from lib.deploy.worker import MARK
from lib.errors import SpeechError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def build(job: Job, *, timeout_s: float) -> dict[str, Any]:
    """What a runtime that builds without the device (`deploy.builds`) says of having done so; SpeechError why not."""
    with Process(job, timeout_s=timeout_s) as process:
        return process.ask({"do": "build", "job": json.loads(job.request())})


class Refused(SpeechError):
    """The toolchain said itself why it does not do what it was asked; not that it crashed, or said nothing in time."""


class Process:
    """A process for a job, asked one thing after another. What an earlier one has left in its work folder is gone."""

    def __init__(self, job: Job, *, timeout_s: float):
        self.job, self.timeout_s = job, timeout_s
        shutil.rmtree(job.work(), ignore_errors=True)
        target = targets.find(job.target)
        self._lines: queue.Queue[str] = queue.Queue()
        self._said: list[str] = []
        self._process = subprocess.Popen(
            [str(target.python or sys.executable), "-m", "lib.deploy.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=_environment(job.threads, own=target.python is not None),
            cwd=job.work(),
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=_read, args=(self._process.stdout, self._lines.put), daemon=True),
            threading.Thread(target=_read, args=(self._process.stderr, self._said.append), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def close(self) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join(timeout=5)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                stream.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer; Refused with what failed, SpeechError where it or a program of it crashed, or did not answer in
        time.
        """
        name, end = self.job.target, time.monotonic() + self.timeout_s
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise SpeechError(f"{name} has ended: {self._last_words()}") from error
        while True:
            try:
                line = self._lines.get(timeout=min(0.2, max(0.01, end - time.monotonic())))
            except queue.Empty:
                if self._process.poll() is not None and self._lines.empty():
                    raise SpeechError(
                        f"{name} ended with code {self._process.returncode}: {self._last_words()}"
                    ) from None
                if time.monotonic() > end:
                    raise SpeechError(f"{name} did not answer within {self.timeout_s:g} s") from None
                continue
            if line.startswith(MARK):
                answer = json.loads(line[len(MARK) :])
                if "error" in answer:
                    kind = SpeechError if answer.get("crashed") else Refused
                    raise kind(f"{name} failed: {answer['error']}")
                return answer

    def _last_words(self) -> str:
        self._readers[1].join(timeout=1)
        said = [line.strip() for line in self._said if line.strip()]
        return said[-1][:300] if said else "it said nothing"


class Worker(Process):
    """A process with one stage on one target; `with Worker(job, timeout_s=60) as worker: worker.timed(3)`.

    Opening it loads the stage: outputs, figures and detail are as `job.Loaded` has them. Raises SpeechError with the
    reason, from the table, from the toolchain, or that it did not answer in time.
    """

    outputs: Arrays
    figures: dict[str, float]
    detail: dict[str, Any]
    load_s: float

    def __init__(self, job: Job, *, timeout_s: float):
        if why := targets.find(job.target).why_not():
            raise SpeechError(why)
        super().__init__(job, timeout_s=timeout_s)
        try:
            answer = self.ask({"do": "load", "job": json.loads(job.request())})
        except BaseException:
            self.close()
            raise
        self.outputs = read_arrays(answer["outputs"]) if answer["outputs"] else []
        self.figures, self.detail, self.load_s = answer["figures"], answer["detail"], answer["load_s"]

    def answer(self, inputs: Sequence[np.ndarray]) -> Arrays:
        """The outputs for inputs of the same shapes as those of the stage's folder."""
        asked, answered = (str(self.job.work() / f"{name}.npz") for name in ("asked", "answered"))
        save_arrays(asked, inputs)
        self.ask({"do": "answer", "inputs": asked, "outputs": answered})
        return read_arrays(answered)

    def timed(self, passes: int) -> tuple[list[list[float]], float]:
        """Seconds (inputs, passes) of each run, and the CPU seconds of them all."""
        answer = self.ask({"do": "time", "passes": passes})
        return answer["seconds"], answer["cpu_s"]

    def busy(self, seconds: float) -> dict[str, float]:
        """Let it run without a pause: {"runs", "seconds", "cpu_s"}."""
        return self.ask({"do": "busy", "seconds": seconds})


def _read(stream, put) -> None:
    with contextlib.suppress(ValueError, OSError):  # closed while it was read
        for line in stream:
            put(line)


def _environment(threads: int, *, own: bool) -> dict[str, str]:
    """Of the process: this checkout importable, threads pinned. own: a toolchain's Python sees no packages of ours."""
    # Runtimes with threads of their own spin while they wait for each other. "passive", which suits tests that share
    # the cores, would put OpenMP's to sleep, and PyTorch's alone: the bench lets nobody's sleep either.
    dropped = ("PYTHONPATH", "PYTHONHOME", "OMP_WAIT_POLICY")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    before = [] if own else list(filter(None, [os.environ.get("PYTHONPATH")]))
    kept["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *before])
    return kept | dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"PYTHONUNBUFFERED": "1"}
