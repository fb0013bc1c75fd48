"""How does somebody have a recorded number again? The command of each recording, with what its run was asked for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from lib.errors import SpeechError
from lib.report.collect import Row
from lib.results import PARAMETERS

UNKNOWN = "  # its parameters were not kept: it may have run with fewer sentences than its profile asks for"


def asked(folder: str | Path) -> dict[str, dict[str, object]]:
    """Recording -> the parameters in which it differed from its profile; recordings whose parameters were not kept are
    absent.
    """
    known = {}
    for path in sorted(Path(folder).glob(f"*{PARAMETERS}")):
        try:
            known[path.name.removesuffix(PARAMETERS)] = dict(json.loads(path.read_text())["set"])
        except (ValueError, KeyError, TypeError) as error:
            raise SpeechError(
                f"{path} is not what ./run_all.sh record writes ({error}): record the run again"
            ) from error
    return known


def commands(rows: Iterable[Row], known: Mapping[str, Mapping[str, object]]) -> list[str]:
    """What to type to have each recorded run again, the newest first; of files that no run of ours wrote, nothing."""
    newest: dict[str, str] = {}
    for row in rows:
        if row.recorded and row.notebook.count("@") >= 2:
            newest[row.notebook] = max(newest.get(row.notebook, ""), row.time)
    return [_command(name, known.get(name)) for name in sorted(newest, key=newest.get, reverse=True)]


def _command(recording: str, changed: Mapping[str, object] | None) -> str:
    notebook, profile, commit = recording.split("@")[:3]
    settings = "".join(f" --set {shlex.quote(f'{k}={json.dumps(v)}')}" for k, v in (changed or {}).items())
    command = f"git checkout {commit} && ./run_all.sh {profile} --only {notebook[:2]}{settings}"
    return command + (UNKNOWN if changed is None else "")
