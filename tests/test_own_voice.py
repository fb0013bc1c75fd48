"""Recordings of one's own: what is fit to learn from, how much of it, and the command that learns."""

from __future__ import annotations

import dataclasses
import functools
import random
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from acoustic_checks import short_sentences

from lib import adapt, optimize, systems
from lib.corpora import own, synthetic
from lib.corpora.base import Corpus, Utterance
from lib.corpora.duplicates import Known
from lib.corpora.portion import Portion, apart, in_drawn_order, portion
from lib.errors import AudioError, MissingDataError, ParameterError, StoppedError
from lib.studies import finetuning, person
from lib.studies.trials import Trial
from lib.systems.fastspeech2 import checkpoints
from lib.systems.vits_joe.stages import VitsJoeOnnx
from lib.training import sources

RATE = 16_000


@functools.cache
def spoken() -> list[tuple[str, np.ndarray, int]]:
    """(text, waveform, rate) of six short sentences."""
    chosen = [s for s in short_sentences("train") if len(s.text.split()) > 3][:6]
    corpus = synthetic.corpus(VitsJoeOnnx(threads=1), chosen)
    return [(u.text, *u.read()) for u in corpus.utterances]


def folder_of(root, clips, lines=()):
    (root / "wavs").mkdir(parents=True)
    listed = list(lines)
    for number, (text, waveform, rate) in enumerate(clips):
        soundfile.write(root / "wavs" / f"clip-{number}.wav", waveform, rate, subtype="PCM_16")
        listed.append(f"clip-{number}|{text}")
    (root / "metadata.csv").write_text("\n".join(listed) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder of six good clips, and four that cannot be used."""
    clips = spoken()
    text, waveform, rate = clips[0]
    bad = [
        ("Nobody said this.", np.zeros(rate, np.float32), rate),
        (text, np.clip(30 * waveform, -1, 1), rate),
        ("The quick brown foxes jumped over seventeen lazy dogs in the yard yesterday.", clips[1][1], rate),
    ]
    return folder_of(tmp_path_factory.mktemp("my voice"), clips + bad, ["gone|There is no such clip."])


@pytest.fixture(scope="module")
def corpus(recorded) -> Corpus:
    return own.load(recorded)


def test_clips_that_cannot_be_used_are_left_out_and_named(corpus, recorded):
    assert len(corpus) == 6 and {u.speaker for u in corpus.utterances} == {own.voice_name(recorded)}
    assert all(u.frames and len(u.frames) == len(u.phones) for u in corpus.utterances)
    assert set(corpus.skipped) == {"clip-6", "clip-7", "clip-8", "gone"}
    assert "is silent" in corpus.skipped["clip-6"] and "is clipped" in corpus.skipped["clip-7"]
    assert "does not seem to say 'The quick brown" in corpus.skipped["clip-8"]
    assert "wavs/gone.wav is missing" in corpus.skipped["gone"]
    counts = {name: len(corpus.split(name)) for name in ("train", "validation", "test")}
    assert counts == {"train": 3, "validation": 1, "test": 2}


def test_other_formats_of_sound_and_names_with_their_endings_are_read(tmp_path):
    endings, clips = (".FLAC", ".mp3", ".ogg", ".WAV", ".wav"), spoken()[:5]
    (tmp_path / "wavs").mkdir()
    lines = []
    for number, (ending, (text, waveform, rate)) in enumerate(zip(endings, clips)):
        soundfile.write(tmp_path / "wavs" / f"größe {number}{ending}", waveform, rate)
        lines.append(f"größe {number}{ending if ending == '.wav' else ''}|{text}")
    (tmp_path / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    read = own.load(tmp_path)
    assert not read.skipped and {u.id for u in read.utterances} == {f"größe {number}" for number in range(5)}


def test_a_recipe_may_learn_from_a_folder_of_recordings(recorded, corpus):
    taken = sources.corpus(sources.Data(corpus="own", source=str(recorded)))
    assert {u.id for u in taken.utterances} == {u.id for u in corpus.utterances if u.split != "test"}
    with pytest.raises(ParameterError, match="names the corpus `own` and no `source`: name the folder"):
        sources.Data(corpus="own")


def test_too_little_is_refused_with_the_reasons(tmp_path):
    one = spoken()[0]
    with pytest.raises(MissingDataError, match="holds 1 usable clip, at least 5 are needed: record more"):
        own.load(folder_of(tmp_path / "one", [one]))
    silent = ("It was quiet in there.", np.zeros(RATE, np.float32), RATE)
    with pytest.raises(MissingDataError, match="1 usable clip.*1 cannot be used: clip-1: .*is silent"):
        own.load(folder_of(tmp_path / "two", [one, silent]))
    with pytest.raises(MissingDataError, match="no .*nowhere: recordings lie in a folder with metadata.csv"):
        own.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingDataError, match="no .*metadata.csv"):
        own.load(tmp_path / "empty")


def test_a_peak_is_no_clipping():
    tone = np.sin(np.arange(RATE) / 10).astype(np.float32)
    own.check(tone, "a clip")
    own.check(0.5 * tone, "a clip")
    with pytest.raises(AudioError, match="a clip: is clipped, .* record it at a lower level"):
        own.check(np.clip(1.5 * tone, -1, 1), "a clip")


def test_equal_texts_share_a_split():
    utterances = [utterance(f"{i}", f"Sentence number {i % 12} says it all.") for i in range(48)]
    where = {}
    for u in own.split(utterances):
        where.setdefault(u.normalized, set()).add(u.split)
    assert len(where) == 12 and all(len(splits) == 1 for splits in where.values())
    assert {"train", "validation", "test"} == set().union(*where.values())


def test_the_latest_sentences_are_held_out_and_none_of_them_nor_a_like_is_learnt():
    """Forty clips in the order of recording; one of the first sentences is said again at the end, one nearly so."""
    names = "alpha bravo charlie delta echo foxtrot golf hotel india juliet".split()
    texts = [" ".join(random.Random(i).choices(names, k=8)) for i in range(38)]
    texts += [texts[2], f"kilo {texts[0].partition(' ')[2]}"]
    recorded = own.split([utterance(f"{i:02}", text) for i, text in enumerate(texts)])
    splits = [u.split for u in recorded]
    assert [u.id for u in recorded] == [f"{i:02}" for i in range(40)]
    assert splits == ["train"] * 2 + ["test"] + ["train"] * 31 + ["validation"] * 2 + ["test"] * 4
    corpus = Corpus("mine", "", "", recorded)
    free, watched = apart(corpus)
    assert "00" in {u.id for u in corpus.split("train")} - {u.id for u in free}  # nearly the last one
    judged, held_out = (Known(u.normalized for u in said) for said in (corpus.split("test"), watched))
    assert all(judged.near(u.normalized) is None for u in (*free, *watched)) and len(free) > 20
    assert all(held_out.near(u.normalized) is None for u in free)
    assert {u.id for u in portion(corpus).corpus.split("train")} == {u.id for u in free}


def utterance(name: str, text: str, split: str = "train", seconds: float = 3.0) -> Utterance:
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)
    return Utterance(name, text, text, "somebody", split, RATE, lambda: (noise, RATE))


def test_nothing_that_is_judged_or_nearly_that_is_learnt():
    said = [
        utterance("judged", "Press one to leave a message for them.", "test"),
        utterance("watched", "The line is busy at this moment.", "validation"),
        utterance("near the judged", "Press two to leave a message for them.", "validation"),
        utterance("same", "press one to leave a message for them", "train"),
        utterance("one word off", "Press one to leave the message for them.", "train"),
        utterance("inside", "The line is busy at this moment. Please call again.", "train"),
        utterance("free", "Good afternoon and welcome to everybody.", "train"),
        utterance("free as well", "Your call cannot be completed as dialled.", "train"),
        utterance("short", "Yes and no.", "train", seconds=0.5),
    ]
    corpus = Corpus("menu", "", "", tuple(said))
    taken = portion(corpus)
    assert {u.id for u in taken.corpus.split("train")} == {"free", "free as well"} and taken.seconds == 6
    assert {u.id for u in taken.corpus.split("validation")} == {"watched"} and not taken.corpus.split("test")
    assert set(taken.left_out) == {"near the judged", "same", "one word off", "inside"}
    assert "0.5 s" in corpus.skipped["short"]
    judged = Known(u.normalized for u in corpus.split("test"))
    assert all(judged.near(u.normalized) is None for u in taken.corpus.utterances)


def test_of_sentences_that_are_nearly_the_same_one_is_judged():
    said = ("You are now muted.", "You are now unmuted.", "Nobody is at home today.", "You are now muted.")
    judged = [utterance(f"t{n}", text, "test") for n, text in enumerate(said)]
    watched = utterance("w", "Something else is watched here.", "validation")
    whose = person.of(Corpus("menu", "", "", (*judged, watched)), 4)
    assert [clip.id for clip in whose.recordings] == ["t0", "t2"] and len(whose.sentences) == 2


def test_a_minute_is_the_beginning_of_three():
    names = "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike".split()
    said = [utterance(f"{a}-{b}", f"{a} {b} {c} {a} {c}") for a in names for b, c in zip(names, names[1:])]
    corpus = Corpus("many", "", "", (*said, utterance("w", "Something else is watched here.", "validation")))
    one, three = (portion(corpus, minutes) for minutes in (1.0, 3.0))
    ids = [[u.id for u in taken.corpus.split("train")] for taken in (one, three)]
    assert ids[1][: len(ids[0])] == ids[0] and len(ids[0]) == 20 and len(ids[1]) == 60
    assert one.seconds == 60 and three.seconds == 180
    assert [u.id for u in in_drawn_order(said)] == [u.id for u in in_drawn_order(said[::-1])]
    with pytest.raises(ParameterError, match="-1 minutes"):
        portion(corpus, -1)
    with pytest.raises(MissingDataError, match="leaves 1 clip to learn from, at least 2 are needed"):
        portion(dataclasses.replace(corpus, utterances=corpus.utterances[-2:]))


def test_the_command_says_what_is_wrong_in_a_line(tmp_path, capsys, recorded):
    assert adapt.main([str(tmp_path / "nowhere")]) == 1
    assert "no voice was learnt: no " in capsys.readouterr().err
    assert adapt.main([str(recorded), "--rank", "0"]) == 1
    assert "a rank is at least 1" in capsys.readouterr().err
    assert adapt.main([str(recorded), "--method", "qlora", "--merge"]) == 1
    assert "cannot be merged" in capsys.readouterr().err
    assert adapt.main([str(recorded), "--threads", "0"]) == 1
    assert "0 threads cannot compute" in capsys.readouterr().err
    assert adapt.main([str(recorded), "--learning-rate", "-1"]) == 1
    assert "a learning rate of -1: give one above 0" in capsys.readouterr().err
    assert adapt.main([str(recorded), "--name", "prompts"]) == 1
    assert "the name of one of the project's voices" in capsys.readouterr().err


def test_other_recordings_or_settings_are_another_training(monkeypatch):
    said = tuple(utterance(f"{n}", f"Sentence {n} says {n} things of its own.") for n in "abcd")
    corpus, trial = Corpus("menu", "", "", said), Trial("lora", steps=3)

    def key(trial=trial, **changes) -> str:
        first = dataclasses.replace(said[0], **changes)
        return adapt._key(trial, Portion(dataclasses.replace(corpus, utterances=(first, *said[1:])), 12.0, ()))

    assert key() == key(dataclasses.replace(trial, threads=1))
    louder = utterance("a", said[0].text, seconds=2.0).read
    others = [
        key(normalized="What was said was corrected."),
        key(read=louder),
        key(dataclasses.replace(trial, steps=9)),
    ]
    before = key()
    monkeypatch.setattr(finetuning, "REVISION", finetuning.REVISION + 1)  # another code learns something else
    assert len({before, key(), *others}) == 5


def test_a_card_says_whether_the_voice_came_nearer():
    def judged(learnt: float) -> dict:
        near = {adapt.CEILING: 0.9, adapt.BASE: 0.6, "lora-r8@me": learnt}
        return {
            who: SimpleNamespace(summary={"speaker_similarity": SimpleNamespace(value=value)})
            for who, value in near.items()
        }

    assert adapt._nearer(judged(0.75), "lora-r8@me").startswith(
        "It came nearer to the person by 0.150, 50 % of the way"
    )
    assert adapt._nearer(judged(0.6), "lora-r8@me").startswith("**It has not come nearer to the person**")
    silent = {who: SimpleNamespace(summary={}) for who in judged(0.6)}
    assert adapt._nearer(silent, "lora-r8@me") is None


def test_a_training_that_was_stopped_is_no_whole_one(monkeypatch, tmp_path):
    from lib.optimize import new_voice
    from lib.training import loop
    from lib.training.outcome import Outcome

    monkeypatch.setattr(new_voice, "task", lambda *_: None)
    cut = Outcome(2, "signal", tmp_path, tmp_path, 1.0, {}, {}, {}, 1.0, None, 1, 1)
    monkeypatch.setattr(loop, "train", lambda *_: cut)
    taken = Portion(Corpus("menu", "", "", (utterance("a", "A sentence."),)), 3.0, ())
    with pytest.raises(
        StoppedError, match="stopped at step 2 of 3: asked for again, the training goes on there"
    ):
        finetuning.train(Trial("lora", steps=3), taken, tmp_path)


@pytest.mark.slow
def test_a_folder_becomes_a_voice_with_clips_and_a_card(recorded, tmp_path, capsys):
    arguments = [
        "--steps",
        "3",
        "--rank",
        "2",
        "--sentences",
        "2",
        "--threads",
        "1",
        "--merge",
        "--out",
        str(tmp_path),
    ]
    assert adapt.main([str(recorded), *arguments]) == 0
    name = own.voice_name(recorded)
    voice = optimize.load(tmp_path / "variant", threads=1)
    assert voice.variant == f"lora-r2@{name}" and voice.speaker == name
    assert checkpoints.sizes(tmp_path / "merged")[1][-1] == name
    plain = systems.load(
        "fastspeech2", checkpoint=tmp_path / "merged", threads=1, vocoder="istft", speaker=name
    )
    said = [one.synthesize("So it is.").audio_s for one in (plain, voice)]
    assert said[0] == pytest.approx(said[1], abs=0.05)  # its weights are in half precision
    clips = sorted((tmp_path / "clips").iterdir())
    assert len(clips) == 4 and all(clip.stat().st_size > 1000 for clip in clips)
    card = (tmp_path / "README.md").read_text()
    assert (
        "3 steps" in card
        and "clip-7: " in card
        and "| the base as it is | " in card
        and f"lora-r2@{name} |" in card
        and "to the person" in card
        and f'vocoder="istft", speaker="{name}")' in card
    )
    assert str(tmp_path / "variant") in capsys.readouterr().out
