"""Running the notebooks headless, in order, with progress; what `run_all.sh` calls.

    python -m lib.runner [smoke|quick|study|full] [--only 03] [--resume] [--set name=value]

A notebook that fails is reported with its cell and traceback and the others still run; the report is rendered from
whatever there is; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import time
from pathlib import Path

from lib import REPOSITORY, params
from lib.errors import OutputError, ParameterError, SpeechError
from lib.files import write_atomic
from lib.results import PARAMETERS

log = logging.getLogger("run")

REPORT = "08_report"
_INLINE = "module://matplotlib_inline.backend_inline"
BUDGET_S = {
    "00_data_and_features": 120,
    "01_baselines": 480,
    "02_training": 180,
    "03_finetuning": 300,
    "04_pruning_quantization": 290,
    "05_distillation": 240,
    "06_gpu_vs_npu": 240,
    "07_listening_test": 60,
    "08_report": 20,
}  # first guess of the time left, until a run was timed here


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0 all well, 1 a notebook failed, 2 the call itself was wrong."""
    parser = argparse.ArgumentParser(prog="run_all.sh", description="Run the notebooks and render the report.")
    parser.add_argument(
        "profile",
        nargs="?",
        default="quick",
        help=" | ".join(f"{p}: {what}" for p, what in params.PROFILES.items()),
    )
    parser.add_argument(
        "--only", action="append", metavar="NN", help="run only this notebook (repeatable), then the report"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip notebooks that already ran with the same code and parameters",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="override a parameter where a notebook has it",
    )
    parser.add_argument(
        "--outputs", type=Path, default=REPOSITORY / "outputs", help="folder for results (default: outputs/)"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr, force=True
    )
    for noisy in ("papermill", "httpx", "traitlets", "blib2to3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        return run(
            options.profile,
            only=options.only,
            resume=options.resume,
            outputs=options.outputs,
            overrides=_parse(options.set),
        )
    except SpeechError as error:
        print(f"run_all.sh: {error}", file=sys.stderr)
        return 2


def run(
    profile: str,
    *,
    only: list[str] | None = None,
    resume: bool = False,
    outputs: Path = REPOSITORY / "outputs",
    overrides: dict[str, object] | None = None,
    folder: Path | None = None,
) -> int:
    """Run the notebooks of `folder` (default notebooks/, its parameters beside it) in a profile; all is checked
    before any runs.
    """
    params.check_profile(profile)
    every = params.notebooks(folder)
    chosen = [params.find_notebook(name, folder) for name in only] if only else every
    chosen = sorted({*chosen, *(path for path in every if path.stem == REPORT)})
    overrides = overrides or {}
    for name in overrides:
        if not any(name in params.declared(path) for path in chosen):
            raise ParameterError(f"no chosen notebook has a parameter {name!r}")
    known = folder.parent / "params" if folder else None
    work = [
        (
            path,
            params.load(
                profile, path, known, {k: v for k, v in overrides.items() if k in params.declared(path)}
            ),
        )
        for path in chosen
    ]
    target = Path(outputs) / profile
    state_path = (
        target / "notebooks" / "state.json"
    )  # how each notebook ended, for --resume, the time left and the report
    try:
        state_path.parent.mkdir(parents=True, exist_ok=True)
        state = json.loads(state_path.read_text()) if state_path.exists() else {}
    except (OSError, json.JSONDecodeError) as error:
        raise OutputError(
            f"cannot use {state_path.parent}: {error}; check its permissions, or delete it"
        ) from error

    _headless_environment(outputs)
    failed, started = [], time.monotonic()
    for index, (path, parameters) in enumerate(work):
        fingerprint = _fingerprint(path, parameters)
        before = state.get(path.stem, {})
        if (
            resume
            and path.stem != REPORT
            and before.get("status") == "ok"
            and before.get("fingerprint") == fingerprint
        ):
            log.info("%s: already done in %.0f s, skipped", path.stem, before["seconds"])
            continue
        left = sum(_expected(state, p.stem) for p, _ in work[index:])
        log.info("%s: starts (%d of %d, about %s left in all)", path.stem, index + 1, len(work), _minutes(left))
        result = execute(path, parameters, target / "notebooks" / path.name)
        _article(target / "notebooks" / path.name)
        _keep_parameters(target / "results" / f"{path.stem}{PARAMETERS}", profile, path, parameters, known)
        state[path.stem] = {**result, "fingerprint": fingerprint}
        write_atomic(state_path, json.dumps(state, indent=1).encode())
        if result["status"] == "failed":
            failed.append(path.stem)
            log.error(
                "%s: FAILED in cell %s after %.0f s\n%s",
                path.stem,
                result["cell"],
                result["seconds"],
                result["traceback"],
            )
        else:
            log.info("%s: done in %.0f s, peak memory %.1f GB", path.stem, result["seconds"], result["peak_gb"])
    report = target / "report.html"
    if REPORT in failed:
        report = _render_anyway(target)
    log.info(
        "%s in %s; report: %s",
        f"{len(failed)} failed ({', '.join(failed)})" if failed else "all done",
        _minutes(time.monotonic() - started),
        report if report and report.exists() else "none",
    )
    return 1 if failed else 0


def execute(notebook: Path, parameters: dict[str, object], output: Path) -> dict[str, object]:
    """Run one notebook with papermill; {"status", "seconds", "peak_gb"} and, where it failed, "cell", "error",
    "traceback".
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    start = time.monotonic()
    for old in (output, output.with_suffix(".html")):  # a run that dies early must not leave those of another
        old.unlink(missing_ok=True)
    result: dict[str, object] = {"status": "ok"}
    backend = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = _INLINE  # of the kernel: with any other, a figure leaves its name and no picture
    try:
        papermill.execute_notebook(
            str(notebook),
            str(output),
            parameters,
            kernel_name="python3",
            cwd=str(REPOSITORY),
            progress_bar=sys.stderr.isatty(),
            stderr_file=sys.stderr,
            request_save_on_cell_execute=False,
        )
    except PapermillExecutionError as error:
        result = {
            "status": "failed",
            "cell": error.cell_index,
            "error": f"{error.ename}: {error.evalue}"[:500],
            "traceback": _plain("\n".join(error.traceback)),
        }
    except Exception as error:  # a kernel that died, a notebook that is no JSON: the others must still run
        result = {
            "status": "failed",
            "cell": None,
            "error": f"{type(error).__name__}: {error}"[:500],
            "traceback": str(error),
        }
    finally:
        os.environ.pop("MPLBACKEND") if backend is None else os.environ.update(MPLBACKEND=backend)
    return {**result, "seconds": round(time.monotonic() - start, 1), "peak_gb": _children_peak_gb()}


def _article(executed: Path) -> None:
    """The executed notebook as a page to read, of what ran; without it the numbers still count, so it is only said."""
    from lib.report import articles

    try:
        articles.write(executed)
    except SpeechError as error:
        log.error("%s: no article: %s", executed.stem, error)


def _keep_parameters(
    beside: Path, profile: str, notebook: Path, parameters: dict[str, object], known: Path | None
) -> None:
    """Write what a run was asked for beside its rows, where it has any; so a recording can be told from its profile."""
    if beside.with_name(f"{notebook.stem}.jsonl").exists():
        usual = params.load(profile, notebook, known)
        said = {"parameters": parameters, "set": {k: v for k, v in parameters.items() if usual.get(k) != v}}
        write_atomic(beside, json.dumps(said, indent=1).encode())


def _headless_environment(outputs: Path) -> None:
    os.environ["SPEECH_HEADLESS"] = "1"
    os.environ["SPEECH_OUTPUTS"] = str(Path(outputs).resolve())
    os.environ.setdefault("MPLBACKEND", "agg")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _render_anyway(target: Path) -> Path | None:
    from lib import report

    try:
        return report.render(target, target.parent / "recorded")
    except SpeechError as error:
        log.error("the report could not be rendered: %s", error)
        return None


def _fingerprint(notebook: Path, parameters: dict[str, object]) -> str:
    """Changes when the notebook, its parameters or any line of the package does."""
    digest = hashlib.sha256(notebook.read_bytes() + json.dumps(parameters, sort_keys=True).encode())
    for path in sorted((REPOSITORY / "lib").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _expected(state: dict, name: str) -> float:
    return state.get(name, {}).get("seconds") or BUDGET_S.get(name, 60)


def _children_peak_gb() -> float:
    """Largest resident memory any kernel so far has had, in 10^9 bytes."""
    import resource

    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9, 2)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _plain(traceback: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", traceback)


def _parse(pairs: list[str]) -> dict[str, object]:
    import yaml

    values = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise ParameterError(f"--set {pair!r} is not NAME=VALUE")
        values[name] = yaml.safe_load(value)
    return values


if __name__ == "__main__":
    sys.exit(main())
