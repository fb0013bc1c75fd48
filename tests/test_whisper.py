"""whisper-tiny.en in transformers is the model in the package: same encoder output, same transcripts as
faster-whisper.
"""

import functools

import numpy as np
import pytest

from lib import audio, systems
from lib.corpora import gutenberg
from lib.errors import AudioError, MissingDataError, SpeechError
from lib.systems import whisper
from lib.systems.whisper import ctranslate2_weights
from lib.text import for_comparison


@functools.cache
def recogniser():
    return whisper.Whisper(threads=2)


@functools.cache
def reference():
    from faster_whisper import WhisperModel

    return WhisperModel(
        str(whisper.folder()), device="cpu", compute_type="float32", cpu_threads=2, local_files_only=True
    )


@functools.cache
def clips():
    """Ten sentences, five by each voice: (text, waveform at 16 kHz)."""
    made = []
    for index, sentence in enumerate(gutenberg.split("test", 10)):
        voice = systems.load(*(("hibari",), ("vits-joe",))[index % 2], target="onnxruntime/cpu")
        speech = voice.synthesize(sentence.text, index)
        made.append((sentence.text, audio.resample(speech.waveform, speech.sample_rate, 16_000)))
    return made


def test_every_weight_is_there():
    assert recogniser().params_m == pytest.approx(37.76, abs=0.005)


def test_the_encoder_agrees_with_ctranslate2():
    for _, waveform in clips()[:3]:
        features = recogniser().features(waveform, 16_000)
        ours = recogniser().modules["encoder"](features).last_hidden_state.detach().numpy()
        theirs = np.array(reference().encode(features[0].numpy()))
        assert ours.shape == theirs.shape == (1, 1500, 384)
        assert np.abs(ours - theirs).max() <= 1e-3


@functools.cache
def ours() -> list[str]:
    """What it hears of the clips."""
    return [recogniser().transcribe(waveform, 16_000).text for _, waveform in clips()]


def test_transcripts_of_ten_clips_are_those_of_ctranslate2_on_the_same_input():
    import ctranslate2

    for heard, (text, waveform) in zip(ours(), clips(), strict=True):
        features = np.ascontiguousarray(recogniser().features(waveform, 16_000).numpy())
        (result,) = reference().model.generate(
            ctranslate2.StorageView.from_array(features), [[whisper.SOT, whisper.NO_TIMESTAMPS]], beam_size=1
        )
        expected = recogniser().tokenizer.decode(result.sequences_ids[0]).strip()
        assert heard == expected, text


def test_transcripts_of_ten_clips_are_those_of_faster_whisper():
    """Words, not letters: faster-whisper fills the 30 s window with zeros after the log, which tips a capital
    now and then.
    """
    for heard, (text, waveform) in zip(ours(), clips(), strict=True):
        segments, _ = reference().transcribe(
            waveform,
            language="en",
            beam_size=1,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        theirs = " ".join(segment.text.strip() for segment in segments)
        assert for_comparison(heard) == for_comparison(theirs), text


def test_the_sample_rate_is_taken_into_account():
    _, waveform = clips()[0]
    resampled = audio.resample(waveform, 16_000, 44_100)
    assert recogniser().transcribe(resampled, 44_100).text == recogniser().transcribe(waveform, 16_000).text


def test_bad_audio_is_refused():
    with pytest.raises(AudioError, match="silent"):
        recogniser().transcribe(np.zeros(16_000, np.float32), 16_000)


def test_a_truncated_weight_file_is_named(tmp_path):
    with pytest.raises(MissingDataError, match="no CTranslate2 model"):
        ctranslate2_weights.read(tmp_path / "model.bin")
    (tmp_path / "model.bin").write_bytes((whisper.folder() / "model.bin").read_bytes()[:100_000])
    with pytest.raises(SpeechError, match="not a whole CTranslate2 model"):
        ctranslate2_weights.read(tmp_path / "model.bin")
