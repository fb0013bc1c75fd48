"""LibriSpeech: 982 hours of 2,484 people reading audiobooks, 16 kHz FLAC, CC BY 4.0: what recognisers are compared on.

    LibriSpeech/SPEAKERS.TXT                            84   | F | dev-clean | 8.02 | Christie Nowak
    LibriSpeech/dev-clean/84/121123/84-121123.trans.txt 84-121123-0000 GO DO YOU HEAR
    LibriSpeech/dev-clean/84/121123/84-121123-0000.flac

Panayotov, Chen, Povey and Khudanpur, "Librispeech: an ASR corpus based on public domain audio books", ICASSP 2015,
https://www.openslr.org/12. Transcripts are in capitals without punctuation; normalised means lower case here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from lib.corpora import _clips
from lib.corpora._layout import (
    Publication,
    Row,
    existing,
    file_names,
    gather,
    lines,
    locate,
    misplaced,
    subfolders,
)
from lib.corpora.base import Corpus
from lib.errors import MissingDataError, unknown

# The splits as published: no speaker is in two of them.
SUBSETS = {
    "train-clean-100": "train",
    "train-clean-360": "train",
    "train-other-500": "train",
    "dev-clean": "validation",
    "dev-other": "validation",
    "test-clean": "test",
    "test-other": "test",
}

PUBLISHED = Publication(
    name="librispeech",
    title="LibriSpeech",
    licence="CC BY 4.0",
    sample_rate=16_000,
    archive="dev-clean.tar.gz (or another subset) of https://www.openslr.org/12",
    looked_for="subset folders such as dev-clean/<speaker>/<chapter>/*.flac with *.trans.txt",
    hub="openslr/librispeech_asr",
    hub_config="clean",
    columns={
        "id": ("id", "file", "path"),
        "text": ("text", "transcription"),
        "normalized": (),
        "speaker": ("speaker_id", "speaker"),
    },
    normalize=str.lower,
)


def load(folder: str | Path, *, subsets: Sequence[str] | str | None = None, limit: int | None = None) -> Corpus:
    """LibriSpeech from its unpacked archives; no audio is opened.

    subsets: for example ("train-clean-100", "dev-clean"), default all that are there (or the one that `folder` is);
    limit: at most this many utterances of each split. Raises MissingDataError when `folder` is something else.
    """
    root, names = find_subsets(PUBLISHED, folder, subsets, "flac")
    groups = [(SUBSETS[name], _rows(root, name)) for name in names]
    return gather(PUBLISHED, str(root), groups, limit=limit, speakers=read_speakers(root))


def find_subsets(
    published: Publication, folder: str | Path, subsets: Sequence[str] | str | None, suffix: str
) -> tuple[Path, list[str]]:
    """(the folder of the corpus, its subsets to read) for a layout of <subset>/<speaker>/<chapter>/*.<suffix>."""
    wanted = [subsets] if isinstance(subsets, str) else list(subsets or [])
    for name in wanted:
        if name not in SUBSETS:
            raise unknown("subset", name, SUBSETS)

    def holds_clips(path: Path) -> bool:
        return path.is_dir() and next(path.glob(f"[0-9]*/[0-9]*/*.{suffix}"), None) is not None

    given = existing(published, folder).absolute()
    if given.name in SUBSETS:  # one level too low, and plain what is meant: this subset alone
        if not holds_clips(given):
            raise misplaced(published, given)
        root, there = given.parent, [given.name]
    else:
        root = locate(published, folder, lambda path: any(holds_clips(path / name) for name in SUBSETS))
        there = [name for name in SUBSETS if (root / name).is_dir()]
    for name in wanted:
        if name not in there:
            raise MissingDataError(
                f"{published.title}: no subset {name} in {root}; found {', '.join(there)}. "
                f"It comes from {published.archive}"
            )
    return root, wanted or there


def read_speakers(root: Path) -> dict[str, dict[str, str]]:
    """Speaker -> {"gender", "name"} from SPEAKERS.TXT (fields cut by |, ; begins a comment); {} where there is none."""
    speakers = {}
    for path in (root / "SPEAKERS.TXT", root / "SPEAKERS.txt"):
        for _, line in lines(path) if path.is_file() else ():
            fields = [field.strip() for field in (line or ";").split("|", 4)]
            if not fields[0].startswith(";") and len(fields) == 5:
                speakers[fields[0]] = {"gender": gender(fields[1]), "name": fields[4]}
    return speakers


def gender(letter: str) -> str:
    """ "F" and "M" in words."""
    return {"F": "female", "M": "male"}.get(letter.strip().upper(), "")


def _rows(root: Path, subset: str) -> Iterator[Row]:
    for speaker in subfolders(root / subset):
        for chapter in subfolders(speaker):
            yield from _chapter(root, chapter, speaker.name)


def _chapter(root: Path, chapter: Path, speaker: str) -> Iterator[Row]:
    names = file_names(chapter)
    listed = set()
    transcript = chapter / f"{speaker}-{chapter.name}.trans.txt"
    for number, line in lines(transcript) if transcript.name in names else ():
        where = f"{transcript.relative_to(root)}:{number}"
        name, _, text = (line or "").strip().partition(" ")
        if line is None or not name.startswith(f"{speaker}-{chapter.name}-"):
            problem = (
                "is not UTF-8"
                if line is None
                else f"does not begin with an id such as {speaker}-{chapter.name}-0000"
            )
            yield Row(where, where, problem=f"line {number} of {transcript} {problem}")
            continue
        clip = f"{name}.flac"
        listed.add(clip)
        yield Row(
            name,
            where,
            text.strip(),
            PUBLISHED.normalize(text.strip()),
            speaker,
            partial(_clips.read_file, str(chapter / clip), PUBLISHED.sample_rate),
            problem=""
            if clip in names
            else f"its file {(chapter / clip).relative_to(root)} is missing ({where})",
        )
    for clip in sorted(name for name in names - listed if name.endswith(".flac") and not name.startswith(".")):
        where = str((chapter / clip).relative_to(root))
        yield Row(clip.removesuffix(".flac"), where, problem=f"no line in {transcript.name} has its text")
