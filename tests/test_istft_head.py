"""A reader and `istft` where the decoder of `vits-joe` was: the same on both runtimes, saved, loaded, quantized."""

import dataclasses

import numpy as np
import pytest
import torch

from lib import optimize, systems
from lib.corpora import gutenberg, synthetic
from lib.corpora.base import Corpus
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.systems import istft
from lib.systems.istft.config import IstftConfig
from lib.systems.vits_joe import reader
from lib.systems.vits_joe.reader import ReaderConfig
from lib.training import recipe, tasks
from lib.training.loop import train
from lib.training.tasks import predicted_mels

SENTENCE = "She sells shells by the shore."
SIZES = ReaderConfig(width=16, blocks=1, lookahead=3)
VOCODER = IstftConfig(width=32, blocks=1, pitch_width=16, pitch_blocks=1)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Folders of a small reader and a small vocoder with weights that say something."""
    home = tmp_path_factory.mktemp("head")
    made = {
        "reader": (reader.PARTS, SIZES, reader.build(SIZES)),
        "vocoder": (istft.PARTS, VOCODER, istft.build(VOCODER)),
    }
    for name, (kind, config, networks) in made.items():
        for network in networks.values():
            for parameter in network.parameters():
                torch.nn.init.normal_(parameter, 0.0, 0.05)
        kind.save(home / name, config, {n: m.state_dict() for n, m in networks.items()}, "")
    return {"latents": str(home / "reader"), "vocoder": str(home / "vocoder")}


@pytest.fixture(scope="module")
def onnx(parts):
    base = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    return optimize.make(base, "istft-head", variant="istft", **parts)


def test_both_runtimes_say_the_same_with_the_timing_of_the_base(onnx, parts):
    base = systems.load("vits-joe", target="torch/cpu", threads=1)
    other = optimize.make(base, "istft-head", variant="istft", **parts).synthesize(SENTENCE, 3)
    said = onnx.synthesize(SENTENCE, 3)
    assert said.frames == other.frames == base.synthesize(SENTENCE, 3).frames
    assert len(said.waveform) == 256 * sum(said.frames)
    assert np.abs(said.waveform - other.waveform).max() < 1e-3 * np.abs(other.waveform).max()
    assert list(said.seconds) == ["phonemes", "text_encoder", "flow", "reader", "vocoder"]


def test_the_decoder_is_gone_and_what_came_is_counted(onnx):
    base = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    assert set(onnx.graphs) == {"text_encoder", "flow", "reader", "pitch", "trunk"}
    assert onnx.params_m < base.params_m and "decoder" in base.graphs
    changed = onnx.made["changed"]
    assert changed["layers"] > 10 and changed["bytes_after"] < changed["bytes_before"]


@pytest.mark.parametrize("target", ["onnxruntime/cpu", "torch/cpu"])
def test_a_saved_head_comes_back_without_its_parts(target, parts, tmp_path):
    made = optimize.make(
        systems.load("vits-joe", target=target, threads=1), "istft-head", variant="istft", **parts
    )
    optimize.save(made, tmp_path / "variant")
    again = optimize.load(tmp_path / "variant", threads=1)
    said, heard = (system.synthesize(SENTENCE, 1).waveform for system in (made, again))
    assert again.fingerprint() == made.fingerprint() and np.array_equal(said, heard)
    assert made.size_mb < systems.load("vits-joe", target=target, threads=1).size_mb


def test_the_trunk_can_be_quantized_on_top(onnx, tmp_path):
    optimize.save(onnx, tmp_path / "head")
    base = optimize.load(tmp_path / "head", threads=1)
    small = optimize.make(base, "int8-dynamic", variant="istft+int8-dynamic", stages=["trunk"])
    optimize.save(small, tmp_path / "small")
    again = optimize.load(tmp_path / "small", threads=1)
    said = again.synthesize(SENTENCE, 1).waveform
    assert np.array_equal(said, small.synthesize(SENTENCE, 1).waveform)
    assert not np.array_equal(said, base.synthesize(SENTENCE, 1).waveform)


def test_what_does_not_fit_is_told(parts, tmp_path):
    with pytest.raises(ParameterError, match="fastspeech2 .* has no decoder of latents"):
        optimize.make(systems.load("fastspeech2", threads=1), "istft-head", **parts)
    base = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    with pytest.raises(TrainingError, match="istft, not a vits-joe-reader"):
        optimize.make(base, "istft-head", latents=parts["vocoder"], vocoder=parts["vocoder"])
    with pytest.raises(ParameterError, match="it must be at least 1"):
        ReaderConfig(blocks=0)


def corpus(voice: str) -> Corpus:
    system = systems.load(voice, target="onnxruntime/cpu", threads=1)
    made = synthetic.corpus(system, gutenberg.split("train", 3) + gutenberg.split("validation", 1))
    return Corpus(voice, made.source, made.licence, made.utterances)


def test_a_reader_learns_the_mel_of_its_latents(tmp_path):
    chosen = recipe.Recipe(
        "vits-joe-reader",
        data={"voices": ["vits-joe"]},
        model={**dataclasses.asdict(SIZES), "segment_frames": 48, "learning_rate": 5e-3, "ramp": 5},
        training=recipe.Settings(steps=60, batch_size=2, ema=0.5, validate_every=30, checkpoint_every=60),
    )
    speech = corpus("vits-joe")
    task = tasks.find(chosen.task)(speech, recipe.parse(tasks.find(chosen.task).Config, chosen.model, "model"))
    before = task.validate(0).scalars["mel_l1"]
    outcome = train(task, chosen, tmp_path / "run")
    assert outcome.validation["mel_l1"] < 0.6 * before
    folder = tasks.export(chosen, outcome.checkpoint, tmp_path / "reader", "a card")
    sizes, networks = reader.PARTS.load(folder)
    latents = torch.randn(1, reader.N_LATENTS, 20, generator=torch.Generator().manual_seed(0))
    made = reader.read(networks["reader"], latents, sizes)
    assert sizes == SIZES and made.shape == (1, 20, 80) and torch.isfinite(made).all()
    mels = predicted_mels.predicted(speech, [str(folder)])
    assert predicted_mels.speakers([str(folder)]) == ("vits-joe",)
    assert len(mels) == 3 and all(np.isfinite(mel).all() and mel.shape[1] == 80 for mel in mels.values())
    ahead = latents.clone()
    ahead[..., 15:] += 1.0
    same = reader.read(networks["reader"], ahead, sizes)[:, : 15 - sizes.lookahead]
    assert torch.equal(same, made[:, : 15 - sizes.lookahead])  # it looks no further ahead than it says


def test_a_reader_wants_clips_whose_latents_are_known():
    with pytest.raises(MissingDataError, match="spoken by vits-joe"):
        tasks.find("vits-joe-reader")(corpus("hibari"), tasks.find("vits-joe-reader").Config())
