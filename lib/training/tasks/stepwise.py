"""What do Tacotron 2 and SpeechT5 share in training? They say a sentence step by step, and are shown where in
the text they are.

Left alone, attention needs tens of thousands of steps before it follows the text at all, and a small corpus may
never get it there. But the frames of every symbol are known here, from the voice itself or from the aligner, so
the cross-entropy of the attention to the true alignment joins the loss. Its weight can fall with time: how soft
the attention should be between two sounds is the network's own affair.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from lib.errors import ParameterError
from lib.features import HIFIGAN, MelConfig, griffin_lim
from lib.systems.attention import SpokenMel, failures
from lib.training.task import Batch, Validation
from lib.training.tasks import acoustic as acoustic_task
from lib.training.tasks import pictures
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.acoustic_data import Example

SMALLEST = (
    1e-12  # share of attention below which the loss of a step grows no more: far below any that still learns
)


@dataclass(frozen=True)
class Guided(acoustic_task.Learning):
    """The keys of a recipe whose model is shown where in the text it is."""

    attention_weight: float = 1.0  # of the guided attention in the loss, at the beginning
    attention_half_life: int = 0  # steps in which that weight halves (0: never)

    def check(self, *weights: str) -> None:
        """Refuse schedules that cannot be followed, and negative weights."""
        self.check_schedule()
        for name in ("attention_weight", "attention_half_life", *weights):
            if getattr(self, name) < 0:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must not be negative")

    def guidance(self, step: int) -> float:
        """The weight of the guided attention at a training step."""
        return self.attention_weight * (
            0.5 ** (step / self.attention_half_life) if self.attention_half_life else 1.0
        )


class StepwiseTask(acoustic_task.AcousticTask):
    """An acoustic model that says frames after frames. Subclasses bring `predict`, `losses` and `read`."""

    features: MelConfig = HIFIGAN

    @abstractmethod
    def predict(self, network: torch.nn.Module, batch: Batch) -> tuple[NamedTuple, torch.Tensor]:
        """The answer under teacher forcing, and its alignment (B, S, T) to look at."""

    @abstractmethod
    def losses(self, prediction: NamedTuple, batch: Batch) -> dict[str, torch.Tensor]:
        """The parts of the loss, scalars."""

    @abstractmethod
    def read(self, network: torch.nn.Module, batch: Batch) -> SpokenMel:
        """The sentence of a batch of one, unaided."""

    def target(self, example: Example) -> tuple[Example, np.ndarray]:
        """The example and its mel (F, n_bands)."""
        return example, example.mel()

    def item(self, index: int, rng: np.random.Generator) -> tuple[Example, np.ndarray]:
        return self.target(self.examples[index])

    def validate(self, step: int) -> Validation:
        """The losses under teacher forcing; how every sentence is read unaided: skips, repeats and no_stop,
        counted, and failed, the share of sentences with any of them. Of each speaker's first sentence a picture
        and what is said unaided.
        """
        network = self.plain[MODULE]
        device = next(network.parameters()).device
        sums: dict[str, float] = {}
        audio, figures, heard = {}, {}, set()
        torch.manual_seed(self.config.seed)  # the prenet drops the same in every validation
        for example, target in map(self.target, self.validation):
            batch = self.collate([(example, target)]).to(device)
            prediction, alignment = self.predict(network, batch)
            said = self.read(network, batch)
            failed = failures(said.alignment.float().cpu().numpy(), stopped=said.stopped)
            scalars = {
                name: value.item() / len(self.validation)
                for name, value in self.losses(prediction, batch).items()
            }
            scalars |= {
                "skips": len(failed.skips),
                "repeats": len(failed.repeats),
                "no_stop": float(not failed.stopped),
                "failed": bool(failed) / len(self.validation),
            }
            sums = {name: sums.get(name, 0.0) + value for name, value in scalars.items()}
            if example.speaker in heard:
                continue
            heard.add(example.speaker)
            real, fake = (x[0].float().cpu().numpy() for x in (batch.tensors["mel"], prediction.mel))
            figures[example.id] = pictures.mels(
                real,
                fake,
                "predicted from the original's frames",
                alignment[0].float().cpu().numpy(),
                features=self.features,
            )
            audio[example.id] = (
                griffin_lim(said.log_mel.float().cpu().numpy(), self.features),
                self.features.sample_rate,
            )
        return Validation(sums, figures, audio)


def true_alignment(frames: torch.Tensor, n_steps: int, frames_per_step: int) -> torch.Tensor:
    """The share of each decoder step's frames that each symbol has, (B, S, T); rows sum to 1, or to 0 after the
    sentence's end.

    frames: (B, T) int64. Where a sentence ends within a step, the frames that it has there count in full.
    """
    ends = frames.cumsum(1)[:, None]  # (B, 1, T)
    begins = ends - frames[:, None]
    clock = torch.arange(n_steps, device=frames.device)[None, :, None] * frames_per_step  # (1, S, 1)
    shared = (torch.minimum(ends, clock + frames_per_step) - torch.maximum(begins, clock)).clamp(min=0).float()
    return shared / shared.sum(-1, keepdim=True).clamp(min=1)


def attention_loss(alignment: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the attention (B, S, T) to the true alignment, in nats, averaged over the steps that
    have one.
    """
    return -(truth * alignment.float().clamp(min=SMALLEST).log()).sum() / truth.sum()
