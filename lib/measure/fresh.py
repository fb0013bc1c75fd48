"""What does it cost to start from nothing? A call in a new Python process that has done nothing else.

    run("lib.measure.fresh:first_words", {"system": "vits-joe", "target": "torch/cpu", "texts": [...], "threads": 2})

The child (`python -m lib.measure.fresh`) reads the call from its standard input and answers with one line of
JSON. Its clock starts in the parent, before the process exists; its memory is its own. Files that the kernel
has cached stay cached: this is the cold start of a process, not of a machine that was just switched on.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from lib import REPOSITORY
from lib.errors import ParameterError, SpeechError
from lib.measure import memory

_ANSWER = "fresh-process-answer "


@dataclass(frozen=True)
class FreshRun:
    """value: what the function returned; seconds: from before the process started to the return of the function."""

    value: Any
    seconds: float
    peak_rss_mb: float
    rss_before_mb: float  # Python and this package alone, before the function was imported


def run(
    function: str, arguments: dict[str, Any] | None = None, *, threads: int = 2, timeout_s: float = 600
) -> FreshRun:
    """Call "module:function" with JSON arguments in a new process; its result must be JSON, too.

    threads: what OMP_NUM_THREADS says in the child. Raises SpeechError with the child's own message when the
    call fails.
    """
    if ":" not in function:
        raise ParameterError(f"{function!r} is not of the form 'package.module:function'")
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONUNBUFFERED": "1",
    }
    call = {"function": function, "arguments": arguments or {}, "started": time.monotonic()}
    try:
        child = subprocess.run(
            [sys.executable, "-m", "lib.measure.fresh"],
            input=json.dumps(call),
            capture_output=True,
            text=True,
            env=variables,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise SpeechError(f"{function} did not return within {timeout_s:g} s in a fresh process") from error
    answers = [line for line in child.stdout.splitlines() if line.startswith(_ANSWER)]
    if not answers:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1]
        raise SpeechError(f"{function} ended with code {child.returncode} in a fresh process: {last}")
    answer = json.loads(answers[-1][len(_ANSWER) :])
    if "error" in answer:
        raise SpeechError(f"{function} failed in a fresh process: {answer['error']}")
    return FreshRun(**answer)


def first_words(
    system: str, target: str | None, texts: list[str], threads: int, seed: int = 0, started: float | None = None
) -> dict[str, float]:
    """Load a system and speak the texts. Seconds to load it, of the first text, and since `started`
    (time.monotonic).
    """
    begin = time.monotonic()
    from lib import systems
    from lib.measure.speed import pin_threads

    voice = systems.load(system, target=target, threads=threads)
    if "torch" in sys.modules:
        pin_threads(threads)
    loaded = time.monotonic()
    voice.synthesize(texts[0], seed=seed)
    spoken = time.monotonic()
    for text in texts[1:]:
        voice.synthesize(text, seed=seed)
    return {
        "load_s": loaded - begin,
        "first_sentence_s": spoken - loaded,
        "cold_start_s": spoken - (begin if started is None else started),
    }


def _main() -> None:
    """The child: one call from standard input, one answer on standard output."""
    call = json.loads(sys.stdin.read())
    before = memory.rss_mb()
    try:
        module, name = call["function"].split(":")
        arguments = call["arguments"]
        if arguments.get("started") == "parent":
            arguments = {**arguments, "started": call["started"]}
        value = getattr(importlib.import_module(module), name)(**arguments)
        answer = {
            "value": value,
            "seconds": time.monotonic() - call["started"],
            "peak_rss_mb": memory.peak_rss_mb(),
            "rss_before_mb": before,
        }
    except Exception as error:  # whatever it is, the parent is told, in words
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(_ANSWER + json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
