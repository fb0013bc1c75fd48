"""Are the statistics right? Listeners with a known opinion, worked examples, and rows that say what they are."""

from __future__ import annotations

import dataclasses
import itertools

import listening_kits as kits
import numpy as np
import pandas as pd
import pytest

from lib import results
from lib.errors import ParameterError
from lib.listening import analysis, coverage, crossed, design, kit, power, ratings, simulated
from lib.measure import judgement, stats, verdict

MEANS = coverage.MEANS  # before rounding; the first and the last are the same
OPINIONS = {
    "mixed": simulated.Opinions(),
    "tastes differ": simulated.Opinions(listener=0.8, sentence=0.1, taste=0.6, fit=0.1),
}


def sessions(listeners: int, groups: int) -> list:
    """As many sessions as listeners, of groups in turn."""
    made = design.acr(3, 12, groups, -(-listeners // groups))
    return [session for same in zip(*made) for session in same][:listeners]


def of(table: pd.DataFrame, a: int, b: int) -> crossed.Ratings:
    both = table[table.condition.isin((a, b))]
    return crossed.Ratings.of(both.value, both.listener, both.sentence, both.condition == b)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("listeners", [5, 10, 30])
@pytest.mark.parametrize("name", OPINIONS)
def test_intervals_cover_the_truth_and_tests_keep_their_level(name, listeners, groups):
    """500 simulated tests: how often the intervals of a mean and of a difference cover what all listeners and
    sentences would say; neither the test by means nor that by ranks cries wolf.
    """
    counted = coverage.count(listeners, groups=groups, opinions=OPINIONS[name], simulations=500)
    print(name, listeners, groups, counted)
    assert 0.91 <= counted["mean"] <= 0.985 and 0.91 <= counted["difference"] <= 0.99
    assert counted["false_means"] <= 0.07 and counted["false_ranks"] <= 0.07


def test_an_interval_that_takes_each_rating_for_a_new_one_covers_far_too_seldom():
    """Why all this: Student's t over 60 ratings of five people covers the truth in well below 92 %."""
    from scipy.stats import t

    truth, heard, covered = simulated.truth(MEANS, simulated.Opinions())[0], sessions(5, 1), []
    for seed in range(200):
        own = simulated.acr(heard, MEANS, seed=seed).query("condition == 0").value
        half = t.ppf(0.975, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own))
        covered.append(abs(own.mean() - truth) <= half)
    assert np.mean(covered) < 0.8


def test_the_truth_is_the_mean_of_very_many_ratings():
    opinions = simulated.Opinions()
    many = design.acr(3, 300, 1, 1)[0] * 300
    table = simulated.acr(many, (4.6, 3.0, 1.2), opinions, seed=1)
    assert table.groupby("condition").value.mean().to_numpy() == pytest.approx(
        simulated.truth((4.6, 3.0, 1.2), opinions), abs=0.08
    )
    assert set(table.value) == {1, 2, 3, 4, 5}


def test_the_variance_of_a_complete_table_is_that_of_the_textbook():
    """Two-way random effects without repetition: (MS listeners + MS sentences - MS rest) / n."""
    rng = np.random.default_rng(0)
    people, said = 6, 9
    y = 3 + rng.normal(0, 1, people)[:, None] + rng.normal(0, 1, said) + rng.normal(0, 0.5, (people, said))
    who, what = np.indices(y.shape)
    estimate = crossed.mean(crossed.Ratings.of(y.ravel(), who.ravel(), what.ravel()))
    mean_l, mean_s = y.mean(axis=1), y.mean(axis=0)
    ms_l = said * ((mean_l - y.mean()) ** 2).sum() / (people - 1)
    ms_s = people * ((mean_s - y.mean()) ** 2).sum() / (said - 1)
    rest = y - mean_l[:, None] - mean_s + y.mean()
    ms_e = (rest**2).sum() / ((people - 1) * (said - 1))
    variance = (ms_l + ms_s - ms_e) / y.size
    freedom = variance**2 / ((ms_l / y.size) ** 2 / (people - 1) + (ms_s / y.size) ** 2 / (said - 1))
    from scipy.stats import t

    half = t.ppf(0.975, freedom) * np.sqrt(variance)
    assert (estimate.low, estimate.high) == pytest.approx((y.mean() - half, y.mean() + half))


def test_generosity_and_hard_sentences_do_not_move_a_difference_within_listeners():
    table = simulated.acr(sessions(6, 1), MEANS, seed=3)
    before = crossed.difference(of(table, 0, 1))
    shifted = table.assign(value=table.value + 10 * table.listener)
    after = crossed.difference(of(shifted, 0, 1))
    assert (after.value, after.low, after.high) == pytest.approx((before.value, before.low, before.high))
    harder = crossed.difference(of(table.assign(value=table.value - table.sentence), 0, 1))
    assert (harder.value, harder.low) == pytest.approx((before.value, before.low))


def test_a_rank_test_asks_for_the_order_alone():
    table = simulated.acr(sessions(8, 1), MEANS, seed=5)
    stretched = table.assign(value=table.value**5)
    assert crossed.superiority(of(table, 0, 1)) == crossed.superiority(of(stretched, 0, 1))
    a, b = (table[table.condition == c] for c in (0, 1))
    above = [
        np.mean((np.subtract.outer(mine.value.to_numpy(), a[a.listener == who].value.to_numpy()) > 0) * 1.0)
        + np.mean((np.subtract.outer(mine.value.to_numpy(), a[a.listener == who].value.to_numpy()) == 0) * 0.5)
        for who, mine in b.groupby("listener")
    ]
    assert crossed.superiority(of(table, 0, 1)).value + 0.5 == pytest.approx(np.mean(above))


def test_holm_agrees_with_a_worked_example_and_keeps_order():
    assert stats.holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert stats.holm([0.5, 0.001, 0.4]) == pytest.approx([0.8, 0.003, 0.8])
    assert stats.holm([]) == []
    p = np.random.default_rng(1).uniform(size=20)
    corrected = np.array(stats.holm(p))
    assert (corrected >= np.minimum(1, p)).all() and (np.diff(corrected[np.argsort(p)]) >= 0).all()


def test_too_few_listeners_or_sentences_have_no_interval():
    few = simulated.acr(sessions(3, 1), MEANS)
    assert crossed.difference(of(few, 0, 1)).ci is None
    known = crossed.mean(crossed.Ratings.of([1, 2, 3, 4] * 3, [0, 1, 2, 3] * 3, [0] * 4 + [1] * 4 + [2] * 4))
    assert known.value == 2.5 and known.ci is None
    with pytest.raises(ParameterError, match="no listener rated both"):
        crossed.difference(crossed.Ratings.of([1, 2], [0, 1], [0, 0], [0, 1]))


def test_a_larger_power_is_promised_and_kept():
    """The planned power is how often simulated listeners find the difference."""
    opinions = simulated.Opinions(listener=0.4, sentence=0.2, taste=0.25, fit=0.2, rest=0.7)
    means = (2.8, 3.2)
    gap = float(np.diff(simulated.truth(means, opinions))[0])
    assumed = power.Assumption(0.25, 0.2, np.hypot(0.7, np.sqrt(1 / 12)))  # rounding to whole numbers adds 1/12
    promised = power.power(gap, power.Size(12, 10, 10), assumed)
    heard = design.acr(2, 10, 1, 12)[0]
    significant = [
        crossed.difference(of(simulated.acr(heard, means, opinions, seed), 0, 1)).significant
        for seed in range(400)
    ]
    assert 0.5 < promised < 0.95
    assert np.mean(significant) == pytest.approx(promised, abs=0.07)


def test_power_is_that_of_the_noncentral_t_and_grows_with_the_difference():
    """With many sentences that all suit alike, the test is a paired t test over listeners."""
    from scipy.integrate import quad
    from scipy.stats import chi2, norm, t

    def paired_power(gap, sd, n):  # P(|T| > edge) of the noncentral t by quadrature over its denominator
        edge, shift = t.ppf(0.975, n - 1), gap / sd * np.sqrt(n)
        outside = lambda w: norm.sf(edge * np.sqrt(w / (n - 1)) - shift) * chi2.pdf(w, n - 1)  # noqa: E731
        return quad(outside, 0, 10 * n)[0]

    assumed = power.Assumption(taste=0.5, fit=0.0, rest=1e-6)
    for gap, listeners in ((0.3, 10), (0.5, 15), (0.2, 40)):
        expected = paired_power(gap, 0.5 * np.sqrt(2), listeners)
        assert power.power(gap, power.Size(listeners, 1_000, 1), assumed) == pytest.approx(expected, abs=0.005)
    rising = [power.power(gap, power.Size(10, 12, 12)) for gap in np.linspace(0, 4, 60)]
    assert rising[0] == pytest.approx(0.05, abs=0.001) and rising[-1] == pytest.approx(1)
    assert (np.diff(rising) >= -1e-9).all()


def test_a_pilot_gives_back_what_ratings_vary_by():
    opinions = simulated.Opinions(listener=0.3, sentence=0.3, taste=0.4, fit=0.3, rest=0.7)
    estimates = []
    for seed in range(20):
        table = simulated.acr(design.acr(3, 24, 1, 24)[0], (3.0, 3.2, 2.8), opinions, seed)
        estimates.append(dataclasses.astuple(power.of_pilot(table))[:3])
    taste, fit, rest = np.mean(estimates, axis=0)
    assert (taste, fit) == pytest.approx((0.4, 0.3), abs=0.06)
    assert rest == pytest.approx(np.hypot(0.7, np.sqrt(1 / 12)), abs=0.04)
    assert power.of_pilot(simulated.acr(design.acr(3, 6, 1, 24)[0], (3.0, 3.2, 2.8))) is None


def test_power_grows_with_listeners_and_sentences_and_sentences_alone_bound_it():
    sizes = [power.power(0.3, power.Size(n, 12, 12)) for n in (5, 10, 30, 100)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] < 1
    assert power.listeners_needed(0.1, 8) is None  # eight sentences cannot tell, whoever listens
    table = power.table([12, 48])
    assert list(table.columns) == ["0.1 MOS", "0.2 MOS", "0.5 MOS"]
    needed = power.listeners_needed(0.5, 12)
    assert power.power(0.5, power.Size(needed, 12, 12)) >= verdict.POWER
    assert power.power(0.5, power.Size(needed - 1, 12, 12)) < verdict.POWER
    least = power.detectable(power.Size(20, 24, 24))
    assert power.power(least, power.Size(20, 24, 24)) == pytest.approx(verdict.POWER, abs=0.01)


def rated(folder, listeners: int = 6, choose=None) -> tuple[kit.Key, list]:
    """A kit and the ratings of scripted listeners, who are no result either."""
    kits.make(folder, listeners=listeners)
    key = kit.read_key(folder / "key.json")
    given = []
    for number in range(1, listeners + 1):
        rng = np.random.default_rng(number)

        def say(trial):
            if trial["expected"] is not None:
                return [trial["expected"]]
            return [int(np.clip(np.rint(4.2 - 0.9 * trial["shown"][0] + rng.normal(0, 0.6)), 1, 5))]

        saved = kits.answered(key, 1, number, choose=choose or say)
        given += [ratings.checked(saved, r, key) for r in saved["ratings"]]
    return key, given


def test_opinions_and_differences_of_a_whole_test(tmp_path):
    key, given = rated(tmp_path)
    heard = analysis.hear(given, key)
    means = analysis.opinions(heard.table)
    assert list(means) == [c.name for c in key.conditions] and heard.listeners == 6
    compared = analysis.compare(heard.table)
    assert [(c.a, c.b) for c in compared] == list(itertools.combinations(means, 2))
    for pair in compared:
        assert pair.difference.value < 0 and pair.superiority.value < 0.5
        assert pair.p_means >= pair.difference.p_value and pair.p_ranks >= pair.superiority.p_value
    assert compared[1].p_means < 0.01 and compared[1].p_ranks < 0.01


def test_a_verdict_has_the_margin_of_section_8(tmp_path):
    def pair(low, high, n=20):
        middle = (low + high) / 2
        d = stats.Difference(middle, low, high, n, 0.5, 0.1)
        return analysis.Compared("a", "b", d, d, 0.5, 0.5)

    words = [
        analysis.verdicts([pair(*ends)])["b against a"].word
        for ends in ((-0.09, 0.1), (-0.5, -0.11), (-0.2, 0.1))
    ]
    assert words == [verdict.WITHOUT_LOSS, verdict.WORSE, verdict.UNDECIDED]
    assert analysis.verdicts([pair(-0.05, 0.05, n=5)])["b against a"].word == verdict.UNDECIDED


def test_preferences_are_turned_the_right_way_round(tmp_path):
    kits.make(tmp_path, "ab")
    key = kit.read_key(tmp_path / "key.json")
    given = []
    for number in range(1, 7):
        saved = kits.answered(key, 1, number)
        given += [ratings.checked(saved, r, key) for r in saved["ratings"]]
    compared = analysis.preferences(analysis.hear(given, key).table)
    assert {(c.a, c.b) for c in compared} == {(key.conditions[0].name, c.name) for c in key.conditions[1:]}
    assert all(c.difference.value == -1 for c in compared)  # everybody preferred the first condition


def test_agreement_with_a_predictor(tmp_path):
    key, given = rated(tmp_path, listeners=8)
    table = analysis.hear(given, key).table
    good = {(c, s): -i for i, c in enumerate(x.name for x in key.conditions) for s in table.sentence.unique()}
    right = analysis.agreement(table, good)
    wrong = analysis.agreement(table, {pair: -value for pair, value in good.items()})
    assert right.pearson.value > 0.8 and right.pearson.low > 0.5 and right.pearson.n == 18
    assert wrong.spearman.value == pytest.approx(-right.spearman.value)
    assert right.pearson.low <= right.pearson.value <= right.pearson.high
    assert analysis.agreement(table, good, by="condition") is None  # three points are no correlation
    assert analysis.agreement(table, dict.fromkeys(good, 3.0)) is None


def test_without_listeners_rows_say_so_and_with_them_they_are_measured(tmp_path):
    key, given = rated(tmp_path / "kit", listeners=6)
    nobody, somebody = (results.Run("07_listening_test", tmp_path / name) for name in ("none", "some"))
    analysis.write(nobody, key, None)
    table = results.read(nobody.path)
    assert set(table.kind) == {"not_run"} and set(table.detail) == {"no listeners yet"} and len(table) == 3
    analysis.write(somebody, key, analysis.hear(given, key))
    table = results.read(somebody.path)
    assert set(table.kind) == {"measured"} and set(table.metric) == {"mos_human"} and table.ci_low.notna().all()
    assert table.n.tolist() == [36, 36, 36]


def test_a_variant_that_people_heard_beside_its_baseline_is_judged_by_them(tmp_path):
    kits.CONDITIONS, before = (
        (kits.CONDITIONS[0], dataclasses.replace(kits.CONDITIONS[0], variant="int4")) + (kits.CONDITIONS[2],),
        kits.CONDITIONS,
    )
    try:
        key, given = rated(tmp_path / "kit", listeners=8)
    finally:
        kits.CONDITIONS = before
    run = results.Run("07_listening_test", tmp_path)
    analysis.write(run, key, analysis.hear(given, key))
    table = results.read(run.path)
    made = judgement.from_rows(table, "vits-joe", "int4", "onnxruntime/cpu", required=(verdict.HEARD,))
    assert "MOS by listeners" in made.quality.reasons[0]
    assert made.quality.word == verdict.UNDECIDED  # six sentences decide nothing, however bad it was


def test_the_report_links_the_page_until_somebody_has_rated(tmp_path):
    import report_tree

    from lib import report

    folder, recorded = report_tree.build(tmp_path)
    assert 'id="ask"' not in report.render(folder, recorded).read_text()
    key, given = rated(folder / "listening" / "acr-1")
    run = results.Run("07_listening_test", folder)
    analysis.write(run, key, None)
    assert 'href="listening/acr-1/listen-1.html"' in report.render(folder, recorded).read_text()
    analysis.write(results.Run("07_listening_test", folder), key, analysis.hear(given, key))
    assert 'id="ask"' not in report.render(folder, recorded).read_text()
