"""What is there to report? Reads a profile's results, clips, figures and notebook states into frozen records.

Missing parts are normal (a notebook failed, nothing ran yet) and simply absent. A line that breaks the contract is an
error that names its file and line, because a report that drops numbers in silence is worse than none.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib import results
from lib.errors import SpeechError
from lib.files import numbered_lines
from lib.results import Measurement

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Row(Measurement):
    """A measurement with the notebook that wrote it; recorded: an earlier run or another machine did."""

    notebook: str = ""
    recorded: bool = False

    @property
    def date(self) -> str:
        """Day of the measurement, 2026-11-21."""
        return self.time[:10]

    @property
    def stamp(self) -> str:
        """Where a recorded row comes from, in words."""
        return ", ".join(
            part for part in (self.date, self.host, self.commit and f"commit {self.commit}") if part
        )


@dataclass(frozen=True)
class Clip:
    """One clip of the players; path points to the FLAC file. seed, fingerprint: of what spoke it; "" where unknown."""

    path: Path
    system: str
    variant: str
    target: str
    sentence: str
    text: str
    group: str
    note: str
    notebook: str
    recorded: bool
    seed: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class Figure:
    """One picture a notebook kept, with its caption."""

    path: Path
    name: str
    caption: str
    notebook: str
    recorded: bool


@dataclass(frozen=True)
class NotebookState:
    """How a notebook ended; error and cell are set when it failed."""

    notebook: str
    status: str
    seconds: float | None
    error: str
    cell: int | None


@dataclass(frozen=True)
class Findings:
    """Everything one report is made of. missing: listed files that are not there; folder: outputs/<profile>;
    recorded: where the recorded rows lie."""

    profile: str
    rows: tuple[Row, ...]
    clips: tuple[Clip, ...]
    figures: tuple[Figure, ...]
    states: tuple[NotebookState, ...]
    environments: dict[str, dict[str, str]]
    missing: tuple[str, ...]
    folder: Path
    recorded: Path | None = None


def collect(profile_folder: str | Path, recorded: str | Path | None = None) -> Findings:
    """Read outputs/<profile> and, if given and there, the folder of recorded rows.

    Raises SpeechError naming file and line for a row or index entry that breaks the contract.
    """
    folder = Path(profile_folder)
    places = [(folder, folder / "results", False)]
    if recorded is not None:
        places.append((Path(recorded), Path(recorded), True))
    rows: list[Row] = []
    clips: list[Clip] = []
    figures: list[Figure] = []
    missing: list[str] = []
    for root, results_folder, is_recorded in places:
        if results_folder.is_dir():
            rows += [
                dataclasses.replace(row, recorded=is_recorded) for row in records(results.read(results_folder))
            ]
        clips += _indexed(root / "audio", Clip, is_recorded, missing)
        figures += _indexed(root / "figures", Figure, is_recorded, missing)
    return Findings(
        folder.resolve().name,
        tuple(rows),
        tuple(clips),
        tuple(figures),
        _states(folder),
        _environments(folder),
        tuple(missing),
        folder,
        Path(recorded) if recorded is not None else None,
    )


def records(table: "pd.DataFrame | Iterable[Row]") -> list[Row]:
    """The rows of `lib.results.read`, with pandas' NaN turned back into None; rows already made pass through."""
    if not hasattr(table, "to_dict"):
        return list(table)
    names = {field.name for field in dataclasses.fields(Row)}
    rows = []
    for record in table.to_dict("records"):
        clean = {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in record.items()
            if key in names
        }
        clean["n"] = None if clean.get("n") is None else int(clean["n"])
        for field in ("source", "baseline", "host", "commit", "time", "detail"):
            clean[field] = "" if clean.get(field) is None else str(clean[field])
        rows.append(Row(**clean))
    return rows


def stages(row: Row) -> dict[str, float]:
    """Compute seconds per second of audio of each stage, from a row's detail {"stages": {name: s/s}}; empty
    where there are none.
    """
    try:
        detail = json.loads(row.detail)
        return {str(name): float(seconds) for name, seconds in detail["stages"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _indexed(folder: Path, kind: type, recorded: bool, missing: list[str]) -> Iterator:
    """Records of folder/<notebook>/index.jsonl; a later entry of the same file replaces an earlier one."""
    for index in sorted(folder.glob("*/index.jsonl")):
        entries = {}
        for number, record in numbered_lines(index):
            try:
                name = Path(record["file"]).name  # never outside the index's own folder
                fields = {field.name: str(record.get(field.name, "")) for field in dataclasses.fields(kind)}
            except (TypeError, KeyError, AttributeError) as error:
                raise SpeechError(
                    f"{index}:{number}: the entry names no file; delete it or run the notebook again"
                ) from error
            entries.pop(name, None)
            entries[name] = kind(
                **{**fields, "path": index.parent / name, "notebook": index.parent.name, "recorded": recorded}
            )
        for item in entries.values():
            if item.path.is_file():
                yield item
            else:
                missing.append(f"{item.path.parent.name}/{item.path.name}")


def _states(folder: Path) -> tuple[NotebookState, ...]:
    states = []
    for notebook, state in _json(folder / "notebooks" / "state.json").items():
        if isinstance(state, dict):
            seconds, cell = state.get("seconds"), state.get("cell")
            states.append(
                NotebookState(
                    str(notebook),
                    str(state.get("status", "")),
                    seconds if _is_number(seconds) else None,
                    str(state.get("error") or ""),
                    cell if isinstance(cell, int) else None,
                )
            )
    return tuple(sorted(states, key=lambda state: state.notebook))


def _environments(folder: Path) -> dict[str, dict[str, str]]:
    suffix = ".environment.json"
    return {
        path.name.removesuffix(suffix): {str(k): str(v) for k, v in _json(path).items()}
        for path in sorted((folder / "results").glob(f"*{suffix}"))
    }


def _json(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpeechError(f"{path} is not JSON ({error}); delete it or run the notebook again") from error
    return content if isinstance(content, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
