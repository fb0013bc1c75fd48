"""`tacotron2`: how does text become a mel spectrogram when the network finds its own way through it?

Tacotron 2 (Shen et al. 2018, arXiv:1712.05884): an encoder, and a decoder that reads the symbols by attention,
a few frames per step, until its gate says that all is said. It knows its voices by a speaker embedding and
leaves the waveform to a vocoder. No duration is predicted, so text may be skipped, read twice or never ended:
every reading is judged, bounded, and says what failed.
"""

from __future__ import annotations

import logging
import pickle
from dataclasses import dataclass
from pathlib import Path

import torch

from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.systems import checkpoint
from lib.systems.acoustic import AcousticSystem
from lib.systems.attention import Reading
from lib.systems.base import Speech
from lib.systems.tacotron2.network import NetworkConfig, build

log = logging.getLogger(__name__)


checkpoints = checkpoint.Kind("tacotron2", NetworkConfig, build)


@dataclass(frozen=True)
class Gate:
    """When the decoder holds that all is said."""

    threshold: float = 0.5  # above which a step is the last

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ParameterError(f"threshold is {self.threshold}, the gate's lies between 0 and 1")


class Tacotron2(AcousticSystem):
    """A trained acoustic model, loaded from the folder that `save` made, before a vocoder (see `AcousticSystem`)."""

    name, attends = "tacotron2", True
    checkpoints, manner = checkpoints, "gate"
    gate = Gate()

    def speak(self, sentence: str, seed: int) -> Speech:
        """One sentence. The seed draws the prenet's dropout, which the network needs in use too, and
        Griffin-Lim's phases.
        """
        watch = self._watch()
        with watch.stage("phonemes"):
            prepared = self._symbols(sentence)
        with watch.stage("acoustic_model"):
            reading = self._read(*prepared, seed)
        notes = reading.failures.notes(reading.phones)
        for note in notes:
            log.warning("%s: %r: %s", self.name, sentence[:40], note)
        with watch.stage("vocoder"):
            waveform = self._voiced(reading.log_mel, seed)
        return Speech(waveform, self.sample_rate, watch.seconds, reading.phones, notes=notes)

    def read(self, sentence: str, seed: int = 0) -> tuple[Reading, ...]:
        """The sentence, in one piece, up to its mel and alignment, to be looked at or judged."""
        return (self._read(*self._symbols(sentence), seed),)

    @torch.inference_mode()
    def _read(self, phones: tuple[str, ...], batch: torch.Tensor, speaker: torch.Tensor, seed: int) -> Reading:
        found = self.modules["acoustic_model"].read(batch, speaker, seed, self.gate.threshold)
        log_mel, alignment = (values.float().cpu().numpy() for values in (found.log_mel, found.alignment))
        return Reading(phones, log_mel, alignment, found.stopped)


def published(path: str | Path) -> dict[str, torch.Tensor]:
    """The weights in a file of NVIDIA's public checkpoints, under the names of `network.Tacotron2Layers`:
    those of its own symbols (148 characters and ARPAbet phones), on log-mels that are not standardised.

    Raises MissingDataError where there is no file, TrainingError where it holds no Tacotron 2.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no published checkpoint at {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        weights = {
            name.removeprefix("module."): value.float() if value.is_floating_point() else value
            for name, value in found.get("state_dict", found).items()
        }
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, AttributeError) as error:
        raise TrainingError(f"{path} cannot be read as a checkpoint ({error}): fetch it anew") from error
    if "decoder.attention_rnn.weight_ih" not in weights:
        raise TrainingError(f"{path} holds no Tacotron 2: there is no decoder.attention_rnn.weight_ih in it")
    return weights
