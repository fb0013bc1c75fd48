"""What does an acoustic model make of the clips a vocoder learns from? Its mels, as long as the true ones, for
the vocoder to learn.

An acoustic model smooths what it is unsure of, and a vocoder that has only met the mels of real clips makes a
buzz of that. Given the true durations, pitch and energy, the model's mel lies frame by frame under the clip, so
the vocoder can learn to speak it (Kong et al. 2020, arXiv:2010.05646, section 4.4, fine-tuning).
"""

from __future__ import annotations

import io

import numpy as np
import torch

from lib import progress
from lib.corpora.base import Corpus
from lib.errors import ParameterError
from lib.files import cache_folder, content_key, write_atomic
from lib.systems import fastspeech2
from lib.training import sources
from lib.training.tasks import acoustic_data


def speakers(name: str) -> tuple[str, ...]:
    """Whose clips an acoustic model of `lib.zoo`, or of a folder, can be asked for."""
    return fastspeech2.checkpoints.load(sources.start(name))[1]


def predicted(corpus: Corpus, name: str, limit: int = 0) -> dict[str, np.ndarray]:
    """Utterance id -> (n_frames, 80) float16 log-mel of the train split, or of `limit` utterances spread over it.

    name: the acoustic model, a FastSpeech 2 of `lib.zoo` or a folder. Kept in the cache.
    """
    folder = sources.start(name)
    _, known, network = fastspeech2.checkpoints.load(folder)
    weights = content_key((folder / "model.safetensors").read_bytes())
    examples = acoustic_data.examples(corpus, "train")
    if limit:
        examples = examples[:: max(1, len(examples) // limit)][:limit]
    if strangers := {e.speaker for e in examples} - set(known):
        raise ParameterError(
            f"{folder} does not know the speakers {', '.join(sorted(strangers))}: give an acoustic model of this corpus"
        )
    return {
        e.id: _kept(e, network, known.index(e.speaker), weights)
        for e in progress.track(examples, f"mels by {name}", unit="clip")
    }


@torch.inference_mode()
def resynthesis(
    example: acoustic_data.Example, network: fastspeech2.FastSpeech2Network, speaker: int
) -> np.ndarray:
    """(n_frames, 80) float32 log-mel that the model makes of an example with its true durations, pitch and energy."""
    pitch, energy = (
        (torch.from_numpy(values) - mean[speaker]) / deviation[speaker]
        for values, mean, deviation in (
            (example.pitch, network.pitch_mean, network.pitch_deviation),
            (example.energy, network.energy_mean, network.energy_deviation),
        )
    )
    ids, frames = torch.from_numpy(example.ids), torch.from_numpy(example.frames)
    mel = network(ids[None], torch.tensor([speaker]), frames[None], pitch[None], energy[None]).mel[0]
    return network.as_log_mel(mel).numpy()


def _kept(
    example: acoustic_data.Example, network: fastspeech2.FastSpeech2Network, speaker: int, weights: str
) -> np.ndarray:
    path = cache_folder("predicted", weights[:8], f"{content_key(weights, example.path.name)}.npy")
    if path.exists():
        return np.load(path)
    made, buffer = resynthesis(example, network, speaker).astype(np.float16), io.BytesIO()
    np.save(buffer, made)
    write_atomic(path, buffer.getvalue())
    return made
