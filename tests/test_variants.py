"""A variant is a thing of its own: it shares nothing with its baseline, is told apart by its bytes, and
survives on disk.
"""

import functools
import json
import sys

import numpy as np
import pytest
import torch
from fresh_process import ask

from lib import optimize, systems, targets
from lib.corpora import synthetic
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.measure import evaluate
from lib.optimize import stored
from lib.optimize import variant as variants
from lib.target import Target

SENTENCE = "The birch canoe slid on the smooth planks."
load = functools.cache(systems.load)
TORCH = [
    (n, "torch/cpu") for n in systems.names() if "torch/cpu" in systems.targets(n) and n != "speecht5-base"
]
ONNX = [
    (n, "onnxruntime/cpu")
    for n in systems.names()
    if "onnxruntime/cpu" in systems.targets(n) and n != "speecht5-base"
]


def damage(system):
    """Halve the first matrix of every network."""
    for module in system.modules.values():
        with torch.no_grad():
            next(p for p in module.parameters() if p.ndim > 1).mul_(0.5)


@pytest.mark.parametrize(("name", "target"), TORCH)
def test_a_variant_shares_no_tensor_with_its_baseline(name, target):
    base = load(name, target=target)
    before, said = base.fingerprint(), base.synthesize(SENTENCE, 1).waveform
    changed = base.derive("damaged", damage)
    ours, theirs = ({p.data_ptr() for m in s.modules.values() for p in m.parameters()} for s in (base, changed))
    assert not ours & theirs
    assert base.fingerprint() == before and np.array_equal(base.synthesize(SENTENCE, 1).waveform, said)
    assert changed.fingerprint() != before and changed.variant == "damaged" and changed.origin is None
    assert base.variant == "baseline" and base.origin["system"] == name


@pytest.mark.parametrize(("name", "target"), TORCH)
def test_what_is_replaced_in_modules_is_what_speaks(name, target):
    base = load(name, target=target)
    said = base.synthesize(SENTENCE, 1).waveform
    for stage in base.modules:

        def change(system, stage=stage):
            other = systems.load(name, target=target).modules[stage]
            with torch.no_grad():
                for p in other.parameters():
                    p.mul_(1.05)
            system.modules[stage] = other

        heard = base.derive(f"other-{stage}", change).synthesize(SENTENCE, 1).waveform
        assert heard.shape != said.shape or not np.array_equal(heard, said), stage


def test_what_is_replaced_in_the_recogniser_is_what_listens():
    base = systems.load("whisper-tiny.en")
    voice = load("hibari").synthesize(SENTENCE, 1)
    heard = base.transcribe(voice.waveform, voice.sample_rate).text
    assert "smooth planks" in heard
    for stage in base.modules:
        deaf = base.derive(f"deaf-{stage}", lambda s, stage=stage: damage_all(s.modules[stage]))
        assert deaf.transcribe(voice.waveform, voice.sample_rate).text != heard, stage
    assert base.transcribe(voice.waveform, voice.sample_rate).text == heard
    assert base.kind == "recogniser" and "whisper-tiny.en" in systems.names("recogniser")


def damage_all(module):
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(0.1)


@pytest.mark.parametrize(("name", "target"), ONNX)
def test_a_replaced_graph_is_what_speaks(name, target):
    from onnx import load_from_string, numpy_helper

    base = load(name, target=target)
    said, stage = base.synthesize(SENTENCE, 1).waveform, next(reversed(list(base.graphs)))

    def change(system):
        model = load_from_string(system.graphs[stage])
        kinds = (1, 2, 3)  # float, uint8, int8
        tensor = max(
            (t for t in model.graph.initializer if t.data_type in kinds), key=lambda t: len(t.raw_data)
        )
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) // 2, tensor.name))
        system.graphs[stage] = model.SerializeToString()

    changed = base.derive("halved", change)
    assert not np.array_equal(changed.synthesize(SENTENCE, 1).waveform, said)
    assert np.array_equal(base.synthesize(SENTENCE, 1).waveform, said)
    assert changed.fingerprint() != base.fingerprint()


def test_a_system_whose_sessions_would_stay_behind_says_so():
    class Kept(systems.base.System):
        """Opens what it speaks with when it is made, and never again."""

        name, target, sample_rate = "kept", "onnxruntime/cpu", 16_000

        def __init__(self):
            self.graphs = {"voice": b"one"}
            self.opened = self.graphs["voice"]

        def speak(self, sentence, seed):
            raise NotImplementedError

    class Opened(Kept):
        def _changed(self):
            self.opened = self.graphs["voice"]

    def change(system):
        system.graphs["voice"] = b"other"

    with pytest.raises(ParameterError, match="Kept has graphs and no `_changed`.* sessions of its baseline"):
        Kept().derive("changed", change)
    assert Opened().derive("changed", change).opened == b"other"
    assert Kept().derive("renamed").opened == b"one"  # nothing was replaced


def test_weights_changed_under_a_used_name_get_no_old_clips(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    voice = systems.load("vits-joe", target="torch/cpu")
    first = synthetic.speak(voice, SENTENCE, 1)[0]
    assert np.array_equal(first, synthetic.speak(voice, SENTENCE, 1)[0])
    voice.modules["decoder"].conv_pre.bias.data.add_(0.3)  # .data: torch itself does not notice
    again = synthetic.speak(voice, SENTENCE, 1)[0]
    assert again.shape == first.shape and not np.array_equal(again, first)


def test_a_fingerprint_is_taken_once_per_corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    voice, counted = load("hibari"), []
    whole = type(voice).weights_key
    monkeypatch.setattr(type(voice), "weights_key", lambda self: counted.append(1) or whole(self))
    from lib.corpora import gutenberg

    evaluate.speak(voice, gutenberg.split("test", 3))
    assert len(counted) == 1


def test_settings_threads_and_runtime_decide_where_a_clip_lies(monkeypatch):
    voice = load("fastspeech2")
    others = [
        voice.adjusted(speaker="hibari"),
        voice.adjusted(rate=1.1),
        voice.adjusted(vocoder="griffin-lim"),
        load("tacotron2"),
        load("tacotron2").adjusted(threshold=0.4),
        load("tortoise"),
        load("tortoise").adjusted(steps=4),
        load("speecht5"),
        load("speecht5").adjusted(slack=99),
        load("vits-joe").adjusted(noise_scale=0.1),
        load("vits-joe"),
        load("vits-joe", target="onnxruntime/cpu"),
        systems.load("vits-joe", target="onnxruntime/cpu", threads=1),
    ]
    keys = [v.cache_key() for v in (voice, *others)]
    assert len(set(keys)) == len(keys)
    monkeypatch.setattr(Target, "versions", lambda self: {"torch": "9.9"})
    assert voice.cache_key() not in keys
    assert voice.adjusted(variant="renamed").fingerprint() == voice.fingerprint()  # a name is not heard


def test_unknown_settings_are_named():
    with pytest.raises(
        ParameterError, match="unknown setting of fastspeech2 'spaeker': did you mean 'speaker'"
    ):
        load("fastspeech2").adjusted(spaeker="hibari")
    with pytest.raises(ParameterError, match="unknown setting of hibari"):
        load("hibari").adjusted(rate=2.0)
    with pytest.raises(ParameterError, match="a variant of hibari needs a name of its own"):
        load("hibari").derive("baseline")
    with pytest.raises(ParameterError, match="threshold is 1.5"):
        load("tacotron2").adjusted(threshold=1.5)


def test_an_origin_rebuilds_the_same_system():
    voice = load("fastspeech2").adjusted(speaker="hibari", rate=1.2, variant="fast")
    again = optimize.rebuild(json.loads(json.dumps(voice.origin)))
    assert again.fingerprint() == voice.fingerprint() and again.variant == "fast"
    assert again.cache_key() == voice.cache_key()


def test_sizes_are_those_of_files_and_of_memory():
    voice = load("fastspeech2")
    assert voice.size_mb == pytest.approx(sum(p.stat().st_size for p in voice.files) / 1e6)
    names = [p.name for p in voice.files]
    assert names.count("model.safetensors") == 2  # its vocoder's, too
    assert 29 < voice.loaded_mb < 31 and 15 < voice.size_mb < 17.5  # half precision on disk
    assert voice.derive("x", damage).size_mb is None
    int8 = optimize.make(voice, "int8-dynamic")
    assert int8.loaded_mb < 0.8 * voice.loaded_mb


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """An int8 FastSpeech 2, saved, with what it says."""
    folder = tmp_path_factory.mktemp("variants") / "int8"
    small = optimize.make(load("fastspeech2"), "int8-dynamic", stages=("acoustic_model",))
    assert small.size_mb is None
    optimize.save(small, folder, data="none", measured={"wer": 0.1})
    return folder, small, small.synthesize(SENTENCE, 1).waveform


def test_a_saved_variant_speaks_the_same_in_another_process(saved):
    folder, small, said = saved
    answer = ask({"folder": folder}, SENTENCE)
    assert (answer.variant, answer.fingerprint) == ("int8-dynamic", small.fingerprint())
    assert np.array_equal(answer.samples, said)
    assert small.origin == {"folder": str(folder), "target": "torch/cpu"} and small.size_mb > 10


def test_a_saved_variant_says_what_it_was_made_of(saved):
    description = json.loads((saved[0] / "variant.json").read_text())
    assert description["technique"] == "int8-dynamic" and description["arguments"] == {
        "stages": ["acoustic_model"]
    }
    assert description["base"]["origin"]["system"] == "fastspeech2" and description["measured"] == {"wer": 0.1}
    assert description["base"]["weights"] == load("fastspeech2").weights_key()


@pytest.fixture
def copy(saved, tmp_path):
    import shutil

    return shutil.copytree(saved[0], tmp_path / "copy")


def test_damaged_variants_are_named(copy, tmp_path):
    with pytest.raises(MissingDataError, match="holds no variant"):
        optimize.load(tmp_path / "absent")
    weights = copy / stored.PACKED
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match="cannot be read .* make it anew"):
        optimize.load(copy)
    weights.unlink()
    with pytest.raises(TrainingError, match="is incomplete: weights.pt is missing"):
        optimize.load(copy)
    (copy / "variant.json").write_text("{")
    with pytest.raises(TrainingError, match="cannot be read"):
        optimize.load(copy)


def change(folder, **values):
    description = json.loads((folder / "variant.json").read_text())
    (folder / "variant.json").write_text(json.dumps(description | values))


def test_a_variant_of_another_base_or_technique_is_refused(copy):
    description = json.loads((copy / "variant.json").read_text())
    change(copy, base=description["base"] | {"weights": "0" * 32})
    with pytest.raises(TrainingError, match="its base has other weights"):
        optimize.load(copy)
    change(copy, base=description["base"], technique="int8-dynamik")
    with pytest.raises(ParameterError, match="unknown technique 'int8-dynamik': did you mean 'int8-dynamic'"):
        optimize.load(copy)
    change(copy, technique="int8-dynamic", weights="0" * 32)
    with pytest.raises(TrainingError, match="is damaged: its weights are not those that were saved"):
        optimize.load(copy)


def test_a_technique_that_changes_nothing_is_an_error():
    with pytest.raises(ParameterError, match="nothing is selected in griffin-lim"):
        optimize.make(load("griffin-lim"), "int8-dynamic")
    with pytest.raises(ParameterError, match="unknown network of fastspeech2"):
        optimize.make(load("fastspeech2"), "int8-dynamic", stages=("acoustic",))
    with pytest.raises(ParameterError, match="was not made by a technique"):
        optimize.save(load("fastspeech2"), "unused")


def test_what_a_technique_is_wrongly_given_is_named(tmp_path):
    with pytest.raises(ParameterError, match="lora takes file and was given no file: name it"):
        variants.checked("lora", {})
    with pytest.raises(ParameterError, match="unknown argument of int8-dynamic 'stage': did you mean 'stages'"):
        optimize.make(load("fastspeech2"), "int8-dynamic", stage=("decoder",))
    between = load("fastspeech2").derive("damaged", damage)
    with pytest.raises(
        ParameterError, match="was made from fastspeech2 damaged, which is not saved: save that first"
    ):
        optimize.save(optimize.make(between, "int8-dynamic", variant="damaged+int8"), tmp_path / "unused")


def test_without_networks_the_files_or_the_code_tell_a_system_apart(tmp_path, monkeypatch):
    with pytest.raises(ParameterError, match="nothing is selected in espeak-ng"):
        optimize.make(load("espeak-ng"), "int8-dynamic")
    keys = []
    for pitch in (100, 200):
        source = (
            f"from lib.systems.base import System\n\nclass Tone(System):\n    name, pitch = 'tone', {pitch}\n"
        )
        (tmp_path / f"tone{pitch}.py").write_text(
            source + "    def speak(self, sentence, seed):\n        pass\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        keys.append(__import__(f"tone{pitch}").Tone().fingerprint())
    assert keys[0] != keys[1]


def test_what_cannot_run_here_or_has_no_checkpoints_says_so(monkeypatch):
    no_gpu = Target("torch/cuda", missing=lambda: "no CUDA device: take a machine with one")
    monkeypatch.setitem(targets.TARGETS, "torch/cuda", no_gpu)
    with pytest.raises(ParameterError, match="fastspeech2 cannot run on torch/cuda here: no CUDA device"):
        systems.load("fastspeech2", target="torch/cuda")
    with pytest.raises(ParameterError, match="hibari takes no checkpoint"):
        systems.load("hibari", checkpoint="somewhere")


def test_a_saved_graph_comes_back(tmp_path, monkeypatch):
    def halve(system):
        system.graphs["decoder"] += b""  # the same graph: only the way to disk and back is at stake
        from onnx import load_from_string, numpy_helper

        model = load_from_string(system.graphs["decoder"])
        tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 0.5, tensor.name))
        system.graphs["decoder"] = model.SerializeToString()

    monkeypatch.setitem(variants._TECHNIQUES, "halved", "tests_technique:HALVED")
    module = type(sys)("tests_technique")
    module.HALVED = optimize.Technique("halved", halve, lambda system: None)
    monkeypatch.setitem(sys.modules, "tests_technique", module)
    made = optimize.make(load("vits-joe", target="onnxruntime/cpu"), "halved")
    optimize.save(made, tmp_path / "halved")
    again = optimize.load(tmp_path / "halved")
    said = [v.synthesize(SENTENCE, 1).waveform for v in (made, again)]
    assert np.array_equal(*said) and again.graphs == made.graphs
    alone = optimize.load(tmp_path / "halved", threads=1)  # where the decoder runs rewritten
    assert np.abs(alone.synthesize(SENTENCE, 1).waveform - said[0]).max() < 1e-4
    graph = tmp_path / "halved" / "graphs" / "decoder.onnx"
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="is damaged"):
        optimize.load(tmp_path / "halved")


def test_targets_are_rows_of_one_table():
    assert targets.find("torch/cuda-h100") is targets.TARGETS["torch/cuda"] and targets.find("torch/cuda").cuda
    assert targets.find("torch/cpu").why_not() is None
    assert {t for n in systems.names() for t in systems.targets(n)} <= set(targets.TARGETS)
    if not torch.cuda.is_available():
        assert "CUDA" in targets.find("torch/cuda").why_not() and targets.label("torch/cuda") == "torch/cuda"
    with pytest.raises(ParameterError, match="unknown target 'torch/gpu'"):
        targets.find("torch/gpu")


def test_of_its_base_no_session_is_opened(tmp_path, monkeypatch):
    """Who deploys a variant neither waits for the networks that go nor holds them."""
    import onnxruntime

    from lib.graphs import session

    base = load("istft", target="onnxruntime/cpu")
    folder = optimize.save(optimize.make(base, "int8-weights", stages=("trunk",)), tmp_path / "small")
    opened, real = [], onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: opened.append(a[0]) or real(*a, **k))
    variant = optimize.load(folder)
    assert sorted(map(len, opened)) == sorted(map(len, variant.graphs.values()))
    assert len(variant.vocode(np.full((20, 80), -4, np.float32))) == 20 * 256
    opened.clear()
    with session.unopened():
        later = session.open(base.graphs["trunk"], 1)
        assert not opened
    assert [end.name for end in later.get_inputs()] and len(opened) == 1
    assert later.get_inputs() and len(opened) == 1  # once
