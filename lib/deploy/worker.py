"""The process in which a stage runs on a target: loads it, answers requests of its parent (`apart`), one line each.

Its standard output is kept for the answers; whatever a toolchain prints goes to standard error.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time

from lib.deploy.job import CrashedError, Job, Loaded, read_arrays, save_arrays

MARK = "deploy-answer "
WARM_UP = 2  # runs


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    job, loaded = None, None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "load":
                job = Job(**request["job"])
                loaded, answer = load(job)
            elif request["do"] == "build":
                answer = runtime(request["job"]["target"]).build(Job(**request["job"]))
            elif request["do"] == "answer":
                save_arrays(request["outputs"], loaded.run(read_arrays(request["inputs"])))
                answer = {}
            elif request["do"] == "busy":
                answer = busy(job, loaded, request["seconds"])
            else:
                answer = timed(job, loaded, request["passes"])
        except BaseException as error:  # whatever it is, the parent is told, in words
            answer = {"error": words(error)[:400], "crashed": isinstance(error, (CrashedError, MemoryError))}
        answers.write(MARK + json.dumps(answer) + "\n")
        answers.flush()


def words(error: BaseException) -> str:
    """Its first line; of one that quotes a traceback, as Rockchip's do, what that ends with.

    >>> words(ValueError("Traceback (most recent call last):\\n  File a, line 1\\nKeyError: no b\\n  in c"))
    'KeyError: no b'
    >>> words(ValueError("a\\nb")), words(OSError())
    ('ValueError: a', 'OSError: no message')
    """
    lines = str(error).strip().splitlines() or ["no message"]
    if lines[0].startswith("Traceback"):
        return next((line for line in lines[1:] if line[:1].strip()), lines[-1])
    return f"{type(error).__name__}: {lines[0]}"


def load(job: Job) -> tuple[Loaded, dict]:
    """The stage on its target, with what it answered to the first inputs in `work(...)/outputs.npz`."""
    begin = time.perf_counter()
    loaded = runtime(job.target).load(job)
    ready = time.perf_counter()
    path = job.work() / "outputs.npz"
    if job.answers:
        save_arrays(path, loaded.run(job.inputs()))
    return loaded, {
        "outputs": str(path) if job.answers else "",
        "load_s": ready - begin,
        "figures": dict(loaded.figures),
        "detail": dict(loaded.detail),
    }


def runtime(target: str):
    """The module that loads stages for a target. Not by `deploy.runtime`: a target of a test is in no table here."""
    return importlib.import_module(f"lib.deploy.{target.split('/', 1)[0].replace('-', '_')}")


def timed(job: Job, loaded: Loaded, passes: int) -> dict:
    """Seconds of each of some runs on each of its inputs, after WARM_UP that are not timed; and the CPU seconds of
    them all.
    """
    sets = job.timed()
    for number in range(WARM_UP):
        loaded.run(sets[number % len(sets)])
    seconds = [[0.0] * passes for _ in sets]  # (inputs, passes)
    gc.collect()
    gc.disable()
    cpu = time.process_time()
    try:
        for number in range(passes):
            for spent, inputs in zip(seconds, sets):
                begin = time.perf_counter()
                loaded.run(inputs)
                spent[number] = time.perf_counter() - begin
    finally:
        gc.enable()
    return {"seconds": seconds, "cpu_s": time.process_time() - cpu}


def busy(job: Job, loaded: Loaded, seconds: float) -> dict:
    """Run without a pause for so long: how often, how long it was in the end, and how many CPU seconds of it."""
    sets, runs, begin, cpu = job.timed(), 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < seconds:
        loaded.run(sets[runs % len(sets)])
        runs += 1
    return {"runs": runs, "seconds": time.perf_counter() - begin, "cpu_s": time.process_time() - cpu}


if __name__ == "__main__":
    main()
    os._exit(0)  # some toolchains crash while Python takes them apart
