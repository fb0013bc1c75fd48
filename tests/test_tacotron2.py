"""Tacotron 2: published names and shapes, one reading whether forced or free, exact guidance, bounded speech,
exact resume.
"""

from __future__ import annotations

import dataclasses
import logging
import math

import numpy as np
import pytest
import torch
from acoustic_checks import (
    Tone,
    as_after_training,
    batch_of,
    nothing_to_say_and_strangers_are_refused,
    one_sentence,
    publish,
    three_and_three_steps_equal_six,
    two_voices,
    unreached,
    wrong_folders_are_named,
)

from lib.corpora.base import Corpus
from lib.errors import AudioError, MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN
from lib.systems import symbols, tacotron2
from lib.systems.attention import failures
from lib.systems.padding import normalised
from lib.systems.symbols import vocabulary_size
from lib.systems.tacotron2.decoder import steps_allowed, steps_needed
from lib.systems.tacotron2.network import NetworkConfig, Prediction, build
from lib.training import checkpoint, recipe, tasks
from lib.training.loop import train
from lib.training.tasks import acoustic as acoustic_task
from lib.training.tasks.stepwise import attention_loss, true_alignment
from lib.training.tasks.tacotron2 import MODULE, AcousticConfig, AcousticTask, losses, predict

SMALL = AcousticConfig(
    embedding=32,
    encoder_layers=1,
    prenet=24,
    attention_rnn=40,
    attention=16,
    location_filters=4,
    location_kernel=7,
    decoder_rnn=36,
    postnet=32,
    postnet_layers=2,
    frames_per_step=2,
    encoder_dropout=0.0,
    prenet_dropout=0.0,
    rnn_dropout=0.0,
    postnet_dropout=0.0,
    warm_up=1,
)
ALLOWED = 86 + 10 * 12  # frames of 12 symbols

# What NVIDIA's public implementation stores, without its BatchNorm statistics and repeated layers (added in
# `published`).
PUBLISHED = {
    "embedding.weight": (148, 512),
    "encoder.lstm.weight_ih_l0": (1024, 512),
    "encoder.lstm.weight_hh_l0": (1024, 256),
    "encoder.lstm.bias_ih_l0": (1024,),
    "encoder.lstm.bias_hh_l0": (1024,),
    "encoder.lstm.weight_ih_l0_reverse": (1024, 512),
    "encoder.lstm.weight_hh_l0_reverse": (1024, 256),
    "encoder.lstm.bias_ih_l0_reverse": (1024,),
    "encoder.lstm.bias_hh_l0_reverse": (1024,),
    "decoder.prenet.layers.0.linear_layer.weight": (256, 80),
    "decoder.prenet.layers.1.linear_layer.weight": (256, 256),
    "decoder.attention_rnn.weight_ih": (4096, 768),
    "decoder.attention_rnn.weight_hh": (4096, 1024),
    "decoder.attention_rnn.bias_ih": (4096,),
    "decoder.attention_rnn.bias_hh": (4096,),
    "decoder.attention_layer.query_layer.linear_layer.weight": (128, 1024),
    "decoder.attention_layer.memory_layer.linear_layer.weight": (128, 512),
    "decoder.attention_layer.v.linear_layer.weight": (1, 128),
    "decoder.attention_layer.location_layer.location_conv.conv.weight": (32, 2, 31),
    "decoder.attention_layer.location_layer.location_dense.linear_layer.weight": (128, 32),
    "decoder.decoder_rnn.weight_ih": (4096, 1536),
    "decoder.decoder_rnn.weight_hh": (4096, 1024),
    "decoder.decoder_rnn.bias_ih": (4096,),
    "decoder.decoder_rnn.bias_hh": (4096,),
    "decoder.linear_projection.linear_layer.weight": (80, 1536),
    "decoder.linear_projection.linear_layer.bias": (80,),
    "decoder.gate_layer.linear_layer.weight": (1, 1536),
    "decoder.gate_layer.linear_layer.bias": (1,),
}
PUBLISHED_CONVOLUTIONS = {
    **{f"encoder.convolutions.{i}": (512, 512, 5) for i in range(3)},
    **{f"postnet.convolutions.{i}": (512, 512, 5) for i in (1, 2, 3)},
    "postnet.convolutions.0": (512, 80, 5),
    "postnet.convolutions.4": (80, 512, 5),
}


def published() -> dict[str, tuple[int, ...]]:
    """Every name of the published state dict with its shape."""
    table = dict(PUBLISHED)
    for name, shape in PUBLISHED_CONVOLUTIONS.items():
        table |= {
            f"{name}.0.conv.weight": shape,
            f"{name}.0.conv.bias": shape[:1],
            f"{name}.1.num_batches_tracked": (),
        }
        table |= {f"{name}.1.{part}": shape[:1] for part in ("weight", "bias", "running_mean", "running_var")}
    return table


@pytest.fixture(scope="module")
def speech() -> Corpus:
    return two_voices()


@pytest.fixture(scope="module")
def task(speech) -> AcousticTask:
    return AcousticTask(speech, SMALL)


def wild(config: NetworkConfig = SMALL.network, speakers: int = 2) -> torch.nn.Module:
    """A network in use with random weights, larger than at the beginning of a training, so that all depends on all."""
    network = build(config, speakers, seed=1).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(2)
    return as_after_training(network)


def gate(network: torch.nn.Module, bias: float) -> torch.nn.Module:
    """The same with a gate that opens at once (a large bias) or never."""
    torch.nn.init.zeros_(network.network.decoder.gate_layer.linear_layer.weight)
    torch.nn.init.constant_(network.network.decoder.gate_layer.linear_layer.bias, bias)
    return network


def test_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        network = build(NetworkConfig(), 1, n_symbols=148).network
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == published()
    assert sum(p.numel() for p in network.parameters()) == 28_193_153
    assert len(published()) == 84


def test_more_voices_and_frames_per_step_change_the_layout_only_there():
    with torch.device("meta"):
        network = build(NetworkConfig(frames_per_step=3), 2).network
    shapes, table = ({name: tuple(value.shape) for name, value in network.state_dict().items()}, published())
    assert shapes.pop("speaker_embedding.weight") == (2, 512)
    assert {name: shape for name, shape in shapes.items() if shape != table[name]} == {
        "embedding.weight": (vocabulary_size(), 512),
        "decoder.prenet.layers.0.linear_layer.weight": (256, 240),
        "decoder.linear_projection.linear_layer.weight": (240, 1536),
        "decoder.linear_projection.linear_layer.bias": (240,),
    }


def test_forced_with_its_own_frames_it_says_what_it_says_unaided():
    """Two paths of code, one for training and one for use; with single precision they agree to 1e-5."""
    network, batch, speaker = wild(), batch_of(12), torch.tensor([1])
    with torch.inference_mode():
        memory, _ = network.network.encode(batch, speaker)
        rough, alignment, stopped = network.network.decoder.read(memory, 0, threshold=0.999)
        forced = network(batch, speaker, rough, torch.ones(1, rough.shape[1]))
        free = network.read(batch, speaker, 0, threshold=0.999)
    assert not stopped and rough.shape == (1, ALLOWED, 80) and rough[0].std(0).mean() > 0.01
    assert (forced.rough - rough).abs().max() < 1e-5 and (forced.alignment - alignment).abs().max() < 1e-5
    assert (forced.mel[0] - free.log_mel).abs().max() < 1e-5
    assert alignment.sum(-1).allclose(torch.tensor(1.0)) and alignment[0].std(0).max() > 0.01


def test_the_loop_computes_the_published_equations():
    """One step after another through torch's own cells and the layers as they are named, without anything
    precomputed; and what that says of every weight's gradient holds for the loop's, too."""
    network, batch = wild(), batch_of(9)
    mel = torch.randn(1, 12, 80, generator=torch.Generator().manual_seed(2))
    decoder, layer = network.network.decoder, network.network.decoder.attention_layer
    found = network(batch, torch.tensor([0]), mel, torch.ones(1, 12))
    memory, _ = network.network.encode(batch, torch.tensor([0]))
    hidden = cell = torch.zeros(1, 40)
    second = second_cell = torch.zeros(1, 36)
    context, weights, total, frame = (
        torch.zeros(1, 32),
        torch.zeros(1, 9),
        torch.zeros(1, 9),
        torch.zeros(1, 160),
    )
    expected = []
    for step in range(6):
        heard = decoder.prenet.layers[1](decoder.prenet.layers[0](frame).relu()).relu()
        hidden, cell = decoder.attention_rnn(torch.cat([heard, context], 1), (hidden, cell))
        location = layer.location_layer.location_conv.conv(torch.stack([weights, total], 1)).transpose(1, 2)
        energy = layer.v(
            torch.tanh(
                layer.query_layer(hidden)[:, None]
                + layer.memory_layer(memory)
                + layer.location_layer.location_dense(location)
            )
        )[..., 0]
        weights = energy.softmax(1)
        total = total + weights
        context = (weights[..., None] * memory).sum(1)
        second, second_cell = decoder.decoder_rnn(torch.cat([hidden, context], 1), (second, second_cell))
        said = decoder.linear_projection(torch.cat([second, context], 1)).reshape(2, 80)
        expected.append(said)
        assert torch.allclose(found.rough[0, 2 * step : 2 * step + 2], said, atol=1e-5)
        assert torch.allclose(found.alignment[:, step], weights, atol=1e-5)
        assert torch.allclose(
            found.stop[:, step], decoder.gate_layer(torch.cat([second, context], 1))[:, 0], atol=1e-5
        )
        frame = mel[:, 2 * step : 2 * step + 2].reshape(1, 160)
    weights = [p for name, p in network.named_parameters() if "decoder" in name and "gate" not in name]
    for ours, theirs in zip(
        torch.autograd.grad(found.rough.square().sum(), weights),
        torch.autograd.grad(torch.cat(expected).square().sum(), weights),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_padding_in_a_batch_changes_nothing():
    network, lengths = (
        wild(dataclasses.replace(SMALL, encoder_layers=2, postnet_layers=3).network),
        ((9, 14), (21, 40), (15, 26)),
    )
    sentences = [batch_of(n, seed=n)[0] for n, _ in lengths]
    mels = [torch.randn(frames, 80, generator=torch.Generator().manual_seed(frames)) for _, frames in lengths]
    padded, mel = (torch.nn.utils.rnn.pad_sequence(parts, batch_first=True) for parts in (sentences, mels))
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(frames) for _, frames in lengths], batch_first=True)
    speakers = torch.tensor([1, 0, 1])
    with torch.inference_mode():
        together = network(padded, speakers, mel, mask)
        for row, (n, frames) in enumerate(lengths):
            alone = network(
                sentences[row][None], speakers[row : row + 1], mels[row][None], torch.ones(1, frames)
            )
            assert (together.mel[row, :frames] - alone.mel[0]).abs().max() < 1e-5
            assert (together.alignment[row, : frames // 2, :n] - alone.alignment[0]).abs().max() < 1e-5
            assert not together.alignment[row, :, n:].any()


def test_batch_statistics_count_real_frames_alone():
    norm, real = (torch.nn.BatchNorm1d(3, momentum=1.0), torch.tensor([[True] * 5, [True] * 2 + [False] * 3]))
    channels = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    found = normalised(norm, channels, real)
    frames = channels.transpose(1, 2)[real]
    assert torch.allclose(norm.running_mean, frames.mean(0)) and torch.allclose(norm.running_var, frames.var(0))
    assert found.transpose(1, 2)[real].mean(0).abs().max() < 1e-6 and not found.transpose(1, 2)[~real].any()


def test_the_seed_draws_the_prenets_dropout():
    network = gate(wild(dataclasses.replace(SMALL, prenet_dropout=0.5).network), -9.0)
    batch, speaker = batch_of(12), torch.tensor([0])
    with torch.inference_mode():
        first, again, other = (network.read(batch, speaker, seed).log_mel for seed in (3, 3, 4))
    assert torch.equal(first, again) and (first - other).abs().max() > 1e-3


def test_the_length_guard_bounds_what_does_not_stop_and_the_gate_ends_what_does():
    assert [steps_allowed(n, r) for n, r in ((1, 1), (12, 1), (12, 2), (12, 4))] == [96, 206, 103, 52]
    speaker = torch.tensor([0])
    with torch.inference_mode():
        endless = gate(wild(), -9.0).read(batch_of(12), speaker, 0)
        short = gate(wild(), 9.0).read(batch_of(12), speaker, 0)
    assert (
        endless.log_mel.shape == (ALLOWED, 80)
        and endless.alignment.shape == (ALLOWED // 2, 12)
        and not endless.stopped
    )
    assert short.log_mel.shape == (12, 80) and short.stopped  # a frame for each symbol has to be said
    assert [steps_needed(n, r) for n, r in ((1, 1), (12, 1), (13, 2), (3, 3))] == [4, 12, 7, 2]


def test_speakers_differ():
    network, batch = gate(wild(), -9.0), batch_of(12)
    with torch.inference_mode():
        first, second = (network.read(batch, torch.tensor([speaker]), 0).log_mel for speaker in (0, 1))
    assert (first - second).abs().max() > 1e-2


def test_the_true_alignment_shares_steps_between_their_symbols():
    frames = torch.tensor([[2, 0, 3, 2], [1, 1, 0, 0]])
    assert true_alignment(frames, 4, 2).tolist() == [
        [
            [1, 0, 0, 0],
            [0, 0, 1, 0],
            [0, 0, 0.5, 0.5],
            [0, 0, 0, 1],
        ],  # the last step's only frame counts in full
        [[0.5, 0.5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ]
    assert torch.equal(true_alignment(frames, 7, 1)[0].sum(0), frames[0].float())


def test_guided_attention_is_the_cross_entropy_to_the_truth():
    truth = torch.tensor([[[1, 0, 0], [0, 0.5, 0.5], [0, 0, 0]]])
    alignment = torch.tensor([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [1.0, 0, 0]]])
    assert attention_loss(alignment, truth).item() == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert attention_loss(truth, truth).item() == pytest.approx(
        math.log(2) / 2
    )  # half the entropy of the shared step
    config = AcousticConfig(attention_weight=2.0, attention_half_life=100)
    assert [config.guidance(step) for step in (0, 100, 300)] == [2.0, 1.0, 0.25]
    assert dataclasses.replace(config, attention_half_life=0).guidance(10**6) == 2.0


def test_batches_end_in_whole_steps(task):
    odd = next(i for i, e in enumerate(task.examples) if e.n_frames % 2)
    batch = task.collate([task.item(i, None) for i in range(len(task.examples))])
    given, e = batch.tensors, task.examples[odd]
    assert (
        given["mel"].shape[1] % 2 == 0
        and batch.frames == sum(task.lengths)
        and given["mask"][odd].sum() == e.n_frames + 1
    )
    assert torch.equal(given["mel"][odd, e.n_frames], given["mel"][odd, e.n_frames - 1])
    assert not given["mel"][odd, e.n_frames + 1 :].any()
    real = torch.cat([given["mel"][row, : x.n_frames] for row, x in enumerate(task.examples)])
    assert real.mean(0).abs().max() < 1e-3 and (real.std(0) - 1).abs().max() < 1e-2


def test_losses_of_a_known_answer(task):
    batch = task.collate([task.item(i, None) for i in (0, 3)])
    given = batch.tensors
    n_steps = given["mel"].shape[1] // 2
    truth = true_alignment(given["frames"], n_steps, 2)
    uniform = (given["ids"] != 0).float()
    uniform = (uniform / uniform.sum(1, keepdim=True))[:, None].expand(-1, n_steps, -1)
    steps = given["mask"][:, ::2]
    found = losses(
        Prediction(given["mel"] - 3, given["mel"] + 2, torch.zeros_like(steps), uniform), batch, stop_weight=5.0
    )
    expected = sum(steps[row].sum() * math.log((given["ids"][row] != 0).sum()) for row in (0, 1)) / steps.sum()
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {
            "mel": 2,
            "mel_squared": 4,
            "rough": 3,
            "rough_squared": 9,
            "attention": expected.item(),
            "stop": math.log(2) * (1 + 4 * 2 / steps.sum().item()),
        },
        rel=1e-4,
    )
    assert torch.equal(truth.sum(-1), steps)


def test_gradients_reach_every_parameter(task):
    assert unreached(task, 4) == []


def test_one_utterance_is_learned_by_heart(speech, tmp_path):
    task = AcousticTask(
        one_sentence(speech), dataclasses.replace(SMALL, learning_rate=5e-3, absolute_weight=1.0)
    )
    batch = task.collate([task.item(0, None)])
    with torch.inference_mode():
        before = {
            name: value.item() for name, value in losses(predict(task.plain[MODULE], batch), batch).items()
        }
    settings = recipe.Settings(40, batch_size=1, validate_every=0, clip_norm=1.0)
    outcome = train(task, recipe.Recipe("tacotron2", settings), tmp_path)
    assert outcome.losses["mel"] < 0.5 * before["mel"] and outcome.losses["rough"] < 0.85 * before["rough"]
    assert (
        outcome.losses["attention"] < 0.7 * before["attention"]
        and outcome.losses["stop"] < 0.5 * before["stop"]
    )


def test_three_and_three_steps_equal_six_bit_for_bit(speech, tmp_path):
    config = dataclasses.replace(
        SMALL, encoder_dropout=0.1, prenet_dropout=0.5, rnn_dropout=0.1, postnet_dropout=0.1
    )
    outcome = three_and_three_steps_equal_six("tacotron2", AcousticTask, speech, config, tmp_path)
    assert {
        "mel",
        "rough",
        "stop",
        "attention",
        "skips",
        "repeats",
        "no_stop",
        "failed",
    } <= outcome.validation.keys()
    assert outcome.rates["frames_per_s"] > 0


def test_half_precision_trains_and_stays_near(speech, task, tmp_path):
    """Under bfloat16 autocast the loss differs by less than 2 %, every gradient is finite, and the weights stay
    fp32.
    """
    network, batch = (task.plain[MODULE].train(), task.collate([task.item(i, None) for i in range(3)]))

    def run(enabled: bool) -> tuple[float, list[torch.Tensor]]:
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            prediction = predict(network, batch)
        found = sum(losses(type(prediction)(*(x.float() for x in prediction)), batch).values())
        return found.item(), torch.autograd.grad(found, list(network.parameters()))

    full, half = run(False), run(True)
    assert half[0] == pytest.approx(full[0], rel=0.02)
    assert all(torch.isfinite(g).all() for g in half[1]) and all(
        p.dtype == torch.float32 for p in network.parameters()
    )
    settings = recipe.Settings(2, batch_size=2, precision="bf16", validate_every=0, clip_norm=1.0)
    outcome = train(AcousticTask(speech, SMALL), recipe.Recipe("tacotron2", settings), tmp_path)
    assert outcome.step == 2 and all(math.isfinite(value) for value in outcome.losses.values())


def test_a_validation_counts_failures_and_hears_each_voice(task):
    task.plain[MODULE].eval()
    with torch.no_grad():
        first, second = task.validate(0), task.validate(0)
    assert len(first.figures) == len(first.audio) == 2 and first.scalars == second.scalars
    assert first.scalars["failed"] == 1 and first.scalars["skips"] >= 2  # untrained, it reads nothing


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path, network = (
        tmp_path_factory.mktemp("tacotron2"),
        wild(dataclasses.replace(SMALL, prenet_dropout=0.5).network),
    )
    config = dataclasses.replace(SMALL, prenet_dropout=0.5).network
    network.mel_mean.fill_(-6.0)
    return tacotron2.checkpoints.save(
        path, config, ("hibari", "vits-joe"), gate(network, -9.0).state_dict(), "# A card"
    )


def test_a_saved_network_speaks_the_same_twice_and_says_that_it_was_cut(folder, caplog):
    voice = tacotron2.Tacotron2(folder, threads=1)
    with caplog.at_level(logging.WARNING):
        first, second = (
            v.synthesize("A bird sang.", seed=3) for v in (voice, tacotron2.Tacotron2(folder, threads=1))
        )
    assert (
        np.array_equal(first.waveform, second.waveform)
        and voice.variant == "griffin-lim"
        and voice.card == "# A card"
    )
    assert list(first.seconds) == ["phonemes", "acoustic_model", "vocoder"] and first.phones == symbols.of(
        "A bird sang."
    )
    assert not np.array_equal(first.waveform, voice.synthesize("A bird sang.", seed=4).waveform)
    assert len(first.waveform) == steps_allowed(len(first.phones), 2) * 2 * HIFIGAN.hop
    assert (
        "did not stop by itself: the length guard cut it" in first.notes
        and "the length guard cut it" in caplog.text
    )
    (reading,) = voice.read("A bird sang.", seed=3)
    assert not reading.failures.stopped and reading.alignment.shape == (
        steps_allowed(len(first.phones), 2),
        len(first.phones),
    )
    other = voice.adjusted(speaker="vits-joe")
    assert (
        not np.array_equal(other.read("A bird sang.", 3)[0].log_mel, reading.log_mel)
        and voice.speaker == "hibari"
    )
    assert (
        other.weights_key() == voice.weights_key()
        and other.fingerprint() != voice.fingerprint()
        and 0 < voice.params_m < 1
    )
    assert any(note.startswith("sentence 2: did not stop") for note in voice.synthesize("One. Two.").notes)

    tone = Tone()
    mels = tone.mels
    vocoded = tacotron2.Tacotron2(folder, vocoder=tone, threads=1)
    assert vocoded.synthesize("A bird sang.", 3).audio_s == first.audio_s and vocoded.variant == "baseline"
    assert np.array_equal(mels[0], reading.log_mel)


@pytest.mark.parametrize(
    "text", ["Go!", "No no no no no no no no no.", "On 3 May 1999, 1,234,567 people paid $9.50."]
)
def test_short_repeated_and_numeric_texts_end(folder, text):
    speech = tacotron2.Tacotron2(folder, vocoder=Tone(), threads=1).synthesize(text)
    assert 0 < speech.audio_s <= (86 + 10 * len(speech.phones) + 1) * HIFIGAN.hop / HIFIGAN.sample_rate


def test_what_cannot_be_spoken_is_refused(folder):
    nothing_to_say_and_strangers_are_refused(tacotron2.Tacotron2(folder, threads=1))


def test_broken_weights_are_refused():
    network = wild()
    torch.nn.init.constant_(network.network.decoder.linear_projection.linear_layer.bias, math.nan)
    with pytest.raises(AudioError, match="is not trained, or its weights are broken"):
        network.read(batch_of(12), torch.tensor([0]), 0)


def test_a_wrong_folder_is_named(folder, tmp_path):
    wrong_folders_are_named("tacotron2", tacotron2.checkpoints.load, folder, {"postnet_layers": 3}, tmp_path)


def test_a_run_is_published_with_its_averaged_weights(speech, tmp_path):
    made = publish("tacotron2", AcousticTask(speech, SMALL), SMALL, tmp_path)
    network, average = made.network, made.average
    assert made.config == SMALL.network and made.speakers == ("hibari", "vits-joe")
    assert torch.allclose(network.network.embedding.weight, average["network.embedding.weight"], atol=1e-3)
    assert torch.equal(network.mel_mean, average["mel_mean"]) and network.mel_mean.mean() < -3
    with pytest.raises(ParameterError, match="holds no checkpoint to publish"):
        checkpoint.newest(tmp_path / "nowhere")


def test_training_goes_on_from_own_and_from_published_weights(speech, folder, tmp_path):
    config = dataclasses.replace(SMALL, prenet_dropout=0.5)
    own = AcousticTask(speech, dataclasses.replace(config, start_from=str(folder)))
    saved = tacotron2.checkpoints.load(folder)[2].state_dict()
    assert all(torch.equal(value, saved[name]) for name, value in own.plain[MODULE].state_dict().items())
    assert (own.statistics.mel_mean == -6).all()
    with pytest.raises(TrainingError, match="has other sizes or speakers"):
        AcousticTask(speech, dataclasses.replace(config, prenet=16, start_from=str(folder)))

    theirs = build(config.network, 1, seed=5, n_symbols=148).network.state_dict()  # stored with DDP's prefix
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in theirs.items()}, "iteration": 3},
        tmp_path / "n.pt",
    )
    task = AcousticTask(speech, dataclasses.replace(config, start_from=str(tmp_path / "n.pt")))
    found = task.plain[MODULE].network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in theirs.items() if name != "embedding.weight")
    assert found["embedding.weight"].shape == (vocabulary_size(), 32)
    assert not task.plain[MODULE].mel_mean.any() and (task.plain[MODULE].mel_deviation == 1).all()
    mel = task.collate([task.item(0, None)]).tensors["mel"][0, : task.lengths[0]]
    assert np.array_equal(mel.numpy(), task.examples[0].mel())
    with pytest.raises(TrainingError, match="n.pt is not of the sizes of the recipe's `model`"):
        AcousticTask(speech, dataclasses.replace(config, prenet=16, start_from=str(tmp_path / "n.pt")))
    with pytest.raises(MissingDataError, match="no published checkpoint at"):
        tacotron2.published(tmp_path / "none.pt")
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "other.pt")
    with pytest.raises(TrainingError, match="other.pt holds no Tacotron 2"):
        tacotron2.published(tmp_path / "other.pt")
    (tmp_path / "torn.pt").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="torn.pt cannot be read"):
        tacotron2.published(tmp_path / "torn.pt")


@pytest.mark.slow
def test_sentences_known_by_heart_are_read_unaided_without_failure(speech, tmp_path):
    """The study's network on a few short sentences: in 200 steps it finds its way through them, says them to the end
    and stops.
    """
    joe = sorted((u for u in speech.split("train") if u.speaker == "vits-joe"), key=lambda u: sum(u.frames))
    few = Corpus("few", "", "", (*joe[:2], *(u for u in speech.split("validation") if u.speaker == "vits-joe")))
    model = {**recipe.find("study", "tacotron2").model, "warm_up": 30}
    task = AcousticTask(few, recipe.parse(AcousticConfig, model, "model"))
    train(
        task,
        recipe.Recipe("tacotron2", recipe.Settings(200, batch_size=2, validate_every=0, clip_norm=1.0)),
        tmp_path,
    )
    network = task.plain[MODULE].eval()
    for e in task.examples:
        with torch.inference_mode():
            reading = network.read(torch.from_numpy(e.ids)[None], torch.tensor([0]), 0)
        assert not failures(reading.alignment.numpy(), stopped=reading.stopped)
        assert len(reading.log_mel) == pytest.approx(e.n_frames, rel=0.25)


def test_the_learning_rate_rises_then_halves():
    assert [acoustic_task.rate(step, 4, 10) for step in (0, 1, 3, 4, 14, 24)] == [
        0.25,
        0.5,
        1.0,
        1.0,
        0.5,
        0.25,
    ]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"embedding": 33}, "embedding is 33: the encoder reads half of it forward"),
        ({"location_kernel": 4}, "location_kernel is 4"),
        ({"postnet_layers": 0}, "postnet_layers is 0"),
        ({"frames_per_step": 0}, "frames_per_step is 0"),
        ({"prenet_dropout": 1.0}, "prenet_dropout is 1.0"),
        ({"half_life": 0}, "both count steps"),
        ({"attention_weight": -1.0}, "attention_weight is -1.0, it must not be negative"),
        ({"prenett": 3}, "did you mean 'prenet'"),
    ],
)
def test_a_bad_configuration_has_one_clear_error(values, message):
    with pytest.raises(ParameterError, match=message):
        recipe.parse(AcousticConfig, values, "model")


def test_recipes_of_all_profiles_are_for_this_task():
    assert "tacotron2" in tasks.names()
    sizes = {
        profile: recipe.parse(AcousticConfig, recipe.find(profile, "tacotron2").model, "model").network
        for profile in ("smoke", "quick", "study", "full")
    }
    assert sizes["full"] == NetworkConfig() and sizes["quick"] == sizes["study"]
