"""What does `istft` see of a clip in one step? A segment at some speed, level and band limit, and the pulses
that belong to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lib import audio, augment
from lib.errors import ParameterError
from lib.features import HIFIGAN
from lib.systems import istft
from lib.training.tasks.istft_data import Cycles

HOP, RATE = HIFIGAN.hop, HIFIGAN.sample_rate
EDGE = 2  # frames at each end whose spectra reach over the crop; computed, then dropped
FULL_SCALE = 32_768  # of 16-bit samples
_MARGIN = 256  # samples: the resampler's filter needs neighbours


@dataclass(frozen=True)
class Cutting(istft.IstftConfig):
    """How segments are cut and varied."""

    segment_frames: int = 64  # of a training clip that losses see, 0.74 s
    past_frames: int = 16  # before them, for the network to look back on
    slowest: float = 0.73  # of the speeds at which clips are played
    fastest: float = 1.37
    as_is: float = 0.4  # share of clips at their own speed
    levelled: float = 0.5  # share of clips at another level, -12 to +3 dB
    limited: float = 0.1  # share of clips that lose what lies above 3.5 to 10 kHz

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.segment_frames < 16:
            raise ParameterError(
                f"model.segment_frames is {self.segment_frames}: below 16 the largest window sees little"
            )
        if not 0.25 <= self.slowest <= 1 <= self.fastest <= 4:
            raise ParameterError(
                f"model.slowest and model.fastest are {self.slowest} and {self.fastest}: they must enclose 1"
            )

    @property
    def around(self) -> int:
        """Frames of a piece: past, segment, what inverse STFT and the networks' look-ahead need behind it, edges."""
        return self.past_frames + self.segment_frames + 2 + max(self.lookahead, self.pitch_lookahead) + 2 * EDGE


class Piece(NamedTuple):
    """A segment with its contexts and edges.

    waveform, phase (cycles), pulse_hz: (n_samples,); hz, voiced: at the ends of the hops, (around,); mel: (around, 80),
    what an acoustic model made of it, where `predicted` is 1, else 0; all float32.
    """

    id: str
    waveform: np.ndarray
    phase: np.ndarray
    pulse_hz: np.ndarray
    hz: np.ndarray
    voiced: np.ndarray
    mel: np.ndarray
    predicted: np.ndarray


def piece(
    name: str,
    clip: np.ndarray,
    cycles: Cycles,
    config: Cutting,
    rng: np.random.Generator,
    mel: np.ndarray | None = None,
) -> Piece:
    """A piece of a clip, (n_samples,) int16 at 22.05 kHz, at a random place and varied at random.

    mel: (n_frames, 80) log-mel that an acoustic model made of the whole clip: then the piece has its part of it and is
    not varied, for the mel lies frame by frame under the clip as it is.
    """
    if mel is not None:
        return _predicted(name, clip, cycles, config, rng, mel)
    speed = 1.0
    if rng.random() >= config.as_is:
        speed = float(np.exp(rng.uniform(np.log(config.slowest), np.log(config.fastest))))
    n_samples = config.around * HOP
    before = round((config.past_frames + EDGE) * HOP * speed)
    longest = max(len(clip) - round(config.segment_frames * HOP * speed), 0)
    samples, first = _played(clip, int(rng.integers(longest + 1)) - before, speed, n_samples)
    waveform = samples / np.float32(FULL_SCALE)
    if rng.random() < config.levelled:
        waveform *= 10 ** (rng.uniform(-12, 3) / 20)
    if rng.random() < config.limited and np.abs(waveform).max() > 10 * audio.SILENCE_PEAK:
        waveform = augment.band_limit(waveform, RATE, float(rng.uniform(3_500, 10_000)))
    waveform = waveform * min(1.0, 0.99 / max(np.abs(waveform).max(), 1e-6))
    nothing = np.zeros((config.around, HIFIGAN.n_bands))
    return _with_pulses(name, waveform, first, speed, cycles, config, nothing, predicted=False)


def _predicted(
    name: str, clip: np.ndarray, cycles: Cycles, config: Cutting, rng: np.random.Generator, mel: np.ndarray
) -> Piece:
    """As `piece`, from a frame of the mel on; beyond the clip's ends there is silence in both."""
    longest = max(len(clip) // HOP - config.segment_frames, 0)
    begin = int(rng.integers(longest + 1)) - config.past_frames - EDGE
    samples, first = _played(clip, begin * HOP, 1.0, config.around * HOP)
    frames = np.full((config.around, HIFIGAN.n_bands), np.log(HIFIGAN.floor), np.float32)
    inside = slice(max(begin, 0), max(min(begin + config.around, len(mel)), 0))
    frames[inside.start - begin : inside.stop - begin] = mel[inside]
    waveform = samples / np.float32(FULL_SCALE)
    return _with_pulses(name, waveform, first, 1.0, cycles, config, frames, predicted=True)


def _with_pulses(
    name: str,
    waveform: np.ndarray,
    first: float,
    speed: float,
    cycles: Cycles,
    config: Cutting,
    mel: np.ndarray,
    *,
    predicted: bool,
) -> Piece:
    """The piece of a waveform that was played from sample `first` of its clip on."""
    n_samples = len(waveform)
    clock = (np.arange(config.around) + 1) * HOP  # the ends of the hops
    ends = (first + clock * speed) / RATE  # seconds of the clip
    hz = cycles.hz(ends) * speed
    phase = cycles.at((first + np.arange(n_samples) * speed) / RATE) % 1
    pulse_hz = np.interp(np.arange(n_samples), clock, hz)
    columns = waveform, phase, pulse_hz, hz, cycles.is_voiced(ends), mel, np.array(predicted)
    return Piece(name, *(column.astype(np.float32) for column in columns))


def _played(clip: np.ndarray, first: int, speed: float, n_samples: int) -> tuple[np.ndarray, float]:
    """n_samples of the clip at a speed, from about sample `first` on, zeros beyond its ends; and from where exactly."""
    import soxr

    low, high = first - _MARGIN, first + int(np.ceil(n_samples * speed)) + 2 * _MARGIN
    cut = clip[max(low, 0) : max(high, 0)].astype(np.float32)
    cut = np.pad(cut, (max(-low, 0), max(0, high - low - max(-low, 0) - len(cut))))
    if speed == 1.0:
        return cut[_MARGIN : _MARGIN + n_samples], float(first)
    skipped = int(np.ceil(_MARGIN / speed))
    return soxr.resample(cut, RATE * speed, RATE, quality="HQ")[
        skipped : skipped + n_samples
    ], low + skipped * speed
