"""Sharpened mels judged beside the voice: rows of a real run, and what tables and sentences make of them."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from lib import results
from lib.corpora import gutenberg
from lib.measure.scorer import Scorer
from lib.studies import sharpened


def line(model: str, gain: tuple, away: tuple, floor: float = 0.25, n: int = 100) -> dict:
    return {
        "model": model, "voice": "hibari", "vocoder": "istft", "smooth": 3.4, "sharp": 3.4 + gain[0],
        "gain": gain[0], "gain_low": gain[1], "gain_high": gain[2], "wer_smooth": 5.0, "wer_sharp": 5.0,
        "wer_away": 0.6, "wer_away_low": -0.2, "wer_away_high": 1.4,
        "away": away[0], "away_low": away[1], "away_high": away[2], "floor": -floor,
        "word": sharpened.reached(away[1], away[2], floor), "sentences": n, "run": "",
    }  # fmt: skip


def test_rows_of_a_run_become_a_table(tmp_path):
    run = results.start("02_training", "smoke", outputs=tmp_path)
    few = gutenberg.split("test", 2)
    sharpened.study(run, ["fastspeech2"], few, Scorer(threads=1), by=["hifigan@vits-joe"], keep=1, threads=1)
    rows = results.read(run.path)
    assert set(rows.variant) == {"smooth-by-hifigan@vits-joe", "sharp-by-hifigan@vits-joe"}
    assert set(rows.metric) >= set(sharpened.METRICS) and set(rows.baseline) == {"vits-joe"}
    sharp = rows[(rows.variant == "sharp-by-hifigan@vits-joe") & (rows.metric == "mos_predicted")].iloc[0]
    found = sharpened.table(rows)
    assert len(found) == 1 and found.sharp[0] == sharp.value and found.floor[0] == -0.15
    told = json.loads(sharp.detail)
    assert found.gain[0] == pytest.approx(found.sharp[0] - found.smooth[0], abs=1e-3)
    assert told["gained"]["n"] == told["n"] == 2 and found.word[0] == "undecided"
    assert sharpened.finding(found) == ["vits-joe through hifigan: 2 sentences decide nothing."]
    assert sharpened.table(rows[:0]).empty and sharpened.finding(sharpened.table(rows[:0])) == []


def test_a_sentence_says_who_gains_and_who_is_near_enough():
    found = pd.DataFrame(
        [
            line("fastspeech2", (0.66, 0.6, 0.7), (-0.1, -0.14, -0.05), 0.15),
            line("tacotron2", (0.05, -0.1, 0.2), (-1.9, -2.0, -1.8)),
            line("tortoise", (0.5, 0.4, 0.6), (-0.3, -0.4, -0.2)),
        ]
    )
    (said,) = sharpened.finding(found)
    assert said == (
        "As hibari, through istft, sharpening makes 2 of 3 models sound better (fastspeech2 +0.66 [+0.60, +0.70], "
        "tacotron2 +0.05 [-0.10, +0.20], tortoise +0.50 [+0.40, +0.60]). Nearest to the voice comes fastspeech2: -0.10 "
        "[-0.14, -0.05] predicted MOS; the floor is met by fastspeech2; missed for tacotron2; undecided for tortoise. "
        "Of fastspeech2 the recogniser misses +0.6 [-0.2, +1.4] points of words more than of the voice."
    )


def test_many_sentences_of_an_earlier_run_are_not_hidden_by_a_few_of_this_one(tmp_path):
    found = pd.DataFrame(
        [
            line("fastspeech2", (0.66, 0.6, 0.7), (-0.1, -0.14, -0.05), 0.15),
            line("tacotron2", (0.05, -0.1, 0.2), (-1.9, -2.0, -1.8), n=2),
        ]
    )
    (said,) = sharpened.finding(found)
    assert "1 of 1 models" in said and "tacotron2" not in said
    of = sharpened.variant("sharp", "hibari", "istft")
    row = {"metric": "mos_predicted", "value": 4.0, "variant": of, "system": "x"}
    rows = pd.DataFrame([{**row, "n": 100, "time": "2026-01-01"}, {**row, "n": 2, "time": "2026-02-01"}])
    ((_, (_, chosen)),) = sharpened._newest(rows)
    assert chosen.n == 100
