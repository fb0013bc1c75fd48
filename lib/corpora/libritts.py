"""LibriTTS: 585 hours of 2,456 people reading audiobooks, 24 kHz, cut at sentence ends, CC BY 4.0: LibriSpeech
for synthesis.

    LibriTTS/speakers.tsv                                          READER  GENDER  SUBSET  NAME
    LibriTTS/dev-clean/84/121123/84_121123_000007_000001.wav
    LibriTTS/dev-clean/84/121123/84_121123_000007_000001.original.txt      text as printed
    LibriTTS/dev-clean/84/121123/84_121123_000007_000001.normalized.txt    text as spoken

Zen et al., "LibriTTS: A Corpus Derived from LibriSpeech for Text-to-Speech", Interspeech 2019,
https://www.openslr.org/60. LibriTTS-R (https://www.openslr.org/141) has the same layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from lib.corpora import _clips
from lib.corpora._layout import Publication, Row, file_names, gather, lines, subfolders
from lib.corpora.base import Corpus
from lib.corpora.librispeech import SUBSETS, find_subsets, gender, read_speakers

PUBLISHED = Publication(
    name="libritts",
    title="LibriTTS",
    licence="CC BY 4.0",
    sample_rate=24_000,
    archive="dev-clean.tar.gz (or another subset) of https://www.openslr.org/60",
    looked_for="subset folders such as dev-clean/<speaker>/<chapter>/*.wav with *.original.txt and *.normalized.txt",
    hub="mythicinfinity/libritts",
    hub_config="clean",
    columns={
        "id": ("id", "path", "file"),
        "text": ("text_original", "text"),
        "normalized": ("text_normalized", "normalized_text"),
        "speaker": ("speaker_id", "speaker"),
    },
)


def load(folder: str | Path, *, subsets: Sequence[str] | str | None = None, limit: int | None = None) -> Corpus:
    """LibriTTS from its unpacked archives; no audio is opened.

    subsets: for example ("train-clean-100", "dev-clean"), default all that are there (or the one that `folder` is);
    limit: at most this many utterances of each split. Raises MissingDataError when `folder` is something else.
    """
    root, names = find_subsets(PUBLISHED, folder, subsets, "wav")
    groups = [(SUBSETS[name], _rows(root, name)) for name in names]
    return gather(PUBLISHED, str(root), groups, limit=limit, speakers=_speakers(root))


def _speakers(root: Path) -> dict[str, dict[str, str]]:
    speakers = read_speakers(root)
    path = root / "speakers.tsv"
    for _, line in lines(path) if path.is_file() else ():
        fields = [field.strip() for field in (line or "").split("\t")]
        if len(fields) >= 4 and fields[0].isdigit():  # anything else is the header
            speakers[fields[0]] = {"gender": gender(fields[1]), "name": fields[3]}
    return speakers


def _rows(root: Path, subset: str) -> Iterator[Row]:
    for speaker in subfolders(root / subset):
        for chapter in subfolders(speaker):
            yield from _chapter(root, chapter, speaker.name)


def _chapter(root: Path, chapter: Path, speaker: str) -> Iterator[Row]:
    names = file_names(chapter)
    ends = (".wav", ".original.txt", ".normalized.txt")
    stems = {
        name.removesuffix(end)
        for name in names
        for end in ends
        if name.endswith(end) and not name.startswith(".")
    }
    for stem in sorted(stems):
        where = str((chapter / stem).relative_to(root))
        absent = [stem + end for end in ends if stem + end not in names]
        # The text as printed is a courtesy; audio and the text as spoken are what the corpus is made of.
        problem = (
            "" if absent in ([], [f"{stem}.original.txt"]) else f"its file {absent[0]} is missing ({where})"
        )
        text = normalized = ""
        if not problem:
            normalized = _text(chapter / f"{stem}.normalized.txt")
            text = normalized if absent else _text(chapter / f"{stem}.original.txt")
            if text is None or normalized is None:
                problem = f"its text is not UTF-8 ({where})"
        yield Row(
            stem,
            where,
            text or "",
            normalized or "",
            speaker,
            partial(_clips.read_file, str(chapter / f"{stem}.wav"), PUBLISHED.sample_rate),
            problem=problem,
        )


def _text(path: Path) -> str | None:
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError:
        return None
