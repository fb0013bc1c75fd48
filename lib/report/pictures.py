"""Pictures of speech: what a clip, a corpus and an augmentation look like. Each returns a closed matplotlib figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib import audio, features
from lib import prosody as prosody_module
from lib.features import HIFIGAN
from lib.report import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lib.systems.attention import Reading

_FRAME_S = HIFIGAN.hop / HIFIGAN.sample_rate


def clip(
    waveform: np.ndarray,
    sample_rate: int,
    *,
    phones: Sequence[str] | None = None,
    frames: Sequence[int] | None = None,
    title: str = "",
) -> "Figure":
    """Log-mel spectrogram with its phones, F0 and energy below it, on one time axis. frames: lengths of `phones`."""
    import matplotlib.pyplot as plt

    samples = audio.resample(waveform, sample_rate, HIFIGAN.sample_rate)
    mel = features.log_mel(samples)  # (n_frames, 80)
    times = np.arange(len(mel)) * _FRAME_S
    with style.theme():
        figure, (top, middle, bottom) = plt.subplots(
            3,
            1,
            figsize=(10, 5.6),
            sharex=True,
            layout="constrained",
            gridspec_kw={"height_ratios": [3, 1.2, 1]},
        )
        _mel(top, mel)
        top.set_title(title)
        hz = prosody_module.f0(samples, HIFIGAN.sample_rate).hz
        middle.plot(times, np.where(hz > 0, hz, np.nan), color=style.color("vits-joe"), linewidth=2)
        middle.set_ylabel("F0, Hz")
        bottom.fill_between(
            times, features.energy(samples), color=style.color("hibari"), linewidth=0, alpha=0.8
        )
        bottom.set_ylabel("energy")
        bottom.set_xlabel("seconds")
        if phones is not None and frames is not None:
            _phones((top, middle, bottom), phones, frames)
    plt.close(figure)
    return figure


def phone_durations(
    utterances: Mapping[str, Sequence[tuple[Sequence[str], Sequence[int]]]], most: int = 24
) -> "Figure":
    """How long each phone lasts, by corpus: medians with quartiles of the `most` frequent phones.

    utterances: corpus name -> (phones, frames) of each utterance.
    """
    import matplotlib.pyplot as plt

    by_corpus = {name: lengths(pairs) for name, pairs in utterances.items()}
    counts: dict[str, int] = {}
    for of_phone in by_corpus.values():
        for phone, values in of_phone.items():
            counts[phone] = counts.get(phone, 0) + len(values)
    frequent = sorted(counts, key=lambda phone: -counts[phone])[:most]
    first = next(iter(by_corpus.values()))
    order = sorted(frequent, key=lambda phone: float(np.median(first.get(phone, [0.0]))))
    with style.theme():
        figure, axes = plt.subplots(figsize=(10, 3.6), layout="constrained")
        for index, (name, of_phone) in enumerate(by_corpus.items()):
            places = np.arange(len(order)) + (index - (len(by_corpus) - 1) / 2) * 0.25
            quartiles = np.array(
                [np.percentile(of_phone.get(phone, [np.nan]), [25, 50, 75]) for phone in order]
            )
            axes.errorbar(
                places,
                quartiles[:, 1],
                yerr=np.abs(quartiles[:, [0, 2]] - quartiles[:, [1]]).T,
                linestyle="",
                markersize=6,
                marker=style.marker(_system(name)),
                color=style.color(_system(name)),
                label=name,
            )
        axes.set_xticks(range(len(order)), order)
        axes.set_ylabel("ms (median and quartiles)")
        axes.set_xlabel("phone")
        axes.legend(frameon=False)
    plt.close(figure)
    return figure


def distributions(table: "pd.DataFrame", columns: Mapping[str, str]) -> "Figure":
    """One box plot per column and speaker. table: one line per utterance with a column "speaker"; columns: name
    -> axis label.
    """
    import matplotlib.pyplot as plt

    speakers = list(dict.fromkeys(table.speaker))
    with style.theme():
        figure, grid = plt.subplots(1, len(columns), figsize=(3.2 * len(columns), 3.4), layout="constrained")
        for axes, (column, label) in zip(np.atleast_1d(grid), columns.items()):
            boxes = axes.boxplot(
                [table[table.speaker == s][column].dropna() for s in speakers],
                widths=0.6,
                showfliers=False,
                patch_artist=True,
                medianprops={"color": style.INK},
            )
            for patch, speaker in zip(boxes["boxes"], speakers):
                patch.set_facecolor(style.color(_system(speaker)))
                patch.set_alpha(0.75)
            axes.set_xticks(range(1, len(speakers) + 1), speakers)
            axes.set_ylabel(label)
    plt.close(figure)
    return figure


def sentence_lengths(words: Mapping[str, Sequence[int]]) -> "Figure":
    """How many words the sentences of each text have: quartiles, and whiskers to the shortest and the longest."""
    import matplotlib.pyplot as plt

    names = list(words)[::-1]  # the first on top
    with style.theme():
        figure, axes = plt.subplots(figsize=(7, 0.45 * len(names) + 0.9), layout="constrained")
        boxes = axes.boxplot(
            [words[name] for name in names],
            orientation="horizontal",
            widths=0.6,
            whis=(0, 100),
            patch_artist=True,
            medianprops={"color": style.INK},
        )
        for patch, name in zip(boxes["boxes"], names):
            patch.set_facecolor(style.color("vits-joe" if name.endswith("training") else "hibari"))
            patch.set_alpha(0.75)
        axes.set_yticks(range(1, len(names) + 1), names)
        axes.set_xlabel("words per sentence")
    plt.close(figure)
    return figure


def mels(clips: Mapping[str, tuple[np.ndarray, int] | np.ndarray], columns: int = 3) -> "Figure":
    """Log-mel spectrograms side by side: label -> (waveform, sample rate), or a mel (n_frames, n_bands) as it is."""
    import matplotlib.pyplot as plt

    rows = -(-len(clips) // columns)
    with style.theme():
        figure, grid = plt.subplots(
            rows, columns, figsize=(3.6 * columns, 2.1 * rows), layout="constrained", squeeze=False
        )
        for axes, (label, value) in zip(grid.flat, clips.items()):
            mel = (
                value
                if isinstance(value, np.ndarray)
                else features.log_mel(audio.resample(*value, HIFIGAN.sample_rate))
            )
            _mel(axes, mel)
            axes.set_title(label, fontsize=9)
        for axes in grid.flat[len(clips) :]:
            axes.set_axis_off()
    plt.close(figure)
    return figure


def alignments(readings: Mapping[str, Sequence["Reading"]]) -> "Figure":
    """What each decoder step attended to, one panel per system: seconds to the right, the symbols upwards.

    readings: label -> a sentence read by a system that attends, as its `read` returns it; of several portions
    the first.
    """
    import matplotlib.pyplot as plt

    most = max(len(reading.phones) for reading, *_ in readings.values())  # each a line that can be read
    with style.theme():
        figure, panels = plt.subplots(
            1,
            len(readings),
            figsize=(5.2 * len(readings), max(4.6, 0.12 * most)),
            layout="constrained",
            squeeze=False,
        )
        for axes, (label, (reading, *_)) in zip(panels[0], readings.items()):
            seconds = len(reading.log_mel) * _FRAME_S
            axes.imshow(
                reading.alignment.T,
                origin="lower",
                aspect="auto",
                cmap="magma",
                interpolation="nearest",
                vmin=0,
                vmax=1,
                extent=(0, seconds, -0.5, len(reading.phones) - 0.5),
            )
            axes.set_yticks(range(len(reading.phones)), reading.phones, fontsize=6)
            axes.set(title=label, xlabel="seconds")
            axes.grid(visible=False)
    plt.close(figure)
    return figure


def _mel(axes: "Axes", mel: np.ndarray) -> None:
    axes.imshow(
        mel.T,
        origin="lower",
        aspect="auto",
        cmap="magma",
        interpolation="nearest",
        extent=(0, len(mel) * _FRAME_S, 0, mel.shape[1]),
    )
    axes.set_ylabel("mel band")
    axes.grid(visible=False)


def _phones(panels: Sequence["Axes"], phones: Sequence[str], frames: Sequence[int]) -> None:
    """Boundaries of the phones in all panels, their symbols over the first."""
    ends = np.concatenate([[0], np.cumsum(frames)]) * _FRAME_S
    for segment in prosody_module.segments(tuple(phones)):
        begin, end = ends[segment.begin], ends[segment.end]
        if end <= begin:
            continue
        for axes in panels:
            axes.axvline(
                begin, color=style.SURFACE if axes is panels[0] else style.MUTED, linewidth=0.6, alpha=0.8
            )
        if segment.kind == "phone":
            panels[0].text(
                (begin + end) / 2,
                HIFIGAN.n_bands * 0.97,
                segment.name,
                color="white",
                fontsize=8,
                ha="center",
                va="top",
            )


def lengths(pairs: Sequence[tuple[Sequence[str], Sequence[int]]]) -> dict[str, list[float]]:
    """Phone without stress marks -> its lengths in ms."""
    lengths: dict[str, list[float]] = {}
    for phones, frames in pairs:
        ends = np.concatenate([[0], np.cumsum(frames)]) * _FRAME_S * 1e3
        for segment in prosody_module.segments(tuple(phones)):
            if segment.kind == "phone":
                lengths.setdefault(segment.name.strip("ˈˌ"), []).append(ends[segment.end] - ends[segment.begin])
    return lengths


def _system(name: str) -> str:
    """Whose colour a speaker or corpus has: a recorded person's is the ground truth's."""
    return name if name in ("vits-joe", "hibari") else "ground-truth"
