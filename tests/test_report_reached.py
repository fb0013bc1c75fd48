"""The floors stand on the page beside the rows that answer them, or not at all where no row does."""

from __future__ import annotations

import json

from test_report import row

from lib import report, results
from lib.report import reached
from lib.results import CLAIM

PAIRED = {"value": 2.5, "ci_low": 2.1, "ci_high": 2.9, "p_value": 0.01}


def faster(**more):
    detail = json.dumps({"speedup": PAIRED})
    return row(
        "vits-joe",
        "rtf",
        0.1,
        variant="int8",
        target="onnxruntime/cpu",
        baseline="baseline",
        detail=detail,
        **more,
    )


def test_floors_are_told_where_a_row_says_something():
    (line,) = [one for one in reached.lines([faster()]) if one.ours]
    assert (line.name, line.word) == ("vits-joe", "not run") and "2.5 [2.1, 2.9] times as fast" in line.ours
    assert "1 not run" not in reached.finding(reached.lines([faster()]))  # all but this one have no row
    assert reached.lines([]) == [] and reached.finding([]) == ""


def test_claims_and_published_figures_answer_nothing():
    assert reached.lines([faster(source=f"{CLAIM}a page")]) == []
    assert reached.lines([faster(kind="published", source="a page")]) == []


def test_they_stand_on_the_page(tmp_path):
    run = results.Run("04_pruning_quantization", tmp_path / "quick")
    on = ("vits-joe", "int8", "onnxruntime/cpu")
    run.add(*on, "rtf", 0.1, n=12, source="a clock", baseline="baseline", detail={"speedup": PAIRED})
    page = report.render(tmp_path / "quick").read_text(encoding="utf-8")
    section = page[page.index('<section id="floors">') :]
    assert "2.5 [2.1, 2.9] times as fast" in section and '<a href="#floors">' in page
    assert (
        section.index("Pruning and quantization") < section.index("Fine-tuning") < section.index("</section>")
    )
