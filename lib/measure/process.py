"""What does it cost to start from nothing? A call in a new Python process that has done nothing else.

    call("lib.measure.bench_child:speak_once", {"origin": {"system": "vits-joe", "target": "torch/cpu"}, ...},
    threads=2)

The child (`python -m lib.measure.process`) reads the call from its standard input and answers with one line of
JSON. Its clock starts in the parent, before the process exists; its memory is its own. Files that the kernel
has cached stay cached: this is the cold start of a process, not of a machine that was just switched on.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from lib import REPOSITORY, errors
from lib.errors import ParameterError, SpeechError, StoppedError
from lib.graphs.session import ALONE
from lib.measure import memory

_ANSWER = "fresh-process-answer "
# Each library reads its own: OpenMP (torch, CTranslate2), MKL, OpenBLAS (NumPy, SciPy), Accelerate, numexpr.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass(frozen=True)
class Finished:
    """value: what the function returned; seconds: from before the process started to the return of the
    function.
    """

    value: Any
    seconds: float
    peak_rss_mb: float
    rss_before_mb: float  # Python and this module alone, before the function was imported


def call(
    function: str,
    arguments: dict[str, Any] | None = None,
    *,
    threads: int = 2,
    timeout_s: float = 600,
    alone: bool = False,
) -> Finished:
    """Call "module:function" with JSON arguments in a new process; its result must be JSON, too.

    threads: what the environment of the child tells OpenMP and BLAS. alone: nothing else of ours computes
    meanwhile, so the child's runtimes may keep their cores: sessions spin (`graphs.session`), OpenMP waits as
    it likes best. An argument "started" with the value None becomes the parent's time.monotonic() of before the
    process. Raises the child's own kind of SpeechError, with its message, when the call fails; StoppedError when the
    child is killed or does not return in time.
    """
    if ":" not in function:
        raise ParameterError(f"{function!r} is not of the form 'package.module:function'")
    request = {"function": function, "arguments": arguments or {}, "started": time.monotonic()}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "lib.measure.process"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env=environment_of_child(threads, alone=alone),
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise StoppedError(f"{function} did not return within {timeout_s:g} s in a fresh process") from error
    answers = [line for line in child.stdout.splitlines() if line.startswith(_ANSWER)]
    if not answers:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        if child.returncode < 0:
            number = -child.returncode
            why = " (the system does that where memory runs out)" if number == signal.SIGKILL else ""
            said = f"was ended by signal {number}, {signal.strsignal(number)}{why}, in a fresh process"
            raise StoppedError(f"{function} {said}: {last}")
        raise SpeechError(f"{function} ended with code {child.returncode} in a fresh process: {last}")
    answer = json.loads(answers[-1][len(_ANSWER) :])
    if "error" in answer:
        raise _kind(answer)(f"{function} failed in a fresh process: {answer['error']}")
    return Finished(**answer)


def _kind(answer: dict[str, Any]) -> type[SpeechError]:
    """The kind of error that a child tells of, where it is one of ours."""
    kind = getattr(errors, answer["error"].partition(":")[0], SpeechError)
    return kind if isinstance(kind, type) and issubclass(kind, SpeechError) else SpeechError


def environment_of_child(threads: int, *, alone: bool) -> dict[str, str]:
    """The environment variables a child starts with: this process's, its threads pinned, this checkout
    importable.
    """
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    variables |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    if alone:
        variables[ALONE] = "1"
        variables.pop("OMP_WAIT_POLICY", None)  # "passive" suits tests that share the cores
    return variables


def _main() -> None:
    """The child: one call from standard input, one answer on standard output."""
    request = json.loads(sys.stdin.read())
    before = memory.rss_mb()
    try:
        module, name = request["function"].split(":")
        arguments = request["arguments"]
        if "started" in arguments and arguments["started"] is None:
            arguments = {**arguments, "started": request["started"]}
        value = getattr(importlib.import_module(module), name)(**arguments)
        answer = {
            "value": value,
            "seconds": time.monotonic() - request["started"],
            "peak_rss_mb": memory.peak_rss_mb(),
            "rss_before_mb": before,
        }
    except Exception as error:  # whatever it is, the parent is told, in words
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(_ANSWER + json.dumps(answer), flush=True)
    sys.stderr.flush()
    atexit._run_exitfuncs()  # folders that were made for a while go
    os._exit(0)  # Python would take a second and a half to take torch and transformers apart, object by object


if __name__ == "__main__":
    _main()
