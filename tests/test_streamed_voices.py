"""Voices that stream: the samples of the whole, the first of them before the last is computed; what does not stream is
heard sentence by sentence; when the bench says that somebody hears it.
"""

from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest
import torch
from acoustic_checks import Tone
from test_istft_stream import Exact

from lib import systems
from lib.errors import AudioError, TextError
from lib.measure import bench_child, streamed
from lib.systems.base import PAUSE_S
from lib.systems.before_vocoder import CHUNK
from lib.systems.istft.tables import HOP

TARGETS = ("torch/cpu", "onnxruntime/cpu")
LONG = "The birch canoe slid on the smooth planks, and nobody saw it."


@pytest.fixture(scope="module")
def voices():
    """Target -> fastspeech2 through `istft`, on one thread."""
    return {target: systems.load("fastspeech2", target=target, threads=1, vocoder="istft") for target in TARGETS}


@pytest.fixture
def given(monkeypatch):
    """The mels (n, n_bands) that the vocoder of a voice has been given so far."""

    def watch(voice) -> list[np.ndarray]:
        seen, own = [], voice.vocoder.stream

        def stream(chunks):
            return own(seen.append(chunk) or chunk for chunk in chunks)

        monkeypatch.setattr(voice.vocoder, "stream", stream)
        return seen

    return watch


@pytest.mark.parametrize("target", TARGETS)
def test_the_pieces_are_the_whole_and_the_first_comes_before_the_last_is_made(target, voices, given):
    voice = voices[target]
    seen = given(voice)
    pieces = voice.stream(LONG, 3)
    assert not seen, "nothing is computed before somebody listens"
    first = next(pieces)
    assert voice.streams and len(seen) == 1 and len(seen[0]) == CHUNK and 0 < len(first) <= CHUNK * HOP
    said = np.concatenate([first, *pieces])
    mel = np.concatenate(seen)
    assert len(seen) == -(-len(mel) // CHUNK) > 5 and said.dtype == np.float32
    again = voice.vocoder.stream([seen.pop(0) for _ in range(len(seen))])
    assert np.array_equal(said, np.concatenate(list(again))), "as the vocoder streams these chunks"
    whole = voice.synthesize(LONG, 3).waveform
    assert said.shape == whole.shape == (len(mel) * HOP,)
    assert np.abs(said - whole).max() < 2e-4, "F0 in single precision moves by its rounding, and the pulses with it"


def test_with_an_exact_pitch_the_pieces_are_the_samples_of_the_whole():
    voice = systems.load("fastspeech2", threads=1, vocoder="istft")
    voice.vocoder.modules["pitch"] = Exact(voice.vocoder.modules["pitch"])
    said, whole = np.concatenate(list(voice.stream(LONG))), voice.synthesize(LONG).waveform
    assert 0.05 < np.abs(whole).max() and np.abs(said - whole).max() < 1e-5


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_shorter_than_a_chunk_comes_in_one_and_of_nothing_is_an_error_at_once(target, voices, given):
    voice = voices[target].adjusted(rate=4.0)
    seen = given(voice)
    said = np.concatenate(list(voice.stream("Yes.")))
    assert len(seen) == 1 and 0 < len(seen[0]) < CHUNK
    whole = voice.synthesize("Yes.").waveform
    assert said.shape == whole.shape and np.abs(said - whole).max() < 2e-4
    for text in ("", "?!"):
        with pytest.raises(TextError):
            voice.stream(text)


def test_sentences_follow_each_other_with_the_pause_of_the_whole(voices):
    voice = voices["onnxruntime/cpu"]
    said, whole = np.concatenate(list(voice.stream("Yes. No, no.", 1))), voice.synthesize("Yes. No, no.", 1).waveform
    assert said.shape == whole.shape and np.abs(said - whole).max() < 2e-4
    begin = len(voice.synthesize("Yes.", 1).waveform)
    assert not said[begin : begin + round(PAUSE_S * voice.sample_rate)].any()


def test_who_does_not_stream_hands_out_whole_sentences(monkeypatch):
    voice = systems.load("fastspeech2", target="onnxruntime/cpu", threads=1)
    voice.take(Tone())
    pieces = list(voice.stream("Yes. No.", 2))
    assert not voice.streams and len(pieces) == 3 and len(voice.vocoder.mels) == 2
    assert np.array_equal(np.concatenate(pieces), voice.synthesize("Yes. No.", 2).waveform)
    assert systems.load("fastspeech2", target="onnxruntime/cpu", threads=1, vocoder="istft").streams
    monkeypatch.setattr(voice.vocoder, "vocode", lambda mel, seed: np.full(9, np.nan, np.float32))
    with pytest.raises(AudioError, match="made NaN samples of 'Yes.'"):
        list(voice.stream("Yes."))


def test_who_listens_waits_for_the_first_piece_and_for_each_that_is_late():
    times = iter([10.0, 10.5, 10.6, 12.0, 12.1])  # begin, then each of four pieces of half a second
    heard = streamed.listen([np.zeros(50)] * 4, 100, clock=lambda: next(times))
    assert heard.first_s == pytest.approx(0.5)
    assert heard.stalled_s == pytest.approx(0.5), "the third was wanted at 11.5"
    first = streamed.listen([np.zeros(50)], 100, clock=itertools.count(3.0, 0.25).__next__)
    assert first == streamed.Heard(0.25, 0.0)


@pytest.mark.parametrize("target", TARGETS)
def test_the_bench_listens_to_a_voice_that_streams(target, tmp_path):
    path, threads = str(tmp_path / "texts.npz"), torch.get_num_threads()
    bench_child.save_inputs(path, "text", [LONG, "Yes."])

    def asked(**settings):
        origin = {"system": "fastspeech2", "target": target, "settings": settings}
        return bench_child.one_round(origin, "text", path, threads=threads, passes=2, seed=0, turn=0)

    answer = asked(vocoder="istft")
    first, stalled = np.array(answer["first_audio_s"]), np.array(answer["stalled_s"])
    assert first.shape == stalled.shape == (2, 2) and (first > 0).all() and (stalled >= 0).all()
    whole = asked()
    assert whole["first_audio_s"] is None and whole["stalled_s"] is None


def test_no_garbage_is_collected_while_a_stream_is_timed():
    """Nor is it while whole sentences are: the two are laid beside each other."""
    seen = []

    class Speaker:
        sample_rate = 100

        def stream(self, text: str, seed: int):
            seen.append(gc.isenabled())
            yield np.zeros(10, np.float32)

    nothing = {"prepare": lambda: None, "synchronize": lambda: None}
    streamed.timed(Speaker(), "text", ["a", "b"], passes=2, seed=0, **nothing)
    assert seen[1:] == [False] * 4 and gc.isenabled()
