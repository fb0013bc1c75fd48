"""Voices on more test sets than the novel's: which rows are written, shown and put into words."""

import json

import numpy as np
import pytest

from lib import params, results
from lib.corpora import sentences
from lib.errors import MissingDataError, ParameterError
from lib.measure import evaluate
from lib.report import pictures, summary, text_table
from lib.report.collect import Row
from lib.studies import by_text


def add(run, system, name, wer, n=100, target="torch/cpu"):
    names = (system, by_text.variant(name), target)
    run.add(*names, "wer", wer, n=n, ci=(max(wer - 0.02, 0), wer + 0.02), source="test")
    run.add(*names, "asr_nll", 0.5, n=n, source="test")
    run.add(*names, "mos_predicted", 4.0, n=n, ci=(3.9, 4.1), source="test")


@pytest.fixture
def run(tmp_path):
    """A teacher, a pupil that keeps up on two sets of three, and the anchor."""
    made = results.Run("01_baselines", tmp_path / "now")
    for name, teacher, pupil in (("botchan", 0.10, 0.11), ("wordnet", 0.05, 0.09), ("sus", 0.20, 0.15)):
        add(made, "vits-joe", name, teacher, target="onnxruntime/cpu")
        add(made, "fastspeech2", name, pupil)
    add(made, "vits-joe", "botchan", 0.10)  # the teacher's other runtime reads the novel alone
    add(made, "espeak-ng", "botchan", 0.34)
    made.add("fastspeech2", "griffin-lim@hibari", "torch/cpu", "wer", 0.5, n=100, source="test")
    made.add("ground-truth", "baseline", "recording/prompts", "wer", 0.01, n=80, source="test")
    return made


def test_variants_are_named_after_their_set():
    assert [by_text.variant(name) for name in sentences.TEST_SETS] == [
        "baseline",
        "baseline@wordnet",
        "baseline@prompts",
        "baseline@sus",
    ]


def test_test_sets_are_checked():
    assert by_text.check(["sus", "botchan", "sus"]) == ("sus", "botchan")
    with pytest.raises(ParameterError, match="unknown test set 'suss': did you mean 'sus'"):
        by_text.check(["suss"])


def test_each_profile_judges_on_the_sets_that_its_time_allows():
    notebook = params.find_notebook("01")
    found = {profile: params.load(profile, notebook)["test_sets"] for profile in params.PROFILES}
    assert found["smoke"] == found["quick"] == params.declared(notebook)["test_sets"] == ["botchan"]
    assert found["study"] == found["full"] == list(sentences.TEST_SETS)
    with pytest.raises(ParameterError, match="n_covered is 0, it must be at least 1"):
        params.load("quick", params.find_notebook("00"), overrides={"n_covered": 0})


class Voice:
    """A voice that is only asked for its name."""

    def __init__(self, name, target):
        self.name, self.target, self.variant = name, target, "baseline"


VOICES = {
    f"{name} ({target})": Voice(name, target)
    for name, target in (
        ("vits-joe", "torch/cpu"), ("vits-joe", "onnxruntime/cpu"),
        ("tacotron2", "torch/cpu"), ("tacotron2", "openvino/cpu"),
    )
}  # fmt: skip


def test_one_voice_of_each_system_reads():
    assert list(by_text.readers(VOICES)) == ["vits-joe (onnxruntime/cpu)", "tacotron2 (torch/cpu)"]


def test_rows_are_written_for_each_set_but_what_is_there_and_what_the_novel_has(tmp_path, monkeypatch):
    run = results.Run("01_baselines", tmp_path, seed=3)
    run.add("vits-joe", "baseline@prompts", "onnxruntime/cpu", "wer", 0.02, n=10, source="beside the person")
    spoken, judged = [], []

    def test_set(name, limit):
        if name == "sus":
            raise MissingDataError("no apt here")
        return (f"{name} text",) * limit

    monkeypatch.setattr(sentences, "test_set", test_set)
    monkeypatch.setattr(evaluate, "speak", lambda voice, texts, seed: spoken.append((voice.name, texts, seed)))
    monkeypatch.setattr(evaluate, "quality", lambda run, row, *_, **kept: judged.append((row, kept["group"])))
    monkeypatch.setattr(by_text.prompts, "load", lambda: "recordings")
    monkeypatch.setattr(evaluate, "recordings", lambda corpus, limit: (f"{corpus} {limit}",))
    found = by_text.quality(run, VOICES, ["botchan", "wordnet", "prompts", "sus"], 2, scorer=None)
    assert [row for row, _ in judged] == [
        ("vits-joe", "baseline@wordnet", "onnxruntime/cpu"),
        ("tacotron2", "baseline@wordnet", "torch/cpu"),
        ("tacotron2", "baseline@prompts", "torch/cpu"),  # the teacher's are there
    ]
    assert spoken[0] == ("vits-joe", ("wordnet text", "wordnet text"), 3)
    assert spoken[-1] == ("tacotron2", ("recordings 10",), 3)  # as many as the teacher, of what the person says
    assert judged[0][1] == "Test set wordnet: everyday sentences"
    assert {name: list(by_label) for name, by_label in found.items()} == {
        "wordnet": ["vits-joe (onnxruntime/cpu)", "tacotron2 (torch/cpu)"],
        "prompts": ["tacotron2 (torch/cpu)"],
    }
    rows = results.read(run.path)
    why = rows[(rows.variant == "baseline@sus") & (rows.kind == "not_run")]
    assert len(why) == 2 * len(by_text.METRICS) and set(why.detail) == {"no apt here"}


def test_the_novel_alone_costs_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "speak", None)  # would fail if called
    run = results.Run("01_baselines", tmp_path)
    assert by_text.quality(run, VOICES, ["botchan"], 100, scorer=None) == {} and not run.path.exists()


def test_a_table_has_a_line_per_voice_and_set(run):
    found = text_table.rows(results.read(run.path), results.read())
    table = text_table.table(found)
    assert list(table.index) == [
        ("vits-joe", "botchan"), ("vits-joe", "wordnet"), ("vits-joe", "sus"),
        ("fastspeech2", "botchan"), ("fastspeech2", "wordnet"), ("fastspeech2", "sus"), ("espeak-ng", "botchan"),
    ]  # fmt: skip
    line = table.loc[("fastspeech2", "wordnet")]
    assert line.tolist() == [100, "9.0 [7.0, 11.0]", "0.500", "4.00 [3.90, 4.10]"]
    assert set(found[found.system == "vits-joe"].target) == {"onnxruntime/cpu"}


def test_the_sentence_names_the_sets_on_which_a_pupil_keeps_up(run):
    found = text_table.rows(results.read(run.path), results.read())
    assert text_table.finding(found) == (
        "Of botchan, wordnet and sus, the WER is at most 2 points above the teacher's (by value; few sentences have "
        "wide intervals): fastspeech2 on botchan and sus (+4.0 points on wordnet, the largest gap)."
    )


def test_a_pupil_is_compared_with_its_teacher_on_the_same_sentences_alone(run):
    """Ten prompts by the teacher and 25 by the pupil are two sets of sentences."""
    add(run, "vits-joe", "prompts", 0.02, n=10, target="onnxruntime/cpu")
    add(run, "fastspeech2", "prompts", 0.30, n=25)
    said = text_table.finding(text_table.rows(results.read(run.path), results.read()))
    assert said.startswith("Of botchan, wordnet and sus, the WER")
    assert "fastspeech2 on botchan and sus (+4.0 points on wordnet, the largest gap)" in said


def test_without_pupils_or_rows_nothing_is_said(tmp_path):
    nothing = text_table.rows(results.read(), results.read())
    assert nothing.empty and text_table.table(nothing).empty and text_table.finding(nothing) is None
    run = results.Run("01_baselines", tmp_path)
    add(run, "vits-joe", "botchan", 0.1)
    add(run, "fastspeech2", "botchan", 0.1)
    assert text_table.finding(text_table.rows(results.read(run.path), results.read())) is None


def test_an_earlier_run_that_judged_more_is_shown_instead_and_named(run, tmp_path):
    now = results.Run("01_baselines", tmp_path / "less")
    add(now, "fastspeech2", "botchan", 0.3, n=25)
    kept = tmp_path / "recorded" / "01_baselines@study@abc.jsonl"
    kept.parent.mkdir()
    kept.write_bytes(run.path.read_bytes())
    earlier = results.read(kept)
    found = text_table.rows(results.read(now.path), earlier)
    table = text_table.table(found)
    assert set(table["from"]) == {"01_baselines@study@abc, recorded"}
    assert table.loc[("fastspeech2", "botchan"), "sentences"] == 100
    again = text_table.rows(results.read(run.path), earlier)  # as many here: this run's
    assert not again.recorded.any() and "from" not in text_table.table(again)


def test_a_person_is_compared_on_the_same_texts_whatever_else_was_read():
    def row(system, variant, value):
        return Row(
            system=system, variant=variant, target="torch/cpu", metric="mos_predicted", value=value, unit="MOS",
            kind="measured",
        )  # fmt: skip

    rows = [
        row("vits-joe", "baseline", 4.0),
        row("vits-joe", "baseline@wordnet", 1.0),
        row("vits-joe", "baseline@prompts", 4.2),
        row("ground-truth", "baseline", 4.3),
    ]
    said = str(summary.sentences(rows)[0])
    assert "0.10 below" in said and "4.20" in said and "1.00" not in said


def test_lengths_are_drawn():
    figure = pictures.sentence_lengths({"a, training": [1, 5, 30], "b, test": [4, 6, 8]})
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b, test", "a, training"]
    drawn = np.concatenate([line.get_xdata() for line in axes.lines])
    assert drawn.max() == 30 and drawn.min() == 1


def test_the_page_has_the_table_where_there_are_two_sets(run):
    rows = [
        Row(**line, notebook="01_baselines")
        for line in map(json.loads, run.path.read_text(encoding="utf-8").splitlines())
    ]
    made = text_table.section(rows)
    assert made["lines"][1][:2] == ("vits-joe", "wordnet") and len(made["lines"][1][2]) == len(made["columns"])
    assert "fastspeech2 on botchan and sus" in made["finding"] and "**" not in made["finding"]
    assert text_table.section([]) is None
    assert text_table.section([row for row in rows if "@" not in row.variant]) is None
