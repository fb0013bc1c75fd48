"""What diffusion gives beside the regression it is conditioned on: who is compared with whom, and what rows say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lib import results, systems
from lib.errors import ParameterError
from lib.measure import evaluate
from lib.studies import mended, smoothness, students

END = mended.way("hibari", "istft")


def rows(folder, n=100, gain=0.4, low=0.3, high=0.5, lacking=(-1.1, -0.9), moved=None):
    """Copies 4.0, the regression 3.0, diffusion 3.0 + gain, of one voice through one vocoder."""
    run = results.Run("05_distillation", folder)
    run.add("istft", "copies@hibari", "torch/cpu", "mos_predicted", 4.0, n=n)
    told = {"difference": -1.0, "ci_low": lacking[0], "ci_high": lacking[1], "p_value": 0.002}
    gained = {"difference": gain, "ci_low": low, "ci_high": high, "p_value": 0.01}
    lost = {"difference": 0.02, "ci_low": -0.1, "ci_high": 0.1, "p_value": 0.7}
    for system, variant, metric, value, baseline, detail in (
        ("fastspeech2", f"front{END}", "mos_predicted", 3.0, "copies", told),
        ("tortoise", f"converged{END}", "mos_predicted", 3.0 + gain, "fastspeech2", gained),
        ("tortoise", f"converged{END}", "asr_nll", 0.5, "fastspeech2", lost),
        ("tortoise", f"converged{END}", "nfe", 64, "", {"temperature": 0.5}),
    ):
        run.add(system, variant, "torch/cpu", metric, value, n=n, baseline=baseline, detail=detail)
    for metric, values in (moved or {}).items():
        for system, variant, value in zip(("fastspeech2", "tortoise"), (f"front{END}", f"converged{END}"), values):
            run.add(system, variant, "torch/cpu", metric, value, n=n, ci=(value - 0.02, value + 0.02))
    return results.read(run.path)


def test_a_line_holds_what_was_measured_of_the_three(tmp_path):
    line = mended.table(rows(tmp_path)).iloc[0]
    assert (line.voice, line.vocoder, line.sentences, line.temperature) == ("hibari", "istft", 100, 0.5)
    assert (line.copies, line.regression, line.diffusion, line.lacking) == (4.0, 3.0, 3.4, 0.9)
    assert (line.difference, line.ci_low, line.ci_high, line.asr_nll) == (0.4, 0.3, 0.5, 0.02)


@pytest.mark.parametrize(
    "measured, words, share",
    [
        ({}, "better (+0.40 [+0.30, +0.50], 100 sentences), 40 % of what it lacked", True),
        ({"lacking": (-0.2, 0.1)}, "better (+0.40 [+0.30, +0.50], 100 sentences)", False),
        ({"gain": -0.4, "low": -0.5, "high": -0.3}, "worse (-0.40", False),
        ({"gain": 0.1, "low": -0.1, "high": 0.3}, "no different, as far as can be told (+0.10", False),
        ({"n": 3}, "(3 sentences, which decide nothing)", False),
    ],
)
def test_the_finding_says_no_more_than_the_intervals_do(tmp_path, measured, words, share):
    said = mended.finding(mended.table(rows(tmp_path, **measured)))
    assert said.startswith("From noise of temperature 0.5")
    assert "hibari through istft: copies have a predicted MOS of 4.00, the regression 3.00" in said
    assert words in said and ("of what it lacked" in said) == share


def test_all_lines_are_of_the_run_that_was_measured_last_whatever_its_file_is_called(tmp_path):
    """Files are read by name; of the older run nothing is left, nor of its copies."""
    older, newer = rows(tmp_path / "a", gain=0.1), rows(tmp_path / "b")
    older = older.assign(commit="fff", time="2026-11-20T00:00:00+00:00")
    newer = newer.assign(commit="000", time="2026-11-23T00:00:00+00:00")
    older.loc[older.variant == "copies@hibari", "value"] = 1.0
    found = mended.table(results.frame([*newer.to_dict("records"), *older.to_dict("records")]))
    assert found.diffusion.tolist() == [3.4] and found.copies.tolist() == [4.0]


def test_how_much_is_moved_is_told_and_nearer_is_what_no_interval_leaves_open(tmp_path):
    moved = {"global_variance": (0.9, 0.92), "fast_modulation": (0.6, 0.7), "spectral_contrast": (0.98, 1.1)}
    made = rows(tmp_path, moved=moved)
    assert mended.moves(made) == (
        "Of what copies move (1), from the regression to diffusion: hibari through istft: global variance 0.90 to "
        "0.92, contrast 0.98 to 1.10, fast modulation 0.60 to 0.70, nearer for sure in fast modulation."
    )
    earlier = made.assign(recorded=True)
    assert mended.moves(earlier).startswith("Recorded 20") and "(recorded 20" in mended.finding(mended.table(earlier))
    assert mended.moves(rows(tmp_path / "bare")) is None and mended.moves(results.read()) is None


def test_nothing_is_said_of_nothing_and_an_unknown_voice_is_refused(tmp_path):
    assert mended.finding(mended.table(results.read())) is None
    run = results.Run("05_distillation", tmp_path)
    with pytest.raises(ParameterError, match="voice that the decoder has learnt"):
        mended.measure(run, [["flite-slt", "istft"]], [], None)
    mended.measure(run, [], [], None)
    assert not run.path.exists()


def test_each_is_paired_with_the_one_before_and_the_rows_are_found_again(tmp_path, monkeypatch):
    """Judges and texture are stood in for; the systems are the real ones, and the regression is the teacher's own."""
    run, calls = results.Run("05_distillation", tmp_path), []

    def quality(run, names, clips, scorer, *, baseline=None, baseline_name="", **_):
        calls.append((names[0], baseline and baseline.names[0], baseline_name, len(clips)))
        told = dict.fromkeys(("difference", "ci_low", "ci_high", "p_value"), 0.5)
        for metric in ("mos_predicted", "asr_nll"):
            run.add(*names, metric, 3.0, n=8, baseline=baseline_name, detail=told if baseline else None)
        return SimpleNamespace(names=names)

    monkeypatch.setattr(evaluate, "quality", quality)
    monkeypatch.setattr(smoothness, "textures", lambda run, heard, end: calls.append((sorted(heard), end)))
    sentences = [SimpleNamespace(id="a", text="A dog ran home.")]
    mended.measure(run, [["hibari", "griffin-lim"]], sentences, None, threads=1)
    assert calls == [
        ("griffin-lim", None, "", 1),
        ("fastspeech2", "griffin-lim", "copies", 1),
        ("tortoise", "fastspeech2", "fastspeech2", 1),
        (["converged", "fastspeech2", "the voice itself"], "-by-griffin-lim@hibari"),
    ]
    line = mended.table(results.read(run.path)).iloc[0]
    assert (line.voice, line.vocoder, line.regression, line.difference) == ("hibari", "griffin-lim", 3.0, 0.5)


def test_the_regression_speaks_with_the_network_that_diffusion_is_conditioned_on():
    """The fastspeech2 of today has learnt on: it is not what diffusion was given, and would be the wrong baseline."""
    teacher = students.load(threads=1).adjusted(variant="elsewhere", speaker="hibari", vocoder="griffin-lim")
    own = smoothness.regression(teacher)
    assert (own.speaker, own.vocoder.name) == ("hibari", "griffin-lim")
    front = teacher.modules["front"].state_dict()
    held = own.modules["acoustic_model"].state_dict()
    assert front.keys() == held.keys() and all(np.array_equal(front[name], held[name]) for name in front)
    assert own.modules["acoustic_model"] is not teacher.modules["front"]
    assert own.fingerprint() != systems.load("fastspeech2", threads=1, speaker="hibari").fingerprint()
    latents, _ = teacher.said("A dog ran home.")
    assert sum(own.speak("A dog ran home.", 0).frames) == latents.shape[1]
