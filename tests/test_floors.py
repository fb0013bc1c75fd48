"""Is a floor met exactly where the rows of one run say so, by whole intervals, and never by halves of two runs?"""

from __future__ import annotations

import json

import pytest

from lib import results
from lib.metrics import METRICS
from lib.studies import bottleneck, floor_rows, floors, floors_smaller, floors_tuned, menu
from lib.studies.floors import MET, MISSED, NOT_RUN, UNDECIDED, Number, at_least, at_most

JUDGED = floors_tuned.JUDGED_ON
BENCH = {"rounds": 3, "threads": 2, "load_before": 1.1, "load_after": 1.2}  # what all rows of one say
ALL = {floor.name: floor for floor in [*floors_smaller.floors(), *floors_tuned.floors()]}


def row(
    system, variant, target, metric, value, ci=(None, None), *, host="here", commit="", detail="", **others
):
    given = {
        "notebook": "04",
        "recorded": False,
        "n": 40,
        "source": "own process",
        "baseline": "",
        "kind": "measured",
    }
    return {
        "system": system,
        "variant": variant,
        "target": target,
        "metric": metric,
        "value": value,
        "unit": METRICS[metric].unit,
        "ci_low": ci[0],
        "ci_high": ci[1],
        "host": host,
        "commit": commit,
        "time": "2026-11-23T06:00:00+00:00",
        "detail": detail if isinstance(detail, str) else json.dumps(detail),
        **given,
        **others,
    }


def paired(value, low, high):
    return {"difference": value, "ci_low": low, "ci_high": high, "p_value": 0.5, "sd": 0.01, "n": 40}


def heard(system, variant, target, good=True, **others):
    """Rows of which the verdict makes "without audible loss", or "worse"."""
    shift = 0.0 if good else 1.0
    differences = {
        "wer": paired(shift, shift - 0.002, shift + 0.002),
        "mos_predicted": paired(-shift, -shift - 0.01, -shift + 0.01),
        "speaker_similarity": paired(0.0, -0.001, 0.001),
    }
    return [
        row(system, variant, target, metric, 0.1, detail=about, baseline="baseline", **others)
        for metric, about in differences.items()
    ]


def told(name, *rows):
    (line,) = floors.lines(
        results.frame([one for part in rows for one in (part if isinstance(part, list) else [part])]),
        [ALL[name]],
    )
    return line


def faster(value, low, high, variant="int8", **others):
    speedup = {"value": value, "ci_low": low, "ci_high": high, "p_value": 0.01}
    return row(
        "vits-joe",
        variant,
        "onnxruntime/cpu",
        "rtf",
        0.1,
        baseline="baseline",
        detail={"speedup": speedup},
        **others,
    )


@pytest.mark.parametrize(
    "number, least, most",
    [
        (Number(3.0, 2.0, 4.0), UNDECIDED, UNDECIDED),  # a point estimate on the floor meets nothing
        (Number(3.5, 3.0, 4.0), MET, UNDECIDED),
        (Number(2.0, 1.0, 2.9), MISSED, MET),
        (Number(9.0), UNDECIDED, UNDECIDED),  # no interval
        (Number(9.0, float("nan"), float("nan")), UNDECIDED, UNDECIDED),
        (Number(3.0, exact=True), MET, MET),
        (Number(float("nan"), 1.0, 2.0), NOT_RUN, NOT_RUN),
        (None, NOT_RUN, NOT_RUN),
    ],
)
def test_a_side_is_taken_by_the_whole_interval(number, least, most):
    assert at_least(number, 3.0, "{} times").word == least and at_most(number, 3.0, "{} times").word == most


def test_a_part_says_its_number():
    assert at_least(Number(3.456, 3.1, 3.9), 3, "{} times").said == "3.46 [3.1, 3.9] times"
    assert at_least(Number(3.456), 3, "{} times").said == "3.46 (no interval) times"
    assert at_least(None, 3, "{} times").said == "not measured: ? times"


def test_a_voice_is_faster_by_its_paired_speed_up_and_its_verdict():
    on = ("vits-joe", "int8", "onnxruntime/cpu")
    line = told("vits-joe", faster(2.5, 2.1, 2.9), heard(*on))
    assert (
        line.word == MET
        and line.ours == "int8 on onnxruntime/cpu: 2.5 [2.1, 2.9] times as fast; heard: without audible loss"
    )
    assert line.rows == ("vits-joe int8 onnxruntime/cpu rtf",) and line.why == "" and line.origin == ""
    assert told("vits-joe", faster(2.5, 1.9, 2.9), heard(*on)).word == UNDECIDED
    assert told("vits-joe", faster(2.5, None, None), heard(*on)).word == UNDECIDED
    assert told("vits-joe", faster(1.5, 1.4, 1.6), heard(*on)).word == MISSED
    assert told("vits-joe", faster(2.5, 2.1, 2.9), heard(*on, good=False)).word == MISSED
    unheard = told("vits-joe", faster(2.5, 2.1, 2.9))
    assert unheard.word == NOT_RUN and "nobody judged it" in unheard.why
    nothing = told("vits-joe")
    assert (nothing.word, nothing.ours) == (NOT_RUN, "") and "study --only 04" in nothing.why


def test_one_variant_has_to_meet_everything():
    """Fast and worse beside slow and good: neither meets it, and the best of the two is named."""
    fast, good = ("vits-joe", "fast", "onnxruntime/cpu"), ("vits-joe", "good", "onnxruntime/cpu")
    line = told(
        "vits-joe",
        faster(3, 2.9, 3.1, "fast"),
        heard(*fast, good=False),
        faster(1.9, 1.5, 2.2, "good"),
        heard(*good),
    )
    assert line.word == UNDECIDED and line.ours.startswith("good on") and "the best of 2 tried" in line.why


def test_of_two_that_miss_as_much_the_nearer_one_is_named():
    slow, quick = ("vits-joe", "slow", "onnxruntime/cpu"), ("vits-joe", "quick", "onnxruntime/cpu")
    rows = [
        [*heard(*slow), faster(1.1, 1.05, 1.2, "slow")],
        [*heard(*quick), faster(1.4, 1.3, 1.5, "quick")],
    ]
    for first, second in (rows, rows[::-1]):
        line = told("vits-joe", *first, *second)
        assert line.word == MISSED and line.ours.startswith("quick on") and "the best of 2 tried" in line.why


def test_who_misses_by_a_number_is_nearer_than_who_is_heard():
    near, worse = ("vits-joe", "near", "onnxruntime/cpu"), ("vits-joe", "worse", "onnxruntime/cpu")
    rows = [
        [*heard(*near), faster(1.1, 1.05, 1.2, "near")],
        [*heard(*worse, good=False), faster(2.5, 2.1, 2.9, "worse")],
    ]
    for first, second in (rows, rows[::-1]):
        assert told("vits-joe", *first, *second).ours.startswith("near on")


def test_how_far_a_number_is_from_its_limit_is_a_share_of_it():
    number = floors.Number(1.5, 1.4, 1.6)
    assert floors.at_least(number, 2.0, "{}").lacks == 0.25 and floors.at_least(number, 1.0, "{}").lacks == 0
    assert floors.at_most(number, 1.0, "{}").lacks == 0.5 and floors.at_most(number, 2.0, "{}").lacks == 0
    change = floors.Number(-0.1, -0.2, 0.0)  # that was to fall by a quarter
    assert floors.at_most(change, -0.25, "{}").lacks == pytest.approx(0.6)
    assert floors.at_most(change, -0.25, "{}").word == MISSED


def test_rows_of_two_machines_or_runs_are_never_mixed():
    slow = row("hifigan", "baseline", "torch/cpu", "rtf", 0.4, (0.39, 0.41), detail=BENCH)
    quick = row("hifigan", "int8", "onnxruntime/cpu", "rtf", 0.1, (0.09, 0.11), detail=BENCH)
    good = heard("hifigan", "int8", "onnxruntime/cpu")
    line = told("vocoder hifigan", slow, quick, good)
    assert line.word == MET and "4 [3.55, 4.56] times as fast" in line.ours  # by both intervals
    for other in ({"host": "there"}, {"notebook": "01"}, {"recorded": True}):
        assert told("vocoder hifigan", slow | other, quick, good).word == NOT_RUN
    early, late = ({"recorded": True, "commit": commit} for commit in ("a", "b"))
    assert told("vocoder hifigan", slow | early, quick | late, [one | late for one in good]).word == NOT_RUN
    whole = told("vocoder hifigan", slow | early, quick | early, [one | early for one in good])
    assert whole.word == MET and whole.origin == "recorded 2026-11-23, here, commit a"
    estimated = told("vocoder hifigan", slow | {"kind": "estimated"}, quick, good)
    assert estimated.word == NOT_RUN


def test_rows_of_two_benches_of_one_run_decide_nothing():
    """An hour, other jobs or other threads lie between them: that is not what was done to the vocoder."""
    slow = row("hifigan", "baseline", "torch/cpu", "rtf", 0.4, (0.39, 0.41), detail=BENCH)
    good = heard("hifigan", "int8", "onnxruntime/cpu")
    others = [{"detail": BENCH | changed} for changed in ({"load_before": 4.0}, {"threads": 1}, {"rounds": 5})]
    for other in (*others, {"detail": ""}, {"detail": BENCH, "time": "2026-11-23T07:00:00+00:00"}):
        quick = row("hifigan", "int8", "onnxruntime/cpu", "rtf", 0.1, (0.09, 0.11), **other)
        line = told("vocoder hifigan", slow, quick, good)
        assert line.word == UNDECIDED, other
        assert "4 (of two benches, which are not compared) times as fast" in line.why


def test_a_vocoder_is_faster_than_pytorch_by_the_bench_of_both():
    """Where they took turns their own pairs count, not two intervals; and what is timed there is tried in the study."""
    slow = row("hifigan", "baseline", "torch/cpu", "rtf", 0.4, (0.2, 0.8), detail=BENCH)
    quick = row("hifigan", "int8", "onnxruntime/cpu", "rtf", 0.1, (0.05, 0.2), detail=BENCH)
    about = {"of": "hifigan baseline on torch/cpu"}
    paired = row("hifigan", "int8", "onnxruntime/cpu", "speedup", 4.0, (3.8, 4.2), detail=about)
    good = heard("hifigan", "int8", "onnxruntime/cpu")
    assert told("vocoder hifigan", slow, quick, good).word == UNDECIDED
    assert told("vocoder hifigan", slow, quick, paired, good).word == MET
    tried = {(one.system, one.target) for one in menu.trials("study")}
    for system in floors_smaller.VOCODERS:
        assert (system, "onnxruntime/cpu") in tried


def test_the_download_of_every_system_that_is_tried_has_a_floor():
    tried = {one.system for one in menu.trials("study")}
    missing = tried - set(floors_smaller.SYSTEMS)
    assert not missing, f"add {missing} to SYSTEMS of lib/studies/floors_smaller.py"
    assert tried == set(floors_smaller.SYSTEMS)


def test_where_the_time_goes_says_what_is_left_to_win():
    here = "onnxruntime/cpu"

    def timed(variant, times, **stages):
        about = {"stages": stages} if stages else {}
        about["speedup"] = {"value": times, "ci_low": times, "ci_high": times, "p_value": 0.01}
        return row("vits-joe", variant, here, "rtf", 0.1 / times, baseline="baseline", detail=about)

    rows = [
        timed("baseline", 1.0, text_encoder=0.02, decoder=0.08),
        timed("int8-static", 2.0, text_encoder=0.02, decoder=0.03),
        timed("structured-50", 2.5, text_encoder=0.01, decoder=0.03),
        timed("int8-dynamic", 0.9, text_encoder=0.02, decoder=0.09),
        timed("unknown", 3.0),  # told no stages
        row("hifigan", "baseline", "torch/cpu", "rtf", 0.1),
    ]
    worse = heard("vits-joe", "structured-50", here, good=False)
    good = [one for name in ("int8-static", "int8-dynamic") for one in heard("vits-joe", name, here)]
    begin = (
        "vits-joe on onnxruntime/cpu: the decoder takes 80 % of the time, so it alone can make the whole 5.0 times as "
        "fast at most; of "
    )
    assert bottleneck.told(results.frame([*rows, *worse, *good])) == [
        f"{begin}int8-static, 2.00 times as fast (heard: without audible loss), the decoder takes 60 %."
    ]
    assert bottleneck.told(results.frame([*rows, *worse])) == [
        f"{begin}structured-50, 2.50 times as fast (heard: worse), the decoder takes 75 %."
    ]
    assert bottleneck.told(results.frame(rows)) == [
        f"{begin}structured-50, 2.50 times as fast (nobody judged it), the decoder takes 75 %."
    ]
    alone = bottleneck.told(results.frame([timed("baseline", 1.0, text_encoder=0.06, decoder=0.04)]))
    assert alone[0].endswith(
        "the text encoder takes 60 % of the time, so it alone can make the whole 2.5 times as fast at most."
    )
    assert bottleneck.told(results.frame([])) == []


def earlier(commit, *rows, day="2026-11-22"):
    """The same rows as an earlier run has them."""
    given = [one for part in rows for one in (part if isinstance(part, list) else [part])]
    when = {"recorded": True, "commit": commit, "time": f"{day}T06:00:00+00:00"}
    return [one | when for one in given]


def test_of_the_same_variant_the_newest_run_decides():
    """Not the best of all that ever ran: what was met once, and is missed now, is missed."""
    good = heard("vits-joe", "int8", "onnxruntime/cpu")
    fast, slow, unclear = faster(2.5, 2.1, 2.9), faster(1.1, 1.0, 1.2), faster(2.0, 1.7, 2.3)
    line = told("vits-joe", slow, good, earlier("a", fast, good))
    assert line.word == MISSED and not line.origin
    was = "was met by int8 on onnxruntime/cpu (recorded 2026-11-22, here, commit a)"
    assert line.why == f"missed: 1.1 [1, 1.2] times as fast (the only one tried); {was}"
    line = told("vits-joe", earlier("a", fast, good), earlier("b", slow, good, day="2026-11-24"))
    assert line.word == MISSED and line.origin.endswith("commit b") and line.why.endswith(was)
    line = told("vits-joe", earlier("a", slow, good), earlier("b", fast, good, day="2026-11-24"))
    assert line.word == MET and line.origin.endswith("commit b") and line.why == ""
    line = told("vits-joe", fast, good, earlier("a", slow, good))
    assert line.word == MET and not line.origin
    elsewhere = [one | {"host": "there"} for one in [slow, *good]]
    assert (
        told("vits-joe", elsewhere, earlier("a", fast, good)).word == MISSED
    )  # this run's machine is asked first
    line = told("vits-joe", unclear, good, earlier("a", fast, good))  # too little to take anything back
    assert line.word == MET and line.origin
    assert (
        line.why
        == "this run has too little to decide it: 2 [1.7, 2.3] times as fast; heard: without audible loss"
    )
    assert told("vits-joe", slow, earlier("a", fast, good)).word == MISSED  # too slow, whoever judged it


def test_of_answers_that_say_the_same_the_one_that_decides_every_part_is_quoted():
    """A newer bench that was too noisy to tell the speed of what is too large hides none that could tell it."""
    parts = {
        "noisy": [floors.Part("too large", MISSED, lacks=0.1), floors.Part("fast?", UNDECIDED)],
        "clear": [floors.Part("too large", MISSED, lacks=0.1), floors.Part("fast", MET)],
        "half": [floors.Part("late", MISSED, lacks=0.1), floors.Part("?", UNDECIDED), floors.Part("?", NOT_RUN)],
        "met": [floors.Part("small", MET), floors.Part("fast", MET)],
    }

    def counts(*names):
        said = [
            floors._Said(floors.Answer("int8", tuple(parts[name])), None, age) for age, name in enumerate(names)
        ]
        return names[said.index(floors._counts(said))]

    assert counts("noisy", "clear") == counts("clear", "noisy") == "clear"
    assert counts("noisy", "met") == "noisy"  # missed is missed
    assert counts("half", "met") == "met" and counts("half", "clear") == "clear" and counts("half") == "half"


def test_a_run_that_tried_little_takes_back_nothing_of_others():
    """A quick run tries two variants; the one that met the floor is not among them."""
    here, other = heard("vits-joe", "int8", "onnxruntime/cpu"), heard("vits-joe", "plan", "onnxruntime/cpu")
    met = earlier("a", faster(2.5, 2.1, 2.9, "plan"), other, faster(1.1, 1.0, 1.2), here)
    line = told("vits-joe", faster(1.1, 1.0, 1.2), here, met)
    assert line.word == MET and line.ours.startswith("plan on") and line.origin.endswith("commit a")


def test_what_is_slower_or_larger_than_its_baseline_meets_no_floor():
    """No optimization, by the rule of the recommendation, whatever the floor itself asks about."""
    on = ("vits-joe", "int8", "onnxruntime/cpu")

    def sizes(small, large=20.0):
        return [row(on[0], name, on[2], "size_mb", mb) for name, mb in (("baseline", large), (on[1], small))]

    whole = row(on[0], "baseline", on[2], "rtf", 0.1)
    for ends, word in (
        ((0.80, 0.94), MISSED),
        ((0.9, 1.05), MET),
        ((0.73, 1.18), UNDECIDED),
        ((1.1, 1.2), MET),
        ((None, None), UNDECIDED),
    ):
        line = told("download of vits-joe", sizes(10.0), whole, faster(0.88, *ends), heard(*on))
        assert line.word == word, ends
    line = told("download of vits-joe", sizes(10.0), whole, faster(0.87, 0.80, 0.94), heard(*on))
    assert line.why == "missed: beside its baseline there slower (1.15 times [1.06, 1.25]) (the only one tried)"
    assert told("vits-joe", whole, faster(2.5, 2.1, 2.9), sizes(10.0), heard(*on)).word == MET
    line = told("vits-joe", whole, faster(2.5, 2.1, 2.9), sizes(21.0), heard(*on))
    assert line.word == MISSED and "larger (1.05 times)" in line.why


def test_what_only_runs_elsewhere_is_told_from_what_was_compressed():
    here = "onnxruntime/cpu"
    slow = row("hifigan", "baseline", "torch/cpu", "rtf", 0.4, (0.39, 0.41), detail=BENCH)
    whole = row("hifigan", "baseline", here, "rtf", 0.1, (0.09, 0.11), detail=BENCH)
    line = told("vocoder hifigan", slow, whole)
    assert line.word == MET
    assert line.ours.endswith("as fast; the whole network on another runtime, nothing compressed")
    small = row("hifigan", "int8", here, "rtf", 0.08, (0.07, 0.09), detail=BENCH)
    line = told("vocoder hifigan", slow, whole, small, heard("hifigan", "int8", here))
    assert line.word == MET and line.ours.startswith("int8 on")  # named before what nothing was done to
    untried = told("vocoder hifigan", slow, whole | {"value": 0.3, "ci_low": 0.29, "ci_high": 0.31})
    assert untried.word == NOT_RUN and untried.why.startswith("no variant tried yet: ")


def test_what_kept_it_from_being_met_is_said_once():
    on = ("tortoise", "int8", "torch/cpu")
    sizes = [row(on[0], name, on[2], "size_mb", mb) for name, mb in (("baseline", 20), (on[1], 19))]
    line = told("download of tortoise", sizes, heard(*on, good=False))
    assert line.ours == "int8 on torch/cpu: 1.05 times as small; heard: worse"
    assert line.why == "missed: 1.05 times as small; heard: worse (the only one tried)"


def test_the_published_speecht5_borrows_the_verdict_of_the_small_one():
    about = {"of": "speecht5-base baseline on torch/cpu", "times_smaller": 3.6}
    big = row("speecht5-base", "int8", "torch/cpu", "speedup", 3.4, (3.1, 3.7), detail=about)
    good = heard("speecht5", "int8", "torch/cpu")
    assert told("published SpeechT5", big, good).word == MET
    assert (
        told("published SpeechT5", big | {"detail": json.dumps(about | {"times_smaller": 3.4})}, good).word
        == MISSED
    )
    assert (
        told("published SpeechT5", big | {"detail": json.dumps(about | {"of": "another"})}, good).word
        == NOT_RUN
    )
    assert told("published SpeechT5", big, heard("speecht5", "other", "torch/cpu")).word == NOT_RUN
    halved = big | {
        "variant": "int8+fp16-weights"
    }  # of the small one, which lies in half already, the same as int8
    assert told("published SpeechT5", halved, good).word == MET
    there = halved | {"target": "onnxruntime/cpu"}
    assert told("published SpeechT5", there, heard("speecht5", "int8", "onnxruntime/cpu")).word == NOT_RUN


def test_packages_are_laid_beside_by_their_own_row():
    def beside(low):
        detail = {"ours over theirs": {"int8": {"times": 1.7, "ci_low": low, "ci_high": 1.9}}}
        return row("vits-joe", "baseline", "piper/cpu", "rtf", 0.1, detail=detail)

    good = heard("vits-joe", "int8", "onnxruntime/cpu")
    assert told("vits-joe beside piper-tts", beside(1.6), good).word == MET
    assert told("vits-joe beside piper-tts", beside(1.4), good).word == UNDECIDED
    why = row("vits-joe", "baseline", "piper/cpu", "rtf", None, kind="not_run", detail="it is not here")
    assert "(it is not here)" in told("vits-joe beside piper-tts", why).why


def test_a_recogniser_is_faster_only_where_it_hears_as_well():
    def form(low, worst):
        detail = {"of": "whisper-tiny.en baseline on torch/cpu", "wer": paired(0.0, -0.004, worst)}
        return row("whisper-tiny.en", "int8", "onnxruntime/cpu", "speedup", 3.5, (low, 4.0), detail=detail)

    assert told("whisper-tiny.en", form(3.1, 0.004)).word == MET
    assert told("whisper-tiny.en", form(3.1, 0.006)).word == UNDECIDED
    assert told("whisper-tiny.en", form(2.9, 0.004)).word == UNDECIDED
    assert told("whisper-tiny.en", form(3.1, None)).word == UNDECIDED
    whole = told("whisper-tiny.en", form(3.1, 0.004) | {"variant": "baseline"})
    assert whole.word == MET and whole.ours.endswith("nothing compressed")
    slow = told("whisper-tiny.en", form(2.0, 0.006) | {"variant": "baseline"})
    assert slow.word == NOT_RUN and slow.why.startswith("no variant tried yet: ")


def test_a_recogniser_that_was_taught_something_answers_for_no_floor_of_the_published_one():
    about = {"of": "whisper-tiny.en full+merged@hard on torch/cpu", "wer": paired(0.0, -0.004, 0.004)}
    about["over faster-whisper"] = {"times": 1.2, "ci_low": 1.1, "ci_high": 1.3}
    taught = row("whisper-tiny.en", "full@hard", "ctranslate2/cpu", "speedup", 3.5, (3.1, 4.0), detail=about)
    for name in ("whisper-tiny.en", "whisper-tiny.en beside faster-whisper in int8"):
        assert told(name, taught).word == told(name, taught | {"variant": "int8"}).word == NOT_RUN


@pytest.mark.parametrize(
    "n, width, word", [(40, 0.0, MET), (39, 0.0, UNDECIDED), (8, 0.001, MET), (7, 0.001, UNDECIDED)]
)
def test_few_clips_on_which_nothing_changed_decide_nothing(n, width, word):
    detail = {"of": "whisper-tiny.en baseline on torch/cpu", "wer": paired(0.0, -width, width) | {"n": n}}
    one = row("whisper-tiny.en", "int8", "onnxruntime/cpu", "speedup", 3.5, (3.1, 4.0), detail=detail)
    assert told("whisper-tiny.en", one).word == word


def test_a_recogniser_is_no_slower_than_the_package():
    def form(low, target="onnxruntime/cpu", beside=True):
        over = {"over faster-whisper": {"times": 1.2, "ci_low": low, "ci_high": 1.3}} if beside else {}
        detail = {"of": "whisper-tiny.en baseline on torch/cpu", "wer": paired(0.0, -0.004, 0.004), **over}
        return row("whisper-tiny.en", "int8-dynamic", target, "speedup", 5.0, (4.0, 6.0), detail=detail)

    name = "whisper-tiny.en beside faster-whisper in int8"
    assert told(name, form(1.1)).word == MET and told(name, form(0.9)).word == UNDECIDED
    assert told(name, form(1.1, beside=False)).word == NOT_RUN
    assert told("whisper-tiny.en", form(1.1, "faster-whisper/cpu", False)).word == NOT_RUN  # theirs, not ours
    why = row(
        "whisper-tiny.en", "baseline", "faster-whisper/cpu", "rtf", None, kind="not_run", detail="not installed"
    )
    assert "(not installed)" in told(name, why).why


def test_downloads_are_counted_on_the_same_target():
    def size(variant, value, target="torch/cpu"):
        return row("tortoise", variant, target, "size_mb", value)

    good = heard("tortoise", "int8", "torch/cpu")
    assert told("download of tortoise", size("baseline", 20), size("int8", 10), good).word == MET
    assert told("download of tortoise", size("baseline", 20), size("int8", 10.1), good).word == MISSED
    assert (
        told("download of tortoise", size("baseline", 20, "onnxruntime/cpu"), size("int8", 10), good).word
        == NOT_RUN
    )
    assert told("download of tortoise", size("baseline", 20), size("int8@sus", 1), good).word == NOT_RUN


def lesson(method, hard, clean, full=None, share=0.8, loss=1.0):
    """Rows of a method: (before, change, low, high) of hard clips, (change, low, high) of clean ones; loss: on
    validation clips, by which it is chosen.
    """
    before, *change = hard
    about = paired(*change) | ({"to_full": paired(*full)} if full else {})
    system, note = "whisper-tiny.en", json.dumps({"method": method})
    return [
        row(system, f"{method}@hard", JUDGED, "wer", before + change[0], detail=about),
        row(system, f"{method}@clean", JUDGED, "wer", 0.05, detail=paired(*clean)),
        row(system, f"{method}@hard", "torch/cpu", "train_loss", loss, detail=note),
        row(system, f"{method}@hard", "torch/cpu", "trainable_params_pct", share, detail=note),
        row(system, f"{method}@hard", "torch/cpu", "adapter_mb", share, detail=note),
    ]


def test_where_nobody_misheard_more_a_few_clips_decide_nothing():
    about = {"difference": -0.02, "ci_low": -0.1, "ci_high": 0.0, "n": 12}
    assert floor_rows.difference(about).ends is None
    for decides in ({"n": 40}, {"ci_high": 0.002}):
        assert floor_rows.difference(about | decides).ends is not None


def test_hard_speech_is_gained_and_clean_speech_kept():
    kept, lost = (0.0, -0.004, 0.004), (0.01, 0.006, 0.02)
    assert told("hard speech", lesson("full", (0.4, -0.16, -0.2, -0.12), kept)).word == MET
    line = told(
        "hard speech", lesson("full", (0.4, -0.12, -0.2, -0.04), kept)
    )  # without zero, but across a quarter
    assert line.word == UNDECIDED and "-0.3 [-0.5, -0.1] of those before" in line.ours
    assert told("hard speech", lesson("full", (0.4, -0.16, -0.2, -0.12), lost)).word == MISSED
    assert told("hard speech", lesson("full", (0.4, -0.16, None, None), kept)).word == UNDECIDED
    forgetful = (0.4, -0.16, -0.2, -0.12), lost
    both = lesson("full", *forgetful, loss=1.1) + lesson("lora-r8", (0.4, -0.16, -0.2, -0.12), kept)
    assert told("hard speech", both).ours.startswith("lora-r8")
    chosen = lesson("full", *forgetful, loss=0.9) + lesson("lora-r8", (0.4, -0.16, -0.2, -0.12), kept)
    line = told("hard speech", chosen)  # validation chooses, not the test clips that another does better on
    assert line.ours.startswith("full") and line.word == MISSED
    assert (
        told("hard speech", [one | {"detail": ""} for one in lesson("full", (0.4, -0.1, 0, 0), kept)[:2]]).word
        == NOT_RUN
    )


def test_few_parameters_do_as_well_as_all():
    hard, clean = (0.4, -0.16, -0.2, -0.12), (0.0, 0.0, 0.0)

    def small(full, share=0.8, method="lora-r8"):
        return told("adapter of the recogniser", lesson(method, hard, clean, full, share)).word

    assert small((0.01, -0.01, 0.03)) == MET and small((0.02, 0.001, 0.03)) == MISSED
    assert small((0.01, -0.01, 0.03), share=1.2) == MISSED and small((0.01, None, None)) == UNDECIDED
    still = lesson("lora-r8", (0.4, -0.01, -0.05, 0.03), clean, (0.01, -0.01, 0.03))
    assert told("adapter of the recogniser", still).word == UNDECIDED  # nobody learnt anything: all are level
    touching = lesson("lora-r8", (0.4, -0.02, -0.1, 0.0), clean, (0.01, -0.01, 0.03))
    assert told("adapter of the recogniser", touching).word == UNDECIDED  # an interval that reaches zero
    assert small(None) == NOT_RUN and small((0.01, -0.01, 0.03), method="encoder") == NOT_RUN
    level, worse = (0.01, -0.01, 0.03), (0.02, 0.001, 0.03)
    both = lesson("lora-r8", hard, clean, worse, loss=0.9) + lesson("lora-r2", hard, clean, level)
    line = told("adapter of the recogniser", both)  # of validation, not the test's
    assert line.ours.startswith("lora-r8") and line.word == MISSED


def voice(method, similarity, to_full, share, *, loss=0.3, data="prompts-1min", asked=1.0, who="prompts"):
    def mine(metric, value, ci=(None, None), about="", name=f"{method}@{data}", **others):
        return row("fastspeech2", name, "torch/cpu", metric, value, ci, detail=about, **others)

    full = {} if to_full is None else {"baseline": f"full@{data}"}
    about = {"voice": who, "method": method.partition("-")[0], "asked_minutes": asked, "validation_mel": loss}
    about |= {"rank": 2, "minutes": asked, "seed": 0, "steps": 300, "added_mb": 1.0}
    return [
        mine("trainable_params_pct", share, about=about),
        mine(
            "speaker_similarity",
            similarity,
            (similarity - 0.02, similarity + 0.02),
            to_full and paired(*to_full) or "",
            **full,
        ),
        mine("speaker_similarity", 0.6, (0.58, 0.62), name=f"unadapted@{who}"),
    ]


def test_a_voice_comes_nearer_with_few_parameters():
    name, near = "a person's voice", (-0.005, -0.015, 0.005)
    line = told(name, voice("lora-r2", 0.8, near, 1.5))
    assert line.word == MET and "similarity 0.2 [0.16, 0.24] over the unadapted voice" in line.ours
    assert told(name, voice("lora-r2", 0.76, near, 1.5)).word == UNDECIDED
    assert told(name, voice("lora-r2", 0.8, (-0.05, -0.06, -0.03), 1.5)).word == MISSED
    assert told(name, voice("lora-r8", 0.8, near, 6.0)).word == MISSED
    assert told(name, voice("lora-r2", 0.8, None, 1.5)).word == NOT_RUN
    assert told(name, voice("lora-r2", 0.8, near, 1.5)[:2]).word == NOT_RUN  # nobody heard the base
    assert told(name, voice("full", 0.8, near, 1.5)).word == NOT_RUN


def test_a_voice_is_judged_by_what_validation_chooses_of_the_person_on_the_most_data():
    name, near, far = "a person's voice", (-0.005, -0.015, 0.005), (-0.05, -0.06, -0.03)
    lucky, chosen = voice("ia3", 0.8, near, 1.5, loss=0.4), voice("lora-r2", 0.7, far, 1.5, loss=0.3)
    line = told(name, lucky, chosen)
    assert line.word == MISSED and line.ours.startswith("lora-r2@prompts-1min") and "tried" not in line.why
    large = voice("lora-r8", 0.7, far, 6.0, loss=0.2)  # what learns more is not what is asked
    assert told(name, lucky, large).word == MET
    less = told(name, lucky, voice("lora-r2", 0.7, far, 1.5, loss=0.5, data="prompts", asked=0.0))
    assert less.word == MISSED and less.ours.startswith("lora-r2@prompts on")
    synthetic = voice("lora-r2", 0.8, near, 1.5, data="flite-slt", who="flite-slt", asked=0.0)
    assert told(name, synthetic).word == NOT_RUN and told(name, synthetic, chosen).word == MISSED


def test_what_another_run_chose_is_no_second_try():
    name, near, far = "a person's voice", (-0.005, -0.015, 0.005), (-0.05, -0.06, -0.03)
    line = told(name, voice("lora-r2", 0.7, far, 1.5), earlier("a", voice("ia3", 0.8, near, 1.5)))
    assert line.word == MISSED and "was met by ia3@prompts-1min" in line.why
    fits, not_all = (
        [row("whisper-tiny.en", f"{method}@hard", "torch/cpu", "merge_error", value)]
        for method, value in (("lora-r8", 2e-5), ("dora-r8", 2e-4))
    )
    assert told("adapter within the weights", not_all, earlier("a", fits)).word == MISSED


def asked(steps, n, rows):
    """The rows of a run whose trainings make so many steps, judged by so many clips or sentences."""
    made = []
    for one in rows:
        about = json.loads(one["detail"]) if one["detail"] else {}
        changed = {"n": n} if "difference" in about else {}
        known = {"steps": steps, "asked_steps": steps} if "method" in about else {}
        made.append(one | {"n": n, "detail": json.dumps(about | changed | known) if about else ""})
    return made


def test_of_two_runs_the_one_that_asked_more_answers():
    """What a few steps chose and few clips heard takes nothing back of a study, whichever is newer."""
    name, kept = "hard speech", (0.0, -0.004, 0.004)
    unclear, fewer, same = (
        lesson(method, (0.4, *change), kept, loss=1.0)
        for method, change in (
            ("full", (-0.1, -0.3, 0.1)),
            ("lora-r8", (-0.16, -0.2, -0.12)),
            ("full", (-0.01, -0.02, -0.005)),
        )
    )
    also = lesson("lora-r8", (0.4, -0.12, -0.3, 0.02), kept)
    line = told(name, asked(12, 13, unclear), earlier("a", asked(200, 58, also)))
    assert line.word == UNDECIDED and line.ours.startswith("lora-r8") and line.origin.endswith("commit a")
    assert "this run has too little to decide it: hard word errors" in line.why
    line = told(name, asked(12, 13, fewer), earlier("a", asked(200, 58, same)))
    assert line.word == MISSED and line.origin.endswith("commit a")
    assert "this run asked less: met there" in line.why
    assert told(name, asked(200, 58, fewer), earlier("a", asked(12, 13, same))).word == MET
    line = told(name, asked(200, 58, fewer), earlier("a", asked(190, 60, same)))  # as large: the newer
    assert line.word == MET and not line.origin

    name, near, far = "a person's voice", (-0.005, -0.015, 0.005), (-0.05, -0.06, -0.03)
    quick, study = voice("ia3", 0.8, near, 1.5), voice("lora-r2", 0.7, far, 1.5)
    line = told(name, asked(40, 12, quick), earlier("a", asked(600, 40, study)))
    assert line.word == MISSED and line.ours.startswith("lora-r2")


def test_one_adapter_of_a_short_run_hides_none_of_a_study():
    def errors(*values):
        return [
            row("whisper-tiny.en", f"lora-r{2**n}@hard", "torch/cpu", "merge_error", value)
            for n, value in enumerate(values)
        ]

    line = told("adapter within the weights", errors(3e-5), earlier("a", errors(2e-3, 1e-6, 1e-6)))
    assert line.word == MISSED and "the worst of 3" in line.ours


def test_every_adapter_fits_into_the_weights():
    def error(method, value):
        return row("whisper-tiny.en", f"{method}@hard", "torch/cpu", "merge_error", value)

    assert told("adapter within the weights", error("lora-r8", 2e-5), error("dora-r8", 9e-5)).word == MET
    line = told("adapter within the weights", error("lora-r8", 2e-5), error("dora-r8", 2e-4))
    assert line.word == MISSED and "dora-r8@hard on torch/cpu: scores 0.0002 apart, the worst of 2" in line.ours
    assert told("adapter within the weights").word == NOT_RUN


def test_memory_has_to_be_measured():
    def peak(method, value, **others):
        return row("whisper-tiny.en", f"{method}@hard", "torch/cpu", "train_peak_rss_mb", value, **others)

    line = told("memory of QLoRA beside LoRA", peak("qlora-r8", 900), peak("lora-r8", 1000))
    assert line.word == MET and "0.90 times the memory (900 beside 1000 MB)" in line.ours
    computed = told(
        "memory of QLoRA beside LoRA", peak("qlora-r8", 900, kind="estimated"), peak("lora-r8", 1000)
    )
    assert computed.word == MISSED
    assert told("memory of QLoRA beside LoRA", peak("qlora-r8", 900), peak("lora-r2", 1000)).word == NOT_RUN


def test_every_floor_has_a_line_and_the_table_counts_them():
    lines = floors.lines(results.frame([]), list(ALL.values()))
    assert [line.word for line in lines] == [NOT_RUN] * len(ALL) and all(line.why for line in lines)
    assert floors.finding(lines) == f"Of {len(ALL)} floors: {len(ALL)} not run." and floors.finding([]) is None
    shown = floors.shown(lines)
    assert list(shown.columns) == ["wanted", "ours", "answer", "why", "measured"] and len(shown) == len(ALL)
    done = floors.lines(
        results.frame([faster(2.5, 2.1, 2.9), *heard("vits-joe", "int8", "onnxruntime/cpu")]), [ALL["vits-joe"]]
    )
    assert floors.shown(done).measured.tolist() == ["this run"]


def test_floors_are_read_from_what_is_recorded():
    """The rows that are kept in git are understood by every floor."""
    lines = floors.lines(results.read(results.RECORDED), list(ALL.values()))
    assert len(lines) == len(ALL) and {line.word for line in lines} <= {MET, MISSED, UNDECIDED, NOT_RUN}
    assert all(line.origin.startswith("recorded 20") for line in lines if line.ours)
