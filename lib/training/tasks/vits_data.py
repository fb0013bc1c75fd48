"""What does VITS learn from? Clips with their phones; no lengths of phones are needed: it finds them itself."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch

from lib.corpora.base import Corpus, Utterance
from lib.errors import MissingDataError, SpeechError
from lib.features import HIFIGAN
from lib.systems import symbols
from lib.systems.vits_joe import piper
from lib.training import sources
from lib.training.task import Batch, split
from lib.training.tasks import istft_data

log = logging.getLogger(__name__)

HOP = piper.SAMPLES_PER_FRAME
_FULL_SCALE = 32_768.0


@dataclass(frozen=True)
class Example:
    """ids: (T,) int64, padded as Piper pads them; clip: (n_samples,) int16 at 22.05 kHz, whole frames; latents:
    (192, F) float16 that the decoder was fed, where they are known.
    """

    id: str
    text: str
    ids: np.ndarray
    clip: np.ndarray
    latents: np.ndarray | None = None

    @property
    def n_frames(self) -> int:
        """Of 256 samples."""
        return len(self.clip) // HOP

    @property
    def waveform(self) -> np.ndarray:
        """(n_samples,) float32."""
        return self.clip.astype(np.float32) / _FULL_SCALE


def corpus(data: sources.Data) -> Corpus:
    """A public corpus, or the clips of embedded voices and of the recordings, which are called "prompts"."""
    if data.corpus:
        return sources.corpus(data)
    if istft_data.RECORDINGS not in data.voices:
        return sources.corpus(data)
    return istft_data.corpus(istft_data.Data(voices=data.voices, train=data.train, validation=data.validation))


def examples(
    whole: Corpus, name: str, shortest: int, latents: dict[str, np.ndarray] | None = None
) -> tuple[Example, ...]:
    """A split's clips that can be learnt from: at least `shortest` frames, and one for each input id.

    latents: id -> known ones; clips without are left out where this is given. How many are left out, and why,
    is said. Raises MissingDataError where none is left.
    """
    kept, reasons = [], {}
    for utterance in split(whole, name):
        example = _example(utterance, shortest, None if latents is None else latents.get(utterance.id))
        if isinstance(example, str):
            reasons[example] = reasons.get(example, 0) + 1
        elif latents is not None and example.latents is None:
            reasons["latents unknown"] = reasons.get("latents unknown", 0) + 1
        else:
            kept.append(example)
    said = ", ".join(f"{n} {reason}" for reason, n in reasons.items())
    if not kept:
        raise MissingDataError(
            f"the {name} split of {whole.name} holds no clip to learn from ({said or 'it is empty'})"
        )
    if reasons:
        log.info("%s: %d clips, left out: %s", name, len(kept), said)
    return tuple(kept)


def _example(utterance: Utterance, shortest: int, latents: np.ndarray | None) -> Example | str:
    """The example, or why there is none."""
    try:
        phones = utterance.phones or symbols.of(utterance.text)
        ids = piper.padded_ids(phones)
        waveform = utterance.load(HIFIGAN.sample_rate)
    except SpeechError as error:
        return type(error).__name__
    n_frames = len(waveform) // HOP if latents is None else min(len(waveform) // HOP, latents.shape[1])
    if n_frames < max(shortest, len(ids)):
        return "too short"
    clip = np.clip(np.rint(waveform[: n_frames * HOP] * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE - 1).astype(
        np.int16
    )
    return Example(utterance.id, utterance.text, ids, clip, None if latents is None else latents[:, :n_frames])


def collate(drawn: list[tuple[Example, int]]) -> Batch:
    """(example, first frame of the stretch that is decoded) -> ids (B, T), n_ids (B,), waveform (B, F * 256),
    n_frames (B,), begin (B,), and, where they are known of all, latents (B, 192, F).
    """
    made = [example for example, _ in drawn]
    n_ids, n_frames = ([len(e.ids) for e in made], [e.n_frames for e in made])
    ids = np.zeros((len(made), max(n_ids)), np.int64)
    waveform = np.zeros((len(made), max(n_frames) * HOP), np.float32)
    for row, example in enumerate(made):
        ids[row, : len(example.ids)] = example.ids
        waveform[row, : len(example.clip)] = example.waveform
    tensors = {
        "ids": torch.from_numpy(ids),
        "n_ids": torch.tensor(n_ids),
        "waveform": torch.from_numpy(waveform),
        "n_frames": torch.tensor(n_frames),
        "begin": torch.tensor([begin for _, begin in drawn]),
    }
    if all(example.latents is not None for example in made):
        latents = np.zeros((len(made), made[0].latents.shape[0], max(n_frames)), np.float32)
        for row, example in enumerate(made):
            latents[row, :, : example.n_frames] = example.latents
        tensors["latents"] = torch.from_numpy(latents)
    return Batch(tuple(example.id for example in made), sum(n_frames), tensors)


def mask(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """(B,) -> (B, 1, longest) float: 1 up to each length."""
    return (torch.arange(longest, device=lengths.device) < lengths[:, None])[:, None].float()


def stretches(values: torch.Tensor, begin: torch.Tensor, length: int) -> torch.Tensor:
    """(B, C, time) -> (B, C, length): of each row what begins at its place."""
    places = begin[:, None] + torch.arange(length, device=values.device)  # (B, length)
    return values.gather(2, places[:, None].expand(-1, values.shape[1], -1))
