"""HiFi-GAN: published sizes, exact losses, aligned data, two stages of training, and a vocoder that survives saving."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from acoustic_checks import FASTSPEECH2, of_config

from lib import prosody
from lib.corpora import gutenberg, synthetic
from lib.corpora.base import Corpus
from lib.errors import AudioError, MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN, log_mel, log_mel_torch
from lib.systems import hifigan
from lib.systems.hifigan.discriminators import (
    Discriminators,
    PeriodDiscriminator,
    discriminator_loss,
    generator_loss,
)
from lib.systems.vits_joe.stages import VitsJoeOnnx
from lib.training import checkpoint, recipe, tasks
from lib.training.loop import train
from lib.training.tasks.hifigan import CONTEXT, EDGE, HOP, VocoderConfig, VocoderTask, from_checkpoint
from lib.training.tasks.vocoder_targets import true_latents

SMALL = VocoderConfig(
    front_width=32,
    front_blocks=1,
    segment_frames=16,
    adversarial_from=2,
    warm_up=1,
    period_width=1 / 16,
    scale_width=1 / 8,
    periods=(2, 3),
    scales=1,
)


@pytest.fixture(scope="module")
def speech() -> Corpus:
    """Two training sentences and one to validate on, spoken by vits-joe."""
    train, validation = (
        [s for s in gutenberg.split(name) if len(s.text) < 40] for name in ("train", "validation")
    )
    return synthetic.corpus(VitsJoeOnnx(threads=1), train[:2] + validation[:1])


def snr_db(signal: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10((signal**2).sum() / ((signal - other) ** 2).sum()))


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_sizes_are_those_of_the_paper():
    with torch.device("meta"):  # shapes without memory
        judges = Discriminators()
        decoder = hifigan.build(hifigan.GeneratorConfig("v1"))["decoder"]
    assert count(judges.periods) / 1e6 == pytest.approx(41.1, abs=0.05)
    assert count(judges.scales) / 1e6 == pytest.approx(29.6, abs=0.05)
    assert count(decoder) / 1e6 == pytest.approx(13.92, abs=0.02)  # Table 1
    assert count(Discriminators(0.25, 0.125)) < 0.06 * count(judges)


def test_the_vits_joe_generator_fits_the_zoo():
    modules = hifigan.build(hifigan.GeneratorConfig(), warm=False)
    assert count(modules["front"]) / 1e6 < 2.6
    assert 2 * sum(map(count, modules.values())) < 12 * 2**20  # bytes as fp16


@pytest.mark.parametrize("generator", ["vits-joe", "v1"])
def test_a_frame_becomes_256_samples(generator):
    modules = hifigan.build(hifigan.GeneratorConfig(generator, 32, 1), warm=False)
    with torch.inference_mode():
        waveform = hifigan.decode(modules, torch.zeros(2, 5, 80))
    assert waveform.shape == (2, 5 * 256) and waveform.abs().max() <= 1


def test_the_front_sees_no_further_than_its_context():
    modules = hifigan.build(hifigan.GeneratorConfig(), warm=False)
    log_mel_frames = torch.randn(1, 2 * CONTEXT + 9, 80)
    changed = log_mel_frames.clone()
    changed[:, 0] += 3
    changed[:, -1] += 3
    rows = torch.randn(1, 2 * CONTEXT + 9, 4)
    with torch.inference_mode():
        for others, network, sees in (((rows,), modules["front"], 18), ((), modules["pitch"], 12)):
            difference = (network(log_mel_frames, *others) - network(changed, *others)).abs().amax((0, 1))
            assert difference[CONTEXT:-CONTEXT].max() == 0 and difference[:sees].min() > 0


def test_the_source_is_the_phase_pitch_and_voicing_of_each_frame():
    rows = hifigan.source(torch.tensor([0.0, 0.25, 0.5]), torch.tensor([100.0, 200.0, 0.0]))
    expected = torch.tensor(
        [[0.0, 1, 1, 0], [1, 0, 1, 2], [0, 0, 0, 0]]
    )  # half octaves over 100 Hz; nothing where unvoiced
    assert torch.allclose(rows, expected, atol=1e-6)


def test_the_phase_of_a_read_pitch_is_its_integral_and_stands_still_where_there_is_no_voice():
    octaves, logit = torch.tensor([[0.0, 0, 1, 1, 0, 0]]), torch.tensor([[1.0, 1, 1, -1, 1, 1]])
    modules = {"pitch": lambda mel: torch.stack([logit, octaves], 1)}
    rows = hifigan.read_source(modules, torch.zeros(1, 6, 80))[0]
    step = 100 * 256 / 22_050  # cycles of a frame at 100 Hz
    cycles = torch.tensor([1.0, 2, 4, 4, 5, 6]) * step
    voiced = (logit[0] > 0).float()
    assert torch.allclose(rows[:, 0], (2 * np.pi * cycles).sin() * voiced, atol=1e-5)
    assert torch.allclose(rows[:, 1], (2 * np.pi * cycles).cos() * voiced, atol=1e-5)
    assert torch.equal(rows[:, 2], voiced) and torch.allclose(rows[:, 3], 2 * octaves[0] * voiced)


def test_losses_by_hand():
    real, fake = torch.tensor([[1.0, 0.5]]), torch.tensor([[0.0, 0.5]])
    both = [(torch.cat([real, fake]), [])]
    assert discriminator_loss(both).item() == pytest.approx(0.125 + 0.125)  # mean (0, .25) + mean (0, .25)
    maps = [(real, [torch.zeros(1, 4)])], [(fake, [torch.full((1, 4), 0.3)])]
    adversarial, features = generator_loss(*maps)
    assert adversarial.item() == pytest.approx((1 + 0.25) / 2) and features.item() == pytest.approx(0.3)


def test_a_period_discriminator_compares_samples_a_period_apart():
    """Scores of one column depend on every p-th sample alone."""
    judge = PeriodDiscriminator(3, 0.0625)
    waveform = torch.randn(1, 999)
    other = waveform.clone()
    other[:, 1::3] += 1
    with torch.inference_mode():
        moved = (judge(waveform)[0] - judge(other)[0]).reshape(-1, 3).abs().amax(0)
    assert moved[0] == 0 and moved[2] == 0 and moved[1] > 0


def test_true_latents_are_what_the_decoder_was_fed(speech):
    utterance = speech.split("train")[0]
    latents = true_latents((utterance,))[utterance.id]
    assert latents.shape == (192, sum(utterance.frames))
    decoder = hifigan.build(hifigan.GeneratorConfig())["decoder"]
    with torch.inference_mode():
        waveform = decoder(torch.from_numpy(latents.astype(np.float32))[None])[0, 0].numpy()
    assert snr_db(utterance.load(), waveform) > 30  # fp16 latents, 16-bit clip
    stranger = dataclasses.replace(utterance, speaker="hibari")
    assert true_latents((stranger,)) == {}


def test_a_training_item_is_a_piece_of_the_clip_with_its_own_mel_and_latents(speech):
    task = VocoderTask(speech, SMALL)
    piece = task.item(0, np.random.default_rng(1))
    identity, crop, latents, pulses, predicted = piece
    assert predicted is None  # no acoustic model was asked
    batch = task.collate([piece])
    assert batch.ids == (task.train_split[0].id,) and batch.frames == 16
    clip = task.train_split[0].load(22_050)
    segment = crop[(EDGE + CONTEXT) * HOP : -(EDGE + CONTEXT) * HOP]
    starts = [
        i
        for i in range(0, len(clip) - len(segment) + 1, HOP)
        if np.allclose(clip[i : i + len(segment)], segment, atol=1e-4)
    ]
    assert len(starts) == 1
    frame = starts[0] // HOP
    whole = log_mel(clip)
    here = log_mel_torch(torch.from_numpy(crop))[EDGE + CONTEXT : -EDGE - CONTEXT].numpy()
    inner = slice(max(0, 2 - frame), len(here) - 2)  # the clip's own ends are reflected, a crop's are zeros
    assert np.abs(whole[frame : frame + 16][inner] - here[inner]).max() < 0.02
    assert np.array_equal(latents, task.segments.latents[identity][:, frame : frame + 16])
    padded = np.pad(prosody.pulses(clip, 22_050).T, ((0, 0), (CONTEXT, CONTEXT + 16)))
    assert np.array_equal(pulses, padded[:, frame : frame + 16 + 2 * CONTEXT]) and pulses[1].max() > 50


def test_a_clip_shorter_than_a_segment_is_filled_with_silence(speech):
    task = VocoderTask(speech, dataclasses.replace(SMALL, segment_frames=2000))
    _, crop, latents, pulses, _ = task.item(0, np.random.default_rng(0))
    assert pulses.shape == (2, 2000 + 2 * CONTEXT)
    clip = task.train_split[0].load(22_050)
    assert len(crop) == (2000 + 2 * CONTEXT + 2 * EDGE) * HOP and latents.shape == (192, 2000)
    begin = (CONTEXT + EDGE) * HOP
    assert np.abs(crop[begin : begin + len(clip)] - clip).max() < 1e-4
    assert not crop[begin + len(clip) :].any() and not crop[:begin].any()


def test_stage_a_moves_the_front_alone_and_stage_b_everything(speech, tmp_path):
    task = VocoderTask(speech, SMALL)
    fresh = {
        name: {k: v.clone() for k, v in module.state_dict().items()} for name, module in task.modules.items()
    }

    def moved() -> set[str]:
        return {
            n
            for n, m in task.modules.items()
            if any(not torch.equal(v, fresh[n][k]) for k, v in m.state_dict().items())
        }

    def settings(steps: int) -> recipe.Recipe:
        given = recipe.Settings(steps, batch_size=2, checkpoint_every=1, validate_every=0, log_every=1, ema=0.9)
        return of_config("hifigan", SMALL, given)

    train(task, settings(1), tmp_path)
    assert moved() == {"front", "pitch"}
    train(task, settings(2), tmp_path)
    assert moved() == {"front", "pitch", "discriminators"}
    outcome = train(task, settings(3), tmp_path)
    assert moved() == {"front", "pitch", "decoder", "discriminators"}
    assert {
        "mel",
        "adversarial",
        "features",
        "loss/front+pitch+decoder",
        "loss/discriminators",
    } <= outcome.losses.keys()

    folder = tasks.export(settings(3), outcome.checkpoint, tmp_path / "vocoder", "# A card")
    vocoder = hifigan.HifiGan(folder, threads=1)
    mel = log_mel(task.validation_split[0].load(22_050))
    with torch.inference_mode():
        for name, state in from_checkpoint(outcome.checkpoint, SMALL.network).items():
            task.modules[name].load_state_dict(state)
        expected = hifigan.decode(task.modules, torch.from_numpy(mel)[None])[0].numpy()
    spoken = vocoder.vocode(mel)
    assert spoken.shape == (len(mel) * 256,) and spoken.dtype == np.float32
    assert snr_db(expected, spoken) > 50 and vocoder.card == "# A card"
    average = checkpoint.load(outcome.checkpoint).weights["ema-front"]["output.bias"]
    assert torch.allclose(vocoder.modules["front"].output.bias, average, atol=1e-3)


def test_until_spectral_from_the_decoder_is_not_asked(speech):
    task = VocoderTask(speech, dataclasses.replace(SMALL, spectral_from=2, adversarial_from=4, warm_up=0))
    calls = []
    task.plain["decoder"].register_forward_hook(lambda *_: calls.append(1))
    batch = task.collate([task.item(i, np.random.default_rng(i)) for i in range(2)])
    (update,) = task.updates(batch, 1)
    assert (
        not calls
        and update.optimizers == ("front", "pitch")
        and update.scalars.keys() == {"latents", "voicing", "pitch"}
    )
    (update,) = task.updates(batch, 2)
    assert calls and update.scalars.keys() == {"latents", "voicing", "pitch", "mel", "stft"}


def test_a_validation_reports_hears_and_draws(speech):
    task = VocoderTask(speech, SMALL)
    with torch.no_grad():
        validation = task.validate(0)
    assert (
        validation.scalars.keys() == {"mel_l1", "stft"} and validation.scalars["mel_l1"] > 0.5
    )  # the front knows nothing yet
    ((waveform, rate),) = validation.audio.values()
    assert rate == 22_050 and len(waveform) == len(task.validation_split[0].load(22_050)) // HOP * HOP
    assert len(validation.figures) == 1


@pytest.mark.slow
def test_v1_trains_from_its_first_step_and_is_saved_without_weight_norm(speech, tmp_path):
    config = dataclasses.replace(SMALL, generator="v1", adversarial_from=0)
    task = VocoderTask(speech, config)
    chosen = of_config("hifigan", config, recipe.Settings(1, batch_size=1, validate_every=0))
    outcome = train(task, chosen, tmp_path)
    folder = tasks.export(chosen, outcome.checkpoint, tmp_path / "vocoder", "card")
    mel = log_mel(task.validation_split[0].load(22_050))[:20]
    with torch.inference_mode():
        expected = hifigan.decode(task.modules, torch.from_numpy(mel)[None])[0].numpy()
    assert outcome.losses["loss/decoder"] > 0
    assert snr_db(expected, hifigan.HifiGan(folder, threads=1).vocode(mel)) > 40


@pytest.mark.parametrize(
    "values, message",
    [
        ({"generator": "v2"}, "unknown generator 'v2': did you mean 'v1'"),
        ({"generator": "v1", "adversarial_from": 5}, "V1 has no trained decoder to keep"),
        ({"spectral_from": 5, "latent_weight": 0.0}, "until that step nothing would be learnt"),
        ({"segment_frames": 8}, "segment_frames is 8"),
        ({"periods": [], "scales": 0}, "judge nothing"),
    ],
)
def test_a_bad_configuration_has_one_clear_error(speech, values, message):
    with pytest.raises(ParameterError, match=message):
        VocoderTask(speech, recipe.parse(VocoderConfig, values, "model"))


def test_a_folder_without_a_vocoder_and_a_bad_mel_are_named(tmp_path):
    with pytest.raises(MissingDataError, match="holds no vocoder: config.json is missing"):
        hifigan.HifiGan(tmp_path)
    config = hifigan.GeneratorConfig(front_width=32, front_blocks=1)
    hifigan.save(
        tmp_path, config, {n: m.state_dict() for n, m in hifigan.build(config, warm=False).items()}, "card"
    )
    vocoder = hifigan.HifiGan(tmp_path, threads=1)
    for bad in (np.zeros((0, 80)), np.zeros((5, 40)), np.zeros(80), np.full((5, 80), np.nan)):
        with pytest.raises(AudioError, match="log-mel of shape"):
            vocoder.vocode(bad)
    assert vocoder.mel is HIFIGAN
    with pytest.raises(ParameterError, match="consists of front, pitch, decoder, not of decoder"):
        hifigan.save(tmp_path, config, {"decoder": {}}, "card")


@pytest.mark.slow
@pytest.mark.alone
def test_a_run_goes_on_from_another_with_its_discriminators(speech, tmp_path):
    task = VocoderTask(speech, SMALL)
    train(
        task,
        recipe.Recipe("hifigan", recipe.Settings(3, batch_size=2, validate_every=0, checkpoint_every=3)),
        tmp_path / "first",
    )
    again = VocoderTask(speech, dataclasses.replace(SMALL, start_from=str(tmp_path / "first"), seed=1))
    for name, module in task.modules.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, again.modules[name].state_dict()[key]), (name, key)
    with pytest.raises(TrainingError, match="other sizes than the recipe's"):
        VocoderTask(speech, dataclasses.replace(SMALL, start_from=str(tmp_path / "first"), front_width=64))


def test_predicted_mels_take_the_place_of_true_ones_in_their_share(speech, tmp_path, monkeypatch):
    """Where the acoustic model's mel is given, the front sees it, under the same stretch of the clip."""
    mels = {
        u.id: np.tile(np.arange(sum(u.frames), dtype=np.float16)[:, None], (1, 80))
        for u in speech.split("train")[:1]
    }
    monkeypatch.setattr("lib.training.tasks.predicted_mels.predicted", lambda corpus, name, limit: mels)
    task = VocoderTask(speech, dataclasses.replace(SMALL, mels_from="somewhere", mels_share=0.5))
    index = next(i for i, u in enumerate(task.train_split) if u.id in mels)
    items = [task.item(index, np.random.default_rng(seed)) for seed in range(200)]
    given = [i for i in items if i.mel is not None]
    assert 60 < len(given) < 140
    begin = given[0].mel[CONTEXT, 0]  # the mel counts its frames
    clip = task.segments.clip(task.train_split[index]).astype(np.float32) / 32768
    inside = given[0].waveform[(CONTEXT + EDGE) * HOP :][: SMALL.segment_frames * HOP]
    assert np.array_equal(inside, clip[int(begin) * HOP :][: len(inside)])
    batch = task.collate([given[0], next(i for i in items if i.mel is None)])
    assert batch.tensors["predicted"].tolist() == [True, False]
    seen = []
    task.plain["front"].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    next(task.updates(batch, 5))
    assert torch.equal(seen[0][0], batch.tensors["mel"][0]) and seen[0][1].max() < 5


def test_mels_of_an_acoustic_model_lie_under_the_clip(speech, tmp_path):
    from lib.systems import fastspeech2
    from lib.systems.fastspeech2.config import NetworkConfig
    from lib.systems.fastspeech2.network import build
    from lib.training.tasks import predicted_mels

    config = NetworkConfig(**FASTSPEECH2)
    speakers = tuple(sorted({u.speaker for u in speech.utterances}))
    fastspeech2.checkpoints.save(tmp_path, config, speakers, build(config, len(speakers)).state_dict(), "")
    found = predicted_mels.predicted(speech, [str(tmp_path)])
    frames = {u.id: sum(u.frames) for u in speech.split("train")}
    assert found.keys() == frames.keys()
    for name, mel in found.items():
        assert mel.shape == (frames[name], 80) and np.isfinite(mel).all()
    again = predicted_mels.predicted(speech, [str(tmp_path)], 1)
    assert len(again) == 1 and all(np.array_equal(found[n], m) for n, m in again.items())


def test_part_of_a_batch_through_the_decoder_is_that_part_of_the_whole(speech):
    """Latents of all clips count; of one clip 16 frames are decoded, at a place that the step draws."""
    whole = VocoderTask(speech, dataclasses.replace(SMALL, segment_frames=48, adversarial_from=1000))
    part = VocoderTask(
        speech, dataclasses.replace(SMALL, segment_frames=48, adversarial_from=1000, decoded=(1, 16))
    )
    batch = whole.collate([whole.item(i, np.random.default_rng(i)) for i in range(2)])
    decoded = {}
    for task in (whole, part):
        task.plain["decoder"].register_forward_hook(
            lambda _, inputs, __, task=task: decoded.__setitem__(task, inputs[0])
        )
        *_, update = task.updates(batch, 3)
        decoded[task, "latents"] = update.scalars["latents"]
    assert decoded[part].shape == (1, 192, 16) and decoded[whole].shape == (2, 192, 48)
    starts = [b for b in range(33) if torch.equal(decoded[whole][:1, :, b : b + 16], decoded[part])]
    assert len(starts) == 1 and torch.equal(decoded[part, "latents"], decoded[whole, "latents"])
    with pytest.raises(ParameterError, match="model.decoded is"):
        dataclasses.replace(SMALL, decoded=(1, 17))
