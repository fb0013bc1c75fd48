"""How does `fastspeech2` learn? It is given the true durations, pitch and energy of each symbol, to say them
and to predict them.

The loss is that of the paper (Ren et al. 2021, arXiv:2006.04558), as transformers computes it: the mean
absolute error of the standardised log-mel, before and after the postnet, and the mean squared errors of log
durations, pitch and energy, each over what is not padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import AudioError, unknown
from lib.features import HIFIGAN, griffin_lim
from lib.systems import fastspeech2
from lib.systems.fastspeech2.config import NetworkConfig
from lib.systems.fastspeech2.network import PROSODY, Prediction
from lib.training.task import Batch, Update, Validation
from lib.training.tasks import acoustic as acoustic_task
from lib.training.tasks import pictures
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.acoustic_data import Example


@dataclass(frozen=True)
class AcousticConfig(acoustic_task.Learning, NetworkConfig):
    """The recipe's `model` part."""

    Network = NetworkConfig
    duration_weight: float = 1.0  # of the squared error of log durations
    pitch_weight: float = 1.0  # of the squared error of the pitch
    energy_weight: float = 1.0  # of the squared error of the energy
    without: tuple[str, ...] = ()  # of pitch and energy, those that the decoder does not hear; still predicted

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.without:
            if name not in PROSODY:
                raise unknown("model.without", name, PROSODY)
        self.check_schedule()


class AcousticTask(acoustic_task.AcousticTask):
    """FastSpeech 2 on any corpus."""

    system = fastspeech2
    Config = AcousticConfig

    def __init__(self, corpus: Corpus, config: AcousticConfig):
        super().__init__(corpus, config)
        network = self.begin()
        for name in config.without:
            for parameter in getattr(network.network, f"{name}_embed").parameters():
                torch.nn.init.zeros_(parameter).requires_grad_(False)
        self.follow(network)

    def collate(self, items: list[tuple[Example, np.ndarray]]) -> Batch:
        """As every acoustic model's batch, and pitch, energy: (B, T), standardised by speaker."""
        batch = super().collate(items)
        added = self.statistics.prosody([e for e, _ in items], batch.tensors["ids"].shape[1])
        tensors = {**batch.tensors, **{name: torch.from_numpy(values) for name, values in added.items()}}
        return Batch(batch.ids, batch.frames, tensors)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        scalars = losses(predict(self.modules[MODULE], batch), batch)
        config = self.config
        weights = {
            "duration": config.duration_weight,
            "pitch": config.pitch_weight,
            "energy": config.energy_weight,
        }
        loss = sum(weights.get(name, 1.0) * value for name, value in scalars.items())
        yield Update(loss, (MODULE,), scalars)

    def validate(self, step: int) -> Validation:
        """The losses under teacher forcing; of each speaker's first sentence a picture of the mel, and what is
        said unaided.
        """
        network = self.plain[MODULE]
        device = next(network.parameters()).device
        sums: dict[str, float] = {}
        audio, figures, heard = {}, {}, set()
        for e in self.validation:
            batch = self.collate([(e, e.mel())]).to(device)
            prediction = predict(network, batch)
            for name, value in losses(prediction, batch).items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(self.validation)
            if e.speaker in heard:
                continue
            heard.add(e.speaker)
            real, fake = (x[0].float().cpu().numpy() for x in (batch.tensors["mel"], prediction.mel))
            figures[e.id] = pictures.mels(real, fake, "predicted, with the original's prosody")
            try:
                spoken = (
                    network.speak(batch.tensors["ids"], batch.tensors["speakers"])[0][0].float().cpu().numpy()
                )
                audio[e.id] = (griffin_lim(spoken), HIFIGAN.sample_rate)
            except (
                AudioError
            ):  # too early in training for durations that can be spoken; the losses say the rest
                continue
        return Validation(sums, figures, audio)


def predict(network: torch.nn.Module, batch: Batch) -> Prediction:
    """The network's answer to a batch under teacher forcing."""
    return Prediction(
        *network(*(batch.tensors[name] for name in ("ids", "speakers", "frames", "pitch", "energy")))
    )


def losses(prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
    """mel, rough: mean absolute errors after and before the postnet; duration, pitch, energy: mean squared
    errors. Scalars.
    """
    given = batch.tensors
    frames, symbols = given["mask"], (given["ids"] != 0).to(given["mask"].dtype)

    def over_frames(mel: torch.Tensor) -> torch.Tensor:
        return ((mel - given["mel"]).abs().mean(-1) * frames).sum() / frames.sum()

    def over_symbols(guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (F.mse_loss(guess, target, reduction="none") * symbols).sum() / symbols.sum()

    return {
        "mel": over_frames(prediction.mel),
        "rough": over_frames(prediction.rough),
        "duration": over_symbols(prediction.log_frames, (given["frames"] + 1).log()),
        "pitch": over_symbols(prediction.pitch, given["pitch"]),
        "energy": over_symbols(prediction.energy, given["energy"]),
    }
