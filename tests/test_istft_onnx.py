"""`istft` on ONNX Runtime says what it says on torch, stage by stage; its graphs are made once and need no torch."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from fresh_process import ask

from lib import optimize, systems, zoo
from lib.errors import ParameterError, TrainingError
from lib.features import log_mel
from lib.systems import istft
from lib.systems.istft import network, onnx_vocoder, signal, tables
from lib.systems.istft.onnx_vocoder import IstftOnnx
from lib.systems.istft.tables import HOP, RATE

SMALL = istft.IstftConfig(
    width=24, blocks=2, kernel=5, expansion=2, lookahead=3, pitch_width=16, pitch_blocks=1, pitch_lookahead=1
)


def snr_db(wanted: np.ndarray, found: np.ndarray) -> float:
    return 10 * np.log10(np.square(np.abs(wanted)).sum() / np.square(np.abs(wanted - found)).sum())


@pytest.fixture(scope="module")
def mel() -> np.ndarray:
    """2 s of a buzz that glides, in noise, (172, 80)."""
    t = np.arange(172 * HOP) / RATE
    buzz = np.diff(np.floor(np.cumsum(120 + 40 * np.sin(5 * t)) / RATE), prepend=0)
    return log_mel((0.5 * buzz + 0.01 * np.random.default_rng(0).standard_normal(len(t))).astype(np.float32))


@pytest.fixture
def small(tmp_path):
    """A folder with a small vocoder of random weights."""
    networks = istft.build(SMALL, seed=1)
    torch.nn.init.normal_(networks["trunk"].output.weight, std=0.05)
    for parameter in (p for n in networks.values() for p in n.parameters() if p.ndim == 1):
        torch.nn.init.normal_(parameter, std=0.3)  # norms, biases and scales that are all alike hide a mistake
    weights = {name: network.state_dict() for name, network in networks.items()}
    return istft.save(tmp_path / "vocoder", SMALL, weights, "# card")


@pytest.mark.parametrize("size", ["zoo", "small"])
@torch.inference_mode()
def test_every_stage_is_torch_s(size, mel, small):
    folder = zoo.folder("istft") if size == "zoo" else small
    theirs, vocoder = istft.Istft(folder, threads=1), IstftOnnx(folder, threads=1)
    ours = onnx_vocoder.Stages(vocoder.sessions, vocoder.config)
    batch = torch.from_numpy(mel)[None]
    logits = theirs.modules["pitch"](batch)
    hz = theirs.modules["pitch"].hz(logits)
    assert np.abs(onnx_vocoder.read(logits[0].numpy(), theirs.config) / hz[0].numpy() - 1).max() < 1e-12
    assert np.abs(ours.hz(mel, len(mel)) / hz[0].numpy() - 1).max() < 2e-6
    source = signal.spectra(signal.pulses(*signal.integrate(hz)))
    of_source = signal.source_mel(source)
    correction = theirs.modules["trunk"](batch, of_source, hz.float())
    wanted = network.filters(batch, of_source, correction)
    found = ours.filters(mel, source[0].numpy(), hz[0].float().numpy())
    for name, one, other in zip(("H", "G"), wanted, found):
        assert other.shape == (len(mel), signal.BINS) and snr_db(one[0].numpy(), other) > 95, name
    noise = theirs.modules["noise"](torch.tensor([500]), 60)[0].numpy()
    assert np.array_equal(ours.noise(500, 60), noise)  # over the loop's end


@pytest.mark.parametrize("length", [1, 2, 5, 40, 172])
def test_any_length_says_what_torch_says(length, mel):
    vocoders = [systems.load("istft", target=t, threads=1) for t in ("torch/cpu", "onnxruntime/cpu")]
    wanted, found = (vocoder.vocode(mel[:length]) for vocoder in vocoders)
    assert found.shape == (length * HOP,) and found.dtype == np.float32
    assert np.abs(wanted - found).max() < 1e-3 * np.abs(wanted).max() and snr_db(wanted, found) > 80


def test_a_checkpoint_speaks_the_same_on_both(small, mel):
    wanted, found = istft.Istft(small, threads=1).vocode(mel), IstftOnnx(small, threads=1).vocode(mel)
    assert np.abs(wanted).max() > 0.01 and snr_db(wanted, found) > 70
    loaded = systems.load("istft", target="onnxruntime/cpu", checkpoint=small, threads=1)
    assert np.array_equal(loaded.vocode(mel), found) and loaded.card == "# card"
    assert loaded.params_m == pytest.approx(istft.Istft(small).params_m, rel=0.03)  # less the blocks' scales


def test_it_is_a_target_of_the_registry(mel):
    assert systems.targets("istft") == ["torch/cpu", "torch/cuda", "onnxruntime/cpu", "onnxruntime/cuda"]
    vocoder = systems.load("istft", target="onnxruntime/cpu")
    assert vocoder.origin["target"] == vocoder.target == "onnxruntime/cpu" and vocoder.kind == "vocoder"
    again = optimize.rebuild(json.loads(json.dumps(vocoder.origin)))
    assert again.fingerprint() == vocoder.fingerprint() != systems.load("istft").fingerprint()
    assert vocoder.size_mb == systems.load("istft").size_mb and 13 < vocoder.loaded_mb < 15


def test_graphs_are_made_once_and_then_need_neither_torch_nor_onnx(small, tmp_path, monkeypatch, mel):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    said = IstftOnnx(small, threads=1).vocode(mel)
    kept = sorted((tmp_path / "cache" / "graphs").iterdir())
    assert len(kept) == 2
    asked = {"name": "istft", "target": "onnxruntime/cpu", "checkpoint": small, "threads": 1}
    answer = ask(asked, mel)
    assert answer.imported == [] and np.array_equal(answer.samples, said)
    assert sorted((tmp_path / "cache" / "graphs").iterdir()) == kept

    config, networks = istft.PARTS.load(small)
    networks["trunk"].output.bias.data.add_(0.1)
    weights = {name: module.state_dict() for name, module in networks.items()}
    louder = IstftOnnx(istft.save(small, config, weights, ""), threads=1)
    assert len(list((tmp_path / "cache" / "graphs").iterdir())) == 4  # other weights, other graphs
    assert not np.array_equal(louder.vocode(mel), said)
    (small / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="the istft in .* cannot be read"):
        IstftOnnx(small)


def test_other_mel_filters_are_other_graphs(small, tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    IstftOnnx(small, threads=1)
    changed = tmp_path / "features.py"
    changed.write_text("# the same mel with other filters\n")
    monkeypatch.setattr(onnx_vocoder.features, "__file__", str(changed))
    IstftOnnx(small, threads=1)
    assert len(list((tmp_path / "cache" / "graphs").iterdir())) == 4


def test_a_replaced_graph_is_what_speaks_and_the_noise_is_in_the_fingerprint(mel, monkeypatch):
    from onnx import load_from_string, numpy_helper

    base = systems.load("istft", target="onnxruntime/cpu", threads=1)
    said, key = base.vocode(mel), base.fingerprint()
    for stage in base.graphs:

        def halve(other, stage=stage):
            model = load_from_string(other.graphs[stage])
            tensor = next(t for t in model.graph.initializer if t.name == "output.weight")
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) / 2, tensor.name))
            other.graphs[stage] = model.SerializeToString()

        changed = base.derive(f"halved-{stage}", halve)
        assert not np.array_equal(changed.vocode(mel), said) and changed.fingerprint() != key
    assert np.array_equal(base.vocode(mel), said) and base.fingerprint() == key
    with pytest.raises(ParameterError, match="nothing is selected"):
        optimize.make(base, "bf16")  # torch's layers

    from lib.systems.istft import graph

    config, weights = istft.PARTS.arrays(zoo.folder("istft"))
    monkeypatch.setattr(tables, "noise", lambda: np.ones((tables.NOISE_FRAMES, tables.BINS), np.complex64))
    assert graph.trunk(config, weights) != base.graphs["trunk"]


SENTENCE = "Good morning to you all."


@pytest.fixture(scope="module")
def voice():
    return systems.load("fastspeech2", vocoder="istft", vocoder_target="onnxruntime/cpu")


def test_an_acoustic_model_speaks_through_it(voice):
    on_torch = systems.load("fastspeech2", vocoder="istft")
    wanted, found = (system.synthesize(SENTENCE).waveform for system in (on_torch, voice))
    assert snr_db(wanted, found) > 60
    settings = {"vocoder": "istft", "vocoder_target": "onnxruntime/cpu"}
    assert settings.items() <= voice.settings().items() and "vocoder_target" not in on_torch.settings()
    assert list(voice.graphs) == ["vocoder.pitch", "vocoder.trunk"] and list(voice.modules) == [
        "acoustic_model"
    ]
    assert list(on_torch.graphs) == [] and voice.params_m == pytest.approx(on_torch.params_m, rel=1e-3)
    assert len({voice.fingerprint(), on_torch.fingerprint()}) == 2 and "onnxruntime" in voice.packages
    assert optimize.rebuild(json.loads(json.dumps(voice.origin))).cache_key() == voice.cache_key()
    back = voice.adjusted(vocoder="istft", vocoder_target="torch/cpu")
    assert np.array_equal(back.synthesize(SENTENCE).waveform, wanted) and list(back.graphs) == []
    assert np.array_equal(voice.synthesize(SENTENCE).waveform, found)
    guessed = voice.adjusted(vocoder="griffin-lim")
    assert list(guessed.graphs) == [] and guessed.settings()["vocoder"] == "griffin-lim"
    for other in (guessed, voice.adjusted(vocoder="hifigan")):  # any process gets it back
        assert optimize.rebuild(json.loads(json.dumps(other.origin))).cache_key() == other.cache_key()
    for owner in ("speecht5", "tortoise"):
        assert list(systems.load(owner, vocoder="istft", vocoder_target="onnxruntime/cpu").graphs) == list(
            voice.graphs
        )


def test_its_graph_in_an_acoustic_model_is_what_speaks_and_its_variant_is_saved(voice, tmp_path):
    from onnx import load_from_string, numpy_helper

    said = voice.synthesize(SENTENCE).waveform

    def mute(other):
        model = load_from_string(other.graphs["vocoder.trunk"])
        tensor = next(t for t in model.graph.initializer if t.name == "output.bias")
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) - 30, tensor.name))
        other.graphs["vocoder.trunk"] = model.SerializeToString()

    silent = voice.derive("mute", mute)
    assert np.abs(silent.synthesize(SENTENCE).waveform).max() < 1e-4 < np.abs(said).max()
    assert silent.fingerprint() != voice.fingerprint()
    assert np.array_equal(voice.synthesize(SENTENCE).waveform, said)
    small = optimize.make(voice, "int8-dynamic")
    heard = small.synthesize(SENTENCE).waveform
    again = optimize.load(optimize.save(small, tmp_path))
    assert again.fingerprint() == small.fingerprint() and again.graphs == small.graphs
    assert np.array_equal(again.synthesize(SENTENCE).waveform, heard) and not np.array_equal(heard, said)


def test_int8_layers_of_the_trunk_speak_and_are_saved(tmp_path, mel):
    # Without passes, which take two copies of one mel to two waveforms: what the networks say is compared.
    base = systems.load("istft", threads=1, passes=0)
    said = base.vocode(mel)
    small = optimize.make(base, "int8-dynamic", stages=("trunk",))
    heard = small.vocode(mel)
    assert 10 < snr_db(said, heard) < 60 and np.array_equal(base.vocode(mel), said)
    assert small.loaded_mb < 0.5 * base.loaded_mb
    again = optimize.load(optimize.save(small, tmp_path), threads=1)
    assert np.array_equal(again.vocode(mel), heard) and again.size_mb < base.size_mb
    chunks = np.concatenate(list(small.stream(mel[i : i + 8] for i in range(0, len(mel), 8))))
    assert snr_db(said, chunks) > 10  # each chunk is quantized by its own range


@pytest.mark.slow
@pytest.mark.alone
def test_it_is_several_times_as_fast_as_hifigan(mel, capsys):
    """On two threads, the best of calls in turns. Eight to eighteen times on the machine it was made on; where another
    library is the fast one, or other work runs beside it, it is less, but never near nothing.
    """
    long, best = np.tile(mel, (2, 1)), {}
    vocoders = {
        "hifigan": systems.load("hifigan", threads=2),
        **{
            target: systems.load("istft", target=target, threads=2)
            for target in ("torch/cpu", "onnxruntime/cpu")
        },
    }
    for _ in range(12):
        for name, vocoder in vocoders.items():
            begin = time.perf_counter()
            vocoder.vocode(long)
            best[name] = min(best.get(name, np.inf), time.perf_counter() - begin)
    faster = {name: best["hifigan"] / best[name] for name in ("torch/cpu", "onnxruntime/cpu")}
    with capsys.disabled():
        print("\nas fast as hifigan: " + ", ".join(f"{name} {gain:.1f}x" for name, gain in faster.items()))
    assert min(faster.values()) >= 3, faster
