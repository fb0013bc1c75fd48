"""The study of fine-tuning: which trials it makes, and what is said of rows whose answer is known."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib import environment, params, results
from lib.corpora.base import Utterance
from lib.errors import TrainingError
from lib.optimize import new_voice, variant
from lib.optimize.adapter_layers import METHODS
from lib.report import finetuning as charts
from lib.studies import finetuned, finetuning, floors, floors_tuned, trials
from lib.studies.finetuned import Case
from lib.studies.finetuning import Trained
from lib.studies.floors import Number
from lib.studies.trials import Trial
from lib.training.tasks.fastspeech2 import AcousticConfig


def test_trials_are_main_effects_each_once_and_full_comes_first():
    made = trials.main_effects(["lora", "full", "speaker"], [2, 8], [1.0, 0.0], [0, 1], [["linear"]], steps=5)
    names = [trial.variant for trial in made]
    assert names == [
        "full@prompts",
        "lora-r8@prompts",
        "speaker@prompts",
        "lora-r2@prompts",
        "lora-r8+linear@prompts",
        "full@prompts-1min",
        "lora-r2@prompts-1min",
        "speaker@prompts-1min",
        "full@prompts-s1",
        "lora-r2@prompts-s1",
        "speaker@prompts-s1",
    ]
    assert all(trial.steps == 5 for trial in made)
    assert [t.variant for t in trials.main_effects(["lora"], [2], [0.5], [0])] == ["lora-r2@prompts-0.5min"]


def test_other_voices_are_asked_for_method_and_rank_alone():
    made = trials.planned(
        ["speecht5"], ["prompts", "flite-slt"], ["full", "lora"], [2, 8], [1.0, 0.0], [0, 1], steps=5
    )
    names = [trial.variant for trial in made if trial.voice == "flite-slt"]
    assert names == ["full@flite-slt", "lora-r8@flite-slt", "lora-r2@flite-slt"]
    assert {trial.variant for trial in made} >= {"full@prompts-s1", "lora-r2@prompts-1min"}
    said = trials.left_out(made)
    assert (
        said.startswith(f"{len(made)} trainings of 5 steps") and "on flite-slt all but method and rank" in said
    )
    assert "other seeds of all but full and lora-r2: of full" in said and trials.left_out(made[:1]) is None
    assert said.endswith("less data of all but full and lora-r2.")


@pytest.mark.parametrize("system", new_voice.SYSTEMS)
def test_of_what_could_meet_the_floor_all_seeds_and_minutes_are_asked_for(system):
    """The decision lies between full fine-tuning and what learns at most `SMALL` percent: no other can reach it."""
    given = params.load("study", params.find_notebook("03"))
    asked = [given[name] for name in ("methods", "ranks", "minutes", "seeds", "layers")]
    made = trials.main_effects(*asked, system=system)
    share = trials.shares(system, given["methods"], given["ranks"])["of the base's, %"].astype(float)
    tried = {trial.adapter.label for trial in made}
    small = [label for label in share.index[share <= finetuned.SMALL] if label in tried]
    assert {"lora-r2", "ia3", "speaker"} <= set(small)
    for label in ("full", *small):
        own = [trial for trial in made if trial.adapter.label == label and trial.modules == trials.USUAL]
        assert {trial.seed for trial in own if not trial.minutes} == set(given["seeds"]), label
        assert {trial.minutes for trial in own if not trial.seed} == set(given["minutes"]), label


def test_other_layers_are_asked_for_of_the_first_system_alone():
    made = trials.planned(["fastspeech2", "speecht5"], ["prompts"], ["lora"], [8], [0.0], [0], [["linear"]])
    assert [(trial.system, trial.variant) for trial in made] == [
        ("fastspeech2", "lora-r8@prompts"),
        ("fastspeech2", "lora-r8+linear@prompts"),
        ("speecht5", "lora-r8@prompts"),
    ]
    assert "other layers of all but fastspeech2" in trials.left_out(made)


def test_a_name_says_what_differs():
    assert Trial("lora", modules=("attention",)).variant == "lora-r8+attention@prompts"
    assert Trial("qlora", 4, minutes=3.0, seed=2, voice="flite-slt").variant == "qlora-r4@flite-slt-3min-s2"
    assert Trial("full").rate == trials.RATES["full"] and Trial("full", learning_rate=1e-4).rate == 1e-4
    assert Trial("dora", 4).adapter.alpha == 8


def test_every_method_is_a_technique_with_learning_rates():
    assert set(METHODS) == set(trials.RATES) == set(trials.TRIED)
    between = {method: sorted(tried)[1:-1] for method, tried in trials.TRIED.items()}
    assert all(
        trials.RATES[method] in tried for method, tried in between.items()
    )  # at no edge of what is tried
    assert {variant.technique(method).name for method in METHODS} == set(METHODS)


def measured(tmp_path, name="03_finetuning", scale=1.0, steps=300):
    """Rows of a run whose full fine-tuning is best, whose lora of rank 2 is as near, and whose speaker row is not; on
    validation lora of rank 8 is best, and that of rank 2 as good.
    """
    run = results.Run(name, tmp_path)
    framed = (("ground-truth", "recording", 0.95), ("istft", "copy", 0.9), ("fastspeech2", "unadapted", 0.5))
    for system, what, value in framed:
        run.add(
            system,
            f"{what}@prompts",
            "torch/cpu",
            "speaker_similarity",
            value,
            n=40,
            ci=(value - 0.01, value + 0.01),
        )
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
        trial = dataclasses.replace(trial, steps=steps)
        numbers = {
            "trainable_params_pct": share,
            "adapter_mb": size,
            "train_peak_rss_mb": 500 + added,
            "train_steps_per_s": speed,
            "train_loss": 0.5,
        }
        minutes = trial.minutes or 18.0
        loss = {"lora-r8": 0.3, "lora-r2": 0.305}.get(trial.adapter.label, 0.4)
        by = "abc on a machine, 2026-11-21"
        made = Trained(tmp_path / "adapter", numbers, added, 10, 60 * minutes, {"mel": loss}, by)
        finetuning.write(run, trial, made)
        names = ("fastspeech2", trial.variant, "torch/cpu")
        detail = dict(zip(("difference", "ci_low", "ci_high"), paired)) if paired else ""
        baseline = f"full@{trial.data}" if paired else "unadapted@prompts"
        run.add(
            *names,
            "speaker_similarity",
            similarity,
            n=40,
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
    return finetuned.case(table, "fastspeech2", "prompts")


def test_a_case_holds_what_was_measured(told):
    found = told.found
    assert len(found) == 7 and found.loc["lora-r2@prompts"].adapter_mb == 0.18
    assert found.loc["speaker@prompts"].high == -0.15 and found.loc["full@prompts"].added_mb == 90
    assert {name: end.value for name, end in told.ends.items()} == {
        "recordings": 0.95,
        "copy": 0.9,
        "unadapted": 0.5,
    }
    assert told.size == 300 * 40
    assert finetuned.length(told) == "7 trainings of 300 steps; 40 sentences judged."
    assert list(told.last.index) == [
        "full@prompts",
        "lora-r2@prompts",
        "lora-r8@prompts",
        "qlora-r8@prompts",
        "speaker@prompts",
    ]


def test_what_is_said_follows_from_the_rows(told):
    said = finetuned.against_full(told)
    assert "lora-r2@prompts (1.5 % of the parameters) -0.010 [-0.018, -0.002], as near" in said
    assert "speaker@prompts (0.01 % of the parameters) -0.200 [-0.250, -0.150], worse" in said
    assert "-0.010 [-0.030, +0.010], undecided" in said
    assert said.endswith(
        "Reached: within 0.02 of full fine-tuning with at most 2 % of the parameters: lora-r2@prompts, of these the "
        "one of the lowest loss on validation, is as near by its interval."
    )
    near = finetuned.nearness(told)
    assert (
        "0.50 for the base as it is, 0.80 for lora-r2@prompts, of those that learn at most 2 % of the" in near
    )
    assert "75 % of the way" in near
    assert near.endswith(
        "Reached: similarity 0.3 [0.27, 0.33] over the unadapted voice, +0.15 wanted of the whole interval."
    )
    assert finetuned.recommended(told) == (
        "**Take lora-r2@prompts**: 0.18 MB and 1.5 % of the parameters (loss of the mel on validation 0.305, the "
        "lowest, of lora-r8@prompts, 0.300; 2 of 5 are within 2 % of the lowest, of these it is the smallest). On "
        "the sentences that are judged, which had no say in that: similarity 0.800, the base as it is 0.500, "
        "WER 5.0 %, predicted MOS 3.50."
    )
    assert "full 0.70 with 1.0 minutes, 0.80 with 18.0" in finetuned.over_minutes(told)
    assert "lora of rank 8 0.72 with 1.0 minutes, 0.79 with 18.0" in finetuned.over_minutes(told)
    assert "lora-r2@prompts 45 MB and 2.00 times the time" in finetuned.costs(told)
    assert finetuned.costs(told).endswith("Trained by abc on a machine, 2026-11-21.")
    assert finetuned.quantized(told).startswith("QLoRA's process peaked at 560 MB, LoRA's at 550: no less.")
    told.found.loc["qlora-r8@prompts", "train_peak_rss_mb"] = 440.0
    assert finetuned.quantized(told) == "QLoRA's process peaked at 440 MB, LoRA's at 550: 20 % less."
    assert finetuned.told({"a case": told}, finetuned.nearness, lambda case: None) == [f"*a case.* {near}"]


def test_few_sentences_decide_nothing(told):
    few, enough = (Case(told.found.assign(pairs=n), told.ends) for n in (7, 8))
    assert "[-0.018, -0.002], undecided" in finetuned.against_full(few)
    assert "[-0.250, -0.150], undecided" in finetuned.against_full(few)
    said = finetuned.against_full(few)
    assert "Undecided: within 0.02 of full fine-tuning" in said
    assert "lora-r2@prompts, of these the one of the lowest loss on validation, is undecided" in said
    assert "[-0.018, -0.002], as near" in finetuned.against_full(enough)


def test_what_other_seeds_say_is_said(told):
    assert finetuned.over_seeds(told) is None  # there is one
    lora = told.found.loc[["lora-r8@prompts"]]
    others = [
        lora.rename(index=lambda name, s=seed: f"{name}-s{s}").assign(seed=seed, difference=value)
        for seed, value in ((1, 0.02), (2, -0.05))
    ]
    several = Case(pd.concat([told.found, *others]), told.ends)
    said = finetuned.over_seeds(several)
    assert "lora-r8 -0.010, +0.020, -0.050 (seeds 0, 1, 2; 0.070 apart)" in said and "lora-r2" not in said
    assert finetuned.over_seeds(Case(told.found[:0], {})) is None


def test_what_is_chosen_is_chosen_by_validation_whatever_is_heard(told):
    best_heard = told.found.assign(speaker_similarity=0.6, wer=0.5)
    best_heard.loc["speaker@prompts", ["speaker_similarity", "wer", "low", "high"]] = 0.9, 0.0, 0.05, 0.1
    other = Case(best_heard, told.ends)
    assert other.small == told.small == "lora-r2@prompts"
    assert finetuned.recommended(other).startswith("**Take lora-r2@prompts**")
    assert "0.60 for lora-r2@prompts" in finetuned.nearness(other)
    behind = best_heard.copy()
    behind.loc["lora-r2@prompts", ["low", "high"]] = -0.3, -0.2
    said = finetuned.against_full(Case(behind, told.ends))
    assert "Missed: within 0.02" in said and "lora-r2@prompts, of these" in said and "is worse by" in said
    large = Case(told.found[told.found.trainable_params_pct > finetuned.SMALL], told.ends)
    assert large.small == "lora-r8@prompts"
    assert (
        "Missed: within 0.02 of full fine-tuning with at most 2 % of the parameters: nothing that learns"
        in finetuned.against_full(large)
    )
    unknown = Case(told.found.assign(validation_mel=float("nan")), told.ends)
    assert unknown.small is None and finetuned.recommended(unknown) is None
    assert finetuned.nearness(unknown) is None


def test_a_missed_floor_is_called_missed(told):
    low = Case(told.found.assign(low=-0.3, high=-0.2), told.ends | {"unadapted": Number(0.7, 0.69, 0.71)})
    assert "Missed: within 0.02 of full" in finetuned.against_full(low)
    assert "Missed: similarity 0.1 [0.07, 0.13] over" in finetuned.nearness(low)


@pytest.mark.parametrize("base", [0.5, 0.64, 0.7])
@pytest.mark.parametrize("sentences", [6, 40])
def test_a_sentence_and_the_floor_say_one_word(tmp_path, base, sentences):
    """Of so many sentences a mean alone reaches nothing, and what full fine-tuning reaches is not asked."""
    _, table = measured(tmp_path)
    mine = table.variant == "unadapted@prompts"
    shifted = {"value": base, "ci_low": base - 0.01, "ci_high": base + 0.01}
    table = table.assign(n=sentences, **{key: table[key].mask(mine, value) for key, value in shifted.items()})
    case = finetuned.case(table, "fastspeech2", "prompts")
    (answer,) = floors_tuned.nearer(table)
    gain, *beside_full = answer.parts
    assert f". {floors.TOLD[gain.word]}: similarity" in finetuned.nearness(case)
    word = floors.TOLD[floors.Answer("", tuple(beside_full)).word]
    assert f". {word}: within 0.02" in finetuned.against_full(case)
    assert (gain.word == floors.UNDECIDED) == (sentences == 6 or base == 0.64)


def test_what_is_no_nearer_than_the_base_is_not_recommended(told):
    worse = Case(told.found, told.ends | {"unadapted": Number(0.85)})
    said = finetuned.recommended(worse)
    assert said.startswith("**Take none yet**: lora-r2@prompts (loss of the mel on validation 0.305")
    assert "has a similarity of 0.800, the base as it is 0.850. Learn longer than 300 steps" in said
    alone = finetuned.recommended(Case(told.found.loc[["lora-r2@prompts"]], told.ends))
    assert alone.startswith("**Take lora-r2@prompts**: 0.18 MB and 1.5 % of the parameters. On the sentences")
    unheard = Case(told.found.assign(wer=float("nan")), told.ends)
    assert "WER" not in finetuned.recommended(unheard)


def test_of_one_method_on_one_amount_of_data_what_there_is_is_said(told):
    one = Case(told.found.loc[["lora-r8@prompts"]], told.ends)
    assert finetuned.over_minutes(one).startswith("All learnt from 18.0 minutes of speech")
    assert "lora-r8@prompts 50 MB and 1.00 s a step" in finetuned.costs(one)


def test_of_nothing_nothing_is_said():
    nothing = finetuned.case(results.read(), "fastspeech2", "prompts")
    assert nothing.ends == {} and finetuned.longest(results.read(), "fastspeech2", "prompts").empty
    assert finetuned.cases(results.read(), results.read(), ["fastspeech2"], ["prompts"]) == {}
    for say in (
        finetuned.against_full,
        finetuned.over_seeds,
        finetuned.over_minutes,
        finetuned.costs,
        finetuned.quantized,
        finetuned.recommended,
        finetuned.nearness,
        finetuned.length,
        charts.over_share,
        charts.over_minutes,
        charts.costs,
    ):
        assert say(nothing) is None


@pytest.fixture
def asked(monkeypatch):
    """What fresh processes are asked to train, without training."""
    answer = dict.fromkeys(
        ("steps_per_s", "added_mb", "peak_rss_mb", "train_loss", "trainable_params_pct"), 1.0
    )
    answer |= {
        "file": "a",
        "losses": {"mel": 0.5},
        "clips": 9,
        "seconds": 60.0,
        "adapter_bytes": 4,
        "merge_error": 1e-6,
        "target": "torch/cuda-h100",
        "curve": [[10, 0.9], [20, 0.5]],
        "peak_gpu_mb": 512.0,
    }
    calls = []

    def call(name, arguments, **_):
        calls.append(name)
        (Path(arguments["folder"])).mkdir(parents=True, exist_ok=True)
        (Path(arguments["folder"]) / "a").touch()
        return SimpleNamespace(value=answer)

    monkeypatch.setattr(finetuning.process, "call", call)
    monkeypatch.setattr(finetuning, "prepare", lambda trial: None)
    return calls


def test_a_finished_training_is_read_back_and_one_cut_short_is_named(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(finetuning, "learnt_from", lambda trial: "these clips")
    trial = Trial("lora", steps=3)
    made = finetuning.trained(trial, tmp_path)
    assert finetuning.trained(trial, tmp_path) == made and len(asked) == 1 and made.merge_error == 1e-6
    kept = made.file.parent / finetuning.RESULT
    whole = kept.read_text()
    for damaged in (whole[:40], "", "[]", json.dumps({"key": json.loads(whole)["key"]})):
        kept.write_text(damaged)
        with pytest.raises(TrainingError, match="trained.json cannot be read .*: delete .*, and train anew"):
            finetuning.trained(trial, tmp_path)
    run = results.Run("03_finetuning", tmp_path)
    assert finetuning.try_all(run, [trial], tmp_path) == {}
    (row,) = results.read(run.path).itertuples()
    assert row.kind == "not_run" and "train anew" in row.detail
    finetuning.write(run, trial, made)
    rows = results.read(run.path).set_index("metric")
    assert rows.loc["merge_error"].value == 1e-6
    assert json.loads(rows.loc["train_loss"].detail)["curve"] == [[10, 0.9], [20, 0.5]]
    assert rows.loc["peak_gpu_mb"].value == 512  # where it learnt, and what it took there
    there = {metric for metric, row in rows.iterrows() if row.target == "torch/cuda-h100"}
    assert there == {"train_peak_rss_mb", "peak_gpu_mb", "train_steps_per_s", "train_loss"}


def test_other_clips_or_another_base_are_trained_anew(asked, monkeypatch, tmp_path):
    """A finished training is that of its clips: with one that sounds otherwise it is asked for again."""
    level, bases = [0.1, 0.1], {"fastspeech2": b"one"}

    def portion(voice, minutes):
        waveforms = [np.full(16_000, value, np.float32) for value in level]
        made = [
            Utterance(f"clip-{n}", "yes", "yes", "me", "train", 16_000, lambda w=w: (w, 16_000))
            for n, w in enumerate(waveforms)
        ]
        return SimpleNamespace(corpus=SimpleNamespace(utterances=made))

    monkeypatch.setattr(finetuning, "_portion", portion)
    monkeypatch.setattr(finetuning, "base_key", lambda system: str(bases[system]))
    trial = Trial("lora", steps=3)

    def again():
        finetuning._clips_key.cache_clear()  # as another process finds it
        finetuning.trained(trial, tmp_path)
        return len(asked)

    assert (again(), again()) == (1, 1)
    level[1] = 0.2
    assert (again(), again()) == (2, 2)
    bases["fastspeech2"] = b"another"
    assert (again(), again()) == (3, 3)
    finetuning._clips_key.cache_clear()


def test_what_an_earlier_run_took_is_marked_as_its_own(tmp_path):
    here = f"{environment.commit()} on {environment.host()}, 2026-11-01"
    numbers = dict.fromkeys(
        ("trainable_params_pct", "adapter_mb", "train_peak_rss_mb", "train_steps_per_s"), 1.0
    )
    run = results.Run("03_finetuning", tmp_path)
    for seed, by in enumerate((here, "0123abcdef on another machine, 2026-11-01")):
        trial = Trial("full", seed=seed)
        made = Trained(tmp_path, numbers | {"train_loss": 0.5}, 0.0, 9, 60.0, {"mel": 0.5}, by)
        finetuning.write(run, trial, made)
    rows = results.read(run.path)
    for metric in ("train_peak_rss_mb", "train_steps_per_s"):
        own, theirs = rows[rows.metric == metric].source
        assert "earlier" not in own
        assert theirs.endswith("; of an earlier run, 0123abcdef on another machine, 2026-11-01")
    assert not rows[rows.metric == "train_loss"].source.str.contains("earlier").any()


def test_no_method_is_drawn_anywhere_by_weight_decay(monkeypatch, tmp_path):
    asked = {}

    def task(system, corpus, adapter, learning, base):
        asked[adapter.method] = AcousticConfig(**learning).weight_decay
        raise TrainingError("enough is known")

    monkeypatch.setattr(new_voice, "task", task)
    for method in METHODS:
        with pytest.raises(TrainingError, match="enough is known"):
            finetuning.train(Trial(method), SimpleNamespace(corpus=None), tmp_path)
    assert asked == dict.fromkeys(METHODS, 0.0)


def test_other_sound_or_text_under_the_same_name_is_another_training():
    def key(text="yes", level=0.1, sample_rate=16_000):
        waveform = np.full(sample_rate, level, np.float32)
        one = Utterance("clip-1", text, text, "me", "train", sample_rate, lambda: (waveform, sample_rate))
        return finetuning.clips_key([one])

    assert key() == key()
    assert len({key(), key("no"), key(level=0.2)}) == 3


def test_pictures_show_every_trial(told):
    share = charts.over_share(told, "t")
    assert {text.get_text() for text in share.axes[0].texts} >= {"full", "lora-r2", "speaker", "base as it is"}
    minutes = charts.over_minutes(told)
    assert {line.get_label() for line in minutes.axes[1].lines} == {"full", "lora"}
    assert [tick.get_text() for tick in minutes.axes[0].get_xticklabels()] == ["1", "18"]
    assert len(charts.costs(told).axes[0].patches) == 5


def test_the_longest_run_alone_is_shown(tmp_path):
    """An older study before a newer quick run; of several as long the newest."""
    _, study = measured(tmp_path, "03_finetuning@study@c", steps=600)
    _, quick = measured(tmp_path, "03_finetuning@quick@d", steps=40)
    study, quick = study.assign(time="2026-11-01"), quick.assign(time="2026-11-02")
    shown = finetuned.longest(pd.concat([study, quick], ignore_index=True), "fastspeech2", "prompts")
    assert set(shown.notebook) == {"03_finetuning@study@c"} and len(shown) == len(study)
    again = study.assign(notebook="03_finetuning@study@e", time="2026-11-03")
    shown = finetuned.longest(pd.concat([again, study, quick], ignore_index=True), "fastspeech2", "prompts")
    assert set(shown.notebook) == {"03_finetuning@study@e"}


def test_a_run_is_shown_whole_and_alone(tmp_path):
    measured(tmp_path, "03_finetuning@study@a")
    _, table = measured(tmp_path, "03_finetuning@study@b", scale=0.5)
    both = results.read(tmp_path / "results")
    shown = finetuned.longest(both, "fastspeech2", "prompts")
    assert shown.notebook.nunique() == 1 and len(shown) == len(table)
    assert finetuned.longest(both, "speecht5", "prompts").empty
    known = finetuned.cases(table, both, ["fastspeech2", "speecht5"], ["prompts"])
    assert list(known) == ["fastspeech2 learns prompts, now", "fastspeech2 learns prompts, recorded"]


def test_shares_are_counted_without_training():
    table = trials.shares("fastspeech2", ["full", "lora", "speaker"], [2, 8])
    assert list(table.index) == ["full", "lora-r2", "lora-r8", "speaker"]
    assert (
        float(table.loc["full", "of the base's, %"]) > 99
        and float(table.loc["lora-r2", "of the base's, %"]) < 2
    )
