"""The checkpoints of the zoo: small, described, and as good on unseen sentences as their cards promise."""

import re

import numpy as np
import pytest

from lib import audio, features, systems, zoo
from lib.corpora import gutenberg
from lib.errors import MissingDataError
from lib.features import log_mel
from lib.measure import aligned, evaluate, held_out_voices
from lib.measure.scorer import Scorer
from lib.studies import control
from lib.systems.fastspeech2 import FastSpeech2
from lib.training import recipe

SENTENCES = 8
NAMES = zoo.names()


def test_the_zoo_holds_the_vocoders_and_the_acoustic_models():
    others = ["fastspeech2", "hibari-small", "hibari-vocoder", "hifigan", "istft", "speecht5", "tacotron2"]
    assert NAMES == [*others, "tortoise"]


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_small_and_comes_with_all_that_describes_it(name):
    folder, card, curve = zoo.folder(name), zoo.card(name), zoo.curve(name)
    assert (folder / "model.safetensors").stat().st_size <= 12 * 2**20
    assert recipe.load(folder / "recipe.yaml").task == name
    steps = [r["step"] for r in curve if "validation" not in r]
    assert steps == sorted(steps) and any("validation" in r for r in curve)
    said = int(re.search(r"- steps: ([\d,]+)", card)[1].replace(",", ""))
    assert steps[-1] == said
    for word in ("held-out sentences", "predicted MOS", "WER", "licence", "python -m lib.training"):
        assert word in card, word
    assert "| teacher |" in card or "| original |" in card
    assert all(file.stat().st_size <= 16 * 2**20 for file in folder.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_was_not_trained_on_what_it_is_judged_on(name):
    data = recipe.load(zoo.folder(name) / "recipe.yaml").data
    # Sentences of train and validation splits: see test_held_out.py; of `texts`, test_texts.py
    assert set(data) <= {"voices", "texts", "train", "validation", "flite"}


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(threads=2)


@pytest.fixture(scope="module")
def teacher(scorer) -> evaluate.Judged:
    voice = systems.load("vits-joe", target="onnxruntime/cpu")
    return evaluate.judge(evaluate.speak(voice, gutenberg.split("test", SENTENCES)), scorer)


def guessed(clips, scorer) -> float:
    """The mean predicted MOS of what Griffin-Lim makes of the clips' mels."""
    heard = evaluate.copies(clips, features.griffin_lim, "copies")[1]
    return float(np.mean([scorer.mos(clip.waveform, clip.sample_rate) for clip in heard]))


@pytest.mark.slow
def test_copies_by_hifigan_sound_better_than_griffin_lims_and_stay_understood(teacher, scorer):
    made = evaluate.copies(teacher.clips, systems.load("hifigan").vocode, "copies")[1]
    ours, original = evaluate.judge(made, scorer).summary, teacher.summary
    assert ours["mos_predicted"].value >= guessed(teacher.clips, scorer) + 0.4
    # Of so few sentences one word is a point of WER; noise of 10 dB would cost 0.2 nats a word.
    assert ours["asr_nll"].value <= original["asr_nll"].value + 0.1


@pytest.mark.slow
def test_istft_copies_a_voice_it_never_met(scorer):
    """By its card's measure: above Griffin-Lim, and as well understood as the original."""
    try:
        clips = held_out_voices.clips("flite-awb", SENTENCES)
    except MissingDataError as error:
        pytest.skip(str(error))
    originals, made = evaluate.copies(clips, systems.load("istft").vocode, "copies")
    original, ours = (evaluate.judge(heard, scorer).summary for heard in (originals, made))
    assert ours["mos_predicted"].value >= guessed(clips, scorer) + 0.2
    assert ours["wer"].value <= original["wer"].value + 0.05


@pytest.mark.slow
def test_fastspeech2_reads_unseen_sentences_nearly_as_its_teacher_does(teacher, scorer):
    ours = evaluate.judge(
        evaluate.speak(systems.load("fastspeech2"), gutenberg.split("test", SENTENCES)), scorer
    )
    assert ours.summary["wer"].value <= teacher.summary["wer"].value + 0.08
    assert ours.summary["mos_predicted"].value >= teacher.summary["mos_predicted"].value - 0.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tacotron2", "speecht5"])
def test_it_finds_its_way_through_unseen_sentences(name, teacher, scorer):
    clips = evaluate.speak(systems.load(name), gutenberg.split("test", SENTENCES))
    assert evaluate.attention_failures(clips).value == 0
    ours = evaluate.judge(clips, scorer)
    assert ours.summary["wer"].value <= teacher.summary["wer"].value + 0.08
    assert ours.summary["mos_predicted"].value >= teacher.summary["mos_predicted"].value - 0.6


@pytest.mark.slow
def test_tortoise_draws_sentences_that_are_understood(teacher, scorer):
    ours = evaluate.judge(evaluate.speak(systems.load("tortoise"), gutenberg.split("test", SENTENCES)), scorer)
    assert ours.summary["wer"].value <= teacher.summary["wer"].value + 0.08
    assert ours.summary["mos_predicted"].value >= teacher.summary["mos_predicted"].value - 0.6


@pytest.mark.slow
def test_fastspeech2_is_understood_in_its_second_voice(scorer):
    voice = FastSpeech2(zoo.folder("fastspeech2"), speaker="hibari")
    ours = evaluate.judge(evaluate.speak(voice, gutenberg.split("test", SENTENCES)), scorer)
    assert ours.summary["wer"].value <= 0.15  # its teacher: 0.044 on 40 sentences


@pytest.mark.slow
def test_the_knobs_of_fastspeech2_do_what_they_say(scorer):
    settings = {
        name: control.SETTINGS[name]
        for name in ("as it speaks", "pitch +4 semitones", "rate x 1.25", "energy x 0.5")
    }
    voice = systems.load("fastspeech2")  # the vocoder has to follow, too
    table, _ = control.responses(voice, gutenberg.split("validation", 3), scorer, settings=settings)
    assert 2 < table.loc["pitch +4 semitones", "pitch, semitones"] < 6
    assert table.loc["rate x 1.25", "rate, factor"] == pytest.approx(1.25, abs=0.03)
    assert table.loc["energy x 0.5", "level, dB"] < -1


def test_the_vocoder_copies_a_clip_in_place():
    """The copy of a clip has its log-mel, and none of a clip shifted by a few frames."""
    speech = systems.load("vits-joe", target="onnxruntime/cpu").synthesize(
        "The birch canoe slid on the smooth planks."
    )
    waveform = speech.waveform[: len(speech.waveform) // 256 * 256]
    mel = log_mel(waveform)
    copied = log_mel(systems.load("hifigan").vocode(mel))
    assert np.abs(copied - mel).mean() < 0.4 < np.abs(np.roll(copied, 8, axis=0) - mel).mean()


@pytest.mark.parametrize("speed, within_cents", [(1.0, 40), (0.85, 141), (1.15, 121)])
def test_the_vocoder_speaks_at_the_pitch_of_the_mel(speed, within_cents):
    """A slower or faster tape is another voice, whose pitch is more than half followed: a decoder left to
    itself has one of its own.
    """
    speech = systems.load("vits-joe", target="onnxruntime/cpu").synthesize(
        "The birch canoe slid on the smooth planks."
    )
    waveform = audio.resample(speech.waveform, round(22_050 * speed), 22_050)
    waveform = waveform[: len(waveform) // 256 * 256]
    copied = systems.load("hifigan").vocode(log_mel(waveform))
    assert aligned.f0_error_cents(waveform, copied, 22_050) < within_cents
