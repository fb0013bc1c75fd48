"""How does `istft` speak while the mel still comes? Frame by frame, with what the next frame needs kept between.

All convolutions look back, so a sample waits for the mel of at most 4 frames later, 46 ms (see `network.py`). What is
kept: the frames that each convolution saw last, the phase of the pulses, the pulses that the next window begins with,
and the sums that the next frames add to. In one chunk it is the whole vocoder in NumPy around two networks, and so it
speaks on ONNX Runtime.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lib.features import HIFIGAN
from lib.systems.istft import tables
from lib.systems.istft.tables import HOP, LOWEST_HZ, OVERLAP, PAD, RATE, SIZE


class Stages(Protocol):
    """The learnt part, which remembers what its convolutions saw last; one for each utterance."""

    pitch_lookahead: int  # frames that `hz` sees ahead
    lookahead: int  # that `filters` sees ahead

    def hz(self, log_mel: np.ndarray, n_frames: int) -> np.ndarray:
        """F0 at the ends of the next n_frames hops, float64; log_mel (n, 80): those, and some only looked at."""

    def filters(self, log_mel: np.ndarray, source: np.ndarray, hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """H, complex, and G of the next frames, (n, 513) as the spectra of the source are."""

    def noise(self, first: int, n_frames: int) -> np.ndarray:
        """The spectra (n_frames, 513) of the noise from frame `first` on."""


def speak(stages: Stages, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Log-mels (n, 80) of any lengths as they come -> the waveform as far as it is known, piece by piece, float32.

    Together the pieces are what `vocode` makes of the whole mel in no passes (`held.py`).
    """
    utterance = Utterance(stages)
    for chunk in chunks:
        if len(piece := utterance.push(chunk)):
            yield piece
    if len(piece := utterance.push(np.zeros((0, HIFIGAN.n_bands), np.float32), last=True)):
        yield piece


@dataclass(frozen=True)
class FirstAudio:
    """frames: of the mel that come before the first sample; seconds: computed until then."""

    frames: int
    seconds: float


def first_audio(vocoder, log_mel: np.ndarray) -> FirstAudio:
    """What a listener waits for, when the mel (F, n_bands) comes frame by frame."""
    seen = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal seen
        for frame in log_mel:
            seen += 1
            yield frame[None]

    begin = time.perf_counter()
    next(vocoder.stream(frames()))
    return FirstAudio(seen, time.perf_counter() - begin)


class Utterance:
    """One utterance on its way from mel to waveform."""

    def __init__(self, stages: Stages):
        self.stages = stages
        self.heard = 0  # frames whose pitch is known
        self.shaped = 0  # frames whose spectrum is made
        self.log_mel = np.zeros((0, HIFIGAN.n_bands), np.float32)  # from frame `shaped` on
        self.hz = np.zeros(0)  # likewise
        self.source = np.zeros(
            PAD, np.float32
        )  # pulses from sample shaped * HOP - PAD on; before the first, silence
        self.sums = np.zeros(
            (OVERLAP - 1, HOP), np.float32
        )  # of the frames made, for samples that want more of them
        self.cycles, self.last_hz = 0.0, None  # where the pulses are at the end of frame `heard`

    def push(self, log_mel: np.ndarray, last: bool = False) -> np.ndarray:
        """Frames (n, 80) more; last: no more will come -> the samples that are known now and were not before."""
        self.log_mel = np.concatenate([self.log_mel, log_mel])
        known = self.shaped + len(self.log_mel)
        self._hear(known - (0 if last else self.stages.pitch_lookahead) - self.heard)
        if last:
            self.source = np.append(self.source, np.zeros(PAD, np.float32))
        windows = (len(self.source) - SIZE) // HOP + 1
        n_frames = max(0, min(windows, known - (0 if last else self.stages.lookahead) - self.shaped))
        if not n_frames:
            return np.zeros(0, np.float32)
        before = self.shaped
        rows = self._summed(self._shape(n_frames))  # (n_frames + OVERLAP - 1, HOP)
        finished = rows if last else rows[:n_frames]
        self.sums = rows[n_frames:]
        samples = (finished / weights(before, len(finished), self.shaped if last else None)).reshape(-1)
        # The windows reach PAD samples beyond both ends of the utterance.
        begin, end = max(0, PAD - before * HOP), len(samples) - (PAD if last else 0)
        return np.clip(samples[begin:end], -1, 1)

    def _hear(self, n_frames: int) -> None:
        """Read the pitch of n_frames more, and pulse at it."""
        if n_frames <= 0:
            return
        hz = self.stages.hz(self.log_mel[self.heard - self.shaped :], n_frames)
        self.heard += n_frames
        begin = np.concatenate([[hz[0] if self.last_hz is None else self.last_hz], hz[:-1]])
        cycles = self.cycles + np.cumsum(0.5 * (begin + hz) * (HOP / RATE))
        clock = np.arange(HOP, dtype=np.float64)
        rise = ((hz - begin) / HOP)[:, None] * clock
        since = np.concatenate([[self.cycles], cycles[:-1]])[:, None]
        phase = since + (begin[:, None] + 0.5 * rise) * (clock / RATE)
        phase = (phase - np.round(phase)).astype(np.float32)
        self.cycles, self.last_hz = cycles[-1], hz[-1]
        made = pulses(phase, (begin[:, None] + rise).astype(np.float32))
        self.hz, self.source = np.concatenate([self.hz, hz]), np.concatenate([self.source, made.reshape(-1)])

    def _shape(self, n_frames: int) -> np.ndarray:
        """The next frames of the waveform, windowed, (n_frames, SIZE)."""
        from scipy import fft

        window = tables.window().astype(np.float32)
        framed = np.lib.stride_tricks.sliding_window_view(self.source, SIZE)[::HOP][:n_frames]
        source = fft.rfft(framed * window)
        log_mel = self.log_mel[: n_frames + self.stages.lookahead]
        filters, gains = self.stages.filters(log_mel, source, self.hz[:n_frames].astype(np.float32))
        spectrum = filters * source
        spectrum += gains * self.stages.noise(self.shaped, n_frames)
        self.log_mel, self.hz = self.log_mel[n_frames:], self.hz[n_frames:]
        self.source = self.source[n_frames * HOP :]
        self.shaped += n_frames
        made = fft.irfft(spectrum, n=SIZE, overwrite_x=True)
        made *= window
        return made

    def _summed(self, framed: np.ndarray) -> np.ndarray:
        """The frames laid HOP apart and added to the sums of those before, (n_frames + OVERLAP - 1, HOP)."""
        return overlapped(framed, self.sums)


def overlapped(framed: np.ndarray, sums: np.ndarray | None = None) -> np.ndarray:
    """Frames (n, SIZE) laid HOP apart and added, (n + OVERLAP - 1, HOP); sums: of the frames before them, likewise."""
    rows = np.zeros((len(framed) + OVERLAP - 1, HOP), np.float32)
    if sums is not None:
        rows[: OVERLAP - 1] = sums
    parts = framed.reshape(-1, OVERLAP, HOP)
    for k in range(OVERLAP):
        rows[k : k + len(parts)] += parts[:, k]
    return rows


def pulses(phase: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """As `signal.pulses`, for phases from -0.5 to 0.5."""
    pi, half = np.float32(np.pi), np.float32(0.5)
    harmonics = np.floor(np.float32(0.49 * RATE) / np.maximum(hz, np.float32(LOWEST_HZ)))
    odd = 2 * harmonics + 1
    below = np.sin(pi * phase)
    near = np.abs(below) < 1e-4
    below[near] = 1
    ratio = np.sin(pi * odd * phase) / below
    ratio[near] = odd[near]
    return half * (ratio - 1) * np.sqrt(2 / harmonics)


def weights(first: int, n_rows: int, n_frames: int | None) -> np.ndarray:
    """What the sums are divided by, rows first, first + 1... of (n_rows, HOP): the squared windows of the frames that
    reach there; n_frames: of the utterance, where it is known.
    """
    squared = tables.window().astype(np.float32).reshape(OVERLAP, HOP) ** 2
    rows = np.broadcast_to(squared.sum(0), (n_rows, HOP))
    edges = [
        r for r in range(n_rows) if first + r < OVERLAP - 1 or (n_frames is not None and first + r >= n_frames)
    ]
    if edges:
        rows = rows.copy()
    for r in edges:
        low = 0 if n_frames is None else max(0, first + r - n_frames + 1)
        rows[r] = np.maximum(squared[low : first + r + 1].sum(0), 1e-2)
    return rows
