"""What do acoustic models make of the clips a vocoder learns from? Their mels, as long as the true ones, for the
vocoder to learn.

An acoustic model smooths what it is unsure of, and a vocoder that has only met the mels of real clips makes a
buzz of that. Made to follow the clip, the model's mel lies frame by frame under it, so the vocoder can learn to speak
it (Kong et al. 2020, arXiv:2010.05646, section 4.4, fine-tuning). A FastSpeech 2 follows with the true durations,
pitch and energy; Tacotron 2 and SpeechT5 are told the true frames before each step (teacher forcing); the diffusion
decoder begins in the middle of its walk, at the true mel in noise, and draws anew what that noise hides. The reader of
`vits-joe` is no acoustic model, but smooths likewise: it is shown the latents that the clip was spoken from.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from lib import progress
from lib.corpora.base import Corpus
from lib.errors import ParameterError, unknown
from lib.features import HIFIGAN
from lib.files import cache_folder, content_key, write_atomic
from lib.systems import checkpoint, fastspeech2, postfilter, speecht5, tacotron2, tortoise
from lib.systems.tortoise import diffusion
from lib.systems.tortoise.diffusion import Sampling
from lib.systems.vits_joe import reader
from lib.training import sources
from lib.training.task import Batch
from lib.training.tasks import acoustic_data
from lib.training.tasks import speecht5 as speecht5_task
from lib.training.tasks import tacotron2 as tacotron2_task
from lib.training.tasks.acoustic import collated
from lib.training.tasks.acoustic_data import Example, Statistics
from lib.training.tasks.vocoder_targets import VOICE, true_latents

# The diffusion decoder's walk is that of use; its first half, in which pitch and rhythm are found, is not walked.
REDRAWN, SKIPPED = Sampling("dpm++", 8), 4
_REVISION = 1  # raised where the same network would make another mel of the same clip
# What a network makes of a clip's targets, (n_frames, n_bands) float32 log-mel.
Follower = Callable[[Example], np.ndarray]


def speakers(names: Sequence[str]) -> tuple[str, ...]:
    """Whose clips all these acoustic models of `lib.zoo`, or of a folder, can be asked for."""
    known = [_known(sources.start(name)) for name in names]
    return tuple(speaker for speaker in known[0] if all(speaker in others for others in known))


def predicted(
    corpus: Corpus, names: Sequence[str], limit: int = 0, *, sharpness: float = 0.0
) -> dict[str, np.ndarray]:
    """Utterance id -> (n_frames, 80) float16 log-mel of the train split, or of `limit` utterances spread over it.

    names: acoustic models of `lib.zoo`, or folders of them; one after the other is given a clip. Kept in the cache.
    sharpness: how far their movement is stretched (`lib.systems.postfilter`).
    """
    postfilter.checked(sharpness)
    examples = acoustic_data.examples(corpus, "train")
    if limit:
        examples = examples[:: max(1, len(examples) // limit)][:limit]
    mels = {}
    for turn, name in enumerate(names):
        folder = sources.start(name)
        theirs = examples[turn :: len(names)]
        known, follow = follower(folder, corpus)
        if strangers := {e.speaker for e in theirs} - set(known):
            raise ParameterError(
                f"{folder} does not know the speakers {', '.join(sorted(strangers))}: give an acoustic model of this "
                "corpus"
            )
        weights = content_key(_REVISION, (folder / checkpoint.WEIGHTS).read_bytes())
        tables = {who: postfilter.load(folder, who) for who in {e.speaker for e in theirs}} if sharpness else {}
        for e in progress.track(theirs, f"mels by {name}", unit="clip"):
            mels[e.id] = _kept(e, follow, weights)
            if sharpness:
                mels[e.id] = postfilter.sharpened(mels[e.id], tables[e.speaker], sharpness).astype(np.float16)
    return {e.id: mels[e.id] for e in examples if e.id in mels}


def follower(folder: str | Path, corpus: Corpus | None = None) -> tuple[tuple[str, ...], Follower]:
    """Whom the acoustic model of a folder knows, and what makes its mel of a clip. corpus: that the clips are of, which
    a reader of latents is shown.
    """
    if checkpoint.system_of(folder) == reader.PARTS.system:
        return _known(folder), _reads(folder, true_latents(corpus.split("train")))
    name, (config, known, network) = checkpoint.system_of(folder), _load(folder)
    network.eval()
    how = _FOLLOWERS[name]

    @torch.inference_mode()
    def follow(example: Example) -> np.ndarray:
        with torch.random.fork_rng(devices=()):  # what is dropped and drawn depends on the clip alone
            torch.manual_seed(zlib.crc32(example.path.name.encode()))
            return how(network, config, known, example)[: example.n_frames].float().numpy()

    return known, follow


def _reads(folder: str | Path, latents: Mapping[str, np.ndarray]) -> Follower:
    """The mels that a reader of `vits-joe` finds in the latents of clips."""
    sizes, networks = reader.PARTS.load(folder)

    @torch.inference_mode()
    def follow(example: Example) -> np.ndarray:
        known = torch.from_numpy(latents[example.id].astype(np.float32))[None]
        return reader.read(networks["reader"], known, sizes)[0].numpy()

    return follow


def resynthesis(example: Example, network: fastspeech2.FastSpeech2Network, known: Sequence[str]) -> np.ndarray:
    """(n_frames, 80) float32 log-mel that a FastSpeech 2, which knows these speakers, makes of an example with its true
    durations, pitch and energy.
    """
    with torch.inference_mode():
        return network.as_log_mel(network(*_read(example, network, known)).mel[0]).numpy()


def _fastspeech2(network, config, known: tuple[str, ...], example: Example) -> torch.Tensor:
    return torch.from_numpy(resynthesis(example, network, known))


def _tacotron2(network, config, known: tuple[str, ...], example: Example) -> torch.Tensor:
    batch = _batch(network, known, example, config.frames_per_step)
    return network.as_log_mel(tacotron2_task.predict(network, batch).mel[0])


def _speecht5(network, config, known: tuple[str, ...], example: Example) -> torch.Tensor:
    if config.features != HIFIGAN:
        raise ParameterError(
            f"this SpeechT5 speaks the mel {config.mel!r}, which the vocoder does not: take another"
        )
    batch = _batch(network, known, example, config.reduction)
    batch.tensors["reached"] = speecht5_task.reached(batch, config)
    return network.as_log_mel(speecht5_task.predict(network, batch).mel[0])


def _tortoise(network, config, known: tuple[str, ...], example: Example) -> torch.Tensor:
    front = network.front
    given = _read(example, front, known)
    said = tortoise.read(front, *given)  # (1, F, hidden)
    condition = network.decoder.condition(said, given[1], said.shape[1])
    statistics = Statistics.of(front, known, HIFIGAN.n_bands)
    mel = torch.from_numpy(statistics.standardised(example.mel())).T[None]  # (1, n_bands, F)
    first = diffusion.grid(config.noise, REDRAWN.steps, REDRAWN.spacing)[SKIPPED]
    hidden = diffusion.noised(
        mel, torch.randn(mel.shape), *config.noise.signal_noise(torch.tensor([first]), mel)
    )
    drawn = diffusion.sample(
        config.noise,
        config.prediction,
        lambda x, t: network.decoder.denoise(x, t, condition),
        hidden,
        REDRAWN,
        skip=SKIPPED,
    )
    return front.as_log_mel(drawn.x0[0].T)


_FOLLOWERS = {
    "fastspeech2": _fastspeech2,
    "tacotron2": _tacotron2,
    "speecht5": _speecht5,
    "tortoise": _tortoise,
}
_SYSTEMS = {"fastspeech2": fastspeech2, "tacotron2": tacotron2, "speecht5": speecht5, "tortoise": tortoise}


def _known(folder: str | Path) -> tuple[str, ...]:
    """Whom the acoustic model of a folder knows."""
    return (VOICE,) if checkpoint.system_of(folder) == reader.PARTS.system else _load(folder)[1]


def _load(folder: str | Path) -> tuple:
    """(config, speakers, network) of an acoustic model's folder."""
    name = checkpoint.system_of(folder)
    if name not in _SYSTEMS:
        raise unknown(f"acoustic model in {folder}", name, _SYSTEMS)
    return _SYSTEMS[name].checkpoints.load(folder)


def _batch(network, known: tuple[str, ...], example: Example, frames_per_step: int) -> Batch:
    statistics = Statistics.of(network, known, HIFIGAN.n_bands)
    return collated([(example, example.mel())], statistics, known, frames_per_step)


def _read(example: Example, network, known: Sequence[str]) -> tuple[torch.Tensor, ...]:
    """What a FastSpeech 2 takes: ids (1, T), speaker (1,), and frames, pitch and energy (1, T), standardised for it."""
    prosody = Statistics.of(network, known, HIFIGAN.n_bands).prosody([example], len(example.ids))
    speaker = np.array([known.index(example.speaker)])
    values = (example.ids[None], speaker, example.frames[None], prosody["pitch"], prosody["energy"])
    return tuple(torch.from_numpy(value) for value in values)


def _kept(example: Example, follow: Follower, weights: str) -> np.ndarray:
    path = cache_folder("predicted", weights[:8], f"{content_key(weights, example.path.name)}.npy")
    if path.exists():
        return np.load(path)
    made, buffer = follow(example).astype(np.float16), io.BytesIO()
    np.save(buffer, made)
    write_atomic(path, buffer.getvalue())
    return made
