"""How does `fastspeech2` learn? It is given the true durations, pitch and energy of each symbol, to say them
and to predict them.

The loss is that of the paper (Ren et al. 2021, arXiv:2006.04558), as transformers computes it: the mean
absolute error of the standardised log-mel, before and after the postnet, and the mean squared errors of log
durations, pitch and energy, each over what is not padding.

A `teacher` (a trained FastSpeech 2, larger perhaps) may say what is to be learnt instead, or as well: its answers to
the same batch are smoother than the data, with less in them that no text tells (Hinton et al. 2015, arXiv:1503.02531).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import AudioError, MissingDataError, ParameterError, unknown
from lib.features import HIFIGAN, griffin_lim
from lib.systems import fastspeech2
from lib.systems.fastspeech2.config import NetworkConfig
from lib.systems.fastspeech2.network import PROSODY, Prediction
from lib.training import sources
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
    teacher: str = ""  # a FastSpeech 2 of `lib.zoo`, or a folder, whose statistics and voices are taken over
    taught: float = 0.0  # share of the loss that compares with the teacher instead of the data

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.without:
            if name not in PROSODY:
                raise unknown("model.without", name, PROSODY)
        if not 0 <= self.taught <= 1:
            raise ParameterError(f"model.taught is {self.taught}, a share lies between 0 and 1")
        if self.taught and not self.teacher:
            raise ParameterError(f"model.taught is {self.taught}, but no model.teacher is named")
        self.check_schedule()


class AcousticTask(acoustic_task.AcousticTask):
    """FastSpeech 2 on any corpus."""

    system = fastspeech2
    Config = AcousticConfig

    def __init__(self, corpus: Corpus, config: AcousticConfig):
        super().__init__(corpus, config)
        self.teacher = self._taught_by(config.teacher) if config.teacher else None
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
        config, prediction = self.config, predict(self.modules[MODULE], batch)
        scalars = losses(prediction, batch)
        loss = (1 - config.taught) * self._weighted(scalars)
        if config.taught:
            self.teacher.to(batch.tensors["mel"].device)
            with torch.no_grad():
                answer = predict(self.teacher, batch)
            lesson = self._weighted(losses(prediction, batch, answer))
            loss, scalars = loss + config.taught * lesson, {**scalars, "lesson": lesson}
        yield Update(loss, (MODULE,), scalars)

    def said(self, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """(B, F, n_bands) the standardised mel of a batch under teacher forcing."""
        return predict(network, batch).mel

    def _weighted(self, scalars: dict[str, torch.Tensor]) -> torch.Tensor:
        config = self.config
        weights = {
            "duration": config.duration_weight,
            "pitch": config.pitch_weight,
            "energy": config.energy_weight,
        }
        return sum(weights.get(name, 1.0) * value for name, value in scalars.items())

    def _taught_by(self, name: str) -> torch.nn.Module:
        """The teacher; what is standardised is so by its statistics from now on, and its voices are the student's."""
        _, speakers, network = fastspeech2.checkpoints.load(sources.start(name))
        if strangers := set(self.speakers) - set(speakers):
            raise MissingDataError(
                f"the teacher {name} does not know {', '.join(sorted(strangers)[:5])}, only {', '.join(speakers)}: "
                "take another"
            )
        self.speakers = speakers
        self.statistics = replace(self.statistics.taken_from(network), speakers=speakers)
        return network.requires_grad_(False).eval()

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


def losses(prediction: Prediction, batch: Batch, answer: Prediction | None = None) -> dict[str, torch.Tensor]:
    """mel, rough: mean absolute errors after and before the postnet; duration, pitch, energy: mean squared
    errors. Scalars. answer: a teacher's, which is compared with instead of the data.
    """
    given = batch.tensors
    frames, symbols = given["mask"], (given["ids"] != 0).to(given["mask"].dtype)
    wanted = given["mel"], (given["frames"] + 1).log(), given["pitch"], given["energy"]
    if answer:
        wanted = answer.mel, answer.log_frames, answer.pitch, answer.energy
    mel, log_frames, pitch, energy = wanted

    def over_frames(guess: torch.Tensor) -> torch.Tensor:
        return ((guess - mel).abs().mean(-1) * frames).sum() / frames.sum()

    def over_symbols(guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (F.mse_loss(guess, target, reduction="none") * symbols).sum() / symbols.sum()

    return {
        "mel": over_frames(prediction.mel),
        "rough": over_frames(prediction.rough),
        "duration": over_symbols(prediction.log_frames, log_frames),
        "pitch": over_symbols(prediction.pitch, pitch),
        "energy": over_symbols(prediction.energy, energy),
    }
