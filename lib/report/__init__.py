"""What did we find? One self-contained HTML page from what the notebooks measured, to read, see and listen to.

`render` reads a profile's results folder (and rows of earlier runs) and nothing else. The page opens from disk
without any network request: styles, script, plots, pictures and clips are inside it, and its content policy
forbids the rest. The chapters: `collect` reads, `summary` answers, `plots` draws, `players` arranges the clips,
`tables` compares, `answers` chooses, `claims` judges what others state, `reached` what was set out to be reached.
"""

from __future__ import annotations

import base64
import collections
import logging
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from lib import params
from lib.files import write_atomic
from lib.report import (
    answers,
    articles,
    cards,
    claims,
    exports,
    fronts,
    hearing,
    limits,
    plots,
    portraits,
    reached,
    recordings,
    summary,
    svg,
    tables,
    templates,
    text_table,
    verdicts,
    vocabulary,
)
from lib.report.collect import Figure, Findings, Row, collect
from lib.report.players import compare
from lib.results import METRICS

log = logging.getLogger(__name__)

LIMIT_BYTES = 15_000_000
MAX_LONG_ROWS = 5_000
_FIGURES_SHARE = 0.4  # of the limit; the rest is for clips, which are the point of the page
_SOME_SENTENCES = 6


def render(
    profile_folder: str | Path, recorded: str | Path | None = None, *, limit_bytes: int = LIMIT_BYTES
) -> Path:
    """Write outputs/<profile>/report.html from what is in the folder and return its path; beside it the tables for a
    paper (`exports`) and a page for each system (`portraits`).

    recorded: folder with rows of earlier runs (outputs/recorded), shown as such; limit_bytes: the page stays
    below, if need be by leaving out figures and clips, which it then says. Raises SpeechError for a row that
    breaks the contract, AudioError for a clip that cannot be decoded, OutputError where the page cannot be written.
    """
    findings = collect(profile_folder, recorded)
    exports.write(findings.rows, findings.folder)
    portraits.write(findings)
    return write_atomic(Path(profile_folder) / "report.html", page(findings, limit_bytes=limit_bytes))


def page(findings: Findings, *, limit_bytes: int = LIMIT_BYTES, digest: str = "") -> bytes:
    """The report on what was found, as HTML. digest: of the rows it is made from, for who wants to compare."""
    figures, dropped = _figures(findings, int(limit_bytes * _FIGURES_SHARE))
    context = {**_context(findings), "figures": figures, "dropped_figures": dropped, "digest": digest}
    made = templates.render("page.html.j2", {**context, "comparisons": []})
    if findings.clips:
        markup = 1000 * len(findings.clips)  # of the players
        budget = int((limit_bytes - len(made)) * 0.97) - markup
        comparisons = compare(findings.clips, findings.rows, max(0, budget))
        made = templates.render("page.html.j2", {**context, "comparisons": comparisons})
    if len(made) >= limit_bytes:
        size = len(made) / 1e6
        log.warning(
            "the report has %.1f MB although clips and figures were left out: its tables are that large", size
        )
    return made


def _ask(findings: Findings) -> str:
    """Where the newest page that collects ratings stands, beside the report; "" where people have rated, or there is
    none.
    """
    if any(row.metric == "mos_human" and row.kind == "measured" for row in findings.rows):
        return ""
    made = sorted(findings.folder.glob("listening/*/listen-1.html"), key=lambda path: path.stat().st_mtime)
    return made[-1].relative_to(findings.folder).as_posix() if made else ""


def _context(findings: Findings) -> dict:
    """Everything the template shows but clips and figures."""
    rows = findings.rows
    current = [row for row in rows if not row.recorded]
    used = [
        metric
        for metrics in vocabulary.groups().values()
        for metric in metrics
        if any(row.metric == metric for row in rows)
    ]
    judged = verdicts.judged(rows)
    links = articles.links(findings.folder)
    words = verdicts.words(judged)
    kinds = {"claimed" if row.claimed else row.kind for row in rows} | (
        {"recorded"} if len(current) < len(rows) else set()
    )
    made = cards.cards(rows)
    told = claims.lines(rows) if rows else []
    wanted = reached.lines(rows)
    answered = answers.answers(rows)
    return {
        "question": vocabulary.QUESTION,
        "profile": findings.profile,
        "findings": findings,
        "latest": max(current or rows, key=lambda row: row.time, default=None),
        "commits": sorted({row.commit for row in current} - {""}),
        "hosts": sorted({row.host for row in current} - {""}),
        "sentences": summary.sentences(rows),
        "cards": _most(made),
        "more_cards": max(0, len(made) - cards.MAX_CARDS),
        "failed": [s for s in findings.states if s.status == "failed" and not s.notebook.endswith("_report")],
        "pareto": _pareto(rows),
        "stages": _stages(rows),
        "costs": _costs(rows),
        "verdicts": verdicts.latest(judged),
        "margins": verdicts.margins(),
        "texts": text_table.section(rows),
        "claims": [(study, [line for line in told if line.study == study]) for study in _studies(told)],
        "claims_finding": claims.finding(told),
        "reached": [(study, [line for line in wanted if line.study == study]) for study in _studies(wanted)],
        "reached_finding": reached.finding(wanted),
        "answers": answered,
        "origins": sorted({answer.origin for answer in answered}),
        "floors": (answers.FLOOR_MOS, f"{100 * answers.FLOOR_WER:.0f} %"),
        "fronts": _fronts(rows),
        "limits": limits.sentences(rows),
        "commands": _commands(findings),
        "recordings": recordings.commands(
            rows, recordings.asked(findings.recorded) if findings.recorded is not None else {}
        ),
        "tables_beside": [n for n in (exports.MARKDOWN, exports.LATEX) if (findings.folder / n).is_file()],
        "hrefs_of_systems": collections.defaultdict(str, portraits.links(findings)),
        "articles": links,
        "ask": _ask(findings),
        "hrefs": collections.defaultdict(str, {link.notebook: link.href for link in links}),
        "wide": tables.wide(rows, words),
        "judges": tables.judges(rows),
        "not_run": tables.not_run(rows),
        "long": rows[:MAX_LONG_ROWS],
        "long_left_out": max(0, len(rows) - MAX_LONG_ROWS),
        "some_sentences": _SOME_SENTENCES,
        "definitions": hearing.columns(used, rows),
        "kinds": [(kind, meaning) for kind, meaning in vocabulary.KIND_MEANING.items() if kind in kinds],
        "environments": _environments(findings),
        "sources": _sources(findings),
    }


def _studies(told: Sequence[claims.Line | reached.Line]) -> list[str]:
    return list(dict.fromkeys(line.study for line in told))


def _commands(findings: Findings) -> list[str]:
    """What to type to have the numbers again."""
    commits = sorted({row.commit for row in findings.rows if not row.recorded} - {""})
    made = [f"git checkout {commits[-1].removesuffix('-dirty')}"] if commits else []
    profile = findings.profile if findings.profile in params.PROFILES else "quick"
    return [*made, f"./run_all.sh {profile}", f"./run_all.sh pdf {findings.profile}"]


def _fronts(rows: tuple[Row, ...]) -> dict | None:
    """Quality against latency, download and energy, for wide and for narrow screens."""
    current = [row for row in rows if not row.recorded] or list(rows)
    large = fronts.draw(current)
    if large is None:
        return None
    return {
        "wide": Markup(svg.render(large, "fronts-wide")),
        "narrow": Markup(svg.render(fronts.draw(current, stacked=True), "fronts-narrow")),
        "alt": fronts.describe(current),
        "finding": (fronts.finding(current) or "").replace("**", ""),
    }


def _most(made: list[cards.Card]) -> list[cards.Card]:
    """As many cards as fit the first screen, the real recordings always among them."""
    if len(made) <= cards.MAX_CARDS:
        return made
    references = [card for card in made if card.role == "reference"]
    others = [card for card in made if card.role != "reference"]
    return others[: cards.MAX_CARDS - len(references)] + references


def _pareto(rows: tuple[Row, ...]) -> dict | None:
    """The trade-off plot for wide and for narrow screens, with its description."""
    large = plots.pareto(rows)
    if large is None:
        return None
    small = plots.pareto(rows, size=(4.3, 4.6))
    return {
        "wide": Markup(svg.render(large, "pareto-wide")),
        "narrow": Markup(svg.render(small, "pareto-narrow")),
        "alt": plots.describe_pareto(rows),
    }


def _costs(rows: tuple[Row, ...]) -> dict | None:
    """What each voice costs, as bars, with its finding; of earlier runs only where this one measured nothing."""
    current = [row for row in rows if not row.recorded] or list(rows)
    figure = plots.costs(current)
    if figure is None:
        return None
    said = (plots.costs_finding(current) or "").replace("**", "")
    return {"svg": Markup(svg.render(figure, "costs")), "finding": said}


def _stages(rows: tuple[Row, ...]) -> Markup | None:
    figure = plots.stages(
        [row for row in rows if row.variant == "baseline" or not row.recorded]
    )  # sweeps of earlier runs have their own
    return None if figure is None else Markup(svg.render(figure, "stages"))


def _figures(findings: Findings, budget: int) -> tuple[list[dict], list[Figure]]:
    """Notebook pictures as data URIs in order, until the budget is used; the pictures left out."""
    shown, dropped = [], []
    for figure in findings.figures:
        data = base64.b64encode(figure.path.read_bytes()).decode()
        budget -= len(data)
        if budget < 0:
            dropped.append(figure)
        else:
            shown.append(
                {
                    "data": data,
                    "caption": figure.caption,
                    "notebook": figure.notebook,
                    "recorded": figure.recorded,
                }
            )
    return shown, dropped


def _environments(findings: Findings) -> list[dict]:
    """Distinct environments with the notebooks that ran in them; what differs per run (load) is listed per notebook."""
    distinct: dict[tuple, list[str]] = {}
    for notebook, described in findings.environments.items():
        distinct.setdefault(tuple((k, v) for k, v in described.items() if k != "load average"), []).append(
            notebook
        )
    loads = {
        name: described["load average"]
        for name, described in findings.environments.items()
        if "load average" in described
    }
    return [
        {
            "entries": dict(entries),
            "notebooks": notebooks,
            "load": {n: loads[n] for n in notebooks if n in loads},
        }
        for entries, notebooks in distinct.items()
    ]


def _sources(findings: Findings) -> list[tuple[str, str]]:
    """Every source named by a row, with the metrics that came from it."""
    metrics: dict[str, dict[str, None]] = {}
    for row in findings.rows:
        if row.source:
            metrics.setdefault(row.source, {})[METRICS[row.metric].label] = None
    return [(source, ", ".join(labels)) for source, labels in sorted(metrics.items())]
