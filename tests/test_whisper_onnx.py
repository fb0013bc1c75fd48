"""The recogniser on ONNX Runtime: torch's numbers, torch's words, without torch; in 8 bit a third of the size."""

import functools

import numpy as np
import pytest
import torch
from fresh_process import ask

from lib import optimize, systems
from lib.errors import ParameterError
from lib.graphs import operators
from lib.systems.memory import ROOM, Memory

load = functools.cache(functools.partial(systems.load, threads=1))
TEXT = "She sells shells by the shore."


@pytest.fixture(scope="module")
def clip():
    return load("vits-joe", target="onnxruntime/cpu").synthesize(TEXT, 1)


def off(wanted, found):
    assert wanted.shape == found.shape
    return float(np.abs(wanted - found).max() / np.abs(wanted).max())


@torch.inference_mode()
def test_both_graphs_compute_what_torch_does(clip):
    theirs, ours = load("whisper-tiny.en"), load("whisper-tiny.en", target="onnxruntime/cpu")
    mel = ours.features(clip.waveform, clip.sample_rate)
    assert (
        mel.shape == (80, 3000) and off(theirs.features(clip.waveform, clip.sample_rate)[0].numpy(), mel) < 1e-3
    )
    heard = theirs.model.model.encoder(torch.from_numpy(mel)[None]).last_hidden_state
    names = [end.name for end in ours.sessions["encoder"].get_outputs()]
    text = dict(zip(names, ours.sessions["encoder"].run(None, {"mel": mel})))
    attention = theirs.model.model.decoder.layers[3].encoder_attn
    wanted = attention.v_proj(heard[0]).view(1500, 6, 64).transpose(0, 1).numpy()
    assert off(wanted, text["text_values.3"]) < 1e-3
    tokens = np.array(
        [50_257, 50_362, *np.random.default_rng(0).integers(0, 50_000, ROOM + 6)]
    )  # past its first room
    wanted = (
        theirs.model(encoder_outputs=(heard,), decoder_input_ids=torch.from_numpy(tokens)[None])
        .logits[0]
        .numpy()
    )
    memory, found = Memory(4, 6, 64), []
    for place, token in enumerate(tokens):
        given = {"token": np.array([token]), "place": np.array([place]), **memory.inputs(), **text}
        scores, *new = ours.sessions["decoder"].run(None, given)
        memory.add(new)
        found.append(scores)
    assert off(wanted, np.array(found)) < 1e-3


def test_it_hears_what_torch_hears(clip):
    theirs, ours = load("whisper-tiny.en"), load("whisper-tiny.en", target="onnxruntime/cpu")
    twice = np.concatenate([clip.waveform, np.zeros(30 * clip.sample_rate, np.float32), clip.waveform])
    for waveform in (clip.waveform, twice):
        wanted, found = (r.transcribe(waveform, clip.sample_rate) for r in (theirs, ours))
        assert found.text == wanted.text and "shells" in found.text and found.audio_s == wanted.audio_s
        assert list(found.seconds) == list(wanted.seconds) == ["features", "encoder", "decoder"]
    assert ours.params_m == pytest.approx(theirs.params_m, rel=0.01)  # embedding and head are one table


def test_who_repeats_himself_without_end_is_stopped_at_the_same_word(clip, monkeypatch):
    """The same number of tokens on every runtime, else speeds would compare other work."""
    import ctranslate2

    from lib.systems.whisper import engine, stages
    from lib.systems.whisper.package import EOT, LONGEST, NO_TIMESTAMPS, SOT

    torchs = load("whisper-tiny.en")
    assert torchs.model.generation_config.max_length == len(torchs.prompt) + LONGEST

    monkeypatch.setattr(stages, "LONGEST", 6)
    monkeypatch.setattr(stages, "EOT", -1)  # nothing ends it
    ours = load("whisper-tiny.en", target="onnxruntime/cpu")
    mel = ours.features(clip.waveform, clip.sample_rate)
    names = [end.name for end in ours.sessions["encoder"].get_outputs()]
    text = dict(zip(names, ours.sessions["encoder"].run(None, {"mel": mel})))
    assert len(ours._search(text)) == 6

    other = load("whisper-tiny.en", target="ctranslate2/cpu")
    asked = {}
    monkeypatch.setattr(other, "_engine", Spy(other._engine, asked))
    heard = other.transcribe(clip.waveform, clip.sample_rate)
    assert "shells" in heard.text and list(heard.seconds) == ["features", "encoder", "decoder"]
    assert asked["max_length"] == 2 * engine.LONGEST == 2 * LONGEST
    view = ctranslate2.StorageView.from_array(mel[None])
    without_end = {**asked, "max_length": 2 * 6, "suppress_tokens": [-1, EOT]}
    (result,) = other._engine.generate(view, [[SOT, NO_TIMESTAMPS]], **without_end)
    assert len(result.sequences_ids[0]) == 6  # the engine halves what it is told


class Spy:
    """An engine that notes how it is asked."""

    def __init__(self, engine, asked):
        self.engine, self.asked, self.encode = engine, asked, engine.encode

    def generate(self, heard, prompts, **options):
        self.asked.update(options)
        return self.engine.generate(heard, prompts, **options)


def test_the_package_to_compare_with_hears_the_same_words(clip):
    theirs = load("whisper-tiny.en", target="faster-whisper/cpu")
    assert 37.7 < theirs.params_m < 37.8 and "37.7" in repr(theirs), "of the file that it reads"
    assert "shells" in theirs.transcribe(clip.waveform, clip.sample_rate).text
    assert theirs.variant == "int8-dynamic" == theirs.origin["variant"] and theirs.size_mb > 70
    assert (
        theirs.fingerprint()
        == systems.load("whisper-tiny.en", target="faster-whisper/cpu", threads=1).fingerprint()
    )


def test_int8_keeps_one_table_and_comes_back_without_torch(clip, tmp_path):
    base = load("whisper-tiny.en", target="onnxruntime/cpu")
    small = optimize.make(base, "int8-dynamic")
    stored = {o.stored for o in operators.weighted(small.graphs["decoder"]).values()}
    assert len(small.graphs["decoder"]) < 0.3 * len(base.graphs["decoder"]) and "int8" in stored
    optimize.save(small, tmp_path)
    assert small.size_mb < 0.65 * base.size_mb
    answer = ask({"folder": tmp_path}, clip.waveform, sample_rate=clip.sample_rate)
    assert "shells" in answer.words and "torch" not in answer.imported
    assert answer.fingerprint == small.fingerprint()


def test_less_silence_is_a_setting(clip):
    ours = load("whisper-tiny.en", target="onnxruntime/cpu")
    less = ours.adjusted(silence_s=8.0)
    frames = less.features(clip.waveform, clip.sample_rate).shape[1]
    assert (
        800 < frames < 1_200
        and frames % 2 == 0
        and ours.features(clip.waveform, clip.sample_rate).shape[1] == 3000
    )
    assert less.fingerprint() != ours.fingerprint() and less.settings() == {"silence_s": 8.0}
    with pytest.raises(ParameterError, match="silence_s is 31"):
        ours.adjusted(silence_s=31)
