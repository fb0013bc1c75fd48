"""Two runs beside each other: a difference is what arithmetic says, and what does not compare is not compared."""

import dataclasses
import math

import pytest

from lib import results
from lib.errors import MissingDataError
from lib.report import changed
from lib.report.collect import Row

HOST, OTHER = "AMD EPYC, 2 cores, 24 GiB", "Intel Xeon, 8 cores, 64 GiB"


def row(metric="mos_predicted", value=4.0, ci=None, *, variant="baseline", host=HOST, commit="aaaa", **more):
    from lib.metrics import METRICS

    low, high = ci or (None, None)
    given = {
        "system": "hibari",
        "target": "onnxruntime/cpu",
        "kind": "measured" if value is not None else "not_run",
        "detail": "" if value is not None else "no CUDA device",
        "source": "DistillMOS 0.9.1",
        "time": "2026-11-22T10:00:00+00:00",
        "notebook": "01_baselines",
        "unit": METRICS[metric].unit,
    }
    named = {"variant": variant, "metric": metric, "value": value, "ci_low": low, "ci_high": high}
    return Row(**{**given, **named, "host": host, "commit": commit, **more})


def only(before, after):
    (found,) = changed.changes(before, after)
    return found


def test_the_interval_of_a_difference_adds_the_arms_that_face_each_other():
    """4.0 [3.7, 4.2] and 4.5 [4.1, 4.6]: below sqrt(0.4^2 + 0.2^2), above sqrt(0.1^2 + 0.3^2)."""
    gap, low, high, p_value = changed.difference(row(value=4.0, ci=(3.7, 4.2)), row(value=4.5, ci=(4.1, 4.6)))
    assert (gap, low, high) == pytest.approx((0.5, 0.5 - math.sqrt(0.2), 0.5 + math.sqrt(0.1)))
    assert p_value == pytest.approx(0.0284, abs=1e-4)  # z = 1.96 * 0.5 / 0.4472 = 2.191
    back = changed.difference(row(value=4.5, ci=(4.1, 4.6)), row(value=4.0, ci=(3.7, 4.2)))
    assert back == pytest.approx((-0.5, -high, -low, p_value))


def test_symmetric_intervals_give_the_z_test():
    """Standard errors 0.3 and 0.4: of the difference 0.5, so 1.0 apart is z = 2 and p = 0.0455."""
    arm = 1.959964
    one, other = (
        row(value=3.0, ci=(3 - 0.3 * arm, 3 + 0.3 * arm)),
        row(value=4.0, ci=(4 - 0.4 * arm, 4 + 0.4 * arm)),
    )
    gap, low, high, p_value = changed.difference(one, other)
    assert (low, high) == pytest.approx((1 - 0.5 * arm, 1 + 0.5 * arm)) and p_value == pytest.approx(
        0.0455, abs=1e-4
    )
    assert changed.difference(one, row(value=4.0)) is None


def test_what_changed_is_corrected_for_how_much_was_looked_at():
    """One of p = 0.0284 is a change alone, and none beside another that did not move."""
    before, after = row(value=4.0, ci=(3.7, 4.2)), row(value=4.5, ci=(4.1, 4.6))
    alone = only([before], [after])
    assert alone.word == changed.BETTER and alone.p_value == pytest.approx(0.0284, abs=1e-4)
    still = row(value=3.0, ci=(2.9, 3.1), variant="int8-dynamic")
    found = {c.variant: c for c in changed.changes([before, still], [after, still])}
    assert found["baseline"].word == changed.NOISE and found["baseline"].p_value == pytest.approx(
        0.0568, abs=2e-4
    )
    assert found["int8-dynamic"].word == changed.SAME and found["int8-dynamic"].difference == 0


def test_the_direction_is_the_metrics():
    apart = ((0.1, (0.09, 0.11)), (0.5, (0.49, 0.51)))
    assert only(*([row("wer", *each)] for each in apart)).word == changed.WORSE
    assert only(*([row("mos_predicted", *each)] for each in apart)).word == changed.BETTER
    assert only(*([row("utilization_pct", *each)] for each in apart)).word == changed.DIFFERENT


def test_times_of_two_hosts_are_not_compared_and_bytes_are():
    fast, slow = row("rtf", 0.1, (0.09, 0.11)), row("rtf", 0.5, (0.49, 0.51), host=OTHER)
    found = only([fast], [slow])
    assert found.word == changed.OTHER_HOST and found.difference is None and found.p_value is None
    assert (
        only([row(value=4.0, ci=(3.9, 4.1))], [row(value=2.0, ci=(1.9, 2.1), host=OTHER)]).word == changed.WORSE
    )
    assert only([row("size_mb", 13.6)], [row("size_mb", 13.7, host=OTHER)]).word == changed.WORSE
    assert only([row("size_mb", 13.6)], [row("size_mb", 13.6, host=OTHER)]).word == changed.SAME


def test_what_all_times_share_is_the_machines_hour_and_no_systems_change():
    """Nine RTFs, of which all but one take 0.8 times as long, and that one half as long."""

    def run(of_all, of_the_last):
        factors = [of_all] * 8 + [of_the_last]
        rtf = [row("rtf", 0.1 * f, (0.098 * f, 0.102 * f), variant=f"v{i}") for i, f in enumerate(factors)]
        return rtf + [
            row("throughput_rtfx", 10 / of_all, (9.8 / of_all, 10.2 / of_all)),
            row("wer", 0.1, (0.09, 0.11)),
            row("size_mb", 13.6),
            row("cold_start_s", 2 * of_all),
        ]

    found = changed.changes(run(1, 1), run(0.8, 0.5))
    assert [(c.variant, c.metric, c.word) for c in found if c.word in changed.BEYOND] == [
        ("v8", "rtf", changed.BETTER)
    ]
    assert found[0].difference == pytest.approx(0.05 - 0.8 * 0.1) and found[0].before.value == 0.1
    others = {c.metric: c for c in found[1:]}
    assert others["cold_start_s"].difference == pytest.approx(0) and others["wer"].pace == changed.STILL
    said = changed.finding(found)
    assert "1 changed beyond noise" in said and "takes 0.80 times as long in this run" in said
    again = changed.finding(changed.changes(run(1, 1), run(1, 1)))
    assert "times as long" not in again and "0 changed beyond noise" in again
    few = changed.changes(run(1, 1)[:7], run(0.8, 0.8)[:7])  # too few to know the machine from the systems
    assert {c.word for c in few} == {changed.BETTER}
    elsewhere = [row("rtf", 0.05, (0.04, 0.06), variant=f"v{i}", host=OTHER) for i in range(9)]
    assert {c.word for c in changed.changes(run(1, 1)[:9], elsewhere)} == {changed.OTHER_HOST}


def test_times_are_compared_no_closer_than_they_scatter_and_each_notebook_in_its_own_pace():
    """Ratios of 0.9 to 1.1 in one notebook and half of that in another, with intervals of 2 %: the hour, no system."""

    def run(factor, notebook):
        return [
            row("rtf", 0.1 * f, (0.098 * f, 0.102 * f), variant=f"v{i}", notebook=notebook)
            for i, f in enumerate(factor * (1 + 0.025 * (i - 4)) for i in range(9))
        ]

    steady = [0.1 * one for one in (1,) * 9]
    before = [row("rtf", v, (0.98 * v, 1.02 * v), variant=f"v{i}") for i, v in enumerate(steady)]
    before += [dataclasses.replace(one, notebook="04_pruning_quantization") for one in before]
    after = run(1.0, "01_baselines") + run(0.5, "04_pruning_quantization")
    found = changed.changes(before, after)
    assert {c.word for c in found} <= {changed.NOISE, changed.SAME}
    assert {round(c.pace.factor, 3) for c in found} == {0.5, 1.0}
    assert all(0.05 < c.pace.scatter < 0.1 for c in found)
    assert "takes 0.50 to 1.00 times as long" in changed.finding(found)
    twice = [
        dataclasses.replace(one, value=2 * one.value, ci_low=2 * one.ci_low, ci_high=2 * one.ci_high)
        for one in after
    ]
    (worse,) = [c for c in changed.changes(before, after[:-1] + twice[-1:]) if c.word in changed.BEYOND]
    assert worse.variant == "v8" and worse.word == changed.WORSE  # beyond what the others scatter


def test_what_no_clock_took_knows_no_pace():
    simulated = row("latency_ms_p50", 25.7, kind="simulated", target="vela")
    rtf = [row("rtf", 0.1, (0.09, 0.11), variant=f"v{i}") for i in range(9)]
    faster = [row("rtf", 0.05, (0.045, 0.055), variant=f"v{i}") for i in range(9)]
    found = {c.metric: c for c in changed.changes([*rtf, simulated], [*faster, simulated])}
    assert found["latency_ms_p50"].word == changed.SAME and found["latency_ms_p50"].difference == 0
    assert found["rtf"].pace.factor == pytest.approx(0.5)


def test_another_instrument_or_kind_does_not_compare():
    old = row("wer", 0.1, (0.05, 0.15), source="whisper-tiny.en 1")
    assert (
        only([old], [row("wer", 0.3, (0.2, 0.4), source="whisper-tiny.en 2")]).word == changed.OTHER_INSTRUMENT
    )
    joules = row("energy_j_per_audio_s", 1.0, (0.9, 1.1), kind="estimated")
    assert only([joules], [row("energy_j_per_audio_s", 1.0, (0.9, 1.1))]).word == changed.OTHER_KIND


def test_without_an_interval_nobody_knows_whether_it_is_noise():
    found = only([row("cold_start_s", 1.0)], [row("cold_start_s", 2.0)])
    assert found.word == changed.NO_INTERVAL and found.difference == 1.0 and found.p_value is None


def test_what_one_side_lacks_is_said():
    missing = row("rtf", None)
    found = changed.changes([row(), row("rtf", 0.1)], [missing, row(variant="int8-dynamic")])
    assert [(c.variant, c.metric, c.word) for c in found] == [
        ("baseline", "mos_predicted", changed.ONLY_BEFORE),
        ("int8-dynamic", "mos_predicted", changed.ONLY_AFTER),
        ("baseline", "rtf", changed.NOT_RUN),
    ]
    shown = changed.table(found).reset_index()
    assert (
        shown["this run"].tolist()[0] == "absent" and shown["this run"].tolist()[2] == "not run: no CUDA device"
    )
    said = changed.finding(found)
    assert said.startswith("Of 0 numbers") and "1 only in this run" in said and "1 not run on a side" in said
    assert only([missing], [missing]).word == changed.SAME
    assert only([], [missing]).word == only([missing], []).word == changed.NOT_RUN


def test_what_changed_comes_first_with_its_numbers_in_words():
    before = [row("wer", 0.1, (0.09, 0.11)), row(value=4.0, ci=(3.9, 4.1)), row("size_mb", 10.0)]
    after = [
        row("wer", 0.2, (0.19, 0.21), commit="bbbb"),
        row(value=4.01, ci=(3.9, 4.1), commit="bbbb"),
        row("size_mb", 9.0, commit="bbbb"),
    ]
    found = changed.changes(before, after)
    assert [c.word for c in found] == [changed.WORSE, changed.BETTER, changed.NOISE]
    said = changed.finding(found)
    assert said.startswith(
        "Of 3 numbers that both runs have and that compare, 2 changed beyond noise (1 for the better"
    )
    assert "hibari baseline on onnxruntime/cpu: WER, normalised +10.0 points [+8.6, +11.4], worse" in said
    lines = changed.table(found)
    assert (
        len(lines) == 2 and list(lines["this commit"]) == ["bbbb", "bbbb"] and lines["p"].iloc[0] == "p < 0.001"
    )
    assert len(changed.table(found, everything=True)) == 3
    origin = changed.origins(before, after)
    assert f"3 rows of {HOST}, commit aaaa, 2026-11-22" in origin and "commit bbbb" in origin
    assert "whatever differs is noise" in changed.origins(before, before) and "noise" not in origin
    assert changed.finding([]) == "Neither run holds a number."


def test_a_number_of_several_recordings_is_its_newest_and_published_ones_are_left_out():
    old = row(value=1.0, notebook="01_baselines@quick@aaaa", time="2026-11-01T00:00:00+00:00")
    new = row(value=2.0, notebook="01_baselines@quick@bbbb", time="2026-11-02T00:00:00+00:00")
    gone = row(
        None or "mos_predicted", None, notebook="01_baselines@quick@cccc", time="2026-11-03T00:00:00+00:00"
    )
    found = only([new, gone, old], [row(value=2.0)])
    assert found.word == changed.SAME and found.before.value == 2.0
    assert changed.changes([row(kind="published", source="a paper")], []) == []


def test_a_run_is_read_from_its_folder_and_none_is_an_error(tmp_path):
    run = results.Run("01_baselines", tmp_path / "quick")
    run.add("hibari", "baseline", "onnxruntime/cpu", "rtf", 0.1, n=8, ci=(0.09, 0.11))
    for folder in (tmp_path / "quick", tmp_path / "quick" / "results"):
        assert [(r.system, r.value, r.ci_low) for r in changed.read(folder)] == [("hibari", 0.1, 0.09)]
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(MissingDataError, match="name the folder of another run"):
            changed.read(folder)
