"""The study of fine-tuning: which trials it makes, and what is said of rows whose answer is known."""

from __future__ import annotations

import pytest

from lib import results
from lib.report import finetuning as charts
from lib.studies import finetuned, finetuning
from lib.studies.finetuning import Trained, Trial


def test_trials_are_main_effects_each_once_and_full_comes_first():
    made = finetuning.trials(["lora", "full", "speaker"], [2, 8], [1.0, 0.0], [0, 1], steps=5)
    names = [trial.variant for trial in made]
    assert names == [
        "full@prompts",
        "lora-r8@prompts",
        "speaker@prompts",
        "lora-r2@prompts",
        "full@prompts-1min",
        "lora-r8@prompts-1min",
        "speaker@prompts-1min",
        "full@prompts-s1",
        "lora-r8@prompts-s1",
    ]
    assert all(trial.steps == 5 for trial in made)
    assert [t.variant for t in finetuning.trials(["lora"], [2], [0.5], [0])] == ["lora-r2@prompts-0.5min"]


def test_a_name_says_what_differs():
    assert Trial("lora", modules=("attention",)).variant == "lora-r8+attention@prompts"
    assert Trial("qlora", 4, minutes=3.0, seed=2, voice="flite-slt").variant == "qlora-r4@flite-slt-3min-s2"
    assert Trial("full").rate == finetuning.RATES["full"] and Trial("full", learning_rate=1e-4).rate == 1e-4
    assert Trial("dora", 4).adapter.alpha == 8


def measured(tmp_path, name="03_finetuning", scale=1.0):
    """Rows of a run whose full fine-tuning is best, whose lora of rank 2 is as near, and whose speaker row is not."""
    run = results.Run(name, tmp_path)
    for system, value in (("ground-truth", 0.95), ("istft", 0.9), ("fastspeech2", 0.5)):
        run.add(system, "baseline@prompts", "torch/cpu", "speaker_similarity", value)
    cases = (
        (Trial("full"), 100.0, 12.2, 0.8, None, 90.0, 2.0),
        (Trial("lora", 2), 1.5, 0.18, 0.8 * scale, (-0.01, -0.018, -0.002), 45.0, 1.0),
        (Trial("lora", 8), 6.0, 0.74, 0.79, (-0.01, -0.03, 0.01), 50.0, 1.0),
        (Trial("qlora", 8), 6.0, 0.74, 0.78, (-0.02, -0.05, 0.01), 60.0, 0.5),
        (Trial("speaker"), 0.01, 0.001, 0.6, (-0.2, -0.25, -0.15), 30.0, 2.0),
        (Trial("full", minutes=1.0), 100.0, 12.2, 0.7, None, 90.0, 2.0),
        (Trial("lora", 8, minutes=1.0), 6.0, 0.74, 0.72, (0.02, 0.0, 0.04), 50.0, 1.0),
    )
    for trial, share, size, similarity, paired, added, speed in cases:
        numbers = {
            "trainable_params_pct": share,
            "adapter_mb": size,
            "peak_rss_mb": 500 + added,
            "train_steps_per_s": speed,
            "train_loss": 0.5,
        }
        minutes = trial.minutes or 18.0
        made = Trained(tmp_path / "adapter", numbers, added, 10, 60 * minutes, {"mel": 0.3})
        finetuning.write(run, trial, made)
        names = ("fastspeech2", trial.variant, "torch/cpu")
        detail = dict(zip(("difference", "ci_low", "ci_high"), paired)) if paired else ""
        baseline = f"full@{trial.data}" if paired else "baseline@prompts"
        run.add(
            *names,
            "speaker_similarity",
            similarity,
            ci=(similarity - 0.02, similarity + 0.02),
            baseline=baseline,
            detail=detail,
        )
        run.add(*names, "wer", 0.05)
        run.add(*names, "mos_predicted", 3.5)
    return run, results.read(run.path)


@pytest.fixture
def told(tmp_path):
    _, table = measured(tmp_path)
    return (
        table,
        finetuned.lines(table, "fastspeech2", "prompts"),
        finetuned.ends(table, "fastspeech2", "prompts"),
    )


def test_lines_hold_what_was_measured(told):
    _, found, known = told
    assert len(found) == 7 and found.loc["lora-r2@prompts"].adapter_mb == 0.18
    assert found.loc["speaker@prompts"].high == -0.15 and found.loc["full@prompts"].added_mb == 90
    assert known == {"recordings": 0.95, "copy": 0.9, "unadapted": 0.5}
    assert list(finetuned.most_data(found).index) == [
        "full@prompts",
        "lora-r2@prompts",
        "lora-r8@prompts",
        "qlora-r8@prompts",
        "speaker@prompts",
    ]


def test_what_is_said_follows_from_the_rows(told):
    _, found, known = told
    said = finetuned.against_full(found)
    assert "lora-r2@prompts (1.5 % of the parameters) -0.010 [-0.018, -0.002], as near" in said
    assert "speaker@prompts (0.01 % of the parameters) -0.200 [-0.250, -0.150], worse" in said
    assert "-0.010 [-0.030, +0.010], undecided" in said
    assert (
        "Reached: within 0.02 of full fine-tuning with at most 2 % of the parameters: lora-r2@prompts." in said
    )
    near = finetuned.nearness(found, known)
    assert "0.50 for the base as it is, 0.80 for full@prompts" in near and "75 % of the way" in near
    assert "Reached: a gain of +0.30" in near
    assert finetuned.recommended(found).startswith(
        "**Take lora-r2@prompts**: 0.18 MB and 1.5 % of the parameters"
    )
    assert "full 0.70 with 1.0 minutes, 0.80 with 18.0" in finetuned.over_minutes(found)
    assert "lora of rank 8 0.72 with 1.0 minutes, 0.79 with 18.0" in finetuned.over_minutes(found)
    assert "lora-r2@prompts 45 MB (0.50) and 2.00 times the time" in finetuned.costs(found)
    assert finetuned.quantized(found).startswith("QLoRA's process peaked at 560 MB, LoRA's at 550: no less.")


def test_a_missed_floor_is_called_missed(tmp_path):
    _, table = measured(tmp_path, scale=0.9)
    found = finetuned.lines(table, "fastspeech2", "prompts")
    assert finetuned.recommended(found).startswith("**Take lora-r8@prompts**")
    low = found.assign(low=-0.3)
    assert "Missed: within 0.02 of full" in finetuned.against_full(low)
    assert "Missed: a gain of +0.30" not in finetuned.nearness(found, {"copy": 0.9, "unadapted": 0.5})
    assert "Missed: a gain of +0.10" in finetuned.nearness(found, {"copy": 0.9, "unadapted": 0.7})


def test_of_nothing_nothing_is_said():
    empty = finetuned.lines(results.read(), "fastspeech2", "prompts")
    known = finetuned.ends(results.read(), "fastspeech2", "prompts")
    assert known == {} and finetuned.newest(results.read(), "fastspeech2", "prompts").empty
    for say in (
        finetuned.against_full,
        finetuned.over_minutes,
        finetuned.costs,
        finetuned.quantized,
        finetuned.recommended,
    ):
        assert say(empty) is None
    assert finetuned.nearness(empty, known) is None
    assert charts.over_share(empty, known) is None and charts.over_minutes(empty, known) is None
    assert charts.costs(empty) is None


def test_pictures_show_every_trial(told):
    _, found, known = told
    share = charts.over_share(found, known, title="t")
    assert {text.get_text() for text in share.axes[0].texts} >= {"full", "lora-r2", "speaker", "base as it is"}
    minutes = charts.over_minutes(found, known)
    assert {line.get_label() for line in minutes.axes[1].lines} == {"full", "lora"}
    assert len(charts.costs(found).axes[0].patches) == 5


def test_the_newest_run_alone_is_shown(tmp_path):
    measured(tmp_path, "03_finetuning@study@a")
    _, table = measured(tmp_path, "03_finetuning@study@b", scale=0.5)
    both = results.read(tmp_path / "results")
    shown = finetuned.newest(both, "fastspeech2", "prompts")
    assert shown.notebook.nunique() == 1 and len(shown) == len(table)
    assert finetuned.newest(both, "speecht5", "prompts").empty


def test_shares_are_counted_without_training():
    table = finetuning.shares("fastspeech2", ["full", "lora", "speaker"], [2, 8])
    assert list(table.index) == ["full", "lora-r2", "lora-r8", "speaker"]
    assert (
        float(table.loc["full", "of the base's, %"]) > 99
        and float(table.loc["lora-r2", "of the base's, %"]) < 2
    )
