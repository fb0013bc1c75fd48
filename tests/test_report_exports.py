"""The tables for a paper hold every number with its interval, and LaTeX that compiles whatever the names are."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import report_tree
from test_report_verdicts import baseline, paired

from lib.errors import MissingDataError, MissingPackageError
from lib.report import exports, pdf
from lib.report.collect import collect

NASTY = r"50 % of a_b & {c} #1 $x ~ ^ \frac → − é 語 “q” <b>"


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A run's rows with a judged variant."""
    profile, recorded = report_tree.build(tmp_path_factory.mktemp("outputs"))
    return [*collect(profile, recorded).rows, *baseline(host="x"), *paired("int8", wer=0.001, host="x")]


def test_each_table_is_there_with_its_numbers_and_intervals(rows):
    made = {table.label: table for table in exports.tables(rows)}
    assert list(made) == ["answers", "systems", "variants", "claims"]
    assert all(len(line) == len(table.head) for table in made.values() for line in table.lines)
    (hibari,) = [line for line in made["systems"].lines if line[0] == "hibari"]
    assert "4.54 [4.49, 4.58]" in hibari and "1.06 (estimated)" in hibari
    (variant,) = made["variants"].lines
    told = dict(zip(made["variants"].head, variant))
    assert told["Δ Predicted MOS"] == "+0.01 [0.00, +0.02]" and told["times smaller"] == "3.00"
    assert (told["verdict"], told["recommendation"]) == ("without audible loss", "recommended")


def test_markdown_is_a_table_whatever_the_cells_hold():
    table = exports.Table("A title", "label", ("one", "two"), ((NASTY + " | more\nline", ""),))
    lines = exports.markdown([table]).splitlines()
    begin = lines.index("| one | two |")
    assert lines[begin + 1] == "|---|---|"
    assert len(re.findall(r"(?<!\\)\|", lines[begin + 2])) == 3


def structure(text: str) -> None:
    """What LaTeX insists on: balanced groups and environments, no bare special sign, as many cells as columns."""
    bare = re.sub(r"\\[%&$#_{}\\]", "", text)
    body = re.sub(r"(?m)^%.*$", "", bare)
    assert body.count("{") == body.count("}")
    assert text.count("\\begin{table*}") == text.count("\\end{table*}") == text.count("\\caption{")
    assert body.isascii() and not re.search(r"[#%_]", re.sub(r"\\label\{[^}]*\}|\\ref\{[^}]*\}", "", body))
    assert body.count("$") % 2 == 0
    for columns, content in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", text, re.S):
        wanted = len(re.sub(r"p\{[^}]*\}", "l", columns))
        lines = [line for line in content.splitlines() if line.endswith(r"\\")]
        assert lines and {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {wanted}
        assert not any(re.match(r"\s*\[", line) for line in lines)  # it would be an argument of the \\ before


def test_latex_is_sound_of_real_rows_and_of_hostile_text(rows):
    structure(exports.latex(exports.tables(rows)))
    cells = ((NASTY, "[1, 2] first"), ("[3]", NASTY))
    text = exports.latex([exports.Table(NASTY, "label", ("one & two", "%"), cells, (1,))])
    structure(text)
    assert r"\textbackslash{}frac" in text and r"50 \% of a\_b \& \{c\} \#1 \$x" in text and " e ? " in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_latex_compiles(rows, tmp_path):
    nasty = exports.Table(NASTY, "nasty", ("one", "two"), ((NASTY, "[1, 2] first"), ("[3]", NASTY)), (1,))
    (tmp_path / "tables.tex").write_text(exports.latex([*exports.tables(rows), nasty]))
    frame = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{tables}\\end{document}"
    (tmp_path / "paper.tex").write_text(frame)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


def test_they_are_written_beside_the_report_and_nothing_makes_none(rows, tmp_path):
    assert [path.name for path in exports.write(rows, tmp_path)] == ["tables.md", "tables.tex"]
    assert exports.write([], tmp_path / "empty") == [] and not (tmp_path / "empty").exists()


def test_without_a_browser_one_line_says_why_there_is_no_pdf(tmp_path, monkeypatch, capsys):
    page = tmp_path / "quick" / "report.html"
    with pytest.raises(MissingDataError, match="run ./run_all.sh quick first"):
        pdf.write(page)
    page.parent.mkdir()
    page.write_text("<p>Well.</p>")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPackageError, match="there is no Chromium"):
        pdf.write(page)
    assert pdf.main(["quick", "--outputs", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not page.with_suffix(".pdf").exists()


@pytest.mark.skipif(pdf.browser() is None, reason="no chromium: apt-get install -y chromium")
def test_a_report_prints_with_everything_unfolded(tmp_path):
    from lib import report

    profile, recorded = report_tree.build(tmp_path)
    page = report.render(profile, recorded)
    printed = pdf.write(page).read_bytes()
    assert printed.startswith(b"%PDF") and printed.rstrip().endswith(b"%%EOF") and len(printed) > 30_000
