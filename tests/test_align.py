"""Forced alignment against exact phone durations, of a voice the aligner's model has never heard."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from lib.corpora import align as aligner
from lib.corpora.base import Corpus, Utterance
from lib.errors import AlignmentError, AudioError, TextError
from lib.features import HIFIGAN
from lib.prosody import segments
from lib.systems import symbols
from lib.systems.vits_joe import piper

SENTENCES = (  # the first, third, fifth and sixth are Harvard sentences (IEEE 1969)
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background, and wait.",
    "Four hours of steady work faced us.",
    "The boy was there when the sun rose; nobody had asked him to come.",
    "Kick the ball straight and follow through.",
    "A large size in stockings is hard to sell.",
)


@functools.cache
def voice():
    from lib.systems.vits_joe.stages import VitsJoeOnnx

    return VitsJoeOnnx(threads=1)


@functools.cache
def spoken(text: str):
    return voice().synthesize(text, seed=0)


def exact_frames(text: str, padding: str = "before") -> np.ndarray:
    """Frames of each symbol as the voice spoke it, each taking the padding *before* it (or "after" it).

    The voice knows the frames of the padding symbol between two phones, not to which of the two they belong,
    and the sound does not settle it: 30 dB below the peak, speech begins 16 ms after the first phone's start so
    defined (1 ms before it, were the padding counted to the phone before) and ends 24 ms before the last one's
    end (56 ms). The aligner, which knows nothing of the voice, agrees with this reading on average; the 50
    sentences below are judged by both.
    """
    ids = piper.padded_ids(symbols.of(text))[None]
    noise = np.random.default_rng(0).standard_normal((1, 2, ids.shape[1]), np.float32)
    (durations,) = (
        voice()
        .sessions["text_encoder"]
        .run(
            ["/Ceil_output_0"],
            {
                "input": ids,
                "input_lengths": np.array([ids.shape[1]], np.int64),
                "scales": voice().scales.array(),
                "/dp/RandomNormalLike_output_0": noise,
            },
        )
    )
    sides = (1, 0) if padding == "before" else (0, 1)
    return np.pad(durations.reshape(-1).astype(int), sides).reshape(-1, 2).sum(axis=1)


def errors_ms(texts, reference=exact_frames) -> np.ndarray:
    """Difference of every phone's begin between the alignment and the truth."""
    found = []
    for text in texts:
        speech = spoken(text)
        alignment = aligner.align(speech.waveform, 22_050, text, phones=speech.phones)
        truth = reference(text)
        assert sum(alignment.frames) == sum(truth) == len(speech.waveform) // 256
        found.append(aligner.boundary_errors_ms(alignment.phones, alignment.frames, truth))
    return np.concatenate(found)


def test_boundaries_are_where_the_voice_put_them():
    errors = errors_ms(SENTENCES)
    assert len(errors) > 150
    assert np.median(np.abs(errors)) <= 20 and abs(np.mean(errors)) <= 10
    assert np.mean(np.abs(errors) <= 50) >= 0.85


@pytest.mark.slow
def test_boundaries_on_12_sentences(capsys):
    from lib.corpora import gutenberg

    texts = [sentence.text for sentence in gutenberg.split("test", 12)]
    for owner, median_ms, within_50 in (("behind", 15, 0.9), ("before", 25, 0.75)):
        errors = errors_ms(
            texts, (lambda text: exact_frames(text, "after")) if owner == "before" else exact_frames
        )
        size = np.abs(errors)
        with capsys.disabled():
            print(
                f"\npadding counted to the phone {owner} it: {len(size)} boundaries: median {np.median(size):.1f} ms, "
                f"mean {size.mean():.1f} ms, 90 % {np.percentile(size, 90):.1f} ms, within 50 ms "
                f"{np.mean(size <= 50):.1%}, "
                f"bias {np.mean(errors):+.1f} ms"
            )
        assert np.median(size) <= median_ms and np.mean(size <= 50) >= within_50


def test_an_alignment_covers_the_clip():
    speech = spoken(SENTENCES[3])
    found = aligner.align(speech.waveform, 22_050, SENTENCES[3])
    assert found.phones == speech.phones and len(found.frames) == len(found.phones)
    assert sum(found.frames) == HIFIGAN.n_frames(len(speech.waveform)) and min(found.frames) >= 0
    lengths = {
        part.name: sum(found.frames[part.begin : part.end])
        for part in segments(found.phones)
        if part.kind == "pause"
    }
    assert lengths["^"] > 0 and lengths["; "] > 8 and lengths[".$"] > 0  # 8 frames are 93 ms
    assert found.confidence > 0.9
    assert "".join(word.phonemes for word in found.words) == "".join(
        s.name for s in segments(found.phones) if s.kind == "phone"
    )
    begins = [word.begin_s for word in found.words]
    assert begins == sorted(begins) and found.words[-1].end_s <= speech.audio_s


def test_silence_around_speech_is_not_given_to_phones():
    speech = spoken(SENTENCES[2])
    noise = np.random.default_rng(1).normal(0, 1e-3, 256 * 86).astype(np.float32)
    longer = np.concatenate([noise, speech.waveform, noise])
    plain = aligner.align(speech.waveform, 22_050, SENTENCES[2])
    padded = aligner.align(longer, 22_050, SENTENCES[2])
    assert abs(padded.frames[0] - plain.frames[0] - 86) <= 3
    assert abs(sum(padded.frames[-2:]) - sum(plain.frames[-2:]) - 86) <= 6


def test_a_pitch_and_formant_shift_is_followed():
    """Played 15 % faster the voice has another vocal tract; the boundaries must scale with it."""
    from lib import audio

    text = SENTENCES[0]
    speech = spoken(text)
    faster = audio.resample(speech.waveform, 22_050, 19_174)  # heard at 22,050 Hz
    found = aligner.align(faster, 22_050, text)
    errors = aligner.boundary_errors_ms(found.phones, found.frames, exact_frames(text) * 19_174 / 22_050)
    assert np.median(np.abs(errors)) <= 25


def test_a_wrong_text_is_refused():
    for right, wrong in zip(SENTENCES[:3], SENTENCES[1:]):
        with pytest.raises(AlignmentError, match="does not seem to say"):
            aligner.align(spoken(right).waveform, 22_050, wrong)


def test_a_word_that_was_not_said_costs_confidence():
    waveform = spoken(SENTENCES[3]).waveform
    right = aligner.align(waveform, 22_050, SENTENCES[3])
    wrong = aligner.align(waveform, 22_050, SENTENCES[3].replace("asked", "telephoned"), min_confidence=0)
    assert wrong.confidence < right.confidence - 0.05
    assert min(word.confidence for word in wrong.words) < 0.2


def test_what_cannot_be_aligned_is_refused():
    speech = spoken(SENTENCES[0])
    with pytest.raises(TextError):
        aligner.align(speech.waveform, 22_050, "...")
    with pytest.raises(TextError, match="no phone for 'ʘ'"):
        aligner.align(speech.waveform, 22_050, "", phones=("^", "ʘ", "$"))
    with pytest.raises(AudioError, match="silent"):
        aligner.align(np.zeros(22_050, np.float32), 22_050, "Hello.")
    with pytest.raises(AlignmentError, match="Four hours"):
        aligner.align(speech.waveform[:8000], 22_050, SENTENCES[2])


def test_a_corpus_is_aligned_once_and_failures_are_counted(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    clips = {
        "a": (SENTENCES[0], SENTENCES[0]),
        "b": (SENTENCES[1], SENTENCES[4]),
        "c": (SENTENCES[2], SENTENCES[2]),
    }
    utterances = tuple(
        Utterance(
            name,
            text,
            text,
            "joe",
            "train",
            22_050,
            functools.partial(lambda t: (spoken(t).waveform, 22_050), said),
        )
        for name, (text, said) in clips.items()
    )
    known = Utterance("d", "x", "x", "joe", "test", 22_050, lambda: 1 / 0, ("^", "x", "$"), (1, 2, 3))
    corpus = Corpus("three", "test", "none", (*utterances, known))
    found = list(aligner.aligned(corpus))
    assert [u.id for u in found] == ["a", "c", "d"] and found[2] is known
    assert sum(found[0].frames) == len(spoken(SENTENCES[0]).waveform) // 256
    assert list(corpus.skipped) == ["b"] and "does not seem to say" in corpus.skipped["b"]
    monkeypatch.setattr(aligner, "align", lambda *a, **k: pytest.fail("a cached alignment was made again"))
    assert list(aligner.aligned(Corpus("one", "", "", utterances[:1])))[0].frames == found[0].frames
    assert all(json.loads(path.read_text())["phones"][0] == "^" for path in tmp_path.rglob("*.json"))


def test_the_frames_a_voice_reports_are_the_reading_the_aligner_agrees_with():
    for text in SENTENCES[:2]:
        assert list(spoken(text).frames) == exact_frames(text).tolist()
