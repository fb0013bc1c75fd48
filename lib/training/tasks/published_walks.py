"""What does a student of the published TorToiSe learn from? Speech that its teacher made: no recording is needed.

A walk is a sentence as the decoder is given it (the language model's latents) and the mel that the decoder drew for it,
guided and in many steps. Each is kept as a file when it is made, so that a stopped collection goes on.
"""

from __future__ import annotations

import io
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lib import audio, progress
from lib.corpora.base import Sentence
from lib.errors import MissingDataError, TextError, TrainingError
from lib.files import write_atomic
from lib.systems.tortoise.published import PublishedTortoise, frames_of

log = logging.getLogger(__name__)

KINDS = (".wav", ".flac", ".mp3", ".ogg")


@dataclass(frozen=True)
class Walk:
    """A sentence that was drawn: its file, its number of codes, and which of the voices said it."""

    id: str
    path: Path
    codes: int
    voice: int

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """(latents (codes, C), mel (bands, frames_of(codes))), float32."""
        try:
            with np.load(self.path) as stored:
                said, mel = (stored[name].astype(np.float32) for name in ("said", "mel"))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise TrainingError(
                f"{self.path} cannot be read ({error!r}): delete it, and it is made anew"
            ) from error
        return said, mel


def clips(folder: str | Path) -> list[tuple[np.ndarray, int]]:
    """The recordings of a folder, as `PublishedTortoise` takes them."""
    files = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in KINDS)
    if not files:
        raise MissingDataError(
            f"{folder} holds no recordings ({', '.join(KINDS)}): TorToiSe speaks in the voice of clips, give several"
        )
    return [audio.load(path) for path in files]


def collect(
    voice: PublishedTortoise, sentences: Sequence[Sentence], home: str | Path, *, index: int = 0
) -> list[Walk]:
    """Every sentence as `voice` says it, in `home`, under the voice's fingerprint; what is there is not made again.

    index: the number that the walks carry. A sentence is said with a seed of its own, whatever else is asked for.
    """
    folder = Path(home) / voice.fingerprint()
    made = []
    for sentence in progress.track(sentences, "walks of the published decoder", unit="sentence"):
        path = folder / f"{sentence.id}.npz"
        if not path.is_file():
            try:
                said, mel = voice.reading(sentence.text, seed=zlib.crc32(sentence.id.encode()))
            except TextError as error:  # longer than it reads
                log.warning("%s is left out: %s", sentence.id, error)
                continue
            buffer = io.BytesIO()
            np.savez(buffer, said=said.half().cpu().numpy(), mel=mel.half().cpu().numpy())
            write_atomic(path, buffer.getvalue())
        if codes := _codes(path):
            made.append(Walk(sentence.id, path, codes, index))
        else:
            log.warning("%s is left out: the language model had nothing to say", sentence.id)
    return made


def window(walk: Walk, codes: int, place: float) -> tuple[np.ndarray, np.ndarray]:
    """(latents (codes, C), mel (bands, frames_of(codes))) of a walk, from `place` in [0, 1) of what there is on."""
    said, mel = walk.load()
    first = int(place * (walk.codes - codes + 1))
    begin, frames = frames_of(first), frames_of(codes)
    return said[first : first + codes], mel[:, begin : begin + frames]


def _codes(path: Path) -> int:
    try:
        with np.load(path) as stored:
            return len(stored["said"])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise TrainingError(f"{path} cannot be read ({error!r}): delete it, and it is made anew") from error
