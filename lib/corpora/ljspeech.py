"""LJ Speech: 13,100 clips (24 hours) of one woman reading seven non-fiction books, 22.05 kHz, public domain.

    LJSpeech-1.1/metadata.csv            LJ001-0001|text as printed|text as spoken
    LJSpeech-1.1/wavs/LJ001-0001.wav

Keith Ito and Linda Johnson, "The LJ Speech Dataset", 2017, https://keithito.com/LJ-Speech-Dataset. It publishes no
split: 90 / 5 / 5 % train / validation / test by the hash of the sentence (`_layout.split_of`), so no sentence
is in two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

from lib.corpora import _clips
from lib.corpora._layout import Publication, Row, file_names, gather, lines, locate
from lib.corpora.base import Corpus

PUBLISHED = Publication(
    name="ljspeech",
    title="LJ Speech",
    licence="public domain",
    sample_rate=22_050,
    archive="LJSpeech-1.1.tar.bz2 of https://keithito.com/LJ-Speech-Dataset",
    looked_for="metadata.csv and wavs/",
    hub="keithito/lj_speech",
    hub_config="main",
    columns={
        "id": ("id", "file", "path"),
        "text": ("text", "transcription", "raw_text"),
        "normalized": ("normalized_text", "normalized_transcription"),
        "speaker": (),
    },
    speaker="LJ",
    published_splits=False,
)
SPEAKERS = {"LJ": {"gender": "female", "name": "Linda Johnson"}}


def load(folder: str | Path, *, limit: int | None = None) -> Corpus:
    """LJ Speech from its unpacked archive; no audio is opened. limit: at most this many utterances of each split.

    Raises MissingDataError when `folder` is something else. Lines that cannot be used are in `Corpus.skipped`.
    """
    root = locate(
        PUBLISHED, folder, lambda path: (path / "metadata.csv").is_file() and (path / "wavs").is_dir()
    )
    return gather(PUBLISHED, str(root), [("", rows(root))], limit=limit, speakers=SPEAKERS)


def rows(root: Path, endings: Sequence[str] = (".wav",)) -> Iterator[Row]:
    """The lines of metadata.csv with their clips, and clips without a line. endings: see `file_name`."""
    clips = file_names(root / "wavs")
    listed = set()
    for number, line in lines(root / "metadata.csv"):
        where = f"metadata.csv:{number}"
        # Split by hand: the file is not quoted, and a transcript with one quotation mark would swallow the next lines.
        fields = None if line is None else [field.strip() for field in line.split("|")]
        if fields is None or len(fields) not in (2, 3) or not fields[0]:
            found = (
                "is not UTF-8" if fields is None else f"holds {len(fields)} fields, not id|text|normalized text"
            )
            yield Row(where, where, problem=f"line {number} of {root / 'metadata.csv'} {found}")
            continue
        name, text, normalized = fields[0], fields[1], fields[-1]
        clip = file_name(name, clips, endings)
        listed.add(clip)
        name = name.removesuffix(Path(clip).suffix) if name == clip else name
        yield Row(
            name,
            where,
            text,
            normalized or text,
            PUBLISHED.speaker,
            read=partial(_clips.read_file, str(root / "wavs" / clip), PUBLISHED.sample_rate),
            problem="" if clip in clips else f"its file wavs/{clip} is missing ({where})",
        )
    for clip in sorted(clips - listed):
        if clip.lower().endswith(tuple(endings)) and not clip.startswith("."):
            yield Row(Path(clip).stem, f"wavs/{clip}", problem="no line in metadata.csv has its text")


def file_name(name: str, clips: Collection[str], endings: Sequence[str] = (".wav",)) -> str:
    """The clip of a line: `name` with the first of the endings that is among the files, in small or large letters, or
    without one where the line has it; "name.wav" where there is none.

    >>> file_name("a", ["a.FLAC"], (".wav", ".flac")), file_name("b.wav", ["b.wav"]), file_name("c", [])
    ('a.FLAC', 'b.wav', 'c.wav')
    """
    tried = [f"{name}{form}" for ending in endings for form in (ending, ending.upper())]
    if name.lower().endswith(tuple(endings)):
        tried.append(name)
    return next((clip for clip in tried if clip in clips), f"{name}.wav")
