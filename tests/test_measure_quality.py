"""Every metric ranks clean speech above noisy speech, knows what it cannot score, and says what its package says."""

import sys

import numpy as np
import pytest

from lib import audio, systems
from lib.errors import AlignmentError, AudioError, NoVoiceError
from lib.measure import aligned, quality
from lib.measure.intelligibility import Judge

SENTENCES = [
    "Glue the sheet to the dark blue background.",
    "These days a chicken leg is a rare dish.",
    "Four hours of steady work faced us.",
]
RATE = 24_000  # of hibari


@pytest.fixture(scope="module")
def clean():
    voice = systems.load("hibari", threads=1)
    return [voice.synthesize(sentence, seed=0).waveform for sentence in SENTENCES]


@pytest.fixture(scope="module")
def judge():
    return Judge(threads=1)


def noisy(waveform, snr_db, seed=0):
    noise = np.random.default_rng(seed).standard_normal(len(waveform))
    scale = np.sqrt((waveform.astype(np.float64) ** 2).mean() / 10 ** (snr_db / 10))
    return (waveform + scale * noise).astype(np.float32)


def griffin_lim(waveform, sample_rate, seed=0):
    import librosa

    mel = librosa.feature.melspectrogram(y=waveform, sr=sample_rate, n_fft=1024, hop_length=256, n_mels=80)
    magnitude = librosa.feature.inverse.mel_to_stft(mel, sr=sample_rate, n_fft=1024)
    return librosa.griffinlim(
        magnitude, n_iter=16, hop_length=256, n_fft=1024, length=len(waveform), random_state=seed
    ).astype(np.float32)


def shifted(waveform, ms):
    """Later by `ms` (earlier where negative), the length unchanged."""
    samples = round(RATE * abs(ms) / 1000)
    gap = np.zeros(samples, np.float32)
    return np.concatenate([gap, waveform[:-samples]] if ms > 0 else [waveform[samples:], gap])


def fitted(waveform, length):
    return np.pad(waveform, (0, max(0, length - len(waveform))))[:length]


METRICS = {
    "predicted_mos": lambda reference, clip: quality.predicted_mos(clip, RATE),
    "dnsmos_ovrl": lambda reference, clip: quality.dnsmos_ovrl(clip, RATE, threads=1),
    "pesq_wb": lambda reference, clip: aligned.pesq_wb(reference, clip, RATE),
    "stoi": lambda reference, clip: aligned.stoi(reference, clip, RATE),
    "speaker_similarity": lambda reference, clip: quality.speaker_similarity(
        quality.speaker_embedding(reference, RATE), quality.speaker_embedding(clip, RATE)
    ),
}


@pytest.mark.parametrize("metric", METRICS)
def test_ranks_clean_above_20_db_above_10_db(metric, clean):
    measure = METRICS[metric]
    for number, clip in enumerate(clean[:2]):
        scores = [
            measure(clip, clip),
            measure(clip, noisy(clip, 20, number)),
            measure(clip, noisy(clip, 10, number)),
        ]
        assert scores[0] > scores[1] > scores[2], (metric, number, scores)


@pytest.mark.slow
def test_predicted_mos_puts_griffin_lim_and_espeak_below_the_neural_voices(clean):
    joe = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    robot = systems.load("espeak-ng", threads=1)

    def mean(clips, rate):
        return np.mean([quality.predicted_mos(clip, rate) for clip in clips])

    neural = min(
        mean(clean, RATE), mean([joe.synthesize(s, seed=0).waveform for s in SENTENCES], joe.sample_rate)
    )
    copies = mean([griffin_lim(clip, RATE) for clip in clean], RATE)
    formants = mean([robot.synthesize(s, seed=0).waveform for s in SENTENCES], robot.sample_rate)
    assert neural > 3.7
    assert copies < neural - 0.5 and formants < neural - 1


BAD = {
    "NaN": (np.full(RATE, np.nan, np.float32), "NaN"),
    "one NaN": (np.r_[np.ones(RATE), np.nan].astype(np.float32), "1 of 24001 samples"),
    "silent": (np.zeros(RATE, np.float32), "silent"),
    "empty": (np.zeros(0, np.float32), "no samples"),
    "short": (np.full(500, 0.5, np.float32), "shorter"),
    "stereo": (np.zeros((2, RATE), np.float32), "shape"),
    "integers": (np.ones(RATE, np.int16), "not float"),
}
SINGLE = {
    "judge": lambda clip, judge: judge.transcribe(clip, RATE),
    "predicted_mos": lambda clip, judge: quality.predicted_mos(clip, RATE),
    "dnsmos_ovrl": lambda clip, judge: quality.dnsmos_ovrl(clip, RATE),
    "speaker_embedding": lambda clip, judge: quality.speaker_embedding(clip, RATE),
    "pesq_wb degraded": lambda clip, judge: aligned.pesq_wb(np.full(RATE, 0.1, np.float32), clip, RATE),
    "pesq_wb reference": lambda clip, judge: aligned.pesq_wb(clip, np.full(RATE, 0.1, np.float32), RATE),
    "stoi degraded": lambda clip, judge: aligned.stoi(np.full(RATE, 0.1, np.float32), clip, RATE),
    "stoi reference": lambda clip, judge: aligned.stoi(clip, np.full(RATE, 0.1, np.float32), RATE),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("metric", SINGLE)
def test_unusable_audio_is_one_clear_error(metric, bad, judge):
    clip, message = BAD[bad]
    with pytest.raises(AudioError, match=message) as caught:
        SINGLE[metric](clip, judge)
    assert not isinstance(caught.value, AlignmentError)


def test_sound_without_a_voice_has_no_speaker():
    hum = (0.3 * np.sin(2 * np.pi * 50 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    try:
        embedding = quality.speaker_embedding(hum, RATE)
    except AudioError as error:
        assert "too little" in str(error)
    else:  # the voice detector let it pass: then it must at least be unlike a person
        voice = systems.load("hibari", threads=1).synthesize(SENTENCES[0], seed=0).waveform
        assert quality.speaker_similarity(embedding, quality.speaker_embedding(voice, RATE)) < 0.7


def test_who_speaks_cannot_be_told_where_nobody_does(monkeypatch):
    import resemblyzer

    monkeypatch.setattr(resemblyzer, "preprocess_wav", lambda clip: clip[: RATE // 10])
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * RATE).astype(np.float32)
    with pytest.raises(NoVoiceError, match="too little to tell who speaks"):
        quality.speaker_embedding(noise, RATE)


@pytest.mark.slow
def test_dnsmos_is_what_the_package_computes(clean):
    from speechmos import dnsmos

    for clip in (clean[0], np.concatenate(clean * 2)):  # shorter and longer than the network's 9.01 s
        at_16k = np.clip(audio.resample(clip, RATE, 16_000), -1, 1)
        assert quality.dnsmos_ovrl(clip, RATE) == pytest.approx(
            dnsmos.run(at_16k, 16_000)["ovrl_mos"], abs=1e-4
        )


def test_dnsmos_takes_a_clip_that_overshoots_full_scale(clean):
    loud = clean[0] / np.abs(clean[0]).max() * 1.2
    assert 1 < quality.dnsmos_ovrl(loud, RATE) < 5


def test_the_stand_in_for_torchaudio_does_not_stay(clean):
    quality.predicted_mos(clean[0], RATE)
    assert "torchaudio" not in sys.modules or sys.modules["torchaudio"].__spec__ is not None


def test_predicted_mos_does_not_depend_on_level_or_rate(clean):
    score = quality.predicted_mos(clean[0], RATE)
    assert quality.predicted_mos(clean[0] * 0.25, RATE) == pytest.approx(score, abs=1e-3)
    assert quality.predicted_mos(audio.resample(clean[0], RATE, 48_000), 48_000) == pytest.approx(
        score, abs=0.05
    )


def test_same_voice_is_nearer_than_another(clean):
    joe = systems.load("vits-joe", target="onnxruntime/cpu", threads=1)
    other = quality.speaker_embedding(joe.synthesize(SENTENCES[0], seed=0).waveform, joe.sample_rate)
    first, second = (quality.speaker_embedding(clip, RATE) for clip in clean[:2])
    assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5) and first.shape == (256,)
    assert quality.speaker_similarity(first, first) == pytest.approx(1)
    assert quality.speaker_similarity(first, second) > 0.75 > quality.speaker_similarity(first, other)


def test_identical_waveforms_score_the_maximum(clean):
    assert aligned.pesq_wb(clean[0], clean[0], RATE) == pytest.approx(
        4.644, abs=0.001
    )  # the end of P.862.2's mapping
    assert aligned.stoi(clean[0], clean[0], RATE) == pytest.approx(1)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: noisy(x, 20),
        lambda x: noisy(x, 0),
        lambda x: griffin_lim(x, RATE),
        lambda x: shifted(x, 9),
        lambda x: shifted(x, -9),
        lambda x: audio.resample(audio.resample(x, RATE, 8_000), 8_000, RATE)[: len(x)],
        lambda x: 0.1 * x,
        lambda x: -x,
        lambda x: x[: -len(x) // 150],
    ],
    ids=[
        "20 dB",
        "0 dB",
        "Griffin-Lim",
        "9 ms late",
        "9 ms early",
        "8 kHz",
        "quiet",
        "inverted",
        "0.7 % shorter",
    ],
)
def test_what_is_aligned_passes_the_guard(change, clean):
    for clip in clean:
        assert 0 < aligned.stoi(clip, change(clip), RATE) <= 1
    assert 1 <= aligned.pesq_wb(clip, change(clip), RATE) <= 4.65


@pytest.mark.parametrize(
    "change",
    [
        lambda x, other: fitted(other, len(x)),
        lambda x, other: shifted(x, 50),
        lambda x, other: shifted(x, -50),
        lambda x, other: shifted(x, 120),
        lambda x, other: fitted(audio.resample(x, RATE, round(RATE / 1.05)), len(x)),
        lambda x, other: audio.resample(x, RATE, round(RATE / 0.95))[: len(x)],
        lambda x, other: noisy(x, 20)[::-1].copy(),
        lambda x, other: 0.1 * np.random.default_rng(0).standard_normal(len(x)).astype(np.float32),
    ],
    ids=[
        "another sentence",
        "50 ms late",
        "50 ms early",
        "120 ms late",
        "5 % faster",
        "5 % slower",
        "backwards",
        "noise alone",
    ],
)
def test_what_is_not_aligned_is_refused(change, clean):
    for clip, other in zip(clean, clean[1:] + clean[:1]):
        for metric in (aligned.pesq_wb, aligned.stoi):
            with pytest.raises(AlignmentError, match="at the same time"):
                metric(clip, change(clip, other), RATE)


def test_other_length_is_refused(clean):
    with pytest.raises(AlignmentError, match="more than 1% apart"):
        aligned.stoi(clean[0], clean[0][: -len(clean[0]) // 50], RATE)
    with pytest.raises(AlignmentError, match="more than 1% apart"):
        aligned.pesq_wb(clean[0], np.r_[clean[0], clean[0]], RATE)


def test_alignment_reports_the_lag(clean):
    assert aligned.alignment(clean[0], shifted(clean[0], 80), RATE).lag_s == pytest.approx(0.08, abs=0.005)
    assert aligned.alignment(clean[0], shifted(clean[0], -60), RATE).lag_s == pytest.approx(-0.06, abs=0.005)


def test_pitch_error_is_the_semitones_between_two_tones(monkeypatch):
    """A harmonic tone a semitone higher is 100 cents off; more than an octave is not cut off; where no frame
    has a pitch in both, there is no error in cents but one of voicing.
    """
    time = np.arange(2 * RATE) / RATE
    envelope = 0.2 * (0.6 + 0.4 * np.sin(2 * np.pi * 2 * time))

    def tone(hz):
        return (envelope * sum(np.sin(2 * np.pi * k * hz * time) / k for k in range(1, 6))).astype(np.float32)

    low = tone(150.0)
    assert aligned.f0_error_cents(low, tone(150.0 * 2 ** (1 / 12)), RATE) == pytest.approx(100, abs=3)
    assert aligned.f0_error_cents(low, low, RATE) == 0
    assert aligned.f0_error_cents(low, tone(400.0), RATE) == pytest.approx(1200 * np.log2(400 / 150), abs=5)
    assert aligned.voicing_error_pct(low, low, RATE) == 0
    whisper = (envelope * np.random.default_rng(0).standard_normal(len(time))).astype(np.float32)
    murmur = (envelope * np.random.default_rng(1).standard_normal(len(time))).astype(np.float32)
    half = np.where(time < 1, low, 0.2 * whisper).astype(np.float32)
    monkeypatch.setattr(aligned, "MIN_SHARE", 0.0)  # a tone and noise have no syllables to be aligned by
    assert aligned.f0_error_cents(low, whisper, RATE) is None
    assert aligned.f0_error_cents(whisper, murmur, RATE) is None
    assert aligned.voicing_error_pct(low, whisper, RATE) > 90
    assert aligned.voicing_error_pct(low, half, RATE) == pytest.approx(50, abs=5)
    assert aligned.voicing_error_pct(low, half, RATE) == aligned.voicing_error_pct(half, low, RATE)
