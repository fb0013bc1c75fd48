"""How does `speecht5` learn? It says each step's frames given the true ones before; some heads are shown where to look.

The losses are those published (Ao et al. 2022, arXiv:2110.07205, as transformers computes them): absolute
errors of the mel before and after the postnet, and the cross-entropy of the end, where the one last frame
counts `stop_weight` times. Its guided attention is another one (see `stepwise.py`). The published loss asks for
a diagonal, the same for every sentence; here the guided heads of each decoder layer are given the cross-entropy
to where the sound really is. It says where to look even to a head that looks far away, which a penalty on wrong
places does not (its gradient fades with the share of attention in the right one). The other heads stay free to
look ahead and back, within the window of a network that has one (`NetworkConfig.behind`, `ahead`). In use the
symbol that its window lies around is now and then the wrong one, so in training it is, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import ParameterError
from lib.features import HIFIGAN, log_mel
from lib.systems import speecht5
from lib.systems.attention import SpokenMel
from lib.systems.speecht5.config import NetworkConfig
from lib.systems.speecht5.decoding import decode
from lib.systems.speecht5.network import Prediction, take_over
from lib.training.task import Batch, Update
from lib.training.tasks import stepwise
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.acoustic_data import Example
from lib.training.tasks.stepwise import attention_loss, true_alignment

ASTRAY = 0.2  # share of training steps whose window lies one symbol off, half of them before and half after


@dataclass(frozen=True)
class AcousticConfig(stepwise.Guided, NetworkConfig):
    """The recipe's `model` part. `start_from` may also be a published SpeechT5: a repository of the hub, or a folder
    of transformers.
    """

    Network = NetworkConfig
    stop_weight: float = 5.0  # of the last frame against those that are not

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("stop_weight")
        if self.vocabulary:
            raise ParameterError(
                f"model.vocabulary is {self.vocabulary}: training reads the phonemes of the Piper voices, which "
                "are 0"
            )
        if self.start_from and not _own(self.start_from) and self.mel != "speecht5":
            raise ParameterError(
                f"model.mel is {self.mel!r}, but the published SpeechT5 in {self.start_from} speaks another: "
                "set it to speecht5"
            )


class AcousticTask(stepwise.StepwiseTask):
    """SpeechT5 on any corpus. Where the recipe asks for the published mel, it is made of the clips when a batch
    wants them, and not standardised, as the published network knows it.
    """

    system = speecht5
    Config = AcousticConfig

    def __init__(self, corpus: Corpus, config: AcousticConfig):
        super().__init__(corpus, config, frames_per_step=config.reduction)
        self.features, self._clips = config.features, {}
        if config.features != HIFIGAN:
            self._clips = {u.id: u for u in corpus.utterances}
            self.statistics = self.statistics.with_mels_as_they_are(config.features.n_bands)
            self.lengths = [round(length * _ratio(config)) for length in self.lengths]
        self.follow(self.begin())

    def start(self, network: torch.nn.Module, sizes: NetworkConfig) -> None:
        """As every acoustic model, or take over published weights, which know mels unstandardised."""
        if _own(self.config.start_from):
            super().start(network, sizes)
        else:
            take_over(network, self.config.start_from)

    def collate(self, items: list[tuple[Example, np.ndarray]]) -> Batch:
        """Those of every acoustic task, and what `reached` says."""
        batch = super().collate(items)
        batch.tensors["reached"] = reached(batch, self.config)
        return batch

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        scalars = losses(predict(self.modules[MODULE], batch), batch, self.config.stop_weight)
        loss = sum(value for name, value in scalars.items() if name != "attention")
        if guidance := self.config.guidance(step):
            loss = loss + guidance * scalars["attention"]
        yield Update(loss, (MODULE,), scalars)

    def said(self, network: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """(B, F, n_bands) the standardised mel of a batch under teacher forcing."""
        return predict(network, batch).mel

    def predict(self, network: torch.nn.Module, batch: Batch) -> tuple[Prediction, torch.Tensor]:
        prediction = predict(network, batch)
        return prediction, prediction.attention.mean(1)

    def losses(self, prediction: Prediction, batch: Batch) -> dict[str, torch.Tensor]:
        return losses(prediction, batch, self.config.stop_weight)

    def read(self, network: torch.nn.Module, batch: Batch) -> SpokenMel:
        said = decode(
            network, network.encode(batch.tensors["ids"]), batch.tensors["speakers"], seed=self.config.seed
        )
        return SpokenMel(network.log_mel(said.rough)[0], said.alignment, said.stopped)

    def target(self, e: Example) -> tuple[Example, np.ndarray]:
        """The example and its mel, its frames those of the network's mel."""
        if not self._clips:
            return e, e.mel()
        mel = log_mel(self._clips[e.id].load(self.features.sample_rate), self.features)
        return replace(e, frames=rescaled(e.frames, _ratio(self.config), len(mel))), mel


def reached(batch: Batch, config: NetworkConfig) -> torch.Tensor:
    """(B, S) int64: the symbol that the frame before each step belongs to."""
    frames, n_frames = batch.tensors["frames"], batch.tensors["mask"].shape[1]
    before = torch.arange(-1, n_frames - 1, config.reduction).clamp(min=0).expand(len(frames), -1).contiguous()
    symbol = torch.searchsorted(frames.cumsum(1), before, right=True)  # (B, S)
    return torch.minimum(symbol, (batch.tensors["ids"] != config.pad).sum(1, keepdim=True) - 1)


def predict(network: torch.nn.Module, batch: Batch) -> Prediction:
    """The network's answer to a batch under teacher forcing. In training the windows are a little off, see `ASTRAY`."""
    given, reached = batch.tensors, batch.tensors["reached"]
    if network.training:
        chance = torch.rand(reached.shape, device=reached.device)
        reached = (reached + (chance > 1 - ASTRAY / 2).long() - (chance < ASTRAY / 2).long()).clamp(min=0)
    return Prediction(*network(*(given[name] for name in ("ids", "speakers", "mel", "mask")), reached))


def losses(prediction: Prediction, batch: Batch, stop_weight: float = 5.0) -> dict[str, torch.Tensor]:
    """mel, rough: mean absolute errors after and before the postnet; stop: cross-entropy of the end, frame by
    frame; attention: of the guided heads, in nats per step. Scalars, over what is not padding.
    """
    given, mask = batch.tensors, batch.tensors["mask"]
    last = mask - F.pad(mask, (0, 1))[:, 1:]  # 1 at the last real frame
    end = F.binary_cross_entropy_with_logits(
        prediction.stop, last, reduction="none", pos_weight=torch.full_like(last[0, 0], stop_weight)
    )

    def over_frames(values: torch.Tensor) -> torch.Tensor:
        return (values * mask).sum() / mask.sum()

    guided, n_steps = prediction.attention.shape[1:3]
    truth = true_alignment(given["frames"], n_steps, mask.shape[1] // n_steps).repeat_interleave(guided, 0)
    return {
        "mel": over_frames((prediction.mel - given["mel"]).abs().mean(-1)),
        "rough": over_frames((prediction.rough - given["mel"]).abs().mean(-1)),
        "stop": over_frames(end),
        "attention": attention_loss(prediction.attention.flatten(0, 1), truth),
    }


def rescaled(frames: np.ndarray, ratio: float, total: int) -> np.ndarray:
    """Frames (T,) of symbols in those of another clock, `ratio` times as many, which add up to `total`."""
    ends = np.minimum(np.round(np.cumsum(frames) * ratio).astype(np.int64), total)
    ends[-1] = total
    return np.diff(ends, prepend=0)


def _own(start: str) -> bool:
    """Whether `start_from` names a checkpoint of this project: one of the zoo, or a folder that
    `speecht5.checkpoints.save` made.
    """
    description = Path(start) / "config.json"
    return '"system"' in description.read_text(encoding="utf-8") if description.is_file() else "/" not in start


def _ratio(config: NetworkConfig) -> float:
    """Frames of the network's mel in one of `features.HIFIGAN`."""
    return HIFIGAN.hop / HIFIGAN.sample_rate * config.features.sample_rate / config.features.hop
