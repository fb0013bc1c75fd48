"""Are all forms of a recogniser timed in one bench, laid beside the right one, and shown beside what they hear?"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from lib import results
from lib.errors import ParameterError
from lib.measure import bench, verdict
from lib.measure.benched import Benched
from lib.measure.evaluate import Clip, Judged
from lib.measure.scores import ClipScores, recognised, summarise
from lib.studies import heard_better, listener_forms, recogniser_speed
from lib.studies.recogniser_speed import Form

WORDS = "please enter your number now"
TAGS = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}x" for n in range(40)]
SAID = [f"{tag} enter{tag} your{tag} number now{tag}" for tag in TAGS]  # near to no other
CLIPS = [Clip(f"c{n}", WORDS, np.ones(16_000, np.float32), 16_000) for n in range(8)]
FRESH = {"cold_start_s": 2.0, "load_s": 1.0, "first_sentence_s": 0.5, "peak_rss_mb": 400.0, "cpu_s": 3.0}


def recogniser(target, size_mb=80.0):
    return SimpleNamespace(
        name="whisper-tiny.en",
        variant="saved",
        target=target,
        kind="recogniser",
        origin={"folder": f"/{target}", "target": target},
        size_mb=size_mb,
        fingerprint=lambda: target,
    )


def form(target, variant="full@hard", wrong=0, size_mb=80.0, weights="full", made_of="", written=str):
    """wrong: of so many clips one word of five is misheard; written: what its transcripts look like."""
    said = (text.replace("number", "lumber") if n < wrong else text for n, text in enumerate(SAID))
    return Form(recogniser(target, size_mb), variant, tuple(map(written, said)), weights, made_of)


FORMS = [
    form("torch/cpu", "baseline@hard", 8, weights="baseline"),
    form("torch/cpu", "full+merged@hard"),
    form("ctranslate2/cpu"),
    form("ctranslate2/cpu", "full+int8-dynamic@hard", 4, 40.0, made_of="full@hard", written=str.title),
]
SECONDS = dict(zip((f.label for f in FORMS), (0.4, 0.4, 0.2, 0.1)))


@pytest.fixture
def run(tmp_path):
    return results.Run("03_finetuning", tmp_path)


@pytest.fixture
def fake(monkeypatch):
    """A bench whose rounds and clips differ by some percent, and that fails where it is told to."""
    asked = SimpleNamespace(fails={}, rounds=3)

    def timed(candidates, inputs, **settings):
        asked.candidates, asked.inputs, asked.settings = candidates, inputs, settings
        rng = np.random.default_rng(0)
        noise = np.exp(0.02 * rng.standard_normal((asked.rounds, 1, len(inputs))))
        made = {}
        for label, candidate in candidates.items():
            if label in asked.fails:
                made[label] = Benched(candidate, asked.fails[label])
                continue
            seconds = SECONDS[label] * noise
            stages = {name: seconds / 4 for name in ("features", "encoder", "decoder")}
            rest = {name: np.full(asked.rounds, value) for name, value in FRESH.items()}
            footprint = {"size_mb": 40.0 if "int8" in label else 80.0}
            made[label] = Benched(
                candidate,
                seconds=seconds,
                audio_s=np.ones(len(inputs)),
                stages=stages,
                footprint=footprint,
                **rest,
            )
        return made

    monkeypatch.setattr(bench, "bench", timed)
    return asked


def rows_of(run, forms=FORMS, clips=CLIPS, **settings):
    recogniser_speed.timed(run, forms, SAID, clips, **settings)
    for one in forms:
        run.add("whisper-tiny.en", one.variant, one.recogniser.target, "wer", 0.1, n=40, ci=(0.05, 0.15))
    return results.read(run.path)


def detail(table, variant, target, metric):
    (one,) = table[
        (table.variant == variant) & (table.target == target) & (table.metric == metric)
    ].itertuples()
    return one, json.loads(one.detail) if one.detail.startswith("{") else one.detail


def test_every_form_is_a_candidate_under_its_name_in_rows(run, fake):
    rows_of(run, threads=1, rounds=5, energy=True)
    assert list(fake.candidates) == [f.label for f in FORMS] and len(fake.inputs) == len(CLIPS)
    assert fake.settings == {"rounds": 5, "threads": 1, "seed": 0, "energy": True}
    one = fake.candidates["full+int8-dynamic@hard on ctranslate2/cpu"]
    assert one.names == ("whisper-tiny.en", "full+int8-dynamic@hard", "ctranslate2/cpu") and one.kind == "clip"
    assert one.origin["variant"] == one.variant and one.fingerprint == "ctranslate2/cpu"


def test_speed_is_paired_within_a_runtime_and_with_transformers(run, fake):
    table = rows_of(run)
    row, about = detail(table, "full+int8-dynamic@hard", "ctranslate2/cpu", "rtf")
    assert row.baseline == "full@hard" and about["speedup"]["value"] == pytest.approx(2)
    assert set(about["stages"]) == {"features", "encoder", "decoder"}
    row, about = detail(table, "full+int8-dynamic@hard", "ctranslate2/cpu", "speedup")
    assert row.value == pytest.approx(4) and row.ci_low > 3.9 and row.n == 8
    assert about["of"] == "whisper-tiny.en full+merged@hard on torch/cpu" and about["times_smaller"] == 2
    assert about["identical_pct"] == 0  # its capitals are others
    assert about["wer"]["difference"] == pytest.approx(4 / 200) and about["wer"]["n"] == 40
    speedups = table[table.metric == "speedup"]
    assert set(speedups.variant) == {
        "full@hard",
        "full+int8-dynamic@hard",
    }  # neither the reference nor other weights
    _, about = detail(table, "full@hard", "ctranslate2/cpu", "speedup")
    assert about["identical_pct"] == 100 and about["verdict"] == verdict.WITHOUT_LOSS
    assert about["recommendation"] == verdict.RECOMMENDED and "faster (2.00 times" in about["why"]


def test_clips_of_one_text_are_drawn_together():
    said = ["he likes red apples", "he likes red apples", "she sells green pears"]
    change = recogniser_speed.change(said, said, ["he likes red", "he likes red", "she sells green pears"])
    assert change.n == 2 and change.value == pytest.approx(2 / 12)


def test_what_hears_worse_is_never_recommended(run, fake):
    worse = form("ctranslate2/cpu", "full+int8-dynamic@hard", 30, 40.0, made_of="full@hard")
    _, about = detail(rows_of(run, [*FORMS[:3], worse]), worse.variant, "ctranslate2/cpu", "speedup")
    assert about["verdict"] == verdict.WORSE and about["recommendation"] == verdict.NOT_RECOMMENDED


def test_the_package_is_a_form_to_compare_with(run, fake):
    theirs = form("faster-whisper/cpu", "int8-dynamic", weights="full")
    SECONDS[theirs.label] = 0.15
    table = rows_of(run, [*FORMS, theirs])
    _, about = detail(table, "full+int8-dynamic@hard", "ctranslate2/cpu", "speedup")
    assert (
        about["over faster-whisper"]["times"] == pytest.approx(1.5)
        and about["over faster-whisper"]["ci_low"] > 1.4
    )
    _, about = detail(table, "int8-dynamic", "faster-whisper/cpu", "speedup")
    assert "over faster-whisper" not in about


def test_every_form_of_the_published_recogniser_hears_the_same_clips(run, fake, monkeypatch):
    """Its word errors, and their change within a runtime; a runtime that is not here is a row that says why."""
    loaded = {target: recogniser(target) for target in listener_forms.FORMS}
    loaded["faster-whisper/cpu"].variant = "int8-dynamic"
    for one in list(loaded.values())[:3]:
        one.variant = "baseline"

    def load(name, *, target, threads):
        if target == "onnxruntime/cpu":
            raise ParameterError("no such runtime")
        return loaded[target]

    def made(base, steps, name, folder, *, resume):
        small = recogniser(base.target, 40.0)
        small.variant = name
        return small

    def heard(listener, clips, *, seed):
        scores = [ClipScores(recognised(clip.text, clip.text)) for clip in clips]
        return Judged(tuple(clips), tuple(scores), summarise(scores))

    monkeypatch.setattr(listener_forms.systems, "load", load)
    monkeypatch.setattr(listener_forms.confirmed, "make", made)
    monkeypatch.setattr(listener_forms.evaluate, "heard", heard)
    monkeypatch.setattr(listener_forms.listened, "clips", lambda *_, **__: tuple(CLIPS))
    SECONDS.update(
        {
            "baseline on torch/cpu": 0.4,
            "baseline on ctranslate2/cpu": 0.2,
            "int8-dynamic on ctranslate2/cpu": 0.1,
            "int8-dynamic on faster-whisper/cpu": 0.15,
        }
    )
    assert listener_forms.compared(run, [], 0, "nowhere") == {} and not run.path.exists()
    benched = listener_forms.compared(run, [None] * 8, 5, "nowhere", rounds=3)
    assert len(benched) == 4 and len(fake.inputs) == 5
    # A stage of it that was deployed alone is no form that turns audio into text.
    run.add("whisper-tiny.en", "encoder", "onnxruntime/cpu", "speedup", 99.0, source="made")
    table = results.read(run.path)
    row, about = detail(table, "int8-dynamic", "ctranslate2/cpu", "wer")
    assert row.baseline == "baseline" and about["difference"] == 0
    assert detail(table, "baseline", "onnxruntime/cpu", "rtf")[1] == "no such runtime"
    _, about = detail(table, "int8-dynamic", "ctranslate2/cpu", "speedup")
    assert about["of"] == "whisper-tiny.en baseline on torch/cpu"
    assert about["over faster-whisper"]["times"] == pytest.approx(1.5)
    shown = recogniser_speed.deployed(table, "whisper-tiny.en")
    assert shown.target.tolist() == ["torch/cpu", "ctranslate2/cpu", "ctranslate2/cpu", "faster-whisper/cpu"]
    recorded = table.assign(recorded=True)
    assert len(listener_forms.newest(recorded)) == len(recorded) - 1 and listener_forms.newest(recorded[:0]).empty
    assert (
        len(listener_forms.table(table)) == 4 and listener_forms.table(recorded[:0]) is None
    )  # no headers of nothing
    assert (
        listener_forms.finding(table).startswith("Of 3 forms") and listener_forms.finding(recorded[:0]) is None
    )
    # Two machines: one run is told, whose is said, and its forms alone are counted.
    other = recorded.assign(host="there", commit="old", time="2020-01-01T00:00:00")
    said = listener_forms.finding(listener_forms.newest(pd.concat([recorded, other], ignore_index=True)))
    day, host, commit = table.time.max()[:10], table.host[0], table.commit[0]
    assert said == f"Recorded {day}, {host}, commit {commit}: {listener_forms.finding(table)}"


    some = listener_forms.compared(run, [None] * 8, 5, "nowhere", targets=["faster-whisper/cpu", "torch/cpu"])
    assert list(some) == ["baseline on torch/cpu", "int8-dynamic on faster-whisper/cpu"], "in the table's order"
    with pytest.raises(ParameterError, match="did you mean 'ctranslate2/cpu'"):
        listener_forms.compared(run, [], 1, "nowhere", targets=["ctranslate/cpu"])


def test_one_round_decides_nothing(run, fake):
    fake.rounds = 1
    table = rows_of(run)
    row, about = detail(table, "full@hard", "ctranslate2/cpu", "speedup")
    assert row.ci_low != row.ci_low and about["recommendation"] == verdict.UNDECIDED
    assert "too few rounds or clips for an interval" in heard_better.fastest(table)


def test_a_form_that_fails_says_why_and_the_others_stand(run, fake):
    fake.fails = {"full@hard on ctranslate2/cpu": "killed"}
    table = rows_of(run)
    for metric in ("rtf", "speedup"):
        row, about = detail(table, "full@hard", "ctranslate2/cpu", metric)
        assert row.kind == "not_run" and about == "killed"
    row, about = detail(table, "full+int8-dynamic@hard", "ctranslate2/cpu", "rtf")
    assert row.value == pytest.approx(0.1, rel=0.05) and "speedup" not in about and row.baseline == ""
    assert detail(table, "full+int8-dynamic@hard", "ctranslate2/cpu", "speedup")[0].value == pytest.approx(4)


def test_without_transformers_nothing_is_laid_beside_it(run, fake):
    table = rows_of(run, FORMS[2:])
    assert not (table.metric == "speedup").any() and heard_better.fastest(table) is None
    shown = heard_better.deployed(table)
    assert "times as fast as PyTorch" not in shown.columns and "verdict" not in shown.columns


def test_what_cannot_be_compared_is_refused(run, fake):
    with pytest.raises(ParameterError, match="heard 40 clips of 39"):
        recogniser_speed.timed(run, FORMS, SAID[1:], CLIPS)
    with pytest.raises(ParameterError, match="two forms of one name"):
        recogniser_speed.timed(run, [FORMS[0], FORMS[0]], SAID, CLIPS)
    assert recogniser_speed.timed(run, FORMS, SAID, []) == {} == recogniser_speed.timed(run, [], SAID, CLIPS)
    assert not run.path.exists()


def test_quality_and_cost_stand_side_by_side(run, fake):
    table = rows_of(run)
    shown = heard_better.deployed(table).set_index(["variant", "target"])
    small = shown.loc[("full+int8-dynamic@hard", "ctranslate2/cpu")]
    assert (
        small["WER, %"] == "10.0 [5.0, 15.0]"
        and small["size, MB"] == "40.0"
        and small["same transcripts, %"] == "0"
    )
    assert small["times as fast as PyTorch"].startswith("4.00 [") and small["RTFx"].startswith("10.0 [9.")
    assert small["features / encoder / decoder, ms a second"].count(" / ") == 2
    assert small["cold start, s"] == "2.00 [2.00, 2.00]" and small["peak memory, MB"].startswith("400")
    assert shown.loc[("full+merged@hard", "torch/cpu")]["verdict"] == ""
    good = shown.loc[("full@hard", "ctranslate2/cpu")]
    assert (good["verdict"], good["recommendation"]) == (verdict.WITHOUT_LOSS, verdict.RECOMMENDED)
    assert len(shown) == len(FORMS) and "energy, J/s" not in shown.columns
    assert "full+int8-dynamic@hard on ctranslate2/cpu is the fastest: 4.00 [" in heard_better.fastest(table)
