"""How does the report get onto paper? Chromium prints it, everything unfolded, the players and controls left out.

./run_all.sh pdf [quick|study|full|recorded]       outputs/<profile>/report.pdf from the report.html beside it
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lib import REPOSITORY
from lib.errors import MissingDataError, MissingPackageError, OutputError, SpeechError
from lib.files import write_atomic

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing is fetched, no settings are kept, and a container's browser runs, too.
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-pdf-header-footer",
)
LIMIT_S = 180


def browser() -> str | None:
    """The path of a Chromium on this machine, None without one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def write(page: str | Path, *, limit_s: float = LIMIT_S) -> Path:
    """Print an HTML page as <name>.pdf beside it and return its path.

    Raises MissingDataError without the page, MissingPackageError without Chromium, OutputError where it prints nothing.
    """
    page = Path(page).resolve()
    if not page.is_file():
        raise MissingDataError(f"there is no {page}: run ./run_all.sh {page.parent.name} first")
    chromium = browser()
    if chromium is None:
        raise MissingPackageError(
            "no PDF: there is no Chromium on this machine (Debian, Ubuntu: sudo apt-get install chromium)"
        )
    with tempfile.TemporaryDirectory(prefix="print-") as folder:
        printed = Path(folder) / "page.pdf"
        command = [chromium, *ARGUMENTS, f"--user-data-dir={folder}/profile", f"--print-to-pdf={printed}"]
        try:
            done = subprocess.run(
                [*command, page.as_uri()],
                capture_output=True,
                timeout=limit_s,
                text=True,
                env={**os.environ, "HOME": folder},
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise OutputError(f"{chromium} did not print {page}: {error}") from error
        if not printed.is_file():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise OutputError(f"{chromium} did not print {page}: {last}")
        return write_atomic(page.with_suffix(".pdf"), printed.read_bytes())


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 0, or 2 where there is no PDF, which one line explains."""
    parser = argparse.ArgumentParser(prog="run_all.sh pdf", description="Print a report as PDF.")
    parser.add_argument("profile", nargs="?", default="quick", help="whose report: a profile, or recorded")
    parser.add_argument("--outputs", type=Path, default=REPOSITORY / "outputs", help="default: outputs/")
    options = parser.parse_args(arguments)
    try:
        print(write(options.outputs / options.profile / "report.html"))
    except SpeechError as error:
        print(f"run_all.sh: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
