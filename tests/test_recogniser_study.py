"""Is what is said of a taught recogniser counted rightly: paired, by group, from rows, now and read back?"""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib import results
from lib.corpora import domains
from lib.corpora.base import Utterance
from lib.errors import DivergedError, MissingDataError, ParameterError
from lib.measure import judgement
from lib.measure.scores import RECOGNISED
from lib.report import recogniser as pictures
from lib.studies import (
    floors,
    floors_tuned,
    heard_better,
    heard_by_seed,
    misheard,
    recogniser,
    recogniser_clips,
    recogniser_speed,
    retaught,
)
from lib.systems.base import Transcript
from lib.training.recogniser import Learnt, Settings

RATE, JUDGE = 16_000, retaught.judged_on(retaught.SYSTEM)
TEXT = "please enter your number now"


def clip(number: int, domain: str = "noise", text: str = TEXT) -> domains.Clip:
    rng = np.random.default_rng(number)
    waveform = (0.1 * rng.standard_normal(RATE // 2)).astype(np.float32)
    apart = " ".join(f"{word}{chr(ord('a') + number)}" for word in text.split())  # near to no other number's
    return domains.Clip(
        Utterance(f"u{number}", text, apart, "a", "test", RATE, lambda: (waveform, RATE)), domain
    )


def heard(wrong: int, count: int = 12, domain: str = "noise") -> tuple[misheard.Listened, ...]:
    """`wrong` of so many clips have one word of five misheard."""
    texts = ["please enter your lumber now"] * wrong + ["Please enter your number, now."] * (count - wrong)
    return tuple(misheard.Listened(clip(n, domain), said) for n, said in enumerate(texts))


class Ears:
    """A recogniser that counts how often it is asked."""

    name, variant, target = "whisper-tiny.en", "baseline", "torch/cpu"

    def __init__(self, key: str = "one"):
        self.asked, self.key = 0, key

    def cache_key(self) -> str:
        return self.key

    def transcribe(self, waveform, sample_rate):
        self.asked += 1
        return Transcript("Please enter your number.", {"a": 0.25, "b": 0.25}, len(waveform) / sample_rate)


def taught(method: str = "lora-r8", loss: float = 1.5) -> recogniser.Taught:
    curve = ({"step": 0, "eval_loss": 2.0}, {"step": 5, "loss": 1.8}, {"step": 10, "eval_loss": loss})
    learnt = Learnt(curve, 10, 10, loss, 20.0, 0, (80, 1000))
    return recogniser.Taught(method, 1e-3, learnt, None, 0.8, 1.2, 900.0, 300.0)


def lesson(method: str, hard: int, clean: int = 1, gsm: int = 2) -> retaught.Lesson:
    sets = {"hard": heard(hard), "clean": heard(clean, domain="clean"), "gsm": heard(gsm, domain="gsm")}
    sets["unheard"] = heard(2 if method == "full" else 0, domain="clean")
    return retaught.Lesson(None if method == "baseline" else taught(method), sets)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path / "cache"))
    return results.Run("03_finetuning", tmp_path)


def test_what_learnt_on_a_gpu_says_so(run):
    one = taught()
    learnt = dataclasses.replace(one.learnt, target="torch/cuda-h100", peak_gpu_mb=512.0)
    retaught.record_training(run, recogniser_clips.Plan(), dataclasses.replace(one, learnt=learnt))
    rows = results.read(run.path).set_index("metric")
    assert set(rows.target) == {"torch/cuda-h100"} and rows.loc["peak_gpu_mb"].value == 512


def test_the_methods_between_which_the_decision_lies_learn_with_further_seeds(run, monkeypatch):
    asked = []

    def trained(name, plan, folder, source, *, rate, threads):
        asked.append((name, plan.settings.seed, rate, source))
        return taught(name)

    monkeypatch.setattr(retaught, "learnt_from", lambda *_: "clips")
    monkeypatch.setattr(retaught, "chosen", lambda name, *_, **__: dataclasses.replace(taught(name), rate=3e-4))
    monkeypatch.setattr(retaught, "trained", trained)
    monkeypatch.setattr(retaught, "listener", lambda one, *_, **__: one)
    monkeypatch.setattr(
        retaught, "judge", lambda one, _: lesson(one.method, 3 if one.method == "full" else 4).heard
    )
    plan, before = recogniser_clips.Plan(), lesson("baseline", 9)
    data = SimpleNamespace(tests=None)
    done = retaught.lessons(run, ["encoder", "lora-r8", "full"], plan, data, before, "nowhere", seeds=[1, 2])
    assert list(done) == ["full", "encoder", "lora-r8"]
    assert asked == [(name, seed, 3e-4, "clips") for seed in (1, 2) for name in ("full", "lora-r8")]
    rows = results.read(run.path)
    errors = rows[rows.metric == "wer"].set_index("variant")
    assert {"full@hard-s1", "lora-r8@hard-s2", "lora-r8@unheard-s1"} <= set(errors.index)
    assert "encoder@hard-s1" not in errors.index
    about = json.loads(errors.loc["lora-r8@hard-s1"].detail)
    assert about["to_full"]["difference"] == pytest.approx(1 / 60, abs=1e-4)
    assert heard_better.lines(rows).index.tolist() == ["full", "encoder", "lora-r8"]  # a seed is no method
    said = heard_by_seed.told(rows)
    assert "lora-r8 +1.7, +1.7, +1.7 (seeds 0, 1, 2; 0.0 apart)" in said and "full 5.0, 5.0, 5.0 %" in said
    assert heard_by_seed.told(rows[~rows.variant.str.contains("-s")]) is None


@pytest.fixture
def rows(run):
    """Rows of a baseline, of full fine-tuning, and of a LoRA that hears nearly as well."""
    before, full, lora = lesson("baseline", 9), lesson("full", 3, clean=5), lesson("lora-r8", 4)
    retaught.record(run, retaught.SYSTEM, "baseline", JUDGE, before.heard)
    for name, one in (("full", full), ("lora-r8", lora)):
        retaught.record(
            run, retaught.SYSTEM, name, JUDGE, one.heard, before.heard, full.heard if name != "full" else None
        )
        retaught.record_training(run, recogniser_clips.Plan(), one.taught)
    return results.read(run.path)


def test_a_clip_is_heard_once_by_the_same_recogniser(run):
    ears, other = Ears(), Ears("two")
    first, again = misheard.listen(ears, [clip(0), clip(1)]), misheard.listen(ears, [clip(0), clip(1)])
    assert first == again and ears.asked == 2
    misheard.listen(other, [clip(0)])
    assert other.asked == 1


def test_rates_count_words_and_letters_raw_and_normalised():
    one = misheard.Listened(clip(0, text="He paid 20 dollars."), "he paid twenty dollars")
    assert {metric: one.errors(metric).errors for metric in RECOGNISED} == {
        "wer": 0,  # numbers are folded
        "wer_raw": 1,
        "cer": 0,
        "cer_raw": 6,
    }
    assert misheard.rates(heard(6))["wer"].value == pytest.approx(6 / 60)


def test_a_change_is_paired_and_refuses_other_clips():
    change = misheard.change(heard(9), heard(3))
    assert change.value == pytest.approx(-0.1) and change.high < 0 and change.p_value < 0.05
    with pytest.raises(ParameterError, match="other clips, or in another order"):
        misheard.change(heard(9), heard(3)[::-1])


def test_clips_of_one_text_are_drawn_together():
    """Two voices that read one sentence are not two sentences: the interval is as wide as with one of them."""
    one, other = heard(4), tuple(dataclasses.replace(h, clip=_read_by("b", h.clip)) for h in heard(4))
    alone, both = misheard.rates(one)["wer"], misheard.rates([*one, *other])["wer"]
    assert (both.value, both.low, both.high) == pytest.approx((alone.value, alone.low, alone.high))
    assert both.n == 24  # clips, as the other numbers of the row
    before = (*heard(9), *(dataclasses.replace(h, clip=_read_by("b", h.clip)) for h in heard(9)))
    change, single = misheard.change(before, (*one, *other)), misheard.change(heard(9), one)
    assert (change.low, change.high, change.n) == pytest.approx((single.low, single.high, 12))


def test_clips_of_near_texts_are_drawn_together():
    """ "Now muted" is no other sentence than "now unmuted": five near to each other are one, and have no interval."""
    texts = ("you are now muted", "you are now unmuted", "there is no message for you today")
    said = [
        misheard.Listened(_saying(one.clip, texts[n % 2 if n < 10 else 2]), "you are")
        for n, one in enumerate(heard(0, 12))
    ]
    assert misheard.change(said, said).n == 2 and misheard.rates(said)["wer"].low is None
    before, after = ["you are"] * 12, ["you"] * 12
    assert recogniser_speed.change([h.clip.utterance.text for h in said], before, after).n == 2


def _saying(one: domains.Clip, text: str) -> domains.Clip:
    return dataclasses.replace(one, utterance=dataclasses.replace(one.utterance, text=text, normalized=text))


def _read_by(voice: str, one: domains.Clip) -> domains.Clip:
    """The same sentence by another voice."""
    return dataclasses.replace(
        one, utterance=dataclasses.replace(one.utterance, id=f"{voice}-{one.utterance.id}", speaker=voice)
    )


def test_what_is_learnt_from_is_counted_as_what_it_is():
    texts = ["one two three", "four five six", "seven eight nine"]
    train = domains.in_all([clip(n, text=text).utterance for n, text in enumerate(texts)], domains.DOMAINS[:4])
    why = {
        "a": "near to 'x', which is held out of train",
        "b": "utterance b: 9 s are longer than the window of 8 s",
    }
    data = recogniser_clips.Data(train, train[:1], {"hard": (clip(9),)}, {**why, "recordings": "no apt"})
    said = recogniser_clips.described(data, recogniser_clips.Plan())
    assert said[0].startswith(
        "12 clips to learn from: 3 utterances, each clean and in 3 domains; 1 to choose by"
    )
    assert said[1] == (
        "Left out: 1 because their text is near to one that is held out, 1 that are longer than the window of 8 s, "
        "0 for another reason."
    )
    assert said[2] == "Without the recordings: no apt"


def test_errors_are_grouped_by_noise_length_and_domain():
    table = misheard.by_snr(heard(12))
    assert table.clips.sum() == 12 and set(table.wer.round(6)) == {0.2}
    assert not len(misheard.by_snr(heard(3, domain="room")))
    long = tuple(
        dataclasses.replace(h, clip=clip(9, text=TEXT + " and then press the star key")) for h in heard(0, 2)
    )
    by_length = misheard.by_length([*heard(0, 3), *long])
    assert by_length[["words", "clips"]].values.tolist() == [["0-6", 3], ["10-15", 2]]
    both = misheard.by_domain([*heard(1, 5), *heard(0, 5, "room")])
    assert both.domain.tolist() == ["noise", "room"] and both.wer.tolist() == [0.04, 0.0]


def test_the_most_frequent_substitutions_come_first():
    said = misheard.substitutions(heard(5))
    assert said.iloc[0].tolist() == ["number", "lumber", 5]
    dropped = misheard.substitutions([misheard.Listened(clip(0), "enter your number now please")])
    assert sorted(map(tuple, dropped[["said", "heard"]].values)) == [("", "please"), ("please", "")]
    table = retaught.words(lesson("baseline", 9), {"full": lesson("full", 3)})
    assert table.iloc[0].tolist() == ["number", "lumber", 9, 3]


def test_rows_hold_the_change_and_what_it_took(rows):
    row = rows[(rows.variant == "lora-r8@hard") & (rows.metric == "wer")].iloc[0]
    assert row.value == pytest.approx(4 / 60) and row.baseline == "baseline@hard" and row.n == 12
    assert set(rows.variant) >= {"baseline@clean", "full@gsm", "lora-r8@hard"}
    found = heard_better.lines(rows)
    assert found.index.tolist() == ["full", "lora-r8"]
    assert found.loc["lora-r8", "relative"] == pytest.approx(-5 / 9, abs=1e-3)
    assert found.loc["lora-r8", "full_change"] == pytest.approx(1 / 60, abs=1e-4) and pd.isna(
        found.loc["full", "full_low"]
    )
    assert found.loc["full", "clean_change"] == pytest.approx(4 / 60, abs=1e-4)
    assert (
        found.loc["lora-r8", "trainable_params_pct"] == 0.8 and found.loc["lora-r8", "train_peak_rss_mb"] == 900
    )


def test_curves_and_groups_are_in_the_rows(rows):
    """A recorded study shows where the errors are and how the loss fell, as the run itself did."""
    by_noise = misheard.grouped(rows, "snr_db")
    assert list(by_noise) == ["as it comes", "full", "lora-r8"]
    pd.testing.assert_frame_equal(by_noise["full"], misheard.by_snr(heard(3)), check_dtype=False, atol=1e-4)
    assert misheard.grouped(rows, "words")["lora-r8"].clips.sum() == 12
    assert len(pictures.groups(by_noise, "snr_db", "dB").axes[0].patches) == 3 * len(by_noise["full"])
    found = heard_better.lines(rows)
    assert found.curve["full"] == [
        {"step": 0, "eval_loss": 2.0},
        {"step": 5, "loss": 1.8},
        {"step": 10, "eval_loss": 1.5},
    ]


def test_sentences_say_what_the_rows_say(rows):
    found = heard_better.lines(rows).assign(adapter_mb=[33.0, 1.2])
    assert "15.0 % of hard clips" in heard_better.before(rows) and "% of unheard clips" in heard_better.before(
        rows
    )
    assert "voices nobody trained on +3.3" in heard_better.forgotten(found)
    gained = heard_better.gained(found)
    assert "lora-r8 15.0 % to 6.7 % (-56 % of them" in gained
    assert gained.endswith(
        "Undecided with lora-r8, which validation chooses; a quarter fewer, by the whole interval: none."
    )  # on the mean more than half of them, but perhaps a fifth
    sure = heard_better.gained(found.assign(hard_high=-0.05))
    assert sure.endswith(
        "Reached with lora-r8, which validation chooses; a quarter fewer, by the whole interval: full, lora-r8."
    )
    forgotten = heard_better.forgotten(found)
    assert "full clean +6.7" in forgotten
    assert "Undecided with lora-r8" in forgotten  # nothing changed, in twelve texts
    assert "clips, by the whole interval: none." in forgotten
    many = heard_better.forgotten(found.assign(clean_pairs=40))
    assert "Reached with lora-r8" in many and "clips, by the whole interval: lora-r8." in many
    rival = found.assign(
        train_loss=[0.9, 1.0], adapter_mb=[33.0, 1.2]
    )  # full fine-tuning, which forgot clean clips
    assert "Missed with full, which validation chooses; half a point more" in heard_better.forgotten(rival)
    unsure = heard_better.forgotten(found.assign(clean_pairs=40, clean_high=0.03))
    assert "Undecided with lora-r8" in unsure and "by the whole interval: none." in unsure
    few = found.assign(hard_pairs=7)
    assert "Undecided with lora-r8" in heard_better.gained(few)
    assert heard_better.recommended(few).startswith("**Take the recogniser as it comes**")
    assert "Reached with lora-r8, which validation chooses; a gain, not to be" in heard_better.against_full(
        found
    )
    still = heard_better.against_full(found.assign(hard_high=0.01))  # level, for nobody gained
    assert "Undecided with lora-r8" in still and still.endswith("by the whole interval: none.")
    assert heard_better.recommended(found).startswith(
        "**Take lora-r8**: 0.8 % of the parameters, 1.2 MB to keep"
    )
    costs = heard_better.costs(found)
    assert "peaked at 900 MB, 300 of them for its steps" in costs
    assert "against it lora-r8 1.00 of the memory (300 MB of it for its steps) and 1.00 times the time" in costs
    assert costs.endswith("read the ratios. Who trained is not noted.")
    moved = heard_better.costs(found.assign(trained_by=["abc on here, 2026-11-21"] + [""] * (len(found) - 1)))
    assert "by abc on here, 2026-11-21; of " in moved and "it is not noted. A ratio between these" in moved


def test_the_memory_of_a_training_is_not_what_hearing_takes(run, rows):
    """Nor in rows that were recorded before the one had a name of its own: a ratio of the two says nothing."""
    assert heard_better.lines(rows).loc["full", "train_peak_rss_mb"] == 900
    for variant in ("baseline", "full"):
        where = (retaught.SYSTEM, f"{variant}@hard", JUDGE)
        run.add(*where, "peak_rss_mb", 780.0, source="fresh processes, high-water mark of loading and one pass")

    def saved():
        judged = judgement.from_rows(
            results.read(run.path), retaught.SYSTEM, "full@hard", JUDGE, "baseline@hard", baseline_target=JUDGE
        )
        return {gain.metric: gain.times for gain in judged.gains}

    assert saved() == {"peak_rss_mb": 1.0}
    old = "the kernel's high-water mark of the training's own process until its last step (VmHWM)"
    run.add(retaught.SYSTEM, "full@hard", "torch/cpu", "peak_rss_mb", 900.0, source=old)
    run.add(retaught.SYSTEM, "baseline@hard", "torch/cpu", "peak_rss_mb", 780.0, source="fresh processes")
    for variant, source in (("full", "torch.cuda.max_memory_reserved"), ("baseline", "fresh processes")):
        run.add(retaught.SYSTEM, f"{variant}@hard", "torch/cpu", "peak_gpu_mb", 900.0, source=source)
    both = results.read(run.path)
    there = judgement.from_rows(both, retaught.SYSTEM, "full@hard", "torch/cpu", "baseline@hard")
    assert there.gains == () and saved() == {"peak_rss_mb": 1.0}
    assert heard_better.lines(both).loc["full", "train_peak_rss_mb"] == 900


def test_what_is_recommended_is_chosen_by_validation_and_then_heard(rows):
    found = heard_better.lines(rows).assign(
        adapter_mb=[33.0, 1.2]
    )  # full hears hard clips best, and forgot clean ones
    near = heard_better.recommended(found.assign(train_loss=[1.0, 1.01]))
    assert near.startswith("**Take lora-r8**") and "1.010, the lowest, of full, 1.000; 2 of 2 methods" in near
    assert "On test clips, which had no say in that: 6.7 % word errors on hard ones" in near
    apart = heard_better.recommended(found.assign(train_loss=[1.0, 1.1]))
    assert apart.startswith("**Take the recogniser as it comes**: full (loss on validation clips 1.000")
    few = found.assign(hard_high=None)  # too few clips for an interval
    assert heard_better.recommended(few).startswith("**Take the recogniser as it comes**: ")
    heard_worse = found.assign(train_loss=[1.0, 0.9], clean_change=0.0, hard=[0.0, 0.1])
    assert heard_better.recommended(heard_worse).startswith("**Take lora-r8**")


def test_how_many_learning_rates_were_tried_is_said(rows):
    found = heard_better.lines(rows)
    assert heard_better.rates(found) == (
        "No learning rate was searched for; the usual ones: full 0.001, lora-r8 0.001."
    )
    searched = found.assign(rates_tried=[{"0.001": 1.5}, {"0.001": 1.5, "0.003": 1.6}])
    assert heard_better.rates(searched).endswith("were tried: full 0.001 of 1, lora-r8 0.001 of 2.")


def test_what_was_missed_is_said(run):
    before, none = lesson("baseline", 6), lesson("full", 8, clean=6)
    retaught.record(run, retaught.SYSTEM, "baseline", JUDGE, before.heard)
    retaught.record(run, retaught.SYSTEM, "full", JUDGE, none.heard, before.heard)
    retaught.record_training(run, recogniser_clips.Plan(), none.taught)
    found = heard_better.lines(results.read(run.path))
    assert (
        "Missed with full, which validation chooses; a quarter fewer, by the whole interval: none"
        in heard_better.gained(found)
    )
    assert "Missed with full, which validation chooses; half a point more" in heard_better.forgotten(found)
    assert heard_better.against_full(found) is None and heard_better.costs(found) is None
    assert "**Take the recogniser as it comes**: full" in heard_better.recommended(found)


def test_nothing_measured_says_nothing():
    none = results.read()
    assert (
        heard_better.longest(none).empty
        and heard_better.lines(none).empty
        and heard_better.before(none) is None
    )
    for say in (heard_better.gained, heard_better.forgotten, heard_better.against_full, heard_better.costs):
        assert say(heard_better.lines(none)) is None
    assert heard_better.recommended(heard_better.lines(none)) is None and heard_better.deployed(none).empty
    assert pictures.over_share(heard_better.lines(none)) is None and pictures.losses({}) is None


def test_the_longest_run_alone_is_shown_of_several_as_long_the_newest(rows):
    older = rows.assign(commit="older", time="2020-01-01T00:00:00+00:00")
    newest = heard_better.longest(pd.concat([older, rows], ignore_index=True))
    assert set(newest.commit) == set(rows.commit) and len(newest) == len(rows)
    steps = heard_better.lines(rows).asked_steps.max()
    known = {"now": heard_better.lines(rows), "recorded": heard_better.lines(results.read())}
    assert heard_better.lengths(known) == [f"now: 2 methods, {steps} steps at most, 12 hard clips heard."]
    longer = older.assign(
        detail=older.detail.str.replace(f'"asked_steps": {steps}', f'"asked_steps": {3 * steps}')
    )
    shown = heard_better.longest(pd.concat([longer, rows], ignore_index=True))
    assert set(shown.commit) == {"older"} and len(shown) == len(rows)


@pytest.mark.parametrize("texts", [7, 12, 40])
@pytest.mark.parametrize("hard", [3, 5, 9])
def test_a_sentence_and_the_floor_say_one_word(run, hard, texts):
    full, lora = lesson("full", 3), lesson("lora-r8", hard)
    before = lesson("baseline", 9)
    for name, one in (("full", full), ("lora-r8", lora)):
        beside = full.heard if name != "full" else None
        retaught.record(run, retaught.SYSTEM, name, JUDGE, one.heard, before.heard, beside)
        trained = dataclasses.replace(one.taught, share_pct=98.0 if name == "full" else 0.8)
        retaught.record_training(run, recogniser_clips.Plan(), trained)
    rows = results.read(run.path)
    rows = rows.assign(detail=rows.detail.str.replace('"n": 12', f'"n": {texts}'))
    found = heard_better.lines(rows)
    (hearing,), (adapter,) = floors_tuned.hard_domain(rows), floors_tuned.small_adapter(rows)
    for sentence, parts in (
        (heard_better.gained(found), hearing.parts[:1]),
        (heard_better.forgotten(found), hearing.parts[1:]),
        (heard_better.against_full(found), adapter.parts),
    ):
        word = floors.TOLD[floors.Answer("", parts).word]
        assert f". {word} with " in sentence, sentence


def test_pictures_have_a_mark_for_each_method(rows):
    figure = pictures.over_share(heard_better.lines(rows))
    assert [text.get_text() for text in figure.axes[0].texts] == ["full", "lora-r8"]
    learning = pictures.losses({"full": lesson("full", 1), "lora-r8": lesson("lora-r8", 1)})
    assert [text.get_text() for text in learning.axes[0].get_legend().get_texts()] == ["full", "lora-r8"]
    bars = pictures.groups({"as it comes": misheard.by_snr(heard(12))}, "snr_db", "dB")
    assert len(bars.axes[0].patches) == len(misheard.by_snr(heard(12)))
    unknown = misheard.by_snr(heard(12)).assign(low=np.nan, high=np.nan)
    caps = pictures.groups({"as it comes": unknown}, "snr_db", "dB").axes[0].lines
    assert len(caps) and all(
        np.isnan(np.asarray(cap.get_ydata(), float)).all() for cap in caps
    )  # none is drawn


def test_a_method_that_cannot_be_taught_is_a_row_that_says_why(run, monkeypatch):
    def fails(name, *_, **__):
        raise ParameterError("no memory for it") if name == "full" else AssertionError(name)

    monkeypatch.setattr(retaught, "chosen", fails)
    monkeypatch.setattr(retaught, "learnt_from", lambda *_: "these clips")
    plan = recogniser_clips.Plan()
    assert retaught.lessons(run, ["full"], plan, None, lesson("baseline", 1), "nowhere") == {}
    row = results.read(run.path).iloc[0]
    assert row.kind == "not_run" and row.detail == "no memory for it" and row.variant == "full@hard"


def test_what_is_deployed_is_chosen_by_validation():
    lessons = {
        "full": retaught.Lesson(taught("full", 1.2), {}),
        "encoder": retaught.Lesson(taught("encoder", 1.4), {}),
    }
    assert retaught.best(lessons).method == "full" and retaught.best({}) is None


def test_a_plan_survives_its_way_into_another_process():
    plan = recogniser_clips.planned(30, prompts=10, read=2, test_prompts=5, test_read=1, seed=3)
    assert recogniser_clips.Plan.of(dataclasses.asdict(plan)) == plan
    assert plan.settings == Settings(steps=30, warmup=3, evaluate_every=10, seed=3)
    with pytest.raises(ParameterError, match="unknown method 'lora-r9'"):
        recogniser.trained("lora-r9", plan, "nowhere", "these clips")
    with pytest.raises(ParameterError, match="as multiples of the usual one"):
        recogniser.chosen("full", plan, "nowhere", "these clips", factors=[])


@pytest.fixture
def embedded(monkeypatch):
    """The corpora of a plan without their packages: a person and two voices, clips of 2 s, test clips of 12 s too."""
    numbers = iter(range(10_000))

    def utterance(name, speaker, split, text, seconds):
        rng = np.random.default_rng(next(numbers))
        waveform = (0.1 * rng.standard_normal(round(seconds * RATE))).astype(np.float32)
        return Utterance(f"{speaker}-{name}", text, text, speaker, split, RATE, lambda: (waveform, RATE))

    def people():
        lengths = {"train": (2.0, 9.0), "validation": (2.0,), "test": (2.0, 12.0)}
        said = [
            utterance(
                f"{split}-{place}-{n}",
                "person",
                split,
                f"{split} {n} {place} alpha {n * 7} beta {place * 3}",
                seconds,
            )
            for split, several in lengths.items()
            for place, seconds in enumerate(several)
            for n in range(2)
        ]
        return SimpleNamespace(utterances=tuple(said))

    def read(voice, sentences, **_):
        made = [utterance(s.id, voice, s.split, s.text, 0.4 * len(s.text.split())) for s in sentences]
        return SimpleNamespace(utterances=tuple(made))

    monkeypatch.setattr(recogniser_clips.recognition, "recordings", people)
    monkeypatch.setattr(recogniser_clips, "_voice", lambda name: name)
    monkeypatch.setattr(recogniser_clips.synthetic, "corpus", read)
    monkeypatch.setattr(recogniser_clips.flite, "corpus", lambda voice, said: read(f"flite-{voice}", said))


def test_forgetting_is_heard_from_voices_that_nobody_trained_on_and_in_long_clips(embedded):
    plan = recogniser_clips.planned(4, read=3, test_prompts=0, test_read=6)
    data = recogniser_clips.data(plan)
    others = {clip.utterance.speaker for clip in data.tests["unheard"]}
    known = {clip.utterance.speaker for clip in (*data.train, *data.validation)}
    assert others == {"flite-rms", "flite-awb"} and not others & known
    assert {clip.domain for clip in data.tests["unheard"]} == {"clean"}
    lengths = {name: [len(c.utterance.load()) / RATE for c in clips] for name, clips in data.tests.items()}
    assert max(lengths["unheard"]) > plan.settings.window_s < max(lengths["hard"])
    assert max(len(clip.utterance.load()) / RATE for clip in data.train) <= plan.settings.window_s
    assert sum("longer than the window" in why for why in data.left_out.values()) >= 2
    assert "Nobody trained on flite-rms or flite-awb" in recogniser_clips.described(data, plan)[0]


def test_where_nobody_else_speaks_that_is_a_row(embedded, run, monkeypatch):
    def nothing(*_):
        raise MissingDataError("no apt here")

    monkeypatch.setattr(recogniser_clips.flite, "corpus", nothing)
    plan = recogniser_clips.planned(4, read=3, test_prompts=0, test_read=6)
    data = recogniser_clips.data(plan)
    assert "unheard" not in data.tests
    assert recogniser_clips.described(data, plan)[-1] == "Without voices that nobody trained on: no apt here"
    monkeypatch.setattr(retaught, "listener", lambda *_, **__: Ears())
    retaught.baseline(run, plan, data)
    rows = results.read(run.path).set_index("variant")
    assert (
        rows.loc["baseline@unheard"].detail == "no apt here" and rows.loc["baseline@unheard"].kind == "not_run"
    )


def test_what_is_learnt_from_is_known_by_sound_and_by_damage(monkeypatch):
    def key(*clips):
        return recogniser_clips.clips_key(recogniser_clips.Data(clips, clips[:1], {}, {}))

    def louder(one):
        waveform, rate = one.utterance.load(), one.utterance.sample_rate
        return dataclasses.replace(
            one, utterance=dataclasses.replace(one.utterance, read=lambda: (2 * waveform, rate))
        )

    one, other = clip(0), clip(1, "room")
    known = key(one, other)
    assert key(one, other) == known
    assert len({known, key(one, louder(other)), key(one, clip(1)), key(one)}) == 4
    monkeypatch.setattr(domains.augment, "room", lambda waveform, *_, **__: 0.5 * waveform)
    assert key(one, other) != known  # the same clip under the same name, in another room


def test_every_method_of_the_table_can_be_prepared():
    import torch
    import transformers

    config = transformers.WhisperConfig(
        vocab_size=64, d_model=64, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=128, decoder_ffn_dim=128, pad_token_id=0, bos_token_id=0,
        eos_token_id=0, decoder_start_token_id=1,
    )  # fmt: skip
    for name, method in recogniser.METHODS.items():
        if name.startswith("qlora"):
            pytest.importorskip("bitsandbytes")
        model = recogniser.prepare(transformers.WhisperForConditionalGeneration(config), method)
        learning = [n for n, p in model.named_parameters() if p.requires_grad]
        assert learning and not any("encoder.embed_positions" in n for n in learning)
        assert all(torch.is_floating_point(p) for n, p in model.named_parameters() if n in learning)
        if method.adapter:
            assert all("lora_" in n for n in learning)


def test_a_recogniser_that_cannot_be_had_is_said_and_replaced(run, tmp_path, monkeypatch):
    plan = recogniser_clips.planned(4, system="nobody/whisper-nowhere")
    with pytest.raises(ParameterError, match="ct2-transformers-converter"):
        recogniser.listening(plan.system, "ctranslate2/cpu")

    def nowhere(*_):
        raise MissingDataError("no hub here")

    monkeypatch.setattr(retaught, "listening", nowhere)
    assert retaught.reachable(run, plan).system == retaught.SYSTEM
    row = results.read(run.path).iloc[0]
    assert row.kind == "not_run" and row.detail == "no hub here" and row.system == plan.system
    embedded = recogniser_clips.planned(4)
    assert retaught.reachable(run, embedded) is embedded


def test_the_learning_rate_of_the_lowest_validation_loss_is_taken(monkeypatch):
    losses = {1e-3: 1.5, 3e-4: 1.2, 3e-3: 1.9, 1e-4: 1.4}

    def trained(name, plan, folder, source, *, rate, threads):
        return dataclasses.replace(taught(name, losses[round(rate, 6)]), rate=rate)

    monkeypatch.setattr(recogniser, "trained", trained)
    best = recogniser.chosen("lora-r8", recogniser_clips.Plan(), "nowhere", "clips", factors=[0.3, 1.0, 3.0])
    assert best.rate == pytest.approx(3e-4) and best.learnt.best_loss == 1.2
    assert list(best.tried.values()) == [1.2, 1.5, 1.9, 1.4]  # one more, beyond the edge


def test_a_rate_that_diverges_is_no_end_of_a_method(monkeypatch):
    def trained(name, plan, folder, source, *, rate, threads):
        if rate > 5e-4:
            raise DivergedError("the loss is nan")
        return dataclasses.replace(taught(name, 2000 * rate), rate=rate)

    monkeypatch.setattr(recogniser, "trained", trained)
    arguments = ("lora-r8", recogniser_clips.Plan(), "nowhere", "clips")
    best = recogniser.chosen(*arguments, factors=[0.1, 0.3, 1.0])
    assert best.rate == pytest.approx(3e-5) and best.tried[1e-3] == float("inf")
    with pytest.raises(DivergedError, match="nan"):
        recogniser.chosen(*arguments, factors=[1.0, 3.0])
