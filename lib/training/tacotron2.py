"""How does `tacotron2` learn? It says each step's frames given the true ones before, and is shown where in the text it is.

The losses of the paper (Shen et al. 2018, arXiv:1712.05884): squared errors of the mel before and after the postnet, and the
cross-entropy of the gate. Two more beside them. Absolute errors blur less. And guided attention: left alone, the attention needs
tens of thousands of steps before it follows the text at all, and a small corpus may never get it there; but the frames of every
symbol are known here, from the voice itself or from the aligner, so its cross-entropy to the true alignment joins the loss. The
weight of that part can fall with time: how soft the attention should be between two sounds is the network's own affair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import ParameterError, TrainingError
from lib.features import HIFIGAN, griffin_lim
from lib.systems import tacotron2
from lib.systems.attention import failures
from lib.systems.tacotron2_network import NetworkConfig, Prediction, build as build_network
from lib.training import acoustic_task, sources
from lib.training.acoustic_task import MODULE
from lib.training.recipe import Recipe, parse
from lib.training.task import Batch, Update, Validation

STATISTICS = ("mel_mean", "mel_deviation")
SMALLEST = 1e-12  # share of attention below which the loss of a step grows no more: far below any that still learns


@dataclass(frozen=True)
class AcousticConfig(NetworkConfig):
    """The recipe's `model` part. The learning rate rises over `warm_up` steps, then halves every `half_life` steps.

    stop_weight: of the one step that is the last against those that are not; absolute_weight: of the absolute errors beside the
    squared ones; attention_weight: of the guided attention, halved every `attention_half_life` steps (0: never); start_from: a
    checkpoint of `lib.zoo`, a folder, or a file of published weights (.pt) that the training goes on from ("": random ones).
    """

    learning_rate: float = 1e-3
    warm_up: int = 400
    half_life: int = 10_000
    weight_decay: float = 1e-6
    stop_weight: float = 1.0
    absolute_weight: float = 0.0
    attention_weight: float = 1.0
    attention_half_life: int = 0
    seed: int = 0
    start_from: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        acoustic_task.check_schedule(self.warm_up, self.half_life)
        for name in ("stop_weight", "absolute_weight", "attention_weight", "attention_half_life"):
            if getattr(self, name) < 0:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must not be negative")

    @property
    def network(self) -> NetworkConfig:
        """The part that the finished network needs."""
        return NetworkConfig(**{f.name: getattr(self, f.name) for f in fields(NetworkConfig)})

    def guidance(self, step: int) -> float:
        """The weight of the guided attention at a training step."""
        return self.attention_weight * (0.5 ** (step / self.attention_half_life) if self.attention_half_life else 1.0)


def build(recipe: Recipe) -> "AcousticTask":
    """The task of a recipe: its corpus (made, aligned and measured where the cache lacks it) and the network."""
    return AcousticTask(sources.corpus(parse(sources.Data, recipe.data, "data")), parse(AcousticConfig, recipe.model, "model"))


class AcousticTask(acoustic_task.AcousticTask):
    """Tacotron 2 on any corpus."""

    def __init__(self, corpus: Corpus, config: AcousticConfig):
        super().__init__(corpus, frames_per_step=config.frames_per_step)
        self.config = config
        network = build_network(config.network, len(self.speakers), config.seed)
        if config.start_from:
            self._start(network)
        for name in STATISTICS:
            getattr(network, name).copy_(torch.from_numpy(getattr(self.statistics, name)))
        optimizer = torch.optim.Adam(network.parameters(), config.learning_rate, eps=1e-6, weight_decay=config.weight_decay)
        self.follow(network, optimizer, config.warm_up, config.half_life)

    def _start(self, network: torch.nn.Module) -> None:
        """Take over weights with their statistics: all of an own checkpoint, all but the symbols of a published one."""
        start = Path(self.config.start_from)
        if start.suffix not in (".pt", ".pth"):
            folder = sources.start(self.config.start_from)
            self.take_over(network, folder, tacotron2.load(folder), self.config.network, STATISTICS)
            return
        weights, own = tacotron2.published(start), network.network.state_dict()
        fresh = {name for name in own if "embedding" in name}
        if {k: v.shape for k, v in weights.items() if k not in fresh} != {k: v.shape for k, v in own.items() if k not in fresh}:
            raise TrainingError(f"{start} is not of the sizes of the recipe's `model`: the published ones are in "
                                "params/full/recipes/tacotron2.yaml")
        network.network.load_state_dict({**own, **{k: v for k, v in weights.items() if k not in fresh}})
        bands = len(self.statistics.mel_mean)
        self.statistics = replace(self.statistics, mel_mean=np.zeros(bands, np.float32), mel_deviation=np.ones(bands, np.float32))

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        config, scalars = self.config, losses(predict(self.modules[MODULE], batch), batch, self.config.stop_weight)
        weights = {"mel": config.absolute_weight, "rough": config.absolute_weight, "attention": config.guidance(step)}
        yield Update(sum(weights.get(name, 1.0) * value for name, value in scalars.items()), (MODULE,), scalars)

    def validate(self, step: int) -> Validation:
        """The losses under teacher forcing; how every sentence is read unaided: skips, repeats and no_stop, counted, and failed,
        the share of sentences with any of them. Of each speaker's first sentence a picture and what is said unaided.
        """
        network = self.plain[MODULE]
        device = next(network.parameters()).device
        sums: dict[str, float] = {}
        audio, figures, heard = {}, {}, set()
        torch.manual_seed(self.config.seed)  # the prenet drops the same in every validation
        for e in self.validation:
            batch = self.collate([(e, e.mel())]).to(device)
            prediction = predict(network, batch)
            reading = network.read(batch.tensors["ids"], batch.tensors["speakers"], self.config.seed)
            found = failures(reading.alignment.float().cpu().numpy(), stopped=reading.stopped)
            scalars = {name: value.item() / len(self.validation)
                       for name, value in losses(prediction, batch, self.config.stop_weight).items()}
            scalars |= {"skips": len(found.skips), "repeats": len(found.repeats), "no_stop": float(not found.stopped),
                        "failed": bool(found) / len(self.validation)}
            sums = {name: sums.get(name, 0.0) + value for name, value in scalars.items()}
            if e.speaker in heard:
                continue
            heard.add(e.speaker)
            real, fake = (x[0].float().cpu().numpy() for x in (batch.tensors["mel"], prediction.mel))
            figures[e.id] = acoustic_task.figure(real, fake, "predicted from the original's frames",
                                                 prediction.alignment[0].float().cpu().numpy())
            audio[e.id] = (griffin_lim(reading.log_mel.float().cpu().numpy()), HIFIGAN.sample_rate)
        return Validation(sums, figures, audio)


def predict(network: torch.nn.Module, batch: Batch) -> Prediction:
    """The network's answer to a batch under teacher forcing."""
    return Prediction(*network(*(batch.tensors[name] for name in ("ids", "speakers", "mel", "mask"))))


def losses(prediction: Prediction, batch: Batch, stop_weight: float = 1.0) -> dict[str, torch.Tensor]:
    """mel, rough: mean absolute errors after and before the postnet; mel_squared, rough_squared: mean squared ones; stop: cross-
    entropy of the gate; attention: of the alignment, in nats per step. Scalars, over what is not padding.
    """
    given = batch.tensors
    frames, n_steps = given["mask"], prediction.stop.shape[1]
    steps = frames.reshape(len(frames), n_steps, -1)[..., 0]  # (B, S), 1 where real
    last = steps - F.pad(steps, (0, 1))[:, 1:]  # 1 at the last real step
    gate = F.binary_cross_entropy_with_logits(prediction.stop, last, reduction="none",
                                              pos_weight=torch.full_like(last[0, 0], stop_weight))
    found = {}
    for name, mel in (("mel", prediction.mel), ("rough", prediction.rough)):
        error = mel - given["mel"]
        found[name] = (error.abs().mean(-1) * frames).sum() / frames.sum()
        found[f"{name}_squared"] = (error.square().mean(-1) * frames).sum() / frames.sum()
    truth = true_alignment(given["frames"], n_steps, frames.shape[1] // n_steps)
    return {**found, "stop": (gate * steps).sum() / steps.sum(), "attention": attention_loss(prediction.alignment, truth)}


def true_alignment(frames: torch.Tensor, n_steps: int, frames_per_step: int) -> torch.Tensor:
    """The share of each decoder step's frames that each symbol has, (B, S, T); rows sum to 1, or to 0 after the sentence's end.

    frames: (B, T) int64. Where a sentence ends within a step, the frames that it has there count in full.
    """
    ends = frames.cumsum(1)[:, None]  # (B, 1, T)
    begins = ends - frames[:, None]
    clock = torch.arange(n_steps, device=frames.device)[None, :, None] * frames_per_step  # (1, S, 1)
    shared = (torch.minimum(ends, clock + frames_per_step) - torch.maximum(begins, clock)).clamp(min=0).float()
    return shared / shared.sum(-1, keepdim=True).clamp(min=1)


def attention_loss(alignment: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the attention (B, S, T) to the true alignment, in nats, averaged over the steps that have one."""
    return -(truth * alignment.float().clamp(min=SMALLEST).log()).sum() / truth.sum()


def publish(run: str | Path, config: AcousticConfig, speakers: tuple[str, ...], folder: str | Path, card: str,
            checkpoint: str | Path | None = None) -> Path:
    """Turn a training run's newest (or the given) checkpoint, averaged weights if it has them, into a system to load.

    speakers: the task's `speakers`, sorted names of all voices of the train split. Raises TrainingError where they are not as
    many as the checkpoint's, or its network has other sizes.
    """
    expected = build_network(config.network, len(speakers)).state_dict()
    weights = acoustic_task.trained(run, checkpoint, expected, len(speakers))
    return tacotron2.save(folder, config.network, speakers, weights, card)
