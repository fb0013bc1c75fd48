"""What a variant is told apart by beside its weights, and what its size and parameters count."""

import functools
import json
import sys

import pytest
import torch

from lib import optimize, systems, target
from lib.optimize import variant as variants
from lib.systems.model import Model

load = functools.cache(systems.load)


class Tiny(Model):
    """A model of one layer."""

    name, target, sample_rate = "tiny", "torch/cpu", 16_000

    def __init__(self):
        layer = torch.nn.Linear(3, 3)
        torch.nn.init.ones_(layer.weight), torch.nn.init.zeros_(layer.bias)
        layer.register_buffer("positions", torch.zeros(4), persistent=False)
        layer.heads, layer.act = 2, torch.relu
        self.modules = {"layer": torch.nn.Sequential(layer, torch.nn.Dropout(0.5)).eval()}


def positions(model):
    model.modules["layer"][0].positions += 1


def heads(model):
    model.modules["layer"][0].heads = 3


def activation(model):
    model.modules["layer"][0].act = torch.sigmoid


def patched(model):
    model.modules["layer"][0].forward = model.modules["layer"][0].reset_parameters


def dropout(model):
    model.modules["layer"].train()


@pytest.mark.parametrize("change", [positions, heads, activation, patched, dropout])
def test_what_no_state_dict_holds_is_in_the_fingerprint_too(change):
    base = Tiny()
    assert base.fingerprint() == Tiny().fingerprint()
    assert base.derive("changed", change).fingerprint() != base.fingerprint()


def test_what_a_recogniser_may_say_is_in_its_fingerprint():
    base = load("whisper-tiny.en")

    def free(copy):
        copy.model.generation_config.suppress_tokens = None

    assert base.derive("free", free).fingerprint() != base.fingerprint() == base.adjusted().fingerprint()


@pytest.mark.parametrize(
    ("name", "package"),
    [("fastspeech2", "espeakng-loader"), ("vits-joe", "phonemizer-fork"), ("hibari", "hibari-tts")],
)
def test_clips_of_another_front_end_are_not_taken_for_its_own(name, package, monkeypatch):
    voice = load(name)
    before, version = voice.cache_key(), target._version
    monkeypatch.setattr(target, "_version", lambda p: "another" if p == package else version(p))
    assert voice.cache_key() != before


def test_packed_weights_are_parameters_all_the_same():
    base = load("fastspeech2")
    assert optimize.make(base, "int8-dynamic").params_m == pytest.approx(base.params_m)


def test_a_change_after_a_technique_is_not_that_technique():
    small = optimize.make(load("fastspeech2"), "int8-dynamic", stages=("acoustic_model",))
    assert small.made and small.derive("more", lambda copy: None).made is None


def test_an_adjusted_saved_variant_keeps_its_name_when_it_is_rebuilt(tmp_path):
    small = optimize.make(load("fastspeech2"), "int8-dynamic", stages=("acoustic_model",))
    optimize.save(small, tmp_path / "int8")
    for named in (small.adjusted(variant="other"), small.adjusted(variant="fast", rate=1.2)):
        again = optimize.rebuild(json.loads(json.dumps(named.origin)))
        assert (again.variant, again.fingerprint()) == (named.variant, named.fingerprint())
        assert again.origin == named.origin


@pytest.fixture
def touched(monkeypatch):
    """A technique that changes one number of the first network."""

    def apply(system):
        with torch.no_grad():
            next(next(iter(system.modules.values())).parameters()).view(-1)[0] += 1

    module = type(sys)("tests_technique")
    module.TOUCHED = optimize.Technique("touched", apply, lambda system: None)
    monkeypatch.setitem(variants._TECHNIQUES, "touched", "tests_technique:TOUCHED")
    monkeypatch.setitem(sys.modules, "tests_technique", module)
    return "touched"


@pytest.mark.parametrize("name", ["whisper-tiny.en", "fastspeech2"])
def test_a_variant_of_the_same_weights_has_the_same_size(name, touched, tmp_path):
    base = load(name)
    made = optimize.make(base, touched)
    optimize.save(made, tmp_path)
    assert made.size_mb == pytest.approx(base.size_mb, rel=0.05)
    again = optimize.load(tmp_path)
    assert again.fingerprint() == made.fingerprint() and again.params_m == base.params_m
    assert {p.name for p in base.front_end} <= {p.name for p in again.files}


def test_a_changed_graph_keeps_the_front_end_of_its_voice():
    hibari, joe = load("hibari"), load("vits-joe", target="onnxruntime/cpu")
    for voice in (hibari, joe):
        changed = voice.derive("same", lambda copy: None)
        assert changed.front_end == voice.front_end and set(voice.front_end) < set(voice.files)
    assert not any("espeak" in str(path) for path in hibari.front_end)


def test_a_checkpoint_is_found_from_another_folder(tmp_path, monkeypatch):
    from lib import zoo

    folder = zoo.folder("fastspeech2")
    monkeypatch.chdir(folder.parent)
    voice = systems.load("fastspeech2", checkpoint=folder.name)
    monkeypatch.chdir(tmp_path)
    assert systems.rebuild(voice.origin).fingerprint() == voice.fingerprint()


def test_espeak_is_unloaded_outside_of_the_sentence_and_stays_the_same(monkeypatch):
    from lib.systems import espeak

    closed, close = [], espeak._Engine.close
    monkeypatch.setattr(espeak._Engine, "close", lambda engine: (closed.append(engine), close(engine)))
    voice = load("espeak-ng")
    first = voice.synthesize("The same words.", 3).waveform
    again = []
    for prepared in (True, False, True):
        if prepared:
            voice.prepare()
        before = len(closed)
        again.append(voice.synthesize("The same words.", 3).waveform)
        assert len(closed) - before == (0 if prepared else 1)  # loading anew is what closes the last one
    assert all((waveform == first).all() for waveform in again)
