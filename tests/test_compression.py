"""Variants beside their baselines: what is said of them, groups of layers treated alone, claims, the plan's words."""

import json
import re
from collections import defaultdict
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection

from lib import REPOSITORY, optimize, results
from lib.errors import ParameterError
from lib.measure import evaluate
from lib.metrics import METRICS
from lib.optimize import adapter_layers
from lib.optimize.plan import Answer, Effect, Group, Plan
from lib.report import claims, notebook
from lib.report import sensitivity as charts
from lib.report.collect import records
from lib.studies import automatic, compression, confirmed, margins, menu, needs, plans, promised, sensitivity
from lib.studies.compression import Tried
from lib.studies.headlines import HEADLINES
from lib.studies.menu import trial


def answer(word, recommended, times=1.5, **more):
    return Answer(word, recommended, "because", times, **more)


SURE = {"low": 1.2, "high": 1.42, "n": 12}  # significantly faster


TRIED = [
    Tried(trial("a", "torch/cpu", "int8"), answer("without audible loss", True)),
    Tried(trial("a", "torch/cpu", "pruned-30"), answer("without audible loss", False, 0.98)),
    Tried(trial("b", "torch/cpu", "int8"), answer("worse", False)),
    Tried(trial("b", "torch/cpu", "nf4"), None, "no kernel"),
]


def test_each_system_is_told_what_to_take_and_none_is_flattered():
    faster = Tried(trial("b", "onnxruntime/cpu", "int8"), answer("without audible loss", True, 1.6, **SURE))
    fastest = Tried(trial("b", "onnxruntime/cpu", "plan"), answer("without audible loss", True, 1.7, **SURE))
    slow = Tried(
        trial("b", "onnxruntime/cpu", "nf4"), answer("undecided", False, 0.8, undecided=True, slower=True)
    )
    assert compression.findings([*TRIED, faster, fastest, slow]) == [
        "a on torch/cpu: take int8, because; of 2 tried 1 is recommended, 1 is without audible loss but not worth "
        "having, 0 are significantly slower than the baseline.",
        "b on torch/cpu: leave it as it is; of 2 tried 1 is worse, 1 could not run, "
        "0 are significantly slower than the baseline.",
        "b on onnxruntime/cpu: take plan, because; of 3 tried 2 are recommended, 1 is undecided, "
        "1 is significantly slower than the baseline.",
    ]
    assert compression.findings([slow])[0].startswith(
        "b on onnxruntime/cpu: leave it as it is until more is measured;"
    )
    noisy = Tried(trial("a", "torch/cpu", "nf4"), answer("without audible loss", False, undecided=True))
    assert "1 is without audible loss but of undecided worth" in compression.findings([noisy])[0]
    assert compression.findings(TRIED[3:]) == ["b on torch/cpu: leave it as it is; of 1 tried 1 could not run."]
    assert compression.findings([]) == []
    table = compression.table([*TRIED, slow])
    assert table["take it"].tolist() == ["yes", "no", "no", "", "undecided"]
    assert table.verdict.tolist()[3] == "not run" and table.why.tolist()[3] == "no kernel"


def test_what_is_faster_by_chance_is_not_taken_as_the_fastest():
    def one(name, times, low, high, smaller):
        told = answer("without audible loss", True, times, low=low, high=high, smaller=smaller)
        return Tried(trial("a", "torch/cpu", name), told)

    noisy, sure = one("noisy", 1.4, 0.92, 2.1, 1.9), one("sure", 1.05, 1.02, 1.08, 1.1)
    small = one("small", 1.0, 0.95, 1.05, 3.6)
    assert compression.findings([noisy, sure, small])[0].startswith("a on torch/cpu: take sure,")
    assert compression.findings([noisy, small])[0].startswith("a on torch/cpu: take small,")


def test_every_trial_has_a_name_of_its_own_and_a_technique_that_exists():
    for extent in menu.EXTENTS:
        trials = menu.trials(extent)
        names = [(one.system, one.target, one.variant) for one in trials]
        assert len(set(names)) == len(names)
        assert {step for one in trials for step, _ in one.steps} <= set(optimize.techniques())
    with pytest.raises(ParameterError, match="extent of the trials"):
        menu.trials("all")


def test_what_is_tried_is_called_smaller_where_voices_are_compared_by_kind():
    for one in menu.trials("study"):
        assert needs.done_to(one.variant) == needs.SMALLER, one.variant
    for method in adapter_layers.METHODS:
        assert needs.done_to(f"{method}@prompts") == needs.TUNED, method


def test_two_trials_of_one_name_are_refused_and_the_same_trial_twice_is_one():
    one = menu.trial("vits-joe", "onnxruntime/cpu", "int8-static", method="minmax")
    other = menu.trial("vits-joe", "onnxruntime/cpu", "int8-static", method="entropy")
    assert menu.apart([one, one]) == [one]
    with pytest.raises(ParameterError, match="two trials of vits-joe on onnxruntime/cpu are called int8-static"):
        menu.apart([one, other])


def test_arguments_that_a_technique_lacks_are_said_before_anything_runs(monkeypatch):
    wrong = menu.trial("vits-joe", "onnxruntime/cpu", "int8-static", methd="minmax")
    monkeypatch.setattr(menu, "_trials", lambda extent: [wrong])
    with pytest.raises(ParameterError, match="unknown argument of int8-static 'methd'"):
        menu.checked("quick", [])


def test_trials_of_some_systems_are_a_part_of_all_and_an_unknown_one_is_refused():
    whole, joe = menu.trials("study"), menu.trials("study", ["vits-joe/onnxruntime/cpu"])
    assert {(one.system, one.target) for one in joe} == {("vits-joe", "onnxruntime/cpu")}
    assert [one.variant for one in joe] == [
        one.variant for one in whole if (one.system, one.target) == ("vits-joe", "onnxruntime/cpu")
    ]
    both = menu.trials("study", ["vits-joe", "hifigan"])
    assert {one.system for one in both} == {"vits-joe", "hifigan"} and len(both) > len(joe)
    for extent in ("smoke", "quick"):
        with pytest.raises(ParameterError, match=f"^{extent} tries nothing of hifigan; `trials=study` does$"):
            menu.trials(extent, ["hifigan"])
    with pytest.raises(ParameterError, match="unknown system of the trials 'quick'"):
        menu.trials("quick", ["hifi"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"axes": ["stage", "blocks"]}, "unknown axis 'blocks': did you mean 'block'?"),
        ({"piper_tts": "instal"}, "piper-tts 'instal': did you mean 'install'?"),
        ({"only": ["whisper"]}, "'whisper'"),
        ({"extent": "quik"}, "did you mean 'quick'?"),
        ({"zeroed": ["speecht-5"]}, "'speecht-5': did you mean 'speecht5'?"),
        ({"screened": ["vits-jo"]}, "unknown system 'vits-jo': did you mean 'vits-joe'?"),
        ({"screened_target": "onnxruntime"}, "unknown target of vits-joe 'onnxruntime'"),
        ({"screened": ["whisper-tiny.en"], "screened_target": "ctranslate2/cpu"}, "screen on torch/cpu or"),
    ],
)
def test_what_a_study_would_stumble_over_after_hours_is_said_before_it_begins(given, said):
    right = {"extent": "quick", "only": ["vits-joe"], "axes": ["block"], "piper_tts": "install"}
    right |= {"screened": ["vits-joe"], "zeroed": ["speecht5"]}
    menu.checked(**right)
    with pytest.raises(ParameterError, match=re.escape(said)):
        menu.checked(**right | given)


def test_notebook_04_checks_what_it_was_given_before_its_rows_begin():
    """What an earlier run measured is set aside by the first row of the next."""
    cells = json.loads((REPOSITORY / "notebooks" / "04_pruning_quantization.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    given = code[code.index("menu.checked(") : code.index("piper_tts=piper_tts)")]
    for name in ("trials", "systems", "axes=axes", "screened", "screened_target", "zeroed"):
        assert name in given
    assert code.index("menu.checked(") < code.index("results.start(")


def rows(*values):
    """(system, variant, metric, value) as a table of results."""
    return results.frame(
        {
            "system": s, "variant": v, "target": "torch/cpu", "metric": m, "value": x, "unit": METRICS[m].unit,
            "kind": "measured", "n": 10, "ci_low": None, "ci_high": None, "source": "test", "baseline": "",
            "host": "here", "commit": "c", "time": "2026-11-22T00:00:00", "detail": "",
        }
        for s, v, m, x in values
    )  # fmt: skip


def test_a_notebook_lays_claims_beside_as_the_report_does():
    both = menu.CLAIMED
    known = rows(
        ("speecht5-base", "baseline", "size_mb", 628.6), ("speecht5-base", both, "size_mb", 202.1),
        ("speecht5-base", "baseline", "latency_ms_p50", 1500.0), ("speecht5-base", both, "latency_ms_p50", 500.0),
        ("speecht5", "baseline", "size_mb", 9.0), ("speecht5", both, "size_mb", 9.0),
        ("speecht5", both, "wer", 0.05),
    )  # fmt: skip
    known.loc[(known.metric == "size_mb") & (known.value > 600), "kind"] = "estimated"
    known.loc[known.metric == "latency_ms_p50", "n"] = 1
    known.loc[known.metric == "wer", "detail"] = (
        '{"difference": -0.005, "ci_low": -0.006, "ci_high": 0.0, "n": 10}'
    )
    shown = notebook.claims(known, "SpeechT5")
    said = shown.set_index("of")
    size = said.loc["Download size"]
    assert (
        size.ours == "628.6 (estimated) → 202.1 MB" and size.verdict == "agrees" and size.measured == "this run"
    )
    assert size.reason == (
        "the change is 0.322 times, theirs 0.2 to 0.4 times; ours starts at 628.6 MB, theirs at 1,000.0 to 1,500.0"
    )
    once = said.loc["Latency, median"]  # one sentence in one process proves nothing, however fast
    assert (once.verdict, once.n) == ("undecided", 1) and "too few for an interval" in once.reason
    words = said.loc["WER, normalised"]
    assert (words.verdict, words.ours, words.n) == ("better than claimed", "5.5 → 5.0 %", 10)
    assert "starts" not in words.reason and words["stated by"].startswith("the description of a project")
    assert said.loc["PESQ wideband"].verdict == "not run" and len(shown) == len(promised.CLAIMS)
    assert len(notebook.claims(known)) == len(HEADLINES)
    told = {(line.of, line.verdict, line.reason) for line in claims.lines(records(known))}
    assert {(one.Index, one.verdict, one.reason) for one in said.itertuples()} <= told


def test_zeros_are_told_to_save_nothing():
    known = rows(
        ("speecht5", "baseline", "size_mb", 16.0), ("speecht5", "pruned-30", "size_mb", 16.0),
        ("speecht5", "baseline", "rtf", 0.060), ("speecht5", "pruned-30", "rtf", 0.0606),
    )  # fmt: skip
    assert "1.00 times the bytes and takes 1.01 (no interval) times the time: zeros in dense storage save neither." in (
        promised.saved(known)
    )
    assert promised.saved(known[known.metric == "rtf"]) is None
    paired = known.assign(detail=[""] * 3 + ['{"speedup": {"value": 1.25, "ci_low": 1.1, "ci_high": 1.5}}'])
    paired.loc[3, "baseline"] = "baseline"
    assert "takes 0.80 [0.67, 0.91] times the time: zeros in dense storage save little." in promised.saved(paired)


class Voice:
    """Speaks for as long as it is told, and counts."""

    name, target, variant, threads, kind = "voice", "torch/cpu", "baseline", 1, "speech"

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.said = clock, seconds, []

    def derive(self, variant, change):
        assert variant != self.variant
        return self

    def synthesize(self, text, seed):
        self.said.append((text, seed))
        self.clock[0] += self.seconds


def test_two_systems_are_timed_in_turns(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(sensitivity.time, "perf_counter", lambda: clock[0])
    slow, fast = Voice(clock, 3.0), Voice(clock, 2.0)
    again = Voice(clock, 3.0)  # beside itself, so that its spread is known
    assert sensitivity.in_turns(slow, again, fast, ["a", "b"], passes=2, seed=7) == (pytest.approx(1.5), 1.0)
    assert slow.said == again.said == fast.said == [("a", 7)] * 3 + [("b", 8)] * 3


def test_how_far_a_system_lies_from_itself_is_told(monkeypatch):
    """A base that takes 3 seconds, and the next time 2, differs from itself by half: a gain of that size is none."""
    clock = [0.0]
    monkeypatch.setattr(sensitivity.time, "perf_counter", lambda: clock[0])

    one, again = Voice(clock, 3.0), Voice(clock, 2.0)
    turns = sensitivity.in_turns(one, again, Voice(clock, 2.0), ["a", "b"], passes=1)
    assert turns.spread == pytest.approx(1.5) and turns.times == pytest.approx(6**0.5 / 2)


def judged(nll, mos):
    from lib.measure.likelihood import Loss
    from lib.measure.scores import ClipScores, summarise

    scores = tuple(ClipScores(None, {"mos_predicted": mos + i / 10}, Loss(nll * 10, 10)) for i in range(4))
    return evaluate.Judged((), scores, summarise(scores))


def test_groups_are_tried_alone_once_and_their_rows_are_found_again(tmp_path, monkeypatch):
    run = results.Run("04_pruning_quantization", tmp_path)
    made = []

    def make(base, technique, *, variant, layers):
        if "broken" in layers:
            raise ParameterError("no kernel")
        made.append(variant)
        voice = Voice([0.0], 1.0)
        voice.variant, voice.made = variant, {"technique": technique, "changed": {"layers": 1}}
        return voice

    monkeypatch.setattr(optimize, "make", make)
    monkeypatch.setattr(evaluate, "speak", lambda voice, sentences, seed: voice.variant)
    monkeypatch.setattr(
        evaluate,
        "judge",
        lambda clips, scorer, seed: judged(*((0.5, 4.0) if clips == "baseline" else (0.54, 3.95))),
    )
    monkeypatch.setattr(sensitivity, "in_turns", lambda *a, **k: sensitivity.Turns(1.25, 1.1))
    groups = [
        Group("type", "Linear", ("a", "b")),
        Group("stage", "decoder", ("b", "a")),  # the same layers
        Group("block", "decoder/0", ("broken",)),
    ]
    tried = sensitivity.screen(run, Voice([0.0], 1.0), "int8-dynamic", groups, [], None)
    assert made == ["int8-dynamic+type+Linear"] and len(tried) == 3
    by_axis = {t.group.axis: t for t in tried}
    assert by_axis["stage"].effect.times == by_axis["type"].effect.times == 1.25
    assert by_axis["stage"].effect.group.name == "decoder" and by_axis["block"].why == "no kernel"
    losses = by_axis["type"].effect.losses
    assert losses["asr_nll"] == pytest.approx(2.0) and losses["mos_predicted"] == pytest.approx(0.5)
    assert by_axis["type"].effect.loss == pytest.approx(2.0)
    known = sensitivity.known(results.read(run.path), results.read(run.path))
    assert known[["axis", "group"]].values.tolist() == [["type", "Linear"]]
    assert known.times.tolist() == [1.25] and known.loss.tolist() == pytest.approx([2.0], abs=1e-3)
    assert known.spread.tolist() == [1.1] and known[["low", "high"]].isna().all(axis=None)  # of four sentences
    detail = json.loads(
        results.read(run.path).detail[0]
    )  # of two layers that were asked for one was left as it is
    assert (detail["layers"], detail["asked"], detail["spread"]) == (1, 2, 1.1)
    assert "Linear gains most" in sensitivity.finding(tried, "voice")
    still_open = plt.get_fignums()
    assert charts.draw(known).axes[0].get_title("left") == "voice on torch/cpu: int8-dynamic"
    assert plt.get_fignums() == still_open  # what stays open a notebook shows once more
    assert charts.draw(known.iloc[:0]) is None


def group_tried(name, times, nll, sentences=20, spread=1.02, mos=0.0, ends=margins.UNKNOWN):
    effect = Effect(Group("stage", name, (name,)), times, {"asr_nll": nll, "mos_predicted": mos}, spread)
    return sensitivity.Tried(effect.group, effect, sentences=sentences, ends=ends)


def test_what_differs_by_less_than_the_baseline_from_itself_is_neither_slower_nor_faster():
    noise = [group_tried("encoder", 1.01, 1.9), group_tried("flow", 0.997, 0.5)]
    assert sensitivity.finding(noise, "joe") == (
        "Of 2 groups of joe, none makes the whole faster by more than the baseline differs from itself (up to 1.02 "
        "times); "
        "encoder loses most (1.9 times what is allowed)."
    )
    real = [*noise, group_tried("decoder", 1.22, 15.8), group_tried("front", 0.9, 0.0)]
    assert sensitivity.finding(real, "joe") == (
        "Of 4 groups of joe, decoder gains most (the whole is 1.22 times as fast); decoder loses most (15.8 times what "
        "is allowed). Slower than in fp32 are 1: front."
    )
    assert "none loses anything that was measured" in sensitivity.finding([group_tried("a", 1.1, 0.0)], "joe")


def test_three_sentences_tell_only_of_what_nobody_could_overlook():
    noise = [group_tried("encoder", 1.1, 1.9, 3), group_tried("flow", 1.2, 0.5, 3)]
    assert "none loses so much that 3 sentences could show it." in sensitivity.finding(noise, "joe")
    assert "1.9" not in sensitivity.finding(noise, "joe")
    said = sensitivity.finding([*noise, group_tried("decoder", 1.22, 15.8, 3)], "joe")
    assert said.endswith(
        "decoder loses most (15.8 times what is allowed); of the others 3 sentences decide nothing."
    )
    for below in (4.9, 1.9):  # an SD of 0.28 MOS of single sentences: of three chance crosses the margin often
        by_chance = group_tried("flow", 1.2, 14.0, 3, mos=below)  # as 0.28 nats a word are
        assert not by_chance.unmistakable and "loses most" not in sensitivity.finding([by_chance], "joe")
    heard = group_tried("decoder", 1.22, 0.0, 3, mos=5.1)  # half a point of MOS
    assert heard.unmistakable
    loudest = group_tried("noise", 1.0, 9.0, 3)  # further out, and not sure
    assert "decoder loses most (5.1 times" in sensitivity.finding([heard, loudest], "joe")


def test_a_gain_is_one_beside_the_baseline_of_its_own_turns():
    restless = group_tried("encoder", 1.09, 0.5, spread=1.42)
    quiet = group_tried("flow", 1.05, 0.5, spread=1.01)
    assert "flow gains most (the whole is 1.05" in sensitivity.finding([restless, quiet], "joe")
    assert "none makes the whole faster" in sensitivity.finding([restless], "joe")


def test_an_interval_that_crosses_what_is_allowed_proves_nothing_in_words():
    tried = [
        group_tried("a", 1.1, 0.4, ends=(0.1, 2.5)),
        group_tried("b", 1.1, 0.3, ends=(0.1, 0.8)),
        group_tried("c", 1.1, 5.0, ends=(3.0, 7.0)),
    ]
    assert sensitivity.finding(tried, "joe").endswith(
        "c loses most (5.0 times what is allowed [3.0, 7.0]); of 1 the interval crosses what is allowed: that does not "
        "prove that less is lost."
    )
    assert "cross" not in sensitivity.finding(tried[1:], "joe")


def test_a_chart_carries_intervals_and_says_what_they_do_not_prove():
    """Each metric's interval where enough sentences were heard: of the larger loss, in margins."""

    def screened(group, metric, difference, ends, n=20.0, **more):
        detail = {"axis": "block", "group": group, "times": 1.1, "difference": difference, "ci_low": ends[0]}
        row = rows(("joe", f"int8+block+{group}@sensitivity", metric, 0.5))
        detail |= {"ci_high": ends[1]} | more
        return row.assign(detail=json.dumps(detail), n=n, recorded=False, notebook="04@study")

    parts = [
        screened("sure", "mos_predicted", -0.02, (-0.05, 0.01), spread=1.25),
        screened("sure", "asr_nll", 0.002, (-0.004, 0.006), spread=1.25),
        screened("open", "mos_predicted", -0.05, (-0.25, 0.03)),
        screened("open", "asr_nll", 0.002, (-0.004, 0.006)),
        screened("heard", "mos_predicted", -0.6, (-0.7, -0.5)),
        screened("perhaps", "mos_predicted", -0.15, (-0.4, 0.1)),
        screened("few", "mos_predicted", -0.05, (-0.06, -0.04), n=3.0),
    ]
    known = sensitivity.known(pd.concat(parts, ignore_index=True)).set_index("group")
    assert known.loc["sure", ["low", "high"]].tolist() == pytest.approx([0.02, 0.5])  # no end below what is charged
    assert known.loc["open", ["low", "high"]].tolist() == pytest.approx([0.02, 2.5])
    assert known.loc["few", ["low", "high"]].isna().all() and known.spread["sure"] == 1.25
    known = known.reset_index()
    said = charts.caption(known)
    assert "Of 3 points below the line 1 does not prove that less is lost than is allowed" in said
    assert "Of 2 points above the line 1 does not prove that more is lost" in said
    assert "1 of 5 points, heard on fewer than 8 sentences, have no interval" in said
    axis = charts.draw(known).axes[0]
    (points, bars) = (
        next(c for c in axis.collections if isinstance(c, kind)) for kind in (PathCollection, LineCollection)
    )
    filled = dict(zip(known.group, (tuple(c[:3]) != (1.0, 1.0, 1.0) for c in points.get_facecolors())))
    assert filled == {"sure": True, "open": False, "heard": True, "perhaps": False, "few": False}
    ends = [segment for c in axis.collections if isinstance(c, LineCollection) for segment in c.get_segments()]
    assert any(np.allclose(s, [[1.1 / 1.25, 0.2], [1.1 * 1.25, 0.2]]) for s in ends if len(s) == 2)
    assert any(np.allclose(s[:, 1], [0.02, 2.5]) for s in ends if len(s) == 2)
    assert bars.get_linewidths()[0] < 1
    assert {"sure", "heard"} <= {text.get_text() for text in axis.texts}
    crowded = pd.concat([known.assign(group=known.group + f"-{i}") for i in range(3)], ignore_index=True)
    names = [text.get_text().partition("-")[0] for text in charts.draw(crowded).axes[0].texts]
    assert names == ["heard", "perhaps", "open"]  # of three on one point one, and none over another's
    proven = known[known.group == "sure"]
    assert "does not prove" not in charts.caption(proven) and "hollow" not in charts.caption(proven)


def test_a_chart_of_groups_is_of_one_run(tmp_path):
    """Of three sentences and of twenty: the loudest of both would be nobody's."""

    def screened(group, loss, n, commit, time, recorded=True):
        detail = {"axis": "stage", "group": group, "times": 1.1, "difference": 0.02 * loss}
        row = rows(("joe", f"int8+stage+{group}@sensitivity", "asr_nll", 0.5))
        told = {"n": float(n), "commit": commit, "time": time, "recorded": recorded, "notebook": f"04@{commit}"}
        return row.assign(detail=json.dumps(detail), **told)

    few = pd.concat([screened(name, 5.0, 3, "new", "2026-11-24") for name in ("decoder", "flow")])
    many = screened("decoder", 1.5, 20, "old", "2026-11-22")
    known = sensitivity.known(results.read(), pd.concat([few, many], ignore_index=True))
    assert known[["group", "loss", "origin"]].values.tolist() == [
        ["decoder", pytest.approx(1.5), "recorded 2026-11-22, here, commit old"]
    ]
    assert charts.draw(known).axes[0].get_title("left").endswith("\nrecorded 2026-11-22, here, commit old")
    now = screened("flow", 0.5, 3, "now", "2026-11-25", recorded=False)
    known = sensitivity.known(now, pd.concat([few, many], ignore_index=True))
    assert known[["group", "origin"]].values.tolist() == [["flow", ""]]


def test_scales_are_set_by_sentences_that_judge_nothing():
    """Groups are screened and plans are chosen on validation sentences, what is chosen is judged on test sentences."""
    from lib.corpora import gutenberg

    judges = {s.id for split in ("validation", "test") for s in gutenberg.split(split)}
    setting = sensitivity.arguments_of("int8-static")["sentences"]
    assert len(setting) == sensitivity.CALIBRATED and not judges & set(setting)


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """(arguments of `plan_of`, what judges and bench will say, what was saved, on which sentences it was heard)."""
    from lib.corpora.base import Sentence

    run = results.Run("04_pruning_quantization", tmp_path)
    group = Group("block", "decoder/0", ("decoder/a",))
    tried = {"int8-dynamic": [sensitivity.Tried(group, Effect(group, 1.4, {"asr_nll": 0.1}))]}
    saved, heard = [], []
    monkeypatch.setattr(plans.systems, "load", lambda *a, **k: Voice([0.0], 1.0))
    monkeypatch.setattr(
        confirmed,
        "baseline",
        lambda run, system, sentences, scorer, at="": confirmed.Baseline(
            system, sentences, judged(0.5, 4.0), at=at
        ),
    )

    def make(base, steps, name, folder, **more):
        saved.append((name, steps))
        voice = Voice([0.0], 1.0)
        voice.variant = name
        return voice

    def hear(run, base, variant, scorer):
        heard.append((base.at, [s.id for s in base.sentences]))
        return base.at

    monkeypatch.setattr(confirmed, "make", make)
    monkeypatch.setattr(confirmed, "hear", hear)
    monkeypatch.setattr(confirmed, "timed", lambda *a, **k: defaultdict(str))
    said = {
        "@validation": answer("without audible loss", True, 1.31, **SURE),
        "": answer("without audible loss", True, 1.31, **SURE),
    }
    monkeypatch.setattr(confirmed, "answer", lambda run, base, heard, one, before: said[heard])
    sentences = [Sentence(name, "A text.", "test") for name in "abcd"]
    arguments = (run, "voice", "torch/cpu", tried, sentences[:2], sentences[2:], [], None, tmp_path)
    return arguments, said, saved, heard


def test_a_plan_is_chosen_and_then_judged_on_other_sentences(planned):
    arguments, said, saved, heard = planned
    run = arguments[0]
    assert plans.plan_of(*arguments).said == (
        "voice on torch/cpu: take int8-dynamic on decoder/0, judged on 2 sentences that had no part in choosing it: "
        "because; 1.31 times as fast [1.20, 1.42]."
    )
    assert saved == [("int8-dynamic-1", [("int8-dynamic", {"layers": ["decoder/a"]})])]
    assert heard == [("@validation", ["a", "b"]), ("", ["c", "d"])]
    assert plans.recalled(results.read(run.path)).startswith(
        "voice on torch/cpu: int8-dynamic on decoder/0, judged"
    )
    (row,) = results.read(run.path).itertuples()
    assert (row.variant, row.metric, row.n, row.ci_low, row.ci_high) == ("auto", "speedup", 12, 1.2, 1.42)
    said[""] = answer("worse", False)  # what looked best where it was chosen
    assert "leave it in fp32: int8-dynamic on decoder/0: because; judged on 2" in plans.plan_of(*arguments).said
    said["@validation"] = answer("worse", False)
    assert "leave it in fp32: none of 1 plans" in plans.plan_of(*arguments).said
    assert len(heard) == 5 and heard[-1][0] == "@validation"  # nobody was asked again
    assert "leave it in fp32" in plans.recalled(results.read(run.path))
    assert plans.recalled(results.read()) is None


def test_a_plan_is_made_of_the_groups_that_were_screened(planned):
    """Of stages and of types, where nobody asked for blocks; one that gains less than the base differs is none."""
    arguments, _, saved, _ = planned
    stage, of_types = Group("stage", "decoder", ("decoder/a", "decoder/b")), Group("type", "Conv", ("flow/a",))
    tried = arguments[3]["int8-dynamic"]
    blocks = [*tried]
    tried[:] = [sensitivity.Tried(group, Effect(group, 1.22, {"asr_nll": 0.1})) for group in (of_types, stage)]
    plans.plan_of(*arguments)
    assert [given["layers"] for _, ((_, given),) in saved] == [["decoder/a", "decoder/b"]]
    saved.clear()
    tried += [replace(one, effect=replace(one.effect, spread=1.5)) for one in blocks]  # no faster than the base itself
    plans.plan_of(*arguments)
    assert [given["layers"] for _, ((_, given),) in saved] == [["decoder/a", "decoder/b"]]


def test_what_is_smaller_and_not_surely_faster_is_not_told_as_faster(planned):
    """Recorded: 1.11 times as fast, and taken because the file is smaller."""
    arguments, said, *_ = planned
    unsure = answer("without audible loss", True, 1.11, low=0.92, high=1.34, n=12, smaller=1.23)
    said.update({"@validation": unsure, "": unsure})
    found = plans.plan_of(*arguments)
    told = "because; smaller, not faster (1.11 times as fast [0.92, 1.34])."
    assert found.variant is not None and found.said.endswith(told)
    assert plans.recalled(results.read(arguments[0].path)).endswith(told)
    said[""] = answer("worse", False)
    assert "smaller, not faster (1.11 times as fast [0.92, 1.34]): because; judged" in plans.plan_of(*arguments).said


def test_an_old_plan_without_an_interval_is_not_told_as_faster():
    detail = json.dumps({"plan": "int8 on flow: smaller (1.23 times)", "technique": "int8", "layers": []})
    row = rows(("joe", "auto", "speedup", 1.11)).assign(detail=detail, recorded=False, notebook="04@study")
    told = plans.recalled(row)
    assert told == (
        "joe on torch/cpu: int8 on flow: smaller (1.23 times); not shown to be faster (1.11 times as fast, without an "
        "interval)."
    )


def test_plans_of_as_many_layers_are_variants_of_their_own(planned):
    """A stage of two layers and two blocks of one each: the second would lie where the first was saved."""
    arguments, said, saved, _ = planned
    said["@validation"] = answer("worse", False)
    groups = {
        Group("stage", "flow", ("flow/a", "flow/b")): 1.2,
        Group("block", "decoder/0", ("decoder/a",)): 1.3,
        Group("block", "decoder/1", ("decoder/b",)): 1.1,
    }
    arguments[3]["int8-dynamic"][:] = [
        sensitivity.Tried(group, Effect(group, times, {"asr_nll": 0.1})) for group, times in groups.items()
    ]
    plans.plan_of(*arguments)
    assert sorted(name for name, _ in saved) == ["int8-dynamic-1", "int8-dynamic-2", "int8-dynamic-2-2"]


def paired(run, variant, low, high):
    """The row of a variant's predicted MOS beside its baseline."""
    detail = {"difference": (low + high) / 2, "ci_low": low, "ci_high": high}
    run.add("voice", variant, "torch/cpu", "mos_predicted", 4.0, baseline="baseline", detail=detail)


def test_narrower_margins_are_asked_of_a_plan_where_it_is_chosen_and_where_it_is_judged(planned):
    arguments, *_ = planned
    run, narrow = arguments[0], {"mos_predicted": -0.03}
    paired(run, "another", -0.01, 0.01)
    assert "predicted MOS not known is not inside" in plans.plan_of(*arguments, margins=narrow).said
    for there, here, taken in ((-0.05, -0.01, False), (-0.01, -0.05, False), (-0.01, -0.02, True)):
        paired(run, "int8-dynamic-1@validation", there, 0.01)
        paired(run, "int8-dynamic-1", here, 0.01)
        found = plans.plan_of(*arguments, margins=narrow)
        assert (found.variant is not None) == taken == ("leave it in fp32" not in found.said)
        reason = "predicted MOS [-0.05, +0.01] is not inside the margin of -0.03 that was asked for"
        assert taken or reason in found.said
        assert plans.plan_of(*arguments).variant.variant == "int8-dynamic-1"  # the verdict's own allow it


def test_one_call_finds_the_fastest_that_nobody_hears_or_leaves_it(planned, monkeypatch, tmp_path):
    """Blocks are screened on training sentences, plans chosen on validation ones, judged on test sentences; wider
    margins than the verdict's are refused before anything is spoken.
    """
    arguments, said, saved, heard = planned
    asked = []

    def by_group(run, system, target, axes, sentences, scorer, **more):
        asked.append((system, target, axes, {s.split for s in sentences}))
        return arguments[3]

    monkeypatch.setattr(automatic.sensitivity, "by_group", by_group)
    monkeypatch.setattr(automatic.systems, "load", lambda name, *, target, threads: Voice([0.0], 1.0))
    found = automatic.auto("voice", "torch/cpu", folder=tmp_path, n_choosing=3, n_sentences=4, threads=1)
    assert asked == [("voice", "torch/cpu", ["stage", "block"], {"train"})]
    assert found.variant.variant == "int8-dynamic-1" and "take int8-dynamic on decoder/0" in found.said
    assert [(at, len(sentences)) for at, sentences in heard] == [("@validation", 3), ("", 4)]
    said["@validation"] = answer("worse", False)
    found = automatic.auto("voice", "torch/cpu", folder=tmp_path, threads=1)
    assert found.variant.variant == "baseline" and "leave it in fp32" in found.said
    with pytest.raises(ParameterError, match="a margin of -0.3 for mos_predicted: give one between 0 and -0.1"):
        automatic.auto("voice", "torch/cpu", {"mos_predicted": -0.3}, folder=tmp_path)
    with pytest.raises(ParameterError, match="unknown metric with a margin 'mos'"):
        automatic.auto("voice", "torch/cpu", {"mos": -0.05}, folder=tmp_path)


def test_of_groups_that_nobody_could_treat_nothing_is_claimed(planned):
    """That none makes the voice faster would be a falsehood: none was tried."""
    arguments, *_ = planned
    arguments[3]["int8-dynamic"][:] = [sensitivity.Tried(Group("block", "a", ("a",)), None, "no kernel")]
    said = plans.plan_of(*arguments).said
    assert said == (
        "voice on torch/cpu: not planned: no group of its layers could be treated, so nothing is known of any plan "
        "(no kernel)."
    )
    (row,) = results.read(arguments[0].path).itertuples()
    assert row.variant == "auto" and "leave it in fp32" not in row.detail
    arguments[3].clear()
    assert "(none was screened)" in plans.plan_of(*arguments).said


def test_of_earlier_plans_the_newest_of_each_system_is_told():
    def plan(system, reason, commit, host, day):
        row = rows((system, "auto", "rtf", 0.1)).assign(detail=reason, commit=commit, host=host, recorded=True)
        return row.assign(time=f"2026-11-{day}T00:00:00", notebook=f"04@study@{commit}")

    table = pd.concat(
        [
            plan("joe", "leave it", "old", "here", 20),
            plan("joe", "take it", "new", "there", 22),
            plan("ann", "leave it", "old", "here", 20),
        ],
        ignore_index=True,
    )
    assert plans.recalled(table) == (
        "Recorded 2026-11-22, there, commit new: joe on torch/cpu: take it. "
        "Recorded 2026-11-20, here, commit old: ann on torch/cpu: leave it."
    )


def test_no_sentence_chooses_a_plan_and_judges_it(planned):
    arguments = list(planned[0])
    arguments[5] = [*arguments[5], arguments[4][0]]
    with pytest.raises(ParameterError, match="1 sentences would choose the plan and judge it, a among them"):
        plans.plan_of(*arguments)


def test_a_plan_names_each_layer_once():
    groups = (Group("block", "x", ("a", "b")), Group("block", "y", ("b", "c")))
    assert Plan("int8-dynamic", {}, groups, 1.0, 0.0).layers == ["a", "b", "c"]
    assert np.isclose(Effect(groups[0], np.e, {}).gain, 1.0)
