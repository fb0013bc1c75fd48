"""What does an acoustic model learn from? Symbols with their frames, pitch and energy, and the mel, cached by content.

One file per utterance holds the targets; its name is the hash of the waveform, symbols and frames it was
computed from. The small arrays are kept in memory, a mel is read when a batch wants it, so that a corpus may be
larger than the memory.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lib import progress, prosody
from lib.corpora.align import aligned
from lib.corpora.base import Corpus, Utterance
from lib.errors import AudioError, MissingDataError, SpeechError
from lib.features import HIFIGAN, energy, log_mel, phone_average
from lib.files import cache_folder, content_key, write_atomic
from lib.systems import symbols
from lib.systems.fastspeech2.network import PROSODY

log = logging.getLogger(__name__)

_REVISION = 1  # raised when the same clip would get other targets
SLACK = 1  # frames by which durations may miss the clip's length; the last symbol takes them


@dataclass(frozen=True)
class Example:
    """An utterance as targets."""

    id: str
    speaker: str
    ids: np.ndarray  # (T,) int64, its symbols
    frames: np.ndarray  # (T,) int64, how long each lasts
    pitch: np.ndarray  # (T,) float32, mean log F0 (bridged where unvoiced) over each symbol's frames
    energy: np.ndarray  # (T,) float32, mean log energy
    mel_sum: np.ndarray  # (n_bands,) float64, over all its frames
    mel_squares: np.ndarray  # (n_bands,) float64, of the squares
    path: Path  # of the file in the cache that holds its mel

    @property
    def n_frames(self) -> int:
        """Frames of its mel."""
        return int(self.frames.sum())

    def mel(self) -> np.ndarray:
        """(n_frames, n_bands) float32 log-mel of `features.HIFIGAN`, read from the cache (stored as float16)."""
        with np.load(self.path) as stored:
            return stored["mel"].astype(np.float32)


@dataclass(frozen=True)
class Statistics:
    """What targets are standardised with."""

    speakers: tuple[str, ...]  # in the network's order
    mel_mean: np.ndarray  # (n_bands,)
    mel_deviation: np.ndarray  # (n_bands,)
    pitch_mean: np.ndarray  # (n_speakers,), as the rest
    pitch_deviation: np.ndarray
    energy_mean: np.ndarray
    energy_deviation: np.ndarray

    @classmethod
    def of(cls, network: torch.nn.Module, speakers: Sequence[str], n_bands: int) -> Statistics:
        """Those that a trained network keeps; 0 and 1 for those that it does not."""
        none, one = np.zeros(len(speakers), np.float32), np.ones(len(speakers), np.float32)
        prosody = {
            f"{name}_{part}": value for name in PROSODY for part, value in (("mean", none), ("deviation", one))
        }
        bands = np.zeros(n_bands, np.float32), np.ones(n_bands, np.float32)
        return cls(tuple(speakers), *bands, **prosody).taken_from(network)

    def standardised(self, mel: np.ndarray) -> np.ndarray:
        """A log-mel (F, n_bands) as the network knows it."""
        return (mel - self.mel_mean) / self.mel_deviation

    def with_mels_as_they_are(self, n_bands: int) -> Statistics:
        """The same for a network that knows log-mels unstandardised, as the published ones do."""
        return replace(self, mel_mean=np.zeros(n_bands, np.float32), mel_deviation=np.ones(n_bands, np.float32))

    def hand_to(self, network: torch.nn.Module) -> None:
        """Write into the network those that it keeps, in buffers of the same names."""
        for name, buffer in network.named_buffers(recurse=False):
            buffer.copy_(torch.from_numpy(getattr(self, name)))

    def taken_from(self, network: torch.nn.Module) -> Statistics:
        """The same, but for those that the network keeps: its own."""
        return replace(
            self, **{name: buffer.numpy().copy() for name, buffer in network.named_buffers(recurse=False)}
        )

    def prosody(self, items: Sequence[Example], n_symbols: int) -> dict[str, np.ndarray]:
        """pitch, energy of a batch: (B, n_symbols) float32, standardised by speaker, 0 where there is no symbol."""
        batch = {name: np.zeros((len(items), n_symbols), np.float32) for name in PROSODY}
        for row, example in enumerate(items):
            speaker = self.speakers.index(example.speaker)
            for name, values in batch.items():
                mean, deviation = (getattr(self, f"{name}_{part}")[speaker] for part in ("mean", "deviation"))
                values[row, : len(example.ids)] = (getattr(example, name) - mean) / deviation
        return batch


def examples(corpus: Corpus, split: str) -> tuple[Example, ...]:
    """The targets of a split, computed where the cache lacks them; recordings without durations are aligned first.

    A clip that cannot be used is logged and counted in `corpus.skipped`. Raises MissingDataError where none is left.
    """
    utterances, made = corpus.split(split), []
    label = f"targets of {corpus.name} ({split})"
    for utterance in progress.track(aligned(corpus, split), label, total=len(utterances), unit="clip"):
        try:
            made.append(example(utterance))
        except SpeechError as error:
            corpus.skipped[utterance.id] = str(error)
            log.warning("%s: skipped %s: %s", corpus.name, utterance.id, error)
    if not made:
        reason = next(
            (f", {u.id} because {corpus.skipped[u.id]}" for u in utterances if u.id in corpus.skipped), ""
        )
        raise MissingDataError(
            f"the {split} split of corpus {corpus.name} gives nothing to train or judge on: it holds "
            f"{len(utterances)} utterances, and all were skipped{reason}"
            if utterances
            else f"the {split} split of corpus {corpus.name} is empty: nothing to train or judge on"
        )
    return tuple(made)


def example(utterance: Utterance) -> Example:
    """The targets of an utterance with phones and frames, from the cache or computed now."""
    phones, frames = readable(utterance.phones, utterance.frames)
    waveform, rate = utterance.read()
    key = content_key(_REVISION, np.ascontiguousarray(waveform).tobytes(), rate, phones, frames)
    path = cache_folder("acoustic", key[:2], f"{key}.npz")
    if not path.exists():
        _compute(path, utterance.load(HIFIGAN.sample_rate), list(frames), utterance.id)
    with np.load(path) as stored:
        small = {name: stored[name] for name in ("frames", *PROSODY, "mel_sum", "mel_squares")}
    return Example(utterance.id, utterance.speaker, symbols.ids(phones), path=path, **small)


def readable(phones: Sequence[str], frames: Sequence[int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The symbols that the network knows; the frames of the others go to the symbol before (at the beginning,
    behind).
    """
    kept, lengths, early = [], [], 0
    for phone, length in zip(phones, frames, strict=True):
        if symbols.known(phone):
            kept.append(phone)
            lengths.append(int(length) + early)
            early = 0
        elif lengths:
            lengths[-1] += int(length)
        else:
            early += int(length)
    return tuple(kept), tuple(lengths)


def statistics(items: Iterable[Example]) -> Statistics:
    """Mean and standard deviation: of mel bands over all frames, of pitch and energy over each speaker's symbols."""
    items = tuple(items)
    n_frames = sum(e.n_frames for e in items)
    mean = sum(e.mel_sum for e in items) / n_frames
    variance = sum(e.mel_squares for e in items) / n_frames - mean**2
    speakers = tuple(sorted({e.speaker for e in items}))
    columns = {}
    for name in PROSODY:
        values = [
            np.concatenate([getattr(e, name) for e in items if e.speaker == s]).astype(np.float64)
            for s in speakers
        ]
        columns[f"{name}_mean"] = np.array([v.mean() for v in values], np.float32)
        columns[f"{name}_deviation"] = np.array([max(v.std(), 1e-2) for v in values], np.float32)
    return Statistics(
        speakers, mean.astype(np.float32), np.sqrt(np.maximum(variance, 1e-4)).astype(np.float32), **columns
    )


def _compute(path: Path, waveform: np.ndarray, frames: list[int], name: str) -> None:
    mel = log_mel(waveform)
    excess = len(mel) - sum(frames)
    if abs(excess) > SLACK or not frames or frames[-1] + excess < 0:
        raise AudioError(
            f"utterance {name}: its durations add up to {sum(frames)} frames, its clip has {len(mel)}: they belong "
            "to another clip"
        )
    frames[-1] += excess
    track = prosody.f0(waveform, HIFIGAN.sample_rate)
    if not track.voiced.any():
        raise AudioError(f"utterance {name}: no voice is found in the clip, so there is no pitch to learn")
    targets = {"pitch": np.log(prosody.continuous(track.hz)), "energy": np.log(energy(waveform))}
    spoken = np.asarray(frames) > 0
    middles = np.cumsum(frames) - np.asarray(frames) / 2
    for key, values in targets.items():
        means = phone_average(values, frames)
        # A symbol without frames, such as the space between words said in one breath, lies between its neighbours.
        targets[key] = np.interp(middles, middles[spoken], means[spoken]).astype(np.float32)
    buffer, double = io.BytesIO(), mel.astype(np.float64)
    np.savez(
        buffer,
        mel=mel.astype(np.float16),
        frames=np.array(frames, np.int64),
        mel_sum=double.sum(0),
        mel_squares=(double**2).sum(0),
        **targets,
    )
    write_atomic(path, buffer.getvalue())
