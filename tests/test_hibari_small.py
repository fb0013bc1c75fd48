"""A student of all of `hibari`: what it is told is what the teacher says, and it says the same on both runtimes."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from fresh_process import ask

from lib import REPOSITORY, optimize, params, systems, zoo
from lib.errors import MissingDataError, ParameterError, TextError, TrainingError
from lib.features import HIFIGAN
from lib.files import content_key
from lib.studies import floors_smaller, menu
from lib.systems.checkpoint import CONFIG, WEIGHTS
from lib.systems.hibari_small import PARTS, HibariSmallConfig, network, reading, signal
from lib.systems.hibari_small.config import N_BINS, N_PLACE, N_SPECTRA
from lib.systems.hibari_small.reading import Reader
from lib.systems.hibari_vocoder import network as teacher
from lib.training import checkpoint, loop, recipe, tasks
from lib.training.tasks import hibari_readings
from lib.training.tasks import hibari_small as task

TEXTS = ("Good morning.", "The birch canoe slid on the smooth planks, and nobody saw it.", "Why not?", "Rice is cheap.")
SMALL = HibariSmallConfig(16, 2, 1, 1, 1, 16, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    networks = {name: one.state_dict() for name, one in network.build(SMALL).items()}
    return PARTS.save(tmp_path_factory.mktemp("voice"), SMALL, networks, "card")


@pytest.fixture(scope="module")
def readings():
    return hibari_readings.known(TEXTS)


def corpus():
    """Of texts alone: nothing is spoken for a student that is told what its teacher reads."""
    told = [
        SimpleNamespace(text=text, speaker="hibari", split="train" if n < 3 else "validation")
        for n, text in enumerate(TEXTS)
    ]
    return SimpleNamespace(
        name="texts", skipped={}, split=lambda name: tuple(u for u in told if u.split == name), __len__=lambda: 4
    )


def test_text_is_read_as_the_teacher_reads_it():
    voice, reader = systems.load("hibari", threads=1)._voice, Reader()
    long = ", ".join(["the birch canoe slid on the smooth planks"] * 14) + "."
    for text in (*TEXTS, "Dr. Smith paid 12 dollars. He left.", long):
        assert reader(text) == [voice.ids(phonemes) for phonemes in voice.phonemize(text)]
    assert len(reader(long)) > 1
    assert reader("...") in ([], [[0, *voice.ids("...")[1:-1], 0]])


def test_the_synthesis_is_the_packages_own():
    from hibari import dsp

    rng = np.random.default_rng(0)
    spectra = (rng.standard_normal((90, N_SPECTRA)) / 2 - 3).astype(np.float32)
    spectra[:, 2 * N_BINS : 3 * N_BINS] = -60  # noise is drawn otherwise
    hz = np.where(np.arange(90) % 40 < 20, 180 + np.arange(90), 0).astype(np.float32)
    wanted = dsp.synth(*(np.ascontiguousarray(part.T) for part in np.split(spectra, 5, 1)), hz, rng)
    assert np.abs(signal.spoken(spectra, hz, 0) - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert np.array_equal(signal.spoken(spectra, 0 * hz, 1), signal.spoken(spectra, 0 * hz, 2))


def test_noise_has_the_level_it_is_told_and_another_seed_another_noise():
    spectra = np.full((200, N_SPECTRA), -60, np.float32)
    spectra[:, 2 * N_BINS : 3 * N_BINS] = 0.0
    one, other = (signal.spoken(spectra, np.zeros(200, np.float32), seed) for seed in (0, 1))
    assert np.array_equal(one, signal.spoken(spectra, np.zeros(200, np.float32), 0)) and not np.array_equal(one, other)
    louder = spectra.copy()
    louder[:, 2 * N_BINS : 3 * N_BINS] = np.log(2)
    assert np.allclose(signal.spoken(louder, np.zeros(200, np.float32), 0), 2 * one, atol=1e-6)


def test_frames_know_their_place():
    index, place = signal.at_frames(np.array([2, 1]))
    assert index.tolist() == [0, 0, 1]
    assert np.allclose(place, [[0.25, np.log(2)], [0.75, np.log(2)], [0.5, 0]])
    assert signal.lengths(np.log1p([0.2, 2.4, 1e6])).tolist() == [2, 4, 2 * signal.LONGEST]


def test_what_is_learnt_is_what_the_teacher_says(readings):
    """The kept numbers make the teacher's own speech again."""
    reading = readings[1]
    voice = systems.load("hibari", threads=1)._voice
    outputs = voice.sess.run(None, {"ids": reading.ids[None].astype(np.int64), "speed": np.ones(1, np.float32)})
    with torch.inference_mode():
        spectra = teacher.decoder().head(torch.from_numpy(reading.hidden.astype(np.float32))).numpy()
    published = np.concatenate([part[0].T for part in outputs[:5]], 1)
    assert spectra.shape == published.shape == (len(reading), N_SPECTRA)
    assert np.square(spectra - published).mean() < 0.01 * np.square(published).mean()  # the graph is in 8 bits
    assert np.array_equal(reading.hz > 0, outputs[5][0] > hibari_readings.VOICED_HZ)
    with pytest.raises(MissingDataError, match="none of 1 texts"):
        hibari_readings.known([""])


def test_padding_and_cuts_change_nothing(readings):
    """A sentence in a padded batch, and a segment of one, come out as they do alone and whole."""
    config = task.Learning(**dataclasses.asdict(SMALL), segment_frames=40)
    networks = {name: one.eval() for name, one in network.build(SMALL, seed=3).items()}
    short, long = readings[0], readings[1]
    with torch.no_grad():
        known, lasting = networks["encoder"](torch.from_numpy(short.ids)[None], None)
        ids = torch.zeros(2, len(long.ids), dtype=torch.int64)
        ids[0, : len(short.ids)], ids[1] = torch.from_numpy(short.ids), torch.from_numpy(long.ids)
        real = torch.arange(len(long.ids)) < torch.tensor([[len(short.ids)], [len(long.ids)]])
        padded, padded_lasting = networks["encoder"](ids, real)
        assert torch.allclose(padded[0, : len(short.ids)], known[0], atol=1e-5)
        assert torch.allclose(padded_lasting[0, : len(short.ids)], lasting[0], atol=1e-5)
        hidden = {}
        for begin, length in ((0, len(long)), (20, 40)):
            piece = task.cut(long, begin, length, config.edge)
            held = torch.cat([padded[1][torch.from_numpy(piece.index)], torch.from_numpy(piece.place)], -1)[None]
            given = (torch.from_numpy(a)[None] for a in (piece.hz, piece.loudness))
            made = networks["decoder"].hidden(held, *given, torch.from_numpy(piece.there)[None])[0]
            hidden[begin] = {begin + n: made[n] for n in np.flatnonzero(piece.counts)}
    assert len(hidden[20]) == 40 - 2 * config.edge and len(hidden[0]) == len(long)
    assert all(torch.allclose(value, hidden[0][frame], atol=1e-5) for frame, value in hidden[20].items())


def test_spectra_are_compared_by_what_sounds():
    wanted = torch.full((4, N_SPECTRA), -3.0)
    voiced = torch.tensor([1.0, 1.0, 0.0, 0.0])
    assert task.spectra_distance(wanted, wanted, voiced) == 0
    for part, begin in {"harmonics": 0, "noise": 2, "free": 3}.items():
        off = wanted.clone()
        off[:, begin * N_BINS : (begin + 1) * N_BINS] += 1
        unvoiced = task.spectra_distance(off[2:], wanted[2:], voiced[2:])
        assert (unvoiced == 0) == (part == "harmonics") and task.spectra_distance(off, wanted, voiced) > 0
    drowned = wanted.clone()
    drowned[:, 3 * N_BINS : 4 * N_BINS] = -15.0  # a phase that nobody hears
    turned = drowned.clone()
    turned[:, 4 * N_BINS :] += 2
    assert task.spectra_distance(turned, drowned, voiced) < 1e-4


def test_a_cut_knows_of_the_pulses_beyond_it(readings):
    """Three frames behind the last voiced one its window still holds pulses, wherever the sentence was cut."""
    reading = readings[1]
    heard = signal.sounding_frames(reading.hz)
    end = int(np.flatnonzero(np.diff((reading.hz > 0).astype(int)) < 0)[0]) + 1
    assert heard[end : end + 3].all()
    assert task.cut(reading, end, 40, 3).sounding.tolist() == heard[end : end + 40].tolist()


def test_both_runtimes_say_the_same(folder):
    theirs, ours = (
        systems.load("hibari-small", target=target, threads=1, checkpoint=folder)
        for target in ("torch/cpu", "onnxruntime/cpu")
    )
    for seed, text in enumerate(TEXTS):
        one, other = theirs.synthesize(text, seed), ours.synthesize(text, seed)
        assert one.sample_rate == 24_000 and one.waveform.shape == other.waveform.shape
        assert np.abs(one.waveform - other.waveform).max() < 1e-3 * np.abs(one.waveform).max()
    assert ours.params_m == pytest.approx(theirs.params_m, rel=0.01) and ours.card == "card"
    with pytest.raises(TextError):
        ours.speak("日本", 0)


def test_its_folder_says_which_phonemes_it_learnt_and_of_no_mel(folder, monkeypatch):
    described = json.loads((folder / CONFIG).read_text())
    assert described == {
        "system": "hibari-small",
        "network": dataclasses.asdict(SMALL),
        "symbols": reading.vocabulary_key(),
    }
    numbers = reading.vocabulary()
    assert len(numbers) > 100 and max(numbers.values()) < 178
    monkeypatch.setattr(reading, "vocabulary", lambda: numbers | {"a": numbers["b"]})
    for target in ("torch/cpu", "onnxruntime/cpu"):
        with pytest.raises(TrainingError, match="learnt other symbols .*pip install hibari-tts==") as refused:
            systems.load("hibari-small", target=target, checkpoint=folder)
        assert str(folder) in str(refused.value)


def test_one_from_before_it_said_so_is_taken_as_it_is(folder, tmp_path, monkeypatch):
    """Those named a mel, and no phonemes."""
    old = {"system": "hibari-small", "network": dataclasses.asdict(SMALL), "mel": dataclasses.asdict(HIFIGAN)}
    (tmp_path / CONFIG).write_text(json.dumps(old))
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    safetensors.torch.save_file(weights, tmp_path / WEIGHTS, {"config": content_key(old)})
    monkeypatch.setattr(reading, "vocabulary", dict)
    config, networks = PARTS.load(tmp_path)
    own = PARTS.arrays(tmp_path)[1]
    assert config == SMALL == PARTS.sizes(tmp_path) and own.keys() == weights.keys()
    assert set(networks) == set(task.MODULES)
    for wrong in (old | {"symbols": "another"}, {key: old[key] for key in ("system", "network")}):
        (tmp_path / CONFIG).write_text(json.dumps(wrong))
        with pytest.raises(TrainingError, match="not saved with this config.json"):
            PARTS.load(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(MissingDataError, match="holds no voice"):
        PARTS.load(tmp_path)


def test_a_fresh_process_needs_no_torch(folder):
    ours = systems.load("hibari-small", target="onnxruntime/cpu", checkpoint=folder)
    answer = ask({"name": "hibari-small", "target": "onnxruntime/cpu", "checkpoint": str(folder)}, TEXTS[0])
    assert not {"torch", "onnx", "transformers"} & set(answer.imported)
    assert np.array_equal(answer.samples, ours.synthesize(TEXTS[0], 1).waveform)


def test_it_learns_and_goes_on_and_becomes_a_voice(tmp_path, readings):
    config = task.Learning(**dataclasses.asdict(SMALL), segment_frames=40, learning_rate=1e-2, ramp=1, last_step=60)
    settings = recipe.Settings(60, batch_size=3, validate_every=30, checkpoint_every=30, ema=0.9, clip_norm=5.0)
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    plan = recipe.Recipe("hibari-small", settings, model=values, data={"voices": ["hibari"]})
    learner = task.HibariSmallTask(corpus(), config)
    begun = learner.validate(0).scalars
    outcome = loop.train(learner, plan, tmp_path)
    ended = learner.validate(60)
    assert outcome.step == 60 and set(ended.audio) == {"first"}
    assert all(ended.scalars[name] < begun[name] for name in ("spectra", "lasting", "loudness"))
    again = task.HibariSmallTask(corpus(), dataclasses.replace(config, start_from=str(tmp_path)))
    state = again.modules["decoder"].state_dict()
    stored = checkpoint.load(checkpoint.latest(tmp_path / "checkpoints")).of("decoder")
    assert all(torch.equal(state[name], value) for name, value in stored.items())
    made = tasks.export(plan, checkpoint.latest(tmp_path / "checkpoints"), tmp_path / "voice", "card")
    assert systems.load("hibari-small", checkpoint=made, threads=1).synthesize(TEXTS[0]).audio_s > 0.1


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"heads": 3}, "no multiple"),
        ({"width": 0}, "at least 1"),
        ({"segment_frames": 20}, "more than"),
        ({"ramp": 0}, "ramp"),
        ({"blocks_of_teacher": (1,)}, "name as many"),
    ],
)
def test_sizes_that_cannot_be_are_named(wrong, said):
    with pytest.raises(ParameterError, match=said):
        task.Learning(**wrong)


def test_it_begins_as_some_blocks_of_its_teacher(readings):
    """With all of them, and what the teacher is fed, it is the teacher."""
    config = task.Learning(decoder_blocks=8, blocks_of_teacher=tuple(range(8)), segment_frames=64)
    decoder = task.HibariSmallTask(corpus(), config).modules["decoder"].eval()
    reading = readings[1]
    index, places = signal.at_frames(reading.frames)
    decoder.text = torch.nn.Identity()
    held = torch.from_numpy(np.concatenate([reading.text[index].astype(np.float32), places], 1))[None]
    with torch.no_grad():
        given = (torch.from_numpy(a.astype(np.float32))[None] for a in (reading.hz, reading.loudness))
        hidden = decoder.hidden(held, *given, None)[0].numpy()
    assert np.square(hidden - reading.hidden).mean() < 1e-3 * np.square(reading.hidden.astype(np.float32)).mean()
    for wrong in ({"decoder_width": 64}, {"blocks_of_teacher": (0, 1, 2, 9)}):
        values = {"decoder_blocks": 4, "blocks_of_teacher": (0, 1, 2, 3)} | wrong
        with pytest.raises(ParameterError, match="8 blocks of width 256"):
            task.HibariSmallTask(corpus(), task.Learning(**values))


def test_its_input_is_as_wide_as_it_says():
    with torch.no_grad():
        decoder, held = network.build(SMALL)["decoder"], torch.zeros(1, 5, SMALL.width + N_PLACE)
        heard = decoder(held)
        spectra = decoder(held, heard)
    assert heard.hz.shape == heard.loudness.shape == (1, 5) and spectra.shape == (1, 5, N_SPECTRA)


# --- what others make of it


@pytest.mark.parametrize(
    "target, technique, arguments, kind",
    [
        ("onnxruntime/cpu", "int8-weights", {}, "Conv"),
        ("onnxruntime/cpu", "int8-dynamic", {}, "MatMulInteger"),
        ("onnxruntime/cpu", "int8-static", {"stages": ["decoder"], "sentences": ["Go home now."]}, "MatMul"),
        ("torch/cpu", "int8-dynamic", {}, "Linear"),
        ("torch/cpu", "int8-weights", {}, "Conv1d"),
        ("torch/cpu", "int4-weights", {}, "Conv1d"),
    ],
)
def test_techniques_know_its_networks(target, technique, arguments, kind, folder, tmp_path):
    """Layers of this kind, too, are changed, and what was saved says the same."""
    base = systems.load("hibari-small", target=target, threads=1, checkpoint=folder)
    made = optimize.make(base, technique, **arguments)
    assert made.made["changed"]["kinds"][kind] > 0
    again = optimize.load(optimize.save(made, tmp_path), threads=1)
    said = again.synthesize(TEXTS[0], 1).waveform
    assert np.array_equal(said, made.synthesize(TEXTS[0], 1).waveform)
    assert not np.array_equal(said, base.synthesize(TEXTS[0], 1).waveform)
    assert np.concatenate(list(made.stream(TEXTS[0], 1))).shape == said.shape
    assert again.front_end == base.front_end and set(base.front_end) <= set(again.files)


@pytest.mark.parametrize("target", ["torch/cpu", "onnxruntime/cpu"])
def test_int8_weights_are_a_smaller_download(target, tmp_path):
    """The zoo's own, with its lexicon, beside what its floor asks for."""
    base = systems.load("hibari-small", target=target, threads=1)
    made = optimize.load(optimize.save(optimize.make(base, "int8-weights"), tmp_path))
    assert base.size_mb / made.size_mb > floors_smaller.SMALLER["hibari-small"]


def test_the_study_tries_few_things_on_it():
    tried = {(one.target, one.variant) for one in menu.trials("study", ["hibari-small"])}
    assert len(tried) == 6 and {target for target, _ in tried} == {"torch/cpu", "onnxruntime/cpu"}
    assert not [one for one in menu.trials("quick") if one.system == "hibari-small"]


def test_the_notebook_of_training_finds_its_recipe():
    plan = recipe.find("quick", "hibari-small")
    config = recipe.parse(task.Learning, plan.model, "model")
    assert config.network == PARTS.sizes(zoo.folder("hibari-small")) and config.start_from == "hibari-small"
    for profile in ("study", "full"):
        asked = params.load(profile, REPOSITORY / "notebooks" / "02_training.ipynb")
        assert "hibari-small" in asked["trained"] and asked["short_recipes"] == "quick"
