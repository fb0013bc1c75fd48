"""The first screen says which voice for which need, from rows and verdicts alone, and why the others were not taken."""

from __future__ import annotations

import dataclasses

import pytest
from test_report import row
from test_report_verdicts import paired

from lib.report import answers, fronts, limits, tradeoff


def voice(system, *, mos=4.0, wer=0.05, rtf=0.1, size=20.0, energy=None, spread=0.05, **more):
    """The rows of a voice as it comes; each number within `spread` of its value, bytes counted."""

    def near(value):
        return {"ci": (value * (1 - spread), value * (1 + spread))} if spread else {}

    rows = [
        row(system, "mos_predicted", mos, **near(mos), **more),
        row(system, "wer", wer, **near(wer), **more),
        row(system, "rtf", rtf, **near(rtf), **more),
        row(system, "size_mb", size, **more),
    ]
    if energy is not None:
        rows.append(
            row(system, "energy_j_per_audio_s", energy, **near(energy), **{"kind": "estimated", **more})
        )
    return rows


def chosen(rows):
    return {a.need.key: a.choice and a.choice.name for a in answers.answers(rows)}


def answer(rows, key):
    return next(a for a in answers.answers(rows) if a.need.key == key)


def test_each_need_has_its_own_winner_with_its_numbers():
    rows = [
        *voice("hibari", mos=4.5, rtf=0.2, size=30.0, energy=2.0),
        *voice("vits-joe", mos=3.9, rtf=0.05, size=60.0, energy=0.5),
        *voice("tacotron2", mos=3.8, rtf=0.4, size=10.0, energy=4.0),
    ]
    assert chosen(rows) == {
        "real-time": "vits-joe",
        "smallest": "tacotron2",
        "quality": "hibari",
        "battery": "vits-joe",
    }
    fast = answer(rows, "real-time")
    assert [(n.metric, n.text, n.interval, n.kind) for n in fast.numbers] == [
        ("rtf", "0.050", "[0.048, 0.053]", "measured"),
        ("mos_predicted", "3.90", "[3.70, 4.09]", "measured"),
        ("wer", "5.0", "[4.8, 5.3]", "measured"),
    ]
    assert fast.reason == "The fastest: 4.0 times as fast as the next, hibari (0.200 [0.190, 0.210])."
    assert fast.tied == () and fast.against == () and fast.origin == ""
    small = answer(rows, "smallest")
    assert small.reason == "The smallest: 3.0 times as small as the next, hibari (30.0 MB)."
    battery = answer(rows, "battery")
    assert (
        battery.numbers[0].kind == "estimated"
        and "Energy is estimated, for this machine has no sensor: CPU seconds times the rated watts"
        in battery.reason
    )


def test_intervals_that_overlap_are_a_tie_and_bytes_are_none():
    rows = [*voice("hibari", mos=4.1, rtf=0.100, size=20.0), *voice("vits-joe", mos=4.0, rtf=0.105, size=20.5)]
    fast, best, small = (answer(rows, key) for key in ("real-time", "quality", "smallest"))
    assert (fast.choice.name, [one.name for one in fast.tied]) == ("hibari", ["vits-joe"])
    assert fast.reason == "The fastest by value; the intervals do not tell it from vits-joe."
    assert [one.name for one in best.tied] == ["vits-joe"] and "no listener was asked" in best.reason
    assert small.tied == ()  # counted, and more than a header apart
    rows = [*voice("hibari", size=20.0), *voice("vits-joe", size=20.1)]
    assert [one.name for one in answer(rows, "smallest").tied] == ["vits-joe"]


def test_without_intervals_nothing_is_settled():
    rows = [*voice("hibari", rtf=0.1, spread=0), *voice("vits-joe", rtf=0.9, spread=0)]
    fast = answer(rows, "real-time")
    assert fast.choice.name == "hibari" and [one.name for one in fast.tied] == ["vits-joe"]


def test_what_sounds_too_poor_or_is_too_hard_to_understand_is_not_offered_and_that_is_said():
    rows = [
        *voice("hibari"),
        *voice("espeak-ng", mos=2.2, rtf=0.001, size=1.5),
        *voice("vits-joe", wer=0.3, rtf=0.01),
    ]
    fast = answer(rows, "real-time")
    assert fast.choice.name == "hibari" and fast.reason == "The only one that qualifies."
    assert fast.against == (
        "espeak-ng (RTF 0.001 [0.00095, 0.0011]) is not offered: it sounds too poor (predicted MOS 2.20 [2.09, 2.31], "
        "the floor is 3.5).",
        "vits-joe (RTF 0.010 [0.0095, 0.011]) is not offered: it is too hard to understand (WER 30.0 % [28.5, 31.5], "
        "the floor is 15 %).",
    )


def test_a_voice_that_may_be_slower_than_real_time_or_needs_an_accelerator_is_none_for_a_laptop():
    rows = [*voice("tortoise", rtf=0.97), *voice("hibari", rtf=0.01, target="torch/cuda-h100")]
    fast = answer(rows, "real-time")
    assert fast.choice is None and fast.numbers == ()
    assert fast.reason == (
        "Nothing measured qualifies: hibari runs on torch/cuda-h100, which a laptop has not; tortoise is not surely "
        "faster than real time (RTF 0.970 [0.921, 1.018])."
    )
    assert answer(rows, "smallest").choice is not None


def test_missing_metrics_are_no_answer_and_say_which():
    assert answers.answers([]) == []
    assert answers.answers([row("whisper-tiny.en", "rtf", 0.1), row("griffin-lim", "mos_predicted", 4.0)]) == []
    battery = answer(voice("hibari"), "battery")
    assert battery.choice is None and battery.reason == "Of no voice energy per second of audio is known."
    unjudged = [row("hibari", "rtf", 0.1), row("hibari", "size_mb", 8.0)]
    assert answer(unjudged, "smallest").reason == (
        "Nothing measured qualifies: hibari was not judged: its predicted MOS is not known."
    )
    published = [row("vits", "mos_predicted", 4.9, kind="published", source="a table")]
    assert answers.answers(published) == []


def judged_rows(**differences):
    """vits-joe as it comes, 60 MB, and a variant of 20 MB."""
    base = [dataclasses.replace(r, variant="baseline") for r in voice("vits-joe", mos=4.1, wer=0.09, size=60.0)]
    return [*base, *paired("int8", **differences)]


def test_a_recommended_variant_is_chosen_over_its_baseline_and_named_as_recommended():
    small = answer(judged_rows(wer=0.001), "smallest")
    assert small.choice.name == "vits-joe int8" and small.choice.judged.word == "without audible loss"
    assert small.reason == (
        "Recommended against its baseline. The smallest: 3.0 times as small as the next, vits-joe (60.0 MB)."
    )


@pytest.mark.parametrize(
    "differences, why",
    [
        (
            {"wer": 0.1},
            "it is worse than its baseline (WER, normalised +10.0 points [+9.9, +10.1], margin +1.0: outside)",
        ),
        ({"wer": 0.0, "n": 5}, "it is undecided against its baseline; about 8 sentences would decide"),
    ],
)
def test_a_variant_that_is_worse_or_undecided_is_never_offered(differences, why):
    small = answer(judged_rows(**differences), "smallest")
    assert small.choice.name == "vits-joe"
    assert small.against == (f"vits-joe int8 (download size 20.0 MB) is not offered: {why}.",)


def test_listeners_decide_where_they_rated_more_than_one():
    rows = [*voice("hibari", mos=4.5), *voice("vits-joe", mos=4.0)]
    heard = [row("hibari", "mos_human", 3.0, ci=(2.8, 3.2)), row("vits-joe", "mos_human", 4.0, ci=(3.8, 4.2))]
    assert answer(rows, "quality").choice.name == "hibari"
    assert answer(rows + heard[:1], "quality").choice.name == "hibari"  # one voice alone is no ranking
    best = answer(rows + heard, "quality")
    assert (best.choice.name, best.numbers[0].metric) == ("vits-joe", "mos_human")
    assert "no listener" not in best.reason


def test_earlier_runs_answer_where_this_one_cannot_and_runs_are_never_mixed():
    old = {"recorded": True, "commit": "a", "time": "2026-11-01", "host": "small"}
    older = {**old, "commit": "b", "time": "2026-10-01"}
    rows = [row("vits-joe", "rtf", 0.5, host="small"), *voice("hibari", energy=1.0, **old)]
    fast = answer(rows, "real-time")
    assert fast.choice.name == "hibari" and fast.origin == "2026-11-01, small, commit a"
    assert answer([*rows, *voice("vits-joe", rtf=0.01, **older)], "real-time").choice.name == "hibari"
    now = [*rows, *voice("tacotron2", rtf=0.7, host="small")]
    assert answer(now, "real-time").choice.name == "tacotron2" and answer(now, "real-time").origin == ""
    assert answer(now, "battery").choice.name == "hibari"


def test_another_runtime_of_the_same_voice_is_no_rival_in_size_and_shares_its_quality():
    rows = [*voice("vits-joe", size=60.0), row("vits-joe", "rtf", 0.01, target="torch/cpu", ci=(0.009, 0.011))]
    small = answer(rows, "smallest")
    assert small.reason == "The only one that qualifies."
    assert answer(rows, "real-time").choice.target == "torch/cpu"


def test_the_line_of_text_has_the_numbers_and_the_reason():
    said = answers.sentence(answer(voice("hibari", energy=1.0), "battery"))
    assert said.startswith("Battery: **hibari**, onnxruntime/cpu (Energy 1.00 J/s [0.95, 1.05] (estimated);")


def test_points_that_the_intervals_do_not_rule_out_may_be_on_the_front():
    rows = [
        *voice("hibari", mos=4.5, rtf=0.1, spread=0.01),
        *voice("vits-joe", mos=4.48, rtf=0.11, spread=0.1),
        *voice("tacotron2", mos=3.0, rtf=0.5, spread=0.01),
    ]
    pairs = tradeoff.points(rows)
    names = [[mos.system for _, mos in found] for found in (tradeoff.front(pairs), tradeoff.possible(pairs))]
    assert names == [["hibari"], ["hibari", "vits-joe"]]


def test_fronts_are_said_and_drawn_for_each_cost_that_two_voices_have():
    rows = [
        *voice("hibari", mos=4.5, size=30.0, energy=1.0),
        *voice("vits-joe", mos=4.0, size=10.0, energy=2.0),
    ]
    assert fronts.finding(rows) == (
        "Nothing else is both cheaper and rated higher: for download **hibari** and **vits-joe**; for energy, "
        "estimated, **hibari**."
    )
    figure = fronts.draw(rows)
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "Download, MB",
        "Energy, J a second of speech\n(estimated)",
    ]
    assert fronts.draw(voice("hibari")) is None and fronts.finding([]) is None


def test_limits_follow_from_the_rows():
    rows = [dataclasses.replace(r, n=10, host="small") for r in voice("hibari", energy=1.0, source="a table")]
    said = " ".join(limits.sentences(rows))
    assert (
        "No person has listened" in said and "on 10 sentences a voice" in said and "one machine (small)" in said
    )
    assert "energy per second of audio estimated (a table)" in said
    rated = [
        *rows,
        row("hibari", "mos_human", 4.0),
        row("hibari", "rtf", None, kind="not_run", detail="no GPU"),
    ]
    said = " ".join(limits.sentences(rated))
    assert "People rated 1 voice" in said and "1 number could not be had, for 1 reason" in said
    assert limits.sentences([]) == []
