"""How does `tacotron2` learn? It says each step's frames given the true ones before, and is shown where in the
text it is.

The losses of the paper (Shen et al. 2018, arXiv:1712.05884): squared errors of the mel before and after the
postnet, and the cross-entropy of the gate. Two more beside them: absolute errors, which blur less, and guided
attention (see `stepwise.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import TrainingError
from lib.systems import tacotron2
from lib.systems.attention import SpokenMel
from lib.systems.tacotron2.network import NetworkConfig, Prediction
from lib.training.task import Batch, Update
from lib.training.tasks import stepwise
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.stepwise import attention_loss, true_alignment


@dataclass(frozen=True)
class AcousticConfig(stepwise.Guided, NetworkConfig):
    """The recipe's `model` part. `start_from` may also be a file of published weights (.pt)."""

    Network = NetworkConfig
    weight_decay: float = 1e-6  # of the optimizer
    stop_weight: float = 1.0  # of the one step that is the last against those that are not
    absolute_weight: float = 0.0  # of the absolute errors beside the squared ones

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("stop_weight", "absolute_weight")


class AcousticTask(stepwise.StepwiseTask):
    """Tacotron 2 on any corpus."""

    system = tacotron2
    Config = AcousticConfig

    def __init__(self, corpus: Corpus, config: AcousticConfig):
        super().__init__(corpus, config, frames_per_step=config.frames_per_step)
        self.follow(self.begin())

    def optimizer(self, learning: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """That of the paper."""
        config = self.config
        return torch.optim.Adam(learning, config.learning_rate, eps=1e-6, weight_decay=config.weight_decay)

    def start(self, network: torch.nn.Module, sizes: NetworkConfig) -> None:
        """Take over weights with their statistics: all of an own checkpoint, all but the symbols of a published one."""
        start = Path(self.config.start_from)
        if start.suffix not in (".pt", ".pth"):
            super().start(network, sizes)
            return
        weights, own = tacotron2.published(start), network.network.state_dict()
        fresh = {name for name in own if "embedding" in name}
        if {k: v.shape for k, v in weights.items() if k not in fresh} != {
            k: v.shape for k, v in own.items() if k not in fresh
        }:
            raise TrainingError(
                f"{start} is not of the sizes of the recipe's `model`: the published ones are in "
                "params/full/recipes/tacotron2.yaml"
            )
        network.network.load_state_dict({**own, **{k: v for k, v in weights.items() if k not in fresh}})
        self.statistics = self.statistics.with_mels_as_they_are(len(self.statistics.mel_mean))

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        config, scalars = (
            self.config,
            losses(predict(self.modules[MODULE], batch), batch, self.config.stop_weight),
        )
        weights = {
            "mel": config.absolute_weight,
            "rough": config.absolute_weight,
            "attention": config.guidance(step),
        }
        yield Update(sum(weights.get(name, 1.0) * value for name, value in scalars.items()), (MODULE,), scalars)

    def predict(self, network: torch.nn.Module, batch: Batch) -> tuple[Prediction, torch.Tensor]:
        prediction = predict(network, batch)
        return prediction, prediction.alignment

    def losses(self, prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
        return losses(prediction, batch, self.config.stop_weight)

    def read(self, network: torch.nn.Module, batch: Batch) -> SpokenMel:
        return network.read(batch.tensors["ids"], batch.tensors["speakers"], self.config.seed)


def predict(network: torch.nn.Module, batch: Batch) -> Prediction:
    """The network's answer to a batch under teacher forcing."""
    return Prediction(*network(*(batch.tensors[name] for name in ("ids", "speakers", "mel", "mask"))))


def losses(prediction: Prediction, batch: Batch, stop_weight: float = 1.0) -> dict[str, torch.Tensor]:
    """mel, rough: mean absolute errors after and before the postnet; mel_squared, rough_squared: mean squared
    ones; stop: cross- entropy of the gate; attention: of the alignment, in nats per step. Scalars, over what is
    not padding.
    """
    given = batch.tensors
    frames, n_steps = given["mask"], prediction.stop.shape[1]
    steps = frames.reshape(len(frames), n_steps, -1)[..., 0]  # (B, S), 1 where real
    last = steps - F.pad(steps, (0, 1))[:, 1:]  # 1 at the last real step
    gate = F.binary_cross_entropy_with_logits(
        prediction.stop, last, reduction="none", pos_weight=torch.full_like(last[0, 0], stop_weight)
    )
    errors = {}
    for name, mel in (("mel", prediction.mel), ("rough", prediction.rough)):
        error = mel - given["mel"]
        errors[name] = (error.abs().mean(-1) * frames).sum() / frames.sum()
        errors[f"{name}_squared"] = (error.square().mean(-1) * frames).sum() / frames.sum()
    truth = true_alignment(given["frames"], n_steps, frames.shape[1] // n_steps)
    return {
        **errors,
        "stop": (gate * steps).sum() / steps.sum(),
        "attention": attention_loss(prediction.alignment, truth),
    }
