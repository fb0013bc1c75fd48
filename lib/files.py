"""Files that are never half-written, and the cache in which finished work is found again by its content."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from lib import REPOSITORY
from lib.errors import OutputError


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
