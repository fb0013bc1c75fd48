"""How does a recogniser learn to hear what its training data lacks: other rates, rooms, noises, telephones?

Every function takes a waveform, float32 (n_samples,), and its sample rate and returns a new float32 waveform; the input
is never changed, and the same seed gives the same samples. What would clip is scaled down as a whole (peak 0.99), which
keeps ratios such as the SNR. All but `speed` keep the length and are aligned in time with their input.

Sources: speed, Ko et al. 2015, "Audio augmentation for speech recognition"; noise and rooms, Ko et al. 2017, "A study
on data augmentation of reverberant speech"; masks, Park et al. 2019, "SpecAugment". NumPy, SciPy, soxr and the
codecs of libsndfile and FFmpeg (PyAV) are all it takes; nothing here needed a package for augmentation.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lib import audio
from lib.errors import ParameterError, require, unknown

PRE_DELAY_S = (
    0.0025  # the first wall is at least a meter away: reverberation begins this much after the direct sound
)
STOP_BAND_DB = 60.0


def speed(waveform: np.ndarray, sample_rate: int, factor: float) -> np.ndarray:
    """Play `factor` times as fast: n_samples / factor samples, pitch and formants times factor (Kaldi uses 0.9
    and 1.1).
    """
    import soxr

    waveform = audio.check(waveform, sample_rate)
    _within("factor", factor, 0.25, 4.0)
    fast = soxr.resample(waveform, sample_rate * factor, sample_rate, quality="VHQ")
    return _unclipped(_fit(fast, max(1, round(len(waveform) / factor))))


def noise(
    waveform: np.ndarray, sample_rate: int, snr_db: float, noise: str | np.ndarray = "white", *, seed: int = 0
) -> np.ndarray:
    """Add noise at a signal-to-noise ratio: active speech power (`audio.level_dbfs`, without pauses) over mean
    noise power.

    noise: "white", "pink" (-3 dB per octave), or a recording (n,) at the same sample rate, of which a random stretch is
    taken, repeated where it is too short.
    """
    waveform = audio.check(waveform, sample_rate)
    _within("snr_db", snr_db, -40.0, 100.0)
    rng, n = np.random.default_rng(seed), len(waveform)
    if isinstance(noise, str):
        if noise not in ("white", "pink"):
            raise unknown("noise", noise, ("white", "pink"))
        added = rng.standard_normal(n)
        if noise == "pink":
            spectrum = np.fft.rfft(added)
            hz = np.fft.rfftfreq(n, 1 / sample_rate)
            added = np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 20.0)), n)  # flat below what can be heard
    else:
        recording = audio.check(noise, sample_rate, "noise").astype(np.float64)
        added = np.take(recording, np.arange(n) + rng.integers(len(recording)), mode="wrap")
        if not np.any(added):
            raise ParameterError(
                "the stretch of noise that was drawn is digital silence: use a recording without gaps"
            )
    wanted_db = audio.level_dbfs(waveform, sample_rate) - snr_db
    added *= 10 ** (wanted_db / 20) / np.sqrt(np.mean(added**2))
    return _unclipped(waveform + added)


def room(
    waveform: np.ndarray,
    sample_rate: int,
    rt60_s: float,
    direct_to_reverberant_db: float = 5.0,
    *,
    seed: int = 0,
) -> np.ndarray:
    """Speak in a synthetic room: the direct sound, then Gaussian noise decaying by 60 dB in `rt60_s` seconds.

    A statistical model of a diffuse room (Polack): it has the decay and the energy ratio that are asked for,
    and no early reflections of its own. The tail after the last sample is cut.
    """
    from scipy.signal import fftconvolve

    waveform = audio.check(waveform, sample_rate)
    _within("rt60_s", rt60_s, 0.05, 10.0)
    _within("direct_to_reverberant_db", direct_to_reverberant_db, -20.0, 60.0)
    seconds = np.arange(max(2, round(1.2 * rt60_s * sample_rate))) / sample_rate
    response = np.random.default_rng(seed).standard_normal(len(seconds)) * 10 ** (-3 * seconds / rt60_s)
    response[seconds < PRE_DELAY_S] = 0.0
    response *= 10 ** (-direct_to_reverberant_db / 20) / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    return _unclipped(fftconvolve(waveform.astype(np.float64), response)[: len(waveform)])


def band_limit(waveform: np.ndarray, sample_rate: int, hz: float) -> np.ndarray:
    """Remove what lies above `hz`: a linear-phase low pass, flat up to 0.9 hz, 60 dB down from hz on, without delay."""
    from scipy.signal import fftconvolve, firwin, kaiserord

    waveform = audio.check(waveform, sample_rate)
    _within("hz", hz, 100.0, math.nextafter(sample_rate / 2, 0))
    taps, beta = kaiserord(STOP_BAND_DB, 0.1 * hz / (sample_rate / 2))
    low_pass = firwin(taps | 1, 0.95 * hz, window=("kaiser", beta), fs=sample_rate)
    half = len(low_pass) // 2
    return _unclipped(fftconvolve(waveform.astype(np.float64), low_pass)[half : half + len(waveform)])


@dataclass(frozen=True)
class Codec:
    """rate: the sample rate it works at; container, kind: libsndfile's or FFmpeg's names; delay: samples that
    it adds.
    """

    rate: int
    container: str
    kind: str
    delay: int = 0


CODECS = {
    "mp3": Codec(24_000, "MP3", "MPEG_LAYER_III", 1105),  # LAME encodes 576 and any decoder 529 samples late
    "opus": Codec(24_000, "OGG", "OPUS"),
    "g722": Codec(
        16_000, "g722", "g722", 22
    ),  # wideband telephony, 64 kbit/s; the delay of its two-band filter
    "g711-mulaw": Codec(8_000, "WAV", "ULAW"),  # telephony in America and Japan, 64 kbit/s
    "g711-alaw": Codec(8_000, "WAV", "ALAW"),  # telephony elsewhere
    "gsm": Codec(8_000, "WAV", "GSM610"),  # mobile telephony of the 1990s, 13 kbit/s
}


def codec(waveform: np.ndarray, sample_rate: int, kind: str) -> np.ndarray:
    """Encode and decode with a real codec of `CODECS` at its own sample rate; length and alignment are kept."""
    waveform = audio.check(waveform, sample_rate)
    if kind not in CODECS:
        raise unknown("codec", kind, CODECS)
    chosen = CODECS[kind]
    narrow = np.clip(audio.resample(waveform, sample_rate, chosen.rate), -1.0, 1.0)
    padded = np.pad(narrow, (0, chosen.rate // 10))  # what a codec's last frame and delay would cut off
    decoded = (
        _through_ffmpeg(padded, chosen) if chosen.container == "g722" else _through_libsndfile(padded, chosen)
    )
    decoded = _fit(decoded[chosen.delay :], len(narrow))
    return _unclipped(_fit(audio.resample(decoded, chosen.rate, sample_rate), len(waveform)))


def _through_libsndfile(samples: np.ndarray, chosen: Codec) -> np.ndarray:
    import soundfile

    buffer = io.BytesIO()
    # At 24 kHz this level is 48 kbit/s, the rate of spoken podcasts; Opus is left at libsndfile's, about 34 kbit/s.
    lossy = {"bitrate_mode": "CONSTANT", "compression_level": 0.75} if chosen.container == "MP3" else {}
    soundfile.write(buffer, samples, chosen.rate, format=chosen.container, subtype=chosen.kind, **lossy)
    buffer.seek(0)
    decoded, rate = soundfile.read(buffer, dtype="float32")
    return audio.resample(decoded, rate, chosen.rate)


def _through_ffmpeg(samples: np.ndarray, chosen: Codec) -> np.ndarray:
    av = require("av", "av==18.1.0")
    encoder = av.CodecContext.create(chosen.kind, "w")
    encoder.sample_rate, encoder.layout, encoder.format = chosen.rate, "mono", "s16"
    encoder.open()
    decoder = av.CodecContext.create(chosen.kind, "r")
    decoder.sample_rate, decoder.layout, decoder.format = chosen.rate, "mono", "s16"
    size = encoder.frame_size or 320
    pcm = np.round(np.pad(samples, (0, -len(samples) % size)) * 32767).astype(np.int16)
    packets = []
    for block in pcm.reshape(-1, 1, size):
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate = chosen.rate
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    frames = [frame for packet in packets if packet.size for frame in decoder.decode(packet)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float32) / 32768


def spec_augment(
    features: np.ndarray,
    *,
    frequency_masks: int = 2,
    frequency_width: int = 27,
    time_masks: int = 2,
    time_width: int = 100,
    time_share: float = 0.2,
    fill: float | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Mask random bands and stretches of time of a log-mel spectrogram (n_frames, n_bands); a new array of its dtype.

    Each mask's width is uniform from 0 to `frequency_width` bands or `time_width` frames, a time mask at most
    `time_share` of the frames. fill: the value put there, default the mean of the features. The paper's time
    warp is left out: by its own table it matters least.
    """
    features = np.asarray(features)
    if features.ndim != 2 or 0 in features.shape or not np.issubdtype(features.dtype, np.floating):
        raise ParameterError(
            f"features: {features.dtype} of shape {features.shape} is not float (n_frames, n_bands)"
        )
    _within("time_share", time_share, 0.0, 1.0)
    for name, count in (
        ("frequency_masks", frequency_masks),
        ("frequency_width", frequency_width),
        ("time_masks", time_masks),
        ("time_width", time_width),
    ):
        _within(name, count, 0, 10_000)
    rng, masked = np.random.default_rng(seed), features.copy()
    value = features.mean() if fill is None else fill
    frames, bands = features.shape
    for _ in range(frequency_masks):
        width = int(rng.integers(min(frequency_width, bands) + 1))
        start = int(rng.integers(bands - width + 1))
        masked[:, start : start + width] = value
    for _ in range(time_masks):
        width = int(rng.integers(min(time_width, int(time_share * frames)) + 1))
        start = int(rng.integers(frames - width + 1))
        masked[start : start + width] = value
    return masked


_STEPS = {"speed": speed, "noise": noise, "room": room, "band_limit": band_limit, "codec": codec}
_SEEDED = ("noise", "room")


@dataclass(frozen=True)
class Step:
    """One augmentation with its probability. settings: a tuple (low, high) is drawn uniformly, a list is drawn from."""

    name: str
    probability: float
    settings: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in _STEPS:
            raise unknown("augmentation", self.name, _STEPS)
        _within(f"probability of {self.name}", self.probability, 0.0, 1.0)


@dataclass(frozen=True)
class Recipe:
    """Steps in order. A clip's seed decides everything: one step's draws do not depend on whether another was
    applied.
    """

    steps: tuple[Step, ...]

    def __call__(self, waveform: np.ndarray, sample_rate: int, seed: int) -> np.ndarray:
        waveform = audio.check(waveform, sample_rate).copy()
        for index, step in enumerate(self.steps):
            rng = np.random.default_rng((seed, index))
            apply = rng.random() < step.probability
            drawn = {name: _draw(value, rng) for name, value in step.settings.items()}
            if step.name in _SEEDED:
                drawn["seed"] = int(rng.integers(2**31))
            if apply:
                waveform = _STEPS[step.name](waveform, sample_rate, **drawn)
        return waveform


def _draw(value: object, rng: np.random.Generator) -> object:
    if isinstance(value, tuple):
        return float(rng.uniform(*value))
    return value[int(rng.integers(len(value)))] if isinstance(value, list) else value


def _within(name: str, value: float, low: float, high: float) -> None:
    if not isinstance(value, (int, float, np.number)) or not low <= value <= high:
        raise ParameterError(f"{name} {value!r} is not a number from {low:g} to {high:g}")


def _fit(waveform: np.ndarray, length: int) -> np.ndarray:
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


def _unclipped(waveform: np.ndarray) -> np.ndarray:
    peak = np.abs(waveform).max()
    return (waveform * (0.99 / peak) if peak > 1.0 else waveform).astype(np.float32)


# the mixture for fine-tuning the recogniser: Kaldi's three speeds, rooms, noises and telephones, most clips in
# two or more
RECOGNITION = Recipe(
    (
        Step("speed", 1.0, {"factor": [0.9, 1.0, 1.1]}),
        Step("room", 0.3, {"rt60_s": (0.2, 0.8), "direct_to_reverberant_db": (0.0, 12.0)}),
        Step("noise", 0.5, {"snr_db": (5.0, 25.0), "noise": ["white", "pink"]}),
        Step("codec", 0.2, {"kind": ["mp3", "opus", "g722", "g711-mulaw", "gsm"]}),
    )
)
