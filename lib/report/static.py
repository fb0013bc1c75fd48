"""What does somebody see who runs nothing? The recorded rows as a page, a Markdown text and pictures, kept in git.

    outputs/recorded/report.html    the report without clips, to open in a browser
    outputs/recorded/README.md      its answer, which a repository's web page shows
    outputs/recorded/tables.*       its tables in Markdown and in LaTeX, for a paper
    outputs/recorded/*.png          the main pictures

All of it follows from the recorded rows alone, whose digest stands in both texts: a test compares it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from lib import results
from lib.errors import MissingDataError
from lib.files import write_atomic
from lib.report import answers, cards, claims, exports, hearing, plots, reached, summary, verdicts
from lib.report.collect import Findings, Row, records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lib.studies import floors

PAGE, TEXT = "report.html", "README.md"
_PROFILE = "quick"  # the run that others are laid beside; what ran longer or elsewhere is shown as recorded


def render(folder: str | Path = results.RECORDED) -> list[Path]:
    """Make page, text and pictures of the recorded rows in `folder`; returns the files written.

    Raises MissingDataError where nothing was recorded, SpeechError for a row that breaks the contract.
    """
    from lib import report

    folder = Path(folder)
    rows = _rows(folder)
    if not rows:
        raise MissingDataError(f"no recorded rows under {folder}: keep a run's with ./run_all.sh record quick")
    findings = Findings(folder.name, tuple(rows), (), (), (), {}, (), folder, folder)
    written = exports.write(rows, folder)
    written.append(write_atomic(folder / PAGE, report.page(findings, digest=digest(folder))))
    captions = {}
    for name, (figure, said) in _pictures(rows).items():
        if figure is not None:
            written.append(write_atomic(folder / f"{name}.png", _png(figure)))
            captions[name] = said or ""
    return [*written, write_atomic(folder / TEXT, _text(rows, captions, digest(folder)).encode())]


def digest(folder: str | Path) -> str:
    """Of names and bytes of the recorded rows and parameters; it changes with them and with nothing else."""
    made = hashlib.sha256()
    for path in sorted({*Path(folder).glob("*.jsonl"), *Path(folder).glob(f"*{results.PARAMETERS}")}):
        made.update(path.name.encode() + b"\0" + path.read_bytes())
    return made.hexdigest()[:16]


def _rows(folder: Path) -> list[Row]:
    """All recorded rows; those of the newest quick run on one machine as this run's, so that they are the answer."""
    rows = records(results.read(folder))
    runs = {(row.notebook, row.host): max(r.time for r in rows if r.notebook == row.notebook) for row in rows}
    quick = {run: time for run, time in runs.items() if run[0].split("@")[1:2] == [_PROFILE]} or runs
    host = max(quick, key=quick.get)[1] if quick else ""
    newest: dict[str, str] = {}  # notebook without profile and commit -> its newest recording
    for (notebook, where), _ in sorted(quick.items(), key=lambda item: item[1]):
        if where == host:
            newest[notebook.split("@")[0]] = notebook
    return [
        dataclasses.replace(row, recorded=not (row.host == host and row.notebook in newest.values()))
        for row in rows
    ]


def _pictures(rows: list[Row]) -> dict[str, tuple[Figure | None, str | None]]:
    current = [row for row in rows if not row.recorded]
    baselines = [row for row in current if row.variant == "baseline"]
    return {
        "pareto": (plots.pareto(baselines), plots.pareto_finding(baselines)),
        "costs": (plots.costs(current), plots.costs_finding(current)),
        "stages": (plots.stages(baselines), plots.stages_finding(baselines)),
        "hearing": (hearing.drawn(rows), hearing.said("mos_predicted", rows)),
    }


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _text(rows: list[Row], captions: dict[str, str], rows_digest: str) -> str:
    """The answer in Markdown."""
    current = [row for row in rows if not row.recorded]
    hosts, commits = (", ".join(sorted({getattr(row, name) for row in current})) for name in ("host", "commit"))
    parts = [
        f"<!-- rows: {rows_digest} -->",
        "# What was measured",
        f"Made from the recorded rows beside this file by `./run_all.sh page`: {max(r.date for r in current)}, "
        f"{hosts}, commit {commits}. [report.html]({PAGE}) holds every number with its kind: download and open it.",
        "\n".join(f"- {answers.sentence(answer)}" for answer in answers.answers(rows)),
        *(_bold(str(sentence)) for sentence in summary.sentences(rows)),
        cards.markdown(cards.cards(rows)),
    ]
    titles = {
        "pareto": "Predicted MOS against speed",
        "costs": "What each voice costs",
        "stages": "Where the time goes",
        "hearing": "What the judges hear of known damage",
    }
    for name, said in captions.items():
        parts += [f"## {titles[name]}", f"![{titles[name]}]({name}.png)", said]
    told = claims.lines(rows)
    if told:
        head = "| headline | theirs | ours | verdict | why | measured |\n|---|---|---|---|---|---|"
        parts += ["## What others state", claims.finding(told), "\n".join([head, *map(_claim, told)])]
    wanted = reached.lines(rows)
    if wanted:
        head = "| floor | wanted | ours | answer | why | measured |\n|---|---|---|---|---|---|"
        parts += ["## What was to be reached", reached.finding(wanted), "\n".join([head, *map(_floor, wanted)])]
    judged = verdicts.latest(verdicts.judged(rows))
    if judged:
        head = "| variant | against | verdict | recommendation | why | measured |\n|---|---|---|---|---|---|"
        lines = [
            f"| {j.system} {j.variant}, {j.target} | {j.baseline} | {j.word} | {j.judgement.recommendation.word} "
            f"| {j.judgement.recommendation.reason} | {_measured(j)} |"
            for j in judged
        ]
        parts += ["## Would a listener notice?", f"Margins: {verdicts.margins()}.", "\n".join([head, *lines])]
    return "\n\n".join(part for part in parts if part) + "\n"


def _claim(line: claims.Line) -> str:
    whose = f"{line.system} {line.of}".strip()
    return _cells(whose, line.theirs, line.ours, line.verdict, line.reason, _measured(line))


def _floor(line: reached.Line) -> str:
    return _cells(line.name, line.wanted, line.ours, line.word, line.why, _measured(line))


def _measured(line: claims.Line | floors.Line | verdicts.Judged) -> str:
    """Which run it is of: those that the head names, or an earlier one."""
    return line.origin or "as above"


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _bold(sentence: str) -> str:
    return sentence.replace("<strong>", "**").replace("</strong>", "**")
