"""`tortoise`: what does diffusion add to text-to-speech, and what does every step of it cost?

TorToiSe (Betker 2023, arXiv:2305.07243) in small. A FastSpeech 2, trained before and frozen, decides what is
said when: it gives the durations and, for every frame, the latents from which it would make its mel. The
diffusion decoder, conditioned on them, turns noise into the mel, and a vocoder speaks it. TorToiSe itself
trains its decoder on the latents of a frozen autoregressive model in the same way, and the reason holds here
too: alignment and pronunciation are learnt once, all of the decoder's training goes into the sound, and what
differs from `fastspeech2` is the decoder alone. How it learns is in `lib.training.tasks.tortoise`; the pipeline
of the published size in `published.py`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lib.errors import AudioError, unknown
from lib.features import HIFIGAN
from lib.systems import checkpoint
from lib.systems.acoustic import AcousticSystem
from lib.systems.base import Stopwatch
from lib.systems.before_vocoder import Spectrogram
from lib.systems.fastspeech2 import network as fastspeech2_network
from lib.systems.tortoise.diffusion import PREDICTIONS, Sample, Sampling, Schedule
from lib.systems.tortoise.network import DecoderConfig, DiffusionDecoder
from lib.systems.tortoise.walking import walk

log = logging.getLogger(__name__)

FRAMES_PER_SYMBOL = 16  # the length guard: twice what the slowest sentence of the training speech needs
FRAMES_BESIDE = 86  # 1 s more, for the pauses around a single word


@dataclass(frozen=True)
class Sizes:
    """The small decoder, as `DecoderConfig` has it, and the diffusion it learns. The defaults are those of the
    study: 3.0 M.

    prediction "v" because the decoder is to be distilled to a few steps, the first of which sees hardly
    anything but noise: there an error of epsilon is divided by an alpha of nearly 0 (Salimans and Ho 2022,
    arXiv:2202.00512). schedule "cosine" because the latents already tell the mel to a third of its deviation:
    noise far above that, of which the published linear schedule is full, leaves nothing to learn.
    """

    channels: int = 192  # width of every layer
    heads: int = 4  # of attention
    layers: int = 5  # blocks that see the noisy mel
    end_layers: int = 1  # residual blocks after them
    latent_layers: int = 1  # attention blocks over the latents that say what is spoken
    integrator_layers: int = 1  # that join the condition and the timestep
    dropout: float = 0.0  # in training
    schedule: str = "cosine"  # of the noise
    schedule_steps: int = 4000  # of the teacher that is to be distilled
    prediction: str = "v"  # what the network predicts

    def __post_init__(self) -> None:
        self.decoder(1, 1)
        self.noise  # refuses what is no schedule
        if self.prediction not in PREDICTIONS:
            raise unknown("prediction", self.prediction, PREDICTIONS)

    def decoder(self, n_speakers: int, latent_channels: int) -> DecoderConfig:
        """The same for the decoder itself: mel bands of `features.HIFIGAN`, no codes, no clips of voices, a
        fixed variance.
        """
        return DecoderConfig(
            HIFIGAN.n_bands,
            HIFIGAN.n_bands,
            self.channels,
            self.heads,
            self.layers,
            self.end_layers,
            latent_channels,
            self.latent_layers,
            code_count=0,
            code_layers=0,
            context_layers=0,
            integrator_layers=self.integrator_layers,
            speakers=n_speakers,
            dropout=self.dropout,
        )

    @property
    def noise(self) -> Schedule:
        """The noise of each timestep."""
        return Schedule(self.schedule, self.schedule_steps)


@dataclass(frozen=True)
class NetworkConfig(Sizes):
    """front: sizes of the FastSpeech 2 before the decoder."""

    front: fastspeech2_network.NetworkConfig = field(default_factory=fastspeech2_network.NetworkConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.front, dict):  # from a config.json
            object.__setattr__(self, "front", fastspeech2_network.NetworkConfig(**self.front))


class TortoiseNetwork(nn.Module):
    """The frozen front end and the decoder, saved together. The front end also holds the statistics of the mel."""

    def __init__(self, config: NetworkConfig, n_speakers: int):
        super().__init__()
        self.front = (
            fastspeech2_network.FastSpeech2Network(config.front, n_speakers).requires_grad_(False).eval()
        )
        self.decoder = DiffusionDecoder(config.decoder(n_speakers, config.front.hidden))

    def train(self, mode: bool = True) -> "TortoiseNetwork":
        """The decoder alone; the front end stays as it was trained, its batch norms' statistics too."""
        super().train(mode)
        self.front.eval()
        return self

    def forward(
        self,
        ids: torch.Tensor,
        speakers: torch.Tensor,
        frames: torch.Tensor,
        pitch: torch.Tensor,
        energy: torch.Tensor,
        starts: torch.Tensor,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        dropped: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Training: (prediction, rough mel), both like x, the noised standardised mel (B, n_bands, F) from
        frame `starts` (B,) of each sentence on; ids, frames, pitch, energy (B, T) as the front end takes them;
        dropped: (B,) bool.
        """
        with torch.no_grad():
            said = read(self.front, ids, speakers, frames, pitch, energy)
            said = windows(said, starts, x.shape[-1])
        return self.decoder(x, timesteps, said, speakers, dropped)


def latents(
    front: nn.Module,
    encoded: fastspeech2_network.Encoded,
    frames: torch.Tensor,
    pitch: torch.Tensor,
    energy: torch.Tensor,
) -> torch.Tensor:
    """What the front end knows of every frame before it makes a mel of it, (B, F, hidden)."""
    return front.deepen(*front.expand(encoded, frames, pitch, energy))


def read(
    front: nn.Module,
    ids: torch.Tensor,
    speakers: torch.Tensor,
    frames: torch.Tensor,
    pitch: torch.Tensor,
    energy: torch.Tensor,
) -> torch.Tensor:
    """The latents of sentences with known prosody, (B, F, hidden); ids, frames, pitch, energy: (B, T)."""
    return latents(front, front.encode(ids, speakers), frames, pitch, energy)


def windows(said: torch.Tensor, starts: torch.Tensor, length: int) -> torch.Tensor:
    """Of latents (B, F, hidden) those of `length` frames from `starts` (B,) on."""
    places = starts[:, None] + torch.arange(length, device=said.device)  # (B, length)
    return said.gather(1, places[..., None].expand(-1, -1, said.shape[-1]))


def denoised(
    decoder: nn.Module, config: Sizes, said: torch.Tensor, speakers: torch.Tensor, how: Sampling, seed: int
) -> Sample:
    """Standardised mels (B, n_bands, F) drawn for latents (B, F, hidden)."""
    generator = torch.Generator().manual_seed(seed)
    condition = decoder.condition(said, speakers, said.shape[1])
    noise = torch.randn((len(said), HIFIGAN.n_bands, said.shape[1]), generator=generator).to(said.device)
    return walk(decoder, config.noise, config.prediction, condition, noise, how, generator)


def guarded(frames: torch.Tensor) -> tuple[torch.Tensor, int]:
    """(frames (1, T), frames cut off at the end): a sentence gets FRAMES_PER_SYMBOL for each symbol and
    FRAMES_BESIDE at most.

    Raises AudioError where there is nothing to say at all.
    """
    ends = frames.cumsum(1)
    wanted = int(ends[0, -1])
    if wanted < 1:
        raise AudioError(
            f"the network wants {wanted} frames for {frames.shape[1]} symbols: it is not trained, or its weights "
            "are broken; take another checkpoint"
        )
    limit = FRAMES_PER_SYMBOL * frames.shape[1] + FRAMES_BESIDE
    return ends.clamp(max=limit).diff(dim=1, prepend=torch.zeros_like(ends[:, :1])), max(wanted - limit, 0)


def build(config: NetworkConfig, n_speakers: int, seed: int = 0) -> TortoiseNetwork:
    """The networks with random weights."""
    torch.manual_seed(seed)
    return TortoiseNetwork(config, n_speakers)


checkpoints = checkpoint.Kind("tortoise", NetworkConfig, build)


class Tortoise(AcousticSystem):
    """A trained front end and decoder, loaded from the folder that `save` made, before a vocoder (see
    `AcousticSystem`).

    sampler, steps, guidance, temperature: how noise becomes a mel (`diffusion.Sampling`); `adjusted` takes the
    rest of it, too. The defaults are what the checkpoint of `lib.zoo` speaks best with: on 16 validation
    sentences they got a predicted MOS of 4.05 and a WER of 8.6 %, 16 steps with guidance 1 and temperature 1
    (four times the evaluations) 4.04 and 10.3 %.
    """

    name = "tortoise"
    checkpoints, manner = checkpoints, "sampling"
    sampling = Sampling("dpm++", 8, 0.0, temperature=0.5)
    repeats = (("decoder", "denoise"),)

    def __init__(self, folder: str | Path, **settings: Any):
        super().__init__(folder, **settings)
        network = self.modules.pop("acoustic_model")
        self.modules |= {"front": network.front, "decoder": network.decoder}

    @torch.inference_mode()
    def said(self, sentence: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(latents (1, F, hidden), speaker (1,)): what the decoder is given for a sentence, see `denoised`."""
        _, batch, speaker = self._symbols(sentence)
        encoded, frames, pitch, energy = self.modules["front"].plan(batch, speaker)
        return latents(self.modules["front"], encoded, guarded(frames)[0], pitch, energy), speaker

    @torch.inference_mode()
    def spectrogram(self, sentence: str, seed: int, watch: Stopwatch) -> Spectrogram:
        """The seed draws the noise that the mel is made of."""
        front, decoder = self.modules["front"], self.modules["decoder"]
        with watch.stage("phonemes"):
            phones, batch, speaker = self._symbols(sentence)
        with watch.stage("acoustic_model"):
            encoded, frames, pitch, energy = front.plan(batch, speaker)
            frames, over = guarded(frames)
            said = latents(front, encoded, frames, pitch, energy)
        notes = ()
        if over:
            seconds = (
                over * HIFIGAN.hop / HIFIGAN.sample_rate,
                int(frames.sum()) * HIFIGAN.hop / HIFIGAN.sample_rate,
            )
            notes = (
                f"its durations are too long: the length guard cut {seconds[0]:.1f} s off after {seconds[1]:.1f} s",
            )
            log.warning("%s: %r: %s", self.name, sentence[:40], notes[0])
        with watch.stage("decoder"):
            drawn = denoised(decoder, self.config, said, speaker, self.sampling, seed)
            mel = drawn.x0[0].T  # (F, n_bands)
            log_mel = front.as_log_mel(mel).float().cpu().numpy()  # (F, n_bands)
        return Spectrogram(log_mel, phones, tuple(frames[0].tolist()), notes, drawn.nfe)
