"""Files that are never half-written, lines of JSON that are whole or skipped, and the cache in which finished work is
found again by its content.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lib import REPOSITORY
from lib.errors import OutputError, SpeechError


def write_atomic(path: str | Path, data: bytes) -> Path:
    """Write bytes so that a reader sees the old file or the whole new one, never half of it."""
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(data)
        os.chmod(temporary, 0o644)  # NamedTemporaryFile makes 0600, which other readers of outputs/ cannot open
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free some space or choose another folder"
        ) from error
    return path


def append_line(path: Path, record: dict) -> None:
    """One JSON line in one write: a killed process leaves at most a cut last line, which `read_lines` skips."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"cannot append to {path}: {error.strerror}; free some space or check permissions"
        ) from error


def read_lines(path: str | Path) -> Iterable[dict]:
    """The records of a JSON-lines file; a last line cut short by a kill is skipped, any other bad line is an error."""
    return (record for _, record in numbered_lines(Path(path)))


def numbered_lines(path: Path) -> Iterable[tuple[int, dict]]:
    """As `read_lines`, each record with its line number (from 1), for errors that point at a line."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise SpeechError(
            f"{path} is not UTF-8 text ({error}); delete the file and run its notebook again"
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):  # no newline after it: the write was interrupted
                return
            raise SpeechError(f"{path}:{number} is not JSON ({error}); delete that line or the file") from error


def cache_folder(*parts: str) -> Path:
    """Where synthesised clips, transcripts, scores and fetched corpora are kept: outputs/cache, or $SPEECH_CACHE."""
    return Path(os.environ.get("SPEECH_CACHE") or REPOSITORY / "outputs" / "cache").joinpath(*parts)


def content_key(*parts: object) -> str:
    """A name for a piece of work: the SHA-256 of everything its result depends on (24 hex digits)."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:24]
