"""Keeping the rows of a run: what a long or a GPU run measured, committed so that others see it next to their own.

    ./run_all.sh record study        # outputs/study/results -> outputs/recorded, and the page and its pictures with it
    ./run_all.sh page                # only the page: outputs/recorded/report.html from the rows there

Nobody types a recorded row in: it is copied from a run's results as it was written, with its date, host and commit.
A file holds the rows of one run: one notebook and profile, one commit, one host. Beside it lie the run's parameters, so
that a smaller run than the profile asks for can be told from a whole one.
"""

from __future__ import annotations

import argparse
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
    """`record <profile>` and `page` from the command line."""
    parser = argparse.ArgumentParser(
        prog="run_all.sh record", description="Keep a run's rows in outputs/recorded."
    )
    parser.add_argument("profile", help="whose last run is kept; `page`: only make the page of what is kept")
    parser.add_argument("--replace", action="store_true", help="drop older recordings of the same measurements")
    parser.add_argument(
        "--beside", action="store_true", help="keep older recordings of the same measurements, too"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        from lib.report import static

        written = []
        if options.profile != "page":
            written = record(options.profile, replace=options.replace, beside=options.beside)
        for path in (*written, *static.render(results.RECORDED)):
            print(f"written: {path.relative_to(REPOSITORY)}")
    except SpeechError as error:
        print(f"run_all.sh record: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
