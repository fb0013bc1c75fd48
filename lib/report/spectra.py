"""What does a copy lose? The mel spectrograms of a clip and its copies on one scale, with what differs below them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lib import audio, features
from lib.features import HIFIGAN
from lib.report import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Clip = tuple[np.ndarray, int]  # waveform (n_samples,), sample rate in Hz

DECIBELS = 20 / np.log(10)  # of a natural logarithm of amplitude
_REACH_DB = 20.0  # where the colours of the difference end
_FLOOR_DB = 60.0  # cells this far below the loudest are silence: their differences are nobody's loss


def copies(original: Clip, made: Mapping[str, Clip], *, size: tuple[float, float] | None = None) -> Figure:
    """The original and each copy side by side on one colour scale; below each copy what it has more (red) or less
    (blue) than the original, in dB. made: label -> a copy that is aligned with the original in time. Near in its mel is
    not yet good to hear: Griffin-Lim fits the mel itself, and leaves the phase to chance.
    """
    import matplotlib.pyplot as plt

    reference = _mel_db(original)  # (n_frames, 80)
    mels = {"original": reference, **{label: _mel_db(clip) for label, clip in made.items()}}
    seconds = len(reference) * HIFIGAN.hop / HIFIGAN.sample_rate
    look = {
        "origin": "lower",
        "aspect": "auto",
        "interpolation": "nearest",
        "extent": (0, seconds, 0, HIFIGAN.n_bands),
    }
    top = float(reference.max())
    with style.theme():
        figure, panels = plt.subplots(
            2,
            len(mels),
            figsize=size or (1.2 + 3.2 * len(mels), 4.6),
            layout="constrained",
            squeeze=False,
            sharex=True,
            sharey=True,
        )
        for column, (label, mel) in enumerate(mels.items()):
            shared = panels[0][column].imshow(mel.T, cmap="magma", vmin=top - _FLOOR_DB - 20, vmax=top, **look)
            panels[0][column].set_title(label, fontsize=10)
            if label == "original":
                panels[1][column].set_axis_off()
                continue
            gap = _difference(reference, mel)
            apart = panels[1][column].imshow(gap.T, cmap="RdBu_r", vmin=-_REACH_DB, vmax=_REACH_DB, **look)
            panels[1][column].set_title(
                f"minus the original: {np.nanmean(np.abs(gap)):.1f} dB apart", fontsize=9
            )
            panels[1][column].set_xlabel("seconds")
        for axes in panels.flat:
            axes.grid(visible=False)
        panels[0][0].set_ylabel("mel band")
        figure.colorbar(shared, ax=panels[0].tolist(), label="dB")
        if made:
            figure.colorbar(apart, ax=panels[1].tolist(), label="dB more or less")
    plt.close(figure)
    return figure


def copies_finding(original: Clip, made: Mapping[str, Clip]) -> str | None:
    """Which copy is nearest, and in which third of the bands each is furthest off, in a sentence; None without one."""
    reference = _mel_db(original)
    gaps = {label: _difference(reference, _mel_db(clip)) for label, clip in made.items()}
    if not gaps:
        return None
    apart = {label: float(np.nanmean(np.abs(gap))) for label, gap in gaps.items()}
    said = []
    for label in sorted(apart, key=apart.get):
        thirds = [np.nanmean(np.abs(part)) for part in np.array_split(gaps[label], 3, axis=1)]
        worst = ("lowest", "middle", "highest")[int(np.nanargmax(thirds))]
        said.append(f"{label} {apart[label]:.1f} dB (most in the {worst} third of the bands)")
    return f"From the original's mel, where it is not silent, the copies are this far on average: {'; '.join(said)}."


def strip(clip: Clip, top_db: float | None = None) -> bytes:
    """A clip's mel spectrogram as a bare PNG, a pixel a frame and band, low bands below; top_db: the level of the
    brightest colour (by default its own loudest), so that strips of one sentence share their scale.
    """
    import io

    import matplotlib.image

    mel = _mel_db(clip)
    top = float(mel.max()) if top_db is None else top_db
    buffer = io.BytesIO()
    look = {"cmap": "magma", "vmin": top - _FLOOR_DB - 20, "vmax": top, "origin": "lower"}
    matplotlib.image.imsave(buffer, mel.T, format="png", metadata={"Software": None}, **look)
    return buffer.getvalue()


def loudest(clips: Iterable[Clip]) -> float:
    """The level in dB of the loudest cell of all their mels."""
    return max(float(_mel_db(clip).max()) for clip in clips)


def apart(original: Clip, made: Clip) -> float | None:
    """How many dB the mel of a copy is from its original's on average, where that is not silent; None where the two
    last differently long, by more than a frame: then frame stands beside wrong frame.
    """
    reference, mel = _mel_db(original), _mel_db(made)
    if abs(len(reference) - len(mel)) > 1:
        return None
    return float(np.nanmean(np.abs(_difference(reference, mel))))


def reach(clip: Clip, share: float = 0.99) -> float:
    """The frequency in Hz below which `share` of a clip's energy lies."""
    waveform, sample_rate = clip
    power = np.abs(np.fft.rfft(np.asarray(waveform, np.float64))) ** 2
    total = np.cumsum(power)
    bins = int(np.searchsorted(total, share * total[-1])) if total[-1] > 0 else 0
    return bins * sample_rate / len(waveform)


def mels_finding(clips: Mapping[str, Clip | np.ndarray]) -> str | None:
    """How far up the energy of each clip reaches, in a sentence for `pictures.mels`; bare mels are left out."""
    reaches = {label: reach(clip) for label, clip in clips.items() if not isinstance(clip, np.ndarray)}
    if len(reaches) < 2:
        return None
    high, low = max(reaches, key=reaches.get), min(reaches, key=reaches.get)
    return (
        f"99 % of the energy lies below {reaches[high] / 1000:.1f} kHz in {high}, which reaches highest, and below "
        f"{reaches[low] / 1000:.1f} kHz in {low}, the lowest of the {len(reaches)}."
    )


def _mel_db(clip: Clip) -> np.ndarray:
    """(n_frames, 80) in dB."""
    waveform, sample_rate = clip
    return DECIBELS * features.log_mel(audio.resample(waveform, sample_rate, HIFIGAN.sample_rate))


def _difference(reference: np.ndarray, mel: np.ndarray) -> np.ndarray:
    """Copy minus original (n_frames, 80) in dB over the frames that both have; nan where the original is silent."""
    frames = min(len(reference), len(mel))
    gap = mel[:frames] - reference[:frames]
    return np.where(reference[:frames] > reference.max() - _FLOOR_DB, gap, np.nan)
