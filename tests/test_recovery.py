"""A pruned network learns from the whole one: its parameters move, its distance falls, and what it has learnt is there
in another process.
"""

import dataclasses
import os
import signal

import numpy as np
import pytest
import torch
from fresh_process import ask
from test_pruning import SENTENCE, decoder, load, small

from lib import optimize, systems
from lib.errors import ParameterError, StoppedError
from lib.optimize import recover
from lib.training.recipe import Settings

FEW = Settings(steps=30, batch_size=2, ema=0.5, validate_every=30, checkpoint_every=30)
LEARNING = recover.Learning(segment_frames=16, context_frames=2, validation=1, learning_rate=5e-3)


@pytest.fixture(scope="module")
def taught():
    """(the whole system, the pruned one, lessons) of a decoder of 16 channels."""
    whole = small(decoder=decoder())
    with torch.no_grad():  # as loud as speech
        whole.modules["decoder"].conv_post.weight.mul_(20)
    rng = np.random.default_rng(0)
    lessons = []
    for frames in (40, 30, 12, 24):  # of 12 no segment can be cut
        inputs = rng.standard_normal((6, frames), np.float32)
        with torch.no_grad():
            waveform = whole.modules["decoder"](torch.from_numpy(inputs)[None])[0, 0]
        lessons.append(recover.Lesson(inputs, waveform.numpy()))
    return whole, optimize.make(whole, "structured", share=0.5, multiple=1), lessons


def off(system, lesson):
    with torch.no_grad():
        fake = system.modules["decoder"](torch.from_numpy(lesson.inputs)[None])[:, 0]
    parts = recover.distances(fake, torch.from_numpy(lesson.waveform)[None])
    return {name: float(value) for name, value in parts.items()}


def test_a_pruned_decoder_comes_nearer_to_the_whole_one(taught, tmp_path):
    whole, pruned, lessons = taught
    key, whole_key = pruned.weights_key(), whole.weights_key()
    learnt = recover.recover(pruned, whole, lessons, tmp_path, learning=LEARNING, training=FEW)
    before, after = off(pruned, lessons[-1]), off(learnt, lessons[-1])  # one that it did not learn from
    assert after["mel"] < 0.7 * before["mel"] and after["stft"] < before["stft"]
    assert pruned.weights_key() == key and whole.weights_key() == whole_key
    assert learnt.variant == "structured-50+recovered" and learnt.weights_key() != key
    told = learnt.made["recovery"]
    assert told["steps"] == 30 and told["stage"] == "decoder" and told["lessons"] == 4
    assert told["reached"]["mel_l1"] == pytest.approx(after["mel"], abs=2e-4)
    assert learnt.made["changed"] == pruned.made["changed"] and "recovery" not in pruned.made
    again = recover.recover(pruned, whole, lessons, tmp_path, learning=LEARNING, training=FEW)
    assert again.weights_key() == learnt.weights_key()  # the run was over: nothing is learnt twice


def test_the_same_seed_learns_the_same_and_another_lesson_is_another_run(taught, tmp_path):
    whole, pruned, lessons = taught
    short = Settings(steps=4, batch_size=2, validate_every=0, checkpoint_every=2)
    one, same = (
        recover.recover(pruned, whole, lessons, tmp_path / name, learning=LEARNING, training=short)
        for name in ("a", "b")
    )
    assert one.weights_key() == same.weights_key()
    with pytest.raises(Exception, match="recipe|lessons"):
        recover.recover(pruned, whole, lessons[:3], tmp_path / "a", learning=LEARNING, training=short)


def test_a_training_that_is_ended_from_outside_is_no_result_and_goes_on(taught, tmp_path, monkeypatch):
    whole, pruned, lessons = taught
    given = {"learning": LEARNING, "training": dataclasses.replace(FEW, steps=6, validate_every=0)}
    through = recover.recover(pruned, whole, lessons, tmp_path / "through", **given)
    usual = recover.Recovery.updates

    def ended(task, batch, step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        yield from usual(task, batch, step)

    monkeypatch.setattr(recover.Recovery, "updates", ended)
    with pytest.raises(StoppedError, match="stopped at step [34] of 6: asked for again, the training goes on"):
        recover.recover(pruned, whole, lessons, tmp_path / "ended", **given)
    monkeypatch.undo()
    again = recover.recover(pruned, whole, lessons, tmp_path / "ended", **given)
    assert again.weights_key() == through.weights_key() and again.made["recovery"]["steps"] == 6


def test_every_parameter_gets_a_gradient(taught):
    whole, pruned, lessons = taught
    copy = pruned.derive("copy", lambda system: None)
    task = recover.Recovery(copy, whole, "decoder", lessons, LEARNING, FEW)
    rng = np.random.default_rng(0)
    assert len(task.train) == 2
    batch = task.collate([task.item(index, rng) for index in (0, 1)])
    assert batch.tensors["inputs"].shape == (2, 6, 20) and batch.tensors["waveform"].shape == (2, 20 * 256)
    (update,) = task.updates(batch, 0)
    update.loss.backward()
    for name, parameter in copy.modules["decoder"].named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert all(p.grad is None for p in whole.modules["decoder"].parameters())
    assert update.loss.item() == pytest.approx(
        sum(getattr(LEARNING, f"{k}_weight") * float(v) for k, v in update.scalars.items()), rel=1e-5
    )


def test_a_trunk_learns_from_mels(tmp_path):
    whole = load("istft")
    lessons = recover.lessons(whole, [SENTENCE, "He came home late."], stage="trunk")
    assert lessons[0].inputs.shape[0] == 80
    assert len(lessons[0].waveform) == 256 * lessons[0].inputs.shape[1]
    pruned = optimize.make(whole, "structured", share=0.5, stages=["trunk"])
    learning = recover.Learning(segment_frames=16, context_frames=2, validation=1)
    few = Settings(steps=8, batch_size=1, validate_every=8, checkpoint_every=8)
    learnt = recover.recover(pruned, whole, lessons, tmp_path, learning=learning, training=few)

    def far(system):
        said = recover._render(
            whole.modules, "trunk", system.modules["trunk"], torch.from_numpy(lessons[1].inputs)[None]
        )
        return float(recover.distances(said, torch.from_numpy(lessons[1].waveform)[None])["mel"])

    assert far(whole) < 1e-3 and far(learnt) < far(pruned)


def test_what_cannot_be_taught_is_named(taught, tmp_path):
    whole, pruned, lessons = taught
    with pytest.raises(ParameterError, match="was not made by a technique"):
        recover.recover(whole, whole, lessons, tmp_path, learning=LEARNING, training=FEW)
    with pytest.raises(ParameterError, match="1 lessons, of which 1 validate, hold none of 20 frames"):
        recover.recover(pruned, whole, lessons[:1], tmp_path, learning=LEARNING, training=FEW)
    with pytest.raises(ParameterError, match="whisper-tiny.en on torch/cpu has 0 networks"):
        recover.lessons(systems.load("whisper-tiny.en"), [SENTENCE])
    with pytest.raises(ParameterError, match="the largest window needs 16 frames"):
        recover.Learning(segment_frames=8)


@pytest.mark.slow
def test_the_real_decoder_recovers_is_saved_and_quantized(tmp_path):
    whole = load("vits-joe")
    pruned = optimize.make(whole, "structured", share=0.5, stages=["decoder"])
    sentences = [SENTENCE, "He came home late.", "Nobody had seen the letter.", "It rained for a week."]
    lessons = recover.lessons(whole, sentences)
    learning = recover.Learning(validation=1)
    training = Settings(steps=40, batch_size=2, ema=0.9, validate_every=20, checkpoint_every=20)
    learnt = recover.recover(pruned, whole, lessons, tmp_path / "run", learning=learning, training=training)
    before, after = off(pruned, lessons[-1]), off(learnt, lessons[-1])
    assert after["mel"] < 0.7 * before["mel"] and after["stft"] < before["stft"]
    optimize.save(learnt, tmp_path / "variant")
    answer = ask({"folder": tmp_path / "variant", "threads": 1}, SENTENCE)
    assert np.array_equal(answer.samples, learnt.synthesize(SENTENCE, 1).waveform)
    again = optimize.load(tmp_path / "variant", threads=1)
    assert again.made == learnt.made and again.variant == "structured-50+recovered"
    int8 = optimize.make(again, "int8-dynamic", variant="structured-50+recovered+int8-dynamic")
    optimize.save(int8, tmp_path / "int8")
    assert int8.size_mb < learnt.size_mb
    assert optimize.load(tmp_path / "int8", threads=1).fingerprint() == int8.fingerprint()
