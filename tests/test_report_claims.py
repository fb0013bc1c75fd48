"""Each headline of the reference studies has theirs, ours, a verdict and a reason; what was not measured says why."""

from __future__ import annotations

import dataclasses
import json

import pytest
from test_report import row

from lib.report import claims
from lib.results import CLAIM, METRICS
from lib.studies import promised, published
from lib.studies.headlines import HEADLINES, Headline

FASTER = Headline(
    "a study", f"{CLAIM}a page", "speecht5", "latency_ms_p50", "twice as fast", "int8", change=(0.4, 0.6)
)
SMALLER = Headline("a study", f"{CLAIM}a page", "speecht5", "size_mb", "half", "int8", change=(0.4, 0.6))
BETTER = Headline("a study", "Doe 2020", "speecht5", "mos_predicted", "4.0 → 4.0", "int8", change=(-0.1, 0.1))


def line(headline, rows):
    (made,) = claims.lines(rows, [headline])
    return made


def sides(metric, before, after, **more):
    values = {"baseline": before, "int8": after}
    return [
        row("speecht5", metric, value, variant=variant, ci=tuple(ends) or (None, None), **more)
        for variant, (value, *ends) in values.items()
    ]


def test_every_headline_of_the_studies_stands_there_without_any_row():
    made = claims.lines([])
    assert len(made) == len(HEADLINES) and {one.verdict for one in made} == {claims.NOT_RUN}
    assert all(one.theirs and one.reason and one.source for one in made)
    studies = {one.study for one in made}
    assert len(studies) == 4
    assert sum(one.study.startswith("SpeechT5") for one in made) == len(promised.CLAIMS)
    assert sum(one.study.startswith("Tacotron") for one in made) == len(published.CLAIMS)
    assert claims.finding(made) == f"Of {len(made)} headlines: {len(made)} not run."
    assert all(headline.metric in METRICS for headline in HEADLINES)
    twice = next(one for one in made if one.system == "tortoise" and one.of.startswith("Latency"))
    assert twice.theirs == "5 times lower" and "05_distillation makes it" in twice.reason


@pytest.mark.parametrize(
    "after, word",
    [
        ((50, 49, 51), "agrees"),
        ((20, 19, 21), "better than claimed"),
        ((90, 89, 91), "worse than claimed"),
        ((58, 55, 65), "undecided"),
        ((50,), "undecided"),
    ],
)
def test_a_change_is_called_by_where_its_interval_lies(after, word):
    made = line(FASTER, sides("latency_ms_p50", (100, 99, 101), after))
    assert made.verdict == word and made.kind == "claimed" and made.source == "a page"
    assert made.ours == f"100 → {after[0]} ms"
    if word == "agrees":
        assert made.reason == (
            "the change is 0.5 times [0.485, 0.515] from the ends of both intervals, theirs 0.4 to 0.6 times"
        )
    if len(after) == 1:
        assert made.reason.endswith("too few for an interval")


def timed(latency, speedup=None, ratio=None, of="baseline", seen=({"rounds": 3},) * 2):
    """A variant's two rows of one bench, and its baseline's. seen: the circumstances of its latency and its RTF."""
    about = [seen[0] | ({"latency_ratio": ratio} if ratio else {}), seen[1] | ({"speedup": speedup} if speedup else {})]
    whole, own = sides("latency_ms_p50", (1545, 673, 3546), latency)
    own = dataclasses.replace(own, detail=json.dumps(about[0]), baseline=of if ratio else "")
    rtf = row("speecht5", "rtf", 0.2, variant="int8", baseline=of, detail=json.dumps(about[1]))
    return [whole, own, rtf]


def ends(value, low, high):
    return {"value": value, "ci_low": low, "ci_high": high, "p_value": 0.01}


def test_a_latency_is_laid_beside_its_baseline_sentence_by_sentence():
    """The ends of both medians, which are mostly how long the sentences are, would be 0.07 to 2.21."""
    long = (603, 244, 1487)
    made = line(FASTER, timed(long, ends(2.0, 1.9, 2.1), ends(0.45, 0.42, 0.48)))
    assert made.verdict == "agrees" and made.ours == "1,545 → 603 ms"
    assert made.reason == (
        "the change is 0.45 times [0.42, 0.48] by sentence, paired in one bench, theirs 0.4 to 0.6 times"
    )
    few = line(FASTER, timed(long, ratio=ends(0.45, None, None)))
    assert few.verdict == "undecided" and few.reason.endswith("; too few for an interval")
    made = line(FASTER, timed(long, ratio=ends(0.45, 0.42, 0.48), of="half"))  # paired with something else
    assert made.verdict == "undecided" and "from the ends of both intervals" in made.reason


def test_a_bench_of_before_has_its_speed_up_upside_down():
    long = (603, 244, 1487)
    made = line(FASTER, timed(long, ends(2.0, 1.8, 2.2)))
    assert made.verdict == "agrees" and made.reason == (
        "the change is 0.5 times [0.455, 0.556] by second of audio, paired in one bench that kept no ratio of "
        "sentences, theirs 0.4 to 0.6 times"
    )
    alone = line(FASTER, timed(long))
    elsewhere = line(FASTER, timed(long, ends(2.0, 1.8, 2.2), seen=({"rounds": 3}, {"rounds": 5})))
    other = line(FASTER, timed(long, ends(2.0, 1.8, 2.2), of="half"))
    for made in (alone, elsewhere, other):
        assert made.verdict == "undecided" and made.reason.startswith(
            "the change is 0.39 times [0.0688, 2.21] from the ends of both intervals"
        )
    few = line(FASTER, timed(long, ends(2.0, None, None)))
    assert few.verdict == "undecided" and "0.5 times by second of audio" in few.reason


def test_bytes_are_counted_and_need_no_interval():
    assert line(SMALLER, sides("size_mb", (100,), (50,))).verdict == "agrees"
    estimated = [*sides("size_mb", (100,), (30,), kind="estimated")]
    made = line(SMALLER, estimated)
    assert (made.verdict, made.ours) == ("better than claimed", "100.0 → 30.0 MB (estimated)")
    mixed = [estimated[0], sides("size_mb", (100,), (50,))[1]]  # bytes in memory beside bytes of files
    made = line(SMALLER, mixed)
    assert (made.verdict, made.ours) == ("agrees", "100.0 (estimated) → 50.0 MB")
    before, after = sides("latency_ms_p50", (100, 99, 101), (50, 49, 51))
    timed = line(FASTER, [dataclasses.replace(before, kind="estimated"), after])  # of times it makes no change
    assert timed.verdict == "not run"


def test_nothing_measured_is_said_only_where_no_row_is():
    assert line(SMALLER, []).reason.startswith("nothing measured download size of speecht5 int8")
    (_, alone) = sides("size_mb", (100,), (50,))
    assert line(SMALLER, [alone]).reason == (
        "download size of speecht5 int8 is 50.0 MB, and no baseline of the same run was laid beside it"
    )


def test_a_change_from_elsewhere_says_where_it_starts():
    elsewhere = dataclasses.replace(SMALLER, before=(200, 300))
    reason = line(elsewhere, sides("size_mb", (100,), (50,))).reason
    assert reason.endswith("; ours starts at 100.0 MB, theirs at 200.0 to 300.0")
    there = dataclasses.replace(SMALLER, before=(100, 100))
    assert "starts" not in line(there, sides("size_mb", (100,), (50,))).reason


def test_few_sentences_decide_no_claim():
    detail = json.dumps({"difference": 0.0, "ci_low": -0.05, "ci_high": 0.05, "n": 7})
    made = line(BETTER, [row("speecht5", "mos_predicted", 4.0, variant="int8", detail=detail)])
    assert (made.verdict, made.n) == ("undecided", 7)


@pytest.mark.parametrize(
    "difference, low, high, word",
    [
        (0.0, -0.05, 0.05, "agrees"),
        (0.3, 0.2, 0.4, "better than claimed"),
        (-0.5, -0.6, -0.4, "worse than claimed"),
        (-0.1, -0.2, 0.0, "undecided"),
        (0.0, None, None, "undecided"),
    ],
)
def test_a_score_changes_by_its_paired_difference(difference, low, high, word):
    detail = json.dumps({"difference": difference, "ci_low": low, "ci_high": high})
    made = line(BETTER, [row("speecht5", "mos_predicted", 4.0, variant="int8", detail=detail)])
    assert made.verdict == word and made.kind == "published"
    assert made.ours.startswith(f"{4.0 - difference:.2f} → 4.00")


def test_a_change_across_runs_is_none():
    old = {"recorded": True, "commit": "a", "host": "small"}
    before, after = sides("size_mb", (100,), (50,))
    apart = [before, *(row("speecht5", "size_mb", 50.0, variant="int8", **old),)]
    assert line(SMALLER, apart).verdict == "not run"
    kept = sides("size_mb", (100,), (50,), **old, time="2026-11-01")
    assert line(SMALLER, kept).origin == "2026-11-01, small, commit a"


def test_a_change_is_of_one_notebook():
    rows = sides("latency_ms_p50", (100, 99, 101), (50, 49, 51), notebook="04", time="2026-11-01")
    other = row("speecht5", "latency_ms_p50", 300.0, notebook="01", time="2026-11-02")
    for later in (other, dataclasses.replace(other, notebook="04", commit="b")):
        assert line(FASTER, [*rows, later]).ours.startswith("100 →")
        assert line(FASTER, [later, *rows]).ours.startswith("100 →")


def test_of_several_runs_the_one_that_heard_most_answers():
    few = sides("latency_ms_p50", (100, 99, 101), (50, 49, 51), n=2)
    many = sides("latency_ms_p50", (100, 99, 101), (90, 89, 91), n=40, recorded=True, commit="a")
    assert [line(FASTER, rows).n for rows in (few, [*few, *many], [*many, *few])] == [2, 40, 40]
    assert line(FASTER, [*few, *many]).origin.endswith("commit a")


def test_what_could_not_run_says_the_rows_own_reason():
    rows = [row("speecht5", "latency_ms_p50", None, variant="int8", kind="not_run", detail="no such operator")]
    made = line(FASTER, rows)
    assert (made.verdict, made.reason) == ("not run", "no such operator")


def test_equal_quality_is_what_the_verdict_calls_without_audible_loss():
    from test_report_verdicts import baseline, paired

    headline = Headline("a study", "Doe", "vits-joe", "mos_predicted", "equal quality", "int8", equal=True)
    for wer, word, ours in ((0.001, "agrees", "without audible loss"), (0.1, "worse than claimed", "worse")):
        made = line(headline, [*baseline(), *paired("int8", wer=wer)])
        assert (made.verdict, made.ours) == (word, ours)


def test_an_adapter_is_laid_beside_full_fine_tuning_by_its_own_pairs():
    """Its rows are compared with the recogniser as it comes, and carry the comparison with full beside that."""
    headline = next(h for h in HEADLINES if h.variant == "lora-r8" and h.metric == "wer")

    def heard(low, high, n=40, data="hard", **more):
        middle = (low + high) / 2
        full = {"difference": middle, "ci_low": low, "ci_high": high, "n": n, "sd": 0.01, "p_value": 0.5}
        before = {"difference": -0.2, "ci_low": -0.3, "ci_high": -0.1, "n": n, "to_full": full}
        names = {"variant": f"lora-r8@{data}", "baseline": f"baseline@{data}", "target": "ctranslate2/cpu"}
        return row("whisper-tiny.en", "wer", 0.2, detail=json.dumps(before), **names, **more)

    assert line(headline, [heard(-0.005, 0.005)]).verdict == "agrees"
    assert (
        line(headline, [heard(0.05, 0.1), heard(-0.005, 0.005, data="clean")]).verdict == "worse than claimed"
    )
    assert line(headline, [heard(-0.05, 0.05)]).verdict == "undecided"
    few = heard(-0.005, 0.005, n=7)
    assert line(headline, [few]).verdict == "undecided" and line(headline, [few]).n == 7
    study = heard(0.05, 0.1, recorded=True, commit="a", host="small", time="2026-11-01")
    made = line(headline, [few, study])  # a quick run beside a recorded study
    assert (made.verdict, made.origin) == ("worse than claimed", "2026-11-01, small, commit a")
    assert line(headline, [row("whisper-tiny.en", "wer", 0.2, variant="lora-r8@hard")]).verdict == "not run"


def test_a_share_of_the_parameters_is_counted():
    headline = next(h for h in HEADLINES if h.metric == "trainable_params_pct")
    rows = [
        row("whisper-tiny.en", headline.metric, value, variant=f"{name}@hard", target="torch/cpu")
        for name, value in (("full", 98.47), ("lora-r8", 0.78))
    ]
    made = line(headline, rows)
    assert (made.verdict, made.ours) == ("worse than claimed", "98.47 → 0.78 %")
    assert made.reason == "the change is 0.00792 times, theirs at most 0.0001 times"


def test_what_does_not_compare_is_laid_beside_and_never_judged():
    headline = next(h for h in HEADLINES if h.metric == "train_frames_per_s")
    rows = [row("tacotron2", "train_frames_per_s", 2345.0, variant="training", target="torch/cpu")]
    made = line(headline, rows)
    assert (made.verdict, made.ours) == ("not comparable", "2,345 1/s (training, torch/cpu)")


def test_a_claim_of_no_study_is_shown_too():
    rows = [row("hibari", "rtf", 0.001, kind="published", source=f"{CLAIM}a leaflet")]
    made = claims.lines(rows)[-1]
    assert (made.study, made.source, made.verdict) == ("Others", "a leaflet", "not run")
