"""How does `tortoise` learn? Its decoder is shown mels in noise, with the latents of what is said, and says
what the noise is.

The loss is the squared error of v at timesteps spread evenly over the batch (Kingma et al. 2021,
arXiv:2107.00630: less chance in the gradient). In terms of the mel this weighs an error by SNR + 1 (Salimans
and Ho 2022): neither the nearly clean nor the nearly hopeless timesteps rule. A tenth of the items loses its
condition, so that guidance has something to lead away from; and, as in TorToiSe, a head guesses the mel from
the condition alone, which teaches the condition's own layers directly.

Every batch is cut to one length, a window of each sentence as long as its shortest (and at most `segment`): the
decoder's norms take means over all frames, so that no padding may be among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN, griffin_lim
from lib.systems import fastspeech2, tortoise
from lib.systems.tortoise import NetworkConfig, Sizes, diffusion
from lib.systems.tortoise.diffusion import Sampling
from lib.training import sources
from lib.training.task import Batch, Update, Validation
from lib.training.tasks import acoustic as acoustic_task
from lib.training.tasks import pictures
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.acoustic_data import Example

SHOWN = Sampling("dpm++", 16)  # how validation draws a mel
READ = ("ids", "speakers", "frames", "pitch", "energy")  # what the front end takes of a batch
JUDGED = 8  # timesteps at which each sentence of the validation split is judged


@dataclass(frozen=True)
class AcousticConfig(acoustic_task.Learning, Sizes):
    """The recipe's `model` part. The front end of `start_from` comes along."""

    front: str = "fastspeech2"  # a FastSpeech 2 of `lib.zoo`, or the folder of one, that knows every voice
    segment: int = 0  # frames of a window (0: as many as the batch's shortest sentence has)
    unconditioned: float = 0.1  # share of items without their condition
    rough_weight: float = 0.5  # of the loss of the mel guessed from the condition
    min_snr: float = 0.0  # gamma of `diffusion.loss_weight` (0: none)
    learning_rate: float = 5e-4  # the highest

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_schedule()
        for name, high in (("unconditioned", 0.9), ("rough_weight", 100.0), ("min_snr", 1e6), ("segment", 1e9)):
            if not 0 <= getattr(self, name) <= high:
                raise ParameterError(
                    f"model.{name} is {getattr(self, name)}, it must lie between 0 and {high:g}"
                )

    def network(self, front: fastspeech2.NetworkConfig) -> NetworkConfig:
        """The part that the finished network needs."""
        return NetworkConfig(**vars(self.sizes(Sizes)), front=front)


class AcousticTask(acoustic_task.AcousticTask):
    """The decoder behind a trained front end, whose voices and statistics it takes over."""

    watch = "denoise"
    system = tortoise
    Config = AcousticConfig
    betas = (0.9, 0.99)

    def __init__(self, corpus: Corpus, config: AcousticConfig):
        super().__init__(corpus, config)
        sizes, speakers, front = fastspeech2.checkpoints.load(sources.start(config.front))
        if strangers := set(self.speakers) - set(speakers):
            raise MissingDataError(
                f"the front end {config.front} does not know {', '.join(sorted(strangers)[:5])} of corpus "
                f"{corpus.name}, only {', '.join(speakers)}: train one on this corpus first"
            )
        self.speakers = speakers
        network = tortoise.build(config.network(sizes), len(speakers), config.seed)
        network.front.load_state_dict(front.state_dict())
        if config.start_from:
            self.start(network, config.network(sizes))
        self.statistics = replace(self.statistics.taken_from(network.front), speakers=speakers)
        self.follow(network)

    @classmethod
    def untrained(
        cls, config: AcousticConfig, speakers: tuple[str, ...]
    ) -> tuple[NetworkConfig, tuple[str, ...], torch.nn.Module]:
        """The system keeps all voices of its front end, also those that the decoder never met."""
        sizes, known, _ = fastspeech2.checkpoints.load(sources.start(config.front))
        if set(speakers) - set(known):
            raise TrainingError(
                f"the front end {config.front} knows {', '.join(known)}, not {', '.join(speakers)}: take the recipe "
                "of this run"
            )
        network = config.network(sizes)
        return network, known, tortoise.build(network, len(known))

    def item(self, index: int, rng: np.random.Generator) -> tuple[Example, np.ndarray, float]:
        """The example, its mel, and where in it the window begins, in [0, 1)."""
        return *super().item(index, rng), rng.random()

    def collate(self, items: list[tuple[Example, np.ndarray, float]]) -> Batch:
        """ids, frames, pitch, energy: (B, T); mel: (B, n_bands, F) standardised, frames from `starts` (B,) on;
        speakers: (B,).
        """
        shortest = min(e.n_frames for e, _, _ in items)
        return self._cut(items, min(shortest, self.config.segment or shortest))

    def _cut(self, items: list[tuple[Example, np.ndarray, float]], length: int) -> Batch:
        examples, statistics = [e for e, _, _ in items], self.statistics
        shape = (len(items), max(len(e.ids) for e in examples))
        tensors = {
            "ids": np.zeros(shape, np.int64),
            "frames": np.zeros(shape, np.int64),
            **statistics.prosody(examples, shape[1]),
        }
        speakers = np.array([self.speakers.index(e.speaker) for e in examples], np.int64)
        starts = np.array([int(place * (e.n_frames - length + 1)) for e, _, place in items], np.int64)
        mel = np.zeros((len(items), HIFIGAN.n_bands, length), np.float32)
        for row, ((e, target, _), start) in enumerate(zip(items, starts)):
            tensors["ids"][row, : len(e.ids)], tensors["frames"][row, : len(e.ids)] = (e.ids, e.frames)
            mel[row] = statistics.standardised(target[start : start + length]).T
        tensors |= {"mel": mel, "starts": starts, "speakers": speakers}
        return Batch(
            tuple(e.id for e in examples),
            len(items) * length,
            {name: torch.from_numpy(values) for name, values in tensors.items()},
        )

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        size, device = len(batch.ids), batch.tensors["mel"].device
        # Drawn on the CPU, whose random state a checkpoint keeps: the same on every device.
        timesteps = spread(size, self.config.schedule_steps, torch.rand(()).item())
        # A batch is sorted by length, the timesteps by noise: unshuffled, the shortest clip were always the cleanest.
        timesteps = timesteps[torch.randperm(size)]
        noise = torch.randn(batch.tensors["mel"].shape)  # (B, n_bands, F)
        dropped = torch.rand(size) < self.config.unconditioned
        drawn = Batch((), 0, {"timesteps": timesteps, "noise": noise, "dropped": dropped})
        drawn = (drawn.pinned() if device.type == "cuda" else drawn).to(device).tensors
        timesteps, noise, dropped = drawn["timesteps"], drawn["noise"], drawn["dropped"]
        given = batch.tensors
        scalars = losses(
            self.config,
            given["mel"],
            timesteps,
            noise,
            lambda x: self.modules[MODULE](*(given[name] for name in (*READ, "starts")), x, timesteps, dropped),
        )
        yield Update(scalars["denoise"] + self.config.rough_weight * scalars["rough"], (MODULE,), scalars)

    def validate(self, step: int) -> Validation:
        """The losses on whole sentences, in the same noise every time; of each speaker's first one a mel drawn,
        and its sound.
        """
        network = self.plain[MODULE]
        device = next(network.parameters()).device
        sums: dict[str, float] = {}
        audio, figures, heard = {}, {}, set()
        generator = torch.Generator().manual_seed(0)
        timesteps = spread(JUDGED, self.config.schedule_steps, 0.5).to(device)
        for e in self.validation:
            given = self._cut([(e, e.mel(), 0.0)], e.n_frames).to(device).tensors
            said = tortoise.read(network.front, *(given[name] for name in READ))
            noise = torch.randn((JUDGED, *given["mel"].shape[1:]), generator=generator).to(device)
            scalars = losses(
                self.config,
                given["mel"].expand(JUDGED, -1, -1),
                timesteps,
                noise,
                lambda x: network.decoder(
                    x, timesteps, said.expand(JUDGED, -1, -1), given["speakers"].expand(JUDGED)
                ),
            )
            for name, value in scalars.items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(self.validation)
            if e.speaker in heard:
                continue
            heard.add(e.speaker)
            drawn = (
                tortoise.denoised(network.decoder, self.config, said, given["speakers"], SHOWN, seed=0).x0[0].T
            )
            figures[e.id] = pictures.mels(
                given["mel"][0].T.cpu().numpy(),
                drawn.float().cpu().numpy(),
                f"drawn in {SHOWN.steps} steps, with the original's prosody",
            )
            log_mel = network.front.as_log_mel(drawn).float().cpu().numpy()
            audio[e.id] = (griffin_lim(log_mel), HIFIGAN.sample_rate)
        return Validation(sums, figures, audio)


def spread(count: int, steps: int, offset: float) -> torch.Tensor:
    """`count` timesteps (count,) int64 evenly spread over 0 .. steps - 1, all moved by `offset` in [0, 1) of
    their distance.
    """
    places = (torch.arange(count, dtype=torch.float64) + offset) / count
    return (places * steps).long().clamp(max=steps - 1)


def losses(
    config: AcousticConfig,
    mel: torch.Tensor,
    timesteps: torch.Tensor,
    noise: torch.Tensor,
    answer: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> dict[str, torch.Tensor]:
    """denoise: squared error of the prediction; rough: of the mel guessed from the condition alone. Scalars.

    mel, noise: (B, n_bands, F); answer: the mel in that noise -> (prediction, rough mel).
    """
    alpha, sigma = config.noise.signal_noise(timesteps, mel)
    prediction, rough = answer(diffusion.noised(mel, noise, alpha, sigma))
    error = (prediction.float() - diffusion.target(config.prediction, mel, noise, alpha, sigma)).square()
    weight = diffusion.loss_weight(config.prediction, alpha, sigma, config.min_snr)
    return {"denoise": (weight * error).mean(), "rough": F.mse_loss(rough.float(), mel)}
