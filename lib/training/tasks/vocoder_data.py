"""What does a vocoder hear in one step? Short segments of clips at random places, with what is known of each."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from lib.corpora.base import Utterance
from lib.features import HIFIGAN
from lib.training.task import Batch

HOP = HIFIGAN.hop
CONTEXT = 24  # frames the front sees on either side of a segment: its whole receptive field
EDGE = 4  # further frames whose spectra reach over the crop's end; computed, then dropped
SILENCE = math.log(HIFIGAN.floor)  # the log-mel of digital silence
FULL_SCALE = 32_768  # of 16-bit samples
LATENTS = 192  # channels that the decoder of `vits-joe` is fed


class Piece(NamedTuple):
    """A segment of a clip; None where something is not known, and for the mel where the true one is wanted."""

    id: str
    waveform: np.ndarray  # (n_samples,) float32, with contexts and edges
    latents: np.ndarray | None  # (LATENTS, segment)
    pulses: np.ndarray | None  # (2, segment and contexts)
    mel: np.ndarray | None  # (segment and contexts, 80), of an acoustic model


class Segments:
    """Segments of `n_frames` frames. Clips are kept in memory as 16-bit samples.

    latents: utterance id -> (LATENTS, F); pulses: -> (2, F); mels: -> (F, 80) of an acoustic model, which take the
    place of the true ones in `mels_share` of their turns. Empty where none are known or wanted.
    """

    def __init__(
        self,
        n_frames: int,
        *,
        latents: dict[str, np.ndarray],
        pulses: dict[str, np.ndarray],
        mels: dict[str, np.ndarray],
        mels_share: float,
    ):
        self.n_frames, self.mels_share = n_frames, mels_share
        self.latents, self.pulses, self.mels = latents, pulses, mels
        self._clips: dict[str, np.ndarray] = {}

    def draw(self, utterance: Utterance, rng: np.random.Generator) -> Piece:
        """A segment of the clip at a random place, with what is known of it."""
        clip = self.clip(utterance)
        frames = len(clip) // HOP
        begin = int(rng.integers(max(frames - self.n_frames, 0) + 1))

        def cut(values: np.ndarray | None, around: int) -> np.ndarray | None:
            return None if values is None else _window(values, begin, self.n_frames, around)

        samples = _window(clip[None], begin * HOP, self.n_frames * HOP, (CONTEXT + EDGE) * HOP)[0]
        mel = self.mels.get(utterance.id)
        if mel is not None:
            mel = cut(mel.T - SILENCE, CONTEXT).T + SILENCE if rng.random() < self.mels_share else None
        return Piece(
            utterance.id,
            samples.astype(np.float32) / FULL_SCALE,
            cut(self.latents.get(utterance.id), 0),
            cut(self.pulses.get(utterance.id), CONTEXT),
            mel,
        )

    def collate(self, pieces: list[Piece]) -> Batch:
        """waveform: (B, n_samples); pulses: (B, 2, F); mel: (B, F, 80) where `predicted` (B,) is true; latents: (B,
        LATENTS, segment) where `has_latents` (B,) is 1, both absent where no clip of the batch has any: whether there
        is one is asked here, on the CPU, for to ask a GPU is to wait for it.
        """
        around = self.n_frames + 2 * CONTEXT
        tensors = {"waveform": np.stack([p.waveform for p in pieces])}
        if any(p.latents is not None for p in pieces):
            tensors["latents"] = _stack([p.latents for p in pieces], (LATENTS, self.n_frames))
            tensors["has_latents"] = np.array([p.latents is not None for p in pieces], np.float32)
        if self.pulses:
            tensors["pulses"] = _stack([p.pulses for p in pieces], (2, around))
        if self.mels:
            tensors["mel"] = _stack([p.mel for p in pieces], (around, HIFIGAN.n_bands))
            tensors["predicted"] = np.array([p.mel is not None for p in pieces])
        return Batch(
            tuple(p.id for p in pieces),
            len(pieces) * self.n_frames,
            {name: torch.from_numpy(values) for name, values in tensors.items()},
        )

    def clip(self, utterance: Utterance) -> np.ndarray:
        """(n_samples,) int16 at 22.05 kHz, read once."""
        if utterance.id not in self._clips:
            scaled = np.rint(utterance.load(HIFIGAN.sample_rate) * FULL_SCALE)
            self._clips[utterance.id] = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        return self._clips[utterance.id]


def _stack(pieces: list[np.ndarray | None], shape: tuple[int, ...]) -> np.ndarray:
    """(B, *shape) float32, zeros where a clip has none."""
    return np.stack([np.zeros(shape, np.float32) if p is None else p.astype(np.float32) for p in pieces])


def _window(values: np.ndarray, begin: int, length: int, around: int) -> np.ndarray:
    """(n, length + 2 * around) of (n, time), zeros beyond the ends."""
    first, last = begin - around, begin + length + around
    cut = values[:, max(first, 0) : max(last, 0)]
    return np.pad(cut, ((0, 0), (max(-first, 0), length + 2 * around - max(-first, 0) - cut.shape[1])))
