"""Common Voice: volunteers of every accent reading sentences in over 100 languages into their own microphones,
MP3, CC0.

    cv-corpus-17.0-2024-03-15/en/{train,dev,test,validated}.tsv    client_id, path, sentence, ... with a header
    cv-corpus-17.0-2024-03-15/en/clips/common_voice_en_1.mp3

Ardila et al., "Common Voice: A Massively-Multilingual Speech Corpus", LREC 2020, https://commonvoice.mozilla.org. The
archives are at https://mozilladatacollective.com (since October 2025 nowhere else, and for those who have an account).
Columns have come and gone (`accent` became `accents`, `sentence_id`, `sentence_domain` and `variant` joined); a header
names them. The fields are not quoted, so lines are cut at tabs alone: a sentence may begin with a quotation mark that
never ends, and a CSV reader would swallow all that follows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lib.corpora import _clips
from lib.corpora._layout import Publication, Row, file_names, gather, lines, locate
from lib.corpora.base import Corpus
from lib.errors import MissingDataError

log = logging.getLogger(__name__)

SPLIT_FILES = {"train.tsv": "train", "dev.tsv": "validation", "test.tsv": "test"}
FACTS = {
    "gender": ("gender",),
    "age": ("age",),
    "accent": ("accents", "accent"),
}  # of a speaker, where they were given

PUBLISHED = Publication(
    # 48 kHz is what the hub declares; later releases are 32 kHz, and such a clip is resampled when it is read.
    name="common-voice",
    title="Common Voice",
    licence="CC0-1.0",
    sample_rate=48_000,
    archive="the archive of one language at https://mozilladatacollective.com, which wants an account",
    looked_for="clips/ and at least one of train.tsv, dev.tsv, test.tsv, validated.tsv",
    # Its makers took it off the hub in October 2025 (https://huggingface.co/mozilla-foundation); copies have
    # such columns.
    hub="",
    hub_config="en",
    columns={"id": ("path", "file"), "text": ("sentence", "text"), "normalized": (), "speaker": ("client_id",)},
)


def load(
    folder: str | Path, *, language: str | None = None, validated: bool = False, limit: int | None = None
) -> Corpus:
    """One language of Common Voice from its unpacked archive; no audio is opened.

    folder: the folder of the language, or the release's with `language` ("en"); validated: add to train what only
    validated.tsv lists, unless its speaker or sentence is in validation or test; where that is the only file,
    it is split 90 / 5 / 5 % by sentence; limit: at most this many utterances of each split.
    Raises MissingDataError when `folder` is something else.
    """

    def is_root(path: Path) -> bool:
        files = any((path / name).is_file() for name in (*SPLIT_FILES, "validated.tsv"))
        return files and (path / "clips").is_dir() and language in (None, path.absolute().name)

    root = locate(PUBLISHED, folder, is_root, depth=2)
    speakers: dict[str, dict[str, str]] = {}
    return gather(PUBLISHED, str(root), _groups(root, validated, speakers), limit=limit, speakers=speakers)


def _groups(
    root: Path, validated: bool, speakers: dict[str, dict[str, str]]
) -> Iterator[tuple[str, Iterator[Row]]]:
    """The split files and what else is asked for; reading them fills `speakers` with what is known about each."""
    clips = file_names(root / "clips")
    split_files = [name for name in SPLIT_FILES if (root / name).is_file()]
    for name in split_files:
        yield SPLIT_FILES[name], _table(root / name, clips, speakers)
    if (root / "validated.tsv").is_file() and not split_files:
        yield "", _table(root / "validated.tsv", clips, speakers)
    elif (root / "validated.tsv").is_file() and validated:
        yield "train", _rest(root, split_files, clips, speakers)


def _rest(
    root: Path, split_files: list[str], clips: set[str], speakers: dict[str, dict[str, str]]
) -> Iterator[Row]:
    """Rows of validated.tsv that are in no split file and share neither speaker nor sentence with validation
    and test.
    """
    taken, held_out = set(), set()
    for name in split_files:
        for row in _table(root / name, clips, {}):
            taken.add(row.id)
            if SPLIT_FILES[name] != "train":
                held_out |= {("speaker", row.speaker), ("text", row.text)}
    left_out = 0
    for row in _table(root / "validated.tsv", clips, speakers):
        if row.id not in taken:
            if held_out.isdisjoint({("speaker", row.speaker), ("text", row.text)}):
                yield row
            else:
                left_out += 1
    if left_out:
        log.info("common-voice: %d validated clips left out: their speaker or sentence is held out", left_out)


def _table(path: Path, clips: set[str], speakers: dict[str, dict[str, str]]) -> Iterator[Row]:
    content = lines(path)
    header = (next(content, (1, ""))[1] or "").split("\t")
    place = {
        role: next((header.index(name) for name in names if name in header), None)
        for role, names in {**PUBLISHED.columns, **FACTS}.items()
    }
    for role in ("id", "text", "speaker"):
        if place[role] is None:
            raise MissingDataError(
                f"{path}:1 has no column {' or '.join(PUBLISHED.columns[role])}; found "
                f"{', '.join(header)}. Is it a table of Common Voice with its header?"
            )
    folder = str(path.parent / "clips")
    for number, line in content:  # a million of them: strings, not Paths
        where = f"{path.name}:{number}"
        fields = [] if line is None else line.split("\t")
        if len(fields) != len(header):
            found = "is not UTF-8" if line is None else f"holds {len(fields)} fields, the header {len(header)}"
            yield Row(where, where, problem=f"line {number} of {path} {found}")
            continue
        clip, text, speaker = (fields[place[role]].strip() for role in ("id", "text", "speaker"))
        name, suffix = os.path.splitext(clip)
        clip = name + (suffix or ".mp3")  # the first releases left it out
        facts = {role: fields[place[role]].strip() for role in FACTS if place[role] is not None}
        speakers[speaker] = {role: fact for role, fact in facts.items() if fact}
        yield Row(
            name,
            where,
            text,
            PUBLISHED.normalize(text),
            speaker,
            partial(_clips.read_file, os.path.join(folder, clip), PUBLISHED.sample_rate),
            problem="" if clip in clips else f"its file clips/{clip} is missing ({where})",
        )
