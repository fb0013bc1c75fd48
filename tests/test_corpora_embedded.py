"""The embedded corpora: what is in them, and that nothing held out is ever trained on."""

import numpy as np
import pytest

from lib import systems
from lib.corpora import fetch, gutenberg, prompts, synthetic
from lib.corpora.duplicates import Known
from lib.corpora.portion import apart
from lib.errors import AudioError, MissingDataError


def letters(text):
    return "".join(c for c in text.lower() if c.isalnum())


def test_the_hundred_test_sentences_are_in_no_other_split():
    groups = {
        name: {letters(s.text) for s in gutenberg.split(name)} for name in ("train", "validation", "test")
    }
    assert len(groups["test"]) == 100 and len(groups["validation"]) == 50 and len(groups["train"]) > 1_700
    assert not groups["test"] & groups["train"] and not groups["test"] & groups["validation"]
    assert not groups["validation"] & groups["train"]


def test_the_split_never_changes():
    assert [s.id for s in gutenberg.split("test", 3)] == [
        "botchan-00463f89",
        "botchan-006a0822",
        "botchan-007a6fb3",
    ]
    assert (
        gutenberg.split("test", 2)[1].text
        == "I lived, after the death of mother, in this fashion for five or six years."
    )


def test_sentences_are_clean():
    for sentence in gutenberg.sentences():
        assert 4 <= len(sentence.text.split()) <= 30 and sentence.text[-1] in ".?!" and '"' not in sentence.text
    assert len({s.id for s in gutenberg.sentences()}) == len(gutenberg.sentences())


def test_cleaning_cuts_dialogue_and_headings():
    book = (
        'x\nCHAPTER I\nHe said to me: "You are late again."\nI ran--as\nfast as I could.\n'
        "CHAPTER II\nNo.\n*** END OF"
    )
    assert gutenberg.clean(book) == ["He said to me: You are late again.", "I ran, as fast as I could."]


@pytest.fixture(scope="module")
def recordings():
    try:
        return prompts.load()
    except MissingDataError as error:
        pytest.skip(f"prompts not run: {error}")


def test_prompts_are_speech_with_text(recordings):
    assert len(recordings) > 500
    test = [(u, w) for u, w in recordings.waveforms("test")]
    assert len(test) >= 80
    for utterance, waveform in test[:20]:
        assert 0.3 < len(waveform) / 16_000 < 60
        rate = len(letters(utterance.text)) / (len(waveform) / 16_000)
        assert 4 < rate < 25, f"{utterance.id}: {rate:.1f} letters per second"


def test_prompts_that_say_the_same_share_a_split(recordings):
    by_text = {}
    for utterance in recordings.utterances:
        by_text.setdefault(letters(utterance.text), set()).add(utterance.split)
    assert all(len(splits) == 1 for splits in by_text.values())


def test_no_prompt_that_is_learnt_is_nearly_one_that_is_judged(recordings):
    free, watched = apart(recordings)
    judged, held_out = (Known(u.normalized for u in said) for said in (recordings.split("test"), watched))
    assert all(judged.near(u.normalized) is None for u in (*free, *watched))
    assert all(held_out.near(u.normalized) is None for u in free)
    assert len(recordings.split("train")) > len(free) > 150 and len(watched) > 20


def test_the_files_of_prompts_do_not_say_when_they_were_recorded(recordings):
    """Else held-out prompts should be the latest ones."""
    written = [u.read.args[0].stat().st_mtime for u in recordings.utterances if u.read.args[0].is_file()]
    assert len(written) > 500 and max(written) - min(written) < 300


def test_a_prompt_without_recording_is_counted_not_dropped(recordings):
    total = sum(1 for _ in recordings.waveforms("train"))
    missing = [u for u in recordings.split("train") if u.id in recordings.skipped]
    assert total + len(missing) == len(recordings.split("train"))


def test_prompt_texts_without_speech_are_left_out():
    listing = "; comment\n\nbeep: [a beep]\nhello: Hello  there.\nodd: \nsilence/1: <one second>\n"
    assert prompts.parse(listing) == {"hello": "Hello there."}


def test_an_empty_recording_is_named(tmp_path):
    (tmp_path / "empty.g722").write_bytes(b"")
    with pytest.raises(AudioError, match="empty.g722 is empty"):
        prompts.decode_g722(tmp_path / "empty.g722")


@pytest.fixture
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    return tmp_path


def test_synthetic_speech_is_made_once_and_knows_its_frames(private_cache, monkeypatch):
    sentences = gutenberg.sentences()[:3]
    voice = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    corpus = synthetic.corpus(voice, sentences, workers=2)
    assert [u.text for u in corpus.utterances] == [s.text for s in sentences]
    for utterance in corpus.utterances:
        assert sum(utterance.frames) * 256 == len(utterance.load()) and len(utterance.phones) == len(
            utterance.frames
        )
    monkeypatch.setattr(voice, "speak", lambda *_: pytest.fail("it was already on disk"))
    again = synthetic.corpus(voice, sentences)
    assert np.array_equal(again.utterances[0].load(), corpus.utterances[0].load())


def test_an_interrupted_corpus_goes_on_where_it_stopped(private_cache, monkeypatch):
    sentences = gutenberg.sentences()[:3]
    voice = systems.load("hibari", threads=1)
    real, spoken = voice.speak, []

    def dies_on_the_second(text, seed):
        if len(spoken) == 1:
            raise KeyboardInterrupt
        spoken.append(text)
        return real(text, seed)

    monkeypatch.setattr(voice, "speak", dies_on_the_second)
    with pytest.raises(KeyboardInterrupt):
        synthetic.corpus(voice, sentences)
    monkeypatch.setattr(voice, "speak", lambda text, seed: spoken.append(text) or real(text, seed))
    assert len(synthetic.corpus(voice, sentences)) == 3
    assert spoken == [s.text for s in sentences]


def test_a_sentence_the_voice_cannot_speak_is_counted(private_cache):
    sentences = (gutenberg.sentences()[0], gutenberg.Sentence("odd", "?!", "train"))
    corpus = synthetic.corpus(systems.load("hibari", threads=1), sentences)
    assert len(corpus) == 1 and list(corpus.skipped) == ["odd"]


def test_a_missing_package_says_what_to_do(private_cache, monkeypatch):
    monkeypatch.setattr(fetch.shutil, "which", lambda _: None)
    with pytest.raises(MissingDataError, match="no apt-get and no dpkg-deb; unpack the package into"):
        fetch.from_debian("some-package", "usr/x")
    with pytest.raises(MissingDataError, match="pip download no-such-package-here==1.0` failed"):
        fetch.from_sdist("no-such-package-here==1.0", "x.txt", "0")
