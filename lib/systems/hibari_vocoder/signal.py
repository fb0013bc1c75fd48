"""What lies around the networks? Frames of another rate, the pitch that was read, and the package's own synthesis.

The decoder's frames come 80 times a second and make 24,000 samples of it; a mel's come 86 times and stand for 22,050.
"""

from __future__ import annotations

import math

import numpy as np

from lib import audio
from lib.errors import require
from lib.features import HIFIGAN
from lib.systems.hibari import PACKAGE
from lib.systems.hibari_vocoder.config import N_TEXT, HibariVocoderConfig
from lib.systems.istft.onnx_vocoder import read

RATE, HOP = 24_000, 300  # samples a second and a frame
NEAR = 2  # classes on either side of the likeliest of which F0 is the mean
# What the decoder is fed of F0 is log(1 + F0) over this.
PITCH_SCALE = 5.0
FOLLOWING, PASSES = 0.5, 2  # how far what comes out is held to the mel, and in how many passes: see the package


def n_frames(n_mel: int) -> int:
    """Frames of the decoder that are at least as long as so many of a mel."""
    return math.ceil(n_mel * HIFIGAN.hop * RATE / HIFIGAN.sample_rate / HOP)


def at_decoder(log_mel: np.ndarray, n: int) -> np.ndarray:
    """A log-mel (F, n_bands) at the times of `n` frames of the decoder (n, n_bands) float32, linear between its own.

    Frame k of the decoder is centred on sample k * HOP, frame j of the mel on the middle of its hop.
    """
    place = np.arange(n) * (HOP / RATE * HIFIGAN.sample_rate / HIFIGAN.hop) - 0.5
    place = place.clip(0, len(log_mel) - 1)
    before = np.floor(place).astype(int)
    share = (place - before).astype(np.float32)[:, None]
    after = np.minimum(before + 1, len(log_mel) - 1)
    return log_mel[before] * (1 - share) + log_mel[after] * share


def hz(voiced: np.ndarray, logits: np.ndarray, config: HibariVocoderConfig) -> np.ndarray:
    """F0 (F,) float32, 0 where unvoiced. voiced: logits (F,); logits: of the classes (bins, F)."""
    return np.where(voiced > 0, read(logits.T, config, NEAR), 0).astype(np.float32)


def fed(found: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """What the decoder is fed (1, N_INPUTS, F) float32. found: (N_TEXT + 1, F), text and loudness; pitch: Hz (F,)."""
    heard = np.log1p(pitch) / np.float32(PITCH_SCALE)
    return np.concatenate([found[:N_TEXT], heard[None], found[N_TEXT:]])[None].astype(np.float32)


def spoken(spectra: list[np.ndarray], pitch: np.ndarray, n_mel: int, seed: int) -> np.ndarray:
    """The waveform (n_mel * hop,) at the mel's rate, in [-1, 1]. spectra: the decoder's five, (601, F) each."""
    synth = require("hibari.dsp", PACKAGE).synth
    made = synth(*map(np.ascontiguousarray, spectra), pitch, np.random.default_rng(seed))
    said = audio.resample(made, RATE, HIFIGAN.sample_rate)[: n_mel * HIFIGAN.hop]
    return np.pad(said, (0, n_mel * HIFIGAN.hop - len(said))).clip(-1, 1)
