"""`fastspeech2`: how does text become a mel spectrogram in one pass, with rate, pitch and loudness under control?

FastSpeech 2 (Ren et al. 2021, arXiv:2006.04558) with Conformer blocks and pitch and energy averaged per phone,
as transformers has it. It reads the symbols of the Piper voices, knows its own voices by a speaker embedding,
and leaves the waveform to a vocoder (`hifigan`, else Griffin-Lim). The network is in `network.py`;
how it learns in `lib.training.tasks.fastspeech2`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from lib import zoo
from lib.errors import unknown
from lib.systems import acoustic, hifigan
from lib.systems.acoustic import AcousticSystem
from lib.systems.base import Speech
from lib.systems.fastspeech2.network import Controls, FastSpeech2Network, NetworkConfig, build


class FastSpeech2(AcousticSystem):
    """A trained acoustic model, loaded from the folder that `save` made, before a vocoder (see `AcousticSystem`)."""

    name = "fastspeech2"

    def __init__(
        self,
        folder: str | Path,
        *,
        vocoder: Callable[[np.ndarray], np.ndarray] | None = None,
        speaker: str | None = None,
        controls: Controls = Controls(),
        variant: str | None = None,
        target: str = "torch/cpu",
        threads: int = 2,
    ):
        super().__init__(
            folder,
            *load(folder),
            vocoder=vocoder,
            speaker=speaker,
            variant=variant,
            target=target,
            threads=threads,
        )
        self.controls = controls

    @property
    def identity(self) -> tuple:
        """Weights, vocoder, speaker and controls: what a clip in a cache depends on beside text and seed."""
        return (*super().identity, *dataclasses.astuple(self.controls))

    def adjusted(
        self, *, speaker: str | None = None, variant: str | None = None, **controls: float
    ) -> "FastSpeech2":
        """The same networks speaking otherwise: another speaker, or `rate`, `semitones`, `energy` of `Controls`."""
        other = super().adjusted(speaker=speaker, variant=variant)
        for name in controls:
            if name not in (fields := {f.name for f in dataclasses.fields(Controls)}):
                raise unknown("control", name, fields)
        other.controls = dataclasses.replace(self.controls, **controls)
        return other

    @torch.inference_mode()
    def speak(self, sentence: str, seed: int) -> Speech:
        """One sentence. The network is deterministic; the seed draws Griffin-Lim's first phases."""
        watch = self._watch()
        with watch.stage("phonemes"):
            phones, batch, speaker = self._symbols(sentence)
        with watch.stage("acoustic_model"):
            log_mel, frames = self.modules["acoustic_model"].speak(batch, speaker, self.controls)
            log_mel = log_mel[0].float().cpu().numpy()  # (F, n_bands)
        with watch.stage("vocoder"):
            waveform = self._voiced(log_mel, seed)
        return Speech(waveform, self.sample_rate, watch.seconds, phones, tuple(frames[0].tolist()))


def pretrained(target: str = "torch/cpu", threads: int = 2) -> FastSpeech2:
    """The acoustic model of `lib.zoo` before its vocoder, speaking with the voice of `vits-joe`."""
    return FastSpeech2(
        zoo.folder("fastspeech2"),
        vocoder=hifigan.pretrained(target, threads).vocode,
        speaker="vits-joe",
        target=target,
        threads=threads,
    )


def save(
    folder: str | Path,
    config: NetworkConfig,
    speakers: Sequence[str],
    weights: dict[str, torch.Tensor],
    card: str,
) -> Path:
    """Store a network with its card; weights: of a `FastSpeech2Network`."""
    return acoustic.save(folder, "fastspeech2", config, speakers, weights, card)


def load(folder: str | Path) -> tuple[NetworkConfig, tuple[str, ...], FastSpeech2Network]:
    """(config, speakers, network) from a folder of `save`; raises what `acoustic.load` raises."""
    return acoustic.load(folder, "fastspeech2", NetworkConfig, build)
