"""FastSpeech 2: transformers' numbers, exact targets, padding that changes nothing, controls that do as told,
exact resume.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time

import numpy as np
import pytest
import torch
from acoustic_checks import (
    FASTSPEECH2,
    Tone,
    as_after_training,
    as_before_about,
    batch_of,
    nothing_to_say_and_strangers_are_refused,
    one_sentence,
    publish,
    says_frames,
    three_and_three_steps_equal_six,
    two_voices,
    unreached,
    wrong_folders_are_named,
)

from lib import zoo
from lib.corpora import gutenberg
from lib.corpora.base import Corpus
from lib.errors import MissingDataError, ParameterError, TrainingError
from lib.features import HIFIGAN, log_mel
from lib.systems import fastspeech2, symbols
from lib.systems.fastspeech2.config import Controls, NetworkConfig
from lib.systems.fastspeech2.network import build
from lib.systems.symbols import ids, known, vocabulary_size
from lib.training import recipe, tasks
from lib.training.loop import train
from lib.training.tasks import acoustic_data
from lib.training.tasks.fastspeech2 import MODULE, AcousticConfig, AcousticTask, losses, predict

SMALL = AcousticConfig(**FASTSPEECH2, predictor_dropout=0.0, postnet_dropout=0.0, warm_up=1)


@pytest.fixture(scope="module")
def speech() -> Corpus:
    return two_voices()


@pytest.fixture(scope="module")
def task(speech) -> AcousticTask:
    return AcousticTask(speech, SMALL)


def talkative(config: NetworkConfig = SMALL.network, speakers: int = 2, frames: float = 4.0) -> torch.nn.Module:
    """A network in use whose weights are random but say about `frames` frames per symbol."""
    return says_frames(as_after_training(build(config, speakers, seed=1).eval()), frames)


def theirs(network: torch.nn.Module) -> torch.nn.Module:
    """transformers' model, untouched, with the network's weights."""
    from transformers import FastSpeech2ConformerModel

    model = FastSpeech2ConformerModel(network.network.config)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    model.load_state_dict(
        {name: value.reshape(shapes[name]) for name, value in network.network.state_dict().items()}
    )
    return model.eval()


def test_the_defaults_are_the_published_sizes():
    with torch.device("meta"):
        network = build(NetworkConfig(), 1)
    assert network.network.config.encoder_kernel_size == 7 and vocabulary_size() == 151
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(70.2, abs=0.5)


@pytest.mark.parametrize("kernel", [1, 3])
def test_a_sentence_alone_is_what_transformers_itself_computes(kernel):
    network = talkative(dataclasses.replace(SMALL, feed_forward_kernel=kernel).network)
    batch, speaker = batch_of(30), torch.tensor([1])
    with torch.inference_mode():
        expected = theirs(network)(batch, speaker_ids=speaker, return_dict=True)
        found = network.encode(batch, speaker)
        frames = (found.log_frames.exp() - 1).round().long()
        mel = network.decode(found, frames, found.pitch, found.energy)[1]
    assert torch.equal(frames, expected.duration_outputs) and frames.sum() > 60
    assert torch.allclose(found.pitch, expected.pitch_outputs[..., 0], atol=1e-5)
    assert torch.allclose(mel, expected.spectrogram, atol=1e-4)


@pytest.mark.slow
@pytest.mark.alone
def test_speaking_is_no_slower_than_transformers():
    """With the weights of lib/zoo, sentence by sentence, in turns: the median of theirs over ours."""
    network, ratios = fastspeech2.checkpoints.load(zoo.folder("fastspeech2"))[2].eval(), []
    reference, before = theirs(network), torch.get_num_threads()
    torch.set_num_threads(1)  # so that the clock of the process is that of the work, however busy the machine
    try:
        for sentence in gutenberg.split("test", 5) * 2:
            phones = [phone for phone in symbols.of(sentence.text) if known(phone)]
            batch, speaker = torch.from_numpy(ids(phones))[None], torch.tensor([1])
            with torch.inference_mode():
                begin = time.process_time()
                network.speak(batch, speaker)
                middle = time.process_time()
                reference(batch, speaker_ids=speaker)
                ratios.append((time.process_time() - middle) / (middle - begin))
    finally:
        torch.set_num_threads(before)
    assert (
        statistics.median(ratios) > 0.95
    )  # on a quiet machine 1.1; the clock of one run is good for a few per cent


def test_padding_in_a_batch_changes_nothing():
    network = talkative(
        dataclasses.replace(SMALL, feed_forward_kernel=3, encoder_layers=2, decoder_layers=2).network
    )
    sentences = [batch_of(n, seed=n)[0] for n in (9, 31, 22)]
    padded = torch.nn.utils.rnn.pad_sequence(sentences, batch_first=True)
    speakers = torch.tensor([1, 0, 1])
    with torch.inference_mode():
        mels, frames = network.speak(padded, speakers, Controls(rate=1.1, semitones=2))
        for row, sentence in enumerate(sentences):
            alone, lengths = network.speak(
                sentence[None], speakers[row : row + 1], Controls(rate=1.1, semitones=2)
            )
            assert (
                torch.equal(lengths[0], frames[row, : len(sentence)]) and not frames[row, len(sentence) :].any()
            )
            assert (mels[row, : alone.shape[1]] - alone[0]).abs().max() < 1e-4
    assert len({int(f) for f in frames.sum(1)}) == 3


def test_rate_changes_the_length_by_its_factor():
    network, batch, speaker = talkative(frames=6.3), batch_of(60), torch.tensor([0])
    with torch.inference_mode():
        lengths = {
            rate: network.speak(batch, speaker, Controls(rate=rate))[0].shape[1]
            for rate in (0.5, 0.8, 1.0, 1.25, 2.0)
        }
    assert lengths[1.0] > 300
    for rate, length in lengths.items():
        assert abs(length - lengths[1.0] / rate) <= 1 / rate + 0.5


def test_pitch_and_energy_controls_move_their_targets_by_the_asked_amount():
    network, batch, speaker = talkative(), batch_of(20), torch.tensor([1])
    network.pitch_deviation.copy_(torch.tensor([0.2, 0.1]))
    network.energy_deviation.copy_(torch.tensor([0.7, 0.5]))

    def heard(**controls) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        seen = []
        hooks = [
            part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
            for part in (network.network.energy_embed, network.network.pitch_embed)
        ]
        with torch.inference_mode():
            mel = network.speak(batch, speaker, Controls(**controls))[0]
        for hook in hooks:
            hook.remove()
        return mel, seen[0] * network.energy_deviation[1], seen[1] * network.pitch_deviation[1]

    mel, energy, pitch = heard()
    higher, same, raised = heard(semitones=3)
    assert torch.allclose((raised - pitch).exp(), torch.tensor(2 ** (3 / 12)), rtol=1e-5) and torch.equal(
        same, energy
    )
    louder, increased, unmoved = heard(energy=2)
    assert torch.allclose((increased - energy).exp(), torch.tensor(2.0), rtol=1e-5) and torch.equal(
        unmoved, pitch
    )
    assert (higher - mel).abs().max() > 1e-3 and (louder - mel).abs().max() > 1e-3


def test_speakers_differ():
    network, batch = talkative(), batch_of(20)
    with torch.inference_mode():
        first, second = (network.encode(batch, torch.tensor([speaker])) for speaker in (0, 1))
    assert (first.hidden - second.hidden).abs().max() > 0.1
    for name in ("log_frames", "pitch", "energy"):
        assert not torch.allclose(getattr(first, name), getattr(second, name), atol=1e-4)


def test_targets_fit_the_clip_they_are_made_from(speech, task):
    for e, utterance in zip(task.examples, speech.split("train")):
        clip = utterance.load(HIFIGAN.sample_rate)
        mel = e.mel()
        assert e.id == utterance.id and len(e.ids) == len(e.frames) == len(e.pitch) == len(e.energy)
        assert e.n_frames == len(mel) == len(clip) // HIFIGAN.hop
        assert np.abs(mel - log_mel(clip)).max() < 0.01  # float16
        assert 4.0 < e.pitch.mean() < 5.7 and np.isfinite(e.energy).all()  # 55 to 300 Hz
    joe, hibari = (
        np.mean([e.pitch.mean() for e in task.examples if e.speaker == s]) for s in ("vits-joe", "hibari")
    )
    assert hibari > joe + 0.3  # a woman and a man
    stored = task.examples[0].path.stat().st_mtime_ns
    assert acoustic_data.example(speech.split("train")[0]).path.stat().st_mtime_ns == stored


def test_batches_are_standardised_and_padded(task):
    batch = task.collate([task.item(i, None) for i in range(len(task.examples))])
    tensors = batch.tensors
    real = tensors["ids"] != 0
    assert batch.frames == tensors["mask"].sum() == tensors["frames"].sum() == sum(task.lengths)
    voiced = tensors["mask"].bool()
    assert (
        tensors["mel"][voiced].mean(0).abs().max() < 1e-3
        and (tensors["mel"][voiced].std(0) - 1).abs().max() < 1e-2
    )
    for speaker in (0, 1):
        rows = tensors["speakers"] == speaker
        for name in ("pitch", "energy"):
            values = tensors[name][rows][real[rows]]
            assert values.mean().abs() < 1e-3 and values.std(correction=0) == pytest.approx(1, abs=1e-3)
    assert not tensors["mel"][~voiced].any() and not tensors["pitch"][~real].any()


def test_unknown_symbols_give_their_frames_away():
    assert not known("_") and not known("☃") and known("ə")
    phones, frames = acoustic_data.readable(("☃", "^", "ə", "_", "☃", "b", "$"), (2, 1, 3, 4, 5, 6, 0))
    assert phones == ("^", "ə", "b", "$") and frames == (3, 12, 6, 0)
    assert ids(phones).tolist()[0] == 1 and ids(phones).tolist()[-1] == 2  # Piper's ids of ^ and $


def test_losses_are_transformers_own(task):
    batch = task.collate([task.item(i, None) for i in (0, 1, 2)])
    network = talkative()
    with torch.inference_mode():
        prediction = predict(network, batch)
        given = batch.tensors
        real, voiced = given["ids"] != 0, given["mask"][..., None].bool()
        expected = network.network.criterion(
            prediction.mel,
            prediction.rough,
            prediction.log_frames,
            prediction.pitch[..., None],
            prediction.energy[..., None],
            given["mel"],
            given["frames"],
            given["pitch"][..., None],
            given["energy"][..., None],
            real,
            voiced,
        )
    assert sum(losses(prediction, batch).values()).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_teacher_says_what_is_to_be_learnt(speech, folder):
    """All of it: the loss is the distance from its answer, which is in its statistics; half of it: in between."""
    config = dataclasses.replace(SMALL, teacher=str(folder), taught=1.0)
    one = Corpus("one", "", "", tuple(u for u in speech.utterances if u.speaker == "vits-joe"))
    taught = AcousticTask(one, config)
    assert taught.speakers == ("hibari", "vits-joe") and taught.about == {"speakers": ["hibari", "vits-joe"]}
    assert not any(p.requires_grad for p in taught.teacher.parameters()) and not taught.teacher.training
    batch = taught.collate([taught.item(i, None) for i in (0, 1)])
    assert set(batch.tensors["speakers"].tolist()) == {1}

    def step(share: float) -> dict:
        taught.config = dataclasses.replace(config, taught=share)
        torch.manual_seed(0)
        (update,) = taught.updates(batch, 0)
        return {"loss": update.loss.item(), **{k: v.item() for k, v in update.scalars.items()}}

    alone, whole, half = step(0.0), step(1.0), step(0.5)
    assert "lesson" not in alone and whole["loss"] == pytest.approx(whole["lesson"])
    assert half["loss"] == pytest.approx((alone["loss"] + whole["loss"]) / 2)
    answer = predict(taught.teacher, batch)
    apart = losses(answer, batch, answer)
    assert apart.pop("rough") > 0  # what its postnet makes of its mel is to be said before the student's, too
    assert not any(apart.values()) and all(losses(answer, batch).values())


def test_gradients_reach_every_parameter(task):
    # A key's bias adds the same to all scores of a query: softmax does not see it.
    assert [name for name in unreached(task, 3) if not name.endswith("linear_k.bias")] == []


def test_one_utterance_is_learned_by_heart(speech, tmp_path):
    task = AcousticTask(one_sentence(speech), dataclasses.replace(SMALL, learning_rate=5e-3))
    batch = task.collate([task.item(0, None)])
    with torch.inference_mode():
        before = losses(predict(task.plain[MODULE], batch), batch)["mel"].item()
    settings = recipe.Settings(60, batch_size=1, validate_every=0, clip_norm=1.0)
    outcome = train(task, recipe.Recipe("fastspeech2", settings), tmp_path)
    assert outcome.losses["mel"] < before / 4
    assert outcome.losses["duration"] < 0.05


def test_three_and_three_steps_equal_six_bit_for_bit(speech, tmp_path):
    config = dataclasses.replace(SMALL, predictor_dropout=0.3, dropout=0.1)
    outcome = three_and_three_steps_equal_six("fastspeech2", AcousticTask, speech, config, tmp_path)
    assert {"mel", "rough", "duration", "pitch", "energy"} == outcome.validation.keys()


def test_a_validation_draws_and_hears_each_voice(task):
    torch.nn.init.constant_(task.plain[MODULE].network.duration_predictor.linear.bias, math.log(5))
    task.plain[MODULE].eval()
    with torch.no_grad():
        validation = task.validate(0)
    assert len(validation.figures) == len(validation.audio) == 2 and all(
        v > 0 for v in validation.scalars.values()
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("fastspeech2")
    return fastspeech2.checkpoints.save(
        path, SMALL.network, ("hibari", "vits-joe"), talkative().state_dict(), "# A card"
    )


def test_a_saved_network_speaks(folder):
    voice = fastspeech2.FastSpeech2(folder, threads=1)
    first, second = (voice.synthesize("A bird sang.", seed=3) for _ in range(2))
    assert (
        np.array_equal(first.waveform, second.waveform)
        and voice.variant == "griffin-lim"
        and voice.card == "# A card"
    )
    assert list(first.seconds) == ["phonemes", "acoustic_model", "vocoder"] and first.phones == symbols.of(
        "A bird sang."
    )
    assert sum(first.frames) * HIFIGAN.hop == len(first.waveform) and voice.speaker == "hibari"
    other = voice.adjusted(speaker="vits-joe", rate=2.0)
    assert other.synthesize("A bird sang.").audio_s < 0.6 * first.audio_s and voice.speaker == "hibari"
    assert other.weights_key() == voice.weights_key() and 0 < voice.params_m < 1

    tone = Tone()
    mels = tone.mels
    vocoded = fastspeech2.FastSpeech2(folder, vocoder=tone)
    assert vocoded.synthesize("A bird sang.").audio_s == first.audio_s and vocoded.variant == "baseline"
    assert mels[0].shape == (sum(first.frames), 80)


def test_what_cannot_be_spoken_is_refused(folder):
    voice = fastspeech2.FastSpeech2(folder, threads=1)
    nothing_to_say_and_strangers_are_refused(voice)
    for controls, message in (
        ({"rate": 0}, "rate is 0, it must lie between 0.25 and 4"),
        ({"energy": math.nan}, "energy is nan"),
        ({"semitone": 1}, "unknown setting of fastspeech2 'semitone': did you mean 'semitones'"),
    ):
        with pytest.raises(ParameterError, match=message):
            voice.adjusted(**controls)


@pytest.mark.parametrize(
    "bias, message", [(-5.0, "wants 0.0 s"), (20.0, "is not trained"), (math.nan, "is not trained")]
)
def test_durations_of_broken_weights_are_refused(bias, message):
    network = talkative()
    torch.nn.init.constant_(network.network.duration_predictor.linear.bias, bias)
    with pytest.raises(ValueError, match=message):
        network.speak(batch_of(80), torch.tensor([0]))


class Part(torch.nn.Module):
    """One method of a network as a module of its own, as exporters want it."""

    def __init__(self, network: torch.nn.Module, method: str):
        super().__init__()
        self.network, self.method = network, method

    def forward(self, *inputs):
        return tuple(x for x in getattr(self.network, self.method)(*inputs) if x is not None)


@pytest.mark.slow
def test_both_halves_can_be_exported_for_any_length():
    network, length = talkative(), torch.export.Dim("length", min=4, max=2000)
    speaker = torch.tensor([1])
    for method, short, long in (
        ("encode", (batch_of(20), speaker), (batch_of(41), speaker)),
        ("render", (torch.randn(1, 50, 32),), (torch.randn(1, 93, 32),)),
    ):
        part = Part(network, method)
        dynamic = ({1: length}, None) if method == "encode" else ({1: length},)
        # transformers' shift of relative positions divides by the length, which the exporter would like to know.
        exported = torch.export.export(
            part, short, dynamic_shapes={"inputs": dynamic}, prefer_deferred_runtime_asserts_over_guards=True
        ).module()
        for ours, theirs_ in zip(exported(*long), part(*long), strict=True):
            assert torch.allclose(ours, theirs_, atol=1e-5)


def test_a_wrong_folder_is_named(folder, tmp_path):
    wrong_folders_are_named(
        "fastspeech2", fastspeech2.checkpoints.load, folder, {"decoder_layers": 2}, tmp_path
    )


def test_a_run_is_published_with_its_averaged_weights(speech, tmp_path):
    made = publish("fastspeech2", AcousticTask(speech, SMALL), SMALL, tmp_path)
    chosen, outcome, network, average = made.recipe, made.outcome, made.network, made.average
    assert made.config == SMALL.network and made.speakers == ("hibari", "vits-joe")
    assert torch.allclose(
        network.network.encoder.embed.weight, average["network.encoder.embed.weight"], atol=1e-3
    )
    assert torch.equal(network.mel_mean, average["mel_mean"]) and network.mel_mean.mean() < -3
    with pytest.raises(TrainingError, match="trained by another recipe .*model.hidden"):
        wider = dataclasses.replace(chosen, model={**chosen.model, "hidden": 2 * SMALL.hidden})
        tasks.export(wider, outcome.checkpoint, tmp_path / "voice", "card")
    # Before checkpoints held the names of the speakers, the recipe's voices were all there are.
    for voices in (("vits-joe", "hibari"), ("vits-joe", "hibari", "another")):
        old = dataclasses.replace(chosen, data={"voices": list(voices)})
        path = as_before_about(outcome.checkpoint, old, tmp_path / f"old-{len(voices)}")
        if len(voices) == 2:
            assert fastspeech2.checkpoints.load(tasks.export(old, path, tmp_path / "voice", ""))[1] == (
                "hibari",
                "vits-joe",
            )
            continue
        with pytest.raises(TrainingError, match="with 3 speakers: take the recipe"):
            tasks.export(old, path, tmp_path / "voice", "card")


def test_durations_of_another_clip_are_skipped_and_an_empty_split_is_named(speech):
    first, *rest = speech.split("train")
    wrong = dataclasses.replace(first, frames=(*first.frames[:-1], first.frames[-1] + 9))
    corpus = Corpus("odd", "", "", (wrong, *rest))
    assert len(acoustic_data.examples(corpus, "train")) == len(rest)
    assert "belong to another clip" in corpus.skipped[first.id]
    with pytest.raises(MissingDataError, match="all were skipped, .* because utterance"):
        acoustic_data.examples(Corpus("odd", "", "", (wrong,)), "train")
    with pytest.raises(MissingDataError, match="the validation split of corpus odd is empty"):
        AcousticTask(corpus, SMALL)
    stranger = dataclasses.replace(speech.split("validation")[0], speaker="someone")
    with pytest.raises(MissingDataError, match="speakers that are not in its train split: someone"):
        AcousticTask(Corpus("odd", "", "", (*rest, stranger)), SMALL)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"hidden": 33, "heads": 2}, "hidden is 33, it must be a multiple of model.heads, 2"),
        ({"decoder_kernel": 4}, "decoder_kernel is 4"),
        ({"postnet_layers": 0}, "postnet_layers is 0"),
        ({"warm_up": 0}, "both count steps"),
        ({"hiden": 3}, "did you mean 'hidden'"),
        ({"taught": 0.5}, "taught is 0.5, but no model.teacher is named"),
        ({"taught": 2, "teacher": "fastspeech2"}, "taught is 2.0, a share lies between"),
    ],
)
def test_a_bad_configuration_has_one_clear_error(values, message):
    with pytest.raises(ParameterError, match=message):
        recipe.parse(AcousticConfig, values, "model")
