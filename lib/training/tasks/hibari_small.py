"""How does `hibari-small` learn? It reads what its teacher reads and is told all that came of it.

Plain regression, for of one text the teacher says one thing alone. Its decoder begins as some of the teacher's blocks,
which without the others are still a voice, and learns to be as good. Lengths, pitch and loudness are the teacher's
while frames are learnt, so that each is compared with the same frame. Of the spectra each part counts as much as it is
of what sounds in its bin: a phase that is drowned by noise may be any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from lib.corpora.base import Corpus
from lib.errors import ParameterError
from lib.systems.hibari_small import network, signal
from lib.systems.hibari_small.config import HibariSmallConfig
from lib.systems.hibari_small.parts import PARTS
from lib.systems.hibari_vocoder import network as teacher
from lib.training import checkpoint as checkpoints
from lib.training import schedule
from lib.training.recipe import Recipe, narrowed, parse
from lib.training.task import Batch, Task, Update, Validation, split
from lib.training.tasks import hibari_readings
from lib.training.tasks.hibari_readings import Reading

VOICE = "hibari"
MODULES = ("encoder", "decoder")
LITTLE = 0.02  # what a magnitude counts for at least, of 1, where something else drowns it
LOUDNESS = 3.0  # what a magnitude counts for beside a phase: in half a trained student it was they that were heard
QUIET = 1e-4  # magnitude of what nobody hears


@dataclass(frozen=True)
class Learning(HibariSmallConfig):
    """The recipe's `model` part: the sizes and how they are learnt."""

    segment_frames: int = 96  # of a sentence that a step sees, 12.5 ms each ...
    compared_frames: int = 32  # ... and those of them whose spectra are compared
    learning_rate: float = 2e-3
    ramp: int = 200  # steps over which it rises to its value
    last_step: int = 10_000  # until which it falls, as half a cosine, to `schedule.LEAST` of it
    hidden_weight: float = 3.0  # of the distance of what the last layer sees from the teacher's
    blocks_of_teacher: tuple[int, ...] = ()  # where its decoder begins; none: from random weights, of any width
    start_from: str = ""  # an earlier run's folder, or a finished one, of the same sizes ("": random weights)
    seed: int = 0

    def __post_init__(self) -> None:
        narrowed(self, HibariSmallConfig)
        for name in ("segment_frames", "compared_frames", "learning_rate", "ramp", "last_step"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"model.{name} is {getattr(self, name)}, it must be above 0")
        if self.blocks_of_teacher and len(self.blocks_of_teacher) != self.decoder_blocks:
            raise ParameterError(
                f"model.blocks_of_teacher names {len(self.blocks_of_teacher)} blocks, model.decoder_blocks is "
                f"{self.decoder_blocks}: name as many"
            )
        if self.segment_frames <= 2 * self.edge:
            raise ParameterError(
                f"model.segment_frames is {self.segment_frames}; frames of this decoder see {self.edge} to either "
                f"side: give more than {2 * self.edge}"
            )

    @property
    def edge(self) -> int:
        """Frames at an end of a segment, where the sentence goes on, that lack what lies beyond."""
        return max(3 * self.prosody_blocks, self.context)

    @property
    def network(self) -> HibariSmallConfig:
        """The part that the finished voice needs."""
        return narrowed(self, HibariSmallConfig)


class Piece(NamedTuple):
    """A segment of a sentence: of its phonemes ids, lasting (n,) and text (n, 128); of frames index, hz, loudness (L,),
    place (L, 2) and hidden (L, 256); whether a frame's window holds pulses, whether it counts, and whether it is there
    at all (L,).
    """

    ids: np.ndarray
    lasting: np.ndarray
    text: np.ndarray
    index: np.ndarray
    place: np.ndarray
    hz: np.ndarray
    loudness: np.ndarray
    hidden: np.ndarray
    sounding: np.ndarray
    counts: np.ndarray
    there: np.ndarray


class HibariSmallTask(Task):
    """Texts, and what the teacher makes of them."""

    Config = Learning
    watch = "spectra"

    def __init__(self, corpus: Corpus, config: Learning):
        self.config = config
        voices = {utterance.speaker for utterance in split(corpus, "train")}
        if voices != {VOICE}:
            raise ParameterError(f"hibari-small learns from {VOICE} alone, not from {', '.join(sorted(voices))}")
        self._train, self._validation = (
            hibari_readings.known([u.text for u in split(corpus, name)]) for name in ("train", "validation")
        )
        self.lengths = [len(reading.ids) for reading in self._train]
        self.modules = network.build(config.network, config.seed)
        whole = teacher.decoder().requires_grad_(False)
        self._head = whole.head
        if config.blocks_of_teacher:
            _begin(self.modules["decoder"], whole, config.blocks_of_teacher)
        if config.start_from:
            checkpoints.start(self.modules, config.start_from, PARTS.states, averaged=True)
        self.plain = dict(self.modules)
        self.averaged = MODULES
        weights = [weight for module in self.modules.values() for weight in module.parameters()]
        self.optimizers = {"adam": torch.optim.AdamW(weights, 1.0, betas=(0.9, 0.98), weight_decay=0.01)}
        self.schedulers = {"adam": torch.optim.lr_scheduler.LambdaLR(self.optimizers["adam"], self._rate)}

    @classmethod
    def export(cls, recipe: Recipe, checkpoint: Path, folder: str | Path, card: str) -> Path:
        loaded = checkpoints.load(checkpoint, recipe)
        config = parse(Learning, recipe.model, "model").network
        return PARTS.save(folder, config, {name: loaded.of(name) for name in MODULES}, card)

    def item(self, index: int, rng: np.random.Generator) -> Piece:
        """A segment of a random place, the ends of the sentence as often as the rest."""
        reading, length, edge = self._train[index], self.config.segment_frames, self.config.edge
        begin = int(rng.integers(-edge, max(len(reading) - length, 0) + edge + 1))
        return cut(reading, int(np.clip(begin, 0, max(len(reading) - length, 0))), length, edge)

    def collate(self, items: list[Piece]) -> Batch:
        """Of phonemes (B, n), padded; of frames (B, L)."""
        longest = max(len(item.ids) for item in items)
        padded = {
            name: np.stack([_longer(getattr(item, name), longest) for item in items])
            for name in ("ids", "lasting", "text")
        }
        padded["real"] = np.stack([np.arange(longest) < len(item.ids) for item in items])
        rest = {name: np.stack([getattr(item, name) for item in items]) for name in Piece._fields[3:]}
        tensors = {name: torch.from_numpy(array) for name, array in (padded | rest).items()}
        return Batch(tuple(map(str, range(len(items)))), int(rest["there"].sum()), tensors)

    def updates(self, batch: Batch, step: int) -> Iterator[Update]:
        scalars = self._distances(batch.tensors, self.config.compared_frames, step)
        yield Update(sum(scalars.values()), ("adam",), scalars)

    @torch.no_grad()
    def validate(self, step: int) -> Validation:
        """The distances of training on whole sentences, and in units that say something; the first one's sound."""
        told, audio = [], {}
        for number, reading in enumerate(self._validation):
            device = next(self.plain["encoder"].parameters()).device
            batch = self.collate([cut(reading, 0, len(reading), self.config.edge)]).to(device)
            distances = {key: float(value) for key, value in self._distances(batch.tensors, 0, step).items()}
            known, lasting = self.plain["encoder"](batch.tensors["ids"], None)
            off = signal.lengths(lasting[0].float().cpu().numpy()) - reading.frames
            held = signal.held(known[0].float().cpu().numpy(), reading.frames)
            lasts = _tensor(held, device)
            heard = self.plain["decoder"](lasts)
            hz, spectra = (p[0].float().cpu().numpy() for p in (heard.hz, self.plain["decoder"](lasts, heard)))
            both = (hz > 0) & (reading.hz > 0)
            cents = np.abs(1200 * np.log2(hz[both] / reading.hz[both]))
            told.append(
                distances
                | {"frames_off": float(np.abs(off).mean()), "voicing_off": float(((hz > 0) != (reading.hz > 0)).mean())}
                | ({"pitch_cents": float(np.median(cents))} if both.any() else {})
            )
            if number == 0:
                audio["first"] = signal.spoken(spectra, hz, 0).clip(-1, 1), signal.RATE
        names = {key for distances in told for key in distances}
        return Validation({k: float(np.mean([d[k] for d in told if k in d])) for k in sorted(names)}, {}, audio)

    def _distances(self, given: dict[str, torch.Tensor], compared: int, step: int) -> dict[str, torch.Tensor]:
        """lasting: of logarithms of lengths; text; voicing: cross entropy; pitch: octaves where voiced, ten times;
        loudness; of so many frames (0: of all) hidden, where the width is the teacher's, and spectra, see
        `spectra_distance`.
        """
        real, there = given["real"], given["there"]
        known, lasting = self.modules["encoder"](given["ids"], real)
        index = given["index"][..., None].expand(-1, -1, known.shape[-1])
        held = torch.cat([known.gather(1, index), given["place"].to(known.dtype)], -1)
        counts, hz = given["counts"].float(), given["hz"]
        rows, columns = torch.nonzero(given["counts"], as_tuple=True)
        if compared and len(rows) > compared * len(hz):
            rng = np.random.default_rng((self.config.seed, step))
            few = torch.from_numpy(rng.permutation(len(rows))[: compared * len(hz)]).to(rows.device)
            rows, columns = rows[few], columns[few]
        taught = network.Taught(hz, given["loudness"], known, there, rows, columns)
        found, hidden, spectra, text = self.modules["decoder"](held, taught)
        voiced = (hz > 0).float()
        octaves = torch.log2(torch.where(hz > 0, hz, network.USUAL_HZ) / network.USUAL_HZ)
        goal = given["hidden"][rows, columns].float()
        wanted = self._head.to(hidden.device)(goal)
        surprise = F.binary_cross_entropy_with_logits(found.voiced.float(), voiced, reduction="none")
        near = {}
        if goal.shape == hidden.shape:
            near["hidden"] = self.config.hidden_weight * (hidden.float() - goal).square().mean()
        return {
            **near,
            "text": _mean((text.float() - given["text"].float()).abs().mean(-1), real.float()),
            "lasting": _mean((lasting.float() - given["lasting"]).abs(), real.float()),
            "voicing": _mean(surprise, counts),
            "pitch": 10 * _mean((found.octaves.float() - octaves).abs(), counts * voiced),
            "loudness": _mean((found.loudness.float() - given["loudness"]).abs(), counts),
            "spectra": spectra_distance(spectra.float(), wanted, given["sounding"][rows, columns].float()),
        }

    def _rate(self, step: int) -> float:
        return schedule.cosine(step, self.config.learning_rate, self.config.ramp, self.config.last_step)


def cut(reading: Reading, begin: int, length: int, edge: int) -> Piece:
    """`length` frames of a sentence; what it has not is filled with nothing, what lies near a cut does not count."""
    index, place = signal.at_frames(reading.frames)
    n = min(length, len(reading) - begin)
    inside = slice(begin, begin + n)

    def filled(array: np.ndarray, dtype: type = np.float32) -> np.ndarray:
        kept = array[inside].astype(dtype)
        return np.pad(kept, [(0, length - n)] + [(0, 0)] * (kept.ndim - 1))

    at = np.arange(length)
    counts = (at < n) & ((at >= edge) | (begin == 0)) & ((at < n - edge) | (begin + n == len(reading)))
    return Piece(
        reading.ids.astype(np.int64),
        reading.lasting.astype(np.float32),
        reading.text.astype(np.float32),
        filled(index, np.int64),
        filled(place),
        filled(reading.hz),
        filled(reading.loudness),
        filled(reading.hidden, np.float16),
        filled(signal.sounding_frames(reading.hz), bool),
        counts,
        at < n,
    )


def _begin(decoder: network.Decoder, whole: teacher.Decoder, chosen: Sequence[int]) -> None:
    """Some blocks of the teacher's decoder, and all that lies around its blocks, into one of its width. ParameterError
    for blocks that it has not, or another width.
    """
    try:
        for block, number in zip(decoder.blocks, chosen):
            block.load_state_dict(whole.blocks[number].state_dict())
        for name in ("enter", "norm", "head"):
            getattr(decoder, name).load_state_dict(getattr(whole, name).state_dict())
    except (IndexError, RuntimeError) as error:
        raise ParameterError(
            f"model.blocks_of_teacher: {len(whole.blocks)} blocks of width {len(whole.norm.weight)} are there: {error}"
        ) from error


def _longer(array: np.ndarray, n: int) -> np.ndarray:
    """With zeros behind, (n, ...)."""
    return np.pad(array, [(0, n - len(array))] + [(0, 0)] * (array.ndim - 1))


def spectra_distance(made: torch.Tensor, wanted: torch.Tensor, sounding: torch.Tensor) -> torch.Tensor:
    """Of spectra (n, N_SPECTRA) as the synthesis takes them, from what they should be; sounding: (n,) 0 or 1, whether
    the frame's window holds pulses.

    Magnitudes differ by their logarithms, phases by one minus their cosine; harmonics, noise and what is free count by
    their share of what sounds in a bin.
    """
    harmonic, turn, noise, free, phase = made.chunk(5, -1)
    true = wanted.chunk(5, -1)
    heard = torch.stack([sounding, torch.ones_like(sounding), torch.ones_like(sounding)])[..., None]
    loud = heard * torch.exp(torch.stack([true[0], true[2], true[3]]).clamp(-20, signal.LOUDEST))  # (3, n, bins)
    share = loud / (loud.sum(0) + QUIET)
    off = torch.stack([harmonic - true[0], noise - true[2], free - true[3]]).abs()
    turned = 1 - torch.cos(math.pi * (torch.tanh(turn) - torch.tanh(true[1])))
    phases = share[0] * turned + share[2] * (1 - torch.cos(phase - true[4]))
    return LOUDNESS * ((share + LITTLE) * off * heard).sum(0).mean() + phases.mean()


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (values * weights).sum() / weights.sum().clamp_min(1)


def _tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array)[None].to(device)
