"""Are somebody's own recordings fit to learn a voice from? A folder in LJ Speech's form, every clip of it checked.

    metadata.csv     name|text, or name|text|text as spoken; English
    wavs/name.wav    or another of `ENDINGS`

Each clip is opened, measured and aligned with its text before anything learns: one that is silent, clipped, cut short
or does not say its text is left out and named with its reason. A tenth of the sentences is kept to judge by, half as
many to watch the training by: the last ones of the list, which is in the order of recording (the dates of files are
those of their last copy and are not asked). Clips of one evening share its room and distance from the microphone, and
a held-out one between two that were learnt from would flatter the voice that learnt.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lib.corpora import _clips, ljspeech
from lib.corpora._layout import Row, file_names, gather
from lib.corpora.align import aligned
from lib.corpora.base import Corpus, Utterance
from lib.corpora.duplicates import words
from lib.errors import AudioError, MissingDataError, SpeechError
from lib.normalise import spoken

log = logging.getLogger(__name__)

ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".m4a")  # of a clip, the first that is there
FEWEST = 5  # usable clips: two to learn from, one to watch, two to judge
TEST_SHARE, TEST_MOST = 0.1, 40
FULL_SCALE = 0.999  # of the largest sample that a file can hold
STUCK = 3  # samples in a row at full scale, which no sound that fits does
CLIPPED_SHARE = 0.002  # of a clip's samples that are stuck there; a peak or two is no harm


def load(folder: str | Path, name: str = "") -> Corpus:
    """The recordings of one speaker, checked, with durations, in three splits. name: of the voice, by default the
    folder's.

    Raises MissingDataError where the folder is not of that form or fewer than `FEWEST` clips are usable, with the
    reasons of the first that are not; all of them are in `Corpus.skipped`.
    """
    root = Path(folder).expanduser()
    for path in (root, root / "metadata.csv", root / "wavs"):
        if not path.exists():
            raise MissingDataError(
                f"no {path}: recordings lie in a folder with metadata.csv, a line name|text for each clip, and "
                "wavs/name.wav"
            )
    name = name or voice_name(root)
    found = _listed(root, name)
    usable = _usable(found, root)
    if len(usable) < FEWEST:
        reasons = [f"{clip}: {why}" for clip, why in found.skipped.items()]
        raise MissingDataError(
            f"{root} holds {len(usable)} usable clip{'' if len(usable) == 1 else 's'}, at least {FEWEST} are needed"
            + (
                f"; {len(reasons)} cannot be used: {'; '.join(reasons[:3])}"
                if reasons
                else ": record more sentences"
            )
        )
    return dataclasses.replace(found, utterances=split(usable))


def voice_name(folder: Path) -> str:
    """A voice's name of a folder's.

    >>> voice_name(Path("/data/My Voice (2)"))
    'my-voice-2'
    """
    return re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "voice"


def split(utterances: Iterable[Utterance]) -> tuple[Utterance, ...]:
    """The utterances with their splits, in the order of recording: the latest sentences are the test split, those just
    before them validation. Equal texts share a split, that of the last time that they were said.
    """
    recorded = tuple(utterances)
    latest_first = list(dict.fromkeys(words(u.normalized) for u in reversed(recorded)))
    tests = min(TEST_MOST, max(2, round(TEST_SHARE * len(latest_first))))
    watched = max(1, tests // 2)
    where = {
        text: "test" if i < tests else "validation" if i < tests + watched else "train"
        for i, text in enumerate(latest_first)
    }
    return tuple(dataclasses.replace(u, split=where[words(u.normalized)]) for u in recorded)


def check(waveform: np.ndarray, name: str) -> None:
    """AudioError for a clip whose loud parts are cut off flat."""
    at_the_end = np.abs(waveform) >= FULL_SCALE * max(FULL_SCALE, float(np.abs(waveform).max()))
    edges = np.flatnonzero(np.diff(np.concatenate([[False], at_the_end, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    stuck = int(lengths[lengths >= STUCK].sum())
    if stuck > CLIPPED_SHARE * len(waveform):
        raise AudioError(
            f"{name}: is clipped, {100 * stuck / len(waveform):.1f} % of its samples stand at full scale; record it "
            "at a lower level"
        )


def _listed(root: Path, name: str) -> Corpus:
    """What metadata.csv lists, as one speaker's; texts in words."""
    published = dataclasses.replace(
        ljspeech.PUBLISHED,
        name=name,
        title=f"the recordings in {root}",
        licence="that of the recordings",
        archive="your own recordings",
        speaker=name,
        hub="",
    )
    found = gather(published, str(root), [("train", (_in_words(row) for row in ljspeech.rows(root, ENDINGS)))])
    return dataclasses.replace(
        found, utterances=tuple(dataclasses.replace(u, speaker=name) for u in found.utterances)
    )


def _in_words(row: Row) -> Row:
    if row.problem:
        return row
    try:
        return dataclasses.replace(row, normalized=spoken(row.normalized))
    except SpeechError as error:
        return dataclasses.replace(row, problem=str(error))


def _usable(corpus: Corpus, root: Path) -> list[Utterance]:
    """The clips that can be opened, are not clipped and say their text, with durations; the others in `skipped`."""
    sound, clips = [], file_names(root / "wavs")
    for utterance, _ in corpus.waveforms():
        file = root / "wavs" / ljspeech.file_name(utterance.id, clips, ENDINGS)
        try:  # as it was recorded: at another rate a flat top is no longer flat
            check(_clips.read_file(file)[0], utterance.id)
            sound.append(utterance)
        except AudioError as error:
            corpus.skipped[utterance.id] = str(error)
            log.warning("%s: left out %s", corpus.name, error)
    chosen = dataclasses.replace(
        corpus, utterances=tuple(sound)
    )  # shares `skipped`, into which the aligner writes
    return list(aligned(chosen))
