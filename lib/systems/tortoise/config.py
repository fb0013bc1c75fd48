"""What sizes can `tortoise` have? Its configuration, readable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from lib.errors import ParameterError, unknown
from lib.features import HIFIGAN
from lib.systems import fastspeech2
from lib.systems.tortoise.sampling import PREDICTIONS
from lib.systems.tortoise.schedules import Sampling, Schedule

# What the checkpoint of `lib.zoo` speaks best with: on 16 validation sentences it got a predicted MOS of 4.05 and a WER
# of 8.6 %, 16 steps with guidance 1 and temperature 1 (four times the evaluations) 4.04 and 10.3 %.
SPOKEN = Sampling("dpm++", 8, 0.0, temperature=0.5)


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the decoder; the defaults are those published (292.3 M parameters)."""

    in_channels: int = 100  # mel bands
    out_channels: int = 200  # as many, or twice as many where the network says the variance of a step, too
    channels: int = 1024  # width
    heads: int = 16  # of attention
    layers: int = 10  # residual blocks with attention
    end_layers: int = 3  # such without, at the end
    latent_channels: int = 1024  # of the condition
    latent_layers: int = 4  # of attention, that read the latents
    code_count: int = 8193  # sorts of codes that may stand for latents; 0: none are read
    code_layers: int = 3  # that read codes
    context_layers: int = 5  # that read clips of the voice; 0: none, the voices are known by heart
    integrator_layers: int = 3  # that join the condition and the timestep
    speakers: int = 0  # voices known by heart
    dropout: float = 0.0
    folded: bool = False  # of a student: the weight of guidance is an input, not a second evaluation
    interval: bool = False  # of a student: the timestep that a step leads to is an input

    def __post_init__(self) -> None:
        if self.channels < 8 or self.heads < 1 or self.channels % self.heads or self.channels % 4:
            raise ParameterError(
                f"model.channels is {self.channels}, it must be at least 8 and a multiple of 4 and of "
                f"model.heads, {self.heads}"
            )
        if self.out_channels not in (self.in_channels, 2 * self.in_channels):
            raise ParameterError(
                f"model.out_channels is {self.out_channels}: give model.in_channels, {self.in_channels}, or "
                "twice that for a learned variance"
            )
        for name in ("layers", "integrator_layers"):
            if getattr(self, name) < 1:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must be at least 1")
        if bool(self.speakers) == bool(self.context_layers):
            raise ParameterError(
                f"model.speakers is {self.speakers} and model.context_layers {self.context_layers}: a voice "
                "comes either from a table or from clips, so that one of them is 0"
            )


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

    front: fastspeech2.NetworkConfig = field(default_factory=fastspeech2.NetworkConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.front, dict):  # from a config.json
            object.__setattr__(self, "front", fastspeech2.NetworkConfig(**self.front))
