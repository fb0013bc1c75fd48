"""Speech that a system makes of known sentences, in the shape of a recorded corpus, kept on disk once made.

The voice is handed in. What it knows exactly comes along: the phones and their frames, which no aligner finds better.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib import audio, progress
from lib.corpora.base import Corpus, Sentence, Utterance
from lib.errors import SpeechError
from lib.files import cache_folder, content_key, write_atomic
from lib.normalise import spoken

if TYPE_CHECKING:
    from lib.systems.base import System

_REVISION = 3  # raised when a voice says the same text otherwise, or its phones are counted otherwise


def corpus(voice: "System", sentences: Iterable[Sentence], *, seed: int = 0, workers: int = 1) -> Corpus:
    """Every sentence spoken by `voice`; made now where it is not in the cache, so an interrupted run goes on
    where it stopped.

    workers: sentences made at the same time. A voice on ONNX Runtime with one thread makes the most of n cores
    with n workers.
    """
    sentences, key = tuple(sentences), voice.cache_key()
    utterances, failed = [], {}
    with ThreadPoolExecutor(workers) as pool:
        made = pool.map(lambda s: _try(voice, key, s, seed), sentences)
        for sentence, outcome in zip(
            sentences, progress.track(made, f"speech of {voice.name}", total=len(sentences), unit="sentence")
        ):
            if isinstance(outcome, SpeechError):
                failed[sentence.id] = str(outcome)
            else:
                utterances.append(_utterance(voice, sentence, outcome))
    return Corpus(
        f"synthetic-{voice.name}",
        f"{voice.name} ({voice.variant}, {voice.target}) reading {len(sentences)} sentences",
        "as the voice and the text",
        tuple(utterances),
        failed,
    )


def speak(voice: "System", text: str, seed: int = 0, *, key: str = "") -> tuple[np.ndarray, int, dict]:
    """(waveform, sample rate, {"phones", "frames", "notes"}) of one text, from the cache where it was made before.

    key: `voice.cache_key()`, for a caller with many texts: it reads every weight of the voice.
    """
    clip = _make(voice, key or voice.cache_key(), text, seed)
    details = json.loads(clip.with_suffix(".json").read_text(encoding="utf-8"))
    return *audio.load(clip), details


def _make(voice: "System", key: str, text: str, seed: int) -> Path:
    """The clip of a text in the cache, made now where it is not there."""
    name = content_key(_REVISION, key, voice.sample_rate, text, seed)
    clip = cache_folder("speech", voice.name, name[:2], f"{name}.flac")
    if not (clip.exists() and clip.with_suffix(".json").exists()):
        speech = voice.synthesize(text, seed)
        details = {
            "text": text,
            "seed": seed,
            "phones": speech.phones,
            "frames": speech.frames,
            "notes": speech.notes,
            "nfe": speech.nfe,
        }
        write_atomic(clip.with_suffix(".json"), json.dumps(details, ensure_ascii=False).encode())
        audio.save(clip, speech.waveform, speech.sample_rate)
    return clip


def _try(voice: "System", key: str, sentence: Sentence, seed: int) -> Path | SpeechError:
    try:
        return _make(voice, key, sentence.text, seed)
    except SpeechError as error:
        return error


def _utterance(voice: "System", sentence: Sentence, clip: Path) -> Utterance:
    details = json.loads(clip.with_suffix(".json").read_text(encoding="utf-8"))
    return Utterance(
        f"{voice.name}-{sentence.id}",
        sentence.text,
        spoken(sentence.text),
        voice.name,
        sentence.split,
        voice.sample_rate,
        functools.partial(audio.load, clip),
        tuple(details["phones"]) if details["phones"] else None,
        tuple(details["frames"]) if details["frames"] else None,
    )
