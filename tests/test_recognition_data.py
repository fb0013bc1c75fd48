"""Is what the recogniser learns from apart from what it is judged on, usable, and damaged as it is said to be?"""

from __future__ import annotations

import numpy as np
import pytest

from lib import audio
from lib.corpora import domains, duplicates, recognition
from lib.corpora.base import Utterance
from lib.errors import AudioError, ParameterError, SpeechError

RATE = 16_000


def speech(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    """Noise in syllables: enough of speech for levels and codecs."""
    rng, n = np.random.default_rng(seed), round(seconds * RATE)
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(n) / RATE)
    return (0.1 * syllables * rng.standard_normal(n)).astype(np.float32)


def utterance(
    name="one", text="the old man opened the door", split="train", waveform=None, speaker="a"
) -> Utterance:
    waveform = speech() if waveform is None else waveform
    return Utterance(name, text, text, speaker, split, RATE, lambda: (waveform, RATE))


def high_band_db(waveform: np.ndarray, above_hz: float) -> float:
    power = np.abs(np.fft.rfft(waveform)) ** 2
    hz = np.fft.rfftfreq(len(waveform), 1 / RATE)
    return 10 * np.log10(power[hz > above_hz].sum() / power.sum())


@pytest.mark.parametrize("domain", domains.DOMAINS)
def test_a_clip_is_the_same_whenever_it_is_loaded_and_another_with_another_seed(domain):
    one = utterance()
    first, again = domains.Clip(one, domain).load(), domains.Clip(one, domain).load()
    assert np.array_equal(first, again) and len(first) == 2 * RATE
    same = np.array_equal(first, domains.Clip(one, domain, seed=1).load())
    assert same == (domain == domains.CLEAN)


def test_noise_is_as_loud_as_the_clip_says():
    clips = [domains.Clip(utterance(f"u{n}"), "noise") for n in range(6)]
    for clip in clips:
        clean, noisy = clip.utterance.load(), clip.load().astype(np.float64)
        scale = noisy @ clean / (clean @ clean)  # what would have clipped was scaled down as a whole
        noise = noisy - scale * clean
        level = audio.level_dbfs((scale * clean).astype(np.float32), RATE)
        assert level - 10 * np.log10(np.mean(noise**2)) == pytest.approx(clip.snr_db, abs=0.7)
    drawn = [clip.snr_db for clip in clips]
    assert all(0 <= snr <= 10 for snr in drawn) and np.ptp(drawn) > 2
    assert domains.Clip(utterance(), "room").snr_db is None


@pytest.mark.parametrize("domain", ["telephone", "gsm"])
def test_a_telephone_has_no_upper_band(domain):
    assert high_band_db(domains.Clip(utterance(), domain).load(), 4_100) < -30 < high_band_db(speech(), 4_100)


def test_an_unknown_domain_is_named():
    with pytest.raises(ParameterError, match="did you mean 'noise'"):
        domains.Clip(utterance(), "noisy")


def test_domains_take_turns_or_are_all_heard():
    two = [utterance("a"), utterance("b")]
    assert [c.domain for c in domains.each_once(two, ("noise", "room"))] == ["noise", "room"]
    assert len(domains.in_all(two, ("noise", "room", "clean"))) == 6


def test_texts_near_to_a_test_clip_are_not_learnt_from():
    clips = [
        utterance("t", "please enter your password now", "test"),
        utterance("v", "please enter the password now", "validation"),
        utterance("w", "there are no messages for you today", "validation"),
        utterance("x", "Please enter your password, now!", "train"),
        utterance("y", "there are no messages for you", "train"),
        utterance("z", "the weather is fine in spring", "train"),
    ]
    apart = recognition.hold_apart(clips)
    assert {u.id for u in apart.utterances} == {"t", "w", "z"}
    assert set(apart.left_out) == {"v", "x", "y"} and "password" in apart.left_out["x"]
    recognition.refuse_overlap(apart.utterances)
    with pytest.raises(SpeechError, match="on two sides"):
        recognition.refuse_overlap(clips)


def test_a_block_recorded_in_one_go_is_on_one_side():
    clips = [
        utterance("prompt-conf-a", split="test"),
        utterance("prompt-conf-b", "a text of its own here", "train"),
    ]
    with pytest.raises(SpeechError, match="recordings of conf are on two sides"):
        recognition.refuse_overlap(clips)


def test_the_recordings_and_read_sentences_are_apart():
    """Of the real corpus: no block on two sides, no near-duplicate of any held-out text in training."""
    corpus = recognition.recordings()
    apart = recognition.hold_apart(corpus.utterances)
    recognition.refuse_overlap(apart.utterances)
    held_out = duplicates.Known(u.normalized for u in apart.utterances if u.split != "train")
    learnt = [u for u in apart.utterances if u.split == "train"]
    assert len(learnt) > 100 and not [u.id for u in learnt if held_out.near(u.normalized)]
    assert {recognition.block(u) for u in apart.utterances if u.split == "test"} == set(recognition.TEST_BLOCKS)
    sentences = recognition.to_read({"train": 30, "validation": 5, "test": 20})
    known = duplicates.Known(s.text for s in sentences if s.split != "train")
    assert not [s.text for s in sentences if s.split == "train" and known.near(s.text)]


@pytest.mark.parametrize(
    "waveform, text, message",
    [
        (np.zeros(RATE, np.float32), "four words are said", "silent"),
        (np.sign(speech()), "four words are said", "is clipped, 100%"),
        (
            speech(1.0),
            "far more words than anybody could ever say within one single second",
            "text does not fit",
        ),
        (speech(9.0), "hello you", "text does not fit"),
        (speech(9.0), "the old man opened the door of his house", "longer than the window of 8 s"),
        (np.full(RATE, np.nan, np.float32), "four words are said", "NaN"),
    ],
)
def test_what_cannot_be_learnt_from_is_left_out_and_said(waveform, text, message):
    longest = 8.0 if "window" in message else 30.0
    good, bad = utterance("good"), utterance("bad", text, waveform=waveform)
    with pytest.raises(AudioError, match=message):
        recognition.check(
            bad.load() if "silent" not in message and "NaN" not in message else waveform, bad, longest
        )
    found = recognition.usable([good, bad], longest)
    assert [u.id for u in found.utterances] == ["good"] and message.split(",")[0] in found.left_out["bad"]


def test_one_clip_is_no_split():
    with pytest.raises(ParameterError, match="1 clip of the train split cannot be worked with"):
        recognition.of_split([utterance()], "train")


def test_speakers_take_turns_in_a_limit():
    many = [utterance(f"{s}{n}", speaker=s) for s in "ab" for n in range(10)]
    assert [u.speaker for u in recognition.of_split(many, "train", 6)].count("a") == 3
