"""The acoustic models and `hifigan` say on ONNX Runtime what they say on torch: stage by stage, at any length, from the
same seed, without torch.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from acoustic_checks import FASTSPEECH2, Tone, as_after_training, batch_of
from fresh_process import ask

from lib import optimize, systems
from lib.errors import AudioError, ParameterError
from lib.graphs import operators, session
from lib.systems import draws, fastspeech2, hifigan, istft, positions, speecht5, tacotron2
from lib.systems.base import Stopwatch
from lib.systems.hifigan.stages import HifiGanOnnx
from lib.systems.istft import onnx_vocoder, stream
from lib.systems.istft.tables import RATE
from lib.systems.speecht5.decoding import decode
from lib.systems.speecht5.stages import read

NAMES = ("fastspeech2", "tacotron2", "speecht5")
# Of one waveform on two runtimes, whose F0 differs by its rounding: the relative RMS of the difference, and its largest
# value beside the waveform's. The latter is a single sample's, where a harmonic begins a sample sooner.
RMS, LARGEST = 1e-3, 5e-3
TEXTS = ("Yes.", "The birch canoe slid on the smooth planks, and nobody saw it.")
FEW = ("She sells shells by the shore.",)


def off(wanted: np.ndarray, found: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    assert wanted.shape == found.shape and np.abs(wanted).max() > 0
    return float(np.abs(wanted - found).max() / np.abs(wanted).max())


def rms(wanted: np.ndarray, found: np.ndarray) -> float:
    """The root mean square of the difference, as a share of that of the wanted."""
    assert wanted.shape == found.shape
    return float(np.sqrt(np.square(wanted - found).mean() / np.square(wanted).mean()))


@pytest.fixture(scope="module")
def pair():
    """name -> (on torch, on ONNX Runtime), one thread each."""
    known = {}

    def load(name):
        if name not in known:
            known[name] = tuple(
                systems.load(name, target=t, threads=1) for t in ("torch/cpu", "onnxruntime/cpu")
            )
        return known[name]

    return load


@pytest.mark.parametrize("seed", [0, 1, 123_456_789])
def test_numpy_draws_what_torch_draws(seed):
    generator = torch.Generator()
    wanted = torch.rand((7, 2, 33), generator=generator.manual_seed(seed)).numpy()
    assert np.array_equal(draws.uniform((7, 2, 33), seed), wanted)
    wanted = torch.empty(50, 2, 1, 16).bernoulli_(0.4, generator=generator.manual_seed(seed)).numpy()
    assert np.array_equal(draws.bernoulli((50, 2, 1, 16), 0.4, seed), wanted) and 0.3 < wanted.mean() < 0.5


def test_positions_are_those_of_the_networks():
    network = speecht5.build(speecht5.NetworkConfig(hidden=48, heads=2), 1).network
    table = network.speecht5.encoder.prenet.encode_positions.pe[0].numpy()
    assert np.abs(positions.sines(48, len(table)) - table).max() < 1e-3  # 4,000 radians in single precision
    assert np.abs(positions.sines(48, 300) - table[:300]).max() < 1e-4
    encoding = fastspeech2.build(fastspeech2.NetworkConfig(**FASTSPEECH2), 1).network.decoder.pos_enc
    with torch.inference_mode():
        wanted = encoding(torch.zeros(1, 70, 32))[1][0].numpy()
    assert np.abs(positions.distances(32, 70) - wanted).max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_the_same_frames_are_said_from_the_same_seed(name, pair):
    theirs, ours = pair(name)
    for seed, text in enumerate(TEXTS):
        one, other = theirs.synthesize(text, seed), ours.synthesize(text, seed)
        assert one.phones == other.phones and one.frames == other.frames and one.notes == other.notes
        assert rms(one.waveform, other.waveform) < RMS and off(one.waveform, other.waveform) < LARGEST
        if name != "fastspeech2":
            (wanted,), (found,) = theirs.read(text, seed), ours.read(text, seed)
            assert off(wanted.log_mel, found.log_mel) < 1e-3 and wanted.stopped == found.stopped
            assert np.abs(wanted.alignment - found.alignment).max() < 1e-3
    assert ours.settings() == theirs.settings() and ours.params_m == pytest.approx(theirs.params_m, rel=0.01)
    assert np.array_equal(ours.synthesize(TEXTS[0], 1).waveform, ours.synthesize(TEXTS[0], 1).waveform)


def test_fastspeech2_obeys_its_controls_as_on_torch(pair):
    manner = dict(rate=1.3, semitones=2.0, energy=1.5, speaker="hibari", vocoder="istft")  # no 8 bits on either side
    theirs, ours = (voice.adjusted(**manner) for voice in pair("fastspeech2"))
    one, other = theirs.synthesize(TEXTS[1]), ours.synthesize(TEXTS[1])
    assert one.frames == other.frames
    assert rms(one.waveform, other.waveform) < RMS and off(one.waveform, other.waveform) < LARGEST
    assert one.frames != pair("fastspeech2")[1].synthesize(TEXTS[1]).frames


@pytest.fixture(scope="module")
def guessed(pair):
    """A mel (F, 80) that `fastspeech2` makes on torch."""
    return pair("fastspeech2")[0].spectrogram(TEXTS[1], 0, Stopwatch()).log_mel


def test_mels_and_f0_differ_by_their_rounding_and_with_the_same_f0_istft_says_the_same(pair, guessed, monkeypatch):
    """What is left between two runtimes is F0, which is integrated: 2e-7 of it move the pulses."""
    ours = pair("fastspeech2")[1].spectrogram(TEXTS[1], 0, Stopwatch()).log_mel
    assert np.abs(guessed - ours).max() < 1e-4
    theirs, other = (vocoder.adjusted(passes=0) for vocoder in pair("istft"))
    readers = istft.vocoder._Stages(theirs), onnx_vocoder.Stages(other.sessions, other.config)
    hz, found = (reader.hz(guessed, len(guessed)) for reader in readers)
    assert np.abs(found / hz - 1).max() < 1e-6
    wanted, said = theirs.vocode(guessed), other.vocode(guessed)
    assert rms(wanted, said) < RMS and off(wanted, said) < LARGEST
    given = iter([found, hz])
    for kind in (istft.vocoder._Stages, onnx_vocoder.Stages):
        monkeypatch.setattr(kind, "hz", lambda self, log_mel, n_frames: next(given))
    swapped = [np.concatenate(list(vocoder.stream([guessed]))) for vocoder in (theirs, other)]
    assert not list(given), "each has read the other's F0 once"
    assert off(said, swapped[0]) < 2e-5 and off(wanted, swapped[1]) < 2e-5


def test_a_harmonic_begins_a_sample_sooner_where_f0_crosses_by_its_rounding():
    """How many harmonics lie below half the sample rate is a whole number: no tolerance on F0 keeps it the same."""
    edge = 0.49 * RATE / 100  # Hz at which the hundredth fits
    hz = np.array([edge * (1 - 1e-7), edge * (1 + 1e-7)])
    below, above = stream.pulses(np.full(2, 0.25, np.float32), hz.astype(np.float32))
    assert abs(below - above) > 1e-3 and abs(below - above) < 2 * np.sqrt(2 / 99)


def test_with_the_same_source_hifigan_says_the_same(pair, guessed, monkeypatch):
    theirs, ours = pair("hifigan")
    batch = torch.from_numpy(guessed)[None]
    with torch.inference_mode():
        source = hifigan.network.read_source(theirs.modules, batch)[0].numpy()
    found = hifigan.stages.read_source(*ours._run("pitch", {"mel": guessed}))
    assert np.array_equal(source[:, 2], found[:, 2]), "the same frames are voiced"
    assert np.abs(source - found).max() < 1e-3
    wanted, said = theirs.vocode(guessed), ours.vocode(guessed)
    assert rms(wanted, said) < RMS and off(wanted, said) < LARGEST
    monkeypatch.setattr(hifigan.stages, "read_source", lambda *read: source)
    assert off(wanted, ours.vocode(guessed)) <= min(1e-4, off(wanted, said))


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_process_says_the_same_without_torch(name):
    ours = systems.load(name, target="onnxruntime/cpu")
    answer = ask({"name": name, "target": "onnxruntime/cpu"}, TEXTS[0])
    assert not {"torch", "onnx", "transformers"} & set(answer.imported)
    assert np.array_equal(answer.samples, ours.synthesize(TEXTS[0], 1).waveform)
    assert answer.fingerprint == ours.fingerprint()


@pytest.mark.parametrize(
    "sizes", [{}, {"ahead": 3, "behind": 1}, {"reduction": 1, "prenet_layers": 1}, {"reduction": 3}]
)
@torch.inference_mode()
def test_any_speecht5_is_exported_stage_by_stage(sizes):
    from lib.systems.speecht5 import export
    from lib.systems.speecht5.limits import Limits

    small = dict(hidden=32, heads=2, encoder_layers=2, decoder_layers=2, feed_forward=48, prenet=16)
    config = speecht5.NetworkConfig(**small | {"postnet": 16, "speaker": 8, "relative": 4} | sizes)
    network = as_after_training(speecht5.build(config, 2, seed=1).eval())
    network.mel_mean.normal_()
    network.mel_deviation.uniform_(0.5, 2)
    graphs = export.graphs(network)
    sessions = {stage: session.open(graph, 1) for stage, graph in graphs.items()}
    limits = Limits(shortest=2.0, longest=6.0, slack=0)
    for n, voice in ((2, 0), (33, 1)):
        ids = batch_of(n, seed=n)
        encoded = network.encode(ids)
        wanted = decode(network, encoded, torch.tensor([voice]), limits=limits, seed=3)
        inputs = {"ids": ids[0].numpy(), "speaker": np.array([voice])}
        text = sessions["encoder"].run(None, {**inputs, "positions": positions.sines(32, n)})
        attention = network.network.speecht5.decoder.wrapped_decoder.layers[1].encoder_attn
        keys = attention.k_proj(encoded[0]).view(n, 2, 16).permute(1, 2, 0).numpy()
        assert off(keys, text[4]) < 1e-3
        log_mel, alignment, stopped = read(sessions, config, inputs, limits, 3, Stopwatch())
        assert off(network.log_mel(wanted.rough)[0].numpy(), log_mel) < 1e-3
        assert np.abs(wanted.alignment.numpy() - alignment).max() < 1e-3 and stopped == wanted.stopped
        rough = torch.randn(1, 5 * n, 80)
        (found,) = sessions["postnet"].run(None, {"rough": rough[0].numpy()})
        assert off(network.log_mel(rough)[0].numpy(), found) < 1e-3


def test_a_graph_is_the_same_bytes_each_time():
    from lib.systems.tacotron2 import export

    sizes = dict(embedding=16, prenet=8, attention_rnn=16, attention=8, decoder_rnn=16, postnet=16)
    network = tacotron2.build(tacotron2.NetworkConfig(**sizes), 1).eval()
    assert export.graphs(network) == export.graphs(network)
    kinds = operators.weighted(export.decoder(network))
    assert kinds["say/linear_layer/Gemm"].type == "Gemm" and not any(n.startswith("network") for n in kinds)


@pytest.mark.parametrize("sizes", [{"frames_per_step": 1}, {"frames_per_step": 3, "encoder_layers": 1}])
def test_any_tacotron2_is_exported(sizes, tmp_path):
    small = dict(embedding=16, prenet=8, attention_rnn=16, attention=8, decoder_rnn=24, postnet=16)
    config = tacotron2.NetworkConfig(**small | sizes)
    network = as_after_training(tacotron2.build(config, 1, seed=2).eval())
    folder = tacotron2.checkpoints.save(tmp_path / "a", config, ("vits-joe",), network.state_dict(), "")
    theirs, ours = (
        kind(folder, vocoder=Tone(), threads=1) for kind in (tacotron2.Tacotron2, tacotron2.Tacotron2Onnx)
    )
    (wanted,), (found,) = theirs.read("No.", 3), ours.read("No.", 3)
    assert off(wanted.log_mel, found.log_mel) < 1e-3 and wanted.stopped == found.stopped


@pytest.mark.parametrize("kernel", [1, 3])
def test_any_fastspeech2_is_exported(kernel, tmp_path):
    config = fastspeech2.NetworkConfig(**FASTSPEECH2 | {"feed_forward_kernel": kernel})
    network = as_after_training(fastspeech2.build(config, 1, seed=2).eval())
    network.network.duration_predictor.linear.bias.data.fill_(1.5)
    folder = fastspeech2.checkpoints.save(tmp_path / "a", config, ("vits-joe",), network.state_dict(), "")
    theirs, ours = (
        kind(folder, vocoder=Tone(), threads=1)
        for kind in (fastspeech2.FastSpeech2, fastspeech2.FastSpeech2Onnx)
    )
    for text in TEXTS:
        assert theirs.synthesize(text).frames == ours.synthesize(text).frames
        assert off(theirs.vocoder.mels[-1], ours.vocoder.mels[-1]) < 1e-3


@pytest.mark.parametrize("length", [1, 2, 40, 131])
def test_hifigan_copies_a_mel_of_any_length(length, pair):
    mel = np.random.default_rng(length).normal(-5, 2, (length, 80)).astype(np.float32)
    theirs, ours = pair("hifigan")
    wanted, found = theirs.vocode(mel), ours.vocode(mel)
    assert found.dtype == np.float32 and off(wanted, found) < 1e-3
    with pytest.raises(AudioError):
        ours.vocode(mel[:, 1:])


def test_the_published_generator_is_exported_too(tmp_path):
    config = hifigan.GeneratorConfig(generator="v1")
    weights = {name: network.state_dict() for name, network in hifigan.build(config, seed=3).items()}
    folder = hifigan.save(tmp_path / "v1", config, weights, "")
    mel = np.random.default_rng(0).normal(-5, 2, (9, 80)).astype(np.float32)
    wanted, found = (kind(folder, threads=1).vocode(mel) for kind in (hifigan.HifiGan, HifiGanOnnx))
    assert off(wanted, found) < 1e-3


VARIANTS = [
    ("speecht5", "int8-dynamic", {}),
    ("speecht5", "int8-weights", {}),
    ("tacotron2", "fp16-weights", {}),
    ("fastspeech2", "int8-static", {"stages": ["decoder"], "types": ["MatMul"], "sentences": FEW}),
    (
        "speecht5",
        "int8-static",
        {"stages": ["postnet", "decoder"], "types": ["Conv", "Gemm"], "sentences": FEW},
    ),
    ("tortoise", "int8-dynamic", {"stages": ["decoder"]}),
    ("tortoise", "int8-static", {"stages": ["decoder"], "types": ["Conv"], "sentences": FEW}),
    ("tortoise", "int8-weights", {}),
    ("tortoise", "fp16-weights", {"stages": ["decoder"]}),
]


@pytest.mark.parametrize(("name", "technique", "arguments"), VARIANTS)
def test_every_technique_works_on_the_graphs(name, technique, arguments, pair, tmp_path):
    base = pair(name)[1]
    before = base.synthesize(TEXTS[0], 1).waveform
    made = optimize.make(base, technique, **arguments)
    changed = made.made["changed"]
    assert 0 < changed["layers"] <= changed["of"] and changed["bytes_after"] < changed["bytes_before"]
    said = made.synthesize(TEXTS[0], 1).waveform
    assert not np.array_equal(said, before) and np.isfinite(said).all()
    optimize.save(made, tmp_path / "variant")
    answer = ask({"folder": tmp_path / "variant", "threads": 1}, TEXTS[0])
    assert np.array_equal(answer.samples, said) and answer.fingerprint == made.fingerprint()
    assert "torch" not in answer.imported
    assert np.array_equal(pair(name)[1].synthesize(TEXTS[0], 1).waveform, before)


def test_an_origin_is_rebuilt_and_any_vocoder_speaks(pair):
    ours = pair("fastspeech2")[1]
    assert optimize.rebuild(json.loads(json.dumps(ours.origin)), threads=1).cache_key() == ours.cache_key()
    through = ours.adjusted(vocoder="istft")
    assert {
        "vocoder.pitch",
        "vocoder.trunk",
    } <= through.graphs.keys() and through.vocoder.target == "onnxruntime/cpu"
    assert through.synthesize(TEXTS[0]).frames == ours.synthesize(TEXTS[0]).frames
    torchs = ours.adjusted(vocoder="istft", vocoder_target="torch/cpu")
    said, wanted = (voice.synthesize(TEXTS[0]).waveform for voice in (through, torchs))
    assert rms(wanted, said) < RMS and off(wanted, said) < LARGEST
    guessed = ours.adjusted(vocoder="griffin-lim")
    assert list(guessed.graphs) == ["encoder", "prosody", "decoder"] and not guessed.modules
    with pytest.raises(ParameterError, match="unknown speaker"):
        ours.adjusted(speaker="nobody")


@pytest.mark.slow
def test_the_published_size_says_the_noise_that_it_says_on_torch():
    theirs, ours = (systems.load("speecht5-base", target=t) for t in ("torch/cpu", "onnxruntime/cpu"))
    wanted, found = (system.synthesize("Oh, yes.", 1) for system in (theirs, ours))
    assert len(wanted.waveform) == len(found.waveform) and wanted.notes == found.notes
    assert np.abs(wanted.waveform - found.waveform).max() < 1e-3
    assert ours.params_m == pytest.approx(theirs.params_m, rel=0.01) and ours.size_kind == "estimated"
    assert list(wanted.seconds) == list(found.seconds) and ours.size_mb == pytest.approx(
        theirs.size_mb, rel=0.02
    )
