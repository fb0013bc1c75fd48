"""The decoder of `hibari` as a vocoder: cut out, fed in time, taught by regression, the same on both runtimes."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch

from lib import audio, systems
from lib.corpora import gutenberg, synthetic
from lib.errors import AudioError, MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN, log_mel
from lib.graphs import session
from lib.systems.hibari_vocoder import PARTS, HibariVocoderConfig, network, published, signal
from lib.training import checkpoint, loop, recipe, tasks
from lib.training.tasks import hibari_targets
from lib.training.tasks import hibari_vocoder as task

TEXT = "The birch canoe slid on the smooth planks."
SMALL = HibariVocoderConfig(width=16, blocks=1)


@pytest.fixture(scope="module")
def voice():
    return systems.load("hibari", threads=1)


@pytest.fixture(scope="module")
def ids(voice):
    (phonemes,) = voice._voice.phonemize(TEXT)
    return {"ids": np.array([voice._voice.ids(phonemes)], np.int64), "speed": np.ones(1, np.float32)}


@pytest.fixture(scope="module")
def fed(ids):
    """(inputs (1, 130, F), F0 (F,)) of TEXT."""
    inputs, pitch = session.open(published.reader_file(), 1).run([published.INPUTS, published.F0], ids)
    return inputs, pitch[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    networks = {name: one.state_dict() for name, one in network.build(SMALL).items()}
    return PARTS.save(tmp_path_factory.mktemp("vocoder"), SMALL, networks, "card")


def test_the_two_pieces_of_the_graph_say_what_the_whole_says(voice, ids, fed):
    whole = voice._voice.sess.run(list(published.OUTPUTS), ids)
    pieces = session.open(published.decoder_file(), 1).run(
        list(published.OUTPUTS), {published.INPUTS: fed[0]}
    )
    # Of what is fed the last bits differ, by how the graph is optimised, and with them some roundings to 8 bits.
    for one, other in zip(whole, pieces):
        assert np.square(one - other).mean() < 0.001 * np.square(one).mean()


def test_the_decoder_on_torch_is_the_published_one(fed):
    inputs, _ = fed
    with torch.inference_mode():
        ours = network.decoder()(torch.from_numpy(inputs))[0].numpy()
    theirs = np.concatenate(
        [
            of[0]
            for of in session.open(published.decoder_file(), 1).run(
                list(published.OUTPUTS), {published.INPUTS: inputs}
            )
        ]
    )
    # The published graph rounds activations to 8 bits before each product, torch does not.
    assert np.square(ours - theirs).mean() < 0.002 * np.square(theirs).mean()


def test_pitch_is_fed_as_the_voice_feeds_it(fed):
    inputs, pitch = fed
    found = np.delete(inputs[0], 128, 0)
    np.testing.assert_allclose(signal.fed(found, np.maximum(pitch, 0)), inputs, atol=1e-5)


def test_what_was_fed_becomes_the_clip_again(voice, ids, fed):
    """In time, at its level and as long: a wrong hop, rate or order of the parts would not."""
    inputs, pitch = fed
    clip = audio.resample(voice.synthesize(TEXT, seed=0).waveform, signal.RATE, HIFIGAN.sample_rate)
    spectra = session.open(published.decoder_file(), 1).run(
        list(published.OUTPUTS), {published.INPUTS: signal.fed(np.delete(inputs[0], 128, 0), np.maximum(pitch, 0))}
    )
    n_mel = len(clip) // HIFIGAN.hop
    said = signal.spoken([of[0] for of in spectra], np.maximum(pitch, 0), n_mel, 0)
    away = log_mel(said) - log_mel(clip[: len(said)])
    moved = log_mel(said)[2:] - log_mel(clip[: len(said)])[:-2]
    assert len(said) == n_mel * HIFIGAN.hop
    assert np.abs(away).mean() < 0.15 < np.abs(moved).mean()


def test_frames_of_a_mel_come_to_the_decoder_in_time():
    seconds = (np.arange(400) + 0.5) * HIFIGAN.hop / HIFIGAN.sample_rate  # middle of each frame of a mel
    mel = np.repeat(seconds[:, None], 80, 1).astype(np.float32)
    n = signal.n_frames(len(mel))
    there = signal.at_decoder(mel, n)
    wanted = np.arange(n) * signal.HOP / signal.RATE
    inner = (wanted > seconds[0]) & (wanted < seconds[-1])
    np.testing.assert_allclose(there[inner, 0], wanted[inner], atol=1e-5)
    assert there[0, 0] == mel[0, 0] and abs(there[-1, 0] - mel[-1, 0]) < 0.02
    assert n * signal.HOP / signal.RATE >= 400 * HIFIGAN.hop / HIFIGAN.sample_rate


def test_f0_is_the_mean_class_around_the_likeliest():
    config = HibariVocoderConfig()
    logits = np.full((config.pitch_bins, 3), -30.0, np.float32)
    logits[50, 0] = logits[50, 1] = logits[51, 1] = logits[0, 2] = 30
    at = [config.pitch_low_hz * 2 ** (place * config.pitch_step_cents / 1200) for place in (50, 50.5, 0)]
    np.testing.assert_allclose(signal.hz(np.ones(3), logits, config), at, rtol=1e-5)
    np.testing.assert_array_equal(signal.hz(-np.ones(3), logits, config), 0)


def test_both_runtimes_say_the_same(folder):
    mel = log_mel(systems.load("hibari", threads=1).synthesize(TEXT).waveform[:48_000])
    on_torch = systems.load("hibari-vocoder", checkpoint=folder, threads=1)
    on_onnx = systems.load("hibari-vocoder", checkpoint=folder, target="onnxruntime/cpu", threads=1)
    frames = signal.at_decoder(mel, signal.n_frames(len(mel)))
    with torch.inference_mode():
        ours = [part[0].numpy() for part in on_torch.modules["front"](torch.from_numpy(frames)[None])]
    for one, other in zip(ours, on_onnx.sessions["front"].run(None, {"mel": frames})):
        np.testing.assert_allclose(one, other, atol=1e-3)
    one, other = on_torch.vocode(mel), on_onnx.vocode(mel)
    assert one.shape == other.shape == (len(mel) * HIFIGAN.hop,) and one.dtype == np.float32
    assert np.isfinite(one).all() and np.abs(one).max() <= 1
    assert {path.name for path in on_torch.files} == {path.name for path in on_onnx.files}
    for wrong in (np.zeros((0, 80)), np.zeros((4, 79)), np.full((4, 80), np.nan)):
        with pytest.raises(AudioError, match="finite numbers"):
            on_onnx.vocode(wrong)


def test_the_same_seed_says_the_same(folder):
    vocoder = systems.load("hibari-vocoder", checkpoint=folder, target="onnxruntime/cpu", threads=1)
    mel = np.random.default_rng(0).normal(-5, 1, (40, 80))
    np.testing.assert_array_equal(vocoder.vocode(mel, 1), vocoder.vocode(mel, 1))
    assert (vocoder.vocode(mel, 1) != vocoder.vocode(mel, 2)).any()


@pytest.fixture
def short(tmp_path):
    """A recipe of a few sentences."""
    path = tmp_path / "short.yaml"
    path.write_text(
        "task: hibari-vocoder\ndata: {voices: [hibari], train: 6, validation: 1}\n"
        "model: {width: 32, blocks: 1, segment_frames: 64, last_step: 80, ramp: 5, learning_rate: 4.0e-3}\n"
        "training: {steps: 80, batch_size: 2, validate_every: 80, checkpoint_every: 80, log_every: 1}\n"
    )
    return recipe.load(path)


def test_it_learns_what_the_decoder_was_fed_and_the_decoder_learns_nothing(short, tmp_path):
    made = tasks.build(short)
    before = {name: value.clone() for name, value in made._decoder.state_dict().items()}
    loop.train(made, short, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "curve.jsonl").read_text().splitlines()]
    lines = [line for line in lines if "validation" not in line]
    for part, share in (("fed", 0.95), ("pitch", 0.95), ("voicing", 0.9), ("hidden", 0.9)):
        assert np.mean([x[part] for x in lines[-10:]]) < share * np.mean([x[part] for x in lines[:10]]), part
    for name, value in made._decoder.state_dict().items():
        assert torch.equal(value, before[name])
    folder = tasks.export(short, checkpoint.newest(tmp_path / "run"), tmp_path / "out", "card")
    assert systems.load("hibari-vocoder", checkpoint=folder, threads=1).config.width == 32


def test_what_is_known_of_a_clip_lies_under_it(voice):
    corpus = synthetic.corpus(voice, gutenberg.split("validation", 2))
    for utterance in corpus.utterances:
        clip = hibari_targets.known((utterance,))[utterance.id]
        assert clip.inputs.shape == (130, len(clip)) and clip.mel.shape == (len(clip), 80)
        loud = clip.mel.astype(np.float32).mean(1)
        voiced = clip.hz > task.VOICED_HZ
        assert 0.2 < voiced.mean() < 0.9 and loud[voiced].mean() > loud[~voiced].mean() + 1


def test_clips_of_others_teach_it_nothing():
    corpus = synthetic.corpus(systems.load("espeak-ng"), gutenberg.split("validation", 1))
    with pytest.raises(MissingDataError, match="hibari"):
        hibari_targets.known(corpus.utterances)


def test_blur_takes_movement_away_and_leaves_the_level():
    rng = np.random.default_rng(0)
    mel = rng.normal(-5, 1, (200, 80)).astype(np.float32)
    config = task.Learning(blurred=1.0)
    made = [task.blurred(mel, config, np.random.default_rng(seed)) for seed in range(8)]
    assert all(one.std() < mel.std() and abs(one.mean() - mel.mean()) < 0.02 for one in made)
    assert task.blurred(mel, task.Learning(blurred=0.0), rng) is mel


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"pitch_low_hz": 0}, {"segment_frames": 24}, {"blurred": 1.5}, {"last_step": 0}]
)
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ParameterError):
        task.Learning(**wrong)


def test_another_release_of_the_package_is_named(monkeypatch, tmp_path):
    graph = onnx.helper.make_graph([], "other", [], [])
    (tmp_path / "hibari.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    monkeypatch.setattr(published, "graph_file", lambda: tmp_path / "hibari.onnx")
    published._cut.cache_clear()
    try:
        with pytest.raises(TrainingError, match="pip install hibari-tts"):
            published.decoder_file()
    finally:
        published._cut.cache_clear()


def test_a_speaker_is_spoken_by_his_own_vocoder():
    model = systems.load("fastspeech2", threads=1)
    assert model.vocoder.name == "hifigan"
    other = model.derive("other", speaker="hibari")
    assert other.vocoder.name == "hibari-vocoder" and model.vocoder.name == "hifigan"
    assert other.derive("back", speaker="vits-joe").vocoder.name == "hifigan"
    assert model.derive("asked", speaker="hibari", vocoder="istft").vocoder.name == "istft"
    again = systems.rebuild(other.origin, threads=1)
    assert (again.vocoder.name, again.vocoder.target) == ("hibari-vocoder", other.vocoder.target)


@pytest.mark.slow
def test_it_learns_guessed_mels_from_an_earlier_run(short, tmp_path):
    loop.train(tasks.build(short), short, tmp_path / "first")
    (tmp_path / "second.yaml").write_text(
        "task: hibari-vocoder\ndata: {voices: [hibari], train: 6, validation: 1}\n"
        f"model: {{width: 32, blocks: 1, segment_frames: 64, last_step: 4, start_from: {tmp_path / 'first'}, "
        "mels_from: [fastspeech2], mels_clips: 3, mels_share: 1.0}\n"
        "training: {steps: 2, batch_size: 2, validate_every: 2, checkpoint_every: 2, log_every: 1}\n"
    )
    made = tasks.build(recipe.load(tmp_path / "second.yaml"))
    before = checkpoint.load(checkpoint.newest(tmp_path / "first")).of("front")
    assert all(torch.equal(value, before[name]) for name, value in made.modules["front"].state_dict().items())
    guessed = {number: mel for number, mel in made._guessed}
    assert len(guessed) == 3
    for number, mel in guessed.items():
        true = made._train[number][1].mel.astype(np.float32)
        away = np.abs(mel.astype(np.float32) - true).mean()
        assert mel.shape == true.shape and 0.05 < away < 1.0 < np.abs(true - true[::-1]).mean()
    item = made.item(0, np.random.default_rng(0))
    assert item.mel.shape == (64, 80) and item.inputs.shape == (130, 64)
