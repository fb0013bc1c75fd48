"""The report calls a variant what the verdict calls it, whatever its predicted MOS alone would say."""

from __future__ import annotations

import dataclasses
import html
import json

import pytest
from test_report import row

from lib import report, results
from lib.measure import verdict
from lib.report import notebook, summary, tables, verdicts
from lib.report.collect import records

SWEEP = results.RECORDED / "02_training@study@682782cd4e.jsonl"


@pytest.fixture(scope="module")
def sweep():
    """The recorded sweep of sizes as if this run had measured it, the deeper network said to be the smaller one."""
    rows = [dataclasses.replace(r, recorded=False) for r in records(results.read(SWEEP))]
    sizes = {"size-base": 29.9, "size-layers-plus-2": 20.0}
    return rows + [row("fastspeech2", "size_mb", mb, variant=v, target="torch/cpu") for v, mb in sizes.items()]


def test_overlapping_predicted_mos_does_not_excuse_lost_words(sweep):
    values = {(r.variant, r.metric): r for r in sweep}
    deep, base = values["size-layers-plus-2", "mos_predicted"], values["size-base", "mos_predicted"]
    assert deep.ci_high > base.ci_low  # the intervals of predicted MOS overlap,
    assert (
        values["size-layers-plus-2", "wer"].value > 2 * values["size-base", "wer"].value
    )  # the words are lost
    baselines = [dataclasses.replace(r, variant="baseline") for r in sweep if r.variant == "size-base"]
    for rows in (sweep, sweep + baselines):
        said = " ".join(map(str, summary.sentences(rows)))
        assert "shrinks" not in said
        assert "None is recommended of the 5 variants compared with a baseline: 3 undecided, 2 worse" in said
    words = {entry.variant: entry.word for entry in verdicts.judged(sweep)}
    assert words["size-layers-plus-2"] == verdict.WORSE and words["size-width-1.5"] == verdict.UNDECIDED


def paired(variant, *, wer, mos=0.01, similarity=0.0, size=20.0, n=100, **more):
    """Rows of a variant of vits-joe whose differences from its baseline are known to within a tenth of a margin."""

    def detail(value, half):
        return json.dumps(
            {"difference": value, "ci_low": value - half, "ci_high": value + half, "p_value": 0.5}
        )

    values = {
        "mos_predicted": (4.1, mos, 0.01),
        "wer": (0.09, wer, 0.001),
        "speaker_similarity": (0.9, similarity, 0.002),
    }
    common = {"variant": variant, "baseline": "baseline", **more}
    rows = [row("vits-joe", m, v, n=n, detail=detail(d, half), **common) for m, (v, d, half) in values.items()]
    return [*rows, row("vits-joe", "size_mb", size, **common)]


def baseline(**more):
    values = {"mos_predicted": 4.1, "wer": 0.09, "speaker_similarity": 0.9, "size_mb": 60.0}
    return [row("vits-joe", metric, value, **more) for metric, value in values.items()]


def test_what_is_recommended_is_said_first_and_why():
    rows = [
        *baseline(),
        *paired("int8", wer=0.001),
        *paired("int4", wer=0.1, size=10.0),
        *paired("same", wer=0, size=60),
    ]
    said = str(summary.sentences(rows)[-1])
    assert said.startswith(
        "<strong>vits-joe int8</strong> on onnxruntime/cpu is recommended: without audible loss and smaller"
    )
    assert (
        "3.00 times" in said and "3 variants compared with a baseline: 2 without audible loss, 1 worse" in said
    )
    entries = verdicts.judged(rows)
    assert [(e.variant, e.judgement.recommendation.word) for e in entries] == [
        ("int8", "recommended"),
        ("int4", "not recommended"),
        ("same", "not recommended"),
    ]


def test_the_best_voice_is_best_on_the_texts_that_all_have_read():
    easy = row("hibari", "mos_predicted", 4.6, variant="baseline@prompts")
    rows = [row("vits-joe", "mos_predicted", 4.1), row("hibari", "mos_predicted", 4.0), easy]
    assert str(summary.sentences(rows)[0]).startswith(
        "<strong>vits-joe</strong> has the best predicted MOS of the 2"
    )


def test_a_single_variant_is_named_and_earlier_runs_answer_where_this_one_changed_nothing():
    said = str(verdicts.finding([*baseline(), *paired("int4", wer=0.1, size=10.0)]))
    assert said == (
        "<strong>vits-joe int4</strong>, the one variant compared with a baseline, is worse, and not recommended."
    )
    earlier = [*baseline(recorded=True), *paired("int8", wer=0.001, recorded=True)]
    said = [str(sentence) for sentence in summary.sentences([*baseline(), *earlier])]
    assert said[-1].startswith("<strong>vits-joe int8</strong> on")
    assert said[-1].endswith("That was measured by earlier runs; the run above compared no variant.")
    assert not any(
        "earlier" in str(s) for s in summary.sentences([*baseline(), *paired("int4", wer=0.1), *earlier])
    )


def test_what_earlier_runs_recommend_is_counted_apart():
    worse = [*baseline(), *paired("int4", wer=0.1, size=10.0), *paired("nf4", wer=0.1, size=10.0)]
    earlier = [*baseline(recorded=True), *paired("int8", wer=0.001, recorded=True)]
    alone = str(summary.sentences(worse)[-1])
    assert alone == "None is recommended of the 2 variants compared with a baseline: 2 worse."
    assert str(summary.sentences([*worse, *earlier])[-1]) == (
        "Of this run&#39;s 2 variants compared with a baseline none is recommended (2 worse); 1 of earlier runs is."
    ).replace("&#39;", "'")


def test_a_variant_has_one_answer():
    """This run's; of earlier ones the newest that can tell; a baseline of another notebook is nobody's."""

    def run(time, commit, wer, recorded=True):
        rows = [*baseline(), *paired("int8", wer=wer)]
        return [dataclasses.replace(r, recorded=recorded, commit=commit, time=time) for r in rows]

    old, new = run("2026-11-21T00:00:00", "a", 0.1), run("2026-11-22T00:00:00", "b", 0.001)
    entries = verdicts.judged([*new, *old])
    assert len(entries) == 2 and [e.commit for e in verdicts.latest(entries)] == ["b"]
    (kept,) = verdicts.latest(verdicts.judged([*new, *old, *run("2026-11-20T00:00:00", "c", 0.1, False)]))
    assert not kept.origin and kept.word == verdict.WORSE
    open_one = [dataclasses.replace(r, detail="") if r.metric == "wer" else r for r in run("2026-11-23", "d", 0.0)]
    assert [e.commit for e in verdicts.latest(verdicts.judged([*new, *open_one]))] == ["b"]
    timed = [row("vits-joe", "rtf", 0.1, variant="int8", notebook="04", recorded=True, ci=(0.09, 0.11))]
    timed += [row("vits-joe", "rtf", 0.2, notebook="01", recorded=True, ci=(0.19, 0.21))]
    heard = [dataclasses.replace(r, recorded=True, notebook="04") for r in [*baseline(), *paired("int8", wer=0.0)]]
    for where, gains in (("04", 1), ("01", 0)):
        rows = [*heard, timed[0], dataclasses.replace(timed[1], notebook=where)]
        (entry,) = verdicts.judged(rows)
        assert sum(gain.metric == "rtf" for gain in entry.judgement.gains) == gains


def test_a_group_of_layers_treated_alone_is_no_variant():
    """It is treated to learn of it, on few sentences, and nobody would take it: neither judged nor called the best."""
    name = "int8-static+stage+flow@sensitivity"
    rows = [*baseline(), *paired(name, wer=0.1, mos=0.5), *paired("int4", wer=0.1, size=10.0)]
    assert [entry.variant for entry in verdicts.judged(rows)] == ["int4"]
    assert {line.variant for table in tables.wide(rows) for line in table.lines} == {"baseline", "int4"}


def test_a_speed_up_across_recordings_is_none():
    def timed(variant, value, commit):
        interval = {"ci": (0.9 * value, 1.1 * value)}
        return row("vits-joe", "rtf", value, variant=variant, commit=commit, recorded=True, **interval)

    heard = [dataclasses.replace(r, commit="a", recorded=True) for r in paired("int8", wer=0.0)]
    kept = [dataclasses.replace(r, commit="a", recorded=True) for r in baseline()]
    for other, gains in (("a", 1), ("b", 0)):
        rows = [*heard, *kept, timed("int8", 0.1, "a"), timed("baseline", 0.2, other)]
        (entry,) = verdicts.judged(rows)
        assert sum(gain.metric == "rtf" for gain in entry.judgement.gains) == gains


def test_a_speed_up_across_machines_is_none():
    rows = [*baseline(host="small"), *paired("int8", wer=0.0, host="large")]
    assert verdicts.judged(rows) == []  # nothing on that machine to compare with


def test_tables_and_page_carry_the_word(tmp_path):
    rows = [*baseline(), *paired("int8", wer=0.001), *paired("int4", wer=0.1)]
    words = verdicts.words(verdicts.judged(rows))
    lines = {line.variant: line.verdict for line in tables.wide(rows, words)[0].lines}
    assert lines == {"baseline": "", "int8": "without audible loss", "int4": "worse"}
    recorded = []
    for commit, lost in (("a", 0.0), ("b", 0.1)):
        both = [*baseline(commit=commit), *paired("int8", wer=lost, commit=commit)]
        recorded += [dataclasses.replace(r, recorded=True) for r in both]
    told = tables.wide(recorded, verdicts.words(verdicts.judged(recorded)))[0].lines
    words_of = [line.verdict for line in told if line.variant == "int8"]
    assert words_of == ["without audible loss", "worse"]  # each recording's own
    run = results.Run("03_pruning", tmp_path / "quick")
    for r in rows:
        ci = None if r.ci_low is None else (r.ci_low, r.ci_high)
        run.add(
            r.system, r.variant, r.target, r.metric, r.value, n=r.n, ci=ci, baseline=r.baseline, detail=r.detail
        )
    page = report.render(tmp_path / "quick").read_text()
    section = page[page.index('id="verdicts"') : page.index('id="numbers"')]
    assert section.count('<span class="verdict verdict-without">without audible loss</span>') == 1
    assert section.count('<span class="verdict verdict-worse">worse</span>') == 1
    assert "Predicted MOS −0.10 points; WER, normalised +1.0 points" in section
    frame = notebook.verdicts(notebook.rows(run))
    assert frame.loc[("vits-joe", "int8", "onnxruntime/cpu"), "verdict"] == "without audible loss"
    longest = max(map(str, frame.to_numpy().ravel()), key=len)
    assert len(longest) > 50 and longest in html.unescape(notebook.full(frame).data)


def test_a_notebook_says_what_its_words_mean(monkeypatch):
    from IPython import display

    shown = []
    monkeypatch.setattr(display, "display", lambda *given: shown.extend(one.data for one in given))
    notebook.terms("rtf", "asr_nll")
    assert [line[: line.index(":")] for line in shown[0].splitlines()] == [
        "- **RTF**",
        "- **Recogniser's loss on the true words**",
        "- **Without audible loss**",
    ]
    assert "Predicted MOS −0.10 points" in shown[0] and "nats a word" in shown[0]


def test_claims_stand_apart_from_what_was_published_and_measured(tmp_path):
    run = results.Run("02_training", tmp_path / "quick")
    run.add("tacotron2", "training", "torch/cpu", "train_frames_per_s", 2345)
    run.add(
        "tacotron2",
        "distributed",
        "8-devices",
        "train_frames_per_s",
        9.2,
        kind="published",
        source=results.CLAIM + "a page",
    )
    run.add(
        "tacotron2",
        "shen-2018",
        "listeners",
        "mos_human",
        4.5,
        kind="published",
        source="Shen et al. 2018, Table 1",
    )
    rows = records(notebook.rows(run))
    shown = {
        (line.variant, cell.kind) for t in tables.wide(rows) for line in t.lines for cell in line.cells.values()
    }
    assert shown == {("training", "measured"), ("shen-2018", "published")}
    (claim,) = tables.claims(rows)
    assert (claim.text, claim.source, claim.ours) == ("9.2 1/s", "a page", ("2,345 1/s (training, torch/cpu)",))
    page = report.render(tmp_path / "quick").read_text()
    assert 'id="claims"' in page and "by somebody without a publication" in page.replace("stated ", "")
    cells = notebook.table(run, ["train_frames_per_s"]).iloc[:, 0].to_dict()
    assert cells["tacotron2", "distributed", "8-devices"] == "9.2 (claimed)"


def test_an_empty_table_is_shown_as_such_and_not_as_a_header_alone():
    import pandas as pd

    assert notebook.full(pd.DataFrame(columns=["voice", "target"])).data == "<p>(no rows)</p>"
    assert "no rows" not in notebook.full(pd.DataFrame({"voice": ["a"]})).data
