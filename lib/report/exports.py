"""Which tables go into a paper? The voices, the variants, the claims and the answers, as Markdown and as LaTeX.

Every number stands with its 95 % interval and, unless it was measured, with its kind. `tables.tex` is a fragment to
\\input: it needs the package booktabs and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lib.files import write_atomic
from lib.measure import energy, verdict
from lib.report import answers, cards, claims, verdicts, vocabulary
from lib.report.collect import Row
from lib.report.tables import interval_text
from lib.results import METRICS

MARKDOWN, LATEX = "tables.md", "tables.tex"
_SHOWN = (
    "mos_predicted",
    "wer",
    "asr_nll",
    "speaker_similarity",
    "rtf",
    "latency_ms_p50",
    "size_mb",
    "peak_rss_mb",
    "energy_j_per_audio_s",
)


@dataclass(frozen=True)
class Table:
    """label: for references; head: column titles; lines: cells of text; words: columns that hold sentences."""

    title: str
    label: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    words: tuple[int, ...] = ()


def write(rows: Iterable[Row], folder: str | Path) -> list[Path]:
    """Write tables.md and tables.tex into the folder and return their paths; [] where there is nothing to tell."""
    made = tables(rows)
    if not made:
        return []
    folder = Path(folder)
    texts = {MARKDOWN: markdown(made), LATEX: latex(made)}
    return [write_atomic(folder / name, text.encode()) for name, text in texts.items()]


def tables(rows: Iterable[Row]) -> list[Table]:
    """Those tables that have a line."""
    rows = list(rows)
    made = [_answers(rows), _voices(rows), _variants(rows), _claims(rows)]
    return [table for table in made if table.lines]


def markdown(made: Sequence[Table]) -> str:
    """The tables one below the other, each under its title."""
    parts = []
    for table in made:
        lines = ["| " + " | ".join(table.head) + " |", "|" + "---|" * len(table.head)]
        lines += ["| " + " | ".join(map(_pipes, line)) + " |" for line in table.lines]
        parts += [f"## {table.title}", "\n".join(lines)]
    return "\n\n".join(["# Tables", "Brackets: 95 % intervals.", *parts]) + "\n"


def latex(made: Sequence[Table]) -> str:
    """A float for each table; numbers first, their intervals smaller behind them."""
    parts = ["% Made by the report: \\input{tables}, with \\usepackage{booktabs} in the preamble."]
    for table in made:
        wide = 0.5 / max(1, len(table.words))
        columns = "".join(
            f"p{{{wide:.2f}\\linewidth}}" if i in table.words else "l" for i in range(len(table.head))
        )
        lines = [" & ".join(map(_interval, map(escape, line))) + r" \\" for line in table.lines]
        parts.append(
            "\n".join(
                [
                    r"\begin{table*}",
                    r"\centering\footnotesize",
                    rf"\caption{{{escape(table.title)}. Brackets: 95\,\% intervals.}}",
                    rf"\label{{tab:{table.label}}}",
                    rf"\begin{{tabular}}{{{columns}}}",
                    r"\toprule",
                    " & ".join(map(escape, table.head)) + r" \\",
                    r"\midrule",
                    *lines,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table*}",
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": r"$-$",
    "–": "--",
    "—": "---",
    "→": r"$\rightarrow$",
    "Δ": r"$\Delta$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "≈": r"$\approx$",
    "<": r"$<$",
    ">": r"$>$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
    "\u00a0": "~",
    **{sign: f"\\{sign}" for sign in "&%$#_"},
}


def escape(text: str) -> str:
    r"""Text as LaTeX prints it, whatever signs it holds; what plain LaTeX has no sign for becomes "?".

    >>> print(escape("50 % of a_b & {c} → −1"))
    50 \% of a\_b \& \{c\} $\rightarrow$ $-$1
    """
    made = []
    for sign in " ".join(text.split()):
        known = _SPECIAL.get(sign)
        made.append(known or (sign if sign.isascii() and sign.isprintable() else _plain(sign)))
    return "".join(made)


def _plain(sign: str) -> str:
    import unicodedata

    bare = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return "".join(_SPECIAL.get(letter, letter) for letter in bare) or "?"


def _interval(cell: str) -> str:
    """Brackets in small letters; a cell that begins with one would be an argument of the line break before it."""
    cell = re.sub(r"(\[[^\][]*\])", r"{\\scriptsize \1}", cell)
    return f"{{}}{cell}" if cell.startswith("[") else cell


def _pipes(cell: str) -> str:
    return " ".join(cell.split()).replace("\\", "\\\\").replace("|", "\\|")


def _answers(rows: list[Row]) -> Table:
    lines = []
    for answer in answers.answers(rows):
        chosen = answer.choice
        numbers = "; ".join(
            " ".join(
                filter(
                    None, (n.label, n.text, n.unit, n.interval, "" if n.kind == "measured" else f"({n.kind})")
                )
            )
            for n in answer.numbers
        )
        who = f"{chosen.name}, {chosen.target}" if chosen else "no answer"
        lines.append((answer.need.title, who, numbers, " ".join([answer.reason, *answer.against])))
    return Table(
        "Which one for which need", "answers", ("need", "system", "numbers", "why"), tuple(lines), (2, 3)
    )


def _voices(rows: list[Row]) -> Table:
    """A system as it comes a line, from this run's rows if any, each metric on the card's target where it is there."""
    current = [row for row in rows if not row.recorded] or rows
    lines, used = [], []
    made = [(card, _numbers(current, card.system, card.variant, card.target)) for card in cards.cards(rows)]
    used = [m for m in _SHOWN if any(m in numbers for _, numbers in made)]
    for card, numbers in made:
        where = "" if card.role == "reference" else card.target
        lines.append((card.system, where, *(_cell(numbers.get(m)) for m in used)))
    head = ("system", "target", *(_head(metric) for metric in used))
    return Table("The systems as they come", "systems", head, tuple(lines))


def _numbers(rows: list[Row], system: str, variant: str, target: str) -> dict[str, Row]:
    """metric -> the newest row, on the target where there is one."""
    mine = [
        row
        for row in rows
        if (row.system, row.variant) == (system, variant) and row.value is not None and row.kind != "published"
    ]
    mine.sort(key=lambda row: (row.target == target, row.time))
    return {row.metric: row for row in mine}


def _variants(rows: list[Row]) -> Table:
    """A judged variant a line: its paired differences and what it saves, each with its interval, and the words."""
    entries = verdicts.judged(rows)
    heard = [_differences(entry, rows) for entry in entries]
    used = [m for m in verdict.MARGINS if any(m in differences for differences in heard)]
    saved = [{gain.metric: gain for gain in entry.judgement.gains} for entry in entries]
    costs = [m for m in verdict.SAVINGS if any(m in gains for gains in saved)]
    lines = [
        (
            f"{e.system} {e.variant}",
            e.target,
            e.baseline,
            *(differences.get(m, "") for m in used),
            *(_times(gains.get(m)) for m in costs),
            e.word,
            e.judgement.recommendation.word,
        )
        for e, differences, gains in zip(entries, heard, saved)
    ]
    deltas = [f"Δ {_head(metric).replace('%', 'points')}" for metric in used]
    head = ("variant", "target", "against", *deltas, *(f"times {verdict.SAVINGS[m][0]}" for m in costs))
    return Table(
        "Variants against their baselines", "variants", (*head, "verdict", "recommendation"), tuple(lines)
    )


def _differences(entry: verdicts.Judged, rows: list[Row]) -> dict[str, str]:
    """metric -> "−0.12 [−0.22, −0.03]": the paired difference that the variant's row carries."""
    made = {}
    for row in rows:
        mine = (row.system, row.variant, row.host, row.recorded, row.commit if row.recorded else "")
        theirs = (entry.system, entry.variant, entry.host, bool(entry.origin), entry.commit)
        if mine != theirs or row.metric not in verdict.MARGINS or row.baseline != entry.baseline:
            continue
        if row.metric in made and row.target != entry.target:
            continue
        try:
            detail = json.loads(row.detail)
            ends = [detail["difference"], detail.get("ci_low"), detail.get("ci_high")]
        except (ValueError, TypeError, KeyError):
            continue
        said = [vocabulary.signed(row.metric, end) for end in ends if end is not None]
        made[row.metric] = said[0] + (f" [{said[1]}, {said[2]}]" if len(said) == 3 else "")
    return made


def _times(gain: verdict.Gain | None) -> str:
    if gain is None:
        return ""
    ends = f" [{gain.low:.2f}, {gain.high:.2f}]" if gain.low is not None else ""
    return f"{gain.times:.2f}{ends}" + ("" if gain.kind == "measured" else f" ({gain.kind})")


def _claims(rows: list[Row]) -> Table:
    lines = [
        (line.system, line.of, line.theirs, line.ours or "not measured", line.verdict, line.reason)
        for line in claims.lines(rows)
    ]
    head = ("system", "of", "theirs", "ours", "verdict", "reason")
    return Table("What the reference studies state", "claims", head, tuple(lines) if rows else (), (3, 5))


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    told = ", ".join([*([] if row.kind == "measured" else [row.kind]), *energy.words(row)])
    number, interval = vocabulary.number(row.metric, row.value), interval_text(row)
    return " ".join(filter(None, (number, interval, told and f"({told})")))


def _head(metric: str) -> str:
    unit = vocabulary.unit(metric)
    return vocabulary.SHORT.get(metric, METRICS[metric].label) + (
        "" if unit in ("points", "s/s") else f", {unit}"
    )
