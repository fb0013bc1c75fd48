"""The words for a variant are earned as DESIGN section 8 says, and our own counterexample is called worse."""

import json

import pandas as pd
import pytest

from lib import results
from lib.errors import ParameterError
from lib.measure import stats, verdict
from lib.measure.judgement import from_rows
from lib.measure.stats import Difference
from lib.measure.verdict import NOT_RECOMMENDED, RECOMMENDED, UNDECIDED, WITHOUT_LOSS, WORSE, Gain, Verdict


def gap(value, half=0.0, n=100, sd=None):
    """A paired difference with the interval value -+ half."""
    return Difference(value, value - half, value + half, n, 0.5, half / 1.96 * n**0.5 if sd is None else sd)


GOOD = {
    "mos_predicted": gap(-0.02, 0.05),
    "wer": gap(0.001, 0.008),
    "speaker_similarity": gap(0.0, 0.01),
    "f0_error_cents": gap(8.0, 3.0),
}


def test_without_audible_loss_when_every_interval_lies_inside():
    found = verdict.quality_verdict(GOOD)
    assert (found.word, found.sentences_needed) == (WITHOUT_LOSS, None) and len(found.reasons) == 4
    assert found.reasons[0] == "predicted MOS -0.02 [-0.07, +0.03], margin -0.10: inside"
    without_pitch = {name: value for name, value in GOOD.items() if name != "f0_error_cents"}
    assert verdict.quality_verdict(without_pitch).word == WITHOUT_LOSS  # clips need not be aligned
    better = GOOD | {"mos_predicted": gap(0.4, 0.1), "wer": gap(-0.05, 0.02)}
    assert verdict.quality_verdict(better).word == WITHOUT_LOSS


@pytest.mark.parametrize(
    "metric, value, half",
    [
        ("mos_predicted", -0.2, 0.09),
        ("wer", 0.03, 0.019),
        ("speaker_similarity", -0.04, 0.019),
        ("f0_error_cents", 30, 9),
    ],
)
def test_worse_when_one_interval_lies_outside(metric, value, half):
    assert verdict.quality_verdict(GOOD | {metric: gap(value, half)}).word == WORSE
    crossing = abs(value - verdict.MARGINS[metric]) * 1.01
    assert verdict.quality_verdict(GOOD | {metric: gap(value, crossing)}).word == UNDECIDED


def test_where_nobody_got_worse_a_few_sentences_decide_nothing():
    """Neither that one of them got better nor that none did tells how seldom one gets worse."""
    for better in (0.0, -0.02):
        few = GOOD | {"wer": Difference(better, 5 * better, 0.0, 12, 0.5, 0.05 if better else 0.0)}
        found = verdict.quality_verdict(few)
        assert (found.word, found.sentences_needed) == (UNDECIDED, verdict.MIN_AGREEING)
        enough = GOOD | {"wer": Difference(better, 5 * better, 0.0, 40, 0.5, 0.05)}
        assert verdict.quality_verdict(enough).word == WITHOUT_LOSS
    both = GOOD | {"wer": Difference(-0.02, -0.1, 0.005, 12, 0.5, 0.05)}
    assert verdict.quality_verdict(both).word == WITHOUT_LOSS  # one got worse: the interval knows of it


def test_an_interval_that_ends_on_the_margin_decides_nothing():
    ends = GOOD | {"mos_predicted": Difference(-0.05, -0.1, 0.0, 100, 0.1, 0.25)}
    assert verdict.quality_verdict(ends).word == UNDECIDED
    ends = GOOD | {"wer": Difference(0.02, 0.01, 0.03, 100, 0.001, 0.05)}
    assert verdict.quality_verdict(ends).word == UNDECIDED


def test_the_recognisers_loss_speaks_where_wer_cannot_decide():
    margin, beyond = verdict.MARGINS["asr_nll"], verdict.WORSE_BEYOND["asr_nll"]
    assert margin < beyond  # it is known within an interval only, and decides nothing inside of that
    open_wer = GOOD | {"wer": gap(0.005, 0.02)}
    assert verdict.quality_verdict(open_wer).word == UNDECIDED
    assert verdict.quality_verdict(open_wer | {"asr_nll": gap(0.1 * margin, 0.5 * margin)}).word == WITHOUT_LOSS
    assert verdict.quality_verdict(open_wer | {"asr_nll": gap(3 * beyond, beyond)}).word == WORSE
    between = verdict.quality_verdict(open_wer | {"asr_nll": gap((margin + beyond) / 2, 0.001)})
    assert between.word == UNDECIDED and between.sentences_needed == 3_270  # by WER: (2.802 * 0.102 / 0.005)^2
    # The margin of the loss stands for that of WER, so where WER itself has decided it has the word.
    assert verdict.quality_verdict(GOOD | {"asr_nll": gap(3 * beyond, beyond)}).word == WITHOUT_LOSS
    only = {name: value for name, value in GOOD.items() if name != "wer"} | {"asr_nll": gap(0, 0.5 * margin)}
    assert verdict.quality_verdict(only).word == WITHOUT_LOSS


def test_sentences_needed_follow_from_the_paired_spread():
    # (1.960 + 0.842)^2 (sd / gap)^2: sd 0.5, 0.05 away from the margin -> 784.9
    good_side = GOOD | {"mos_predicted": gap(-0.05, 0.1, sd=0.5)}
    assert verdict.quality_verdict(good_side).sentences_needed == 785
    both = good_side | {"wer": gap(0.005, 0.01, sd=0.08)}  # (2.802 * 0.08 / 0.005)^2 = 2009.4
    assert verdict.quality_verdict(both).sentences_needed == 2_010  # all must be inside
    one_bad = both | {"speaker_similarity": gap(-0.03, 0.02, sd=0.1)}  # 784.9: one outside is enough
    assert verdict.quality_verdict(one_bad).sentences_needed == 785
    on_it = GOOD | {"mos_predicted": gap(-0.1, 0.1, sd=0.5)}
    assert verdict.quality_verdict(on_it).sentences_needed is None


def test_what_was_not_measured_decides_nothing():
    found = verdict.quality_verdict({"mos_predicted": GOOD["mos_predicted"], "wer": GOOD["wer"]})
    assert found.word == UNDECIDED and found.sentences_needed is None
    assert "speaker similarity was not compared with the baseline" in found.reasons
    assert verdict.quality_verdict({"wer": GOOD["wer"]}, verdict.RECOGNISER).word == WITHOUT_LOSS
    assert verdict.quality_verdict({}).word == UNDECIDED
    with pytest.raises(ParameterError, match="did you mean 'pitch'"):
        verdict.quality_verdict(GOOD, ("pitchs",))


def test_few_sentences_decide_nothing_even_where_they_agree():
    no_interval = GOOD | {"wer": Difference(0.0, None, None, 3, 1.0, 0.0)}
    assert verdict.quality_verdict(no_interval).word == UNDECIDED
    seven = {name: Difference(d.value, d.low, d.high, 7, d.p_value, d.sd) for name, d in GOOD.items()}
    assert verdict.quality_verdict(seven).word == UNDECIDED
    agreed = GOOD | {"wer": gap(0.0, 0.0, n=39)}  # no error in 39 sentences is not no error at all
    assert (verdict.quality_verdict(agreed).word, verdict.quality_verdict(agreed).sentences_needed) == (
        UNDECIDED,
        40,
    )
    assert verdict.quality_verdict(GOOD | {"wer": gap(0.0, 0.0, n=40)}).word == WITHOUT_LOSS


FINE, BAD, OPEN = (
    Verdict(WITHOUT_LOSS, ("all inside",)),
    Verdict(WORSE, ("WER",)),
    Verdict(UNDECIDED, ("MOS",), 300),
)
FASTER, SLOWER = Gain("rtf", 2.0, 1.8, 2.2), Gain("rtf", 0.5, 0.4, 0.6)


@pytest.mark.parametrize(
    "quality, gains, word, reason",
    [
        (FINE, [FASTER], RECOMMENDED, "without audible loss and faster (2.00 times [1.80, 2.20])"),
        (
            FINE,
            [SLOWER, Gain("size_mb", 4.0)],
            RECOMMENDED,
            "smaller (4.00 times), but slower (2.00 times [1.67, 2.50])",
        ),
        (FINE, [Gain("energy_j_per_audio_s", 1.5, 1.2, 1.9)], RECOMMENDED, "more frugal with energy"),
        (
            FINE,
            [Gain("rtf", 1.1, 0.9, 1.3)],
            NOT_RECOMMENDED,
            "better in nothing that was measured: not significantly",
        ),
        (FINE, [Gain("rtf", 1.5)], UNDECIDED, "faster (1.50 times, too few timings for an interval)"),
        (FINE, [Gain("size_mb", 1.0001), SLOWER], NOT_RECOMMENDED, "slower"),
        (FINE, [], UNDECIDED, "neither speed, size nor energy was compared"),
        (BAD, [FASTER], NOT_RECOMMENDED, "worse: WER"),
        (BAD, [], NOT_RECOMMENDED, "worse: WER"),
        (OPEN, [FASTER], UNDECIDED, "about 300 sentences would decide"),
        (OPEN, [SLOWER], NOT_RECOMMENDED, "better in nothing"),
    ],
)
def test_recommended_only_without_loss_and_with_a_gain(quality, gains, word, reason):
    found = verdict.recommendation(quality, gains)
    assert found.word == word and reason in found.reason


def test_bytes_that_grew_by_more_than_a_header_are_more():
    """A saving needs one per cent, a growth a thousandth: a variant may not be larger, however little."""
    assert not Gain("size_mb", 0.9996).costs_more and not Gain("size_mb", 0.9991).costs_more
    larger = Gain("size_mb", 1 / 1.0089)
    assert larger.costs_more and not larger.saves and larger.text == "larger (1.01 times)"
    assert Gain("size_mb", 1 / 1.002).text == "larger (1.002 times)"  # not "1.00 times"
    memory = Gain("peak_rss_mb", 1.04, 1.03, 1.05)
    found = verdict.recommendation(FINE, [memory, larger], never_more=verdict.OF_A_VARIANT)
    assert found.word == NOT_RECOMMENDED and found.reason.endswith("but larger (1.01 times)")
    same = verdict.recommendation(FINE, [memory, Gain("size_mb", 0.9997)], never_more=verdict.OF_A_VARIANT)
    assert same.word == RECOMMENDED


@pytest.mark.parametrize(
    "speed, word",
    [
        (Gain("rtf", 0.93, 0.73, 1.18), UNDECIDED),
        (Gain("rtf", 1.06, 0.81, 1.39), UNDECIDED),
        (Gain("rtf", 0.99, 0.90, 1.06), RECOMMENDED),
        (Gain("rtf", 0.92, 0.91, 0.94), NOT_RECOMMENDED),
        (Gain("rtf", 1.50), UNDECIDED),  # timed too few times
        (None, RECOMMENDED),  # nobody timed it
    ],
)
def test_a_noisy_bench_makes_nothing_easier(speed, word):
    """What is taken for its size must be shown to be hardly slower; another system's may be."""
    gains = [Gain("size_mb", 1.9), *([speed] if speed else [])]
    assert verdict.recommendation(FINE, gains, never_more=verdict.OF_A_VARIANT).word == word
    assert verdict.recommendation(FINE, gains).word == RECOMMENDED


def test_why_a_noisy_bench_decides_nothing_is_said():
    speed, size = Gain("rtf", 0.93, 0.73, 1.18), Gain("size_mb", 1.9)
    found = verdict.recommendation(FINE, [speed, size], never_more=verdict.OF_A_VARIANT)
    unknown = "whether it is slower is not known: 0.93 times [0.73, 1.18]"
    assert found.reason == f"smaller (1.90 times), but {unknown}"
    hungry = Gain("peak_rss_mb", 0.5, 0.4, 0.6)
    found = verdict.recommendation(FINE, [speed, size, hungry], never_more=verdict.OF_A_VARIANT)
    assert found.reason.endswith(f"but less frugal with memory (2.00 times [1.67, 2.50]), and {unknown}")
    unheard = verdict.recommendation(OPEN, [speed, size], never_more=verdict.OF_A_VARIANT)
    assert unheard.word == UNDECIDED and f"{unknown}; whether it is worse is undecided" in unheard.reason
    once = verdict.recommendation(FINE, [Gain("rtf", 0.93), size], never_more=verdict.OF_A_VARIANT)
    assert once.reason.endswith("not known: 0.93 times, too few timings for an interval")


@pytest.mark.parametrize(
    "variant, target, word, reason",
    [
        ("fp16-weights", "onnxruntime/cpu", NOT_RECOMMENDED, "but larger (1.01 times)"),
        ("int8-weights", "torch/cpu", UNDECIDED, "smaller (1.77 times), but whether it is slower is not known"),
        ("int8-weights", "onnxruntime/cpu", RECOMMENDED, "smaller (1.79 times)"),
    ],
)
def test_what_was_recorded_of_a_small_voice(variant, target, word, reason):
    """4 % of the memory for a larger file; half the size from a bench that cannot tell 18 % faster from 27 % slower."""
    (path,) = results.RECORDED.glob("04_pruning_quantization@study@dda219594b.jsonl")
    found = from_rows(results.read(path), "speecht5", variant, target)
    assert found.quality.word == WITHOUT_LOSS
    assert found.recommendation.word == word and reason in found.recommendation.reason


def table(*rows):
    filled = [
        {
            "n": 100,
            "ci_low": None,
            "ci_high": None,
            "baseline": "",
            "detail": "",
            "source": "",
            "recorded": False,
            "time": "",
        }
        | row
        for row in rows
    ]
    frame = pd.DataFrame(filled)
    frame[["value", "ci_low", "ci_high"]] = frame[["value", "ci_low", "ci_high"]].astype(float)
    return frame


def row(variant, target, metric, value, ci=(None, None), difference=None, **more):
    detail = {} if difference is None else {"detail": json.dumps(difference), "baseline": "baseline"}
    names = {"system": "demo", "variant": variant, "target": target, "metric": metric, "value": value}
    return names | {"ci_low": ci[0], "ci_high": ci[1]} | detail | more


def paired(value, half):
    return {
        "difference": value,
        "ci_low": value - half,
        "ci_high": value + half,
        "p_value": 0.5,
        "sd": 0.3,
        "n": 100,
    }


QUALITY = [
    row("int8", "torch/cpu", "mos_predicted", 4.0, difference=paired(-0.02, 0.05)),
    row("int8", "torch/cpu", "wer", 0.08, difference=paired(0.001, 0.005)),
    row("int8", "torch/cpu", "speaker_similarity", 0.9, difference=paired(0.0, 0.01)),
]
SPEED = [
    row("int8", "openvino/cpu", "rtf", 0.05, (0.04, 0.06)),
    row("baseline", "openvino/cpu", "rtf", 0.10, (0.09, 0.11)),
    row("int8", "openvino/cpu", "size_mb", 4.0),
    row("baseline", "openvino/cpu", "size_mb", 16.0),
]


def test_a_judgement_from_rows_of_two_targets():
    found = from_rows(table(*QUALITY, *SPEED), "demo", "int8", "openvino/cpu", quality_target="torch/cpu")
    assert found.quality.word == WITHOUT_LOSS and found.recommendation.word == RECOMMENDED
    speed, size = found.gains
    assert (speed.times, speed.low, speed.high) == pytest.approx((2.0, 0.09 / 0.06, 0.11 / 0.04))
    assert size == Gain("size_mb", 4.0)
    # Without being told where it was judged, nothing is taken from another target.
    here = from_rows(table(*QUALITY, *SPEED), "demo", "int8", "openvino/cpu")
    assert here.quality.word == UNDECIDED and here.recommendation.word == UNDECIDED
    with pytest.raises(ParameterError, match="no row of demo int4 on torch/cpu"):
        from_rows(table(*QUALITY), "demo", "int4", "torch/cpu")


def test_rows_of_another_baseline_say_nothing_and_newer_rows_come_first():
    other = [r | {"baseline": "something-else"} for r in QUALITY]
    assert from_rows(table(*other), "demo", "int8", "torch/cpu").quality.word == UNDECIDED
    recorded = row(
        "int8", "torch/cpu", "mos_predicted", 3.0, difference=paired(-1.0, 0.1), recorded=True, time="9"
    )
    old = row("int8", "torch/cpu", "wer", 0.5, difference=paired(0.4, 0.1), time="1")
    new = [r | {"time": "2"} for r in QUALITY]
    assert from_rows(table(*new, recorded, old), "demo", "int8", "torch/cpu").quality.word == WITHOUT_LOSS


def test_costs_of_two_machines_or_of_two_kinds_do_not_compare():
    hosts = [r | {"host": "fast" if r["variant"] == "int8" else "slow"} for r in SPEED]
    found = from_rows(table(*hosts), "demo", "int8", "openvino/cpu")
    assert [gain.metric for gain in found.gains] == ["size_mb"]  # bytes are the same anywhere
    names = ("openvino/cpu", "energy_j_per_audio_s")
    energy = [
        row("int8", *names, 1.0, (0.9, 1.1), host="", kind="estimated"),
        row("baseline", *names, 2.0, (1.9, 2.1), host="", kind="estimated"),
    ]
    (gain,) = from_rows(table(*energy), "demo", "int8", "openvino/cpu").gains
    assert gain.saves and gain.text.endswith("[1.73, 2.33], estimated)")
    mixed = [energy[0] | {"kind": "measured"}, energy[1]]
    assert not from_rows(table(*mixed), "demo", "int8", "openvino/cpu").gains


def test_the_losss_margin_lets_no_known_damage_through():
    """Of an 8-bit decoder 0.029 nats a word went with a point of WER: that is no "none", and not yet "worse"."""
    open_wer = GOOD | {"wer": gap(0.005, 0.05)}
    assert verdict.quality_verdict(open_wer | {"asr_nll": gap(0.029, 0.003)}).word == UNDECIDED


def test_a_saving_that_nobody_would_want_is_none():
    least = Gain("peak_rss_mb", 1.003, 1.002, 1.004)
    assert not least.saves and not Gain("peak_rss_mb", 0.997, 0.996, 0.998).costs_more
    assert verdict.recommendation(Verdict(WITHOUT_LOSS, ()), [least]).word == NOT_RECOMMENDED


def test_the_pitch_error_against_the_baselines_clips_is_a_difference_already():
    near = row("int8", "torch/cpu", "f0_error_cents", 9.0, (7.0, 11.0), baseline="baseline")
    far = row("int8", "torch/cpu", "f0_error_cents", 40.0, (35.0, 45.0), baseline="baseline")
    assert from_rows(table(*QUALITY, near), "demo", "int8", "torch/cpu").quality.word == WITHOUT_LOSS
    assert from_rows(table(*QUALITY, far), "demo", "int8", "torch/cpu").quality.word == WORSE


def test_our_own_counterexample_is_worse():
    """Two more layers trained as briefly: predicted MOS overlaps, WER is 32 against 13 %."""
    found = results.read(results.RECORDED)
    ours = found[(found.system == "fastspeech2") & (found.variant == "size-layers-plus-2")]
    base = found[(found.system == "fastspeech2") & (found.variant == "size-base")]
    mos, mos_base = (rows[rows.metric == "mos_predicted"].iloc[0] for rows in (ours, base))
    assert mos.ci_high > mos_base.ci_low  # what used to pass for "without loss"
    judged = from_rows(found, "fastspeech2", "size-layers-plus-2", "torch/cpu", "size-base")
    assert judged.quality.word == WORSE and judged.recommendation.word == NOT_RECOMMENDED
    assert "WER, normalised +18.5 points [+15.4, +21.8], margin +1.0: outside" in judged.recommendation.reason


def test_sentences_needed_would_decide_as_often_as_promised():
    """Drawn anew with so many sentences, four of five test sets lie wholly inside the margin."""
    import numpy as np

    rng = np.random.default_rng(0)
    small = {"mos_predicted": Difference(-0.04, -0.12, 0.04, 40, 0.3, 0.25)}
    needed = verdict.quality_verdict(small, ("naturalness",)).sentences_needed
    inside = [
        verdict.quality_verdict(
            {"mos_predicted": stats.paired_difference(rng.normal(-0.04, 0.25, needed), np.zeros(needed))},
            ("naturalness",),
        ).word
        == WITHOUT_LOSS
        for _ in range(80)
    ]
    assert 0.67 <= sum(inside) / len(inside) <= 0.92
