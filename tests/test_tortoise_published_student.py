"""Students of the published TorToiSe's decoder, on a tiny one with random weights: data, lessons, ladder, speech."""

import dataclasses
import logging

import numpy as np
import pytest
import tiny_tortoise
import torch

from lib import audio, results
from lib.corpora.base import Sentence
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.optimize import distill
from lib.studies import published_student as study
from lib.systems.tortoise import published, students
from lib.systems.tortoise.diffusion import PUBLISHED
from lib.systems.tortoise.published import PublishedTortoise, frames_of
from lib.training import recipe, tasks
from lib.training.loop import train
from lib.training.tasks import published_walks as walks
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.tortoise_published_student import Config, Data, StudentTask

SENTENCES = [Sentence(f"s{i}", text, "train") for i, text in enumerate(("the cat.", "a dog sat there."))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_tortoise.folder(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Two clips of a voice."""
    home = tmp_path_factory.mktemp("clips")
    for name, hz in (("a", 150), ("b", 170)):
        audio.save(home / f"{name}.wav", 0.3 * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000), 16_000)
    return home


@pytest.fixture(scope="module")
def voice(folder, recordings):
    parts = published.load(folder, None)
    how = dataclasses.replace(PUBLISHED, steps=3)
    return PublishedTortoise(
        parts, walks.clips(recordings), candidates=2, sampling=how, codes_max=12, threads=1
    )


@pytest.fixture(scope="module")
def collected(voice, tmp_path_factory):
    return walks.collect(voice, SENTENCES, tmp_path_factory.mktemp("walks"))


@pytest.fixture
def task(voice, collected):
    return StudentTask(
        voice.parts.decoder, voice.voice.clone(), collected, collected[:1], Config(steps=8, codes=6, warm_up=1)
    )


def test_walks_are_what_the_voice_would_draw_and_are_made_once(voice, collected, monkeypatch):
    said, mel = collected[0].load()
    assert said.shape == (collected[0].codes, 32) and mel.shape == (100, frames_of(collected[0].codes))
    assert np.abs(mel).max() <= 1
    again = voice.reading(SENTENCES[0].text, seed=walks.zlib.crc32(b"s0"))[1]
    assert np.allclose(mel, again.numpy(), atol=1e-3)
    monkeypatch.setattr(PublishedTortoise, "reading", None)  # would fail if it were asked
    home = collected[0].path.parent.parent
    assert walks.collect(voice, SENTENCES, home, index=1)[1] == dataclasses.replace(collected[1], voice=1)


def test_a_window_of_latents_has_its_own_frames(collected):
    said, mel = collected[0].load()
    shown, heard = walks.window(collected[0], 3, 0.999)
    assert np.array_equal(shown, said[-3:]) and heard.shape == (100, frames_of(3))
    begin = frames_of(collected[0].codes - 3)
    assert np.array_equal(heard, mel[:, begin : begin + frames_of(3)])


def test_what_cannot_be_read_is_left_out_or_named(voice, tmp_path, caplog):
    long = Sentence("long", "word " * 400, "train")
    with caplog.at_level(logging.WARNING):
        assert walks.collect(voice, [long], tmp_path) == []
    assert "long is left out: the sentence has" in caplog.text
    damaged = tmp_path / voice.fingerprint() / "s0.npz"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(b"PK")
    with pytest.raises(TrainingError, match="delete it, and it is made anew"):
        walks.collect(voice, SENTENCES[:1], tmp_path)
    with pytest.raises(MissingDataError, match="holds no recordings"):
        walks.clips(tmp_path)


@pytest.mark.parametrize("method", ["guidance", "halving", "interval"])
def test_every_method_reaches_all_but_the_variance(task, voice, collected, method):
    config = dataclasses.replace(task.config, method=method, teacher_steps=16)
    task = StudentTask(voice.parts.decoder, voice.voice.clone(), collected, collected[:1], config)
    decoder = task.modules[MODULE]
    torch.manual_seed(1)
    for parameter in decoder.parameters():
        if not parameter.any():  # the layers that begin silent
            torch.nn.init.normal_(parameter, std=0.1)
    rng = np.random.default_rng(0)
    (update,) = task.updates(task.collate([task.item(i, rng) for i in range(2)]), 0)
    update.loss.backward()
    out = decoder.out[2].weight.grad
    assert update.loss.isfinite() and out[:100].any() and not out[100:].any()  # DDIM asks for no variance
    silent = {n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()}
    unused = {"unconditioned_embedding", "mel_head.weight", "mel_head.bias", "code_embedding.weight"}
    assert {n for n in silent if not n.startswith(("code_converter.", "contextual_embedder."))} <= unused
    assert not any(p.requires_grad for p in task.teacher.parameters())


def test_the_lesson_is_the_teacher_s_guided_and_bounded_word(task):
    """Of folding guidance in: the x0 of both evaluations, kept within the range of mels."""
    task = dataclasses.replace(task.lessons, how=dataclasses.replace(task.config, method="guidance"))
    x, times = torch.randn(2, 100, 26), torch.tensor([[3999, 40], [-1, -1]])
    said, voices, weight = torch.randn(2, 6, 32), torch.randn(2, 64), torch.tensor([0.0, 2.0])
    target = task.target(None, x, times, said, voices, weight)
    condition = task.teacher.condition(said, voices, 26)
    outputs = [task.teacher.denoise(x, times[0], c)[:, :100] for c in (condition, None)]
    epsilon = outputs[0] + weight[:, None, None] * (outputs[0] - outputs[1])
    squared = task.schedule.alpha_bar()[times[0]].float()[:, None, None]
    expected = ((x - (1 - squared).sqrt() * epsilon) / squared.sqrt()).clamp(-1, 1)
    assert torch.allclose(target, expected, atol=1e-4) and target.abs().max() == 1


def test_a_ladder_of_the_published_decoder_is_climbed_and_speaks(folder, recordings, tmp_path, monkeypatch):
    """Guidance folded in, then a halving, from the recipe to speech; the student belongs to its decoder."""
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    settings = recipe.Settings(2, batch_size=2, validate_every=0, clip_norm=1.0)
    chosen = recipe.Recipe(
        "tortoise-published-student",
        settings,
        data={
            "voices": [str(recordings)],
            "published": str(folder),
            "train": 2,
            "validation": 1,
            "candidates": 1,
            "steps": 1,
        },
        model={"codes": 4, "warm_up": 1, "guidance": 2.0},
    )
    monkeypatch.setattr(published, "CODES_MAX", 8)
    monkeypatch.setattr(PublishedTortoise.__init__, "__kwdefaults__", _shorter(PublishedTortoise.__init__))
    rungs = distill.rungs(8, 4, guidance=2.0)
    first, second = distill.climb(chosen, tmp_path / "students", rungs)
    known = students.about(second)
    assert (known.steps, known.prediction, known.teacher, known.folded) == (4, "v", "guided-8", True)
    assert known.trained_steps > 0 and known.trained_minutes > 0
    clips = walks.clips(recordings)
    voice = PublishedTortoise(
        published.load(folder, None), clips, candidates=1, codes_max=6, threads=1, student=second
    )
    speech = voice.speak("the cat.", seed=0)
    assert np.isfinite(speech.waveform).all() and voice.sampling.steps == 4 and voice.sampling.sampler == "ddim"
    other = published.load(folder, None)
    with torch.no_grad():
        other.decoder.out[2].bias += 1
    with pytest.raises(TrainingError, match="take its own"):
        PublishedTortoise(other, clips, student=second)
    eager = dataclasses.replace(voice.sampling, guidance=3.0)
    with pytest.raises(ParameterError, match="knows it up to 2 only"):
        PublishedTortoise(published.load(folder, None), clips, student=second, sampling=eager)


def _shorter(function):
    return {**function.__kwdefaults__, "codes_max": 8, "threads": 1}


def test_what_a_student_has_forgotten_it_learns_again(task, tmp_path):
    """A teacher of random weights has nothing to say that so small a student could learn from nothing: it is moved
    away from what its teacher says instead.
    """
    config = dataclasses.replace(task.config, guidance=0.0, learning_rate=1e-2)
    learnt = StudentTask(task.teacher, task.voices, task._train, task._validation, config)
    learnt.said, learnt.lessons = (
        "v",
        dataclasses.replace(learnt.lessons, prediction="v"),
    )  # as its student does
    with torch.no_grad():
        learnt.modules[MODULE].out[2].bias += 0.3

    def lesson() -> float:
        torch.manual_seed(5)
        rng = np.random.default_rng(0)
        with torch.no_grad():
            batches = [learnt.collate([learnt.item(i, rng) for i in range(2)]) for _ in range(8)]
            return float(np.mean([next(iter(learnt.updates(b, 0))).scalars["lesson"] for b in batches]))

    before, apart = lesson(), learnt.validate(0).scalars["apart"]
    settings = recipe.Settings(40, batch_size=2, validate_every=0, clip_norm=1.0, log_every=10)
    train(learnt, recipe.Recipe("tortoise-published-student", settings), tmp_path)
    assert lesson() < 0.6 * before and learnt.validate(40).scalars["apart"] < 0.9 * apart


@pytest.mark.parametrize(
    "values, message",
    [
        ({"prediction": "x0"}, "unknown model.prediction 'x0'"),
        ({"codes": 0}, "model.codes is 0"),
        ({"method": "leap"}, "unknown model.method 'leap'"),
        ({"temperature": (0.0, 1.0)}, "model.temperature"),
    ],
)
def test_a_bad_configuration_has_one_clear_error(values, message):
    with pytest.raises(ParameterError, match=message):
        Config(**values)
    with pytest.raises(ParameterError, match="names no `voices`"):
        Data()


def test_the_recipe_of_full_fits_the_task():
    chosen = recipe.find("full", "tortoise-published-student")
    assert tasks.find(chosen.task) is StudentTask
    recipe.parse(Config, chosen.model, "model"), recipe.parse(Data, chosen.data, "data")


def test_the_cost_of_a_step_is_measured_and_told(tmp_path):
    sizes = dataclasses.astuple(tiny_tortoise.TINY)[:12]
    value = study.train_here(str(tmp_path / "here"), "halving", 2, 1, 1, sizes=sizes)
    assert value["steps"] == 2 and value["metrics"]["train_steps_per_s"] > 0
    run = results.Run("test", tmp_path / "rows")
    run.add("tortoise", "training", "torch/cpu", "train_steps_per_s", 9.0)
    assert "has not been measured yet" in study.finding(results.read(run.path))
    done = study.process.Finished(value, 1.0, 7200.0, 20.0)
    study.learning.record(run, ("tortoise", "published-training-halving", "torch/cpu"), done, threads=1)
    said = study.finding(results.read(run.path))
    assert "a step of halving takes" in said and "7.2 GB" in said and "random weights" in said
