"""TorToiSe: the published decoder key by key, a frozen front end, learning, sampling, the length guard, exact
resume.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from acoustic_checks import (
    FASTSPEECH2,
    Tone,
    as_before_about,
    nothing_to_say_and_strangers_are_refused,
    of_config,
    one_voice,
    publish,
    says_frames,
    three_and_three_steps_equal_six,
    wrong_folders_are_named,
)

from lib.corpora.base import Corpus
from lib.errors import AudioError, MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN
from lib.systems import fastspeech2, tortoise
from lib.systems.fastspeech2 import network as fastspeech2_network
from lib.systems.tortoise import Tortoise, denoised, diffusion, guarded
from lib.systems.tortoise.network import Attention, DecoderConfig, DiffusionDecoder, RelativeBias, build, clock
from lib.training import recipe, tasks
from lib.training.loop import train
from lib.training.tasks import acoustic_data
from lib.training.tasks.acoustic import MODULE
from lib.training.tasks.tortoise import AcousticConfig, AcousticTask, losses, spread

FRONT = fastspeech2_network.NetworkConfig(**FASTSPEECH2)
SMALL = AcousticConfig(channels=32, heads=2, layers=1, warm_up=1, segment=48)


def published() -> dict[str, tuple[int, ...]]:
    """Names and shapes of TorToiSe's diffusion_decoder.pth, as its published sources define them: 359 tensors,
    292,334,380.
    """
    table: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        table[f"{name}.weight"], table[f"{name}.bias"] = shape, shape[:1]

    def attention(name: str, width: int) -> None:
        layer(f"{name}.norm", width)
        layer(f"{name}.qkv", 3 * width, width, 1)
        layer(f"{name}.proj_out", width, width, 1)
        table[f"{name}.relative_pos_embeddings.relative_attention_bias.weight"] = (32, 16)

    def residual(name: str) -> None:
        layer(f"{name}.in_layers.0", 1024)
        layer(f"{name}.in_layers.2", 1024, 1024, 1)
        layer(f"{name}.emb_layers.1", 2048, 1024)
        layer(f"{name}.out_layers.0", 1024)
        layer(f"{name}.out_layers.3", 1024, 1024, 3)

    table["unconditioned_embedding"] = (1, 1024, 1)
    table["code_embedding.weight"] = (8193, 1024)
    layer("inp_block", 1024, 100, 3)
    layer("time_embed.0", 1024, 1024)
    layer("time_embed.2", 1024, 1024)
    layer("code_norm", 1024)
    layer("latent_conditioner.0", 1024, 1024, 3)
    layer("contextual_embedder.0", 1024, 100, 3)
    layer("contextual_embedder.1", 2048, 1024, 3)
    layer("integrating_conv", 1024, 2048, 1)
    layer("mel_head", 100, 1024, 3)
    layer("out.0", 1024)
    layer("out.2", 200, 1024, 3)
    for index in range(3):
        attention(f"code_converter.{index}", 1024)
        residual(f"conditioning_timestep_integrator.{index}.resblk")
        attention(f"conditioning_timestep_integrator.{index}.attn", 1024)
    for index in (1, 2, 3, 4):
        attention(f"latent_conditioner.{index}", 1024)
    for index in (2, 3, 4, 5, 6):
        attention(f"contextual_embedder.{index}", 2048)
    for index in range(10):
        residual(f"layers.{index}.resblk")
        attention(f"layers.{index}.attn", 1024)
    for index in (10, 11, 12):
        residual(f"layers.{index}")
    return table


def test_the_defaults_are_the_published_checkpoint_key_by_key():
    with torch.device("meta"):
        network = build(DecoderConfig())
    found = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert found == published() and len(found) == 359
    assert sum(math.prod(shape) for shape in found.values()) == 292_334_380


@pytest.mark.slow
def test_the_published_size_denoises_a_few_frames_in_a_few_steps():
    network = build(DecoderConfig()).eval()
    with torch.inference_mode():
        voice = network.voice(torch.randn(1, 2, 100, 40))
        condition = network.condition(
            torch.randn(1, 6, 1024), voice, 26
        )  # 4 frames of 22.05 kHz are 4.35 of 24 kHz
        rough = network.rough(condition)
        how = dataclasses.replace(diffusion.PUBLISHED, steps=3)
        found = diffusion.sample(
            diffusion.Schedule(),
            "epsilon",
            lambda x, t: network.denoise(x, t, condition),
            torch.randn(1, 100, 26),
            how,
            unconditional=network.denoise,
        )
    assert voice.shape == (1, 2048) and condition.shape == (1, 1024, 26) and rough.shape == (1, 100, 26)
    assert found.x0.shape == (1, 100, 26) and found.nfe == 6 and found.x0.abs().max() <= 1


def awake(network: torch.nn.Module, scale: float = 0.1, seed: int = 0) -> torch.nn.Module:
    """No layer left at zero, as after training: attention begins silent, and what is behind it gets no gradient."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, Attention):
            torch.nn.init.normal_(module.proj_out.weight, std=scale, generator=generator)
    return network


def test_the_bias_knows_direction_and_merges_far_distances():
    bias = RelativeBias(2)
    torch.nn.init.normal_(bias.relative_attention_bias.weight)
    table, found = bias.relative_attention_bias.weight, bias(120)[0]  # (heads, queries, keys)
    assert found.shape == (2, 120, 120)
    for query, key, bucket in (
        (0, 0, 0),
        (9, 2, 7),
        (50, 42, 8),
        (2, 9, 16 + 7),
        (100, 36, 15),
        (119, 0, 15),
        (0, 119, 31),
        (60, 44, 8 + 2),
        (44, 60, 24 + 2),
    ):
        assert torch.equal(found[:, query, key], table[bucket])
    assert torch.equal(bias(40)[0], found[:, :40, :40])


def test_attention_is_that_of_the_formula():
    layer = awake(Attention(24, 3), 0.5)
    torch.nn.init.normal_(layer.qkv.bias)
    x = torch.randn(2, 24, 11)
    with torch.no_grad():
        qkv = torch.nn.functional.conv1d(layer.norm(x), layer.qkv.weight, layer.qkv.bias)
        expected = []
        for head in range(3):
            query, key, value = qkv[:, 24 * head : 24 * (head + 1)].split(8, 1)  # (B, 8, F) each
            bias = layer.relative_pos_embeddings(11)[0, head] * math.sqrt(8)
            scores = (torch.einsum("bct,bcs->bts", query, key) / math.sqrt(8) + bias).softmax(-1)
            expected.append(torch.einsum("bts,bcs->bct", scores, value))
        expected = x + torch.nn.functional.conv1d(
            torch.cat(expected, 1), layer.proj_out.weight, layer.proj_out.bias
        )
        assert torch.allclose(layer(x), expected, atol=1e-5)


def test_the_clock_turns_at_frequencies_from_1_to_1e_4():
    angles = clock(torch.tensor([0, 3]), 8)
    assert torch.equal(angles[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    expected = [f(3 * 10_000 ** (-i / 4)) for f in (math.cos, math.sin) for i in range(4)]
    assert angles[1].tolist() == pytest.approx(expected, abs=1e-6)


def small(**changes) -> DecoderConfig:
    return dataclasses.replace(
        DecoderConfig(
            20, 20, 32, 2, 1, 1, 24, 1, code_count=9, code_layers=1, context_layers=1, integrator_layers=1
        ),
        **changes,
    )


def test_codes_latents_and_voices_condition_and_dropping_hides_them():
    network = awake(build(small())).eval()
    x, t, clips = torch.randn(2, 20, 16), torch.tensor([3, 3000]), torch.randn(2, 3, 20, 12)
    with torch.inference_mode():
        voice = network.voice(clips)
        assert voice.shape == (2, 64) and torch.allclose(voice, network.voice(clips.flip(1)), atol=1e-5)
        by_codes = network.condition(torch.randint(0, 9, (2, 4)), voice, 16)
        by_latents = network.condition(torch.randn(2, 4, 24), voice, 16)
        for condition in (by_codes, by_latents):
            assert condition.shape == (2, 32, 16)
            assert torch.equal(condition[..., 0::4], condition[..., 3::4])  # each is said for four frames
        assert (
            network.condition(torch.zeros(2, 4, 24), voice, 16)
            - network.condition(torch.zeros(2, 4, 24), -voice, 16)
        ).any()
        said = torch.randn(2, 4, 24)
        both, rough = network(x, t, said, voice, torch.tensor([True, False]))
        alone = network.denoise(x, t)
        given = network.denoise(x, t, network.condition(said, voice, 16))
    assert torch.allclose(both[0], alone[0], atol=1e-5) and torch.allclose(both[1], given[1], atol=1e-5)
    assert (given - alone).abs().max() > 1e-2 and rough.shape == x.shape


def test_every_parameter_of_the_decoder_is_reached():
    network = awake(build(small(code_count=0, context_layers=0, speakers=2))).train()
    dropped = torch.tensor([True, False])
    said, voices = torch.randn(2, 30, 24), torch.tensor([0, 1])
    prediction, rough = network(torch.randn(2, 20, 30), torch.tensor([5, 900]), said, voices, dropped)
    (prediction.square().mean() + rough.square().mean()).backward()
    # A key's bias adds the same to all scores of a query, which softmax does not see: it is a third of
    # qkv.bias, not all of it.
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.fixture(scope="module")
def speech() -> Corpus:
    return one_voice()


def front_network(frames: float = 5.0, speakers: int = 2) -> torch.nn.Module:
    """A front end with random weights that says about `frames` frames per symbol."""
    return says_frames(fastspeech2_network.build(FRONT, speakers, seed=1).eval(), frames)


@pytest.fixture(scope="module")
def front(speech, tmp_path_factory) -> str:
    """The folder of a random front end that knows both voices and the corpus's statistics."""
    network, known = (front_network(), acoustic_data.statistics(acoustic_data.examples(speech, "train")))
    for name in ("mel_mean", "mel_deviation"):
        getattr(network, name).copy_(torch.from_numpy(getattr(known, name)))
    folder = tmp_path_factory.mktemp("front")
    fastspeech2.checkpoints.save(folder, FRONT, ("hibari", "vits-joe"), network.state_dict(), "")
    return str(folder)


@pytest.fixture(scope="module")
def config(front) -> AcousticConfig:
    return dataclasses.replace(SMALL, front=front)


@pytest.fixture(scope="module")
def task(speech, config) -> AcousticTask:
    return AcousticTask(speech, config)


def batch_of(task: AcousticTask, *indices: int):
    rng = np.random.default_rng(0)
    return task.collate([task.item(i, rng) for i in indices])


def test_a_batch_is_cut_to_windows_of_one_length(task):
    batch = batch_of(task, 0, 1, 2)
    given = batch.tensors
    assert given["mel"].shape == (3, 80, 48) and batch.frames == 3 * 48
    assert task.speakers == ("hibari", "vits-joe") and given["speakers"].tolist() == [1, 1, 1]
    for row, index in enumerate((0, 1, 2)):
        start = given["starts"][row].item()
        whole = (task.examples[index].mel() - task.statistics.mel_mean) / task.statistics.mel_deviation
        assert 0 <= start <= len(whole) - 48
        assert np.allclose(given["mel"][row].T, whole[start : start + 48], atol=1e-5)
    uncut = dataclasses.replace(task.config, segment=0)
    shortest = min(task.lengths[:3])
    other = AcousticTask.__new__(AcousticTask)
    other.__dict__ |= task.__dict__ | {"config": uncut}
    assert batch_of(other, 0, 1, 2).tensors["mel"].shape == (3, 80, shortest)
    rng = np.random.default_rng(0)
    assert len({task.item(0, rng)[2] for _ in range(3)}) == 3  # each time another window


def test_a_window_sees_the_latents_of_its_own_frames(task):
    network = awake(task.plain[MODULE]).eval()
    given = task._cut([(task.examples[0], task.examples[0].mel(), 0.0)], task.examples[0].n_frames).tensors
    seen = []
    hook = network.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[2]))
    names = ("ids", "speakers", "frames", "pitch", "energy")
    with torch.inference_mode():
        network(*(given[n] for n in names), torch.tensor([0]), given["mel"], torch.tensor([9]), None)
        network(*(given[n] for n in names), torch.tensor([7]), given["mel"][..., 7:27], torch.tensor([9]), None)
    hook.remove()
    assert seen[0].shape == (1, task.examples[0].n_frames, 32) and torch.equal(seen[1], seen[0][:, 7:27])


def test_the_decoder_learns_and_the_front_end_stays(speech, config, tmp_path):
    task = AcousticTask(speech, dataclasses.replace(config, learning_rate=1e-2, segment=0, unconditioned=0.0))
    before = {name: value.clone() for name, value in task.plain[MODULE].front.state_dict().items()}
    first = task.validate(0).scalars
    settings = recipe.Settings(30, batch_size=4, validate_every=0, clip_norm=1.0, log_every=5)
    outcome = train(task, recipe.Recipe("tortoise", settings), tmp_path)
    assert outcome.losses["denoise"] < 0.7 * first["denoise"] and outcome.losses["rough"] < 0.5 * first["rough"]
    after = task.plain[MODULE].train().front
    assert all(torch.equal(value, before[name]) for name, value in after.state_dict().items())
    assert not any(module.training for module in after.modules()) and task.plain[MODULE].decoder.training


def test_gradients_reach_the_decoder_and_not_the_front_end(speech, config):
    task = AcousticTask(speech, dataclasses.replace(config, unconditioned=0.5))
    network = awake(task.plain[MODULE]).train()
    torch.manual_seed(3)  # some of the four lose their condition, some keep it
    (update,) = task.updates(batch_of(task, 0, 1, 2, 3), 0)
    update.loss.backward()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without and all(name.startswith("front.") for name in without)
    assert update.optimizers == (MODULE,) and update.scalars.keys() == {"denoise", "rough"}
    trained = {id(p) for group in task.optimizers[MODULE].param_groups for p in group["params"]}
    assert trained == {id(p) for p in network.decoder.parameters()}


def test_bf16_computes_nearly_the_same_loss(task):
    awake(task.plain[MODULE])
    batch, found = batch_of(task, 0, 1), []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            (update,) = task.updates(batch, 0)
        assert update.loss.dtype == torch.float32
        found.append(update.loss.item())
    assert found[1] == pytest.approx(found[0], rel=0.03)


def test_three_and_three_steps_equal_six_bit_for_bit(speech, config, tmp_path):
    config = dataclasses.replace(config, dropout=0.1)
    three_and_three_steps_equal_six("tortoise", AcousticTask, speech, config, tmp_path)


def test_a_validation_is_the_same_each_time_and_lets_one_hear(task):
    task.plain[MODULE].eval()
    with torch.no_grad():
        first, second = task.validate(0), task.validate(1)
    assert (
        first.scalars == second.scalars
        and first.scalars.keys() == {"denoise", "rough"}
        and task.watch in first.scalars
    )
    assert len(first.figures) == len(first.audio) == 1
    ((waveform, rate),) = first.audio.values()
    assert rate == HIFIGAN.sample_rate and len(waveform) == task.validation[0].n_frames * HIFIGAN.hop


def test_timesteps_are_spread_over_the_whole_schedule():
    assert spread(4, 4000, 0.0).tolist() == [0, 1000, 2000, 3000] and spread(4, 4000, 0.999).tolist() == [
        999,
        1999,
        2999,
        3999,
    ]
    assert spread(1, 4000, 0.99999999).tolist() == [3999]


def test_the_loss_is_zero_for_a_network_that_knows_everything(config):
    mel, noise, timesteps = torch.randn(2, 80, 9), torch.randn(2, 80, 9), torch.tensor([10, 2500])
    alpha, sigma = config.noise.signal_noise(timesteps, mel)
    found = losses(config, mel, timesteps, noise, lambda x: ((alpha * x - mel) / sigma, mel))  # v of x and x0
    assert found["denoise"].item() < 1e-6 and found["rough"] == 0
    wrong = losses(config, mel, timesteps, noise, lambda x: (torch.zeros_like(x), torch.zeros_like(x)))
    assert wrong["denoise"].item() == pytest.approx((alpha * noise - sigma * mel).square().mean().item())


@pytest.fixture(scope="module")
def folder(config, front, tmp_path_factory):
    network = awake(tortoise.build(config.network(FRONT), 2, seed=2))
    sizes, speakers, trained = fastspeech2.checkpoints.load(front)
    network.front.load_state_dict(trained.state_dict())
    return tortoise.checkpoints.save(
        tmp_path_factory.mktemp("tortoise"), config.network(sizes), speakers, network.state_dict(), "# A card"
    )


def test_a_saved_system_speaks_the_same_again(folder):
    voice = Tortoise(folder, steps=3, guidance=0.0, threads=1)
    first, second = (voice.synthesize("A bird sang.", seed=3) for _ in range(2))
    assert np.array_equal(first.waveform, second.waveform) and first.notes == ()
    anew = Tortoise(folder, steps=3, guidance=0.0, threads=1).synthesize("A bird sang.", 3)
    assert np.array_equal(first.waveform, anew.waveform)
    assert not np.array_equal(first.waveform, voice.synthesize("A bird sang.", seed=4).waveform)
    assert list(first.seconds) == ["phonemes", "acoustic_model", "decoder", "vocoder"]
    assert sum(first.frames) * HIFIGAN.hop == len(first.waveform) and len(first.phones) == len(first.frames)
    assert voice.card == "# A card" and voice.variant == "griffin-lim" and voice.speaker == "hibari"
    assert voice.modules.keys() == {"front", "decoder"} and 0 < voice.params_m < 1

    tone = Tone()
    mels = tone.mels
    vocoded = Tortoise(folder, vocoder=tone, steps=3, guidance=0.0, threads=1)
    assert vocoded.synthesize("A bird sang.", 3).audio_s == first.audio_s and vocoded.variant == "baseline"
    assert mels[0].shape == (sum(first.frames), 80) and np.isfinite(mels[0]).all()


def test_settings_change_the_sampling_and_the_identity(folder):
    voice = Tortoise(folder, steps=4, guidance=1.0, threads=1)
    assert voice.synthesize("A bird sang.").nfe == 8 and voice.sampling.sampler == "dpm++"
    other = voice.adjusted(guidance=0.0, sampler="ddim", steps=2, speaker="vits-joe", variant="fast")
    assert (other.sampling.sampler, other.speaker, other.variant) == ("ddim", "vits-joe", "fast")
    assert other.synthesize("A bird sang.").nfe == 2
    assert (
        voice.synthesize("A bird sang.").nfe == 8
        and other.weights_key() == voice.weights_key()
        and other.fingerprint() != voice.fingerprint()
    )
    with pytest.raises(ParameterError, match="unknown setting of tortoise 'step': did you mean 'steps'"):
        voice.adjusted(step=3)
    with pytest.raises(ParameterError, match="unknown sampler 'ddmp'"):
        Tortoise(folder, sampler="ddmp")
    nothing_to_say_and_strangers_are_refused(voice)


def test_guidance_0_is_the_conditional_model_and_guidance_moves_the_mel(folder):
    config, _, network = tortoise.checkpoints.load(folder)
    said, speaker = torch.randn(1, 30, 32), torch.tensor([1])
    how = diffusion.Sampling("ddim", 4)
    calls = []
    hook = network.decoder.inp_block.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        without = denoised(network.decoder, config, said, speaker, how, seed=0)
        assert len(calls) == without.nfe == 4
        condition = network.decoder.condition(said, speaker, 30)
        noise = torch.randn((1, 80, 30), generator=torch.Generator().manual_seed(0))
        alone = diffusion.sample(
            config.noise, "v", lambda x, t: network.decoder.denoise(x, t, condition), noise, how
        )
        calls.clear()
        guided = denoised(
            network.decoder, config, said, speaker, dataclasses.replace(how, guidance=2.0), seed=0
        )
        assert len(calls) == guided.nfe == 8
    hook.remove()
    assert torch.equal(without.x0, alone.x0) and (guided.x0 - without.x0).abs().max() > 1e-3


@pytest.mark.parametrize("sampler", diffusion.SAMPLERS)
def test_every_sampler_speaks_and_draws_from_the_seed(folder, sampler):
    config, _, network = tortoise.checkpoints.load(folder)
    said, speaker, how = (
        torch.randn(1, 12, 32),
        torch.tensor([0]),
        diffusion.Sampling(sampler, 5, guidance=0.5),
    )
    with torch.inference_mode():
        first, again, other = (
            denoised(network.decoder, config, said, speaker, how, seed).x0 for seed in (1, 1, 2)
        )
    assert first.isfinite().all() and torch.equal(first, again) and (first - other).abs().max() > 0.1


def test_wild_durations_are_cut_and_the_speech_says_so(folder, caplog):
    voice = Tortoise(folder, steps=1, guidance=0.0, threads=1, vocoder=Tone())
    calm = voice.synthesize("No.")
    assert calm.notes == () and calm.audio_s < 2
    last = voice.modules["front"].network.duration_predictor.linear
    torch.nn.init.constant_(last.bias, 20.0)
    speech = voice.synthesize("No.")
    limit = 16 * len(speech.phones) + 86
    assert sum(speech.frames) == limit and len(speech.waveform) == limit * 256
    asked = len(speech.phones) * 129
    assert speech.notes == (
        f"its durations are too long: the length guard cut {(asked - limit) * 256 / 22050:.1f} s off after "
        f"{limit * 256 / 22050:.1f} s",
    )
    assert "the length guard cut" in caplog.text
    for bias in (-5.0, math.nan):
        torch.nn.init.constant_(last.bias, bias)
        with pytest.raises(AudioError, match="is not trained, or its weights are broken"):
            voice.synthesize("No.")


def test_the_guard_leaves_what_is_within_it():
    frames = torch.tensor([[3, 0, 100, 2]])
    assert torch.equal(guarded(frames)[0], frames) and guarded(frames)[1] == 0
    cut, over = guarded(torch.tensor([[129, 129, 10]]))
    assert cut.tolist() == [[129, 5, 0]] and over == 134


def test_a_wrong_folder_is_named(folder, front, tmp_path):
    with pytest.raises(MissingDataError, match="holds no tortoise: config.json is missing"):
        Tortoise(tmp_path)
    wrong_folders_are_named("tortoise", tortoise.checkpoints.load, folder, {"prediction": "epsilon"}, tmp_path)
    with pytest.raises(TrainingError, match="holds a fastspeech2, not a tortoise"):
        Tortoise(front)


def test_a_run_is_published_with_its_averaged_weights(speech, config, tmp_path):
    task = AcousticTask(speech, config)
    made = publish("tortoise", task, config, tmp_path)
    chosen, outcome, network, average = made.recipe, made.outcome, made.network, made.average
    assert made.config == config.network(FRONT) and made.speakers == ("hibari", "vits-joe")
    assert made.config.front == FRONT
    assert torch.allclose(network.decoder.mel_head.weight, average["decoder.mel_head.weight"], atol=1e-3)
    assert torch.equal(network.front.mel_mean, task.plain[MODULE].front.mel_mean)
    strange = of_config("tortoise", config, chosen.training, voices=["someone"])
    path = as_before_about(outcome.checkpoint, strange, tmp_path / "strange")
    with pytest.raises(TrainingError, match="knows hibari, vits-joe, not someone"):
        tasks.export(strange, path, tmp_path / "voice", "card")
    deeper = of_config("tortoise", dataclasses.replace(config, layers=2), chosen.training, voices=["vits-joe"])
    path = as_before_about(outcome.checkpoint, deeper, tmp_path / "deeper")
    with pytest.raises(TrainingError, match="of another network than lib.systems.tortoise makes now"):
        tasks.export(deeper, path, tmp_path / "voice", "card")


def test_a_short_clip_is_as_often_in_much_noise_as_a_long_one(speech, task, monkeypatch):
    """The items of a batch come sorted by length, the timesteps spread from the cleanest to the noisiest."""
    batch = task.collate([task.item(i, np.random.default_rng(i)) for i in range(4)])
    drawn = []
    monkeypatch.setattr(
        "lib.training.tasks.tortoise.losses",
        lambda config, mel, timesteps, noise, answer: (
            drawn.append(timesteps) or dict.fromkeys(("denoise", "rough"), 0)
        ),
    )
    torch.manual_seed(0)
    for step in range(40):
        next(task.updates(batch, step))
    timesteps = torch.stack(drawn)  # (steps, B)
    quarters = timesteps * 4 // task.config.schedule_steps
    assert (quarters.sort(1).values == torch.arange(4)).all()  # still spread evenly over each batch
    assert all(set(column.tolist()) == {0, 1, 2, 3} for column in quarters.T)


def test_training_goes_on_from_a_saved_decoder(speech, task, config, folder, tmp_path):
    going_on = AcousticTask(speech, dataclasses.replace(config, start_from=str(folder)))
    stored = tortoise.checkpoints.load(folder)[2].state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in going_on.plain[MODULE].state_dict().items())
    kept = {f.name for f in dataclasses.fields(going_on.statistics)} - {"speakers"}
    assert len(kept) == 6
    for name in kept:
        assert np.array_equal(getattr(going_on.statistics, name), stored[f"front.{name}"].numpy())
    with pytest.raises(TrainingError, match="has other sizes or speakers"):
        AcousticTask(speech, dataclasses.replace(config, channels=24, start_from=str(folder)))


def test_a_front_end_that_does_not_know_the_voice_is_named(speech, config):
    strange = Corpus("odd", "", "", tuple(dataclasses.replace(u, speaker="someone") for u in speech.utterances))
    with pytest.raises(MissingDataError, match="does not know someone of corpus odd, only hibari, vits-joe"):
        AcousticTask(strange, config)


@pytest.mark.parametrize("profile", ["smoke", "quick", "study", "full"])
def test_recipes_fit_the_task_and_the_zoo(profile):
    chosen = recipe.find(profile, "tortoise")
    model = recipe.parse(AcousticConfig, chosen.model, "model")
    with torch.device("meta"):
        decoder = DiffusionDecoder(model.decoder(2, 128))
    millions = sum(p.numel() for p in decoder.parameters()) / 1e6
    low, high = {"smoke": (0, 0.2), "quick": (2.9, 3.1), "study": (2.9, 3.1), "full": (170, 190)}[profile]
    assert low < millions < high and "tortoise" in tasks.names()


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"channels": 30, "heads": 4},
            "channels is 30, it must be at least 8 and a multiple of 4 and of model.heads, 4",
        ),
        ({"layers": 0}, "model.layers is 0, it must be at least 1"),
        ({"schedule": "linaer"}, "unknown noise schedule 'linaer': did you mean 'linear'"),
        ({"schedule_steps": 4}, "4 steps is too coarse"),
        ({"prediction": "x"}, "unknown prediction 'x'"),
        ({"unconditioned": 1.0}, "unconditioned is 1.0, it must lie between 0 and 0.9"),
        ({"warm_up": 0}, "both count steps"),
        ({"chanels": 3}, "did you mean 'channels'"),
    ],
)
def test_a_bad_configuration_has_one_clear_error(values, message):
    with pytest.raises(ParameterError, match=message):
        recipe.parse(AcousticConfig, values, "model")


def test_a_decoder_that_makes_no_sense_is_refused():
    with pytest.raises(ParameterError, match="out_channels is 30: give model.in_channels, 20"):
        small(out_channels=30)
    with pytest.raises(ParameterError, match="either from a table or from clips"):
        small(speakers=2)
