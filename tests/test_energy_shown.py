"""Wherever a number of energy is shown it says what it counts, an estimate also how far off it may be; nothing ranks a
measured one with an estimate, nor a board with a package.
"""

from __future__ import annotations

import pytest

from lib import results
from lib.measure import energy, judgement
from lib.report import answers, bars, exports, findings, fronts, notebook, summary, tables, tradeoff, vocabulary
from lib.report.collect import Row
from lib.studies import cells

ESTIMATED = (
    "estimated",
    "CPU seconds x 5.62 W per core (AMD EPYC is not in the table: median of 15 processors)",
)
PACKAGE = ("measured", "RAPL package-0, package, idle 9.0 W subtracted")
BOARD = ("measured", "NVML energy counter, H100, board only, idle 70.0 W subtracted")
SAID = "process share, off by a factor of 2 either way"


def joules(system, value, how, *, target="onnxruntime/cpu", mos=None, variant="baseline"):
    kind, source = how
    about = {"source": source, "host": "here", "time": "2026-11-24", "notebook": "01_baselines"}
    ends = {"ci_low": 0.95 * value, "ci_high": 1.05 * value}
    spent = Row(system, variant, target, "energy_j_per_audio_s", value, "J/s", kind, **ends, **about)
    if mos is None:
        return [spent]
    about |= {"source": "DistillMOS"}
    rated = Row(system, variant, target, "mos_predicted", mos, "MOS", "measured", **about)
    return [spent, rated, Row(system, variant, target, "wer", 0.05, "fraction", "measured", **about)]


def test_words_of_a_number_are_its_boundary_and_of_an_estimate_its_doubt():
    assert ", ".join(energy.words(joules("hibari", 1.0, ESTIMATED)[0])) == SAID
    assert energy.words(joules("hibari", 1.0, PACKAGE)[0]) == ("package",)
    assert energy.words(joules("hibari", 1.0, BOARD)[0]) == ("board",)
    assert energy.words(Row("hibari", "baseline", "torch/cpu", "rtf", 0.1, "s/s", "measured")) == ()
    assert energy.utilization_source(*ESTIMATED) == "CPU seconds over seconds x cores"
    assert energy.utilization_source(*BOARD) == BOARD[1]
    for metric in energy.METRICS:
        assert "estimated" in vocabulary.DEFINITIONS[metric]
    told = vocabulary.DEFINITIONS["energy_j_per_audio_s"]
    assert energy.FORMULA in told and "share" in told and "factor of 2" in told


def test_every_table_says_what_an_estimate_counts_and_how_far_off_it_is():
    (row,) = joules("hibari", 0.05, ESTIMATED)
    (wide,) = tables.wide([row])
    cell = wide.lines[0].cells["energy_j_per_audio_s"]
    assert (cell.kind, cell.note) == ("estimated", SAID)
    for said in (exports._cell(row), notebook._cell(row), cells.marked(row, "0.05")):
        assert said.endswith(f"(estimated, {SAID})")
    assert notebook._cell(joules("hibari", 0.05, PACKAGE)[0]).endswith("(package)")
    rtf = Row("hibari", "baseline", "onnxruntime/cpu", "rtf", 0.01, "s/s", "measured", host="here")
    assert f"J for a second of speech (estimated, {SAID})" in summary._costs(rtf, [row])


def test_the_best_of_a_table_is_of_those_that_count_the_same():
    rows = joules("hibari", 5.0, PACKAGE) + joules("vits-joe", 6.0, PACKAGE)
    rows += joules("tacotron2", 1.0, BOARD, target="torch/cuda-h100")
    (wide,) = tables.wide(rows)
    best = {line.system for line in wide.lines if line.cells["energy_j_per_audio_s"].best}
    assert best == {"hibari"}, "a GPU's board is no processor's package"


@pytest.mark.parametrize("ranks", (bars.costs_finding, findings.spans))
def test_sentences_rank_only_what_counts_the_same(ranks):
    rows = (
        joules("hibari", 0.04, ESTIMATED) + joules("vits-joe", 5.0, PACKAGE) + joules("tacotron2", 6.0, PACKAGE)
    )
    said = ranks(rows, ["energy_j_per_audio_s"])
    assert "hibari" not in said and "vits-joe" in said and "package" in said
    assert ranks(rows[:2], ["energy_j_per_audio_s"]) is None, "one estimated, one measured"
    said = ranks(rows[:1] + joules("vits-joe", 0.05, ESTIMATED), ["energy_j_per_audio_s"])
    assert f"estimated, {SAID}" in said


def test_a_front_does_not_go_from_estimates_to_measurements():
    mixed = joules("hibari", 0.04, ESTIMATED, mos=4.4)
    for name, value, mos in (("vits-joe", 5.0, 4.2), ("tacotron2", 4.0, 3.9)):
        mixed += joules(name, value, PACKAGE, mos=mos)
    pairs = tradeoff.points(mixed, "energy_j_per_audio_s")
    assert {price.system for price, _ in pairs} == {"vits-joe", "tacotron2"}
    assert "hibari" not in fronts.finding(mixed, ["energy_j_per_audio_s"])
    alone = joules("hibari", 0.04, ESTIMATED, mos=4.4) + joules("vits-joe", 0.02, ESTIMATED, mos=4.2)
    assert f"for energy, estimated, {SAID}, " in fronts.finding(alone, ["energy_j_per_audio_s"])
    panel = fronts.draw(alone, ["energy_j_per_audio_s"]).axes[0]
    lines = panel.get_xlabel().split("\n")
    assert SAID in " ".join(lines) and max(map(len, lines)) <= fronts.LABEL_WIDTH
    assert SAID in bars.costs(alone, ["energy_j_per_audio_s"]).axes[0].get_xlabel()


def test_the_answer_for_a_battery_is_among_numbers_of_its_kind():
    rows = joules("hibari", 0.04, ESTIMATED, mos=4.4) + joules("vits-joe", 5.0, PACKAGE, mos=4.2)
    (battery,) = [one for one in answers.answers(rows) if one.need.key == "battery"]
    assert battery.choice.name == "vits-joe" and "next, hibari" not in battery.reason
    assert "The only one that qualifies among numbers of its kind" in battery.reason
    assert battery.reason.endswith("Energy is measured, package.")


def test_a_variant_saves_no_energy_against_what_counts_something_else(tmp_path):
    run = results.Run("04_pruning_quantization", tmp_path / "quick")
    for variant, value, (kind, source) in (("baseline", 6.0, PACKAGE), ("int8-dynamic", 1.0, BOARD)):
        about = {"kind": kind, "source": source, "ci": (0.9 * value, 1.1 * value)}
        run.add("hibari", variant, "onnxruntime/cpu", "energy_j_per_audio_s", value, **about)
    table = results.read(run.path)
    assert judgement.from_rows(table, "hibari", "int8-dynamic", "onnxruntime/cpu").gains == ()
