"""What diffusion gives beside the regression it is conditioned on, told from rows."""

from __future__ import annotations

import pytest

from lib import results
from lib.errors import ParameterError
from lib.studies import mended


def rows(folder, n=100, gain=0.4, low=0.3, high=0.5):
    """Copies 4.0, the regression 3.0, diffusion 3.0 + gain, of one voice through one vocoder."""
    run = results.Run("05_distillation", folder)
    end = mended.way("hibari", "istft")
    run.add("istft", "copies@hibari", "torch/cpu", "mos_predicted", 4.0, n=n)
    told = {"difference": -1.0, "ci_low": -1.1, "ci_high": -0.9, "p_value": 0.002}
    run.add(
        "fastspeech2", f"baseline{end}", "torch/cpu", "mos_predicted", 3.0, n=n, baseline="copies", detail=told
    )
    gained = {"difference": gain, "ci_low": low, "ci_high": high, "p_value": 0.01}
    for metric, value, detail in (
        ("mos_predicted", 3.0 + gain, gained),
        ("asr_nll", 0.5, {"difference": 0.02}),
    ):
        run.add(
            "tortoise",
            f"converged{end}",
            "torch/cpu",
            metric,
            value,
            n=n,
            baseline="fastspeech2",
            detail=detail,
        )
    return results.read(run.path)


def test_a_line_holds_what_was_measured_of_the_three(tmp_path):
    line = mended.table(rows(tmp_path)).iloc[0]
    assert (line.voice, line.vocoder, line.sentences) == ("hibari", "istft", 100)
    assert (line.copies, line.regression, line.diffusion) == (4.0, 3.0, 3.4)
    assert (line.difference, line.ci_low, line.ci_high, line.asr_nll) == (0.4, 0.3, 0.5, 0.02)


@pytest.mark.parametrize(
    "measured, words",
    [
        ({}, "better by +0.40 [+0.30, +0.50], 40 % of what it lacked"),
        ({"gain": -0.4, "low": -0.5, "high": -0.3}, "worse by -0.40"),
        ({"gain": 0.1, "low": -0.1, "high": 0.3}, "no different, as far as can be told, by +0.10"),
        ({"n": 3}, "(3 sentences, which decide nothing)"),
    ],
)
def test_the_finding_says_better_only_where_the_interval_does(tmp_path, measured, words):
    said = mended.finding(mended.table(rows(tmp_path, **measured)))
    assert "hibari through istft: copies have a predicted MOS of 4.00, the regression 3.00" in said
    assert words in said
    assert ("of what it lacked" in said) == (measured == {})


def test_nothing_is_said_of_nothing_and_an_unknown_voice_is_refused(tmp_path):
    assert mended.finding(mended.table(results.read())) is None
    run = results.Run("05_distillation", tmp_path)
    with pytest.raises(ParameterError, match="voice that the decoder has learnt"):
        mended.measure(run, [["flite-slt", "istft"]], [], None)
    mended.measure(run, [], [], None)
    assert not run.path.exists()
