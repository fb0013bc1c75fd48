"""How does the reader of `vits-joe` learn? It is shown the latents of clips that the voice spoke, and their mels.

Plain regression: the mel is a function of the latents, so nothing is left to chance. Log-mels are compared by their L1
distance, as the vocoder that is to speak them hears them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lib import features
from lib.corpora.base import Corpus, Utterance
from lib.errors import MissingDataError, ParameterError
from lib.features import HIFIGAN, griffin_lim
from lib.files import cache_folder, content_key, write_atomic
from lib.systems.vits_joe import reader
from lib.training import checkpoint as checkpoints
from lib.training.recipe import Recipe, narrowed, parse
from lib.training.task import Batch, Task, Update, Validation, split
from lib.training.tasks.vocoder_targets import VOICE, true_latents

MODULE = "reader"


@dataclass(frozen=True)
class Learning(reader.ReaderConfig):
    """The recipe's `model` part: the network's sizes and how it learns."""

    segment_frames: int = 96  # of a clip that a step sees
    learning_rate: float = 1e-3
    ramp: int = 100  # steps over which it rises to its value
    half_life: int = 1_000_000  # steps after which it halves
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segment_frames < 1:
            raise ParameterError(f"model.segment_frames is {self.segment_frames}, it must be at least 1")

    @property
    def network(self) -> reader.ReaderConfig:
        """The part that the finished network needs."""
        return narrowed(self, reader.ReaderConfig)

    @property
    def around(self) -> int:
        """Frames of latents that a segment takes."""
        return self.past + self.segment_frames + self.lookahead


class ReaderTask(Task):
    """Clips of `vits-joe`; those whose latents are not known are left out."""

    kind = "reader"
    Config = Learning
    watch = "mel_l1"

    def __init__(self, corpus: Corpus, config: Learning):
        self.config = config
        self._train, self._validation = (
            [(u, latents) for u, latents in _known(split(corpus, name))] for name in ("train", "validation")
        )
        self.lengths = [config.segment_frames] * len(self._train)
        self.modules = reader.build(config.network, config.seed)
        self.plain = dict(self.modules)
        self.averaged = (MODULE,)
        optimizer = torch.optim.AdamW(self.modules[MODULE].parameters(), 1.0, betas=(0.8, 0.99))
        self.optimizers = {MODULE: optimizer}
        self.schedulers = {MODULE: torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)}

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        """The reader as a folder of `reader.PARTS`."""
        loaded = checkpoints.load(checkpoint, recipe)
        config = parse(Learning, recipe.model, "model").network
        return reader.PARTS.save(folder, config, {MODULE: loaded.of(MODULE)}, card)

    def item(self, index: int, rng: np.random.Generator) -> tuple[str, np.ndarray, np.ndarray]:
        """(id, latents (192, around), mel (segment, 80)) from a random place on; beyond the clip its ends are held."""
        utterance, latents = self._train[index]
        config, n_frames = self.config, latents.shape[1]
        begin = int(rng.integers(max(n_frames - config.segment_frames, 0) + 1))
        places = begin - config.past + np.arange(config.around)
        inside = np.clip(places, 0, n_frames - 1)
        wanted = inside[config.past : config.past + config.segment_frames]
        return utterance.id, latents[:, inside].astype(np.float32), mel_of(utterance)[wanted]

    def collate(self, items: list[tuple[str, np.ndarray, np.ndarray]]) -> Batch:
        """latents: (B, 192, around); mel: (B, segment, 80)."""
        ids, latents, mels = zip(*items)
        tensors = {"latents": torch.from_numpy(np.stack(latents)), "mel": torch.from_numpy(np.stack(mels))}
        return Batch(tuple(ids), len(items) * self.config.segment_frames, tensors)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        config, given = self.config, batch.tensors
        kept = slice(config.past, config.past + config.segment_frames)
        made = reader.seen(self.modules[MODULE], given["latents"], config)[:, kept]
        loss = F.l1_loss(made.float(), given["mel"])
        yield Update(loss, (MODULE,), {"mel": loss})

    @torch.no_grad()
    def validate(self, step: int) -> Validation:
        """L1 of the log-mels of whole clips; the first one's sound."""
        distances, audio = [], {}
        device = next(self.plain[MODULE].parameters()).device
        for utterance, latents in self._validation:
            given = torch.from_numpy(latents.astype(np.float32))[None].to(device)
            made = reader.read(self.plain[MODULE], given, self.config)[0].float().cpu().numpy()
            distances.append(float(np.abs(made - mel_of(utterance)[: len(made)]).mean()))
            if not audio:
                audio[utterance.id] = griffin_lim(made), HIFIGAN.sample_rate
        return Validation({"mel_l1": float(np.mean(distances))}, {}, audio)

    def _rate(self, step: int) -> float:
        return (
            self.config.learning_rate
            * min(1.0, (step + 1) / self.config.ramp)
            * 0.5 ** (step / self.config.half_life)
        )


def mel_of(utterance: Utterance) -> np.ndarray:
    """(n_frames, 80) float32 log-mel of a clip; kept in the cache in half precision."""
    waveform = utterance.load(HIFIGAN.sample_rate)
    key = content_key("reader mel", waveform.tobytes())
    path = cache_folder("mels", key[:2], f"{key}.f16")
    if not path.exists():
        write_atomic(path, features.log_mel(waveform).astype(np.float16).tobytes())
    return np.fromfile(path, np.float16).reshape(-1, HIFIGAN.n_bands).astype(np.float32)


def _known(utterances: tuple[Utterance, ...]) -> list[tuple[Utterance, np.ndarray]]:
    latents = true_latents(utterances)
    if not latents:
        raise MissingDataError(
            f"none of {len(utterances)} clips was spoken by {VOICE} with known durations: name it alone in data.voices"
        )
    return [(u, latents[u.id]) for u in utterances if u.id in latents]
