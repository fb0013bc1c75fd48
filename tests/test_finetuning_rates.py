"""Learning rates: chosen on validation, kept in the rows, taken over by a run that does not search."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pandas as pd
import pytest

from lib import results
from lib.errors import DivergedError, MissingDataError, StoppedError
from lib.report import finetuning as charts
from lib.studies import finetuning, rates, trials
from lib.studies.finetuning import Trained
from lib.studies.rates import Choice
from lib.studies.trials import Trial

PLANNED = trials.main_effects(["full", "lora"], [2, 8], [1.0, 0.0], [0, 1], steps=300)
FULL, LORA, LITTLE = (("fastspeech2", name) for name in ("full", "lora", "lora-r2"))


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """What is trained, without training: the higher the rate, the lower the loss; full's highest rate diverges."""
    asked = []

    def trained(trial, folder):
        asked.append((trial.variant, trial.rate, trial.steps, trial.seed, folder))
        if trial.method == "full" and trial.rate == max(trials.TRIED["full"]):
            raise DivergedError("the loss is not a number")
        return Trained(tmp_path, dict.fromkeys(NUMBERS, 1.0), 0.0, 9, 60.0, {"mel": 1 / (1 + trial.rate)})

    monkeypatch.setattr(finetuning, "trained", trained)
    return asked


NUMBERS = ("trainable_params_pct", "adapter_mb", "train_peak_rss_mb", "train_steps_per_s", "train_loss")


def test_the_rate_of_the_lowest_loss_on_validation_is_taken_for_every_training_of_a_method(seen, tmp_path):
    made, choices = rates.chosen(PLANNED, tmp_path, 20)
    assert [(what, rate) for what, rate, *_ in seen] == [
        *(("full@prompts", rate) for rate in trials.TRIED["full"]),
        *(("lora-r8@prompts", rate) for rate in (*trials.TRIED["lora"], 3e-2)),
        *(("lora-r2@prompts", rate) for rate in (*trials.TRIED["lora"], 3e-2)),  # a search of its own
    ]
    assert {(steps, seed) for *_, steps, seed, _ in seen} == {(20, 0)}
    assert all(folder == tmp_path / "search" / f"{rate:g}" for _, rate, *_, folder in seen)
    full, lora = choices[FULL], choices[LORA]
    assert full.rate == sorted(trials.TRIED["full"])[-2] and math.isinf(full.losses[max(trials.TRIED["full"])])
    assert lora.rate == 3e-2 and lora.at_the_edge and not full.at_the_edge
    assert {t.rate for t in made if t.method == "full"} == {full.rate}
    assert {t.rate for t in made if t.learner == LORA} == {lora.rate}
    assert {t.rate for t in made if t.learner == LITTLE} == {choices[LITTLE].rate}
    assert [(t.variant, t.steps) for t in made] == [(t.variant, 300) for t in PLANNED]
    (said,) = rates.told(choices)
    count = len(trials.TRIED["full"]) + 2 * (len(trials.TRIED["lora"]) + 1)
    assert f"chosen of {count} short trainings (20 steps, one seed, on prompts)" in said
    assert "(failed)" in said and said.count("the edge of what was tried") == 2
    assert "The test split was not looked at." in said and "; lora-r2 0.03 of" in said
    drawn = [line.get_label() for line in charts.rates(choices).axes[0].lines]
    assert drawn[::2] == ["full", "lora", "lora-r2"]


def test_what_learns_little_has_a_rate_of_its_own(monkeypatch, tmp_path):
    best = {"lora-r8": 2e-3, "lora-r2": 1e-2}

    def trained(trial, folder):
        return SimpleNamespace(losses={"mel": abs(math.log(trial.rate / best[trial.adapter.label]))})

    monkeypatch.setattr(finetuning, "trained", trained)
    planned = trials.main_effects(["lora"], [2, 8, 32], [0.0], [0, 1], [["linear"]])
    made, choices = rates.chosen(planned, tmp_path, 20)
    assert {name: choice.rate for (_, name), choice in choices.items()} == {"lora": 2e-3, "lora-r2": 1e-2}
    assert {t.variant: t.rate for t in made} == {
        "lora-r8@prompts": 2e-3,
        "lora-r2@prompts": 1e-2,
        "lora-r32@prompts": 2e-3,
        "lora-r8+linear@prompts": 2e-3,
        "lora-r2@prompts-s1": 1e-2,
    }
    assert "larger ranks, other layers, less data, other seeds) was not searched for" in rates.told(choices)[0]


def test_what_was_chosen_stands_in_the_rows_and_a_run_without_a_search_takes_it(seen, tmp_path):
    made, choices = rates.chosen(PLANNED, tmp_path, 20)
    run = results.Run("03_finetuning", tmp_path)
    finetuning.try_all(run, made, tmp_path, {who: choice.about for who, choice in choices.items()})
    earlier, asked = results.read(run.path), len(seen)
    speaker = Trial("speaker", steps=300)
    taken, found = rates.chosen([*PLANNED, speaker], tmp_path, 0, earlier)
    assert len(seen) == asked  # nothing is trained for it
    assert found[LORA].by == rates.RECORDED and found[LORA].rate == choices[LORA].rate
    assert (found[LITTLE].name, found[LITTLE].rate) == ("lora-r2", choices[LITTLE].rate)
    assert found[FULL].losses == {rate: round(loss, 4) for rate, loss in choices[FULL].losses.items()}
    assert math.isinf(found[FULL].losses[max(trials.TRIED["full"])]) and not found[FULL].at_the_edge
    assert {t.rate for t in taken if t.method == "full"} == {choices[FULL].rate}
    said = rates.told(found)
    assert "by a recorded run, none was searched for here" in said[0] and "0.003 (failed)" in said[0]
    assert said[1].endswith(f"the usual ones: speaker {trials.RATES['speaker']:g}.")
    # A run that took rates over says whose they are, and is no search that another could take them from.
    second = results.Run("03_finetuning_again", tmp_path)
    finetuning.try_all(second, taken, tmp_path, {who: choice.about for who, choice in found.items()})
    assert rates.recorded(results.read(second.path), ["fastspeech2"]) == {}


def test_the_longer_search_is_taken_though_a_shorter_one_is_newer(seen, tmp_path, monkeypatch):
    kept = []
    for number, steps in enumerate((200, 20)):
        made, choices = rates.chosen(PLANNED, tmp_path / str(steps), steps)
        run = results.Run(f"03_finetuning_{number}", tmp_path)
        finetuning.try_all(run, made, tmp_path / str(steps), {who: one.about for who, one in choices.items()})
        kept.append(results.read(run.path).assign(time=f"2026-11-2{number}T00:00:00+00:00"))
    table = pd.concat(kept, ignore_index=True)
    assert {one.steps for one in rates.recorded(table, ["fastspeech2"]).values()} == {200}
    alike = table.assign(detail=table.detail.str.replace('"search_steps": 200', '"search_steps": 30'))
    assert {one.steps for one in rates.recorded(alike, ["fastspeech2"]).values()} == {20}, "as much: the newest"


def test_without_a_search_or_a_recorded_one_the_usual_rates_stay_and_that_is_said(seen, tmp_path):
    made, choices = rates.chosen(PLANNED, tmp_path, 0, results.read())
    assert not seen and {t.rate for t in made} == {trials.RATES["full"], trials.RATES["lora"]}
    (said,) = rates.told(choices)
    assert (
        "No search, here or in a recorded run, found a learning rate; the usual ones: full 0.001, lora" in said
    )
    assert charts.rates(choices) is None and rates.told({}) == []


def test_a_voice_that_cannot_be_had_ends_no_search(monkeypatch, tmp_path):
    def nothing(trial, folder):
        raise MissingDataError("no apt here")

    monkeypatch.setattr(finetuning, "trained", nothing)
    _, choices = rates.chosen(PLANNED, tmp_path, 20)
    assert choices[FULL] == Choice(*FULL, trials.RATES["full"])


@pytest.mark.parametrize("method", trials.TRIED)
@pytest.mark.parametrize(("where", "asked"), [("low", 4), ("middle", 3), ("high", 4)])
def test_where_the_best_lies_at_the_edge_one_more_is_tried_beyond_it_of_every_method(
    monkeypatch, tmp_path, method, where, asked
):
    grid = trials.TRIED[method]
    best = {"low": min(grid) / 10, "middle": grid[1], "high": 10 * max(grid)}[where]

    def trained(trial, folder):
        return SimpleNamespace(losses={"mel": abs(math.log(trial.rate / best))})

    monkeypatch.setattr(finetuning, "trained", trained)
    choice = rates.chosen([Trial(method)], tmp_path, 20)[1]["fastspeech2", method]
    assert len(choice.losses) == asked and list(choice.losses)[:3] == list(grid)
    assert choice.rate == {"low": min, "middle": lambda tried: grid[1], "high": max}[where](choice.losses)
    if where != "middle":
        edge = min(grid) if where == "low" else max(grid)
        assert 2.5 < max(choice.rate / edge, edge / choice.rate) < 3.5


@pytest.fixture
def children(monkeypatch):
    """What the fresh processes are asked for, and what they do: the highest rate of full diverges, 0.002 is killed."""
    asked, ends = [], {3e-3: DivergedError("nan at step 2"), 2e-3: StoppedError("ended by signal 9")}

    def call(_, arguments, **__):
        rate = arguments["trial"]["learning_rate"]
        asked.append(rate)
        if rate in ends:
            raise ends[rate]
        raise MissingDataError("gone")

    def trained(trial, folder, real=finetuning.trained):
        if trial.rate in ends:
            return real(trial, folder)
        return SimpleNamespace(losses={"mel": trial.rate})

    monkeypatch.setattr(finetuning.process, "call", call)
    monkeypatch.setattr(finetuning, "prepare", lambda trial: None)
    monkeypatch.setattr(finetuning, "learnt_from", lambda trial: "these clips")
    monkeypatch.setattr(finetuning, "trained", trained)
    return asked


def test_a_rate_that_diverged_is_read_back_as_that_when_the_search_resumes(children, tmp_path):
    for _ in range(2):
        choice = rates.chosen([Trial("full")], tmp_path, 20)[1][FULL]
        assert math.isinf(choice.losses[3e-3]) and choice.rate == 1e-4
    assert children == [3e-3]  # once
    run = results.Run("03_finetuning", tmp_path)
    finetuning.try_all(run, [Trial("full", learning_rate=3e-3, steps=20)], tmp_path / "search" / "0.003")
    (row,) = results.read(run.path).itertuples()
    assert "nan at step 2" in row.detail and "to train anew" in row.detail and children == [3e-3]


def test_a_training_that_was_killed_ends_the_search_and_is_no_result(children, tmp_path):
    for _ in range(2):
        with pytest.raises(
            StoppedError,
            match=r"search .* ended at lora-r8@prompts with a rate of 0.002.*signal 9.*goes on there",
        ):
            rates.chosen([Trial("lora")], tmp_path, 20)
    assert children == [2e-3, 2e-3]  # asked again, for nothing is known of it
