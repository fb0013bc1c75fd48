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

from lib.deploy.job import Job, Loaded, save_arrays

MARK = "deploy-answer "


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
            else:
                answer = timed(job, loaded, request["passes"])
        except BaseException as error:  # whatever it is, the parent is told, in words
            first = (str(error).strip().splitlines() or ["no message"])[0]
            answer = {"error": f"{type(error).__name__}: {first}"[:400]}
        answers.write(MARK + json.dumps(answer) + "\n")
        answers.flush()


def load(job: Job) -> tuple[Loaded, dict]:
    """The stage on its target, with what it answered to the first inputs in `work(...)/outputs.npz`."""
    name = job.target.split("/", 1)[0].replace("-", "_")
    begin = time.perf_counter()
    loaded = importlib.import_module(f"lib.deploy.{name}").load(job)
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


def timed(job: Job, loaded: Loaded, passes: int) -> dict:
    """Seconds of each of some runs, after one that is not timed; and the CPU seconds of them all."""
    inputs, seconds = job.inputs(), []
    loaded.run(inputs)
    gc.collect()
    gc.disable()
    cpu = time.process_time()
    try:
        for _ in range(passes):
            begin = time.perf_counter()
            loaded.run(inputs)
            seconds.append(time.perf_counter() - begin)
    finally:
        gc.enable()
    return {"seconds": seconds, "cpu_s": time.process_time() - cpu}


if __name__ == "__main__":
    main()
    os._exit(0)  # some toolchains crash while Python takes them apart
