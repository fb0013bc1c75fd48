"""Mel spectrograms against librosa and transformers, Griffin-Lim, F0 against known F0, prosody against known
prosody.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from lib import audio, features, prosody
from lib.errors import AudioError, ParameterError
from lib.features import HIFIGAN, SPEECHT5

TEXT = "The birch canoe slid on the smooth planks, and the box was thrown beside the parked truck."


@functools.cache
def joe():
    """One synthesised sentence with its phones and their exact frames."""
    from lib.systems.vits_joe.stages import VitsJoeOnnx

    return VitsJoeOnnx(threads=1).synthesize(TEXT, seed=0)


def clip(config: features.MelConfig) -> np.ndarray:
    return audio.resample(joe().waveform, 22_050, config.sample_rate)


def voice(
    begin_hz: float, end_hz: float, seconds: float = 2.0, sample_rate: int = 22_050
) -> tuple[np.ndarray, np.ndarray]:
    """A vowel-like buzz gliding between two pitches, and its true F0 per sample."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    hz = begin_hz * (end_hz / begin_hz) ** (time / seconds)
    phase = 2 * np.pi * np.cumsum(hz) / sample_rate
    buzz = sum(np.sin(k * phase) / k * (k * hz < 5000) / (1 + abs(k * hz - 600) / 400) for k in range(1, 50))
    return (0.5 * buzz / np.abs(buzz).max()).astype(np.float32), hz


def test_hifigan_mel_equals_librosa():
    import librosa

    waveform = clip(HIFIGAN).astype(np.float64)
    padded = np.pad(waveform, 384, mode="reflect")
    power = np.abs(librosa.stft(padded, n_fft=1024, hop_length=256, center=False)) ** 2
    filters = librosa.filters.mel(sr=22_050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    expected = np.log(np.maximum(filters @ np.sqrt(power + 1e-9), 1e-5)).T
    actual = features.log_mel(waveform, HIFIGAN)
    assert actual.shape == (len(waveform) // 256, 80) and actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_speecht5_mel_equals_transformers():
    from transformers import SpeechT5FeatureExtractor

    waveform = clip(SPEECHT5)
    expected = SpeechT5FeatureExtractor()(
        audio_target=waveform, sampling_rate=16_000, return_tensors="np"
    ).input_values[0]
    np.testing.assert_allclose(features.log_mel(waveform, SPEECHT5), expected, atol=1e-4)


@pytest.mark.parametrize("config", [HIFIGAN, SPEECHT5])
@pytest.mark.parametrize("extra", [0, 1, 255])
def test_number_of_frames_is_the_same_everywhere(config, extra):
    waveform, _ = voice(120, 140, 1.0)
    waveform = waveform[: 256 * 60 + extra]
    frames = config.n_frames(len(waveform))
    assert frames == (60 if config is HIFIGAN else 61)
    assert len(features.log_mel(waveform, config)) == frames == len(features.energy(waveform, config))
    assert len(prosody.f0(waveform, config.sample_rate, config).hz) == frames


@pytest.mark.parametrize("config", [HIFIGAN, SPEECHT5])
def test_torch_and_numpy_agree(config):
    waveform = clip(config)
    batch = torch.from_numpy(np.stack([waveform, 0.1 * waveform[::-1]]))
    expected = np.stack([features.log_mel(row.numpy(), config) for row in batch])
    np.testing.assert_allclose(features.log_mel_torch(batch.double(), config), expected, atol=1e-5)
    np.testing.assert_allclose(
        features.log_mel_torch(batch, config), expected, atol=1e-3
    )  # float32's rounding in quiet bands
    assert np.abs(features.log_mel_torch(batch, config).numpy() - expected).mean() < 1e-5


@pytest.mark.parametrize("config", [HIFIGAN, SPEECHT5])
def test_torch_mel_has_correct_and_finite_gradients(config):
    with torch.inference_mode():  # tensors cached here must still serve training below
        features.log_mel_torch(torch.rand(4096, dtype=torch.float64), config)
    waveform = (
        torch.rand(1280, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) - 0.5
    ).requires_grad_()
    features.log_mel_torch(waveform, config).sum().backward()
    step = torch.zeros_like(waveform)
    step[700] = 1e-6
    with torch.no_grad():
        up, down = (features.log_mel_torch(waveform + sign * step, config).sum() for sign in (1, -1))
    assert float((up - down) / 2e-6) == pytest.approx(float(waveform.grad[700]), rel=1e-4)
    silence = torch.zeros(2048, requires_grad=True)
    features.log_mel_torch(silence, config).sum().backward()
    assert torch.isfinite(silence.grad).all()


def test_a_tone_lands_in_the_band_around_its_frequency():
    import librosa

    for config in (HIFIGAN, SPEECHT5):
        centres = librosa.mel_frequencies(82, fmin=config.low_hz, fmax=config.high_hz)[1:-1]
        time = np.arange(config.sample_rate) / config.sample_rate
        for band in (10, 40, 75):
            mel = features.log_mel(0.5 * np.sin(2 * np.pi * centres[band] * time), config)
            assert set(mel[5:-5].argmax(axis=1)) == {band}


def test_a_click_is_loudest_in_the_frame_that_covers_it():
    for config in (HIFIGAN, SPEECHT5):
        waveform = np.zeros(config.sample_rate, np.float32)
        waveform[10_000] = 1
        frame = int(features.energy(waveform, config).argmax())
        assert (
            abs(config.frame_times(60)[frame] - 10_000 / config.sample_rate)
            <= config.hop / 2 / config.sample_rate
        )


def test_energy_is_the_norm_of_the_magnitudes():
    waveform, _ = voice(100, 100, 1.0)
    loud, quiet = features.energy(waveform), features.energy(0.5 * waveform)
    np.testing.assert_allclose(quiet / loud, 0.5, rtol=1e-3)
    magnitude = features.magnitude_torch(torch.from_numpy(waveform).double()).numpy()
    np.testing.assert_allclose(loud, np.sqrt((magnitude**2).sum(axis=1)), rtol=1e-6)


@pytest.mark.parametrize(
    "waveform", [np.zeros(30_000, np.float32), np.full(30_000, np.nan), np.ones((2, 30_000)), np.ones(1000)]
)
def test_unusable_audio_is_refused(waveform):
    for function in (features.log_mel, features.energy):
        with pytest.raises(AudioError):
            function(waveform)
    with pytest.raises(AudioError):
        prosody.f0(waveform, 22_050)


def test_phone_average():
    hz = np.array([0, 100, 110, 0, 0, 200.0])
    assert features.phone_average(hz, (3, 2, 0, 1)).tolist() == [70, 0, 0, 200]
    assert features.phone_average(hz, (3, 2, 0, 1), ignore_zero=True).tolist() == [105, 0, 0, 200]
    with pytest.raises(ParameterError, match="5 frames"):
        features.phone_average(hz, (3, 2))


def test_griffin_lim_is_deterministic_and_close():
    from pesq import pesq

    original = joe().waveform
    mel = features.log_mel(original)
    rebuilt = features.griffin_lim(mel, iterations=16)
    np.testing.assert_array_equal(rebuilt, features.griffin_lim(mel, iterations=16))
    assert len(rebuilt) == len(mel) * 256
    assert np.abs(features.log_mel(rebuilt) - mel).mean() < 0.2  # 1.7 dB
    to_16k = [audio.resample(w, 22_050, 16_000) for w in (original[: len(rebuilt)], rebuilt)]
    assert pesq(16_000, *to_16k, "wb") > 2
    speecht5 = features.log_mel(clip(SPEECHT5), SPEECHT5)
    again = features.log_mel(features.griffin_lim(speecht5, SPEECHT5, iterations=16), SPEECHT5)
    assert np.abs(again - speecht5).mean() < 0.2 and len(again) == len(speecht5)


@pytest.mark.parametrize(
    "mel", [np.zeros(80), np.zeros((10, 40)), np.full((10, 80), np.nan), np.zeros((1, 80))]
)
def test_griffin_lim_refuses_what_is_no_mel(mel):
    with pytest.raises(AudioError, match="log-mel of shape"):
        features.griffin_lim(mel)


@pytest.mark.parametrize("begin_hz, end_hz", [(90, 180), (240, 120), (300, 150)])
@pytest.mark.parametrize("config", [HIFIGAN, SPEECHT5])
def test_f0_follows_a_glide(begin_hz, end_hz, config):
    waveform, truth = voice(begin_hz, end_hz)
    noise = (
        np.random.default_rng(0).normal(0, waveform.std() / 10, len(waveform)).astype(np.float32)
    )  # 20 dB SNR
    found = prosody.f0(waveform + noise, 22_050, config)
    times = config.frame_times(len(found.hz))
    inner = slice(5, -5)
    error = found.hz[inner] / np.interp(times[inner], np.arange(len(truth)) / 22_050, truth) - 1
    assert found.voiced[inner].all()
    assert np.median(np.abs(error)) < 0.003 and np.percentile(np.abs(error), 95) < 0.01
    assert np.mean(np.abs(error) > 0.2) == 0


def test_f0_of_noise_and_around_speech_is_unvoiced():
    noise = np.random.default_rng(0).normal(0, 0.1, 22_050).astype(np.float32)
    assert prosody.f0(noise, 22_050).voiced.mean() < 0.02
    waveform, _ = voice(150, 150, 1.0)
    voiced = prosody.f0(np.concatenate([0.1 * noise[:11_025], waveform, 0.1 * noise[:11_025]]), 22_050).voiced
    begin, end = np.flatnonzero(voiced)[[0, -1]]
    assert abs(begin - 43) <= 2 and abs(end - 129) <= 2


def test_f0_agrees_with_an_independent_tracker_on_speech():
    import librosa

    hz = prosody.f0(joe().waveform, 22_050).hz
    other, _, _ = librosa.pyin(joe().waveform, fmin=60, fmax=500, sr=22_050, frame_length=2048, hop_length=256)
    other = np.nan_to_num(other)[: len(hz)]
    both = (hz > 0) & (other > 0)
    assert (
        both.mean() > 0.2 and np.mean((hz > 0) == (other > 0)) > 0.7
    )  # pyin calls less of creaky speech voiced
    assert np.mean(np.abs(12 * np.log2(hz[both] / other[both])) < 1) > 0.9


def test_pulses_follow_a_glide_and_count_its_cycles():
    rate, hop = HIFIGAN.sample_rate, HIFIGAN.hop
    seconds = np.arange(2 * rate) / rate
    cycles = 120 * seconds + 20 * seconds**2  # 120 Hz, rising by 40 Hz a second
    waveform = sum(np.cos(2 * np.pi * k * cycles) / k for k in range(1, 20)).astype(np.float32) * 0.1
    phase, hz = prosody.pulses(waveform, rate).T
    at = np.arange(len(hz)) * hop
    inner = slice(5, -5)
    assert np.abs(hz / (120 + 40 * seconds[at]) - 1)[inner].max() < 0.02
    behind = (
        cycles[at] - phase
    ) % 1  # the same everywhere but for a constant: where in a cycle Praat sets its mark
    centred = (behind - behind[len(behind) // 2] + 0.5) % 1 - 0.5
    assert np.abs(centred[inner]).max() < 0.03
    assert phase.min() >= 0 and phase.max() < 1


def test_pulses_of_noise_and_a_snippet_are_none():
    rng = np.random.default_rng(0)
    assert (
        prosody.pulses(rng.normal(size=22_050).astype(np.float32) * 0.1, 22_050)[:, 1].astype(bool).mean() < 0.1
    )
    assert prosody.pulses(np.full(1_050, 0.1, np.float32), 22_050).tolist() == [[0, 0]] * HIFIGAN.n_frames(
        1_050
    )


def test_f0_refuses_an_impossible_range():
    with pytest.raises(ParameterError, match="between 300 and 200"):
        prosody.f0(voice(100, 100)[0], 22_050, floor_hz=300, ceiling_hz=200)


def test_continuous_f0_bridges_in_log_frequency():
    np.testing.assert_allclose(prosody.continuous([0, 100, 0, 400, 0]), [100, 100, 200, 400, 400], rtol=1e-6)
    assert prosody.continuous([0, 0]).tolist() == [0, 0]


def test_prosody_of_known_speech():
    first, _ = voice(200, 150, 1.0)
    second, _ = voice(150, 112.5, 1.0)
    waveform = np.concatenate([np.zeros(6615), first, np.zeros(8820), second, np.zeros(6615)]).astype(
        np.float32
    )  # a 0.4 s gap
    waveform += np.random.default_rng(0).normal(0, 1e-4, len(waveform)).astype(np.float32)
    found = prosody.prosody(waveform, 22_050)
    assert found.f0_median_hz == pytest.approx(150, rel=0.02)
    assert found.f0_range_st == pytest.approx(0.9 * 12 * np.log2(200 / 112.5), rel=0.05)
    assert found.f0_slope_st_per_s == pytest.approx(-12 * np.log2(200 / 112.5) / 2.4, rel=0.15)
    assert found.pauses == 1 and found.pause_s == pytest.approx(0.4, abs=0.06)
    assert found.rate_unit == "syllables/s" and found.rate == pytest.approx(1, rel=0.1)
    assert found.voiced_share > 0.95


def test_prosody_counts_the_phones_it_is_given():
    speech = joe()
    given = prosody.prosody(speech.waveform, 22_050, phones=speech.phones, frames=speech.frames)
    read = prosody.prosody(speech.waveform, 22_050, text=TEXT)
    heard = prosody.prosody(speech.waveform, 22_050)
    assert given.rate_unit == read.rate_unit == "phones/s" and given.rate == pytest.approx(read.rate, rel=0.05)
    assert 9 < given.rate < 18
    # Truth: 19 syllables.
    assert heard.rate / read.rate == pytest.approx(
        19 / sum(s.kind == "phone" for s in prosody.segments(speech.phones)), rel=0.3
    )
    with pytest.raises(ParameterError, match="do not fit"):
        prosody.prosody(speech.waveform, 22_050, phones=speech.phones, frames=speech.frames[:-1])


def test_segments():
    names = [(s.name, s.kind) for s in prosody.segments(tuple("^tʃˈɪldɹən, ˌaʊɚ bˈʌʔn\u0329zɜː.$"))]
    phones = ["tʃ", "ˈɪ", "l", "d", "ɹ", "ə", "n", "ˌaʊ", "ɚ", "b", "ˈʌ", "ʔ", "n\u0329", "z", "ɜː"]
    assert [name for name, kind in names if kind == "phone"] == phones
    assert [name for name, kind in names if kind == "pause"] == ["^", ", ", " ", ".$"]
