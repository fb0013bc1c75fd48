"""How does `hifigan` learn? First the front finds the decoder's latents, then both move, held by the discriminators.

Stage A, until step `adversarial_from`: the decoder of `vits-joe` stays as it is. The front learns from the true
latents where the clip was spoken by that voice (its flow yields them) and, from step `spectral_from`, through
the decoder, from the mel and STFT distance for every clip. Latents alone cost a third of a step and teach most of it.
Stage B: the losses of the paper (least squares, feature matching, 45 x mel) move front and decoder. Spectral
losses alone would wreck the decoder: they do not hear the buzz that they allow. The V1 generator starts in stage B.

While it learns, the front is told the phase of the clip's own glottal pulses; the network that reads F0 in the
mel learns beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import ParameterError
from lib.features import HIFIGAN, log_mel_torch
from lib.systems import hifigan
from lib.systems.hifigan.discriminators import (
    FEATURE_WEIGHT,
    MEL_WEIGHT,
    PERIODS,
    SCALES,
    Discriminators,
    discriminator_loss,
    generator_loss,
)
from lib.training import checkpoint as checkpoints
from lib.training.recipe import Recipe, parse
from lib.training.task import Batch, Task, Update, Validation, split
from lib.training.tasks import pictures, predicted_mels
from lib.training.tasks.vocoder_data import CONTEXT, EDGE, FULL_SCALE, HOP, Piece, Segments
from lib.training.tasks.vocoder_losses import latent_distance, stft_loss
from lib.training.tasks.vocoder_targets import glottal_pulses, true_latents

FRONT = "front", "pitch"  # the networks before the decoder


@dataclass(frozen=True)
class VocoderConfig(hifigan.GeneratorConfig):
    """The recipe's `model` part."""

    segment_frames: int = 32  # length of a training clip
    # In stage A, how many clips of a batch go through the decoder, and how many frames of each (0: all): the latents of
    # a long clip cost a tenth of its waveform.
    decoded: tuple[int, int] = (0, 0)
    spectral_from: int = 0  # step of stage A from which clips are decoded
    adversarial_from: int = 0  # step at which stage B begins
    warm_up: int = 0  # steps before it in which the discriminators already learn
    period_width: float = 1.0  # of the period discriminators, times the published one
    scale_width: float = 1.0  # of the scale discriminators, times the published one
    periods: tuple[int, ...] = PERIODS  # samples, one discriminator each
    scales: int = SCALES  # how many scale discriminators
    learning_rate: float = 2e-4  # in stage B, halved every `half_life` steps
    front_learning_rate: float = 1e-3  # the front's at first; falls geometrically to `learning_rate` in stage A
    discriminator_learning_rate: float = 2e-4  # halved every `half_life` steps of stage B, too
    half_life: int = 100_000  # steps of stage B
    latent_weight: float = 10.0  # of the distance to the true latents, in stage A
    stft_weight: float = 5.0  # of the STFT distance, in stage A
    seed: int = 0  # of the first weights and the decoded windows
    # A vocoder of `lib.zoo`, a folder, or that of an earlier run, whose discriminators come along ("": as `generator`
    # says).
    start_from: str = ""
    mels_from: str = (
        ""  # a FastSpeech 2 of `lib.zoo`, or a folder, whose mels take the place of the true ones ...
    )
    mels_share: float = 0.5  # ... in this share of their turns ...
    mels_clips: int = 0  # ... of so many clips (0: of all)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generator == "v1" and self.adversarial_from:
            raise ParameterError(
                "model.adversarial_from is for the vits-joe generator; V1 has no trained decoder to keep: set 0"
            )
        if self.spectral_from and not self.latent_weight:
            raise ParameterError(
                f"model.spectral_from is {self.spectral_from} and model.latent_weight 0: until that step nothing "
                "would be learnt"
            )
        if len(self.decoded) != 2 or not 0 <= self.decoded[1] <= self.segment_frames or self.decoded[0] < 0:
            raise ParameterError(
                f"model.decoded is {list(self.decoded)}: give clips of a batch and frames of a clip, at most "
                f"{self.segment_frames}; 0 means all"
            )
        if self.segment_frames < 16:
            raise ParameterError(
                f"model.segment_frames is {self.segment_frames}; below 16 the largest STFT window would see "
                "little but padding"
            )

    @property
    def network(self) -> hifigan.GeneratorConfig:
        """The part that the finished vocoder needs."""
        return hifigan.GeneratorConfig(
            self.generator, self.front_width, self.front_blocks, self.pitch_width, self.pitch_blocks
        )


class VocoderTask(Task):
    """HiFi-GAN on any corpus; clips are resampled to 22.05 kHz and kept in memory as 16-bit samples (160 MB an
    hour).
    """

    kind = "vocoder"
    Config = VocoderConfig
    watch = "mel_l1"

    def __init__(self, corpus: Corpus, config: VocoderConfig):
        self.config = config
        self.train_split, self.validation_split = (split(corpus, "train"), split(corpus, "validation"))
        self.lengths = [config.segment_frames] * len(self.train_split)
        self.segments = Segments(
            config.segment_frames,
            latents=true_latents(self.train_split) if config.adversarial_from and config.latent_weight else {},
            pulses={} if config.generator == "v1" else glottal_pulses(self.train_split),
            mels=predicted_mels.predicted(corpus, (config.mels_from,), config.mels_clips)
            if config.mels_from
            else {},
            mels_share=config.mels_share,
        )
        generator = hifigan.build(config.network, seed=config.seed)
        judges = Discriminators(config.period_width, config.scale_width, config.periods, config.scales)
        if config.start_from:
            # A finished vocoder has no discriminators: these stay as they are.
            checkpoints.start({**generator, "discriminators": judges}, config.start_from, hifigan.PARTS.states)
        if config.generator == "v1":
            generator["decoder"].apply_weight_norm()  # as published; folded in when the vocoder is saved
        self.modules = {**generator, "discriminators": judges}
        self.plain = dict(self.modules)
        self.averaged = tuple(generator)
        rates = {
            **dict.fromkeys(FRONT, config.front_learning_rate),
            "discriminators": config.discriminator_learning_rate,
        }
        self.optimizers = {
            name: torch.optim.AdamW(
                module.parameters(), rates.get(name, config.learning_rate), betas=(0.8, 0.99)
            )
            for name, module in self.modules.items()
        }
        self.schedulers = {
            name: torch.optim.lr_scheduler.LambdaLR(
                optimizer, self._front_rate if name in FRONT else self._rate
            )
            for name, optimizer in self.optimizers.items()
        }

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        config = parse(VocoderConfig, recipe.model, "model").network
        return hifigan.save(folder, config, from_checkpoint(checkpoint, config, recipe), card)

    def item(self, index: int, rng: np.random.Generator) -> Piece:
        return self.segments.draw(self.train_split[index], rng)

    def collate(self, items: list[Piece]) -> Batch:
        return self.segments.collate(items)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        config, adversarial = self.config, step >= self.config.adversarial_from
        crop = batch.tensors["waveform"]  # (B, (EDGE + CONTEXT + segment + CONTEXT + EDGE) * HOP)
        real = crop[:, (EDGE + CONTEXT) * HOP : -(EDGE + CONTEXT) * HOP]
        log_mel = log_mel_torch(crop)[:, EDGE:-EDGE]
        if "mel" in batch.tensors:
            log_mel = torch.where(batch.tensors["predicted"][:, None, None], batch.tensors["mel"], log_mel)
        loss, scalars, hidden = self._front(log_mel, batch.tensors, adversarial)
        moving = tuple(n for n in self.averaged if adversarial or n in FRONT)
        if step < config.spectral_from and not adversarial:
            yield Update(loss, moving, scalars)
            return
        if not adversarial and any(config.decoded):
            clips, length = (n or full for n, full in zip(config.decoded, (len(real), config.segment_frames)))
            begin = int(np.random.default_rng((config.seed, step)).integers(config.segment_frames - length + 1))
            real = real[:clips, begin * HOP : (begin + length) * HOP]
            hidden = hidden[:clips, :, begin : begin + length]
        decoder = (self.modules if adversarial else self.plain)["decoder"]
        fake = decoder(hidden.transpose(1, 2)) if config.generator == "v1" else decoder(hidden)[:, 0]
        if step >= config.adversarial_from - config.warm_up:
            judgements = self.modules["discriminators"](torch.cat([real, fake.detach()]))
            # What they saw in the real clips is the goal of feature matching, too: looking again after their
            # step costs 8 % more.
            wanted = [(None, [layer.detach().chunk(2)[0] for layer in layers]) for _, layers in judgements]
            yield Update(discriminator_loss(judgements), ("discriminators",))
        scalars["mel"] = F.l1_loss(log_mel_torch(fake), log_mel_torch(real))
        loss = loss + MEL_WEIGHT * scalars["mel"]
        if adversarial:
            judges = self.plain["discriminators"]  # they pass the gradient on, and do not learn from it
            scalars["adversarial"], scalars["features"] = generator_loss(wanted, judges(fake))
            loss = loss + scalars["adversarial"] + FEATURE_WEIGHT * scalars["features"]
        else:
            scalars["stft"] = stft_loss(fake, real)
            loss = loss + config.stft_weight * scalars["stft"]
        yield Update(loss, moving, scalars)

    def validate(self, step: int) -> Validation:
        """Copy-synthesis of whole validation clips: mean absolute difference of the log-mels, and the STFT distance."""
        device = next(self.plain["decoder"].parameters()).device
        mels, stfts, audio, figures = [], [], {}, {}
        for number, utterance in enumerate(self.validation_split):
            clip = self.segments.clip(utterance).astype(np.float32) / FULL_SCALE
            real = torch.from_numpy(clip[: len(clip) // HOP * HOP])[None].to(device)
            log_mel = log_mel_torch(real)
            fake = hifigan.decode(self.plain, log_mel)
            copied = log_mel_torch(fake)
            mels.append(F.l1_loss(copied, log_mel).item())
            stfts.append(stft_loss(fake, real).item())
            if number % max(1, len(self.validation_split) // 2) == 0:
                audio[utterance.id] = (fake[0].cpu().numpy(), HIFIGAN.sample_rate)
                figures[utterance.id] = pictures.mels(log_mel[0].cpu().numpy(), copied[0].cpu().numpy(), "copy")
        return Validation({"mel_l1": float(np.mean(mels)), "stft": float(np.mean(stfts))}, figures, audio)

    def _front(
        self, log_mel: torch.Tensor, given: dict[str, torch.Tensor], adversarial: bool
    ) -> tuple[torch.Tensor | float, dict, torch.Tensor]:
        """The loss of what lies before the decoder, its parts, and the decoder's input between the contexts (B,
        channels, segment).
        """
        if "front" not in self.modules:
            return 0.0, {}, log_mel[:, CONTEXT:-CONTEXT].transpose(1, 2)
        cycles, hz = given["pulses"].unbind(1)  # (B, segment and contexts) each
        latents = self.modules["front"](log_mel, hifigan.source(cycles, hz))[..., CONTEXT:-CONTEXT]
        logit, octaves = (x[:, CONTEXT:-CONTEXT] for x in hifigan.read_pitch(self.modules, log_mel))
        hz = hz[:, CONTEXT:-CONTEXT]  # (B, segment)
        voiced = (hz > 0).float()
        off = (octaves - torch.log2(hz.clamp_min(1) / 100)).abs() * voiced
        scalars = {
            "voicing": F.binary_cross_entropy_with_logits(logit, voiced),
            "pitch": off.sum() / voiced.sum().clamp_min(1),
        }
        loss = scalars["voicing"] + scalars["pitch"]
        if adversarial:
            return loss, scalars, latents
        if "latents" in given:
            distance, known = latent_distance(latents, given["latents"]), given["has_latents"]  # (B,) each
            scalars["latents"] = (distance * known).sum() / known.sum()
            loss = loss + self.config.latent_weight * scalars["latents"]
        else:
            loss = loss + 0.0 * latents.sum()  # no clip of the batch has known ones: the front waits
        return loss, scalars, latents

    def _rate(self, step: int) -> float:
        return 0.5 ** (max(0, step - self.config.adversarial_from) / self.config.half_life)

    def _front_rate(self, step: int) -> float:
        done = min(1.0, step / self.config.adversarial_from) if self.config.adversarial_from else 1.0
        return (self.config.learning_rate / self.config.front_learning_rate) ** done * self._rate(step)


def from_checkpoint(
    checkpoint: str | Path, config: hifigan.GeneratorConfig, recipe: Recipe | None = None
) -> dict[str, dict[str, torch.Tensor]]:
    """The generator's weights in a training checkpoint, averaged ones where it has them, as `hifigan.save` wants
    them.
    """
    loaded = checkpoints.load(Path(checkpoint), recipe)
    return {name: _folded(loaded.of(name)) for name in hifigan.build(config, warm=False)}


def _folded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict with torch's weight normalisation (a length and a direction per filter) multiplied out."""
    marker = ".parametrizations.weight.original"
    folded = {key: value for key, value in state.items() if marker not in key}
    for key in (k for k in state if k.endswith(f"{marker}1")):
        stem = key.removesuffix(f"{marker}1")
        folded[f"{stem}.weight"] = torch._weight_norm(state[key], state[f"{stem}{marker}0"], 0)
    return folded
