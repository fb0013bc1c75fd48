"""Waveforms: every kind of bad audio has one clear error; levels, resampling and storage keep what they should."""

import numpy as np
import pytest

from lib import audio
from lib.errors import AudioError, MissingDataError

RATE = 16_000
TONE = (0.25 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (TONE, 0, "sample rate 0"),
        (TONE, 16_000.5, "sample rate 16000.5"),
        (TONE.reshape(2, -1), RATE, r"shape \(2, 8000\) is not \(n_samples,\)"),
        (TONE[:0], RATE, "holds no samples"),
        ((TONE * 32_767).astype(np.int16), RATE, "dtype int16 is not float"),
        (np.where(np.arange(RATE) == 7, np.nan, TONE), RATE, "1 of 16000 samples are NaN"),
        (np.zeros(RATE, np.float32), RATE, "is silent"),
    ],
)
def test_bad_audio_is_one_clear_error(waveform, rate, message):
    with pytest.raises(AudioError, match=message):
        audio.check(waveform, rate)


def test_good_audio_comes_back_as_float32():
    assert audio.check(TONE.astype(np.float64), RATE).dtype == np.float32


def test_resampling_keeps_the_tone():
    up = audio.resample(TONE, RATE, 22_050)
    assert len(up) == 22_050
    spectrum = np.abs(np.fft.rfft(up * np.hanning(len(up))))
    assert abs(spectrum.argmax() - 440) <= 1


def test_level_ignores_pauses_and_matching_reaches_it():
    speech = np.concatenate([TONE, np.zeros(3 * RATE, np.float32), TONE])
    expected = 20 * np.log10(0.25 / np.sqrt(2))
    assert audio.level_dbfs(speech, RATE) == pytest.approx(expected, abs=0.05)
    assert audio.level_dbfs(audio.match_level(speech, RATE, -26), RATE) == pytest.approx(-26, abs=0.05)


def test_matching_never_clips():
    click = np.zeros(RATE, np.float32)
    click[::2_000] = 0.9
    assert np.abs(audio.match_level(click + 0.001 * TONE, RATE, -5)).max() <= 0.99


def test_flac_round_trip_is_exact_to_16_bits(tmp_path):
    path = audio.save(tmp_path / "a" / "clip.flac", TONE, RATE)
    back, rate = audio.load(path)
    assert rate == RATE and np.abs(back - TONE).max() <= 1 / 32_768


def test_mp3_is_small_and_close():
    import io

    import soundfile

    data = audio.encode(TONE, RATE, "mp3")
    back, rate = soundfile.read(io.BytesIO(data))
    assert rate == RATE and len(data) < len(TONE)
    assert np.abs(np.fft.rfft(back[2_000 : 2_000 + 8_000])).argmax() == 220


def test_missing_and_truncated_files_are_named(tmp_path):
    with pytest.raises(MissingDataError, match="no audio file at .*nothing.wav"):
        audio.load(tmp_path / "nothing.wav")
    whole = audio.encode(TONE, RATE, "flac")
    (tmp_path / "cut.flac").write_bytes(whole[:20])
    with pytest.raises(AudioError, match="cut.flac cannot be decoded"):
        audio.load(tmp_path / "cut.flac")
