"""How does `fastspeech2` learn? It is given the true durations, pitch and energy of each symbol, to say them and to predict them.

The loss is that of the paper (Ren et al. 2021, arXiv:2006.04558), as transformers computes it: the mean absolute error of the
standardised log-mel, before and after the postnet, and the mean squared errors of log durations, pitch and energy, each over what
is not padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import AudioError, MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN, griffin_lim
from lib.systems import fastspeech2
from lib.systems.fastspeech2_network import NetworkConfig, Prediction, build as build_network
from lib.training import acoustic_data, sources
from lib.training.acoustic_data import Example
from lib.training.recipe import Recipe, parse
from lib.training.task import Batch, Task, Update, Validation

MODULE = "acoustic_model"
STATISTICS = ("mel_mean", "mel_deviation", "pitch_mean", "pitch_deviation", "energy_mean", "energy_deviation")


@dataclass(frozen=True)
class AcousticConfig(NetworkConfig):
    """The recipe's `model` part. The learning rate rises over `warm_up` steps, then halves every `half_life` steps.

    start_from: a checkpoint of `lib.zoo`, or a folder, whose weights the training goes on from ("": random ones).
    """

    learning_rate: float = 1e-3
    warm_up: int = 400
    half_life: int = 10_000
    weight_decay: float = 1e-2
    duration_weight: float = 1.0
    pitch_weight: float = 1.0
    energy_weight: float = 1.0
    seed: int = 0
    start_from: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up < 1 or self.half_life < 1:
            raise ParameterError(f"model.warm_up and model.half_life are {self.warm_up} and {self.half_life}: both count steps, "
                                 "from 1")

    @property
    def network(self) -> NetworkConfig:
        """The part that the finished network needs."""
        return NetworkConfig(**{f.name: getattr(self, f.name) for f in fields(NetworkConfig)})


def build(recipe: Recipe) -> "AcousticTask":
    """The task of a recipe: its corpus (made, aligned and measured where the cache lacks it) and the network."""
    return AcousticTask(sources.corpus(parse(sources.Data, recipe.data, "data")), parse(AcousticConfig, recipe.model, "model"))


class AcousticTask(Task):
    """FastSpeech 2 on any corpus, with as many voices as its train split has speakers."""

    watch = "mel"
    averaged = (MODULE,)

    def __init__(self, corpus: Corpus, config: AcousticConfig):
        self.config = config
        self.examples = acoustic_data.examples(corpus, "train")
        self.validation = acoustic_data.examples(corpus, "validation")
        self.statistics = acoustic_data.statistics(self.examples)
        self.speakers = self.statistics.speakers
        if strangers := {e.speaker for e in self.validation} - set(self.speakers):
            raise MissingDataError(f"the validation split of corpus {corpus.name} has speakers that are not in its train split: "
                                   f"{', '.join(sorted(strangers)[:5])}; split by sentence, not by speaker")
        self.lengths = [e.n_frames for e in self.examples]
        network = build_network(config.network, len(self.speakers), config.seed)
        if config.start_from:
            self._start(network)
        for name in STATISTICS:
            getattr(network, name).copy_(torch.from_numpy(getattr(self.statistics, name)))
        self.modules = {MODULE: network}
        self.plain = dict(self.modules)
        self.optimizers = {MODULE: torch.optim.AdamW(network.parameters(), config.learning_rate, betas=(0.9, 0.98),
                                                     weight_decay=config.weight_decay)}
        self.schedulers = {MODULE: torch.optim.lr_scheduler.LambdaLR(self.optimizers[MODULE], self._rate)}

    def item(self, index: int, rng: np.random.Generator) -> tuple[Example, np.ndarray]:
        """The example and its mel."""
        return self.examples[index], self.examples[index].mel()

    def collate(self, items: list[tuple[Example, np.ndarray]]) -> Batch:
        """ids, frames, pitch, energy: (B, T); mel: (B, F, n_bands) standardised; mask: (B, F) 1 where real; speakers: (B,)."""
        found = [e for e, _ in items]
        known = self.statistics
        speakers = np.array([self.speakers.index(e.speaker) for e in found], np.int64)
        shape = (len(items), max(len(e.ids) for e in found))
        tensors = {"ids": np.zeros(shape, np.int64), "frames": np.zeros(shape, np.int64), "pitch": np.zeros(shape, np.float32),
                   "energy": np.zeros(shape, np.float32)}
        n_frames = max(e.n_frames for e in found)
        mel, mask = np.zeros((len(items), n_frames, HIFIGAN.n_bands), np.float32), np.zeros((len(items), n_frames), np.float32)
        for row, ((e, target), speaker) in enumerate(zip(items, speakers)):
            end = len(e.ids)
            tensors["ids"][row, :end], tensors["frames"][row, :end] = e.ids, e.frames
            tensors["pitch"][row, :end] = (e.pitch - known.pitch_mean[speaker]) / known.pitch_deviation[speaker]
            tensors["energy"][row, :end] = (e.energy - known.energy_mean[speaker]) / known.energy_deviation[speaker]
            mel[row, :e.n_frames] = (target - known.mel_mean) / known.mel_deviation
            mask[row, :e.n_frames] = 1
        tensors |= {"mel": mel, "mask": mask, "speakers": speakers}
        return Batch(tuple(e.id for e in found), sum(e.n_frames for e in found),
                     {name: torch.from_numpy(values) for name, values in tensors.items()})

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        scalars = losses(predict(self.modules[MODULE], batch), batch)
        config = self.config
        weights = {"duration": config.duration_weight, "pitch": config.pitch_weight, "energy": config.energy_weight}
        loss = sum(weights.get(name, 1.0) * value for name, value in scalars.items())
        yield Update(loss, (MODULE,), scalars)

    def validate(self, step: int) -> Validation:
        """The losses under teacher forcing; of each speaker's first sentence a picture of the mel, and what is said unaided."""
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
            figures[e.id] = _figure(real, fake)
            try:
                spoken = network.speak(batch.tensors["ids"], batch.tensors["speakers"])[0][0].float().cpu().numpy()
                audio[e.id] = (griffin_lim(spoken), HIFIGAN.sample_rate)
            except AudioError:  # too early in training for durations that can be spoken; the losses say the rest
                continue
        return Validation(sums, figures, audio)

    def _start(self, network: torch.nn.Module) -> None:
        """Take over weights, and the statistics they were trained with."""
        folder = sources.start(self.config.start_from)
        found, speakers, trained = fastspeech2.load(folder)
        if found != self.config.network or speakers != self.speakers:
            raise TrainingError(f"the network in {folder} has other sizes or speakers ({', '.join(speakers)}) than the recipe's "
                                f"({', '.join(self.speakers)}): take its own recipe's `model` and `voices`, or another start_from")
        network.load_state_dict(trained.state_dict())
        self.statistics = replace(self.statistics, **{name: getattr(trained, name).numpy() for name in STATISTICS})

    def _rate(self, step: int) -> float:
        return min(1.0, (step + 1) / self.config.warm_up) * 0.5 ** (max(0, step - self.config.warm_up) / self.config.half_life)


def predict(network: torch.nn.Module, batch: Batch) -> Prediction:
    """The network's answer to a batch under teacher forcing."""
    return Prediction(*network(*(batch.tensors[name] for name in ("ids", "speakers", "frames", "pitch", "energy"))))


def losses(prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
    """mel, rough: mean absolute errors after and before the postnet; duration, pitch, energy: mean squared errors. Scalars."""
    given = batch.tensors
    frames, symbols = given["mask"], (given["ids"] != 0).to(given["mask"].dtype)

    def over_frames(mel: torch.Tensor) -> torch.Tensor:
        return ((mel - given["mel"]).abs().mean(-1) * frames).sum() / frames.sum()

    def over_symbols(guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (F.mse_loss(guess, target, reduction="none") * symbols).sum() / symbols.sum()

    return {"mel": over_frames(prediction.mel), "rough": over_frames(prediction.rough),
            "duration": over_symbols(prediction.log_frames, (given["frames"] + 1).log()),
            "pitch": over_symbols(prediction.pitch, given["pitch"]), "energy": over_symbols(prediction.energy, given["energy"])}


def publish(run: str | Path, config: AcousticConfig, speakers: tuple[str, ...], folder: str | Path, card: str,
            checkpoint: str | Path | None = None) -> Path:
    """Turn a training run's newest (or the given) checkpoint, averaged weights if it has them, into a system to load.

    speakers: the task's `speakers`, sorted names of all voices of the train split. Raises TrainingError where they are not as
    many as the checkpoint's, or its network has other sizes.
    """
    from lib.training import checkpoint as checkpoints

    path = Path(checkpoint) if checkpoint else checkpoints.latest(Path(run) / "checkpoints")
    if path is None:
        raise ParameterError(f"{run} holds no checkpoint to publish")
    found = checkpoints.load(path).weights
    weights = found.get(f"ema-{MODULE}", found.get(MODULE))
    expected = build_network(config.network, len(speakers)).state_dict()
    if weights is None or {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in expected.items()}:
        raise TrainingError(f"checkpoint {path} is of another network than this configuration with {len(speakers)} speakers: "
                            "take the recipe it was trained with")
    return fastspeech2.save(folder, config.network, speakers, weights, card)


def _figure(real: np.ndarray, fake: np.ndarray):
    """Both mels (F, bands), one above the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    titles = ("original", "predicted, with the original's prosody")
    for axes, mel, title in zip(figure.subplots(2, sharex=True), (real, fake), titles):
        axes.imshow(mel.T, origin="lower", aspect="auto", vmin=real.min(), vmax=real.max())
        axes.set(title=title, ylabel="mel band")
    axes.set_xlabel(f"frame ({1000 * HIFIGAN.hop / HIFIGAN.sample_rate:.1f} ms)")
    return figure
