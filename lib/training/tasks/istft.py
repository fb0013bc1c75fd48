"""How does `istft` learn? Spectral distances first, then against a jury of small discriminators; the pitch is read
beside it.

The pulses of a training clip lie where the clip's own do, so that its waveform, not only its magnitudes, can be
compared. Clips are played at 0.73 to 1.37 times their speed, which moves pitch and formants and makes other speakers,
at other levels and band limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus, Utterance
from lib.errors import ParameterError
from lib.features import HIFIGAN, log_mel_torch
from lib.files import write_atomic
from lib.systems import istft
from lib.systems.istft import network, signal
from lib.training import checkpoint as checkpoints
from lib.training import sources
from lib.training.recipe import Recipe, narrowed, parse
from lib.training.task import Batch, Task, Update, Validation, split
from lib.training.tasks import istft_data, predicted_mels
from lib.training.tasks.istft_losses import complex_loss, median_loss, spectral_loss
from lib.training.tasks.istft_segments import EDGE, FULL_SCALE, Cutting, Piece, piece
from lib.training.tasks.spectrogram_discriminators import Jury, balance, jury_loss, level, speaker_loss

HOP, RATE = HIFIGAN.hop, HIFIGAN.sample_rate


@dataclass(frozen=True)
class Learning(Cutting):
    """The recipe's `model` part: the network's sizes and how it learns."""

    adversarial_from: int = 0  # step from which the jury's verdict counts
    warm_up: int = 200  # steps before it in which the jury already learns
    learning_rate: float = 1e-3  # until then; the pitch network's, always
    adversarial_rate: float = 6e-4  # from then on
    jury_rate: float = 8e-4
    half_life: int = 1_000_000  # steps from `adversarial_from` on after which these two halve
    ramp: int = 100  # steps over which a learning rate rises to its value
    windows: tuple[int, ...] = (512, 1024, 2048)  # of the spectrogram discriminators, samples
    channels: int = 16  # of their layers
    periods: tuple[int, ...] = (3, 5, 11)  # of the period discriminators
    period_width: float = 0.125  # of HiFi-GAN's channels
    log_weight: float = 0.3  # of the log magnitudes' L1
    median_weight: float = 1.0  # of the log magnitudes' L1 to the median that pulses and noise promise
    root_weight: float = 20.0  # of the magnitudes' square roots' L1
    mel_weight: float = 1.0  # of the log-mels' L1
    complex_weight: float = 6.0  # of the harmonic part's distance
    judged_frames: int = 32  # of each segment that the jury sees, somewhere in it
    spectrogram_share: float = 0.08  # size of their verdict's gradient, in that of the spectral losses
    period_share: float = 0.05  # and of the period discriminators'
    feature_weight: float = 1.0  # of the features in a verdict, beside the scores
    mels_from: tuple[
        str, ...
    ] = ()  # acoustic models, in turns, whose mels of their speakers' clips are heard ...
    mels_share: float = 0.75  # ... in this share of these clips' turns ...
    mels_clips: int = 0  # ... of so many clips (0: of all)
    mels_sharpness: float = 0.0  # how far their movement is stretched before (`lib.systems.postfilter`), to 1
    seed: int = 0
    start_from: str = ""  # a vocoder of `lib.zoo`, a folder, or a run's folder; its jury comes along ("": anew)

    @property
    def network(self) -> istft.IstftConfig:
        """The part that the finished vocoder needs."""
        return narrowed(self, istft.IstftConfig)


class IstftTask(Task):
    """Any corpus; clips are resampled to 22.05 kHz and kept in memory as 16-bit samples (160 MB an hour)."""

    kind = "vocoder"
    Config = Learning
    Data = istft_data.Data
    watch = "mel_l1"

    def __init__(self, corpus: Corpus, config: Learning):
        self.config = config
        train, self.validation_split = split(corpus, "train"), split(corpus, "validation")
        self._cycles = istft_data.all_cycles(train)
        self.train_split = tuple(u for u in train if u.id in self._cycles)
        self._clips: dict[str, np.ndarray] = {}
        self._mels = self._predicted(corpus)
        self.lengths = [config.segment_frames] * len(self.train_split)
        self.modules = {
            **istft.build(config.network, config.seed),
            "jury": Jury(config.windows, config.channels, config.periods, config.period_width),
        }
        if config.start_from:
            checkpoints.start(self.modules, config.start_from, finished)
        self.plain = dict(self.modules)
        self.averaged = ("pitch", "trunk")
        rates = {"trunk": self._trunk_rate, "pitch": self._pitch_rate, "jury": self._jury_rate}
        self.optimizers = {
            name: torch.optim.AdamW(module.parameters(), 1.0, betas=(0.8, 0.99), weight_decay=0.01)
            for name, module in self.modules.items()
        }
        self.schedulers = {
            name: torch.optim.lr_scheduler.LambdaLR(optimizer, rates[name])
            for name, optimizer in self.optimizers.items()
        }

    @classmethod
    def corpus(cls, recipe: Recipe) -> Corpus:
        return istft_data.corpus(parse(cls.Data, recipe.data, "data"))

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        """As `Task.export`; beside the vocoder `sources.RESUME`, its networks and jury as the last step left them."""
        import safetensors.torch

        loaded = checkpoints.load(checkpoint, recipe)
        flat = {
            f"{name}.{key}": value.half().contiguous()
            for name in ("trunk", "pitch", "jury")
            for key, value in loaded.weights[name].items()
        }
        write_atomic(Path(folder) / sources.RESUME, safetensors.torch.save(flat))
        config = parse(Learning, recipe.model, "model").network
        return istft.save(folder, config, {name: loaded.of(name) for name in ("pitch", "trunk")}, card)

    def item(self, index: int, rng: np.random.Generator) -> Piece:
        """A segment of the clip at a random place, at a random speed, level and band limit."""
        utterance = self.train_split[index]
        mel = self._mels.get(utterance.id)
        if mel is not None and rng.random() >= self.config.mels_share:
            mel = None
        return piece(utterance.id, self._clip(utterance), self._cycles[utterance.id], self.config, rng, mel)

    def collate(self, items: list[Piece]) -> Batch:
        tensors = {
            name: torch.from_numpy(np.stack([getattr(i, name) for i in items])) for name in Piece._fields[1:]
        }
        return Batch(tuple(i.id for i in items), len(items) * self.config.segment_frames, tensors)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        config, known = self.config, batch.tensors
        inner, kept = slice(EDGE, -EDGE), slice(config.past_frames, config.past_frames + config.segment_frames)
        true_mel = log_mel_torch(known["waveform"])
        log_mel = torch.where(known["predicted"][:, None, None] > 0, known["mel"], true_mel)[:, inner]
        hz, voiced = known["hz"][:, inner], known["voiced"][:, inner]
        source = signal.spectra(signal.pulses(known["phase"], known["pulse_hz"]))[:, inner]  # (B, F, 513)
        offset = torch.randint(signal.NOISE_FRAMES, (len(hz),), device=hz.device)
        waveform, harmonic, noise_gain = network.shape(self.modules["trunk"], log_mel, source, hz, offset)
        begin, length = config.past_frames * HOP, config.segment_frames * HOP
        fake = waveform[:, begin : begin + length]
        real = known["waveform"][:, EDGE * HOP + begin : EDGE * HOP + begin + length]
        if step >= config.adversarial_from - config.warm_up:
            gain, cut = level(real), self._cut(step)
            judgements = self.modules["jury"](torch.cat([gain * real, gain * fake.detach()])[:, cut])
            # What they saw in the real clips is the goal of feature matching, too: looking again would cost more.
            wanted = [[layer.detach().chunk(2)[0] for layer in layers] for _, layers in judgements]
            yield Update(jury_loss(judgements), ("jury",))
        scalars = {}
        scalars["log"], scalars["root"] = spectral_loss(fake, real)
        scalars["mel"] = F.l1_loss(log_mel_torch(fake), log_mel_torch(real))
        spectral = sum(getattr(config, f"{name}_weight") * value for name, value in scalars.items())
        if step >= config.adversarial_from:
            verdict = self.plain["jury"](
                (gain * fake)[:, cut]
            )  # it passes the gradient on, and does not learn from it
            first, others = len(config.windows), {}
            for name, judges in (("spectrogram", slice(first)), ("period", slice(first, None))):
                if verdict[judges]:
                    scores, features = speaker_loss(wanted[judges], verdict[judges])
                    scalars |= {f"{name}_scores": scores, f"{name}_features": features}
                    others[name] = scores + config.feature_weight * features, getattr(config, f"{name}_share")
            spectral = balance(spectral, others, fake)
        target = signal.spectra(known["waveform"])[:, inner][:, kept]
        scalars["complex"] = complex_loss(harmonic[:, kept], target)
        scalars["median"] = median_loss(harmonic[:, kept], noise_gain[:, kept], target)
        scalars["pitch"] = self._pitch_loss(log_mel, hz, voiced)
        direct = config.complex_weight * scalars["complex"] + config.median_weight * scalars["median"]
        loss = spectral + direct + scalars["pitch"]
        yield Update(loss, ("trunk", "pitch"), scalars)

    def _predicted(self, corpus: Corpus) -> dict[str, np.ndarray]:
        """Utterance id -> what `mels_from` makes of its clip, of the speakers that it knows."""
        if not self.config.mels_from:
            return {}
        known = predicted_mels.speakers(self.config.mels_from)
        theirs = tuple(u for u in self.train_split if u.speaker in known)
        if not theirs:
            raise ParameterError(
                f"model.mels_from names {', '.join(self.config.mels_from)}, who speak as {', '.join(known)}: the "
                "recipe's voices have no clip of them"
            )
        return predicted_mels.predicted(
            replace(corpus, utterances=theirs),
            self.config.mels_from,
            self.config.mels_clips,
            sharpness=self.config.mels_sharpness,
        )

    def _cut(self, step: int) -> slice:
        """The samples of a segment that the jury sees at a step."""
        length = min(self.config.judged_frames, self.config.segment_frames) * HOP
        rng = np.random.default_rng((self.config.seed, step))
        begin = int(rng.integers(self.config.segment_frames * HOP - length + 1))
        return slice(begin, begin + length)

    def validate(self, step: int) -> Validation:
        """Copy-synthesis of whole validation clips with the pitch read from the mel: L1 of log-mels, of log spectra,
        error of F0.
        """
        mels, logs, cents, clips = [], [], [], {}
        device = next(self.plain["trunk"].parameters()).device
        for number, utterance in enumerate(self.validation_split):
            clip = self._clip(utterance).astype(np.float32) / FULL_SCALE
            real = torch.from_numpy(clip[: len(clip) // HOP * HOP])[None].to(device)
            log_mel = log_mel_torch(real)
            fake = istft.decode(self.plain, log_mel)
            mels.append(F.l1_loss(log_mel_torch(fake), log_mel).item())
            logs.append(spectral_loss(fake, real)[0].item())
            cents += self._cents(utterance, log_mel)
            if number % max(1, len(self.validation_split) // 3) == 0:
                clips[utterance.id] = (fake[0].detach().clamp(-1, 1).cpu().numpy(), RATE)
        return Validation(
            {
                "mel_l1": float(np.mean(mels)),
                "log_l1": float(np.mean(logs)),
                "pitch_cents": float(np.median(cents)) if cents else 0.0,
            },
            {},
            clips,
        )

    def _cents(self, utterance: Utterance, log_mel: torch.Tensor) -> list[float]:
        """The errors of F0 in a clip's voiced frames."""
        cycles = self._known(utterance)
        if cycles is None:
            return []
        ends = (np.arange(log_mel.shape[1]) + 1) * HOP / RATE
        read = self.plain["pitch"].hz(self.plain["pitch"](log_mel))[0].detach().cpu().numpy()
        voiced = cycles.is_voiced(ends)
        return list(1200 * np.abs(np.log2(read[voiced] / cycles.hz(ends)[voiced])))

    def _known(self, utterance: Utterance) -> istft_data.Cycles | None:
        if utterance.id not in self._cycles:
            self._cycles |= istft_data.all_cycles((utterance,))
        return self._cycles.get(utterance.id)

    def _pitch_loss(self, log_mel: torch.Tensor, hz: torch.Tensor, voiced: torch.Tensor) -> torch.Tensor:
        """Cross-entropy to F0's class, blurred over its neighbours; frames without voice count a tenth: any smooth
        bridge will do.
        """
        logits = self.modules["pitch"](log_mel).float()  # (B, F, bins)
        position = self.plain["pitch"].position(hz)[..., None]
        index = torch.arange(logits.shape[-1], device=hz.device)
        target = torch.softmax(-0.5 * (index - position).square(), -1)  # a standard deviation of one class
        loss = -(target * F.log_softmax(logits, -1)).sum(-1)[:, self.config.past_frames :]
        weight = (0.1 + 0.9 * voiced)[:, self.config.past_frames :]
        return (loss * weight).sum() / weight.sum()

    def _clip(self, utterance: Utterance) -> np.ndarray:
        """(n_samples,) int16 at 22.05 kHz, read once."""
        if utterance.id not in self._clips:
            scaled = np.rint(utterance.load(RATE) * FULL_SCALE)
            self._clips[utterance.id] = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
        return self._clips[utterance.id]

    def _pitch_rate(self, step: int) -> float:
        return self.config.learning_rate * min(1.0, (step + 1) / self.config.ramp) * self._halved(step)

    def _trunk_rate(self, step: int) -> float:
        since = step - self.config.adversarial_from
        rate = self.config.learning_rate if since < 0 else self.config.adversarial_rate
        return rate * min(1.0, (step + 1) / self.config.ramp) * self._halved(step)

    def _jury_rate(self, step: int) -> float:
        since = step - self.config.adversarial_from + self.config.warm_up
        return self.config.jury_rate * min(1.0, max(since + 1, 0) / self.config.ramp) * self._halved(step)

    def _halved(self, step: int) -> float:
        return 0.5 ** (max(0, step - self.config.adversarial_from) / self.config.half_life)


def finished(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The weights of a vocoder by network: those of `resume.safetensors` beside it, its jury's too, or its own."""
    import safetensors.torch

    file = folder / sources.RESUME if (folder / sources.RESUME).is_file() else folder / "model.safetensors"
    weights: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in safetensors.torch.load_file(file).items():
        network, key = name.split(".", 1)
        weights.setdefault(network, {})[key] = value.float()
    return weights
