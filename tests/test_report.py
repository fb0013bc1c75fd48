"""The report says what the rows say: numbers, kinds, origins, and nothing that a hostile or missing input could
break.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from types import SimpleNamespace

import pytest
import report_tree
from markupsafe import escape

from lib import report, results
from lib.errors import SpeechError
from lib.report import cards, plots, style, summary, svg, tables, templates, tradeoff, vocabulary
from lib.report.collect import Row, collect, records
from lib.report.players import compare


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    profile, recorded = report_tree.build(tmp_path_factory.mktemp("outputs"))
    return SimpleNamespace(profile=profile, recorded=recorded)


@pytest.fixture(scope="module")
def page(outputs):
    return report.render(outputs.profile, outputs.recorded).read_text()


def row(
    system,
    metric,
    value,
    *,
    variant="baseline",
    target="onnxruntime/cpu",
    ci=(None, None),
    kind="measured",
    **more,
):
    return Row(
        system,
        variant,
        target,
        metric,
        value,
        results.METRICS[metric].unit,
        kind,
        ci_low=ci[0],
        ci_high=ci[1],
        **more,
    )


def test_numbers_are_formatted_for_people():
    values = [
        ("wer", 0.0942),
        ("wer", 0),
        ("mos_predicted", 4.126),
        ("rtf", 0.0812),
        ("rtf", 0.00412),
        ("latency_ms_p50", 1234.5),
        ("speaker_similarity", -0.25),
    ]
    assert [vocabulary.number(*pair) for pair in values] == [
        "9.4",
        "0.0",
        "4.13",
        "0.081",
        "0.0041",
        "1,234",
        "−0.250",
    ]


def test_sections_come_in_order_and_the_answer_first(page):
    ids = re.findall(r'<(?:section|header)(?: id="([\w-]+)")?', page)
    assert ids == [
        "",
        "tradeoff",
        "listen",
        "numbers",
        *"claims floors not-run figures method limits reproduce environment".split(),
    ]
    answer = "has the best predicted MOS of the 3 voices measured, 4.54, 0.27 above real recordings (4.27)"
    assert 0 < page.index(answer) < page.index("tradeoff")


def test_value_interval_and_kind_stand_in_each_cell(page):
    cells = re.findall(r'<td class="num" data-value="[^"]+"[^>]*>(<span class="value.*?)</td>', page)
    numbers = sum(len(values) for values in report_tree.ROWS.values()) + 2  # and two recorded ones
    assert len(cells) == numbers
    assert all(
        re.search(r'<span class="kind[^>]*>(recorded, )?(measured|estimated)</span>', cell) for cell in cells
    )
    hibari = next(cell for cell in cells if "[4.49, 4.58]" in cell)
    assert '<span class="value best">4.54</span>' in hibari and "n 40" in hibari
    assert any("2.60" in cell and "estimated</span>" in cell for cell in cells)


def test_recorded_rows_name_date_machine_and_commit(page):
    assert "recorded 2026-11-02, NVIDIA H200, 16 cores, 128 GiB, commit 0123abcdef" in page
    assert page.count(">recorded, measured</span>") == 4  # twice in the wide tables, twice among all rows


def test_not_run_is_one_line_with_its_reason(page):
    section = page[page.index('id="not-run"') : page.index('id="figures"')]
    assert section.count("no CUDA device on this machine") == 1
    assert "RTF, Peak GPU memory" in section


def test_failed_notebook_is_named_with_cell_and_error(page):
    assert "1 of 3 notebooks failed." in page
    assert re.search(r"02_finetuning</b>, cell 7: <code>ValueError: loss is NaN at step 3</code>", page)


def test_every_clip_is_embedded_once_and_the_page_is_small(page):
    clips = re.findall(r'src="data:audio/mpeg;base64,([\w+/=]+)"', page)
    assert len(clips) == len(set(clips)) == 6
    assert len(page) < 2_000_000
    assert 'preload="none"' in page and "autoplay" not in page


def test_a_clip_kept_by_two_notebooks_is_embedded_once(tmp_path):
    for notebook in ("01_baselines", "03_pruning_quantization"):
        run = results.Run(notebook, tmp_path / "quick")
        run.clip("hibari", "baseline", "s1", *report_tree.spoken("hibari", "Well."), "Well.")
    page = report.render(tmp_path / "quick").read_text()
    assert page.count("data:audio/mpeg") == 1
    assert page.count("data-clip=") == 1


def test_two_targets_of_a_variant_stand_side_by_side_with_their_own_numbers(tmp_path):
    run = results.Run("06_gpu_vs_npu", tmp_path / "quick")
    spoken = {"torch/cpu": "Well.", "onnxruntime/cpu": "Well, well."}
    for number, (target, text) in enumerate(spoken.items()):
        run.add("hibari", "baseline", target, "rtf", 0.5 + number)
        run.clip("hibari", "baseline", "s1", *report_tree.spoken("hibari", text), "Well.", target=target)
    found = collect(tmp_path / "quick")
    (comparison,) = compare(found.clips, found.rows, 10**7)
    assert [(v.target, v.card.target) for v in comparison.voices] == [(t, t) for t in spoken]
    assert len({player.id for player in comparison.sentences[0].players}) == 2
    page = report.render(tmp_path / "quick").read_text()
    assert all(f"hibari baseline on {target}: Well." in page for target in spoken)


def test_groups_that_name_the_sentence_make_one_table(tmp_path):
    run = results.Run("01_baselines", tmp_path / "quick")
    for sentence in ("s1", "s2"):
        run.clip(
            "hibari", "baseline", sentence, *report_tree.spoken("hibari", "Well."), "Well.", group=sentence
        )
    comparisons = compare(collect(tmp_path / "quick").clips, [], 10**7)
    assert [(c.title, len(c.sentences)) for c in comparisons] == [("Baselines", 2)]


def test_hostile_text_is_shown_as_text(tmp_path):
    run = results.Run("01_baselines", tmp_path / "quick")
    run.not_run("hibari", "baseline", "torch/cpu", "rtf", report_tree.HOSTILE + "<img src=http://x.invalid/>")
    run.add(
        "hibari",
        "baseline",
        "torch/cpu",
        "cold_start_s",
        0.1,
        source='"><script>',
        detail={"note": "</td><script>"},
    )
    run.clip(
        "hibari",
        "baseline",
        "s1",
        *report_tree.spoken("hibari", "Well."),
        report_tree.HOSTILE,
        note="<b>bold</b>",
    )
    page = report.render(tmp_path / "quick").read_text()
    assert page.count("<script>") == 1  # the page's own
    assert "<img src=http" not in page and "<b>bold" not in page
    assert (
        page.count(str(escape(report_tree.HOSTILE))) == 4
    )  # the reason twice, the sentence, the player's label


def test_nothing_measured_says_how_to_run(tmp_path):
    page = report.render(tmp_path / "quick").read_text()
    assert "There are no results for the quick profile yet." in page
    assert "./run_all.sh quick" in page
    assert "best predicted MOS" not in page and "<table" not in page


def test_a_corrupt_row_is_named_with_file_and_line(tmp_path, outputs):
    shutil.copytree(outputs.profile / "results", tmp_path / "quick" / "results")
    path = tmp_path / "quick" / "results" / "01_baselines.jsonl"
    lines = path.read_text().splitlines()
    lines[4] = lines[4].replace('"kind": "measured"', '"kind": "guessed"')
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(SpeechError, match=r"01_baselines\.jsonl:5: .*unknown kind 'guessed'"):
        report.render(tmp_path / "quick")
    assert not (tmp_path / "quick" / "report.html").exists()


def test_an_index_entry_without_a_file_is_named_and_a_missing_clip_is_said(tmp_path):
    index = tmp_path / "quick" / "audio" / "01_baselines" / "index.jsonl"
    index.parent.mkdir(parents=True)
    index.write_text(
        '{"file": "../../../gone.flac", "system": "hibari", "variant": "baseline", "sentence": "s1"}\n'
    )
    assert "not found: 01_baselines/gone.flac" in report.render(tmp_path / "quick").read_text()
    index.write_text('\n{"system": "hibari"}\n')
    with pytest.raises(SpeechError, match=r"index\.jsonl:2: the entry names no file"):
        report.render(tmp_path / "quick")


def test_too_many_clips_are_left_out_and_that_is_said(outputs, tmp_path):
    folder = tmp_path / "quick"
    shutil.copytree(outputs.profile / "audio", folder / "audio")
    full = report.render(folder).read_text()
    clips = sum(map(len, re.findall(r'src="data:audio/mpeg;base64,([\w+/=]+)"', full)))
    limit = len(full) - clips // 5
    page = report.render(folder, limit_bytes=limit).read_text()
    kept = page.count("data:audio/mpeg")
    assert len(page.encode()) < limit
    assert 0 < kept < 6 and kept % 2 == 0  # whole sentences: both voices or neither
    assert f"{3 - kept // 2} more sentence" in page


def test_pictures_beyond_their_share_are_named(outputs):
    page = report.render(outputs.profile, outputs.recorded, limit_bytes=100_000).read_text()
    assert "data:image/png" not in page and "data:audio" not in page
    assert "found under outputs/quick/figures: mel" in page


def test_best_is_only_among_comparable_numbers():
    rows = [
        row("vits-joe", "rtf", 0.2, host="a"),
        row("hibari", "rtf", 0.1, host="a"),
        row("tacotron2", "rtf", 0.01, host="b"),
        row("fastspeech2", "rtf", 0.02, kind="simulated", host="a"),
        row("whisper-tiny.en", "rtf", 0.001, host="a"),
        row("vits-joe", "mos_predicted", 4.1),
        row("hibari", "mos_predicted", 4.5),
        row("ground-truth", "mos_predicted", 4.9),
        row("speecht5", "train_loss", 0.6),
        row("tortoise", "train_loss", 0.1),
        row("vits", "mos_human", 4.4, kind="published", source="a"),
        row("tacotron2", "mos_human", 4.5, kind="published", source="b"),
    ]
    lines = [line for table in tables.wide(rows) for line in table.lines]
    best = {(line.system, metric) for line in lines for metric, cell in line.cells.items() if cell.best}
    assert best == {("hibari", "rtf"), ("hibari", "mos_predicted")}


def test_word_errors_of_two_judges_do_not_compete_and_the_page_says_so(tmp_path, outputs):
    old, new = "whisper 1", "whisper 1, padded with silence"
    at = {"time": "2026-11-22T01:00:00+00:00", "recorded": True}
    rows = [
        row("hibari", "wer", 0.04, source=old, **at),
        row("vits-joe", "wer", 0.11, source=old, **at),
        row("tacotron2", "wer", 0.03, source=new, **at),
        row("fastspeech2", "wer", 0.09, source=new, **at),
        row("whisper-tiny.en", "wer", 0.05, source="jiwer"),
    ]
    lines = [line for table in tables.wide(rows) for line in table.lines]
    assert {line.system for line in lines if line.cells["wer"].best} == {"hibari", "tacotron2"}
    current = dataclasses.replace(rows[3], recorded=False)
    assert tables.judges([*rows, current]) == (
        "Word errors were counted by 2 judges and compare only under one of them: whisper 1, padded with silence (this "
        "run and recorded 2026-11-22); whisper 1 (recorded 2026-11-22)."
    )
    assert tables.judges(rows[:2]) == tables.judges([]) == ""
    found = dataclasses.replace(collect(outputs.profile), rows=tuple(rows))
    assert "counted by 2 judges" in report.page(found).decode()


def test_two_notebooks_that_measured_the_same_keep_both_numbers():
    rows = [
        row("hibari", "rtf", 0.1, notebook="01_baselines"),
        row("hibari", "rtf", 0.2, notebook="03_pruning"),
        row("hibari", "cold_start_s", 1.0, notebook="03_pruning"),
    ]
    (table,) = tables.wide(rows)
    assert [(line.notebook, sorted(line.cells)) for line in table.lines] == [
        ("01_baselines", ["rtf"]),
        ("03_pruning", ["cold_start_s", "rtf"]),
    ]


def test_sentences_follow_the_rows():
    rows = [
        row("hibari", "mos_predicted", 4.3, ci=(4.2, 4.4)),
        row("ground-truth", "mos_predicted", 4.35, ci=(4.25, 4.45)),
    ]
    assert [str(s) for s in summary.sentences(rows)] == [
        "<strong>hibari</strong> has a predicted MOS of 4.30, 0.05 below real recordings (4.35), "
        "a difference that the intervals do not settle."
    ]
    elsewhere = [
        row("hibari", "mos_predicted", 4.3, recorded=True),
        row("hibari", "rtf", 0.1, kind="published", source="x"),
    ]
    assert summary.sentences(elsewhere) == []
    slow = str(summary.sentences([row("tortoise", "rtf", 4.0)])[0])
    assert "4.0 times slower than real time (RTF 4.000)" in slow


def test_card_takes_the_fastest_target_and_says_where_other_numbers_are_from():
    rows = [
        row("vits-joe", "rtf", 0.3, target="torch/cpu"),
        row("vits-joe", "mos_predicted", 4.1, target="torch/cpu"),
        row("vits-joe", "rtf", 0.2),
    ]
    (card,) = cards.cards(rows)
    assert card.target == "onnxruntime/cpu"
    assert [(f.metric, f.text, f.elsewhere) for f in card.figures] == [
        ("mos_predicted", "4.10", "torch/cpu"),
        ("rtf", "0.200", ""),
    ]


def test_a_card_is_not_of_another_voice_where_there_is_a_plain_variant():
    """Without a "baseline" the first by name is shown, but no variant on other data before a plain one."""
    rows = [
        row("fastspeech2", "mos_predicted", 2.3, variant="a-by-griffin-lim@hibari"),
        row("fastspeech2", "mos_predicted", 3.8, variant="taught-by-both"),
    ]
    assert cards.cards(rows)[0].variant == "taught-by-both"
    assert cards.cards(rows[:1])[0].variant == "a-by-griffin-lim@hibari"


def test_pareto_front_keeps_what_nothing_beats():
    assert tradeoff.pareto_front([(3, 3), (1, 1), (2, 2), (2, 1.5), (4, 3)]) == [1, 2, 0]


def test_plots_show_the_table(outputs):
    table = results.read(outputs.profile / "results", outputs.recorded)
    figure = plots.pareto(table)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {
        "hibari",
        "espeak-ng",
        "vits-joe on torch/cpu",
        "vits-joe on torch/cuda (recorded)",
        "real recordings 4.27",
    } <= texts
    assert figure.axes[0].get_xscale() == "log"
    drawn = svg.render(figure, "key")
    assert drawn == svg.render(plots.pareto(table), "key")  # the same rows, the same bytes
    assert style.INK not in drawn and "var(--ink)" in drawn and style.color("hibari").lower() in drawn
    assert len(plots.stages(table).axes[0].patches) == 6
    assert plots.pareto(table[table.metric == "wer"]) is None
    assert plots.costs(table, ["stoi"]) is None and plots.stages(table[:2]) is None


def test_reading_keeps_absent_values_absent(outputs):
    rows = records(results.read(outputs.profile / "results"))
    assert {row.value for row in rows if row.kind == "not_run"} == {None}
    assert all(row.ci_low is None and row.n is None for row in rows if row.metric == "size_mb")


def _luminance(colour: str) -> list[float]:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def _contrast(one: str, other: str) -> float:
    weights = (0.2126, 0.7152, 0.0722)
    low, high = sorted(sum(w * c for w, c in zip(weights, _luminance(colour))) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def test_colours_read_on_both_pages_and_belong_to_one_system():
    known = (
        "vits-joe hibari espeak-ng ground-truth whisper-tiny.en fastspeech2 tacotron2 speecht5 tortoise".split()
    )
    assert len({style.color(system) for system in known}) == len(known)
    for system in [*known, "facebook/mms-tts-eng", "somebody/new"]:
        assert min(_contrast(style.color(system), "#ffffff"), _contrast(style.color(system), "#1c1f25")) >= 3
    assert style.color("somebody/new") == style.color("somebody/new")


def test_page_text_has_contrast_aa():
    css = templates.text("page.css")
    for block in re.findall(r"--page: .*?;.*?--accent: [^;]+;", css, re.DOTALL):
        colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
        for text in ("ink", "muted", "accent"):
            for ground in ("page", "surface", "soft"):
                assert _contrast(colours[text], colours[ground]) >= 4.5, (text, ground, colours)


def test_state_of_an_unfinished_run_is_enough(tmp_path):
    state = tmp_path / "quick" / "notebooks" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps({"01_baselines": {"status": "failed", "error": None}}))
    page = report.render(tmp_path / "quick").read_text()
    assert "1 of 1 notebooks failed." in page and "no error text was kept" in page


def test_the_best_voice_is_compared_with_people_on_the_same_texts():
    def mos(system, variant, value, spread=0.05):
        return row(system, "mos_predicted", value, variant=variant, ci=(value - spread, value + spread))

    rows = [
        mos("hibari", "baseline", 4.5),
        mos("ground-truth", "baseline", 4.1),
        mos("hibari", "baseline@prompts", 4.4),
        row("hibari", "wer", 0.02, variant="baseline@prompts"),
        row("ground-truth", "wer", 0.05),
    ]
    text = str(summary.sentences(rows)[0])
    assert "0.30 above real recordings of the same texts (4.40 against 4.10), in the eyes of a network" in text
    assert "gets 2.0 % of its words wrong, and 5.0 % of theirs" in text


def test_a_voice_that_read_the_first_texts_of_the_person_is_compared_on_those_alone():
    """Ten of the person's 25 texts: the paired difference, not that of the two means over other texts."""

    def read(metric, value, difference, low, high):
        detail = json.dumps(
            {"difference": difference, "ci_low": low, "ci_high": high, "p_value": 0.01, "n": 10}
        )
        more = {"variant": "baseline@prompts", "n": 10, "baseline": "ground-truth", "detail": detail}
        return row("hibari", metric, value, **more)

    rows = [
        row("hibari", "mos_predicted", 4.53, n=25, ci=(4.45, 4.58)),
        row("ground-truth", "mos_predicted", 4.16, n=25, ci=(4.02, 4.28)),
        row("ground-truth", "wer", 0.045, n=25),
        read("mos_predicted", 4.547, 0.2789, 0.1708, 0.5075),
        read("wer", 0.02, 0.0, 0.0, 0.0),
    ]
    text = str(summary.sentences(rows)[0])
    assert (
        "is 0.28 above real recordings of the same 10 texts (4.55 against 4.27), in the eyes of a network"
        in text
    )
    assert "on those texts a recogniser gets 2.0 % of its words wrong, and 2.0 % of theirs" in text
    unsure = [*rows[:3], read("mos_predicted", 4.547, 0.2789, -0.1, 0.5075), rows[4]]
    assert "a difference that the intervals do not settle" in str(summary.sentences(unsure)[0])
    unpaired = [
        dataclasses.replace(r, baseline="", detail="") for r in rows
    ]  # other texts, so nothing is "the same"
    text = str(summary.sentences(unpaired)[0])
    assert "same" not in text and "0.37 above real recordings (4.16)" in text


def test_the_answer_adds_up_and_names_what_the_best_voice_costs():
    rows = [
        row("hibari", "mos_predicted", 4.546),
        row("hibari", "mos_predicted", 4.6, variant="baseline@prompts"),  # easier texts make no better voice
        row("espeak-ng", "mos_predicted", 2.2),
        row("ground-truth", "mos_predicted", 4.065),
        row("hibari", "wer", 0.02, variant="baseline@prompts"),
        row("hibari", "wer", 0.04),
        row("hibari", "rtf", 0.01),
        row("espeak-ng", "rtf", 0.005),
        row("hibari", "size_mb", 7.9),
        row("hibari", "energy_j_per_audio_s", 0.06, kind="estimated"),
    ]
    said = [str(sentence) for sentence in summary.sentences(rows)]
    assert "<strong>hibari</strong> has the best predicted MOS of the 2 voices measured, 4.55" in said[0]
    shown = re.search(
        r"is ([\d.]+) above real recordings of the same texts \(([\d.]+) against ([\d.]+)\)", said[0]
    )
    gap, ours, theirs = (float(number) for number in shown.groups())
    assert gap == pytest.approx(ours - theirs) and "on those texts a recogniser gets 2.0 %" in said[0]
    assert "is a download of 7.9 MB and takes 0.06 J for a second of speech (estimated); the fastest" in said[2]
    unequipped = [r for r in rows if r.metric not in ("size_mb", "energy_j_per_audio_s")]
    assert "(RTF 0.010); the fastest" in str(summary.sentences(unequipped)[2])


def test_a_recorded_point_gives_way_to_the_same_thing_measured_now():
    def both(recorded, system="hibari"):
        time = "2026-01-01T00:00:00+00:00" if recorded else ""
        return [
            row(system, metric, value, recorded=recorded, time=time)
            for metric, value in (("mos_predicted", 4.5), ("rtf", 0.01))
        ]

    def labels(rows):
        return {text.get_text() for text in plots.pareto(rows).axes[0].texts}

    assert labels(both(False) + both(True) + both(True, "vits-joe")) == {"hibari", "vits-joe (recorded)"}
    assert labels(both(True)) == {"hibari (recorded)"}
    earlier = [
        row("hibari", metric, value, variant="int4", recorded=True)
        for metric, value in (("mos_predicted", 4.4), ("rtf", 0.01))
    ]
    assert labels(both(False) + earlier) == {"hibari"}  # there is a dot, without a name


def test_a_detail_that_is_an_object_is_read_out_and_any_other_stands_as_it_is():
    assert tables.read('{"axis": "block", "times": 0.99234, "rows": [1, 2], "on": true}') == (
        "axis block, times 0.9923, rows [1, 2], on True"
    )
    assert tables.read("2 of 3 layers") == "2 of 3 layers"
    assert tables.read("[1, 2]") == "[1, 2]" and tables.read("") == ""
