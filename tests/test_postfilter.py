"""The post-filter: movement counted and stretched, tables kept with a checkpoint, errors that name the remedy."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lib import optimize, sharpen, systems, zoo
from lib.corpora import gutenberg
from lib.errors import AudioError, MissingDataError, ParameterError, TrainingError
from lib.systems import postfilter

RATES = postfilter.WINDOW // 2 + 1
NAMES = ("fastspeech2", "speecht5", "tacotron2", "tortoise")


def noise(n_frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n_frames, 80)).astype(np.float32) - 4


def smoothed(log_mel: np.ndarray) -> np.ndarray:
    """What a network's guess does to it: neighbours in time and over the bands are averaged."""
    padded = np.pad(log_mel, ((1, 1), (1, 1)), mode="edge")
    over_time = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return (over_time[:, :-2] + 2 * over_time[:, 1:-1] + over_time[:, 2:]) / 4


def test_movement_counts_the_power_of_every_rate():
    t = np.arange(640)[:, None]
    tone = np.cos(2 * np.pi * 8 / postfilter.WINDOW * t) * np.ones(80) * 0.5  # all bands together: quefrency 0
    found = postfilter.movement([tone])
    assert found.shape == (RATES, 80) and np.unravel_index(found.argmax(), found.shape) == (8, 0)
    peak = (0.5 * np.sqrt(80) * np.hanning(postfilter.WINDOW).sum() / 2) ** 2
    assert found[8, 0] == pytest.approx(peak, rel=1e-3) and found[:, 1:].max() < 1e-12
    with pytest.raises(AudioError, match="no clip has 64 frames"):
        postfilter.movement([tone[:63]])


def test_a_smoothed_mel_moves_again_as_it_did():
    true = [noise(500, i) for i in range(8)]
    guessed = [smoothed(one) for one in true]
    table = postfilter.gains(true, guessed)
    assert table.dtype == np.float32 and table.max() > postfilter.MOST
    assert (table[0] == 1).all()
    fresh = noise(400, 99)
    made = postfilter.sharpened(smoothed(fresh), table)
    before, after, wanted = (postfilter.movement([one])[1:] for one in (smoothed(fresh), made, fresh))
    reachable = table[1:] < 0.95 * postfilter.MOST
    assert np.median(before[reachable] / wanted[reachable]) < 0.6
    assert np.median(after[reachable] / wanted[reachable]) == pytest.approx(1, abs=0.15)
    assert np.abs(made - fresh).mean() < 1.1 * np.abs(smoothed(fresh) - fresh).mean()  # and goes the right way


def test_nothing_is_changed_where_nothing_is_to_be_stretched_and_levels_stay():
    log_mel = noise(150)
    ones, table = np.ones((RATES, 80), np.float32), np.full((RATES, 80), 2.0, np.float32)
    table[0] = 1
    assert np.allclose(postfilter.sharpened(log_mel, ones), log_mel, atol=1e-5)
    assert np.allclose(postfilter.sharpened(log_mel, table, 0.0), log_mel, atol=1e-5)
    assert np.allclose(postfilter.sharpened(log_mel, table).mean(0), log_mel.mean(0), atol=0.2)
    half = postfilter.sharpened(log_mel, table, 0.5) - log_mel.mean(0)
    assert 1.2 < half.std() / (log_mel - log_mel.mean(0)).std() < 1.45  # the root of 2
    most = np.where(table > 1, np.float32(10), np.float32(1))
    assert np.array_equal(postfilter.sharpened(log_mel, most), postfilter.sharpened(log_mel, table))
    for n_frames in (1, 2, 63, 64, 65):
        made = postfilter.sharpened(log_mel[:n_frames], table)
        assert made.shape == (n_frames, 80) and made.dtype == np.float32 and np.isfinite(made).all()
    with pytest.raises(AudioError, match="without a frame"):
        postfilter.sharpened(log_mel[:0], table)
    constant = np.full((90, 80), -3.0, np.float32)
    assert np.allclose(postfilter.sharpened(constant, table), constant, atol=1e-5)


def test_it_looks_as_far_behind_as_ahead():
    table = np.linspace(1, 2, RATES, dtype=np.float32)[:, None] * np.ones(80, np.float32)
    log_mel = noise(300)
    assert np.allclose(
        postfilter.sharpened(log_mel[::-1], table)[::-1], postfilter.sharpened(log_mel, table), atol=1e-4
    )


@pytest.mark.parametrize("target", ["torch/cpu", "onnxruntime/cpu"])
def test_a_system_speaks_by_the_table_of_its_voice(target, tmp_path):
    plain = systems.load("fastspeech2", target=target, threads=1)
    sharp = plain.adjusted(sharpness=1)
    text = gutenberg.split("test", 1)[0].text
    assert plain.sharpness == 0 and sharp.settings()["sharpness"] == 1
    assert sharp.fingerprint() != plain.fingerprint() != sharp.adjusted(speaker="hibari").fingerprint()
    one, other = plain.synthesize(text), sharp.synthesize(text)
    assert one.waveform.shape == other.waveform.shape and np.abs(one.waveform - other.waveform).max() > 0.01
    table = zoo.folder("fastspeech2") / postfilter.FILE
    assert table in sharp.files and table in sharp.front_end and table not in plain.files
    assert sharp.adjusted(sharpness=0).files == plain.files
    again = systems.rebuild(json.loads(json.dumps(sharp.origin)), threads=1)
    assert np.array_equal(again.synthesize(text).waveform, other.waveform)
    assert np.array_equal(sharp.adjusted(sharpness=0.0).synthesize(text).waveform, one.waveform)


def test_a_saved_variant_is_as_sharp_as_it_was(tmp_path):
    sharp = systems.load("fastspeech2", threads=1, sharpness=0.5)
    made = optimize.make(sharp, "int8-weights", variant="small")
    optimize.save(made, tmp_path / "small", data="none")
    loaded = optimize.load(tmp_path / "small", threads=1)
    assert loaded.sharpness == 0.5 and zoo.folder("fastspeech2") / postfilter.FILE in loaded.files
    assert np.array_equal(loaded.synthesize("So it was.").waveform, made.synthesize("So it was.").waveform)


def test_a_saved_variant_whose_table_is_gone_says_so(tmp_path, monkeypatch):
    sharp = systems.load("fastspeech2", threads=1, sharpness=1.0)
    optimize.save(optimize.make(sharp, "int8-weights", variant="small"), tmp_path / "small")

    def gone(folder, speaker):
        raise MissingDataError("nobody has counted")

    monkeypatch.setattr(postfilter, "load", gone)
    with pytest.raises(MissingDataError, match="^nobody has counted"):
        optimize.load(tmp_path / "small", threads=1)


@pytest.mark.parametrize("strength", [-0.1, 1.1, True, "1", float("nan")])
def test_a_strength_outside_is_refused(strength):
    with pytest.raises(ParameterError, match="sharpness is .*give a number from 0"):
        systems.load("fastspeech2", threads=1).adjusted(sharpness=strength)


def test_tables_lie_in_the_folder_and_what_is_missing_or_damaged_is_named(tmp_path):
    tables = {"a": np.full((RATES, 80), 1.5, np.float32)}
    path = postfilter.save(tmp_path, tables, {"sentences": "1"})
    assert np.array_equal(postfilter.load(tmp_path, "a"), tables["a"])
    with pytest.raises(MissingDataError, match="in the voice b: set sharpness=0; .*python -m lib.sharpen"):
        postfilter.load(tmp_path, "b")
    whole = path.read_bytes()
    (tmp_path / "model.safetensors").write_bytes(b"others")
    with pytest.raises(TrainingError, match="of other weights"):
        postfilter.load(tmp_path, "a")
    (tmp_path / "model.safetensors").unlink()
    postfilter.save(tmp_path, {"a": tables["a"][:17]}, {})
    with pytest.raises(TrainingError, match="or otherwise"):
        postfilter.load(tmp_path, "a")
    path.write_bytes(whole[:-10])
    with pytest.raises(TrainingError, match="cannot be read"):
        postfilter.load(tmp_path, "a")


def test_a_voice_is_counted_beside_its_teacher(tmp_path):
    import shutil

    folder = shutil.copytree(zoo.folder("fastspeech2"), tmp_path / "copy")
    (folder / postfilter.FILE).unlink()
    assert sharpen.main([str(folder), "--sentences", "3", "--threads", "1"]) == 0
    for voice in ("vits-joe", "hibari"):
        table = postfilter.load(folder, voice)
        fast, slow = table[12:, 2:30].mean(), table[1:4, 2:30].mean()
        assert fast > slow > 0.7 and fast > 1.5  # what moves fast lacks most
    with pytest.raises(ParameterError, match="makes no mel for a vocoder"):
        sharpen.count(zoo.folder("hifigan"), sentences=3)


@pytest.mark.parametrize("name", NAMES)
def test_every_acoustic_model_of_the_zoo_has_a_table_of_both_voices(name):
    for voice in ("vits-joe", "hibari"):
        assert postfilter.load(zoo.folder(name), voice).shape == (RATES, 80)
