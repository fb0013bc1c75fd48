"""What do the loaders of published corpora share? Finding the folder, reading metadata, and reporting what was
skipped.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import text as text_module
from lib.corpora.base import SPLITS, Corpus, Utterance
from lib.errors import MissingDataError, ParameterError

log = logging.getLogger(__name__)

VALIDATION_SHARE = (
    0.05  # of the sentences of a corpus that publishes no split (LJ Speech: about 655 clips, 1.2 hours)
)
TEST_SHARE = 0.05
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".zip")


@dataclass(frozen=True)
class Publication:
    """A corpus as its makers published it.

    archive: what to download and where; looked_for: the files of the unpacked archive; sample_rate: Hz;
    hub, hub_config: its repository on the Hugging Face hub, "" if it has none, and the configuration taken by default;
    columns: what we call it -> what hub repositories call it, nearest first; speaker: of a corpus with one voice;
    published_splits: whether its makers say what is train, validation and test.
    """

    name: str
    title: str
    licence: str
    archive: str
    looked_for: str
    sample_rate: int
    hub: str
    hub_config: str
    columns: dict[str, tuple[str, ...]]
    speaker: str = ""
    published_splits: bool = True
    normalize: Callable[[str], str] = str


@dataclass(frozen=True)
class Row:
    """One line of metadata with its clip, or with `problem`: why it cannot be used. where: "metadata.csv:12"."""

    id: str
    where: str
    text: str = ""
    normalized: str = ""
    speaker: str = ""
    read: Callable[[], tuple[np.ndarray, int]] | None = None
    problem: str = ""


def gather(
    published: Publication,
    source: str,
    groups: Iterable[tuple[str, Iterable[Row]]],
    *,
    limit: int | None = None,
    sample_rate: int | None = None,
    speakers: dict[str, dict[str, str]] | None = None,
) -> Corpus:
    """Turn rows into a Corpus; rows that cannot be used are named in `skipped` and in one warning.

    groups: (split, its rows); "" where nobody published a split: each sentence then goes where its hash says;
    limit: at most this many utterances of each split, and no row is read beyond what that takes.
    Raises MissingDataError when not one row is usable.
    """
    check_limit(limit)
    utterances: dict[str, Utterance] = {}
    skipped: dict[str, str] = {}
    counts = dict.fromkeys(SPLITS, 0)
    for split, row in _until_full(groups, counts, limit):
        problem = row.problem or ("" if _says_something(row.text) else f"empty transcript ({row.where})")
        if problem:
            skipped[row.id] = problem
        elif row.id in utterances:
            skipped[f"{row.id} ({row.where})"] = "listed twice: the first entry is kept"
        else:
            split = split or split_of(row.normalized)
            if limit is not None and counts[split] >= limit:
                continue
            counts[split] += 1
            utterances[row.id] = Utterance(
                row.id,
                row.text,
                row.normalized,
                row.speaker,
                split,
                sample_rate or published.sample_rate,
                row.read,
            )
    if skipped:
        shown = "; ".join(f"{key}: {reason}" for key, reason in list(skipped.items())[:3])
        log.warning(
            "%s: %d skipped, %d usable: %s%s",
            published.name,
            len(skipped),
            len(utterances),
            shown,
            "; ..." if len(skipped) > 3 else "",
        )
        if not utterances:
            raise MissingDataError(
                f"{published.title}: not one of {len(skipped)} utterances in {source} is usable: {shown}"
            )
    if not utterances:
        raise MissingDataError(
            f"{published.title}: no utterance in {source}; looked for {published.looked_for}. "
            f"It comes from {published.archive}"
        )
    spoken = {u.speaker for u in utterances.values()}
    return Corpus(
        published.name,
        source,
        published.licence,
        tuple(utterances.values()),
        skipped,
        {name: facts for name, facts in (speakers or {}).items() if name in spoken},
    )


def _until_full(
    groups: Iterable[tuple[str, Iterable[Row]]], counts: dict[str, int], limit: int | None
) -> Iterator[tuple[str, Row]]:
    """(split, row) of every group, as long as a split that it can fill holds fewer than `limit`."""
    for split, rows in groups:

        def full() -> bool:
            return limit is not None and (counts[split] if split else min(counts.values())) >= limit

        if full():
            continue
        for row in rows:
            yield split, row
            if full():
                break


def split_of(sentence: str) -> str:
    """The split of a sentence by its SHA-256: 90 % train, 5 % validation, 5 % test.

    Letters and digits alone count, so the same sentence is in the same split however it is punctuated or whoever reads
    it, whatever else the corpus holds, on every machine.

    >>> split_of("The cat sat.") == split_of("the cat  SAT!")
    True
    """
    folded = text_module.for_raw_comparison(sentence)
    share = int.from_bytes(hashlib.sha256(folded.encode()).digest()[:8], "big") / 2**64
    return "test" if share < TEST_SHARE else "validation" if share < TEST_SHARE + VALIDATION_SHARE else "train"


def check_limit(limit: int | None) -> None:
    """Raise ParameterError unless `limit` is None or a whole number of at least 1."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or limit < 1):
        raise ParameterError(f"limit={limit!r} is not a number of utterances: give 1 or more, or None for all")


def locate(
    published: Publication, folder: str | Path, is_root: Callable[[Path], bool], *, depth: int = 1
) -> Path:
    """The folder of an unpacked archive: `folder`, the only one up to `depth` below that fits, or the one above.

    Raises MissingDataError that says what was looked for, what is there instead, and where the archive comes from.
    """
    folder = existing(published, folder)
    below = [folder]
    for _ in range(depth + 1):
        fitting = [path for path in below if is_root(path)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise MissingDataError(
                f"{published.title}: {folder} holds several: {', '.join(path.name for path in fitting)}; "
                "give the folder of one of them"
            )
        below = [child for path in below for child in subfolders(path)]
    if is_root(folder.absolute().parent):
        return folder.absolute().parent
    raise misplaced(published, folder)


def existing(published: Publication, folder: str | Path) -> Path:
    """`folder` as a Path, or MissingDataError when there is none (or when it is the archive, not yet unpacked)."""
    folder = Path(folder).expanduser()
    if folder.is_file() and folder.name.endswith(ARCHIVES):
        command = "unzip" if folder.suffix == ".zip" else "tar -xf"
        raise MissingDataError(
            f"{published.title}: {folder} is the archive: unpack it (`{command} {folder.name}`) "
            "and give the folder"
        )
    if not folder.is_dir():
        raise MissingDataError(
            f"{published.title}: no folder {folder}; unpack {published.archive} and give the folder "
            f"that holds {published.looked_for}"
        )
    return folder


def misplaced(published: Publication, folder: Path) -> MissingDataError:
    """The error for a folder that exists but holds something else."""
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in os.scandir(folder))
    found = (
        ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "nothing"
    )
    return MissingDataError(
        f"{published.title}: {folder} is not its folder: looked for {published.looked_for}; "
        f"found {found}. It comes from {published.archive}"
    )


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder`, sorted by name; none where it cannot be read."""
    try:
        return sorted(
            Path(entry.path)
            for entry in os.scandir(folder)
            if entry.is_dir() and not entry.name.startswith(".")
        )
    except OSError:
        return []


def file_names(folder: Path) -> set[str]:
    """Names of the files in a folder from one directory listing: a stat per clip is minutes on a network disk."""
    return {entry.name for entry in os.scandir(folder) if entry.is_file()}


def lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """(line number from 1, line without its end) of a UTF-8 file; None for a line that is not UTF-8. Empty
    lines are left out.

    Only "\\n" and "\\r\\n" end a line: transcripts hold characters at which `str.splitlines` would cut as well.
    """
    with open(path, "rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                yield number, None
                continue
            if line.strip():
                yield number, line


def _says_something(transcript: str) -> bool:
    return any(character.isalnum() for character in transcript)
