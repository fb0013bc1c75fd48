"""Every augmentation has the physical property it is named after, on real synthetic speech and on signals with
known answers.
"""

import dataclasses

import numpy as np
import pytest

from lib import audio, augment
from lib.augment import CODECS, Recipe, Step
from lib.errors import AudioError, ParameterError

RATE = 24_000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """One sentence, 2.65 s, 24 kHz, peak 0.33."""
    from hibari import Hibari

    waveform = np.asarray(Hibari()("The birch canoe slid on the smooth planks.", seed=0), np.float32)
    waveform.setflags(write=False)  # nothing may change its input
    return waveform


def _tone(hz: float, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def _peak_hz(waveform: np.ndarray, rate: int = RATE) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), 2**18))
    return float(np.argmax(spectrum)) * rate / 2**18


def _lag(late: np.ndarray, reference: np.ndarray) -> int:
    """Samples by which `late` comes after `reference`, at the largest cross-correlation."""
    size = 2 ** int(np.ceil(np.log2(len(late) + len(reference))))
    both = np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(reference, size)))
    return int((np.argmax(both) + size // 2) % size - size // 2)


def _db(power: float) -> float:
    return float(10 * np.log10(power))


# --- speed


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.5, 2.0, 1.0])
def test_speed_scales_length_and_pitch(factor):
    fast = augment.speed(_tone(440), RATE, factor)
    assert len(fast) == round(RATE / factor)
    assert _peak_hz(fast) == pytest.approx(440 * factor, rel=2e-3)
    assert np.abs(fast).max() == pytest.approx(0.5, abs=0.03)


def test_speed_there_and_back_is_the_same_speech(speech):
    back = augment.speed(augment.speed(speech, RATE, 0.8), RATE, 1.25)
    n = min(len(back), len(speech))
    assert abs(len(back) - len(speech)) <= 1
    assert np.corrcoef(back[:n], speech[:n])[0, 1] > 0.999


# --- noise


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 20.0, 40.0])
@pytest.mark.parametrize("kind", ["white", "pink", "recording"])
def test_noise_has_the_ratio_that_was_asked_for(speech, snr_db, kind):
    recording = np.random.default_rng(7).laplace(size=10_000).astype(np.float32) * 0.01
    noisy = augment.noise(speech, RATE, snr_db, recording if kind == "recording" else kind, seed=3)
    assert np.abs(noisy).max() < 0.99  # so it was not scaled down, and the difference is the noise
    added = noisy - speech
    measured = audio.level_dbfs(speech, RATE) - _db(np.mean(added.astype(np.float64) ** 2))
    assert measured == pytest.approx(snr_db, abs=0.1)


def test_noise_is_scaled_down_as_a_whole_instead_of_clipped(speech):
    loud = speech * np.float32(0.99 / np.abs(speech).max())
    noisy = augment.noise(loud, RATE, 0.0, seed=3)
    assert np.abs(noisy).max() == pytest.approx(0.99, abs=1e-6)
    quiet = augment.noise(loud * np.float32(0.1), RATE, 0.0, seed=3)
    assert np.corrcoef(noisy, quiet)[0, 1] > 0.999999


def test_white_noise_is_flat_and_pink_falls_3_db_per_octave(speech):
    def octaves(kind: str) -> np.ndarray:
        added = augment.noise(speech, RATE, 0.0, kind, seed=1).astype(np.float64) - speech
        power = np.abs(np.fft.rfft(added)) ** 2
        hz = np.fft.rfftfreq(len(added), 1 / RATE)
        return np.array(
            [_db(power[(hz >= low) & (hz < 2 * low)].mean()) for low in (250, 500, 1000, 2000, 4000)]
        )

    assert np.diff(octaves("white")) == pytest.approx(np.zeros(4), abs=0.7)
    assert np.diff(octaves("pink")) == pytest.approx(np.full(4, -3.01), abs=0.7)


# --- room


def _response(rt60_s: float, drr_db: float, seed: int = 0) -> np.ndarray:
    impulse = np.zeros(round(2 * rt60_s * RATE), np.float32)
    impulse[0] = 0.1
    return augment.room(impulse, RATE, rt60_s, drr_db, seed=seed).astype(np.float64)


@pytest.mark.parametrize("rt60_s", [0.2, 0.5, 1.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_room_decays_by_60_db_in_the_time_that_was_asked_for(rt60_s, seed):
    tail = _response(rt60_s, 0.0, seed)[1:]
    decay = np.cumsum(tail[::-1] ** 2)[::-1]  # Schroeder 1965
    decay_db = 10 * np.log10(decay / decay[0] + 1e-30)
    use = (decay_db <= -5) & (decay_db >= -35)  # ISO 3382's T30
    slope = np.polyfit(np.flatnonzero(use) / RATE, decay_db[use], 1)[0]
    assert -60 / slope == pytest.approx(rt60_s, rel=0.1)


@pytest.mark.parametrize("drr_db", [-5.0, 0.0, 12.0])
def test_room_has_the_direct_to_reverberant_ratio_that_was_asked_for(drr_db):
    response = _response(0.4, drr_db)
    assert _db(response[0] ** 2 / np.sum(response[1:] ** 2)) == pytest.approx(drr_db, abs=0.1)


def test_room_keeps_length_and_time_of_speech(speech):
    wet = augment.room(speech, RATE, 0.5, 3.0)
    assert wet.shape == speech.shape and abs(_lag(wet, speech)) <= 1


# --- band limit


@pytest.mark.parametrize("hz", [1_000, 3_400, 8_000])
def test_band_limit_removes_what_is_above_and_keeps_what_is_below(hz):
    white = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * RATE).astype(np.float32)
    limited = augment.band_limit(white, RATE, hz)
    before, after = (np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2 for x in (white, limited))
    above = np.fft.rfftfreq(len(white), 1 / RATE) > hz
    below = np.fft.rfftfreq(len(white), 1 / RATE) < 0.89 * hz
    assert _db(after[above].mean() / before[above].mean()) < -40
    assert _db(after[below].mean() / before[below].mean()) == pytest.approx(0, abs=0.1)


def test_band_limit_does_not_delay(speech):
    limited = augment.band_limit(speech, RATE, 3_400)
    assert limited.shape == speech.shape and _lag(limited, speech) == 0


# --- codecs


@pytest.mark.parametrize("kind", sorted(CODECS))
@pytest.mark.parametrize("rate", [RATE, 16_000, 22_050])
def test_codecs_keep_time_and_lose_something(speech, kind, rate):
    clip = audio.resample(speech, RATE, rate)
    coded = augment.codec(clip, rate, kind)
    band = audio.resample(audio.resample(clip, rate, CODECS[kind].rate), CODECS[kind].rate, rate)[: len(clip)]
    band = np.pad(band, (0, len(clip) - len(band)))
    assert coded.shape == clip.shape and coded.dtype == np.float32
    assert abs(_lag(coded, clip)) / rate <= 1e-3
    error = coded.astype(np.float64) - band
    snr_db = _db(np.sum(band.astype(np.float64) ** 2) / np.sum(error**2))
    assert 5 < snr_db < 45, snr_db  # lossy, but the same waveform
    assert np.corrcoef(coded, band)[0, 1] > 0.9


@pytest.mark.parametrize("kind", ["g711-mulaw", "gsm"])
def test_telephone_codecs_carry_nothing_above_4_khz(speech, kind):
    power = np.abs(np.fft.rfft(augment.codec(speech, RATE, kind))) ** 2
    hz = np.fft.rfftfreq(len(speech), 1 / RATE)
    assert _db(power[hz > 4_100].sum() / power.sum()) < -50


@pytest.mark.parametrize("kind", sorted(CODECS))
def test_codecs_take_a_clip_of_a_few_samples(kind):
    assert augment.codec(_tone(440, 0.01), RATE, kind).shape == (240,)


# --- SpecAugment


def test_masks_stay_within_their_bounds_and_reach_them():
    features = np.random.default_rng(0).standard_normal((400, 80)).astype(np.float32) + 3
    shares = []
    for seed in range(200):
        masked = augment.spec_augment(features, seed=seed)
        hit = masked != features
        bands, frames = hit.all(axis=0).sum(), hit.all(axis=1).sum()
        assert bands <= 2 * 27 and frames <= 2 * 0.2 * 400
        assert np.array_equal(
            hit, hit.all(axis=0)[None, :] | hit.all(axis=1)[:, None]
        )  # whole bands, whole frames, nothing else
        assert np.unique(masked[hit]).size <= 1
        shares.append((bands, frames))
    mean_bands, mean_frames = np.mean(shares, axis=0)
    assert 20 < mean_bands < 27 and 60 < mean_frames < 80  # 2 x 13.5 and 2 x 40, less the overlaps
    assert np.max(shares, axis=0)[0] > 40 and np.max(shares, axis=0)[1] > 130


def test_masks_can_be_switched_off_filled_and_repeated():
    features = np.ones((50, 80), np.float32)
    assert np.array_equal(augment.spec_augment(features, frequency_masks=0, time_masks=0), features)
    assert np.array_equal(augment.spec_augment(features, time_share=0.0, frequency_width=0, fill=9.0), features)
    filled = augment.spec_augment(features, fill=-7.0, seed=4)
    assert set(np.unique(filled)) == {-7.0, 1.0} and np.all(features == 1)
    assert np.array_equal(filled, augment.spec_augment(features, fill=-7.0, seed=4))


@pytest.mark.parametrize(
    "features", [np.ones(5, np.float32), np.ones((0, 80), np.float32), np.ones((5, 80), int)]
)
def test_masks_refuse_what_is_no_spectrogram(features):
    with pytest.raises(ParameterError, match=r"is not float \(n_frames, n_bands\)"):
        augment.spec_augment(features)


# --- recipes

CALLS = {
    "speed": {"factor": 0.9},
    "noise": {"snr_db": 10.0},
    "room": {"rt60_s": 0.3},
    "band_limit": {"hz": 3_000.0},
    "codec": {"kind": "opus"},
}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_same_seed_same_samples_and_the_input_is_left_alone(speech, name):
    function = getattr(augment, name)
    once, again = (function(speech, RATE, **CALLS[name]) for _ in range(2))
    assert np.array_equal(once, again) and once.dtype == np.float32 and not np.shares_memory(once, speech)
    assert not np.array_equal(once[: len(speech)], speech[: len(once)])
    assert np.abs(once).max() <= 1.0
    if name in ("noise", "room"):
        assert not np.array_equal(once, function(speech, RATE, **CALLS[name], seed=1))


def test_a_recipe_is_decided_by_the_seed_alone(speech):
    recipe = augment.RECOGNITION
    first = [recipe(speech, RATE, seed) for seed in range(8)]
    assert all(np.array_equal(clip, recipe(speech, RATE, seed)) for seed, clip in enumerate(first))
    assert (
        len({(len(clip), float(clip.sum())) for clip in first}) >= 7
    )  # clips differ (one may go through untouched)
    assert {len(clip) for clip in first} <= {round(len(speech) / factor) for factor in (0.9, 1.0, 1.1)}
    assert all(np.isfinite(clip).all() and np.abs(clip).max() <= 1.0 for clip in first)


def test_a_recipe_applies_its_steps_as_often_as_it_says():
    tone = _tone(440, 0.1)
    recipe = Recipe((Step("band_limit", 0.3, {"hz": 200.0}),))
    applied = sum(not np.array_equal(recipe(tone, RATE, seed), tone) for seed in range(1000))
    assert applied == pytest.approx(300, abs=45)  # three standard deviations
    assert np.array_equal(Recipe(())(tone, RATE, 0), tone)


def test_one_step_does_not_change_what_another_draws(speech):
    noise = Step("noise", 1.0, {"snr_db": (5.0, 25.0)})
    alone = Recipe((Step("codec", 0.0, {"kind": ["mp3", "opus"]}), noise))
    other = Recipe((Step("codec", 0.0, {"kind": "gsm"}), noise))
    assert np.array_equal(alone(speech, RATE, 5), other(speech, RATE, 5))


def test_a_recipe_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        augment.RECOGNITION.steps = ()


# --- bad input


@pytest.mark.parametrize("name", sorted(CALLS))
@pytest.mark.parametrize(
    "waveform, message",
    [
        (np.zeros(100, np.float32), "is silent"),
        (np.array([], np.float32), "holds no samples"),
        (np.ones((2, 100), np.float32), "shape"),
        (np.array([0.1, np.nan], np.float32), "NaN or infinite"),
        (np.ones(100, np.int16), "not float"),
    ],
)
def test_bad_waveforms_are_refused_by_name(name, waveform, message):
    with pytest.raises(AudioError, match=message):
        getattr(augment, name)(waveform, RATE, **CALLS[name])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x: augment.speed(x, RATE, 0), "factor 0 is not a number from 0.25 to 4"),
        (lambda x: augment.speed(x, RATE, "fast"), "factor 'fast' is not a number"),
        (lambda x: augment.noise(x, RATE, float("nan")), "snr_db nan is not a number from -40 to 100"),
        (lambda x: augment.noise(x, RATE, 10, "pnk"), "unknown noise 'pnk': did you mean 'pink'"),
        (lambda x: augment.room(x, RATE, 0.0), "rt60_s 0.0 is not a number from 0.05 to 10"),
        (lambda x: augment.room(x, RATE, 0.5, 99), "direct_to_reverberant_db 99 is not"),
        (lambda x: augment.band_limit(x, RATE, 12_000), "hz 12000 is not a number from 100 to 12000"),
        (lambda x: augment.codec(x, RATE, "g721"), "unknown codec 'g721': did you mean 'g722'"),
        (lambda x: Step("nois", 0.5), "unknown augmentation 'nois': did you mean 'noise'"),
        (lambda x: Step("noise", 1.5), "probability of noise 1.5 is not a number from 0 to 1"),
        (lambda x: augment.spec_augment(np.ones((4, 4)), time_share=2.0), "time_share 2.0 is not"),
    ],
)
def test_bad_settings_are_refused_by_name(call, message):
    with pytest.raises(ParameterError, match=message):
        call(_tone(440))


def test_noise_of_another_kind_of_array_is_refused():
    with pytest.raises(AudioError, match="noise: is silent"):
        augment.noise(_tone(440), RATE, 10, np.zeros(100, np.float32))
