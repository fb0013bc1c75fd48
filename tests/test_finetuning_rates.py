"""Learning rates: chosen on validation, kept in the rows, taken over by a run that does not search."""

from __future__ import annotations

import math

import pytest

from lib import results
from lib.errors import SpeechError
from lib.report import finetuning as charts
from lib.studies import finetuning, rates, trials
from lib.studies.finetuning import Trained
from lib.studies.rates import Choice
from lib.studies.trials import Trial

PLANNED = trials.main_effects(["full", "lora"], [2, 8], [1.0, 0.0], [0, 1], steps=300)
FULL, LORA = ("fastspeech2", "full"), ("fastspeech2", "lora")


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """What is trained, without training: lora's lowest loss is at its highest rate, full's highest rate diverges."""
    asked = []

    def trained(trial, folder):
        asked.append((trial.variant, trial.rate, trial.steps, trial.seed, folder))
        if trial.method == "full" and trial.rate == max(trials.TRIED["full"]):
            raise SpeechError("the loss is not a number")
        return Trained(tmp_path, dict.fromkeys(NUMBERS, 1.0), 0.0, 9, 60.0, {"mel": 1 / (1 + trial.rate)})

    monkeypatch.setattr(finetuning, "trained", trained)
    return asked


NUMBERS = ("trainable_params_pct", "adapter_mb", "peak_rss_mb", "train_steps_per_s", "train_loss")


def test_the_rate_of_the_lowest_loss_on_validation_is_taken_for_every_training_of_a_method(seen, tmp_path):
    made, choices = rates.chosen(PLANNED, tmp_path, 20)
    assert [(what, rate) for what, rate, *_ in seen] == [
        *(("full@prompts", rate) for rate in trials.TRIED["full"]),
        *(("lora-r8@prompts", rate) for rate in trials.TRIED["lora"]),
    ]
    assert {(steps, seed) for *_, steps, seed, _ in seen} == {(20, 0)}
    assert all(folder == tmp_path / "search" / f"{rate:g}" for _, rate, *_, folder in seen)
    full, lora = choices[FULL], choices[LORA]
    assert full.rate == sorted(trials.TRIED["full"])[-2] and math.isinf(full.losses[max(trials.TRIED["full"])])
    assert lora.rate == max(trials.TRIED["lora"]) and lora.at_the_edge and not full.at_the_edge
    assert {t.rate for t in made if t.method == "full"} == {full.rate}
    assert {t.rate for t in made if t.method == "lora"} == {lora.rate}
    assert [(t.variant, t.steps) for t in made] == [(t.variant, 300) for t in PLANNED]
    (said,) = rates.told(choices)
    count = len(trials.TRIED["full"]) + len(trials.TRIED["lora"])
    assert f"chosen of {count} short trainings (20 steps, one seed, on prompts)" in said
    assert "(failed)" in said and said.count("the edge of what was tried") == 1
    assert "The test split was not looked at." in said
    assert [line.get_label() for line in charts.rates(choices).axes[0].lines][::2] == ["full", "lora"]


def test_what_was_chosen_stands_in_the_rows_and_a_run_without_a_search_takes_it(seen, tmp_path):
    made, choices = rates.chosen(PLANNED, tmp_path, 20)
    run = results.Run("03_finetuning", tmp_path)
    finetuning.try_all(run, made, tmp_path, {who: choice.about for who, choice in choices.items()})
    earlier, asked = results.read(run.path), len(seen)
    speaker = Trial("speaker", steps=300)
    taken, found = rates.chosen([*PLANNED, speaker], tmp_path, 0, earlier)
    assert len(seen) == asked  # nothing is trained for it
    assert found[LORA].by == rates.RECORDED and found[LORA].rate == choices[LORA].rate
    assert found[FULL].losses == {r: round(x, 4) for r, x in choices[FULL].losses.items() if math.isfinite(x)}
    assert {t.rate for t in taken if t.method == "full"} == {choices[FULL].rate}
    said = rates.told(found)
    assert "by a recorded run, none was searched for here" in said[0]
    assert said[1].endswith(f"the usual ones: speaker {trials.RATES['speaker']:g}.")
    # A run that took rates over says whose they are, and is no search that another could take them from.
    second = results.Run("03_finetuning_again", tmp_path)
    finetuning.try_all(second, taken, tmp_path, {who: choice.about for who, choice in found.items()})
    assert rates.recorded(results.read(second.path), ["fastspeech2"]) == {}


def test_without_a_search_or_a_recorded_one_the_usual_rates_stay_and_that_is_said(seen, tmp_path):
    made, choices = rates.chosen(PLANNED, tmp_path, 0, results.read())
    assert not seen and {t.rate for t in made} == {trials.RATES["full"], trials.RATES["lora"]}
    (said,) = rates.told(choices)
    assert "No learning rate was searched for here, nor in a recorded run" in said
    assert charts.rates(choices) is None and rates.told({}) == []


def test_a_voice_that_cannot_be_had_ends_no_search(monkeypatch, tmp_path):
    def nothing(trial, folder):
        raise SpeechError("no apt here")

    monkeypatch.setattr(finetuning, "trained", nothing)
    _, choices = rates.chosen(PLANNED, tmp_path, 20)
    assert choices[FULL] == Choice(*FULL, trials.RATES["full"])
