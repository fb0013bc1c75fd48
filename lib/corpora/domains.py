"""Where is a recogniser weak? The same speech over a telephone, in noise, in a room, through a codec of the 1990s.

    clean       as recorded
    telephone   300-3,400 Hz at 8 kHz in G.711, and the noise of the line and the place called from, 10-20 dB below
    noise       white or pink noise 0-10 dB below the speech
    room        reverberation of 0.6-1.2 s, stronger than the direct sound
    gsm         13 kbit/s of GSM 06.10 behind some noise: never trained on, so that it shows what carries over

How strong each is, is drawn by a clip's seed: the same clip sounds the same in every process.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lib import audio, augment
from lib.corpora.base import Utterance
from lib.errors import ParameterError, unknown

RATE = 16_000  # Hz
CLEAN, UNTRAINED = "clean", "gsm"
UNHEARD_SET = "unheard"  # clean speech of voices that nobody trained on, some of it in long clips
HARD, HARD_SET = ("telephone", "noise", "room"), "hard"  # learnt and judged together, under this name
DOMAINS = (CLEAN, *HARD, UNTRAINED)
SNR_DB = {"telephone": (10.0, 20.0), "noise": (0.0, 10.0), "gsm": (10.0, 20.0)}  # of the noise in each
RT60_S, DIRECT_DB = (0.6, 1.2), (-6.0, 0.0)
BAND_HZ = 3_400.0


@dataclass(frozen=True)
class Clip:
    """An utterance as it is heard in a domain. seed: draws how strong the damage is."""

    utterance: Utterance
    domain: str = CLEAN
    seed: int = 0

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise unknown("domain", self.domain, DOMAINS)

    @property
    def id(self) -> str:
        """Tells it from every other clip."""
        return f"{self.utterance.id}@{self.domain}-{self.seed}"

    @property
    def snr_db(self) -> float | None:
        """Speech over noise in it; None where none is added."""
        limits = SNR_DB.get(self.domain)
        return None if limits is None else float(self._draws().uniform(*limits))

    def load(self) -> np.ndarray:
        """The waveform, (n_samples,) float32 at `RATE`; errors as of `Utterance.load`."""
        speech, rng = self.utterance.load(RATE), self._draws()
        if self.domain == "room":
            rt60_s, direct_db = rng.uniform(*RT60_S), rng.uniform(*DIRECT_DB)
            return augment.room(speech, RATE, rt60_s, direct_db, seed=int(rng.integers(2**31)))
        if self.domain == CLEAN:
            return speech
        snr_db, kind = float(rng.uniform(*SNR_DB[self.domain])), ("white", "pink")[int(rng.integers(2))]
        noisy = augment.noise(speech, RATE, snr_db, kind, seed=int(rng.integers(2**31)))
        if self.domain == "telephone":
            return augment.codec(_telephone_band(noisy), RATE, "g711-mulaw")
        return augment.codec(noisy, RATE, "gsm") if self.domain == "gsm" else noisy

    def _draws(self) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(self.id.encode()))


def each_once(
    utterances: Sequence[Utterance], domains: Sequence[str] = HARD, seed: int = 0
) -> tuple[Clip, ...]:
    """Every utterance in one of the domains, which take turns."""
    if not domains:
        raise ParameterError(f"no domain is named; known: {', '.join(DOMAINS)}")
    return tuple(Clip(u, domains[i % len(domains)], seed) for i, u in enumerate(utterances))


def in_all(utterances: Iterable[Utterance], domains: Sequence[str], seed: int = 0) -> tuple[Clip, ...]:
    """Every utterance in all of the domains."""
    return tuple(Clip(u, domain, seed) for u in utterances for domain in domains)


def _telephone_band(waveform: np.ndarray) -> np.ndarray:
    """300-3,400 Hz."""
    from scipy.signal import butter, sosfiltfilt

    low_cut = butter(4, 300, "highpass", fs=RATE, output="sos")
    narrow = augment.band_limit(waveform, RATE, BAND_HZ).astype(np.float64)
    padding = min(3 * RATE // 100, len(narrow) - 1)
    return audio.check(sosfiltfilt(low_cut, narrow, padlen=padding).astype(np.float32), RATE)
