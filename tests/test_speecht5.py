"""SpeechT5: published size, transformers' own frames at its own speed or better, exact guidance, bounded
speech, exact resume.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
import statistics
import time
import warnings

import acoustic_checks
import numpy as np
import pytest
import torch
from acoustic_checks import (
    Tone,
    as_after_training,
    nothing_to_say_and_strangers_are_refused,
    publish,
    three_and_three_steps_equal_six,
    two_voices,
    unreached,
    wrong_folders_are_named,
)

from lib.corpora.base import Corpus
from lib.errors import AudioError, MissingDataError, ParameterError, TextError, TrainingError
from lib.features import HIFIGAN, SPEECHT5, log_mel
from lib.systems import speecht5, symbols
from lib.systems.speecht5.config import POSITIONS, PUBLISHED, NetworkConfig
from lib.systems.speecht5.decoding import decode, keep_masks, lay_out
from lib.systems.speecht5.limits import Limits
from lib.systems.speecht5.network import Prediction, build, take_over
from lib.training import recipe
from lib.training.loop import train
from lib.training.task import Batch
from lib.training.tasks.speecht5 import MODULE, AcousticConfig, AcousticTask, losses, predict, rescaled

SMALL = AcousticConfig(
    hidden=32,
    heads=4,
    encoder_layers=2,
    decoder_layers=2,
    feed_forward=64,
    prenet=24,
    postnet=16,
    postnet_layers=2,
    speaker=8,
    relative=10,
    guided=2,
    dropout=0.0,
    postnet_dropout=0.0,
    warm_up=1,
)


@pytest.fixture(scope="module")
def speech() -> Corpus:
    return two_voices()


@pytest.fixture(scope="module")
def task(speech) -> AcousticTask:
    return AcousticTask(speech, SMALL)


def network(config: NetworkConfig = SMALL.network, *, end: float = -20.0, seed: int = 1) -> torch.nn.Module:
    """A network in use with random weights, far from their first values; end: the stop's logit, -20 for never."""
    model = build(config, 2, seed).eval()
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.ndim == 1:  # norms and biases, which begin as ones and zeros
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
        model.network.speech_decoder_postnet.prob_out.weight.mul_(0.1)
        model.network.speech_decoder_postnet.prob_out.bias.fill_(end)
    return as_after_training(model)


batch_of = functools.partial(acoustic_checks.batch_of, ids=(2, 80))  # symbols of the published network, too


def dropping(model: torch.nn.Module, seed: int, monkeypatch) -> None:
    """Make transformers' prenet drop what ours drops for a seed: frame by frame, whatever the batch and the calls."""
    masks = keep_masks(model, 400, seed)  # (frames, layers, units)
    calls = iter(range(1_000_000))

    def chosen(hidden: torch.Tensor, p: float) -> torch.Tensor:
        return hidden * masks[: hidden.shape[1], next(calls) % model.config.prenet_layers]

    monkeypatch.setattr(model.network.speecht5.decoder.prenet, "_consistent_dropout", chosen)


def said(model: torch.nn.Module, ids: torch.Tensor, speaker: int = 1, **options) -> tuple[torch.Tensor, object]:
    """(mel (F, n_bands), what `decode` found)."""
    with torch.inference_mode():
        found = decode(model, model.encode(ids), torch.tensor([speaker]), **options)
        return model.log_mel(found.rough)[0], found


def test_the_published_size():
    with torch.device("meta"):
        model = build(PUBLISHED, 1)
    assert sum(p.numel() for p in model.network.parameters()) == 144_431_684
    assert PUBLISHED.features == SPEECHT5 and NetworkConfig().features == HIFIGAN


@pytest.mark.parametrize("bias", [-20.0, -1.1])
def test_frames_and_attention_are_those_that_transformers_generates(bias, monkeypatch):
    model, ids = network(end=bias), batch_of(21)
    dropping(model, 5, monkeypatch)
    mel, found = said(model, ids, seed=5, limits=Limits(shortest=1.0, longest=6.0, slack=0))
    with torch.inference_mode():
        theirs, attentions = model.network.generate_speech(
            ids, model.voices.weight[1:], minlenratio=1.0, maxlenratio=6.0, output_cross_attentions=True
        )
    assert mel.shape == theirs.shape and (mel - theirs).abs().max() < 1e-5 and theirs.std() > 0.1
    assert (attentions[:, :2].mean((0, 1)) - found.alignment).abs().max() < 1e-5
    assert (len(mel) == 126 and not found.stopped) if bias == -20 else (30 < len(mel) < 120 and found.stopped)


def test_the_layout_of_the_weights_changes_no_number():
    model, ids = network(dataclasses.replace(SMALL.network, feed_forward=96)), batch_of(12)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mel, _ = said(model, ids)
    lay_out(model)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert not model.network.speecht5.decoder.wrapped_decoder.layers[
        0
    ].feed_forward.intermediate_dense.weight.is_contiguous()
    assert (said(model, ids)[0] - mel).abs().max() < 1e-5


def test_quantized_layers_speak_by_the_same_code():
    model, ids = network(), batch_of(12)
    mel, _ = said(model, ids, limits=Limits(longest=2, slack=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch.ao about its successor
        int8 = torch.ao.quantization.quantize_dynamic(lay_out(model), {torch.nn.Linear}, dtype=torch.qint8)
    assert not any(type(module) is torch.nn.Linear for module in int8.modules())
    difference = (said(int8, ids, limits=Limits(longest=2, slack=0))[0] - mel).square().mean() / mel.var()
    assert 1e-9 < difference < 0.1


@pytest.mark.slow
@pytest.mark.alone
def test_generation_is_no_slower_than_transformers():
    config = NetworkConfig(
        hidden=192,
        heads=4,
        encoder_layers=4,
        decoder_layers=4,
        feed_forward=768,
        prenet=128,
        postnet=128,
        speaker=32,
        relative=40,
    )
    model, ratios = network(config), []
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # so that the clock of the process is that of the work, however busy the machine
    try:
        for n in (20, 30, 40, 50, 60) * 2:
            begin = time.process_time()
            said(model, batch_of(n), limits=Limits(longest=4, slack=0))
            middle = time.process_time()
            model.network.generate_speech(batch_of(n), model.voices.weight[1:].detach(), maxlenratio=4)
            ratios.append((time.process_time() - middle) / (middle - begin))
    finally:
        torch.set_num_threads(before)
    assert statistics.median(ratios) > 1.0


def test_teacher_forcing_is_what_is_said_step_by_step(monkeypatch):
    model, ids = network(), batch_of(17)
    _, found = said(model, ids, seed=3, limits=Limits(longest=4, slack=0))
    dropping(model, 3, monkeypatch)
    with torch.inference_mode():
        prediction = model(ids, torch.tensor([1]), found.rough, torch.ones(found.rough.shape[:2]))
        refined = model.log_mel(found.rough)
    assert (prediction.rough - found.rough).abs().max() < 1e-5 and (prediction.mel - refined).abs().max() < 1e-5
    assert (prediction.attention[0].mean(0) - found.alignment).abs().max() < 1e-5
    assert prediction.attention.shape == (1, 4, 34, 17)
    assert torch.allclose(prediction.attention.sum(-1), torch.ones(()), atol=1e-5)


def test_a_window_shows_each_step_what_lies_around_the_symbol_just_said(monkeypatch):
    behind, ahead, n = 2, 3, 17
    model, ids = (network(dataclasses.replace(SMALL.network, behind=behind, ahead=ahead)), batch_of(17))
    torch.nn.init.normal_(model.nearness)
    _, found = said(model, ids, seed=3, limits=Limits(longest=4, slack=0))
    reached = torch.cat([torch.zeros(1, dtype=torch.long), found.alignment[:-1].argmax(1)])[None]  # (1, S)
    dropping(model, 3, monkeypatch)
    with torch.inference_mode():
        prediction = model(ids, torch.tensor([1]), found.rough, torch.ones(found.rough.shape[:2]), reached)
    assert (prediction.rough - found.rough).abs().max() < 1e-5
    assert (prediction.attention[0].mean(0) - found.alignment).abs().max() < 1e-5
    offset = torch.arange(n) - reached[0, :, None]
    assert torch.equal(found.alignment > 0, (offset >= -behind) & (offset <= ahead))
    assert torch.allclose(found.alignment.sum(1), torch.ones(()), atol=1e-5)
    with pytest.raises(
        ParameterError, match="2 symbols back and 3 ahead: say which symbol each step has reached"
    ):
        model(ids, torch.tensor([1]), found.rough, torch.ones(found.rough.shape[:2]))


def test_who_has_a_window_does_not_stop_before_it_reached_the_end():
    ids, limits = batch_of(17), Limits(shortest=1, longest=4, slack=0)
    assert said(network(end=20), ids, limits=limits)[1].alignment.shape == (8, 17)
    found = said(network(dataclasses.replace(SMALL.network, ahead=2), end=20), ids, limits=limits)[1]
    focus = found.alignment.argmax(1)
    assert focus[-1] >= 14 if found.stopped else len(focus) == 34
    assert (focus[:-1] < 14).all()
    wide = said(network(dataclasses.replace(SMALL.network, ahead=16), end=20), ids, limits=limits)[1]
    assert wide.stopped and wide.alignment.shape == (8, 17)


def test_a_window_goes_on_where_nothing_tells_the_symbols_apart():
    ids = torch.full((1, 12), 7)  # one symbol over and over
    model = network(dataclasses.replace(SMALL.network, behind=1, ahead=3), end=20)
    model.network.speecht5.encoder.prenet.encode_positions.alpha.data.zero_()  # nor do their places
    torch.nn.init.zeros_(model.network.speecht5.encoder.wrapped_encoder.embed_positions.pe_k.weight)
    with torch.no_grad():
        model.nearness.copy_(torch.tensor([-30.0, 0.0, -30.0, -30.0, -30.0]))  # it looks at where it is
    patient, hasty = (
        said(model, ids, limits=Limits(longest=10, slack=0, linger=linger))[1] for linger in (1000, 8)
    )
    assert not patient.stopped and patient.alignment.argmax(1).max() == 0
    focus = hasty.alignment.argmax(1)
    assert hasty.stopped and focus.tolist() == [0] * 4 + list(
        range(1, 8)
    )  # around 8 the window reaches symbol 11


def test_a_step_lies_behind_the_symbol_of_the_frame_before_it(task):
    batch = task.collate([task.target(e) for e in task.examples])
    frames, reached = batch.tensors["frames"], batch.tensors["reached"]
    assert reached.shape == (len(frames), batch.tensors["mask"].shape[1] // 2)
    for row, example in enumerate(task.examples):
        of_frame = np.repeat(np.arange(len(example.frames)), example.frames)
        n_steps = -(-len(of_frame) // 2)
        assert reached[row, :n_steps].tolist() == of_frame[[0, *range(1, 2 * n_steps - 1, 2)]].tolist()
        assert (reached[row, n_steps:] == len(example.ids) - 1).all()


def test_in_training_the_window_lies_a_little_off(task):
    config = dataclasses.replace(SMALL, behind=1, ahead=2)
    model, seen = build(config.network, 2), []
    batch = task.collate([task.target(e) for e in task.examples])
    forward = model.forward
    model.forward = lambda *given: (seen.append(given[-1]), forward(*given))[1]
    torch.manual_seed(0)
    trained, used = predict(model.train(), batch), predict(model.eval(), batch)
    assert (
        torch.isfinite(trained.mel).all()
        and torch.isfinite(used.mel).all()
        and torch.equal(seen[1], batch.tensors["reached"])
    )
    moved = (seen[0] - seen[1]).flatten()
    assert (
        set(moved.tolist()) == {-1, 0, 1} and 0.1 < (moved != 0).float().mean() < 0.3 and (seen[0] >= 0).all()
    )


def test_padding_in_a_batch_changes_nothing(monkeypatch):
    model = network()
    dropping(model, 0, monkeypatch)
    texts, n_frames, mels = [batch_of(n, seed=n)[0] for n in (9, 21, 14)], (30, 62, 44), []
    mels = [torch.randn(n, 80, generator=torch.Generator().manual_seed(n)) for n in n_frames]
    pad = torch.nn.utils.rnn.pad_sequence
    speakers = torch.tensor([1, 0, 1])
    with torch.inference_mode():
        whole = model(
            pad(texts, batch_first=True),
            speakers,
            pad(mels, batch_first=True),
            pad([torch.ones(n) for n in n_frames], batch_first=True),
        )
        for row, (text, mel, n) in enumerate(zip(texts, mels, n_frames)):
            alone = model(text[None], speakers[row : row + 1], mel[None], torch.ones(1, n))
            assert (whole.mel[row, :n] - alone.mel[0]).abs().max() < 1e-4
            assert (whole.stop[row, :n] - alone.stop[0]).abs().max() < 1e-4
            assert (whole.attention[row, :, : n // 2, : len(text)] - alone.attention[0]).abs().max() < 1e-5
            assert not whole.attention[row, ..., len(text) :].any()


def test_the_seed_draws_the_prenets_dropout():
    model, ids = network(), batch_of(10)
    first, again, other = (said(model, ids, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and (first - other).abs().max() > 1e-3
    masks = keep_masks(model, 300, 1)
    assert set(masks.unique().tolist()) == {0.0, 2.0} and masks.mean() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(masks[:40], keep_masks(model, 40, 1))


def test_speakers_differ():
    model, ids = network(), batch_of(10)
    first, second = (said(model, ids, speaker)[0] for speaker in (0, 1))
    assert (first - second).abs().max() > 1e-2


def test_length_is_bounded_by_the_number_of_symbols():
    limits = Limits()
    assert (
        limits.steps(10, 2) == (7, 80)
        and limits.steps(1, 2) == (1, 26)
        and limits.steps(10**6, 2) == (POSITIONS, POSITIONS)
    )
    assert Limits(shortest=4, longest=4, slack=0).steps(7, 2) == (14, 14) and Limits(shortest=0).steps(
        3, 1
    ) == (1, 76)
    cut = said(network(end=-20), batch_of(10))[1]
    assert cut.rough.shape == (1, 160, 80) and cut.alignment.shape == (80, 10) and not cut.stopped
    ended = said(network(end=20), batch_of(10))[1]
    assert ended.rough.shape == (1, 14, 80) and ended.stopped
    for wrong in (
        {"shortest": 5, "longest": 4},
        {"threshold": 0},
        {"longest": math.inf},
        {"longest": math.nan},
        {"slack": -1},
    ):
        with pytest.raises(ParameterError, match="shortest must lie between"):
            Limits(**wrong)


def test_too_many_symbols_and_broken_weights_are_refused():
    with pytest.raises(TextError, match="a sentence of 4001 symbols is longer"):
        decode(network(), torch.zeros(1, POSITIONS + 1, 32), torch.tensor([0]))
    broken = network()
    torch.nn.init.constant_(broken.network.speech_decoder_postnet.feat_out.bias, math.nan)
    with pytest.raises(AudioError, match="its weights are broken"):
        said(broken, batch_of(5))


def test_losses_are_those_that_transformers_computes(task):
    from transformers.models.speecht5.modeling_speecht5 import SpeechT5SpectrogramLoss

    batch = task.collate([task.item(i, None) for i in range(3)])
    model = network()
    model.network.config.use_guided_attention_loss = False
    with torch.inference_mode():
        prediction = predict(model, batch)
        labels = batch.tensors["mel"].masked_fill(batch.tensors["mask"][..., None] == 0, -100.0)
        expected = SpeechT5SpectrogramLoss(model.network.config)(
            None, prediction.rough, prediction.mel, prediction.stop, labels
        )
    found = losses(prediction, batch)
    assert (found["mel"] + found["rough"] + found["stop"]).item() == pytest.approx(expected.item(), rel=1e-5)


def test_guidance_is_the_cross_entropy_of_each_guided_head():
    frames = torch.tensor([[2, 0, 4], [2, 2, 0]])  # symbols of two sentences; steps of two frames
    attention = torch.zeros(2, 2, 3, 3)
    attention[0, :, 0], attention[0, :, 1], attention[0, :, 2] = (
        torch.tensor(row) for row in ([0.5, 0.25, 0.25], [0.0, 0.0, 1.0], [0.25, 0.5, 0.25])
    )
    attention[1, 0] = torch.tensor(
        [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]]
    )  # the third step is padding
    attention[1, 1] = torch.tensor([[0.25, 0.75, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    mask = torch.tensor([[1.0] * 6, [1.0] * 4 + [0.0] * 2])
    batch = Batch((), 0, {"frames": frames, "mask": mask, "mel": torch.ones(2, 6, 80)})
    found = losses(
        Prediction(torch.zeros(2, 6, 80), torch.full((2, 6, 80), 0.5), torch.zeros(2, 6), attention), batch
    )
    first = 2 * (math.log(2) + 0 + math.log(4))  # both heads alike
    second = (0 + math.log(2)) + (math.log(4) + 0)
    assert found["attention"].item() == pytest.approx((first + second) / (2 * 3 + 2 * 2))
    assert found["rough"].item() == 1 and found["mel"].item() == 0.5
    assert found["stop"].item() == pytest.approx(
        (8 + 2 * 5) * math.log(2) / 10
    )  # the last frame of each counts five times
    config = AcousticConfig(attention_weight=2.0, attention_half_life=100)
    assert [config.guidance(step) for step in (0, 100, 300)] == [2.0, 1.0, 0.25]


def test_gradients_reach_every_parameter(task):
    # A key's bias adds the same to all scores of a query: softmax does not see it.
    assert [name for name in unreached(task, 4) if not name.endswith("k_proj.bias")] == []


def test_the_loss_falls(speech, tmp_path):
    task = AcousticTask(speech, dataclasses.replace(SMALL, learning_rate=5e-3))
    batch = task.collate([task.item(i, None) for i in range(5)])

    def now() -> dict[str, float]:
        torch.manual_seed(0)
        with torch.inference_mode():
            return {
                name: value.item()
                for name, value in losses(predict(task.plain[MODULE].train(), batch), batch).items()
            }

    before = now()
    train(
        task,
        recipe.Recipe("speecht5", recipe.Settings(40, batch_size=5, validate_every=0, clip_norm=1.0)),
        tmp_path,
    )
    after = now()
    assert (
        after["mel"] < 0.8 * before["mel"]
        and after["rough"] < 0.8 * before["rough"]
        and after["stop"] < before["stop"]
    )
    assert after["attention"] < before["attention"] - 0.3


def test_three_and_three_steps_equal_six_bit_for_bit(speech, tmp_path):
    config = dataclasses.replace(SMALL, dropout=0.1, postnet_dropout=0.1)
    outcome = three_and_three_steps_equal_six("speecht5", AcousticTask, speech, config, tmp_path)
    assert {
        "mel",
        "rough",
        "stop",
        "attention",
        "skips",
        "repeats",
        "no_stop",
        "failed",
    } == outcome.validation.keys()


def test_half_precision_trains_and_stays_near(speech, tmp_path):
    def run(precision: str) -> float:
        settings = recipe.Settings(2, batch_size=5, validate_every=0, precision=precision, log_every=1)
        return train(
            AcousticTask(speech, SMALL), recipe.Recipe("speecht5", settings), tmp_path / precision
        ).losses["mel"]

    assert run("bf16") == pytest.approx(run("fp32"), rel=0.03)


def test_a_validation_counts_failures_and_hears_each_voice(task):
    model = task.plain[MODULE].eval()
    with torch.no_grad():
        validation = task.validate(0)
        again = task.validate(0)
    model.train()
    assert validation.scalars == again.scalars and len(validation.figures) == len(validation.audio) == 2
    assert validation.scalars["failed"] == 1  # it knows nothing yet
    assert all(rate == 22_050 for _, rate in validation.audio.values())


def test_the_published_mel_is_trained_on_in_its_own_frames(speech):
    task = AcousticTask(speech, dataclasses.replace(SMALL, mel="speecht5"))
    e, mel = task.item(0, None)
    clip = speech.split("train")[0].load(16_000)
    assert np.array_equal(mel, log_mel(clip, SPEECHT5)) and e.n_frames == len(mel) == len(clip) // 256 + 1
    batch = task.collate([(e, mel)])
    assert np.array_equal(batch.tensors["mel"][0, : len(mel)].numpy(), mel)  # as it is, not standardised
    (update,) = task.updates(batch, 0)
    assert torch.isfinite(update.loss) and not task.plain[MODULE].mel_mean.any()
    assert abs(task.lengths[0] - len(mel)) <= 2
    assert rescaled(np.array([3, 0, 5]), 0.5, 5).tolist() == [2, 0, 3] and rescaled(
        np.array([2, 9]), 1.0, 10
    ).tolist() == [2, 8]


def test_a_published_network_is_taken_over_all_but_its_symbols(tmp_path):
    published = build(dataclasses.replace(SMALL.network, vocabulary=81), 1, seed=9).network
    published.save_pretrained(tmp_path)
    model = build(SMALL.network, 2)
    table = model.network.speecht5.encoder.prenet.embed_tokens.weight.clone()
    take_over(model, str(tmp_path))
    weights, symbols_ = model.network.state_dict(), "speecht5.encoder.prenet.embed_tokens.weight"
    assert torch.equal(weights.pop(symbols_), table) and table.shape == (151, 32)
    assert all(torch.equal(value, published.state_dict()[name]) for name, value in weights.items())
    with pytest.raises(ParameterError, match="has other sizes than the recipe's model: .*feed_forward"):
        take_over(build(dataclasses.replace(SMALL.network, feed_forward=48), 2), str(tmp_path))
    with pytest.raises(ParameterError, match="has other sizes than the recipe's model"):
        take_over(build(dataclasses.replace(SMALL.network, decoder_layers=3), 2), str(tmp_path))
    with pytest.raises(MissingDataError, match="no SpeechT5 can be loaded from 'nobody/nothing'"):
        take_over(model, "nobody/nothing")


def test_training_goes_on_from_own_or_published_weights(speech, task, folder, tmp_path):
    published = build(dataclasses.replace(SMALL.network, vocabulary=81), 1, seed=9).network
    published.save_pretrained(tmp_path)
    started = AcousticTask(speech, dataclasses.replace(SMALL, mel="speecht5", start_from=str(tmp_path)))
    name = "speech_decoder_postnet.feat_out.weight"
    assert torch.equal(started.plain[MODULE].network.state_dict()[name], published.state_dict()[name])
    with pytest.raises(
        ParameterError, match="model.mel is 'hifigan', but the published SpeechT5 in .* speaks another"
    ):
        dataclasses.replace(SMALL, start_from="microsoft/speecht5_tts")

    own = AcousticTask(speech, dataclasses.replace(SMALL, start_from=str(folder)))
    trained = speecht5.checkpoints.load(folder)[2]
    assert all(
        torch.equal(value, trained.state_dict()[name]) for name, value in own.plain[MODULE].state_dict().items()
    )
    assert (
        not own.statistics.mel_mean.any() and task.statistics.mel_mean.any()
    )  # those that the weights were trained with
    with pytest.raises(TrainingError, match="has other sizes or speakers"):
        AcousticTask(speech, dataclasses.replace(SMALL, feed_forward=48, start_from=str(folder)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("speecht5")
    return speecht5.checkpoints.save(
        path, SMALL.network, ("hibari", "vits-joe"), network(end=20.0).state_dict(), "# A card"
    )


def test_a_saved_network_speaks_the_same_twice(folder):
    voice = speecht5.SpeechT5(folder, threads=1)
    first, second = (speecht5.SpeechT5(folder, threads=1).synthesize("A bird sang.", seed=3) for _ in range(2))
    assert (
        np.array_equal(first.waveform, second.waveform)
        and voice.variant == "griffin-lim"
        and voice.card == "# A card"
    )
    assert list(first.seconds) == ["phonemes", "encoder", "decoder", "postnet", "vocoder"]
    assert (
        first.phones == symbols.of("A bird sang.") and voice.speaker == "hibari" and first.sample_rate == 22_050
    )
    other = voice.adjusted(speaker="vits-joe")
    assert not np.array_equal(other.synthesize("A bird sang.", seed=3).waveform, first.waveform)
    assert not np.array_equal(voice.synthesize("A bird sang.", seed=4).waveform, first.waveform)
    assert other.weights_key() == voice.weights_key() and other.fingerprint() != voice.fingerprint()
    tone = Tone()
    mels = tone.mels
    vocoded = speecht5.SpeechT5(folder, vocoder=tone)
    assert vocoded.synthesize("A bird sang.", seed=3).audio_s == first.audio_s and mels[0].shape[1] == 80
    (reading,) = voice.read("A bird sang.", seed=3)
    assert np.array_equal(reading.log_mel, mels[0]) and reading.alignment.shape == (
        len(mels[0]) // 2,
        len(first.phones),
    )


def test_what_the_guard_cut_is_said(tmp_path, caplog):
    speecht5.checkpoints.save(tmp_path, SMALL.network, ("a", "b"), network(end=-20.0).state_dict(), "")
    with caplog.at_level(logging.WARNING):
        speech = speecht5.SpeechT5(tmp_path, threads=1).synthesize("Yes. Never.")
    assert any("sentence 1: did not stop" in note for note in speech.notes)
    assert (
        any("sentence 2: did not stop" in note for note in speech.notes)
        and "length guard cut it" in caplog.text
    )


@pytest.mark.parametrize(
    "text", ["No.", "Go go go go go go go go.", "He owed 1,234,567 to 89 men.", "9" * 290, "na" * 145]
)
def test_short_long_repeated_and_numeric_texts_end(folder, text):
    speech = speecht5.SpeechT5(folder, threads=1).synthesize(text)
    assert 0.05 < speech.audio_s < 0.2 * len(speech.phones)


def test_many_symbols_are_read_in_portions():
    portions = speecht5.portions
    assert portions(tuple("^ab cd$"), 7) == [tuple("^ab cd$")]
    assert portions(tuple("^ab cd$"), 6) == [tuple("^ab$"), tuple("^cd$")]
    assert portions(tuple("^ab cd ef$"), 7) == [tuple("^ab cd$"), tuple("^ef$")]
    assert portions(tuple("^abcdefgh$"), 5) == [tuple("^abc$"), tuple("^def$"), tuple("^gh$")]
    assert portions(tuple("^ab $"), 4) == [tuple("^ab$")]
    assert max(map(len, portions(symbols.of("9" * 290)))) <= speecht5.LONGEST


def test_what_cannot_be_spoken_is_refused(folder):
    nothing_to_say_and_strangers_are_refused(speecht5.SpeechT5(folder, threads=1))

    class Other(Tone):
        mel = SPEECHT5

        def vocode(self, mel): ...

    with pytest.raises(ParameterError, match="the vocoder tone wants another mel"):
        speecht5.SpeechT5(folder, vocoder=Other())


def test_a_wrong_folder_is_named(folder, tmp_path):
    wrong_folders_are_named("speecht5", speecht5.checkpoints.load, folder, {"decoder_layers": 1}, tmp_path)


def test_a_run_is_published_with_its_averaged_weights(speech, tmp_path):
    made = publish("speecht5", AcousticTask(speech, SMALL), SMALL, tmp_path)
    model, average = made.network, made.average
    assert made.config == SMALL.network and made.speakers == ("hibari", "vits-joe")
    assert torch.allclose(model.voices.weight, average["voices.weight"], atol=2e-3)
    assert torch.equal(model.mel_mean, average["mel_mean"]) and model.mel_mean.mean() < -3


@pytest.mark.slow
def test_the_published_size_makes_noise_as_long_as_its_text():
    voice = speecht5.SpeechT5Base(threads=1)
    speech = voice.synthesize("The birch canoe slid on.")
    assert voice.params_m == pytest.approx(144.43 + 12.66, abs=0.02) and speech.sample_rate == 16_000
    assert speech.audio_s == pytest.approx(25 / 15, rel=0.05) and "random weights" in speech.notes[0]
    assert list(speech.seconds) == ["encoder", "decoder", "postnet", "vocoder"]


@pytest.mark.parametrize(
    "values, message",
    [
        ({"hidden": 33, "heads": 2}, "hidden is 33, it must be even and a multiple of model.heads, 2"),
        ({"guided": 0}, "guided is 0, it must lie between 1 and model.heads, 12"),
        ({"postnet_layers": 1}, "postnet_layers is 1"),
        ({"behind": 2}, "model.behind and model.ahead are 2 and 0"),
        ({"reduction": 0}, "model.reduction and model.prenet_layers are 0 and 2"),
        ({"mel": "hifigun"}, "unknown model.mel 'hifigun': did you mean 'hifigan'"),
        ({"warm_up": 0}, "both count steps"),
        ({"attention_weight": -1.0}, "model.attention_weight is -1.0, it must not be negative"),
        ({"vocabulary": 81}, "training reads the phonemes"),
        ({"hiden": 3}, "did you mean 'hidden'"),
    ],
)
def test_a_bad_configuration_has_one_clear_error(values, message):
    with pytest.raises(ParameterError, match=message):
        recipe.parse(AcousticConfig, values, "model")


def test_recipes_of_all_profiles_are_for_this_task():
    sizes = {}
    for profile in ("smoke", "quick", "study", "full"):
        found = recipe.find(profile, "speecht5")
        config = recipe.parse(AcousticConfig, found.model, "model").network
        with torch.device("meta"):
            sizes[profile] = sum(p.numel() for p in build(config, 2).parameters()) / 1e6
    assert sizes["smoke"] < 0.2 and sizes["quick"] == sizes["study"] == pytest.approx(4.7, abs=0.1)
    assert sizes["full"] == pytest.approx(144.5, abs=0.1)
