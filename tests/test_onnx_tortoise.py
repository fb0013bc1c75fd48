"""`tortoise` says on ONNX Runtime what it says on torch: stage by stage, by every sampler, from the same seed, without
torch; its students too.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from acoustic_checks import FASTSPEECH2, Tone, as_after_training, says_frames
from fresh_process import ask

from lib import optimize, systems, zoo
from lib.errors import AudioError, ParameterError
from lib.graphs import session
from lib.systems import draws, fastspeech2, tortoise
from lib.systems.tortoise import network as networks
from lib.systems.tortoise import students
from lib.systems.tortoise.diffusion import SAMPLERS

TEXTS = ("Yes.", "The birch canoe slid on the smooth planks, and nobody saw it.")
STAGES = ["encoder", "prosody", "latents", "condition", "decoder"]
SMALL = tortoise.NetworkConfig(
    channels=32, heads=2, layers=1, end_layers=1, front=fastspeech2.NetworkConfig(**FASTSPEECH2)
)


def off(wanted: np.ndarray, found: np.ndarray) -> float:
    """The largest difference, as a share of the largest value."""
    assert wanted.shape == found.shape and np.abs(wanted).max() > 0
    return float(np.abs(wanted - found).max() / np.abs(wanted).max())


@pytest.fixture(scope="module")
def pair():
    """(on torch, on ONNX Runtime), one thread each."""
    return tuple(systems.load("tortoise", target=t, threads=1) for t in ("torch/cpu", "onnxruntime/cpu"))


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """No layer left at zero, as after training, and no heads that hear all distances alike."""
    for module in network.modules():
        if isinstance(module, networks.Attention):
            torch.nn.init.normal_(module.proj_out.weight, std=0.1)
            torch.nn.init.normal_(module.relative_pos_embeddings.relative_attention_bias.weight)
    return network


def stored(folder, config: tortoise.NetworkConfig = SMALL, frames: float = 5.0) -> str:
    """The folder of a small network with random weights that says about so many frames per symbol."""
    network = awake(tortoise.build(config, 2, seed=2))
    as_after_training(network.front)
    says_frames(network.front, frames)
    network.front.mel_mean.normal_()
    network.front.mel_deviation.uniform_(0.5, 2)
    return tortoise.checkpoints.save(folder, config, ("hibari", "vits-joe"), network.state_dict(), "")


@pytest.mark.parametrize("seed", [0, 1, 123_456_789])
def test_numpy_draws_the_normal_numbers_that_torch_draws(seed):
    generator, draw = torch.Generator().manual_seed(seed), draws.Normal(seed)
    for shape in ((1, 80, 1), (3, 7), (16,), (1, 80, 131)):  # whole sixteens, and not; one after the other
        wanted, found = torch.randn(shape, generator=generator).numpy(), draw(shape)
        assert found.dtype == np.float32 and np.abs(wanted - found).max() < 2e-6
    assert abs(found.mean()) < 0.05 and found.std() == pytest.approx(1, abs=0.05)
    with pytest.raises(ParameterError, match="15 normal numbers: draw at least 16"):
        draw((3, 5))


@pytest.mark.parametrize(("text", "speaker"), itertools.product(TEXTS, ("vits-joe", "hibari")))
@torch.inference_mode()
def test_every_stage_says_what_it_says_on_torch(text, speaker, pair):
    theirs, ours = (voice.adjusted(speaker=speaker, vocoder="griffin-lim") for voice in pair)
    assert list(ours.graphs) == STAGES and not ours.modules
    decoder, (wanted, number) = theirs.modules["decoder"], theirs.said(text)
    (said, mean, deviation), frames, over = ours.said(ours._known(text))
    assert off(wanted[0].numpy(), said) < 1e-4 and sum(frames) == len(said) and over == 0
    front = theirs.modules["front"]
    assert np.array_equal(front.mel_mean, mean) and np.array_equal(front.mel_deviation, deviation)
    condition = decoder.condition(wanted, number, len(said))
    given = {"said": said, "speaker": number.numpy()}
    found, without = ours.sessions["condition"].run(None, given)
    assert off(condition[0].numpy(), found) < 1e-4
    x = np.random.default_rng(len(text)).normal(size=(80, len(said))).astype(np.float32)
    for t in (3999, 1234, 0):
        place = torch.from_numpy(x)[None], torch.tensor([t])
        for on, handed in ((condition, found), (None, without)):
            asked = {"x": x, "timestep": np.array([t]), "condition": handed}
            (answer,) = ours.sessions["decoder"].run(None, asked)
            assert off(decoder.denoise(*place, on)[0].numpy(), answer) < 1e-4


def test_the_same_samples_are_said_from_the_same_seed(pair):
    theirs, ours = pair
    for seed, text in enumerate(TEXTS):
        one, other = theirs.synthesize(text, seed), ours.synthesize(text, seed)
        assert (one.phones, one.frames, one.notes, one.nfe) == (other.phones, other.frames, other.notes, other.nfe)
        assert list(one.seconds) == list(other.seconds) and other.nfe == 8
        assert off(one.waveform, other.waveform) < 5e-3  # a pulse that moves by a rounding
    assert ours.settings() == theirs.settings()
    assert np.array_equal(ours.synthesize(TEXTS[0], 1).waveform, ours.synthesize(TEXTS[0], 1).waveform)
    assert not np.array_equal(ours.synthesize(TEXTS[0], 1).waveform, ours.synthesize(TEXTS[0], 2).waveform)
    # What nobody hears has no graph: the mel that the front end would make, and the one guessed from the condition.
    front = theirs.modules["front"].network
    unheard = (front.speech_decoder_postnet, theirs.modules["decoder"].mel_head)
    millions = sum(p.numel() for part in unheard for p in part.parameters()) / 1e6
    assert ours.params_m == pytest.approx(theirs.params_m - millions, rel=0.01)


SETTINGS = [
    *(dict(sampler=name, steps=5, temperature=1.0) for name in SAMPLERS),
    dict(sampler="ddim", steps=4, eta=0.7, guidance=1.5),
    dict(sampler="ddpm", steps=6, guidance=1.0, ramp=False, bound=2.0, spacing="published"),
    dict(steps=3, timesteps=[3999, 2000, 500]),
    dict(steps=6, spacing="log-snr", temperature=0.7, speaker="hibari"),
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(str(value) for value in s.values()))
@torch.inference_mode()
def test_every_setting_leads_to_the_same_mel(settings, pair):
    theirs, ours = (voice.adjusted(vocoder="griffin-lim", **settings) for voice in pair)
    assert theirs.settings() == ours.settings() != pair[1].settings()
    given, number = theirs.said(TEXTS[0])
    wanted = tortoise.denoised(theirs.modules["decoder"], theirs.config, given, number, theirs.sampling, seed=4)
    (said, _, _), _, _ = ours.said(ours._known(TEXTS[0]))
    found = ours.denoised(said, seed=4)
    assert off(wanted.x0.numpy(), found.x0) < 1e-3 and found.nfe == wanted.nfe and found.x0.dtype == np.float32
    assert found.nfe == settings["steps"] * (2 if settings.get("guidance") else 1)


def test_settings_are_changed_as_on_torch(pair):
    ours = pair[1]
    manner = dict(speaker="hibari", steps=2, vocoder="istft", variant="quick")
    one, other = (voice.adjusted(**manner).synthesize(TEXTS[0], 1) for voice in pair)
    assert one.frames == other.frames and off(one.waveform, other.waveform) < 1e-2 and other.nfe == 2
    quick = ours.derive("quick", steps=2)
    assert quick.fingerprint() != ours.fingerprint() and quick.weights_key() == ours.weights_key()
    assert optimize.rebuild(quick.origin, threads=1).cache_key() == quick.cache_key()
    assert ours.sampling.steps == 8
    with pytest.raises(ParameterError, match="unknown sampler 'ddmp'"):
        ours.adjusted(sampler="ddmp")
    with pytest.raises(ParameterError, match="unknown setting of tortoise 'step': did you mean 'steps'"):
        ours.adjusted(step=3)


def test_a_fresh_process_says_the_same_without_torch():
    ours = systems.load("tortoise", target="onnxruntime/cpu")
    answer = ask({"name": "tortoise", "target": "onnxruntime/cpu"}, TEXTS[0])
    assert not {"torch", "onnx", "transformers"} & set(answer.imported)
    assert np.array_equal(answer.samples, ours.synthesize(TEXTS[0], 1).waveform)
    assert answer.fingerprint == ours.fingerprint()


@pytest.mark.parametrize("name", ["distilled-1", pytest.param("distilled-4", marks=pytest.mark.slow)])
def test_a_student_is_exported_saved_and_loaded_without_torch(name, pair, tmp_path):
    wanted, made = (optimize.make(voice, "distilled", variant=name, student=name) for voice in pair)
    assert made.settings() == wanted.settings() and list(made.graphs)[:5] == STAGES
    one, other = wanted.synthesize(TEXTS[1], 1), made.synthesize(TEXTS[1], 1)
    assert other.nfe == one.nfe == int(name[-1]) and off(one.waveform, other.waveform) < 5e-3
    optimize.save(made, tmp_path / name)
    answer = ask({"folder": tmp_path / name, "threads": 1}, TEXTS[1])
    assert np.array_equal(answer.samples, other.waveform) and answer.fingerprint == made.fingerprint()
    assert "torch" not in answer.imported
    with pytest.raises(ParameterError, match="the student distilled-1 knows it up to 0 only"):
        optimize.make(pair[1], "distilled", variant="other", student="distilled-1", guidance=1.0)


@pytest.mark.parametrize(("folded", "interval"), [(True, False), (False, True), (True, True)])
def test_a_student_is_told_more_as_on_torch(folded, interval, tmp_path):
    base = stored(tmp_path / "base")
    teacher = tortoise.checkpoints.load(base)[2].decoder
    learnt = networks.student(teacher, folded=folded, interval=interval)
    learnt.integrating_conv.weight.data *= 0.9
    for part in ("guidance_embed", "until_embed"):  # which it does not heed before it has learnt
        if hasattr(learnt, part):
            torch.nn.init.normal_(getattr(learnt, part)[2].weight, std=0.3)
    about = students.Student("halving", 3, 2.0, (0.5, 0.5), "", students.key(base), folded, interval)
    folder = str(students.save(tmp_path / "student", about, learnt.state_dict(), ""))
    mels, evaluations = [], []
    for kind in (tortoise.Tortoise, tortoise.TortoiseOnnx):
        voice = kind(base, vocoder=Tone(), threads=1)
        voice.origin = {"system": "tortoise", "target": voice.target, "checkpoint": str(base), "settings": {}}
        guidance = 1.5 if folded else 0.0
        made = optimize.make(voice, "distilled", variant="told", student=folder, guidance=guidance)
        evaluations += [made.synthesize("No.", 3).nfe]
        voice.adjusted(**dataclasses.asdict(made.sampling)).synthesize("No.", 3)
        told, untold = made.vocoder.mels[-2:]  # copies of one vocoder keep their mels together
        assert off(told, untold) > 1e-2
        mels.append(told)
    assert off(*mels) < 1e-3 and evaluations == [3, 3]


@pytest.mark.parametrize(
    "sizes",
    [
        {"layers": 2, "heads": 4, "integrator_layers": 2, "latent_layers": 2},
        {"latent_layers": 0, "end_layers": 0, "prediction": "epsilon", "schedule": "linear", "schedule_steps": 100},
    ],
)
def test_any_tortoise_is_exported(sizes, tmp_path):
    folder = stored(tmp_path / "a", dataclasses.replace(SMALL, **sizes))
    theirs, ours = (
        kind(folder, vocoder=Tone(), threads=1, steps=3, guidance=1.0, temperature=1.0)
        for kind in (tortoise.Tortoise, tortoise.TortoiseOnnx)
    )
    for text in TEXTS:
        one, other = theirs.synthesize(text, 3), ours.synthesize(text, 3)
        assert one.frames == other.frames and one.nfe == other.nfe == 6
        assert off(theirs.vocoder.mels[-1], ours.vocoder.mels[-1]) < 1e-3


def test_a_graph_is_the_same_bytes_each_time_and_of_any_length():
    from lib.systems.tortoise import export

    decoder = awake(networks.build(SMALL.decoder(2, 32))).eval()
    made = export.of_decoder(decoder)
    assert made == export.of_decoder(decoder)
    step = session.open(made["decoder"], 1)
    for length in (1, 2, 64, 300):  # beyond 64 frames all distances are alike
        x, condition = torch.randn(1, 80, length), torch.randn(1, 32, length)
        with torch.inference_mode():
            wanted = decoder.denoise(x, torch.tensor([70]), condition)[0].numpy()
        asked = {"x": x[0].numpy(), "timestep": np.array([70]), "condition": condition[0].numpy()}
        assert off(wanted, step.run(None, asked)[0]) < 1e-4


def test_wild_durations_are_cut_and_nothing_to_say_is_refused(tmp_path):
    wild, mute = (stored(tmp_path / str(frames), frames=frames) for frames in (300.0, 0.0))
    theirs, ours = (
        kind(wild, vocoder=Tone(), threads=1, steps=1) for kind in (tortoise.Tortoise, tortoise.TortoiseOnnx)
    )
    one, other = theirs.synthesize("No."), ours.synthesize("No.")
    assert sum(other.frames) == 16 * len(other.phones) + 86 and one.frames == other.frames
    assert one.notes == other.notes and "the length guard cut" in other.notes[0]
    with pytest.raises(AudioError, match="the network wants .* frames .* is not trained, or its weights are broken"):
        tortoise.TortoiseOnnx(mute, vocoder=Tone(), threads=1, steps=1).synthesize("No.")


def test_the_zoos_checkpoint_is_what_is_loaded(pair):
    assert pair[1].folder == pair[0].folder == zoo.folder("tortoise") and math.isfinite(pair[1].size_mb)
    assert pair[1].size_mb == pair[0].size_mb
