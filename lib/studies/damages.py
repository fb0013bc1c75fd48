"""In which known ways is speech damaged, and how much? Each damage has levels, the mildest first.

Sound: noise, a band limit, clipping, copies by Griffin-Lim. Prosody, by overlap-add (`lib.psola`): the melody higher,
lower or flat, wrong durations. Words: some are cut out. The same clip at the next level has more of the very same
damage (the same noise louder, the same durations further off, the same words and one more gone), so the right order
of the levels is known without asking anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lib import audio, augment, features, psola
from lib.corpora import align
from lib.errors import AlignmentError, unknown
from lib.features import HIFIGAN
from lib.measure.evaluate import Clip
from lib.normalise import spoken
from lib.prosody import segments

CLEAN, CONTROL = "clean", "resynthesis"
FADE_S = 0.008  # over which the two sides of a cut are mixed: long enough not to click, shorter than a phone


@dataclass(frozen=True)
class Damage:
    """One way to damage a clip.

    apply: (clip, level, seed, alignment) -> waveform at the clip's rate; unit: of a level, behind its number; against:
    what the damaged clip is compared with, CLEAN or CONTROL (the clip through overlap-add, unchanged); aligned: whether
    it stays in time with the clean clip.
    """

    name: str
    label: str
    levels: tuple[float, ...]
    unit: str
    apply: Callable[[Clip, float, int, align.Alignment], np.ndarray]
    against: str = CLEAN
    aligned: bool = True

    @property
    def variants(self) -> tuple[str, ...]:
        """What its levels are called: "noise-30", "noise-20", ..."""
        return tuple(f"{self.name}-{level:g}" for level in self.levels)


def clipped(waveform: np.ndarray, sample_rate: int, percent: float) -> np.ndarray:
    """The loudest `percent` of the samples cut off, and the active level brought back to what it was."""
    most = float(np.quantile(np.abs(waveform), 1 - percent / 100))
    cut = np.clip(waveform, -most, most)
    gain = 10 ** ((audio.level_dbfs(waveform, sample_rate) - audio.level_dbfs(cut, sample_rate)) / 20)
    return (cut * min(gain, 0.99 / most)).astype(np.float32)


def copied(waveform: np.ndarray, sample_rate: int, iterations: int) -> np.ndarray:
    """The clip from its log-mel by Griffin-Lim, as long as before; fewer iterations leave the phases further off."""
    samples = audio.resample(waveform, sample_rate, HIFIGAN.sample_rate)
    copy = features.griffin_lim(features.log_mel(samples), iterations=int(iterations))
    copy = audio.resample(copy, HIFIGAN.sample_rate, sample_rate)[: len(waveform)]
    return np.pad(copy, (0, len(waveform) - len(copy)))


def mistimed(waveform: np.ndarray, sample_rate: int, percent: float, placed: align.Alignment, seed: int):
    """Every phone longer or shorter by a random factor, its log of standard deviation `percent` / 100; the phones
    together last as long as before.
    """
    ends = np.cumsum(placed.frames) * HIFIGAN.hop / HIFIGAN.sample_rate
    phones = [part for part in segments(placed.phones) if part.kind == "phone"]
    drawn = np.random.default_rng([seed, 1]).standard_normal(len(phones))
    spans = [  # (begin, end, log factor) of phones that last
        (float(ends[part.begin - 1]) if part.begin else 0.0, float(ends[part.end - 1]), z * percent / 100)
        for part, z in zip(phones, drawn)
    ]
    spans = [span for span in spans if span[1] > span[0]]
    lengths = np.array([end - begin for begin, end, _ in spans])
    factors = np.exp([log for *_, log in spans])
    factors = np.clip(factors * lengths.sum() / (factors @ lengths), psola.FASTEST, psola.SLOWEST)
    pieces: list[tuple[float, float]] = []  # (end, factor), the pauses between them at their own tempo
    for (begin, end, _), factor in zip(spans, factors):
        if begin > (pieces[-1][0] if pieces else 0.0):
            pieces.append((begin, 1.0))
        pieces.append((end, float(factor)))
    return psola.stretched(waveform, sample_rate, *zip(*pieces))


def skipped(
    waveform: np.ndarray, sample_rate: int, words: int, placed: align.Alignment, seed: int
) -> np.ndarray:
    """So many words cut out, none of them the first or the last, as many as there are where they are fewer."""
    inner = placed.words[1:-1]
    order = np.random.default_rng([seed, 2]).permutation(len(inner))[: int(words)]
    for index in sorted(order, reverse=True):
        waveform = _cut(waveform, sample_rate, inner[index].begin_s, inner[index].end_s)
    return waveform


def _cut(waveform: np.ndarray, sample_rate: int, begin_s: float, end_s: float) -> np.ndarray:
    fade = int(FADE_S * sample_rate)
    begin, end = max(fade, int(begin_s * sample_rate)), min(len(waveform) - fade, int(end_s * sample_rate))
    if end <= begin:
        return waveform
    ramp = np.linspace(1, 0, fade, dtype=np.float32)
    mixed = waveform[begin - fade : begin] * ramp + waveform[end - fade : end] * (1 - ramp)
    return np.concatenate([waveform[: begin - fade], mixed, waveform[end:]]).astype(np.float32)


def _noise(clip: Clip, level: float, seed: int, placed: align.Alignment) -> np.ndarray:
    return augment.noise(clip.waveform, clip.sample_rate, level, seed=seed)


def _on_waveform(change: Callable) -> Callable[[Clip, float, int, align.Alignment], np.ndarray]:
    return lambda clip, level, seed, placed: change(clip.waveform, clip.sample_rate, level)


DAMAGES = (
    Damage("noise", "white noise", (30, 20, 10), "dB", _noise),
    Damage("band", "band limit", (5_000, 2_000), "Hz", _on_waveform(augment.band_limit)),
    Damage("clipping", "clipping", (5, 20), "% of samples", _on_waveform(clipped)),
    Damage("griffin-lim", "Griffin-Lim", (32, 2), "iterations", _on_waveform(copied)),
    Damage("pitch-up", "pitch raised", (2, 5), "semitones", _on_waveform(psola.shifted), CONTROL),
    Damage(
        "pitch-down",
        "pitch lowered",
        (2, 5),
        "semitones",
        lambda clip, level, seed, placed: psola.shifted(clip.waveform, clip.sample_rate, -level),
        CONTROL,
    ),
    Damage(
        "flat",
        "flat pitch",
        (50, 100),
        "% of the melody",
        lambda clip, level, seed, placed: psola.flattened(clip.waveform, clip.sample_rate, level / 100),
        CONTROL,
    ),
    Damage(
        "timing",
        "wrong durations",
        (25, 60),
        "% of a phone",
        lambda clip, level, seed, placed: mistimed(clip.waveform, clip.sample_rate, level, placed, seed),
        CONTROL,
        aligned=False,
    ),
    Damage(
        "skipped",
        "skipped words",
        (1, 3),
        "words",
        lambda clip, level, seed, placed: skipped(clip.waveform, clip.sample_rate, level, placed, seed),
        aligned=False,
    ),
)
PROSODIC = ("pitch-up", "pitch-down", "flat", "timing")
MEAN_PITCH = ("pitch-up", "pitch-down")


def named(name: str) -> Damage:
    """The damage of a name; ParameterError with the nearest one for an unknown name."""
    for damage in DAMAGES:
        if damage.name == name:
            return damage
    raise unknown("damage", name, [damage.name for damage in DAMAGES])


def alignable(clips: Sequence[Clip], most: int | None = None) -> tuple[tuple[Clip, ...], list[align.Alignment]]:
    """The first `most` clips whose words can be found in them, with where they are; the others are left out."""
    kept, places = [], []
    for clip in clips:
        if most is not None and len(kept) == most:
            break
        try:
            placed = align.align(clip.waveform, clip.sample_rate, spoken(clip.text))
        except AlignmentError:
            continue
        kept.append(clip)
        places.append(placed)
    return tuple(kept), places


def control(clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """The clips through overlap-add, unchanged."""
    return tuple(_with(clip, psola.resynthesised(clip.waveform, clip.sample_rate)) for clip in clips)


def damaged(
    clips: Sequence[Clip], damage: Damage, level: float, places: Sequence[align.Alignment], seed: int = 0
) -> tuple[Clip, ...]:
    """The clips at a level of a damage; clip i draws with seed + i at every level."""
    return tuple(
        _with(clip, damage.apply(clip, level, seed + number, placed))
        for number, (clip, placed) in enumerate(zip(clips, places))
    )


def _with(clip: Clip, waveform: np.ndarray) -> Clip:
    return Clip(clip.id, clip.text, waveform, clip.sample_rate)
