"""How do `speecht5` and `speecht5-base` speak on torch?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lib import targets
from lib.features import SPEECHT5
from lib.systems.acoustic import AcousticSystem
from lib.systems.attention import Reading
from lib.systems.base import Speech, Stopwatch, System
from lib.systems.before_vocoder import Spectrogram
from lib.systems.speecht5.config import PUBLISHED
from lib.systems.speecht5.decoding import decode, lay_out
from lib.systems.speecht5.limits import Limits, characters, portions, spoken_length
from lib.systems.speecht5.network import SpeechT5Network, build
from lib.systems.speecht5.stored import checkpoints
from lib.systems.symbols import ids

log = logging.getLogger(__name__)


class SpeechT5(AcousticSystem):
    """A trained acoustic model, loaded from the folder that `save` made, before a vocoder (see `AcousticSystem`).

    vocoder: one for the mel of the network's configuration. limits: when it stops, by itself and otherwise.
    """

    name, attends = "speecht5", True
    checkpoints, manner = checkpoints, "limits"
    limits = Limits()

    def __init__(self, folder: str | Path, **settings: Any):
        super().__init__(folder, **settings)
        if self.device.type == "cpu":
            lay_out(self.modules["acoustic_model"])

    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """In portions where the sentence has too many symbols. The seed draws the prenet's dropout, which the network
        needs in use too.
        """
        readings = []
        with watch.stage("phonemes"):
            phones, _, speaker = self._symbols(sentence)
        for index, portion in enumerate(portions(phones)):
            readings.append(self._read(portion, speaker, seed + index, watch))
        notes = tuple(note for reading in readings for note in reading.failures.notes(reading.phones))
        for note in notes:
            log.warning("%s: %r: %s", self.name, sentence[:40], note)
        return Spectrogram(np.concatenate([reading.log_mel for reading in readings]), phones, notes=notes)

    def read(self, sentence: str, seed: int = 0) -> tuple[Reading, ...]:
        """The portions of a sentence (mostly one) up to their mels and alignments, to be looked at or judged."""
        phones, _, speaker = self._symbols(sentence)
        return tuple(
            self._read(part, speaker, seed + index, self._watch())
            for index, part in enumerate(portions(phones))
        )

    @torch.inference_mode()
    def _read(self, phones: tuple[str, ...], speaker: torch.Tensor, seed: int, watch: Stopwatch) -> Reading:
        batch = torch.from_numpy(ids(phones))[None].to(self.device)  # (1, T)
        return Reading(
            phones, *_stages(self.modules["acoustic_model"], batch, speaker, self.limits, seed, watch)
        )


class SpeechT5Base(System):
    """The published sizes with random weights, with the published vocoder: for speed, memory and size, never
    for quality.

    It says noise that lasts as long as a person would take to read the text, so that its times are those of
    real speech.
    """

    name = "speecht5-base"
    sample_rate = SPEECHT5.sample_rate

    def __init__(self, *, target: str = "torch/cpu", threads: int = 2):
        torch.set_num_threads(threads)
        self.target, self.threads, self.device = target, threads, torch.device(targets.find(target).device)
        model, vocoder = published_networks()
        self.modules = {
            "acoustic_model": lay_out(model) if self.device.type == "cpu" else model,
            "vocoder": vocoder,
        }
        for module in self.modules.values():
            module.eval().to(self.device)
        self._limits = spoken_length()

    @property
    def size_mb(self) -> float:
        """10^6 bytes of a saved variant's files; of the baseline, which has none, of its weights in memory."""
        return super().size_mb or self.loaded_mb

    @property
    def size_kind(self) -> str:
        """Whether `size_mb` is of files."""
        return "measured" if self.files else "estimated"

    @torch.inference_mode()
    def speak(self, sentence: str, seed: int) -> Speech:
        """Noise as long as the sentence."""
        watch = Stopwatch(torch.cuda.synchronize if self.device.type == "cuda" else lambda: None)
        batch = torch.tensor([characters(sentence)], device=self.device)
        log_mel, _, _ = _stages(
            self.modules["acoustic_model"],
            batch,
            torch.zeros(1, dtype=torch.long, device=self.device),
            self._limits,
            seed,
            watch,
        )
        with watch.stage("vocoder"):
            waveform = self.modules["vocoder"](torch.from_numpy(log_mel).to(self.device)).cpu().numpy()
        return Speech(
            waveform, self.sample_rate, watch.seconds, notes=("random weights: noise, for its timing alone",)
        )


def published_networks() -> tuple[SpeechT5Network, torch.nn.Module]:
    """The network of the published sizes and the published vocoder, with random weights, the same each time."""
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    return build(PUBLISHED, 1).eval(), SpeechT5HifiGan(SpeechT5HifiGanConfig()).eval()


def _stages(
    model: SpeechT5Network,
    batch: torch.Tensor,
    speaker: torch.Tensor,
    limits: Limits,
    seed: int,
    watch: Stopwatch,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """(log-mel (F, n_bands), alignment (S, T), stopped) of one sentence of ids (1, T), each stage timed."""
    with watch.stage("encoder"):
        encoded = model.encode(batch)
    with watch.stage("decoder"):
        found = decode(model, encoded, speaker, limits=limits, seed=seed)
    with watch.stage("postnet"):
        log_mel = model.log_mel(found.rough)[0].float().cpu().numpy()
    return log_mel, found.alignment.float().cpu().numpy(), found.stopped
