"""What the predictors are worth: damage is what it says it is, effects are those that arithmetic gives, and the
report's words of a predictor follow from its rows.
"""

import json

import numpy as np
import pytest

from lib import audio, features, prosody, psola, results, systems
from lib.corpora import gutenberg
from lib.errors import AudioError, ParameterError
from lib.measure import evaluate
from lib.measure.scorer import Scorer
from lib.metrics import METRICS, deliberate
from lib.report import hearing, limits, summary, tables, verdicts, vocabulary
from lib.report.collect import records
from lib.studies import damages, predictors


@pytest.fixture(scope="module")
def clips():
    """Two sentences of a good voice."""
    return evaluate.speak(systems.load("hibari", threads=1), gutenberg.split("test", 2))


@pytest.fixture(scope="module")
def placed(clips):
    kept, places = damages.alignable(clips)
    assert [clip.id for clip in kept] == [clip.id for clip in clips]
    return places


def melody(waveform, rate):
    """(median in Hz, 5th to 95th percentile in semitones)"""
    found = prosody.prosody(waveform, rate)
    return found.f0_median_hz, found.f0_range_st


def test_the_melody_moves_as_far_as_it_is_told(clips):
    wave, rate = clips[0].waveform, clips[0].sample_rate
    middle, spread = melody(psola.resynthesised(wave, rate), rate)
    assert middle == pytest.approx(melody(wave, rate)[0], rel=0.01)
    for semitones in (5, -5):
        moved = psola.shifted(wave, rate, semitones)
        assert len(moved) == len(wave) and np.abs(moved).max() <= 1
        assert 12 * np.log2(melody(moved, rate)[0] / middle) == pytest.approx(semitones, abs=0.3)
    half, none = (melody(psola.flattened(wave, rate, share), rate) for share in (0.5, 1))
    assert half[1] == pytest.approx(spread / 2, rel=0.25) and none[1] < 0.15 * spread
    assert none[0] == pytest.approx(middle, rel=0.02)


def test_a_stretch_lasts_as_long_as_it_is_told(clips):
    wave, rate = clips[0].waveform, clips[0].sample_rate
    longer = psola.stretched(wave, rate, [0.5, 1.0], [1.0, 2.0])
    assert len(longer) / rate == pytest.approx(len(wave) / rate + 0.5, abs=0.02)
    with pytest.raises(ParameterError, match="rising ends"):
        psola.stretched(wave, rate, [1.0, 0.5], [1, 1])
    with pytest.raises(ParameterError, match="outside 0.25 to 4"):
        psola.stretched(wave, rate, [1.0], [9])
    with pytest.raises(ParameterError, match="give 0 to 1"):
        psola.flattened(wave, rate, 2)
    with pytest.raises(AudioError, match="shorter"):
        psola.shifted(wave[20_000:20_100], rate, 1)


def apart_by(wave, before, rate):
    """Mean distance of two log-mels: Griffin-Lim's phases are random, so samples say nothing."""
    return float(
        np.abs(
            *np.diff([features.log_mel(audio.resample(w, rate, 22_050)) for w in (wave, before)], axis=0)
        ).mean()
    )


def test_every_damage_does_something_more_at_every_level(clips, placed):
    for way in damages.DAMAGES:
        before, apart = clips[0].waveform, []
        for level in way.levels:
            (made, _) = damages.damaged(clips, way, level, placed)
            again = damages.damaged(clips[:1], way, level, placed)[0]
            assert np.array_equal(made.waveform, again.waveform), way.name  # seeded
            assert made.waveform.dtype == np.float32 and np.abs(made.waveform).max() <= 1, way.name
            if way.aligned:
                assert len(made.waveform) == len(before), way.name
                apart.append(apart_by(made.waveform, before, clips[0].sample_rate))
        if way.aligned and way.against == damages.CLEAN:
            assert sorted(apart) == apart and apart[0] > 0, way.name
        assert way.variants[0] == f"{way.name}-{way.levels[0]:g}"


def test_clipping_cuts_that_share_and_keeps_the_level():
    wave = (0.3 * np.random.default_rng(0).standard_normal(24_000).clip(-3, 3)).astype(np.float32)
    cut = damages.clipped(wave, 24_000, 20)
    assert np.mean(np.abs(cut) >= np.abs(cut).max() - 1e-6) == pytest.approx(0.2, abs=0.001)
    assert audio.level_dbfs(cut, 24_000) == pytest.approx(audio.level_dbfs(wave, 24_000), abs=0.1)


def test_skipped_words_are_cut_out_and_wrong_durations_keep_the_length(clips, placed):
    clip, place = clips[0], placed[0]
    one, three = (damages.skipped(clip.waveform, clip.sample_rate, n, place, 7) for n in (1, 3))
    lengths = sorted(word.end_s - word.begin_s for word in place.words[1:-1])
    gone = (len(clip.waveform) - len(one)) / clip.sample_rate
    assert lengths[0] - 0.01 <= gone <= lengths[-1] + 0.01 and len(three) < len(one)
    wrong = damages.mistimed(clip.waveform, clip.sample_rate, 60, place, 7)
    assert len(wrong) == pytest.approx(len(clip.waveform), rel=0.1) and len(wrong) != len(clip.waveform)


def row(run, system, variant, metric, gap, sd, n=10, tau=None, baseline="clean@predictors"):
    detail = {"difference": gap, "ci_low": None, "ci_high": None, "p_value": 1.0, "sd": sd, "n": n}
    value = 4.0 + gap if metric != "wer" else max(0.0, gap)
    run.add(
        system,
        f"{variant}@predictors",
        "onnxruntime/cpu",
        metric,
        value,
        n=n,
        baseline=baseline,
        detail=detail | ({} if tau is None else {"tau": tau}),
    )


# damage -> gaps of its levels in predicted MOS
GAPS = {
    "noise": (-0.5, -1.0, -2.0),
    "band": (-0.9, -0.3),
    "clipping": (-0.2, -0.8),
    "griffin-lim": (-0.3, -1.0),
    "pitch-up": (-0.1, -0.6),
    "pitch-down": (0.2, 0.4),
    "flat": (0.0, 0.01),
    "timing": (-0.01, 0.02),
    "skipped": (-0.01, -0.02),
}


@pytest.fixture
def run(tmp_path):
    made = results.Run("07_listening_test", tmp_path)
    for system in ("hibari", "vits-joe"):
        for way in damages.DAMAGES:
            for variant, gap in zip(way.variants, GAPS[way.name]):
                row(made, system, variant, "mos_predicted", gap, 0.1, tau=0.9)
    return made


def test_effects_are_pooled_over_voices():
    """Means of 4 and 6 clips: (4 * 1 + 6 * 2) / 10; variance (4 * 2^2 + 6 * 1^2) / 100; t with 8 degrees of freedom."""
    voices = [{"difference": 1.0, "sd": 2.0, "n": 4}, {"difference": 2.0, "sd": 1.0, "n": 6}]
    effect = predictors._pooled(voices, 20)
    assert effect.value == pytest.approx(1.6) and effect.n == 10
    assert effect.high - effect.value == pytest.approx(2.306 * np.sqrt(0.22), rel=1e-3)
    assert effect.in_sd == pytest.approx(1.6 / np.sqrt((3 * 4 + 5 * 1) / 8))
    alone = predictors._pooled(voices[:1], 20)  # of one voice it is the paired t test
    assert alone.p_value == pytest.approx(0.391, abs=1e-3)
    assert predictors._pooled([{"difference": 1.0, "sd": None, "n": 1}], 20) is None
    same = predictors._pooled([{"difference": 0.0, "sd": 0.0, "n": 5}], 20)
    assert (same.value, same.low, same.high, same.in_sd, same.p_value) == (0, 0, 0, None, 1)


def test_a_judge_hears_misses_or_prefers_and_the_levels_have_an_order(run):
    known = predictors.senses(results.read(run.path))
    words = {name: sense.word for (_, name), sense in known.items()}
    assert [name for name, word in words.items() if word == predictors.PREFERS] == ["pitch-down"]
    assert {n for n, w in words.items() if w == predictors.MISSES} == {"flat", "timing", "skipped"}
    assert known["mos_predicted", "noise"].ordered and not known["mos_predicted", "band"].ordered
    assert known["mos_predicted", "noise"].tau == pytest.approx(0.9)
    assert [e.level for e in known["mos_predicted", "noise"].effects] == [30, 20, 10]


def test_it_is_said_in_words_that_follow_from_the_rows(run, tmp_path):
    table = results.read(run.path)
    said = predictors.finding(table)
    assert said.startswith("On 20 clips with known damage, predicted MOS hears white noise (10 dB: −2.00)")
    assert "does not notice flat pitch (100 % of the melody: +0.01), wrong durations" in said
    assert "prefers pitch lowered (5 semitones: +0.40)" in said and "in their order" in said
    assert "holds here: predicted MOS misses flat pitch" in predictors.prosody(table)
    assert predictors.finding(table, "dnsmos_ovrl") is None and predictors.prosody(table, "wer") is None
    other = results.Run("07_listening_test", tmp_path / "other")
    for way in damages.DAMAGES:
        for variant in way.variants:
            row(other, "hibari", variant, "mos_predicted", 0.0 if "pitch" in variant else -1.0, 0.1)
    assert "fails here: predicted MOS hears flat" in predictors.prosody(results.read(other.path))
    assert predictors.finding(results.read()) is None and predictors.senses(results.read()) == {}


def test_the_reports_words_of_predicted_mos_are_those_of_its_rows(run):
    rows = records(results.read(run.path))
    computed = hearing.definition("mos_predicted", rows)
    assert computed.startswith(vocabulary.DEFINITIONS["mos_predicted"]) and "does not notice flat" in computed
    assert hearing.definition("mos_predicted", []).endswith(hearing.UNKNOWN)
    assert hearing.definition("wer", rows) == vocabulary.DEFINITIONS["wer"]
    assert hearing.columns(["mos_predicted"], rows)[0].definition == computed


def test_what_this_run_found_comes_before_what_was_recorded(run):
    import dataclasses

    now = records(results.read(run.path))
    earlier = [dataclasses.replace(r, recorded=True, commit="old", value=1.0) for r in now]
    for one in earlier:
        object.__setattr__(one, "detail", json.dumps(json.loads(one.detail) | {"difference": -9.0}))
    assert hearing.said("mos_predicted", [*earlier, *now]) == hearing.said("mos_predicted", now)
    assert "−9.00" in hearing.said("mos_predicted", earlier)


def test_damage_on_purpose_is_no_variant_and_no_best_voice(run):
    run.add("hibari", "clean@predictors", "onnxruntime/cpu", "mos_predicted", 4.5, n=10)
    rows = records(results.read(run.path))
    assert deliberate(rows[0].variant) and predictors.SUFFIX == "@predictors"
    assert verdicts.judged(rows) == [] and tables.wide(rows) == [] and summary.sentences(rows) == []


def test_the_picture_has_a_panel_for_every_judge_and_damage(run):
    row(run, "hibari", "noise-30", "f0_error_cents", 1.0, 1.0)
    row(run, "hibari", "noise-20", "f0_error_cents", 2.0, 1.0)
    row(run, "hibari", "noise-10", "f0_error_cents", 3.0, 1.0)
    known = predictors.senses(results.read(run.path))
    figure = hearing.figure(known)
    panels = figure.axes
    assert len(panels) == 2 * len(damages.DAMAGES)
    assert [a.get_title(loc="left") for a in panels[: len(damages.DAMAGES)]] == [
        way.label for way in damages.DAMAGES
    ]
    line = panels[0].lines[1]
    assert list(line.get_ydata()) == pytest.approx([0, -0.5, -1.0, -2.0])
    low, high = panels[len(damages.DAMAGES)].get_ylim()
    assert low > high, "a pitch error grows downwards: worse is down"
    assert hearing.figure({}) is None
    assert list(predictors.table_of(known).columns) == [
        METRICS["mos_predicted"].label,
        METRICS["f0_error_cents"].label,
    ]


def test_the_study_writes_paired_rows(clips, tmp_path):
    made = results.Run("07_listening_test", tmp_path)
    voice = systems.load("hibari", threads=1)
    one = predictors.Source("hibari", voice.target, clips, evaluate.reference_clips(voice, threads=1))
    predictors.study(made, [one], 2, Scorer(threads=1), ways=(damages.named("noise"),))
    table = results.read(made.path).set_index(["variant", "metric"])
    clean, noisy = (table.loc[(f"{v}@predictors", "mos_predicted")] for v in ("clean", "noise-10"))
    detail = json.loads(noisy.detail)
    assert noisy.baseline == "clean@predictors" and clean.baseline == "" and noisy.n == 2
    assert (
        detail["difference"] == pytest.approx(noisy.value - clean.value, abs=1e-3) and detail["difference"] < -1
    )
    assert detail["tau"] == 1.0
    assert table.loc[("noise-10@predictors", "f0_error_cents")].value < 50
    assert {m for _, m in table.index} == set(predictors.JUDGES)
    known = predictors.senses(results.read(made.path))
    assert known["mos_predicted", "noise"].ordered
    with pytest.raises(ParameterError, match="did you mean 'noise'"):
        damages.named("nois")


def test_the_reports_limits_say_it_and_count_no_damaged_clips(run):
    run.add("hibari", "baseline", "onnxruntime/cpu", "mos_predicted", 4.5, n=40)
    said = limits.sentences(records(results.read(run.path)))
    assert hearing.said("mos_predicted", records(results.read(run.path))) in said
    assert (
        "Quality stands on 40 sentences a voice: the intervals say how other sentences of this kind would do, "
        "not how other texts would." in said
    )
