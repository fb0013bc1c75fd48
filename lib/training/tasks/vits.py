"""How does a VITS voice learn? From text and sound alone, all networks at once, held by discriminators.

Kim et al. 2021, arXiv:2106.06103. The posterior encoder hears latents in a clip, the decoder makes a stretch of
them sound (adversarial, feature-matching and mel losses), the flow carries them to where the text encoder's
prior expects them (divergence), the most likely alignment says how long each symbol lasted, and the duration
predictor learns to say so.

From the published voice (`start_from: vits-joe`) two things are lacking that no exported graph holds. With `learn:
lacking` they are learnt first, from clips that the voice spoke itself: its true latents are known, so the
posterior encoder is plain regression. A run that goes on from there (`learn: voice`) adapts the voice to other
recordings, as Piper's users do from a whole checkpoint. The discriminators are HiFi-GAN's, one scale and five
periods, as in VITS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import ParameterError, TrainingError
from lib.features import HIFIGAN, log_mel_torch, magnitude_torch
from lib.systems.hifigan.discriminators import (
    FEATURE_WEIGHT,
    MEL_WEIGHT,
    PERIODS,
    Discriminators,
    discriminator_loss,
    generator_loss,
)
from lib.systems.vits_joe import piper, trainable
from lib.training import checkpoint as checkpoints
from lib.training.recipe import Recipe, parse
from lib.training.task import Batch, Task, Update, Validation
from lib.training.tasks import pictures, vits_data, vits_losses
from lib.training.tasks.vits_data import HOP
from lib.training.tasks.vocoder_targets import true_latents

JUDGES = "discriminators"
PUBLISHED = "vits-joe"


@dataclass(frozen=True)
class VitsConfig:
    """The recipe's `model` part."""

    learn: str = "voice"  # "voice": everything; "lacking": only what the published voice lacks
    # "" (untrained), "vits-joe", or the folder of an earlier run, whose discriminators come along.
    start_from: str = ""
    frozen: tuple[str, ...] = ()  # networks that stay as they are
    segment_frames: int = 32  # length of the stretch of each clip that is decoded
    learning_rate: float = 2e-4
    half_life: int = 100_000  # steps after which the rates halve
    ramp: int = 1  # steps over which the rate rises to its value
    period_width: float = 1.0  # of the period discriminators, times the published one
    scale_width: float = 1.0  # of the scale discriminator
    periods: tuple[int, ...] = PERIODS
    seed: int = 0

    def __post_init__(self) -> None:
        if self.learn not in ("voice", "lacking"):
            raise ParameterError(f"model.learn is {self.learn!r}: it is voice or lacking")
        if self.learn == "lacking" and self.start_from != PUBLISHED:
            raise ParameterError(
                f"model.learn: lacking completes the published voice: set start_from: {PUBLISHED}"
            )
        known = (*trainable.SPOKEN, trainable.POSTERIOR)
        for name in self.frozen:
            if name not in known:
                raise ParameterError(f"model.frozen names {name!r}: the networks are {', '.join(known)}")
        if set(self.frozen) == set(known):
            raise ParameterError("model.frozen names every network: nothing is left to learn")
        if self.segment_frames < 16:
            raise ParameterError(f"model.segment_frames is {self.segment_frames}, it must be at least 16")

    @property
    def moving(self) -> tuple[str, ...]:
        """The networks that learn, without the discriminators."""
        if self.learn == "lacking":
            return trainable.POSTERIOR, "duration_predictor"
        return tuple(n for n in (*trainable.SPOKEN, trainable.POSTERIOR) if n not in self.frozen)


class VitsTask(Task):
    """One voice; clips are resampled to 22.05 kHz and kept in memory as 16-bit samples (160 MB an hour)."""

    Config = VitsConfig
    watch = "mel_l1"

    def __init__(self, corpus: Corpus, config: VitsConfig):
        self.config = config
        names, lacking = ("train", "validation"), config.learn == "lacking"
        known = [true_latents(corpus.split(name)) if lacking else None for name in names]
        self.examples, self.judged = (
            vits_data.examples(corpus, name, config.segment_frames, latents)
            for name, latents in zip(names, known)
        )
        self.lengths = [example.n_frames for example in self.examples]
        networks = trainable.build(seed=config.seed, published=config.start_from == PUBLISHED)
        judges = {JUDGES: Discriminators(config.period_width, config.scale_width, config.periods, scales=1)}
        if config.start_from not in ("", PUBLISHED):
            # A run that completed the voice has no discriminators yet: these stay as they are.
            checkpoints.start({**networks, **judges}, config.start_from, _unfinished)
        for name, network in networks.items():
            for key, parameter in network.named_parameters():
                stays = name not in config.moving or (lacking and not trainable.lacking(f"{name}.{key}"))
                parameter.requires_grad_(not stays)
        self.modules = networks if lacking else {**networks, **judges}
        self.plain = dict(self.modules)
        self.averaged = config.moving
        learning = (*config.moving, *(() if lacking else (JUDGES,)))
        self.optimizers = {
            name: torch.optim.AdamW(
                [p for p in self.modules[name].parameters() if p.requires_grad],
                config.learning_rate,
                betas=(0.8, 0.99),
                eps=1e-9,
            )
            for name in learning
        }
        self.schedulers = {
            name: torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
            for name, optimizer in self.optimizers.items()
        }

    @classmethod
    def corpus(cls, recipe: Recipe) -> Corpus:
        return vits_data.corpus(parse(cls.Data, recipe.data, "data"))

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        """The voice as Piper's files: `systems.load("vits-joe", checkpoint=folder)` speaks with it, and so does
        Piper.
        """
        loaded = checkpoints.load(checkpoint, recipe)
        weights = trainable.spoken({name: loaded.of(name) for name in trainable.SPOKEN})
        return piper.save(folder, weights, card)

    def item(self, index: int, rng: np.random.Generator) -> tuple[vits_data.Example, int]:
        example = self.examples[index]
        return example, int(rng.integers(example.n_frames - self.config.segment_frames + 1))

    def collate(self, items: list[tuple[vits_data.Example, int]]) -> Batch:
        return vits_data.collate(items)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        config, given = self.config, batch.tensors
        heard = self._hear(given)
        if config.learn == "lacking":
            yield self._complete(given, heard)
            return
        begin, length = given["begin"], config.segment_frames
        fake = self.modules["decoder"](vits_data.stretches(heard.latents, begin, length))[:, 0]
        real = vits_data.stretches(given["waveform"][:, None], begin * HOP, length * HOP)[:, 0]
        judgements = self.modules[JUDGES](torch.cat([real, fake.detach()]))
        # The goal of feature matching as they saw it before their step, as in hifigan.py: looking again costs 8 % more.
        wanted = [(None, [layer.detach().chunk(2)[0] for layer in layers]) for _, layers in judgements]
        yield Update(discriminator_loss(judgements), (JUDGES,))
        scalars = {"mel": F.l1_loss(log_mel_torch(fake.float()), log_mel_torch(real))}
        scalars["adversarial"], scalars["features"] = generator_loss(wanted, self.plain[JUDGES](fake))
        prior = self._read(given)
        scalars |= self._fit(given, heard, prior)
        loss = (
            MEL_WEIGHT * scalars["mel"]
            + scalars["adversarial"]
            + FEATURE_WEIGHT * scalars["features"]
            + scalars["divergence"]
            + scalars["durations"]
        )
        yield Update(loss, config.moving, scalars)

    @torch.no_grad()
    def validate(self, step: int) -> Validation:
        """Whole clips through posterior encoder and decoder: L1 of the log-mels; how far heard latents are from
        read ones, and how unlikely the lengths.
        """
        device = next(self.plain["decoder"].parameters()).device
        rows, audio, figures = [], {}, {}
        for number, example in enumerate(self.judged):
            given = vits_data.collate([(example, 0)]).to(device).tensors
            heard = self._hear(given, self.plain)
            copied = self.plain["decoder"](heard.means)[:, 0]
            mels = [log_mel_torch(x)[0] for x in (given["waveform"], copied)]
            fitted = self._fit(given, heard, self._read(given, self.plain), self.plain)
            rows.append(
                {"mel_l1": F.l1_loss(*mels).item(), **{name: value.item() for name, value in fitted.items()}}
            )
            if number == 0:
                audio[example.id] = copied[0].cpu().numpy(), HIFIGAN.sample_rate
                figures[example.id] = pictures.mels(*(mel.cpu().numpy() for mel in mels), "through the latents")
        return Validation(
            {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}, figures, audio
        )

    def _hear(self, given: Mapping[str, torch.Tensor], networks: Mapping | None = None) -> "_Heard":
        """The posterior of whole clips."""
        networks = networks or self.modules
        spectrum = magnitude_torch(given["waveform"]).transpose(1, 2)  # (B, 513, F)
        mask = vits_data.mask(given["n_frames"], spectrum.shape[2])
        latents, means, log_scales = networks[trainable.POSTERIOR](spectrum, mask)
        return _Heard(latents, means, log_scales, mask)

    def _read(self, given: Mapping[str, torch.Tensor], networks: Mapping | None = None) -> "_Read":
        """The prior of the texts."""
        networks = networks or self.modules
        mask = vits_data.mask(given["n_ids"], given["ids"].shape[1])  # (B, 1, T)
        made = networks["text_encoder"](
            input_ids=given["ids"], padding_mask=mask.transpose(1, 2), attention_mask=mask[:, 0].long()
        )
        hidden, means, log_scales = (
            values.transpose(1, 2)
            for values in (made.last_hidden_state, made.prior_means, made.prior_log_variances)
        )
        return _Read(hidden, means, log_scales, mask)

    def _fit(
        self,
        given: Mapping[str, torch.Tensor],
        heard: "_Heard",
        prior: "_Read",
        networks: Mapping | None = None,
    ) -> dict[str, torch.Tensor]:
        """Divergence of what was heard from what was read, and how unlikely the found lengths are, nats an id."""
        networks = networks or self.modules
        carried = networks["flow"](heard.latents, heard.mask, None)  # (B, 192, F)
        frames = vits_losses.aligned(carried, prior.means, prior.log_scales, given["n_ids"], given["n_frames"])
        means, log_scales = (
            vits_losses.spread(values, frames, carried.shape[2]) for values in (prior.means, prior.log_scales)
        )
        unlikely = networks["duration_predictor"](prior.hidden, prior.mask, durations=frames[:, None].float())
        return {
            "divergence": vits_losses.divergence(
                carried.float(), heard.log_scales.float(), means.float(), log_scales.float(), heard.mask
            ),
            "durations": unlikely.float().sum() / prior.mask.sum(),
        }

    def _complete(self, given: Mapping[str, torch.Tensor], heard: "_Heard") -> Update:
        """What the published voice lacks, from clips whose latents are known."""
        distance, spread = vits_losses.regression(
            given["latents"], heard.means.float(), heard.log_scales.float(), heard.mask
        )
        true = _Heard(given["latents"], given["latents"], torch.zeros_like(given["latents"]), heard.mask)
        with torch.no_grad():
            prior = self._read(given, self.plain)
        durations = self._fit(given, true, prior)["durations"]
        scalars = {"latents": distance, "scales": spread, "durations": durations}
        return Update(distance + spread + durations, self.config.moving, scalars)

    def _rate(self, step: int) -> float:
        return min(1.0, (step + 1) / self.config.ramp) * 0.5 ** (step / self.config.half_life)


def _unfinished(folder: Path) -> Mapping:
    raise TrainingError(f"{folder} holds no run of VITS: train one, or set start_from: {PUBLISHED}")


@dataclass(frozen=True)
class _Heard:
    """latents, means, log_scales: (B, 192, F); mask: (B, 1, F)."""

    latents: torch.Tensor
    means: torch.Tensor
    log_scales: torch.Tensor
    mask: torch.Tensor


@dataclass(frozen=True)
class _Read:
    """hidden, means, log_scales: (B, 192, T); mask: (B, 1, T)."""

    hidden: torch.Tensor
    means: torch.Tensor
    log_scales: torch.Tensor
    mask: torch.Tensor
