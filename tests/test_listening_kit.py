"""The kit: equally loud, blind, with traps; and what is read back is what was rated."""

from __future__ import annotations

import base64
import csv
import io
import json
import re

import listening_kits as kits
import numpy as np
import pytest

from lib import REPOSITORY
from lib.errors import MissingDataError, ParameterError, SpeechError
from lib.listening import analysis, checks, clips, kit, loudness, ratings

METHODS = tuple(kit.METHODS)


@pytest.fixture(scope="module", params=METHODS)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return kits.make(folder, request.param), kit.read_key(folder / "key.json"), folder


def data(path) -> dict:
    page = path.read_text()
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1)
    )


def test_no_page_tells_who_speaks(made):
    """Neither names nor texts, nor numbers of conditions, nor the answers of traps; in clear or in a clip's bytes."""
    built, key, _ = made
    for path in built.pages:
        told, page_text = data(path), re.sub('"[A-Za-z0-9+/=]{300,}"', "", path.read_text()).lower()
        for same_in_all in ("page.css", "page.js"):
            page_text = page_text.replace((REPOSITORY / "lib/listening" / same_in_all).read_text().lower(), "")
        sounds = b"".join(base64.b64decode(clip) for clip in told["clips"].values()).lower()
        assert len(sounds) > 20_000 and len(page_text) < 100_000
        for name in (
            "vits",
            "joe",
            "hibari",
            "espeak",
            "baseline",
            "pruned",
            "onnx",
            "sentence-",
            "anchor",
            "expected",
        ):
            assert name not in page_text
            assert len(name) < 5 or name.encode() not in sounds
        allowed = {"id", "clips", "kind", "reference"}
        assert all(set(trial) <= allowed for session in told["sessions"] for trial in session)
        assert list(told["clips"]) == sorted(told["clips"])
        for trial in (t for session in told["sessions"] for t in session):
            assert ("kind" in trial) == (key.trials[trial["id"]]["role"] == "level")
    assert key.method == told["method"]


def test_clip_names_are_new_in_each_kit(tmp_path):
    first, second = (data(kits.make(tmp_path / name).pages[0]) for name in "ab")
    assert not set(first["clips"]) & set(second["clips"]) and first["test"] != second["test"]


def test_the_hidden_reference_is_not_found_by_its_bytes(tmp_path):
    built = kits.make(tmp_path, "mushra")
    told = data(built.pages[0])
    assert (
        len(set(told["clips"].values())) == len(told["clips"]) - 1
    )  # volume and one hidden reference are one clip
    for trial in told["sessions"][0][1:]:
        assert (
            trial["reference"] not in trial["clips"] and len(trial["clips"]) == 4
        )  # three, and the low anchor


def test_all_clips_are_equally_loud(made):
    import soundfile

    built, key, _ = made
    told = data(built.pages[0])
    rated = {c for t in key.trials.values() if t["role"] == "rating" for c in t["clips"]} & set(told["clips"])
    assert len(rated) >= 18
    for name in rated:
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(told["clips"][name])))
        assert loudness.lufs(samples.astype(np.float32), rate) == pytest.approx(built.lufs, abs=0.5)


def test_where_one_clip_would_clip_all_are_softer():
    peaky = np.zeros(16_000, np.float32)
    peaky[::800] = 0.5
    both, lufs = loudness.match([kits.sound(100), peaky], [16_000, 16_000])
    assert lufs < loudness.SPEECH_LUFS and np.abs(both[1]).max() == pytest.approx(loudness.PEAK, abs=1e-3)
    assert loudness.lufs(both[0], 16_000) == pytest.approx(lufs, abs=0.05)


def test_loudness_is_that_of_the_standard():
    """ITU-R BS.1770: a 997 Hz sine at full scale in one channel reads -3.01 LKFS."""
    time = np.arange(48_000 * 3) / 48_000
    assert loudness.lufs(np.sin(2 * np.pi * 997 * time).astype(np.float32), 48_000) == pytest.approx(
        -3.01, abs=0.05
    )


def test_each_session_has_its_level_check_first_and_traps_among_the_pages(made):
    _, key, _ = made
    for number in range(1, 7):
        roles = [t["role"] for t in key.trials.values() if t["number"] == number]
        assert roles[0] == "level" and roles.count("level") == 1
        assert roles.count("trap") == (0 if key.method == "mushra" else 2)
        assert roles[1] == "rating" or key.method != "acr"
    expected = [t["expected"] for t in key.trials.values() if t["role"] == "trap"]
    low, high = kit.SCALES[key.method]
    assert all(low <= value <= high for value in expected)
    places = {
        tuple(i for i, t in enumerate(ts) if t["role"] == "trap")
        for ts in ([t for t in key.trials.values() if t["number"] == n] for n in range(1, 7))
    }
    assert key.method == "mushra" or len(places) > 1  # nobody can tell the next listener where they are


def test_tones_are_as_many_and_as_soft_as_said():
    wave = checks.tones(4, speech_rms=0.1)
    loud = np.abs(wave) > np.abs(wave).max() / 4
    starts = np.flatnonzero(np.diff(np.concatenate([[0], np.convolve(loud, np.ones(2_000), "same") > 0])) > 0)
    assert len(starts) == 4
    sine = wave[int(0.4 * 22_050) : int(0.55 * 22_050)]  # the middle of the first
    assert 20 * np.log10(np.sqrt(np.mean(sine**2)) / 0.1) == pytest.approx(-checks.TONES_BELOW_DB, abs=0.5)


def test_a_key_is_never_written_over(tmp_path):
    kits.make(tmp_path)
    with pytest.raises(SpeechError, match="may be in use"):
        kits.make(tmp_path)
    with pytest.raises(MissingDataError, match="nobody knows"):
        kit.read_key(tmp_path / "other.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(SpeechError, match="no key"):
        kit.read_key(tmp_path / "bad.json")
    with pytest.raises(ParameterError, match="did you mean 'acr'"):
        kit.Plan("acrs")


def test_what_was_saved_is_read_back_exactly_from_json_and_from_csv(made, tmp_path):
    _, key, _ = made
    saved = kits.answered(key, 1, 2)
    (tmp_path / "ratings-a.json").write_text(json.dumps(saved))
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(ratings.COLUMNS)
    for r in saved["ratings"]:
        lists = [" ".join(map(str, r[name])) for name in ("clips", "values", "plays")]
        writer.writerow(
            [
                saved["test"],
                saved["group"],
                saved["number"],
                saved["listener"],
                r["trial"],
                *lists,
                r["seconds"],
                r["at"],
            ]
        )
    (tmp_path / "ratings-a.csv").write_text(table.getvalue())
    from_json, from_csv = (ratings.read([tmp_path / f"ratings-a.{kind}"], key) for kind in ("json", "csv"))
    assert from_json == from_csv == ratings.collected(tmp_path, key)
    assert [list(r.values) for r in from_json] == [r["values"] for r in saved["ratings"]]


def test_a_table_says_what_was_heard(made):
    _, key, _ = made
    saved = kits.answered(key, 1, 1)
    table = ratings.table([ratings.checked(saved, r, key) for r in saved["ratings"]], key)
    judged = table[table.role == "rating"]
    means = judged.groupby("condition").value.mean()
    if key.method in ("acr", "mushra"):
        top = [5, 4, 3] if key.method == "acr" else [100, 80, 60]
        assert [means[c.name] for c in key.conditions[:3]] == top
        assert judged.groupby("condition").sentence.nunique().eq(6).all()
    else:
        assert (
            set(judged.other) == {key.conditions[0].name} and (judged.value == -1).all()
        )  # the first is better
        assert len(judged) == 12


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"values": [9]}, "from 1 to 5"),
        ({"values": [True]}, "whole numbers"),
        ({"values": [3.5]}, "whole numbers"),
        ({"values": [3, 3]}, "give 1 of them"),
        ({"values": "3"}, "give 1 of them"),
        ({"plays": [0]}, "plays"),
        ({"clips": ["0" * 12]}, "other clips"),
        ({"trial": "0" * 12}, "no such page"),
        ({"trial": None}, "short text"),
        ({"at": "yesterday"}, "time"),
        ({"seconds": -1}, "seconds"),
    ],
)
def test_what_is_no_rating_is_refused(tmp_path, change, complaint):
    kits.make(tmp_path)
    key = kit.read_key(tmp_path / "key.json")
    saved = kits.answered(key, 1, 1)
    page = next(r for r in saved["ratings"] if key.trials[r["trial"]]["role"] == "rating")
    with pytest.raises(ratings.RatingError, match=complaint):
        ratings.checked(saved, {**page, **change}, key)
    with pytest.raises(ratings.RatingError, match="another listener"):
        ratings.checked({**saved, "number": 2}, page, key)
    with pytest.raises(ratings.RatingError, match="name"):
        ratings.checked({**saved, "listener": "1-1-Robert'); DROP"}, page, key)
    with pytest.raises(ratings.RatingError, match="another test"):
        ratings.checked({**saved, "test": "x"}, page, key)


def test_one_page_rated_twice_and_differently_is_said(tmp_path):
    kits.make(tmp_path)
    key = kit.read_key(tmp_path / "key.json")
    saved = kits.answered(key, 1, 1)
    kits.save(tmp_path, saved)
    (tmp_path / "ratings-again.json").write_text(json.dumps(saved))
    assert len(ratings.collected(tmp_path, key)) == len(saved["ratings"])  # the same file twice counts once
    saved["ratings"][3]["values"] = [saved["ratings"][3]["values"][0] % 5 + 1]
    (tmp_path / "ratings-again.json").write_text(json.dumps(saved))
    with pytest.raises(ratings.RatingError, match="twice, and differently"):
        ratings.collected(tmp_path, key)


def test_rules_are_read_from_the_key_and_leave_out_who_breaks_them(tmp_path):
    kits.make(tmp_path)
    key = kit.read_key(tmp_path / "key.json")
    choices = {
        1: None,
        2: lambda t: (
            [t["expected"] % 5 + 1]
            if t["role"] == "trap"
            else t["expected"] and [t["expected"]] or kits.right(t)
        ),
        3: lambda t: (
            [t["expected"] + 2] if t["role"] == "level" else t["expected"] and [t["expected"]] or kits.right(t)
        ),
        4: lambda t: [t["expected"]] if t["expected"] else [3],
    }
    given = []
    for number, choose in choices.items():
        saved = kits.answered(key, 1, number, choose=choose)
        given += [ratings.checked(saved, r, key) for r in saved["ratings"]]
    half = kits.answered(key, 1, 5)
    given += [ratings.checked(half, r, key) for r in half["ratings"][:5]]
    heard = analysis.hear(given, key)
    why = dict(zip(heard.screened.listener.str[:3], heard.screened.why))
    assert why["1-1"] == "" and "traps" in why["1-2"] and "tones" in why["1-3"] and "same rating" in why["1-4"]
    assert "of the pages" in why["1-5"] and heard.listeners == 1 and heard.everybody.listener.nunique() == 5


def test_a_grid_is_the_largest_without_a_hole():
    every = [stimulus for row in kits.grid() for stimulus in row]
    few = [s for s in every if s.condition != kits.CONDITIONS[2] or s.sentence == "sentence-0"]
    chosen = clips.grid(few)
    assert [len(row) for row in chosen] == [6, 6] and [row[0].condition for row in chosen] == list(
        kits.CONDITIONS[:2]
    )
    with pytest.raises(MissingDataError, match="no two conditions"):
        clips.grid(every[:6])
