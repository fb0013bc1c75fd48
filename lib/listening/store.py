"""Where do ratings lie that arrived? One SQLite file: a rating is there as a whole or not at all, and once.

A rating is answered for only when it is on the disk (`synchronous = FULL`), so a server that is killed loses
none that it acknowledged, and what a listener sends again changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

from lib.errors import OutputError

_INSERT = "INSERT OR IGNORE INTO ratings (listener, trial, envelope, rating) VALUES (?, ?, ?, ?)"
_SAID = "SELECT rating FROM ratings WHERE listener = ? AND trial = ?"
NEW, SAME, OTHER = "new", "same", "other"  # what a rating was when it came


class Store:
    """The file of a server. Safe to use from several threads."""

    def __init__(self, path: str | Path):
        self._lock = threading.Lock()
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30)
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = FULL")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS ratings (listener TEXT, trial TEXT, envelope TEXT NOT NULL, "
                "rating TEXT NOT NULL, arrived TEXT DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (listener, trial))"
            )
        except (OSError, sqlite3.Error) as error:
            raise OutputError(
                f"cannot keep ratings in {path}: {error}; check its folder and the space left"
            ) from error

    def add(self, envelope: dict, rating: dict) -> str:
        """NEW, SAME (it was here already) or OTHER (this listener answered the page otherwise before, which
        stands).
        """
        listener, trial = envelope["listener"], rating["trial"]
        said = json.dumps(rating, sort_keys=True)
        row = (listener, trial, json.dumps(envelope), said)
        try:
            with self._lock:
                if self._file.execute(_INSERT, row).rowcount:
                    return NEW
                held = self._file.execute(_SAID, (listener, trial)).fetchone()
        except sqlite3.Error as error:
            raise OutputError(f"page {trial} of {listener} cannot be kept: {error}; free some space") from error
        return SAME if held[0] == said else OTHER

    def all(self) -> list[tuple[dict, dict]]:
        """(envelope, rating) of each, in the order in which they came."""
        with self._lock:
            rows = self._file.execute("SELECT envelope, rating FROM ratings ORDER BY rowid").fetchall()
        return [(json.loads(envelope), json.loads(rating)) for envelope, rating in rows]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
