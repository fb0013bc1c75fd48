"""What the tests of every acoustic model ask in the same words: speech of two voices, networks that say something,
exact resume, gradients, publishing, folders that hold something else.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib.corpora import gutenberg, synthetic
from lib.corpora.base import Corpus, Sentence
from lib.errors import MissingDataError, ParameterError, TextError, TrainingError
from lib.features import HIFIGAN
from lib.systems.base import System, Vocoder
from lib.systems.hibari import Hibari
from lib.systems.vits_joe.stages import VitsJoeOnnx
from lib.training import checkpoint, recipe, tasks
from lib.training.loop import Outcome, train
from lib.training.task import Task
from lib.training.tasks.acoustic import MODULE

# The sizes of a FastSpeech 2 for tests; of `tortoise` it is the front end.
FASTSPEECH2 = {
    "hidden": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "feed_forward": 64,
    "feed_forward_kernel": 1,
    "predictor": 32,
    "pitch_layers": 2,
    "postnet": 32,
    "postnet_layers": 2,
    "dropout": 0.0,
}


class Tone(Vocoder):
    """A vocoder that keeps the mels it was given in `mels`, and answers with a constant."""

    name, target, sample_rate, mel = "tone", "numpy/cpu", HIFIGAN.sample_rate, HIFIGAN

    def __init__(self):
        self.mels = []

    def vocode(self, log_mel, seed=0):
        self.mels.append(log_mel)
        return np.full(len(log_mel) * HIFIGAN.hop, 0.1, np.float32)


def one_voice() -> Corpus:
    """Short sentences of vits-joe, four to train on and one to validate on."""
    chosen, validation = (short_sentences(split) for split in ("train", "validation"))
    return synthetic.corpus(VitsJoeOnnx(threads=1), chosen[:4] + validation[:1])


def two_voices() -> Corpus:
    """Short sentences, three by vits-joe and two by hibari, whose clips are aligned, and one of each to validate on."""
    chosen, validation = (short_sentences(split) for split in ("train", "validation"))
    parts = [
        synthetic.corpus(voice, chosen[:count] + validation[:1])
        for voice, count in ((VitsJoeOnnx(threads=1), 3), (Hibari(threads=1), 2))
    ]
    return Corpus("two voices", "", "", tuple(u for part in parts for u in part.utterances))


def short_sentences(split: str) -> list[Sentence]:
    return [s for s in gutenberg.split(split) if len(s.text) < 40]


def one_sentence(speech: Corpus) -> Corpus:
    """The first sentence of vits-joe to train on, and its own to validate on."""
    chosen = [u for u in speech.utterances if u.speaker == "vits-joe"][:1]
    return Corpus("one", "", "", (*chosen, *(u for u in speech.split("validation") if u.speaker == "vits-joe")))


def batch_of(n: int, seed: int = 0, ids: tuple[int, int] = (1, 100)) -> torch.Tensor:
    """Random symbols (1, n) from the first id up to before the last."""
    return torch.from_numpy(np.random.default_rng(seed).integers(*ids, (1, n)))


def as_after_training(network: torch.nn.Module) -> torch.nn.Module:
    """The network, its batch norms not the identity any more."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return network


def says_frames(network: torch.nn.Module, frames: float) -> torch.nn.Module:
    """The FastSpeech 2, which now says about so many frames per symbol."""
    last = network.network.duration_predictor.linear
    torch.nn.init.constant_(last.bias, math.log(frames + 1))
    torch.nn.init.normal_(last.weight, std=0.02)
    return network


def unreached(task: Task, count: int) -> list[str]:
    """Names of the parameters that the first `count` items' losses give no gradient but 0. All have one."""
    network = task.plain[MODULE].train()
    (update,) = task.updates(task.collate([task.item(i, None) for i in range(count)]), 0)
    update.loss.backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    without = [name for name, p in network.named_parameters() if not p.grad.any()]
    network.zero_grad()
    return without


@dataclasses.dataclass(frozen=True)
class Published:
    """A run of two steps and the voice that it became."""

    recipe: recipe.Recipe
    outcome: Outcome
    config: Any
    speakers: tuple[str, ...]
    network: torch.nn.Module
    average: dict[str, torch.Tensor]  # the averaged weights of its checkpoint


def publish(name: str, task: Task, config: Any, folder: Path) -> Published:
    """Train `task` for two steps under `folder`, export the averaged weights and load them."""
    chosen = of_config(name, config, recipe.Settings(2, batch_size=2, ema=0.9, validate_every=0))
    outcome = train(task, chosen, folder)
    found = task.system.checkpoints.load(tasks.export(chosen, outcome.checkpoint, folder / "voice", "card"))
    kept = checkpoint.load(checkpoint.latest(folder / "checkpoints")).weights[f"ema-{MODULE}"]
    return Published(chosen, outcome, *found, kept)


def nothing_to_say_and_strangers_are_refused(voice: System) -> None:
    """Texts without a word, and a speaker that the voice does not know."""
    for text in ("", "?!", "😀"):
        with pytest.raises(TextError):
            voice.synthesize(text)
    with pytest.raises(ParameterError, match="unknown speaker of .* 'vits-jo': did you mean 'vits-joe'"):
        voice.adjusted(speaker="vits-jo")


def three_and_three_steps_equal_six(
    name: str, task: Callable[..., Task], speech: Corpus, config, folder: Path
) -> Outcome:
    """Train `task(speech, config)` in one go and with a stop halfway; weights and averages must agree bit for bit.

    The first validates where the second stops: a validation draws from no random stream of the training.
    Returns the first's outcome.
    """

    def run(steps: int, part: str, seed: int = 0, validate_every: int = 0) -> Outcome:
        settings = recipe.Settings(
            steps, batch_size=2, ema=0.9, checkpoint_every=3, validate_every=validate_every
        )
        return train(
            task(speech, dataclasses.replace(config, seed=seed)), recipe.Recipe(name, settings), folder / part
        )

    outcome = run(6, "whole", validate_every=3)
    run(3, "halves")
    run(6, "halves", seed=7)  # whatever it began with, the checkpoint counts
    whole, halves = (
        checkpoint.load(checkpoint.latest(folder / part / "checkpoints")).weights
        for part in ("whole", "halves")
    )
    for stem in (MODULE, f"ema-{MODULE}"):
        assert whole[stem].keys() == halves[stem].keys()
        assert [key for key, value in whole[stem].items() if not torch.equal(value, halves[stem][key])] == []
    return outcome


def of_config(name: str, config, settings: recipe.Settings, **data) -> recipe.Recipe:
    """The recipe whose `model` part says what a task's config holds."""
    return recipe.Recipe(name, settings, dataclasses.asdict(config), data)


def as_before_about(checkpoint_folder: Path, old: recipe.Recipe, folder: Path) -> Path:
    """A copy of a checkpoint as they were before `Task.about`: of another recipe, without the names of its speakers."""
    loaded = checkpoint.load(checkpoint_folder)
    state = {key: value for key, value in loaded.state.items() if key != "about"}
    return checkpoint.save(folder, dataclasses.replace(loaded, state=state), old, keep=1)


def wrong_folders_are_named(system: str, load: Callable, saved: Path, other_size: dict, folder: Path) -> None:
    """A folder that is empty, of another system, of another size, of an unknown setting, or torn: each is
    refused with its reason.

    other_size: a setting of the network in `saved` that its weights do not fit.
    """

    def holding(
        change: Callable[[dict], object], weights: bytes = (saved / "model.safetensors").read_bytes()
    ) -> Path:
        description = json.loads((saved / "config.json").read_text())
        change(description)
        (folder / "config.json").write_text(json.dumps(description))
        (folder / "model.safetensors").write_bytes(weights)
        return folder

    with pytest.raises(MissingDataError, match=f"holds no {system}: config.json is missing"):
        load(folder)
    with pytest.raises(TrainingError, match=f"holds a hifigan, not a {system}"):
        load(holding(lambda d: d.update(system="hifigan")))
    with pytest.raises(TrainingError, match="were not saved with this config.json"):
        load(holding(lambda d: d["network"].update(other_size)))
    with pytest.raises(TrainingError, match="cannot be read .*depth"):
        load(holding(lambda d: d["network"].update(depth=2)))
    with pytest.raises(TrainingError, match="cannot be read"):
        load(holding(lambda d: None, b"nothing"))
