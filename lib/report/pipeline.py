"""What happens between a text and its sound? One sentence as text, phones, mel and waveform, and each system's stages.

spoken = pipeline.speak(voices, text, seed=0)
pipeline.draw(spoken)           the sentence in four forms, below them a row of boxes per system
pipeline.finding(spoken)        who takes which way, in a sentence
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib import audio, features
from lib.features import HIFIGAN
from lib.report import style
from lib.report.collect import records
from lib.report.collect import stages as stage_seconds
from lib.text import listed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from lib.systems.base import Speech, System

FORMS = ("text", "phones", "mel", "waveform")
_TEXT, _PHONES, _MEL, _WAVEFORM = range(4)
_MARKS = ("^", "$", "_")  # begin, end and padding of a sentence of phones
_HALF = 0.13  # of a column: half the space that a form takes, which boxes leave free


@dataclass(frozen=True)
class Stage:
    """One box. begin, end: the forms it leads from and to (indexes of FORMS); share: of the system's time, 0 to 1;
    params_m: of its networks in `modules`, None where they are not known.
    """

    name: str
    begin: int
    end: int
    share: float
    params_m: float | None


@dataclass(frozen=True)
class Spoken:
    """A sentence as one system said it, with the stages it went through."""

    system: str
    text: str
    speech: Speech
    stages: tuple[Stage, ...]

    @property
    def makes_mel(self) -> bool:
        """Whether a mel spectrogram lies on its way."""
        return any(stage.end == _MEL for stage in self.stages)


def speak(
    voices: Mapping[str, System], text: str, *, seed: int = 0, table: pd.DataFrame | None = None
) -> dict[str, Spoken]:
    """Say the text with each voice; label -> what it went through.

    table: rows with the times of the stages, as `lib.results.read` returns them; a voice that was not timed there is
    asked how long it took now (after a first time, to warm up).
    """
    rows = (
        [] if table is None else [row for row in records(table) if row.metric == "rtf" and stage_seconds(row)]
    )
    timed = {(row.system, row.variant, row.target): stage_seconds(row) for row in rows}
    spoken = {}
    for label, voice in voices.items():
        seconds = timed.get((voice.name, voice.variant, voice.target))
        speech = voice.synthesize(text, seed=seed)
        if seconds is None:
            voice.prepare()
            speech = voice.synthesize(text, seed=seed)
        spoken[label] = Spoken(voice.name, text, speech, stages_of(seconds or speech.seconds, voice.modules))
    return spoken


def stages_of(seconds: Mapping[str, float], modules: Mapping[str, object] | None = None) -> tuple[Stage, ...]:
    """Where each stage lies between the forms, from the names of the stages in their order.

    "phonemes" turns text into phones; what comes before a "vocoder" makes a mel; without a vocoder the others lead
    from the phones (without "phonemes": from the text) straight to the waveform.

    >>> [(s.name, FORMS[s.begin], FORMS[s.end]) for s in stages_of({"phonemes": 1, "acoustic_model": 2, "vocoder": 1})]
    [('phonemes', 'text', 'phones'), ('acoustic_model', 'phones', 'mel'), ('vocoder', 'mel', 'waveform')]
    """
    total = sum(seconds.values()) or 1.0
    start = _PHONES if "phonemes" in seconds else _TEXT
    made = []
    for name, taken in seconds.items():
        if name == "phonemes":
            begin, end = _TEXT, _PHONES
        elif name == "vocoder":
            begin, end = _MEL, _WAVEFORM
        else:
            begin, end = start, _MEL if "vocoder" in seconds else _WAVEFORM
        made.append(Stage(name, begin, end, taken / total, _params_m(name, modules or {})))
    return tuple(made)


def draw(spoken: Mapping[str, Spoken], *, size: tuple[float, float] | None = None) -> Figure:
    """The sentence in its four forms above, a row of boxes per system below; a box's strength is its share of time.

    The forms are those of the first system that knows its phones, else of the first.
    """
    import matplotlib.pyplot as plt

    shown = next((s for s in spoken.values() if s.speech.phones), next(iter(spoken.values())))
    width, height = size or (11.0, 2.6 + 0.72 * len(spoken))
    above = 2.3 / height  # share of the forms
    with style.theme():
        figure = plt.figure(figsize=(width, height))
        rows = figure.add_axes((0.0, 0.0, 1.0, 1 - above))
        _rows(rows, spoken)
        _forms(figure, shown, bottom=1 - above + 0.5 / height, height=1.45 / height)
    plt.close(figure)
    return figure


def finding(spoken: Mapping[str, Spoken]) -> str:
    """Who goes by way of a mel, and which stage costs each system most, in a sentence."""
    through = [label for label, s in spoken.items() if s.makes_mel]
    straight = [label for label in spoken if label not in through]
    said = []
    if through:
        said.append(f"{listed(through)} {'go' if len(through) > 1 else 'goes'} by way of a mel spectrogram")
    if straight:
        said.append(
            f"{listed(straight)} {'make' if len(straight) > 1 else 'makes'} no mel that a vocoder would read"
        )
    costs = []
    for label, s in spoken.items():
        if len(s.stages) > 1:
            most = max(s.stages, key=lambda stage: stage.share)
            costs.append(
                f"{label} spends {100 * most.share:.0f} % of its time in its {most.name.replace('_', ' ')}"
            )
    return "; ".join(said) + "." + (f" Here {', '.join(costs)}." if costs else "")


def _params_m(stage: str, modules: Mapping[str, object]) -> float | None:
    mine = [module for name, module in modules.items() if name == stage or name.startswith(f"{stage}.")]
    return sum(p.numel() for module in mine for p in module.parameters()) / 1e6 if mine else None


def _forms(figure: Figure, shown: Spoken, *, bottom: float, height: float) -> None:
    """The four forms over the four columns of the rows; positions are shares of the figure."""
    import textwrap

    speech = shown.speech
    samples = audio.resample(speech.waveform, speech.sample_rate, HIFIGAN.sample_rate)
    panels = [figure.add_axes(((place + 0.5) / 4 - 0.105, bottom, 0.21, height)) for place in range(4)]
    phones = "".join(phone for phone in speech.phones or () if phone not in _MARKS) or "phones of its own"
    for place, text in ((_TEXT, shown.text), (_PHONES, phones)):
        panels[place].text(0.5, 0.5, textwrap.fill(text, 26), ha="center", va="center", fontsize=10.5)
        panels[place].set_axis_off()
    mel = features.log_mel(samples)  # (n_frames, 80)
    seconds = len(samples) / HIFIGAN.sample_rate
    look = {"origin": "lower", "aspect": "auto", "cmap": "magma", "interpolation": "nearest"}
    panels[_MEL].imshow(mel.T, extent=(0, seconds, 0, mel.shape[1]), **look)
    times = np.arange(len(samples)) / HIFIGAN.sample_rate
    panels[_WAVEFORM].plot(times, samples, color=style.color(shown.system), linewidth=0.4)
    for place in (_MEL, _WAVEFORM):
        panels[place].set_xlabel("seconds", fontsize=8)
        panels[place].tick_params(labelsize=8)
        panels[place].set_yticks([])
        panels[place].grid(visible=False)
    for place, form in enumerate(FORMS):
        panels[place].set_title(form, loc="center", fontsize=11)


def _rows(axes: Axes, spoken: Mapping[str, Spoken]) -> None:
    """One row per system: its boxes between the four columns, whose lines stand for the forms."""
    from matplotlib.patches import FancyBboxPatch

    axes.set_xlim(-0.5, 3.5)
    axes.set_ylim(len(spoken) - 0.45, -0.6)
    for form in range(len(FORMS)):
        axes.axvline(form, color=style.GRID, linewidth=1, zorder=0)
    for line, (label, s) in enumerate(spoken.items()):
        axes.text(-0.48, line - 0.4, label, fontsize=9, weight="bold", color=style.INK, va="center")
        touched = sorted({form for stage in s.stages for form in (stage.begin, stage.end)})
        axes.plot([touched[0], touched[-1]], [line, line], color=style.MUTED, linewidth=1, zorder=1)
        axes.plot(touched, [line] * len(touched), "o", color=style.MUTED, markersize=4, zorder=2)
        for (begin, end), stages in _spans(s.stages).items():
            left, width = begin + _HALF, (end - begin - 2 * _HALF) / len(stages)
            for place, stage in enumerate(stages):
                x = left + place * width
                box = FancyBboxPatch(
                    (x + 0.01, line - 0.29),
                    width - 0.02,
                    0.58,
                    boxstyle="round,pad=0,rounding_size=0.03",
                    facecolor=_tint(style.color(s.system), 0.12 + 0.55 * stage.share),
                    edgecolor=style.color(s.system),
                    linewidth=1,
                    zorder=3,
                )
                axes.add_patch(box)
                size = f", {stage.params_m:.1f} M" if stage.params_m else ""
                name = stage.name.replace("_", "\n" if width < 0.45 else " ")
                text = f"{name}\n{_percent(stage.share)}{size}"
                axes.text(
                    x + width / 2, line, text, ha="center", va="center", fontsize=7, color=style.INK, zorder=4
                )
    axes.set_axis_off()


def _spans(stages: Sequence[Stage]) -> dict[tuple[int, int], list[Stage]]:
    spans: dict[tuple[int, int], list[Stage]] = {}
    for stage in stages:
        spans.setdefault((stage.begin, stage.end), []).append(stage)
    return spans


def _tint(colour: str, strength: float) -> tuple[float, ...]:
    """The colour mixed with white, so that dark text reads on it."""
    from matplotlib.colors import to_rgb

    return tuple(1 - strength * (1 - channel) for channel in to_rgb(colour))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "< 1 %"
