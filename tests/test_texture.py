"""Over-smoothing: averages of possible spectrograms move less, by as much as is known."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from lib import results
from lib.errors import AudioError
from lib.measure import texture
from lib.report import ladder as charts
from lib.studies import smoothness

RNG = np.random.default_rng(0)


def mels(scale=1.0, n=3, fast=1.0):
    """Log-mels of noise that moves, (200, 80) each; fast: what is left of every other frame's own."""
    made = []
    for _ in range(n):
        slow = np.repeat(RNG.normal(size=(50, 80)), 4, axis=0)
        own = RNG.normal(size=(200, 80)) * fast
        made.append((scale * (slow + own)).astype(np.float32))
    return made


def test_half_the_movement_is_a_quarter_of_the_variance():
    full = mels()
    one, other = texture.texture([0.5 * mel for mel in full]), texture.texture(full)
    ratios = texture.smoother(one, other)
    assert ratios == pytest.approx({"global variance": 0.25, "contrast": 0.25, "fast modulation": 0.25})
    assert other.band_variance == pytest.approx(np.concatenate(full).var(0) * (20 / np.log(10)) ** 2, rel=1e-5)


def test_what_moves_slowly_alone_has_lost_its_fast_modulation():
    ratios = texture.smoother(texture.texture(mels(fast=0.3)), texture.texture(mels()))
    assert ratios["fast modulation"] < 0.6 * ratios["global variance"] + 0.1
    one = texture.texture(
        [np.sin(2 * np.pi * 10.77 * np.arange(400) * 256 / 22_050)[:, None] * np.ones((1, 80))]
    )
    assert one.rates_hz[one.modulation.argmax()] == pytest.approx(
        10.77, abs=0.1
    ) and one.contrast == pytest.approx(0)


def test_pauses_say_nothing_and_short_clips_are_refused():
    loud = mels(n=1)[0]
    paused = np.concatenate([loud, np.full((300, 80), -11.0, np.float32)])
    assert texture.texture([paused]).band_variance == pytest.approx(texture.texture([loud]).band_variance)
    with pytest.raises(AudioError, match="64 spoken frames"):
        texture.texture([loud[:40]])


def found(full, regression, drawn):
    return {
        smoothness.VOICE: texture.texture(full),
        "fastspeech2": texture.texture([regression * mel for mel in full]),
        "converged": texture.texture([drawn * mel for mel in full]),
    }


def test_a_clip_that_counts_twice_is_a_clip_given_twice():
    full = mels(n=3)
    twice, whole = texture.texture([full[0], full[0], full[2]]), texture.texture(full)
    counted = texture.pooled(whole.clips, np.array([2, 0, 1]))
    assert counted.band_variance == pytest.approx(twice.band_variance)
    assert counted.contrast == pytest.approx(twice.contrast)
    assert counted.modulation == pytest.approx(twice.modulation)


def test_the_finding_says_who_is_nearer_to_the_voice():
    full = mels(n=8)
    said = smoothness.finding(found(full, 0.5, 0.9), temperature=0.5)
    assert "temperature 0.5 keeps global variance 0.81 (regression 0.25)" in said
    assert "nearer to the voice in global variance, contrast and fast modulation (8 sentences)" in said
    assert "farther from it in global variance" in smoothness.finding(found(full, 0.9, 0.5), temperature=0.5)
    even = found(full, 0.9, 0.9)
    even["converged"] = texture.texture([mels(0.9, n=1)[0] for _ in full])
    assert "neither, as far as can be told, in" in smoothness.finding(even, temperature=0.5)
    few = found(full[:3], 0.5, 0.9)
    assert "3 sentences, which decide nothing" in smoothness.finding(few, temperature=0.5)
    assert smoothness.table(few).loc["converged", "contrast"] == 0.81
    assert smoothness.finding({smoothness.VOICE: few["converged"]}, temperature=0.5) is None
    figure = charts.textures(found(full, 0.9, 0.5), smoothness.VOICE)
    left = figure.axes[0]
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["fastspeech2", "converged"]
    assert left.lines[1].get_ydata() == pytest.approx(20 * np.log10(0.5), abs=1e-4)
    plt.close("all")


def test_a_row_s_interval_holds_its_value(tmp_path):
    full = mels(n=8)
    run = results.Run("05_distillation", tmp_path)
    heard = {name: [SimpleNamespace(waveform=None, sample_rate=None)] * 8 for name in found(full, 0.5, 0.9)}
    made = iter(found(full, 0.5, 0.9).values())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texture, "of_clips", lambda clips: next(made))
        smoothness.textures(run, heard)
    rows = results.read(run.path)
    assert len(rows) == 6 and (rows.ci_low <= rows.value).all() and (rows.value <= rows.ci_high).all()
