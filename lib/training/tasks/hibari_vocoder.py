"""How does `hibari-vocoder` learn? It is shown the mels of clips that the voice spoke, and what its decoder was fed.

Plain regression, of what is fed and of what the decoder makes of it before its last layer, so that what matters to the
decoder matters here. The decoder itself learns nothing. Some of the mels are those that acoustic models guess when they
are made to follow the clip (`predicted_mels`): what they leave of a sound is found again only by who has seen it. Half
of the others are blurred over time and bands, as guessing blurs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import ParameterError
from lib.features import HIFIGAN
from lib.systems.hibari_vocoder import network, signal
from lib.systems.hibari_vocoder.config import N_TEXT, HibariVocoderConfig
from lib.systems.hibari_vocoder.parts import PARTS
from lib.training import checkpoint as checkpoints
from lib.training import schedule
from lib.training.recipe import Recipe, narrowed, parse
from lib.training.task import Batch, Task, Update, Validation, split
from lib.training.tasks import hibari_targets, predicted_mels

MODULE = "front"
VOICED_HZ = 40.0  # below it the package makes no pulses
EDGE = 27  # frames at either end of a segment whose hidden values lack what the decoder sees beyond


@dataclass(frozen=True)
class Learning(HibariVocoderConfig):
    """The recipe's `model` part: the network's sizes and how it learns."""

    segment_frames: int = 160  # of a clip that a step sees, 12.5 ms each
    learning_rate: float = 1.2e-3
    ramp: int = 200  # steps over which it rises to its value
    last_step: int = 6_000  # until which it falls, as half a cosine, to `schedule.LEAST` of it
    blurred: float = 0.5  # share of the mels
    blur_frames: float = 2.0  # at most: standard deviation over time
    blur_bands: float = 1.2  # the same over the bands
    hidden_weight: float = 2.0  # of the distance of the decoder's hidden values
    mels_from: tuple[str, ...] = ()  # acoustic models of `lib.zoo`, or folders, whose guesses it learns, too ...
    mels_clips: int = 0  # ... of so many clips (0: of all) ...
    mels_share: float = 0.5  # ... in this share of the items
    start_from: str = ""  # an earlier run's folder, or a finished one, of the same sizes ("": random weights)
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segment_frames <= 2 * EDGE:
            raise ParameterError(
                f"model.segment_frames is {self.segment_frames}, it must be more than {2 * EDGE}"
            )
        if not 0 <= self.blurred <= 1 or min(self.blur_frames, self.blur_bands) < 0:
            raise ParameterError("model.blurred is a share, and no blur is below 0")
        if not 0 <= self.mels_share <= 1:
            raise ParameterError(f"model.mels_share is {self.mels_share}: it is a share, from 0 to 1")
        if min(self.ramp, self.last_step) < 1:
            raise ParameterError("model.ramp and model.last_step count steps: give at least 1")

    @property
    def network(self) -> HibariVocoderConfig:
        """The part that the finished vocoder needs."""
        return narrowed(self, HibariVocoderConfig)


class Piece(NamedTuple):
    """A segment of a clip: mel (F, n_bands), inputs (N_INPUTS, F), hz (F,)."""

    id: str
    mel: np.ndarray
    inputs: np.ndarray
    hz: np.ndarray


class HibariVocoderTask(Task):
    """Clips of `hibari`, with what its decoder was fed."""

    kind = "vocoder"
    Config = Learning
    watch = "hidden"

    def __init__(self, corpus: Corpus, config: Learning):
        self.config = config
        self._train, self._validation = (
            list(hibari_targets.known(split(corpus, name)).items()) for name in ("train", "validation")
        )
        self._guessed = self._guesses(corpus)
        self.lengths = [config.segment_frames] * len(self._train)
        self.modules = network.build(config.network, config.seed)
        self._standardise()
        if config.start_from:
            checkpoints.start(self.modules, config.start_from, PARTS.states, averaged=True)
        self.plain = dict(self.modules)
        self.averaged = (MODULE,)
        self._decoder = network.decoder().requires_grad_(False)
        optimizer = torch.optim.AdamW(
            self.modules[MODULE].parameters(), 1.0, betas=(0.9, 0.98), weight_decay=0.01
        )
        self.optimizers = {MODULE: optimizer}
        self.schedulers = {MODULE: torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)}

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        loaded = checkpoints.load(checkpoint, recipe)
        config = parse(Learning, recipe.model, "model").network
        return PARTS.save(folder, config, {MODULE: loaded.of(MODULE)}, card)

    def item(self, index: int, rng: np.random.Generator) -> Piece:
        """A segment from a random place on; beyond the clip its last frame is held. In a share of the items it is one
        of the clips whose mel was guessed, as it was guessed.
        """
        guessed = bool(self._guessed) and rng.random() < self.config.mels_share
        place = self._guessed[index % len(self._guessed)] if guessed else (index, None)
        (name, clip), mel = self._train[place[0]], place[1]
        length = self.config.segment_frames
        begin = int(rng.integers(max(len(clip) - length, 0) + 1))
        places = np.minimum(begin + np.arange(length), len(clip) - 1)
        if mel is None:
            mel = blurred(clip.mel[places].astype(np.float32), self.config, rng)
        else:
            mel = mel[places].astype(np.float32)
        return Piece(name, mel, clip.inputs[:, places].astype(np.float32), clip.hz[places])

    def collate(self, items: list[Piece]) -> Batch:
        """mel: (B, F, n_bands); inputs: (B, N_INPUTS, F); hz: (B, F)."""
        tensors = {
            name: torch.from_numpy(np.stack([getattr(item, name) for item in items]))
            for name in ("mel", "inputs", "hz")
        }
        return Batch(tuple(item.id for item in items), len(items) * self.config.segment_frames, tensors)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        scalars = self._distances(self.modules[MODULE](batch.tensors["mel"]), batch.tensors)
        loss = scalars["fed"] + scalars["voicing"] + scalars["pitch"]
        yield Update(loss + self.config.hidden_weight * scalars["hidden"], (MODULE,), scalars)

    @torch.no_grad()
    def validate(self, step: int) -> Validation:
        """The distances of training on whole clips, pitch in cents where both are voiced; the first one's sound."""
        front, told, audio = self.plain[MODULE], [], {}
        device = next(front.parameters()).device
        for name, clip in self._validation:
            given = {
                "mel": torch.from_numpy(clip.mel.astype(np.float32))[None].to(device),
                "inputs": torch.from_numpy(clip.inputs.astype(np.float32))[None].to(device),
                "hz": torch.from_numpy(clip.hz)[None].to(device),
            }
            made = front(given["mel"])
            distances = {key: float(value) for key, value in self._distances(made, given).items()}
            found, voiced, logits = (part[0].float().cpu().numpy() for part in made)
            pitch = signal.hz(voiced, logits, self.config)
            both = (pitch > 0) & (clip.hz > VOICED_HZ)
            if both.any():
                off = np.abs(1200 * np.log2(pitch[both] / clip.hz[both]))
                distances["pitch_cents"] = float(np.median(off))
            told.append(distances)
            if not audio:
                fed = torch.from_numpy(signal.fed(found, pitch)).to(device)
                spectra = np.split(self._decoder.to(device)(fed)[0].cpu().numpy(), 5)
                n_mel = len(clip) * signal.HOP * HIFIGAN.sample_rate // (signal.RATE * HIFIGAN.hop)
                audio[name] = signal.spoken(spectra, pitch, n_mel, 0), HIFIGAN.sample_rate
        names = {key for distances in told for key in distances}
        means = {key: float(np.mean([d[key] for d in told if key in d])) for key in sorted(names)}
        return Validation(means, {}, audio)

    def _guesses(self, corpus: Corpus) -> list[tuple[int, np.ndarray]]:
        """(which training clip, its guessed log-mel (F, n_bands) at the decoder's frames, float16)."""
        if not self.config.mels_from:
            return []
        mels = predicted_mels.predicted(corpus, self.config.mels_from, self.config.mels_clips)
        return [
            (number, signal.at_decoder(mels[name].astype(np.float32), len(clip)).astype(np.float16))
            for number, (name, clip) in enumerate(self._train)
            if name in mels
        ]

    def _distances(
        self, made: tuple[torch.Tensor, ...], given: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """fed: mean square in standard deviations; voicing, pitch: cross entropies; hidden: mean square behind the
        decoder, which is told the true pitch.
        """
        found, voiced_logit, pitch_logits = (part.float() for part in made)
        front, true, hz = self.plain[MODULE], given["inputs"], given["hz"]
        wanted = torch.cat([true[:, :N_TEXT], true[:, N_TEXT + 1 :]], 1)
        off = (found - wanted) / front.scale[:, None]
        voiced = (hz > VOICED_HZ).float()
        inputs = torch.cat([found[:, :N_TEXT], true[:, N_TEXT : N_TEXT + 1], found[:, N_TEXT:]], 1)
        decoder = self._decoder.to(found.device)
        with torch.no_grad():
            goal = decoder.hidden(true)
        inner = slice(EDGE, -EDGE) if true.shape[-1] > 2 * EDGE else slice(None)
        return {
            "fed": off.square().mean(),
            "voicing": F.binary_cross_entropy_with_logits(voiced_logit, voiced),
            "pitch": (self._surprise(pitch_logits, hz) * voiced).sum() / voiced.sum().clamp_min(1),
            "hidden": (decoder.hidden(inputs) - goal)[:, inner].square().mean(),
        }

    def _surprise(self, logits: torch.Tensor, hz: torch.Tensor) -> torch.Tensor:
        """(B, bins, F) logits, (B, F) Hz -> cross entropy (B, F), each F0 shared by the two classes that it lies
        between.
        """
        config = self.config
        place = 1200 / config.pitch_step_cents * torch.log2(hz.clamp_min(1.0) / config.pitch_low_hz)
        place = place.clamp(0, config.pitch_bins - 1)
        low = place.floor().clamp_max(max(config.pitch_bins - 2, 0))
        share, likely = place - low, logits.log_softmax(1)
        first = likely.gather(1, low.long()[:, None])[:, 0]
        second = likely.gather(1, (low.long() + 1).clamp_max(config.pitch_bins - 1)[:, None])[:, 0]
        return -((1 - share) * first + share * second)

    def _standardise(self) -> None:
        """Mean and spread of text and loudness over the training clips, into the network."""
        total, squares, n = 0.0, 0.0, 0
        for _, clip in self._train:
            values = np.delete(clip.inputs, N_TEXT, 0).astype(np.float64)
            total, squares, n = total + values.sum(1), squares + np.square(values).sum(1), n + len(clip)
        mean = total / n
        front = self.modules[MODULE]
        front.mean.copy_(torch.from_numpy(mean))
        front.scale.copy_(torch.from_numpy(np.sqrt(np.maximum(squares / n - mean**2, 1e-6))))

    def _rate(self, step: int) -> float:
        return schedule.cosine(step, self.config.learning_rate, self.config.ramp, self.config.last_step)


def blurred(mel: np.ndarray, config: Learning, rng: np.random.Generator) -> np.ndarray:
    """A log-mel (F, n_bands), in a share of all cases mixed with what a Gaussian of random width leaves of it."""
    from scipy.ndimage import gaussian_filter

    if rng.random() >= config.blurred:
        return mel
    widths = rng.uniform(0, config.blur_frames), rng.uniform(0, config.blur_bands)
    share = np.float32(rng.random())
    return share * gaussian_filter(mel, widths, mode="nearest") + (1 - share) * mel
