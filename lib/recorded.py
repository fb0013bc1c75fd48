"""Keeping the rows of a run: what a long or a GPU run measured, committed so that others see it next to their own.

    ./run_all.sh record study        # outputs/study/results -> outputs/recorded, and the README's picture with it

Nobody types a recorded row in: it is copied from a run's results as it was written, with its date, host and commit.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from lib import REPOSITORY, params, results
from lib.errors import MissingDataError, ParameterError, SpeechError
from lib.files import write_atomic

log = logging.getLogger(__name__)


def record(profile: str, *, outputs: Path | None = None, recorded: Path | None = None) -> list[Path]:
    """Copy the rows of a profile's last run, one file per notebook and profile; a row of uncommitted code is refused.

    outputs: the folder of the profiles; recorded: where the rows go, by default outputs/recorded. Returns the
    files written.
    """
    outputs = outputs or REPOSITORY / "outputs"
    recorded = recorded or results.RECORDED
    found = sorted((outputs / params.check_profile(profile) / "results").glob("*.jsonl"))
    if not found:
        raise MissingDataError(f"no results under {outputs / profile}: run ./run_all.sh {profile} first")
    written = []
    for path in found:
        table = results.read(path)
        if table.empty:
            continue
        loose = table[(table.commit == "") | table.commit.str.endswith("-dirty")]
        if len(loose):
            raise ParameterError(
                f"{len(loose)} rows of {path} come from code that is in no commit: commit, and run it again"
            )
        written.append(write_atomic(recorded / f"{path.stem}@{profile}.jsonl", path.read_bytes()))
    _picture(recorded)
    return written


def _picture(recorded: Path) -> None:
    """The trade-off of all recorded baselines, for the README."""
    import io

    from lib.report import plots

    table = results.read(recorded)
    figure = plots.pareto(
        table[table.variant == "baseline"].assign(recorded=False)
    )  # everything here is recorded; drawn in full colour
    if figure is not None:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
        write_atomic(recorded / "pareto.png", buffer.getvalue())


def main(arguments: list[str]) -> int:
    """`record <profile>` from the command line."""
    try:
        for path in record(*arguments):
            print(f"recorded {path.relative_to(REPOSITORY)}")
    except (SpeechError, TypeError) as error:
        print(f"run_all.sh record: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
