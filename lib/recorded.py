"""Keeping the rows of a run: what a long or a GPU run measured, committed so that others see it next to their own.

    ./run_all.sh record study        # outputs/study/results -> outputs/recorded, and the page and its pictures with it
    ./run_all.sh record trim         # drop what a newer recording holds whole
    ./run_all.sh page                # only the page: outputs/recorded/report.html from the rows there

Nobody types a recorded row in: it is copied from a run's results as it was written, with its date, host and commit.
A file holds the rows of one run: one notebook and profile, one commit, one host. Beside it lie the run's parameters, so
that a smaller run than the profile asks for can be told from a whole one.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lib import REPOSITORY, params, results
from lib.errors import MissingDataError, ParameterError, SpeechError
from lib.files import read_lines, write_atomic

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_SAME = ["system", "variant", "target", "metric"]


def record(
    profile: str,
    *,
    outputs: Path | None = None,
    recorded: Path | None = None,
    replace: bool = False,
    beside: bool = False,
) -> list[Path]:
    """Copy the rows of a profile's last run, one file per notebook; returns the files written.

    outputs: the folder of the profiles; recorded: where the rows go, by default outputs/recorded. Rows of
    uncommitted code, or of several commits or hosts in one file, are refused. So is a notebook that was recorded before
    in this profile, on this host, with some of the same measurements, unless it is said what becomes of the older
    recording: `replace` removes it, `beside` keeps both.
    """
    outputs = outputs or REPOSITORY / "outputs"
    recorded = recorded or results.RECORDED
    paths = sorted((outputs / params.check_profile(profile) / "results").glob("*.jsonl"))
    tables = {path: table for path in paths if not (table := results.read(path)).empty}
    if not tables:
        raise MissingDataError(f"no results under {outputs / profile}: run ./run_all.sh {profile} first")
    work = []
    for path, table in tables.items():
        if said := problems(path):
            raise ParameterError(f"{path}: {'; '.join(said)}")
        new = file_name(path.stem, profile, table, recorded)
        older = [other for other in _overlapping(path.stem, profile, table, recorded) if other.name != new]
        same = (recorded / new).exists()
        if ((older or same) and not (replace or beside)) or (same and beside):
            names = ", ".join(sorted({*(other.name for other in older), *([new] if same else [])}))
            raise ParameterError(
                f"{path} measured what {names} holds for the same machine: --replace drops the older recording"
                + ("" if same else ", --beside keeps both")
            )
        work.append((path, recorded / new, older if replace else []))
    for path, new, older in work:
        write_atomic(new, path.read_bytes())
        asked, kept = (p.with_name(p.stem + results.PARAMETERS) for p in (path, new))
        if asked.exists():
            write_atomic(kept, asked.read_bytes())
        else:  # a run by hand: nobody knows what it was asked for
            kept.unlink(missing_ok=True)
        for other in older:
            log.info("replaced: %s", other.name)
            other.unlink()
            other.with_name(other.stem + results.PARAMETERS).unlink(missing_ok=True)
    return [new for _, new, _ in work]


def trim(recorded: Path | None = None) -> list[str]:
    """Drop what a newer recording of the same notebook, profile and host holds whole: all rows of a system on a target
    whose every variant and metric that one measured, too, of no fewer sentences or timings. Returns what was dropped,
    in words.

    A system stays in a recording as a whole or not at all, so that no variant loses the baseline that it was laid
    beside; the lines that stay are as they were, and a recording of which nothing is left is removed.
    """
    recorded, said = recorded or results.RECORDED, []
    runs: dict[tuple[str, str], list[tuple[str, Path]]] = {}
    for path in sorted(recorded.glob("*@*@*.jsonl")):
        if rows := list(read_lines(path)):
            run = path.name.split("@", 2)[:2]
            runs.setdefault((*run, rows[0]["host"]), []).append((max(row["time"] for row in rows), path))
    for same in runs.values():
        newer: dict[tuple[str, str], list[dict]] = {}
        for _, path in sorted(same, reverse=True):
            held = _held(path)
            old = {
                place
                for place, own in held.items()
                if any(all(other.get(key, -1) >= n for key, n in own.items()) for other in newer.get(place, []))
            }
            said += [f"{path.name}: {system} on {target}" for system, target in sorted(old)]
            if old:
                _leave_out(path, old)
            for place in held.keys() - old:
                newer.setdefault(place, []).append(held[place])
    return said


def _held(path: Path) -> dict[tuple[str, str], dict[tuple[str, str], int]]:
    """(system, target) -> (variant, metric) -> of how many sentences or timings."""
    held: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    for row in read_lines(path):
        own = held.setdefault((row["system"], row["target"]), {})
        key = row["variant"], row["metric"]
        own[key] = max(own.get(key, 0), row["n"] or 0)
    return held


def _leave_out(path: Path, places: set[tuple[str, str]]) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = ((line, json.loads(line)) for line in lines if line.strip())
    kept = [line for line, row in rows if (row["system"], row["target"]) not in places]
    if kept:
        write_atomic(path, "".join(kept).encode())
        return
    path.unlink()
    path.with_name(path.stem + results.PARAMETERS).unlink(missing_ok=True)


def file_name(notebook: str, profile: str, table: "pd.DataFrame", recorded: Path) -> str:
    """<notebook>@<profile>@<commit>.jsonl; with the host at its end where another host has that name already."""
    host, commit = table.host.iloc[0], table.commit.iloc[0]
    stem = f"{notebook}@{profile}@{commit}"
    taken = recorded / f"{stem}.jsonl"
    if taken.exists() and set(results.read(taken).host) != {host}:
        stem += "@" + re.sub(r"[^a-z0-9]+", "-", host.lower()).strip("-")
    return f"{stem}.jsonl"


def problems(path: Path) -> list[str]:
    """What keeps a file from being one run of committed code on one host; empty where nothing does."""
    rows = list(read_lines(path))  # all of them: `results.read` leaves out those that a later one replaced
    loose = sum(row["commit"] == "" or row["commit"].endswith("-dirty") for row in rows)
    said = [f"{loose} rows come from code that is in no commit: commit, and run it again"] if loose else []
    for field in ("commit", "host"):
        several = sorted({row[field] for row in rows})
        if len(several) > 1:
            names = ", ".join(repr(name) for name in several)
            said.append(f"it holds rows of several {field}s ({names}): a recording is one run, so run it again")
    return said


def _overlapping(notebook: str, profile: str, table: "pd.DataFrame", recorded: Path) -> list[Path]:
    """Recordings of the same notebook, profile and host that hold some of the same measurements."""
    measured = set(table[_SAME].itertuples(index=False, name=None))
    overlapping = []
    for path in sorted(recorded.glob(f"{notebook}@{profile}@*.jsonl")):
        older = results.read(path)
        if set(older.host) == set(table.host) and measured & set(
            older[_SAME].itertuples(index=False, name=None)
        ):
            overlapping.append(path)
    return overlapping


def main(arguments: list[str]) -> int:
    """`record <profile>`, `record trim` and `page` from the command line."""
    parser = argparse.ArgumentParser(
        prog="run_all.sh record", description="Keep a run's rows in outputs/recorded."
    )
    parser.add_argument(
        "profile", help="whose last run is kept; `trim`: drop what newer ones hold; `page`: only the page of it"
    )
    parser.add_argument("--replace", action="store_true", help="drop older recordings of the same measurements")
    parser.add_argument(
        "--beside", action="store_true", help="keep older recordings of the same measurements, too"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        from lib.report import static

        written = []
        if options.profile == "trim":
            for dropped in trim():
                print(f"dropped: {dropped}")
        elif options.profile != "page":
            written = record(options.profile, replace=options.replace, beside=options.beside)
        for path in (*written, *static.render(results.RECORDED)):
            print(f"written: {path.relative_to(REPOSITORY)}")
    except SpeechError as error:
        print(f"run_all.sh record: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
