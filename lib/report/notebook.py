"""What a notebook shows: tables of what was measured, players side by side, sentences computed from the numbers."""

from __future__ import annotations

import base64
import html
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lib import audio, results
from lib.measure import energy
from lib.report import verdicts as verdicts_module
from lib.report import vocabulary
from lib.report.collect import records
from lib.results import METRICS, Run
from lib.studies.floor_rows import detail

if TYPE_CHECKING:
    import pandas as pd

    from lib.corpora.base import Utterance
    from lib.measure.evaluate import Clip


def rows(run: Run) -> "pd.DataFrame":
    """Everything this notebook has measured so far, as `lib.results.read` returns it."""
    return results.read(run.path) if run.path.exists() else results.read()


def recorded() -> "pd.DataFrame":
    """The rows of earlier runs that are kept in git, whatever notebook they come from."""
    return results.read(results.RECORDED)


def with_recorded(run: Run) -> "pd.DataFrame":
    """Both: what this notebook has measured so far, and the rows of earlier runs."""
    return results.read(*([run.path] if run.path.exists() else []), results.RECORDED)


def table(
    run: Run,
    metrics: Sequence[str],
    *,
    system: str | None = None,
    variants: Collection[str] | None = None,
    found: "pd.DataFrame | None" = None,
    differences: Collection[str] = (),
) -> "pd.DataFrame":
    """One line per system, variant and target, one column per metric: "4.13 [4.05, 4.20]", with the kind unless
    measured.

    system, variants: those alone; found: rows to show instead of this run's, such as recorded ones; differences:
    metrics of which a variant has its paired difference from the baseline in the same table instead of its value, and
    every cell of fewer sentences than others the number of them: "−0.45 [−0.56, −0.34] (n = 20)". Where
    several runs measured the same thing (01_baselines@quick and 01_baselines@study, or two machines), each has a line
    of its own, named by its notebook or machine.
    """
    shown = rows(run) if found is None else found
    shown = shown[shown.metric.isin(metrics)]
    if system:
        shown = shown[shown.system == system]
    if variants is not None:
        shown = shown[shown.variant.isin(variants)]
    most = shown[shown.metric.isin(differences)].groupby("metric").n.max().to_dict()
    names = shown[shown.value.notna()][["system", "variant", "target", "metric"]]
    known = set(names.itertuples(index=False, name=None))
    cells = shown.assign(
        cell=[
            _compared(row, known, most[row.metric]) if row.metric in most else _cell(row)
            for row in shown.itertuples()
        ]
    )
    keys = ["system", "variant", "target"]
    for more in ("notebook", "host", "commit"):
        if cells.duplicated([*keys, "metric"]).any():
            keys.append(more)
    wide = cells.pivot(index=keys, columns="metric", values="cell").reindex(columns=list(metrics)).fillna("")
    wide = wide.reindex(
        cells[keys].drop_duplicates().apply(tuple, axis=1).tolist()
    )  # in the order they were measured
    return wide.rename(columns={m: f"{METRICS[m].label}, {vocabulary.unit(m)}" for m in metrics}).rename_axis(
        columns=None
    )


def verdicts(table: "pd.DataFrame") -> "pd.DataFrame":
    """What each variant is called (`lib.measure.verdict`), a line each. table: rows, as `rows` returns them."""
    return verdicts_module.table(records(table))


def full(table: "pd.DataFrame"):
    """A table whose sentences are shown to their end, where pandas cuts a cell after 50 characters; an empty one as
    "(no rows)", for its header alone reads like a fault.
    """
    import pandas as pd
    from IPython.display import HTML

    if table.empty:
        return HTML("<p>(no rows)</p>")
    with pd.option_context("display.max_colwidth", None):
        return HTML(table.to_html(classes="full"))


def answer(table: "pd.DataFrame"):
    """The answer of the report's first screen: needs, sentences, and each system's headline numbers."""
    from IPython.display import Markdown

    from lib.report import answers, cards, summary

    measured = records(table)
    said = [str(s).replace("<strong>", "**").replace("</strong>", "**") for s in summary.sentences(measured)]
    made = cards.cards(measured)
    if not made:
        return Markdown("Nothing has been measured yet: run the other notebooks first.")
    needs = "\n".join(f"- {answers.sentence(answer)}" for answer in answers.answers(measured))
    return Markdown("\n\n".join(filter(None, [needs, *said, cards.markdown(made)])))


def claims(table: "pd.DataFrame", study: str = "") -> "pd.DataFrame":
    """Every headline of the reference studies: theirs, ours, verdict, reason, a line each, and where ours was measured.
    study: of that one alone, by the beginning of its name.
    """
    import pandas as pd

    from lib.report import claims as told

    columns = {name: name for name in ("study", "system", "of", "theirs", "ours", "n", "verdict", "reason")}
    columns["source"] = "stated by"
    lines = [line for line in told.lines(records(table)) if line.study.startswith(study)]
    cells = [[getattr(line, name) or "" for name in columns] for line in lines]
    where = [line.origin or "this run" if line.ours else "" for line in lines]
    made = pd.DataFrame(cells, columns=list(columns.values())).assign(measured=where)
    return made.set_index(["study", "system"])


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


def headed(title: str, clips: Mapping[str, "Clip"]) -> None:
    """Players side by side under a title."""
    from IPython.display import Markdown, display

    display(Markdown(f"**{title}**"), players(clips))


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


def terms(*metrics: str) -> None:
    """What metrics mean, and "without audible loss" with its margins, as a list, where they are first met."""
    said = [f"**{METRICS[metric].label}**: {vocabulary.DEFINITIONS[metric]}" for metric in metrics]
    loss = "the 95 % intervals of all differences from the baseline lie inside their margins"
    points(*said, f"**Without audible loss**: {loss} ({verdicts_module.margins()}).")


def say(*sentences: str | None) -> None:
    """Print computed sentences as one paragraph; those without numbers (None) are left out."""
    from IPython.display import Markdown, display

    said = [sentence for sentence in sentences if sentence]
    if said:
        display(Markdown(" ".join(said)))


def points(*sentences: str | None) -> None:
    """Computed sentences as a list, for the end of a notebook; those without numbers (None) are left out."""
    from IPython.display import Markdown, display

    given = [sentence for sentence in sentences if sentence]
    display(Markdown("\n".join(f"- {sentence}" for sentence in given) or "Nothing has been measured yet."))


def link(path: Path):
    """A link to a file that was written."""
    from IPython.display import FileLink

    return FileLink(str(path))


def _compared(row, known: Collection[tuple], most: float) -> str:
    """ "−0.45 [−0.56, −0.34] (n = 20)": a row's paired difference where what it is from has a cell of its own, else its
    value; with the number of sentences where others are of more. known: (system, variant, target, metric) of the cells.
    """
    about = detail(row) if (row.system, row.baseline, row.target, row.metric) in known else {}
    text = _cell(row)
    if "difference" in about:
        ends = [about[name] for name in ("difference", "ci_low", "ci_high") if about.get(name) is not None]
        # no difference has a sign as well: only values have none
        said = [vocabulary.signed(row.metric, e) if e else f"±{vocabulary.number(row.metric, 0)}" for e in ends]
        text = said[0] + (f" [{said[1]}, {said[2]}]" if len(said) == 3 else "")
    return f"{text} (n = {row.n:.0f})" if row.n < most else text


def _cell(row) -> str:
    if row.kind == "not_run":
        return "not run"
    text = vocabulary.number(row.metric, row.value)
    if row.ci_low == row.ci_low:  # not NaN
        text += f" [{vocabulary.number(row.metric, row.ci_low)}, {vocabulary.number(row.metric, row.ci_high)}]"
    kind = "claimed" if row.source.startswith(results.CLAIM) else row.kind
    told = [*([] if row.kind == "measured" else [kind]), *energy.words(row)]
    return f"{text} ({', '.join(told)})" if told else text
