"""`flite`: sentences read by the voices of CMU Flite, more speakers for a vocoder to meet; out of two Debian
packages, no root needed.

slt (female) and rms, awb (male, awb with a Scottish accent) are statistical voices built from CMU ARCTIC, kal16 is a
diphone voice; all speak at 16 kHz. Where there is no apt, the corpus is missing and whatever needs it says so.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from lib import audio, progress
from lib.corpora import fetch
from lib.corpora.base import Corpus, Sentence, Utterance
from lib.errors import MissingDataError, unknown
from lib.files import cache_folder, content_key
from lib.normalise import spoken

VOICES = ("slt", "rms", "kal16", "awb")
SOURCE = "Debian packages flite and libflite1, 2.2"
LICENCE = "Carnegie Mellon University's BSD-like licence of Flite"
SAMPLE_RATE = 16_000
PREFIX = "flite-"  # of the speakers' names: "flite-slt"

_PROGRAM = "usr/bin/flite"


def corpus(voice: str, sentences: Iterable[Sentence]) -> Corpus:
    """Every sentence read by one of `VOICES`; made now where the cache does not hold it.

    Raises ParameterError for an unknown voice, MissingDataError where Flite can neither be fetched nor run.
    """
    if voice not in VOICES:
        raise unknown("voice of flite", voice, VOICES)
    name, utterances = f"{PREFIX}{voice}", []
    for s in progress.track(tuple(sentences), f"speech of {name}", unit="sentence"):
        read = functools.partial(audio.load, _speak(voice, s.text))
        utterances.append(Utterance(f"{name}-{s.id}", s.text, spoken(s.text), name, s.split, SAMPLE_RATE, read))
    return Corpus(name, SOURCE, LICENCE, tuple(utterances))


def _speak(voice: str, text: str) -> Path:
    """The clip of a text, from the cache where it was made before."""
    key = content_key("flite", SOURCE, voice, text)
    clip = cache_folder("speech", f"{PREFIX}{voice}", key[:2], f"{key}.flac")
    if clip.exists():
        return clip
    program, libraries = _installed()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "clip.wav"
        command = [str(program), "-voice", voice, "-t", text, "-o", str(made)]
        environment = os.environ | {"LD_LIBRARY_PATH": str(libraries)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode or not made.exists():
            raise MissingDataError(
                f"flite cannot speak: {(done.stderr or done.stdout).strip()[:200] or 'no message'}; "
                "it needs the same machine type as its Debian package"
            )
        waveform, rate = audio.load(made)
    return audio.save(clip, audio.resample(waveform, rate, SAMPLE_RATE), SAMPLE_RATE)


@functools.cache
def _installed() -> tuple[Path, Path]:
    """The program, and the folder of its libraries."""
    program = fetch.from_debian("flite", _PROGRAM) / _PROGRAM
    root = fetch.from_debian("libflite1", "usr/lib")
    library = next(root.glob("usr/lib/*/libflite.so.1"), None)
    if library is None:
        raise MissingDataError(
            f"the Debian package libflite1 in {root} holds no libflite.so.1: delete that folder and try again"
        )
    return program, library.parent
