"""Copies taken apart: what of the original is put into them is what comes out, and the rows say how far they lie from
the originals.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from lib import results
from lib.errors import MissingDataError
from lib.measure import held_out_voices
from lib.measure.scorer import Scorer
from lib.metrics import deliberate
from lib.report import parts as worth
from lib.report.collect import records
from lib.report.verdicts import judged
from lib.studies import copy_gap
from lib.studies.copy_gap import CASES, VARIANTS

RATE = 22_050


def spectrum(waveform: np.ndarray, window: int) -> np.ndarray:
    return signal.stft(waveform, nperseg=window, noverlap=window - window // 4)[2]


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    clock = np.arange(RATE) / RATE
    original = 0.2 * np.sin(2 * np.pi * 500 * clock) + 0.2 * np.sin(2 * np.pi * 4_000 * clock)
    return tuple((x + 0.01 * rng.standard_normal(RATE)).astype(np.float32) for x in (original, 0.5 * original[::-1]))


@pytest.mark.parametrize("what", ["magnitudes", "phases"])
@pytest.mark.parametrize("window", [copy_gap.LONG, copy_gap.SHORT])
def test_a_copy_with_what_it_has_already_stays(pair, what, window):
    original, _ = pair
    assert np.abs(copy_gap.mixed(original, original, what, window, None) - original).max() < 1e-5


def test_taken_is_what_was_asked_for_and_where(pair):
    original, copy = pair
    louder = copy_gap.mixed(original, copy, "magnitudes", copy_gap.LONG, None)
    assert np.sqrt(np.mean(louder**2)) == pytest.approx(np.sqrt(np.mean(original**2)), rel=0.15)
    turned = copy_gap.mixed(original, copy, "phases", copy_gap.LONG, None)
    assert np.sqrt(np.mean(turned**2)) == pytest.approx(np.sqrt(np.mean(copy**2)), rel=0.15)
    assert np.corrcoef(turned, original)[0, 1] > 0.95 > np.corrcoef(copy, original)[0, 1]
    low = spectrum(copy_gap.mixed(original, copy, "phases", copy_gap.LONG, copy_gap.LOW_HZ), copy_gap.LONG)
    true, ours = spectrum(original, copy_gap.LONG), spectrum(copy, copy_gap.LONG)
    for hz, theirs in ((500, true), (4_000, ours)):
        row = round(hz * copy_gap.LONG / RATE)
        turn = np.angle(low[row, 5:-5] / theirs[row, 5:-5])
        assert np.abs(turn).max() < 0.1


def test_rows_of_real_copies_are_told_and_drawn(tmp_path, monkeypatch):
    real = held_out_voices.clips

    def clips(voice, limit, threads):
        if voice == "prompts":
            raise MissingDataError("no apt here")
        return real(voice, limit, threads)

    monkeypatch.setattr(held_out_voices, "clips", clips)
    run = results.Run("02_training", tmp_path)
    copy_gap.study(run, Scorer(threads=1), n_clips=2, voices=("hibari", "prompts"), threads=1)
    table = results.read(run.path)
    absent = table[table.kind == "not_run"]
    assert list(absent.variant) == ["passes-0@prompts@gap"] and absent.detail.iloc[0] == "no apt here"
    rated = table[table.kind == "measured"].pivot(index="variant", columns="metric", values="value")
    assert set(rated.index) == {*VARIANTS, *(copy_gap.variant(case, "hibari") for case in CASES)}
    assert all(deliberate(name) for name in rated.index) and judged(records(table)) == []
    mos = rated.mos_predicted
    assert mos["passes-3@gap"] > mos["passes-0@gap"] + 0.1 and mos["true-phases@gap"] > mos["passes-3@gap"]
    assert rated.pesq_wb["true-low-phases@gap"] > rated.pesq_wb["passes-3@gap"] + 0.2
    for voice in ("", "hibari"):
        found = copy_gap.changes(table, voice).set_index("case")
        assert list(found.index) == list(CASES) and (found.n == 2).all()
        assert found.difference["passes-3"] == pytest.approx(found.value["passes-3"] - found.original.iloc[0], abs=1e-3)
    said = copy_gap.verdict(table)
    assert said.startswith(f"The originals have a predicted MOS of {found.original.iloc[0]:.2f} (2 clips, 1 voice)")
    assert f"{mos['passes-0@gap']:.2f} after none" in said and "the true phases below 2 kHz" in said
    (axes,) = worth.draw(copy_gap.changes(table)).axes
    assert {label.get_text() for label in axes.get_yticklabels()} == set(CASES)


def test_without_rows_nothing_is_said():
    nothing = results.read()
    assert copy_gap.verdict(nothing) is None and copy_gap.changes(nothing).empty
    assert worth.draw(copy_gap.changes(nothing)) is None


def test_a_profile_that_is_unknown_ends_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPEECH_OUTPUTS", str(tmp_path))
    assert copy_gap.main(["--profile", "quik", "--clips", "1", "--threads", "1"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("not finished: ") and "quick" in said and said.count("\n") == 1
