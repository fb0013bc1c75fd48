"""Sentences under tables and pictures say what the rows say, and nothing where the rows do not."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pandas as pd
import pytest

from lib import results, zoo
from lib.measure.evaluate import Clip
from lib.report import findings
from lib.report import notebook as show
from lib.studies import ablation, baselines, costs, damage, learning, published


@pytest.fixture
def run(tmp_path):
    return results.Run("test", tmp_path)


def rows(run):
    return results.read(run.path) if run.path.exists() else results.read()


def test_a_span_names_both_ends_and_what_is_estimated(run):
    for system, value in (("hibari", 0.02), ("espeak-ng", 0.01), ("vits-joe", 0.2)):
        run.add(system, "baseline", "onnxruntime/cpu", "energy_j_per_audio_s", value, kind="estimated")
        run.add(system, "baseline", "onnxruntime/cpu", "rtf", value)
    run.add("hifigan", "baseline", "torch/cpu", "rtf", 9.0)  # no voice
    run.add("hibari", "int8", "onnxruntime/cpu", "rtf", 8.0)  # no baseline
    said = findings.spans(rows(run), ["rtf", "energy_j_per_audio_s", "wer"])
    assert said == (
        "RTF runs from 0.010 s/s (espeak-ng) to 0.200 s/s (vits-joe); energy per second of audio runs from 0.01 J/s "
        "(espeak-ng) to 0.20 J/s (vits-joe, estimated)."
    )
    assert findings.spans(rows(run), ["wer"]) is None and findings.spans(results.read(), ["rtf"]) is None


def test_one_systems_numbers_are_told_with_their_intervals(run):
    run.add("whisper-tiny.en", "baseline", "torch/cpu", "wer", 0.056, ci=(0.02, 0.125))
    run.add("whisper-tiny.en", "int8", "torch/cpu", "wer", 0.5)
    said = findings.numbers(rows(run), "whisper-tiny.en", ["wer", "rtf"])
    assert said == "whisper-tiny.en: WER, normalised 5.6 % [2.0, 12.5]."
    assert findings.numbers(rows(run), "hibari", ["wer"]) is None


def test_what_is_counted_and_what_is_absent(run):
    run.add("hibari", "baseline", "onnxruntime/cpu", "rtf", 0.01)
    run.add("hibari", "baseline", "onnxruntime/cpu", "power_w", 3.0, kind="estimated")
    assert findings.absent(rows(run)) == "Everything that was tried could run here."
    run.not_run("ground-truth", "baseline", "recording/prompts", "wer", "no prompts")
    said = findings.counted(rows(run))
    assert said == "2 numbers of 1 systems (1 measured, 1 estimated); 1 could not be had here."
    assert (
        findings.absent(rows(run)) == "1 numbers are missing: 1 of ground-truth baseline on recording/prompts."
    )
    assert "No variant was compared" in findings.verdicts(rows(run))


def test_published_scores_are_told_against_their_own_recordings(run):
    published.add(run, published.FIGURES)
    said = findings.distance(rows(run))
    assert "tacotron2 -0.06 (shen-2018)" in said and "tacotron2 -0.60 (ren-2021)" in said
    assert "distributed" not in said and findings.distance(results.read()) is None


def test_claims_alone_can_be_added(run):
    published.add(run, published.CLAIMS)
    assert set(rows(run).variant) == set(published.CLAIM_VARIANTS)


def test_a_clip_is_described_by_what_is_in_it():
    time = np.arange(22_050) / 22_050
    tone = np.where(time < 0.5, sum(0.2 * np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 9)), 0.0)
    said = findings.clip(tone.astype(np.float32), 22_050, ["^", "a", "b", "$"])
    voiced = int(said.split("voiced in ")[1].split(" %")[0])
    assert said.startswith("1.0 s with 2 phones, 2.0 a second") and 40 <= voiced <= 60 and "at 150 Hz" in said
    noise = 0.1 * np.random.default_rng(0).standard_normal(22_050).astype(np.float32)
    assert findings.clip(noise, 22_050) == "1.0 s, nowhere voiced."


def test_the_longest_and_the_shortest_phone_are_named():
    pairs = [(["a", "b", "c"], [10, 2, 1])] * 5 + [(["c"], [50])]  # c: seven in all, by median one frame
    said = findings.phone_durations({"vits-joe": pairs})
    assert said == "In vits-joe they last from 12 ms (c) to 116 ms (a)."
    assert findings.phone_durations({"vits-joe": pairs[:2]}) is None


def test_speakers_are_told_apart_by_their_medians():
    table = pd.DataFrame(
        {
            "speaker": ["joe", "joe", "hibari"],
            "f0_median_hz": [100.0, 110, 210],
            "f0_range_st": [9.0, 9, 4],
            "phones_per_s": [12.0, 13, 14],
        }
    )
    said = findings.speakers(table)
    assert said == (
        "Hibari speaks highest (210 Hz; joe least, 105 Hz); joe has the liveliest melody (9.0 semitones; hibari least, "
        "4.0 semitones); hibari is quickest (14.0 phones/s; joe least, 12.5 phones/s)."
    )
    assert findings.speakers(table[:2]) is None


def test_changes_of_a_mel_are_ranked_where_the_length_is_kept():
    clean = np.zeros((10, 80))
    mels = {"clean": clean, "noise": clean + 1, "codec": clean + 0.1, "speed": np.zeros((9, 80))}
    said = findings.changes(mels, "clean")
    assert (
        said.startswith("Of 2 that keep the length, noise changes the mel most (8.7 dB")
        and "codec least" in said
    )
    assert findings.changes({"clean": clean, "noise": clean + 1}, "clean") is None


def test_points_are_a_list_without_what_has_no_numbers(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda markdown: shown.append(markdown.data))
    show.points("One.", None, "Two.")
    show.points(None)
    assert shown == ["- One.\n- Two.", "Nothing has been measured yet."]


def test_every_system_of_the_registry_that_speaks_takes_part():
    from lib import systems

    voices = baselines.voices(threads=1)
    assert list(voices)[:2] == ["vits-joe (torch/cpu)", "vits-joe (onnxruntime/cpu)"]
    assert list(voices)[-1] == "espeak-ng (native/cpu)"
    assert {voice.name for voice in voices.values()} == set(systems.names("speech")) - set(baselines.NOISE)
    assert baselines.teacher(voices) == "vits-joe (onnxruntime/cpu)"
    assert set(baselines.pupils(voices)) == {
        *(f"{name} (torch/cpu)" for name in ("fastspeech2", "speecht5", "tacotron2", "tortoise")),
        "hibari-small (onnxruntime/cpu)",
    }
    table = baselines.overview(voices)
    assert (
        list(table.index) == list(voices)
        and table.loc["vits-joe (torch/cpu)", "parameters with vocoder, M"] == "15.65"
    )


def test_a_new_voice_is_nobodys_pupil():
    new = types.SimpleNamespace(name="pico", sample_rate=16_000, modules={}, size_mb=None)
    assert baselines.pupils({"pico (numpy/cpu)": new}) == []
    assert baselines.overview({"pico (numpy/cpu)": new}).kind.tolist() == ["a voice of its own"]


def clip(seconds, notes=None):
    return Clip("a", "five words are said here", np.zeros(int(1000 * seconds), np.float32), 1000, notes)


def test_paces_and_lost_ways_are_counted():
    clips = {"slow": (clip(2),), "fast": (clip(1),), "astray": (clip(1.5, ("skipped",)), clip(1.5, ()))}
    said = baselines.pace(clips)
    assert said == "The same 5 words take 1.0 s in fast, the quickest of 3, and 2.0 s in slow, the slowest."
    assert baselines.astray(clips) == "The way through the text was lost by astray in 1 of 2 sentences."
    assert baselines.astray({"slow": clips["slow"]}) is None


def test_a_system_with_two_runtimes_is_shown_once():
    assert baselines.once({"a (torch/cpu)": 1, "a (onnxruntime/cpu)": 2, "b (torch/cpu)": 3}) == {
        "a": 1,
        "b": 3,
    }


def test_readers_of_the_prompts_stand_beside_the_person(run):
    for variant in ("baseline", baselines.PROMPTS):
        run.add("hibari", variant, "onnxruntime/cpu", "wer", 0.1)
    run.add("ground-truth", "baseline", "recording/prompts", "wer", 0.1)
    run.add("ground-truth", "shen-2018", "listeners", "mos_human", 4.5, kind="published", source="a paper")
    chosen = baselines.prompts_rows(rows(run))
    assert set(zip(chosen.system, chosen.variant)) == {
        ("hibari", baselines.PROMPTS),
        ("ground-truth", "baseline"),
    }


def test_sentences_that_notice_a_damage_follow_from_recorded_differences(run):
    def add(metric, value, difference, sd):
        detail = {"difference": difference, "ci_low": None, "ci_high": None, "p_value": 0.5, "sd": sd, "n": 40}
        run.add("vits-joe", "noise-20db@damage", "onnxruntime/cpu", metric, value, n=40, detail=detail)

    add("wer", 0.12, 0.01, 0.2)  # (2.80 * 0.2 / 0.01)^2 = 3,140: more than MOST
    add("asr_nll", 0.9, 0.1, 0.2)  # (2.80 * 0.2 / 0.1)^2 = 31.4
    add("mos_predicted", 3.5, -0.5, 0.2)  # 1.3: at least six
    said = damage.recalled(rows(run))
    assert "noise at 20 dB more than 2,000 by WER, 32 by the loss, 6 by predicted MOS" in said
    assert said.startswith("From 40 sentences")
    assert damage.recalled(results.read()) is None and damage.rows(results.read()).empty


def test_what_training_took_comes_from_the_curves():
    said = costs.longest()
    hours = sum([r for r in zoo.curve(n) if "seconds" in r][-1]["seconds"] for n in zoo.names()) / 3600
    assert said.startswith(f"The {len(zoo.names())} checkpoints took {hours:.1f} hours of training: most ")


def test_costs_of_who_was_not_trained_now_are_the_newest_recorded(run):
    run.add("fastspeech2", "training", "torch/cpu", "train_frames_per_s", 100.0)
    run.add("fastspeech2", "baseline", "torch/cpu", "rtf", 0.1)
    chosen = costs.costs(rows(run), show.recorded())
    now = chosen[chosen.system == "fastspeech2"]
    assert list(now.value) == [100.0] and not now.recorded.any()
    others = chosen[(chosen.variant == learning.VARIANT) & (chosen.system != "fastspeech2")]
    assert {"tacotron2", "hifigan"} <= set(others.system) and others.recorded.all()
    assert (others.groupby("system")[["commit", "host"]].nunique() == 1).all().all()


def test_half_precision_is_compared_within_one_run(run):
    for variant, frames, loss in (("training", 100.0, 2.0), ("training-bf16", 150.0, 2.1)):
        run.add("tacotron2", variant, "torch/cpu", "train_frames_per_s", frames)
        run.add("tacotron2", variant, "torch/cpu", "train_loss", loss)
    assert costs.halved(rows(run)) == (
        "tacotron2 in bf16 learns from 1.50 times as many frames a second as in fp32, its loss then 2.100 (2.000)."
    )
    assert "No training in half precision" in costs.halved(results.read())


def test_the_recorded_sweep_and_ablation_are_told_whatever_notebook_wrote_them():
    from lib.studies import sizes

    table = show.recorded()
    assert "best by predicted MOS" in sizes.verdict(table)
    assert "without pitch it gets" in ablation.verdict(table)
    named = table[table.variant.isin([*sizes.SIZES, *ablation.VARIANTS])].notebook
    assert named.str.startswith("02_training@study").all()


def test_fewer_bands_are_told_beside_the_usual_copies(run):
    for variant, mos in zip(ablation.BANDED, (3.3, 2.9, 2.5)):
        run.add("griffin-lim", variant, "numpy/cpu", "mos_predicted", mos)
        run.add("griffin-lim", variant, "numpy/cpu", "wer", 0.1)
    assert ablation.bands_finding(rows(run)) == (
        "Griffin-Lim's copies from 80 bands have a predicted MOS of 3.30 and a WER of 10.0 %, from 40 bands 2.90 and "
        "10.0 %, from 20 bands 2.50 and 10.0 %."
    )
    assert ablation.bands_finding(rows(run)[:1]) is None


def test_notes_stay_on_a_card_that_is_published_again(tmp_path):
    from lib import zoo_card

    assert zoo_card.notes(tmp_path) == ""
    (tmp_path / "notes.md").write_text("## How it works\n")
    assert zoo_card.notes(tmp_path) == "\n## How it works\n"
    assert zoo.card("hifigan").endswith(zoo_card.notes(zoo.folder("hifigan")))


def test_a_card_says_what_was_read_and_who_judged():
    from lib import zoo_card
    from lib.corpora import sentences
    from lib.measure import intelligibility
    from lib.training import recipe

    both = recipe.load(zoo.folder("fastspeech2") / "recipe.yaml")
    assert both.data["texts"] == ["botchan", "wordnet"]
    read = dataclasses.replace(both, data={k: v for k, v in both.data.items() if k != "texts"})
    novel, said = (zoo_card.card(one, zoo.curve("fastspeech2"), [], 1, 3.0) for one in (read, both))
    assert "hibari reading the train sentences of the Gutenberg corpus (synthetic" in novel
    assert "hibari reading *Botchan* (Project Gutenberg); the data" in novel and "WordNet" not in novel
    assert "Gutenberg corpus and the sentences chosen from WordNet (synthetic" in said
    assert (
        "*Botchan* (Project Gutenberg) and the examples of WordNet 3.0 (Princeton University); the data" in said
    )
    assert f"judged by {intelligibility.judge_source()} and DistillMOS" in said
    assert zoo_card.READ.keys() == set(sentences.TEXTS)


def test_curves_go_on_only_where_they_started_from_the_checkpoint():
    from lib.training import recipe

    made = learning.Learned({}, [{"step": 1, "mel": 1.0}], {}, 1, "torch/cpu")
    recipes = {
        "fastspeech2": recipe.path("quick", "fastspeech2"),
        "tacotron2": recipe.path("smoke", "tacotron2"),
    }
    lines = costs.curves(dict.fromkeys(recipes, made), recipes)
    assert set(lines) == set(zoo.names()) and lines["fastspeech2"][1] == made.curve
    assert lines["tacotron2"][1] is None and lines["tortoise"][1] is None


def test_phone_durations_are_drawn_and_told_from_the_same_utterances():
    from lib.report import pictures

    utterances = {"vits-joe": [(["a", "b"], [10, 2])] * 5, "prompts": [(["a", "c"], [5, 4])] * 5}
    figure = pictures.phone_durations(utterances)
    shown = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert set(shown) == {"a", "b", "c"} and len(figure.axes[0].get_legend().get_texts()) == 2
    assert findings.phone_durations(utterances) == (
        "In vits-joe they last from 23 ms (b) to 116 ms (a); in prompts they last from 46 ms (c) to 58 ms (a)."
    )
