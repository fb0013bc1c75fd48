"""A copy by `istft` is held to the mel that it was made of: nearer with each pass, and only where the mel is speech."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lib import features, optimize, systems
from lib.corpora import gutenberg
from lib.errors import ParameterError
from lib.features import HIFIGAN, log_mel
from lib.measure import evaluate
from lib.systems.istft import held, signal, tables
from lib.systems.istft.held import LARGEST
from lib.systems.istft.tables import HOP

TARGETS = ("torch/cpu", "onnxruntime/cpu")


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    """A sentence of the embedded voice, a whole number of hops."""
    voice = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    (said,) = evaluate.speak(voice, gutenberg.split("test", 1))
    return said.waveform[: len(said.waveform) // HOP * HOP]


def distance(waveform: np.ndarray, mel: np.ndarray) -> float:
    return float(np.abs(log_mel(waveform) - mel).mean())


def reference(waveform: np.ndarray, mel: np.ndarray, passes: int) -> np.ndarray:
    """Passes in double precision, window by window, written from their definition."""
    filters = features._filters(HIFIGAN, torch.device("cpu"), torch.float64).numpy()
    envelope = tables.interpolation(tables.filters()[1])
    window, padded = tables.window(), np.pad(waveform.astype(np.float64), tables.PAD)
    moving = np.zeros_like(padded)
    for turn in range(3 * passes):
        changes = np.zeros_like(padded)
        for frame in range(turn % 3, len(mel), 3):
            seen = slice(frame * HOP, frame * HOP + tables.SIZE)
            spectrum = np.fft.rfft(padded[seen] * window)
            missing = mel[frame] - np.log(np.maximum(np.abs(spectrum) @ filters, HIFIGAN.floor))
            gain = np.exp(np.clip(held.STRETCH * missing, -held.LARGEST, held.LARGEST) @ envelope)
            changes[seen] += np.fft.irfft(spectrum * (gain - 1)) * window
        moving = held.MOMENTUM * moving + changes
        moving[: tables.PAD] = moving[len(moving) - tables.PAD :] = 0
        padded += moving
    return padded[tables.PAD : -tables.PAD]


@pytest.mark.parametrize("target", TARGETS)
def test_each_pass_brings_the_copy_nearer_to_its_mel(target, clip):
    mel, vocoder = log_mel(clip), systems.load("istft", target=target, threads=1)
    assert vocoder.settings() == {"passes": held.PASSES}
    far = [distance(vocoder.adjusted(passes=n).vocode(mel), mel) for n in range(4)]
    assert far[0] > far[1] > far[2] > far[3] and far[held.PASSES] < 0.7 * far[0]


def test_it_sounds_more_like_the_original(clip):
    from lib.measure import aligned

    vocoder = systems.load("istft", target="onnxruntime/cpu", threads=1)
    plain, nearer = (vocoder.adjusted(passes=n).vocode(log_mel(clip)) for n in (0, held.PASSES))
    assert aligned.pesq_wb(clip, nearer, 22_050) > aligned.pesq_wb(clip, plain, 22_050) + 0.25


def test_a_pass_is_its_definition(clip):
    mel = log_mel(clip)
    other = (0.1 * np.random.default_rng(0).standard_normal(len(clip))).astype(np.float32)
    for passes in (1, 2):
        found = held.held(other, mel, passes)
        assert found.dtype == np.float32
        assert np.abs(found - reference(other, mel, passes).clip(-1, 1)).max() < 1e-4


def test_what_shows_its_mel_already_stays(clip):
    inside = slice(6 * HOP, -6 * HOP)  # at its ends a mel reflects the clip, a pass hears silence
    assert np.abs(held.held(clip, log_mel(clip), 2) - clip)[inside].max() < 1e-4
    assert np.array_equal(held.held(clip, log_mel(clip), 0), clip)


@pytest.mark.parametrize("level", [np.log(HIFIGAN.floor), 0.0, 6.0])
@pytest.mark.parametrize("target", TARGETS)
def test_silence_and_absurd_levels_stay_finite(target, level):
    vocoder = systems.load("istft", target=target, threads=1)
    for length in (1, 2, 30):
        said = vocoder.vocode(np.full((length, 80), level, np.float32))
        assert said.shape == (length * HOP,) and np.isfinite(said).all() and np.abs(said).max() <= 1


def test_the_mel_of_an_acoustic_model_is_not_held_to_unless_asked():
    voice = systems.load("fastspeech2", vocoder="istft", threads=1)
    assert voice.settings()["passes"] == voice.vocoder.passes == 0
    asked = voice.adjusted(passes=1)
    assert asked.settings()["passes"] == asked.vocoder.passes == 1 and voice.vocoder.passes == 0
    assert asked.fingerprint() != voice.fingerprint()
    again = optimize.rebuild(json.loads(json.dumps(asked.origin)))
    assert again.vocoder.passes == 1 and again.fingerprint() == asked.fingerprint()
    said = [one.synthesize("A short sentence.", seed=0).waveform for one in (voice, asked)]
    assert said[0].shape == said[1].shape and np.abs(said[0] - said[1]).max() > 1e-3


def test_its_mel_is_everybody_s():
    wanted = features._filters(HIFIGAN, torch.device("cpu"), torch.float64).numpy()
    found, middles = tables.filters()
    assert np.abs(found - wanted).max() < 1e-12 * wanted.max()
    assert np.array_equal(tables.interpolation(middles).astype(np.float32), tables.matrices()[0])


@pytest.mark.parametrize("passes", [-1, 17, 1.5, True, "2"])
def test_a_number_of_passes_that_is_none_is_named(passes):
    with pytest.raises(ParameterError, match="passes is .* give a whole number from 0 to 16"):
        systems.load("istft", threads=1, passes=passes)
