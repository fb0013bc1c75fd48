"""What a notebook shows: tables of what was measured, players side by side, sentences computed from the numbers."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib import audio, results
from lib.report import vocabulary
from lib.results import METRICS, Run

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Utterance
    from lib.measure.evaluate import Clip


def rows(run: Run) -> "pd.DataFrame":
    """Everything this notebook has measured so far, as `lib.results.read` returns it."""
    return results.read(run.path) if run.path.exists() else results.read()


def table(
    run: Run,
    metrics: Sequence[str],
    *,
    system: str | None = None,
    variants: Collection[str] | None = None,
    found: "pd.DataFrame | None" = None,
) -> "pd.DataFrame":
    """One line per system, variant and target, one column per metric: "4.13 [4.05, 4.20]", with the kind unless
    measured.

    system, variants: those alone; found: rows to show instead of this run's, such as recorded ones. Where
    several runs measured the same thing (01_baselines@quick and 01_baselines@study), each has a line of its
    own, named by its notebook.
    """
    found = rows(run) if found is None else found
    found = found[found.metric.isin(metrics)]
    if system:
        found = found[found.system == system]
    if variants is not None:
        found = found[found.variant.isin(variants)]
    cells = found.assign(cell=[_cell(row) for row in found.itertuples()])
    keys = ["system", "variant", "target"]
    if cells.duplicated([*keys, "metric"]).any():
        keys.append("notebook")
    wide = cells.pivot(index=keys, columns="metric", values="cell").reindex(columns=list(metrics)).fillna("")
    wide = wide.reindex(
        cells[keys].drop_duplicates().apply(tuple, axis=1).tolist()
    )  # in the order they were measured
    return wide.rename(columns={m: f"{METRICS[m].label}, {vocabulary.unit(m)}" for m in metrics}).rename_axis(
        columns=None
    )


def value(
    run: Run, system: str, metric: str, *, variant: str = "baseline", target: str | None = None
) -> float | None:
    """One number of this run, None where it was not measured."""
    found = rows(run)
    found = found[
        (found.system == system) & (found.variant == variant) & (found.metric == metric) & found.value.notna()
    ]
    if target:
        found = found[found.target == target]
    return None if found.empty else float(found.value.iloc[0])


def players(clips: Mapping[str, "Clip"], *, text: bool = True):
    """Players side by side at one loudness, each under its label; the clips are embedded as MP3."""
    from IPython.display import HTML

    columns = []
    for label, clip in clips.items():
        data = audio.encode(audio.match_level(clip.waveform, clip.sample_rate), clip.sample_rate, "mp3")
        source = f"data:audio/mpeg;base64,{base64.b64encode(data).decode()}"
        columns.append(
            f'<div style="margin:0 1em 0.6em 0"><div><b>{html.escape(label)}</b></div>'
            f'<audio controls preload="metadata" src="{source}" style="width:15em"></audio></div>'
        )
    said = f"<p><i>{html.escape(next(iter(clips.values())).text)}</i></p>" if text and clips else ""
    return HTML(f'{said}<div style="display:flex;flex-wrap:wrap">{"".join(columns)}</div>')


def player(waveform, sample_rate: int):
    """One compact player at the true level (IPython's default would normalise every clip to full scale)."""
    from IPython.display import Audio

    return Audio(data=audio.encode(waveform, sample_rate, "mp3"), rate=sample_rate, normalize=False)


def clip_of(utterance: "Utterance", waveform=None) -> "Clip":
    """A corpus utterance as a clip for `players`, or another waveform of it at the same sample rate."""
    from lib.measure.evaluate import Clip

    return Clip(
        utterance.id, utterance.text, utterance.load() if waveform is None else waveform, utterance.sample_rate
    )


def say(*sentences: str | None) -> None:
    """Print computed sentences as one paragraph; those without numbers (None) are left out."""
    from IPython.display import Markdown, display

    found = [sentence for sentence in sentences if sentence]
    if found:
        display(Markdown(" ".join(found)))


def times(now: float | None, before: float | None) -> str | None:
    """ "3.2 times" for two numbers that both exist."""
    return None if not now or not before else f"{before / now:.1f} times"


def link(path: Path):
    """A link to a file that was written."""
    from IPython.display import FileLink

    return FileLink(str(path))


def _cell(row) -> str:
    if row.kind == "not_run":
        return "not run"
    text = vocabulary.number(row.metric, row.value)
    if row.ci_low == row.ci_low:  # not NaN
        text += f" [{vocabulary.number(row.metric, row.ci_low)}, {vocabulary.number(row.metric, row.ci_high)}]"
    return text if row.kind == "measured" else f"{text} ({row.kind})"
