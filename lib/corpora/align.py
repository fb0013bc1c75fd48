"""When is each phone spoken? Phone durations of recordings whose text is known, by forced alignment, offline.

A hidden Markov model of English phones (PocketSphinx 5 with the model in its wheel, trained on real speakers)
is run over the recording with eSpeak's reading of the text, each word entered as its own pronunciation: no
dictionary is needed, and the result is in the very symbols the systems of this package read. Two things make it
exact on the mel frame grid: the model is told a sample rate of 256 times its frame rate, so that its frames are
HiFi-GAN's; and several such rates, which shift the formants it expects by -7 to +16 %, are tried, the likeliest
being kept (vocal tract normalisation).

Against the exact durations of 50 synthesised sentences, phones begin within 12 ms (median; 94 % within 50 ms) if the
voice's padding between two phones is counted to the second, within 23 ms if to the first; see the tests.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lib import audio
from lib import text as text_module
from lib.corpora import arpabet
from lib.corpora.base import Corpus, Utterance
from lib.errors import AlignmentError, SpeechError, TextError, require
from lib.features import HIFIGAN
from lib.files import cache_folder, content_key, write_atomic
from lib.prosody import Segment, segments

log = logging.getLogger(__name__)

VERSION = 1  # raised when the same input would get other durations, so that cached ones are made again
FRAME_RATES = (80, 86, 93, 100)  # the recogniser's frames per "second": 86 is the true rate of 22,050 / 256
MARGIN = 8  # frames of faint noise before and after the clip, for the model's silence to live in


@dataclass(frozen=True)
class Word:
    """A word as eSpeak reads it (small words may be joined: "ɪnðə"), its seconds in the clip, its confidence 0 to 1."""

    phonemes: str
    begin_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Alignment:
    """phones: symbols as systems read them, from "^" (silence before) to "$" (silence after), stress marks, spaces and
    punctuation included; frames: their lengths in frames of `lib.features.HIFIGAN`, which add up to the clip's.

    The frames of a phone written with several symbols ("ˈaɪ") are shared out evenly; a space between words spoken
    without a pause has 0. confidence: 0 to 1, below 0.5 the text is not what is said.
    """

    phones: tuple[str, ...]
    frames: tuple[int, ...]
    words: tuple[Word, ...]
    confidence: float


def align(
    waveform: np.ndarray,
    sample_rate: int,
    text: str,
    *,
    phones: Sequence[str] | None = None,
    min_confidence: float = 0.5,
) -> Alignment:
    """Find every phone of `text` in the recording; several times faster than real time on one core.

    text: normalised (numbers in words), English; phones: the symbols to align instead of eSpeak's for the text.
    Raises AlignmentError where the recording does not say the text, TextError for a phone the model does not know.
    """
    symbols = (
        tuple(phones)
        if phones is not None
        else ("^", *unicodedata.normalize("NFD", text_module.phonemes(text)), "$")
    )
    parts = segments(symbols)
    words = _words(parts)
    if not words:
        raise TextError(f"nothing to align: no phone in {''.join(symbols)[:40]!r}")
    clip = audio.resample(audio.check(waveform, sample_rate, min_seconds=0.1), sample_rate, HIFIGAN.sample_rate)
    tries = [found for rate in FRAME_RATES if (found := _recognise(clip, words, rate)) is not None]
    scores = [np.mean([phone.score for phone in found]) for found in tries]
    confidence = max(map(_confidence, scores), default=0.0)
    if not tries or confidence < min_confidence:
        raise _mismatch(text, confidence, min_confidence)
    found = tries[int(np.argmax(scores))]
    ends, timed = _segment_ends(parts, found, HIFIGAN.n_frames(len(clip)))
    frames = [0] * len(symbols)
    for part, begin, end in zip(parts, (0, *ends), ends):
        for index, length in enumerate(_shares(end - begin, part.end - part.begin)):
            frames[part.begin + index] = length
    return Alignment(symbols, tuple(frames), timed, confidence)


def aligned(corpus: Corpus, split: str | None = None, *, min_confidence: float = 0.5) -> Iterator[Utterance]:
    """The corpus's utterances with phones and frames; durations the corpus brought along are kept as they are.

    Alignments are cached by content. An utterance that cannot be aligned is logged, counted in
    `corpus.skipped`, left out.
    """
    for utterance in corpus.utterances if split is None else corpus.split(split):
        if utterance.frames is not None:
            yield utterance
            continue
        try:
            found = _cached(utterance, min_confidence)
        except SpeechError as error:
            corpus.skipped[utterance.id] = str(error)
            log.warning("%s: not aligned %s: %s", corpus.name, utterance.id, error)
            continue
        yield dataclasses.replace(utterance, phones=found.phones, frames=found.frames)


def boundary_errors_ms(
    phones: Sequence[str], frames: Sequence[float], reference: Sequence[float]
) -> np.ndarray:
    """How much later, in ms, each phone begins by `frames` than by `reference`, both the lengths of `phones`:
    (n_phones,).
    """
    starts = [part.begin for part in segments(tuple(phones)) if part.kind == "phone"]
    first, second = (np.concatenate([[0], np.cumsum(lengths)])[starts] for lengths in (frames, reference))
    return (first - second) * 1e3 * HIFIGAN.hop / HIFIGAN.sample_rate


@dataclass(frozen=True)
class _Phone:
    """One phone as found: frames begin .. end - 1 of the clip, log likelihood per frame in the recogniser's unit."""

    begin: int
    end: int
    score: float


def _words(parts: tuple[Segment, ...]) -> list[list[str]]:
    """The ARPAbet of each phone (one or two symbols), word by word."""
    words, word = [], []
    for part in (*parts, Segment("", 0, 0, "pause")):
        if part.kind == "phone":
            word.append(arpabet.of(part.name))
        elif word:
            words.append(word)
            word = []
    return words


def _recognise(clip: np.ndarray, words: list[list[str]], frame_rate: int) -> list[_Phone] | None:
    """Every phone of `words` in order, or None where no path through the recording exists."""
    decoder = _decoder(frame_rate)
    for word in words:
        if decoder.lookup_word(_name(word)) is None:
            decoder.add_word(_name(word), " ".join(word), False)
    # Frame i of the model then has the same centre as frame i - MARGIN of the mel spectrogram.
    before = MARGIN * HIFIGAN.hop + _window_samples(frame_rate) // 2 - HIFIGAN.hop // 2
    pcm = _pcm(clip, before, MARGIN * HIFIGAN.hop)
    try:
        decoder.set_align_text(" ".join(map(_name, words)))
        _decode(decoder, pcm)
        if decoder.hyp() is None:
            return None
        decoder.set_alignment()  # from words to phones: a second pass
        _decode(decoder, pcm)
        alignment = decoder.get_alignment()
        heard = (
            [phone for word in alignment for phone in word if word.name.startswith("/")] if alignment else []
        )
    except RuntimeError:
        return None
    counts = [len(phone.split()) for word in words for phone in word]
    if len(heard) != sum(counts):
        return None
    found, index = [], 0
    for count in counts:
        group = heard[index : index + count]
        index += count
        begin, length = group[0].start - MARGIN, sum(phone.duration for phone in group)
        found.append(_Phone(begin, begin + length, sum(phone.score for phone in group) / max(1, length)))
    return found


def _decode(decoder, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


def _name(word: list[str]) -> str:
    """A word is named by how it is spoken: equal pronunciations are entered once."""
    return "/" + "/".join(phone.replace(" ", "+") for phone in word)


def _pcm(clip: np.ndarray, before: int, after: int) -> bytes:
    """16-bit samples of the clip at full level between stretches of noise as faint as the clip's quietest tenth."""
    blocks = clip[: len(clip) // 256 * 256].reshape(-1, 256)
    floor = 1e-4 + float(np.percentile(np.sqrt((blocks**2).mean(axis=1)), 10)) / 4
    noise = np.random.default_rng(0)
    padded = np.concatenate([noise.normal(0, floor, before), clip, noise.normal(0, floor, after)])
    return (padded / np.abs(padded).max() * 0.7 * 32767).astype("<i2").tobytes()


def _window_samples(frame_rate: int) -> int:
    return int(0.0256 * frame_rate * HIFIGAN.hop)


@functools.lru_cache(maxsize=len(FRAME_RATES))
def _decoder(frame_rate: int):
    """The recogniser at a pretended sample rate, kept because loading its model takes longer than aligning a sentence.

    Beams are wider than for recognition: with one text to find there is little to search, and a misread word
    must not end it.
    """
    pocketsphinx = require("pocketsphinx", "pocketsphinx==5.1.1 --no-deps")
    return pocketsphinx.Decoder(
        samprate=frame_rate * HIFIGAN.hop,
        frate=frame_rate,
        nfft=1024,
        wlen=0.0256,
        lm=None,
        dict=None,
        bestpath=False,
        beam=1e-80,
        pbeam=1e-80,
        wbeam=1e-60,
        loglevel="FATAL",
    )


def _confidence(score: float) -> float:
    """Log likelihood per frame as a share: right texts score -10 to -25 (-31 in 10 dB noise), wrong ones below -42."""
    return 1 / (1 + math.exp(min(-(score + 37) / 5, 700)))


def _segment_ends(
    parts: tuple[Segment, ...], found: list[_Phone], n_frames: int
) -> tuple[list[int], tuple[Word, ...]]:
    """The frame behind each segment (a pause lasts until the next phone begins), and the words with their times."""
    frame_s = HIFIGAN.hop / HIFIGAN.sample_rate
    ends, words, names, members = [], [], [], []
    remaining = iter(found)
    upcoming = next(remaining, None)
    for index, part in enumerate((*parts, Segment("", 0, 0, "pause"))):
        if part.kind == "phone":
            phone, upcoming = upcoming, next(remaining, None)
            # Two phones side by side without a pause symbol share one boundary.
            adjoining = index + 1 < len(parts) and parts[index + 1].kind == "phone"
            ends.append(upcoming.begin if adjoining else phone.end)
            names.append(part.name)
            members.append(phone)
            continue
        if members:
            times = (max(0, members[0].begin) * frame_s, min(n_frames, members[-1].end) * frame_s)
            words.append(Word("".join(names), *times, _confidence(np.mean([phone.score for phone in members]))))
            names, members = [], []
        if index < len(parts):
            ends.append(n_frames if upcoming is None else upcoming.begin)
    if ends:
        ends[-1] = n_frames
    return np.maximum.accumulate(np.clip(ends, 0, n_frames)).tolist(), tuple(words)


def _shares(total: int, count: int) -> list[int]:
    """`total` as `count` whole numbers as equal as can be."""
    return [(index + 1) * total // count - index * total // count for index in range(count)]


def _cached(utterance: Utterance, min_confidence: float) -> Alignment:
    clip = utterance.load(HIFIGAN.sample_rate)
    key = content_key("alignment", VERSION, utterance.normalized, clip.tobytes())
    path = cache_folder("alignments", key[:2], f"{key}.json")
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        found = Alignment(
            tuple(stored["phones"]),
            tuple(stored["frames"]),
            tuple(Word(**word) for word in stored["words"]),
            stored["confidence"],
        )
    else:
        found = align(clip, HIFIGAN.sample_rate, utterance.normalized, min_confidence=0)
        write_atomic(path, json.dumps(dataclasses.asdict(found), ensure_ascii=False).encode())
    if found.confidence < min_confidence:
        raise _mismatch(utterance.normalized, found.confidence, min_confidence)
    return found


def _mismatch(text: str, confidence: float, wanted: float) -> AlignmentError:
    return AlignmentError(
        f"the recording does not seem to say {text[:60]!r} (confidence {confidence:.2f}, {wanted:g} wanted): "
        "check that clip and text belong together, that both are English, and that it is not drowned in noise"
    )
